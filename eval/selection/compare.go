package selection

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// windowRows is how many rows spread, steps and autocorrelation are taken
// over; lags is how many of its lags count.
const (
	windowRows = 50
	windowStep = 5 // real windows overlap
	lags       = 20
)

// Options say how tables are compared. The zero value compares all rows.
type Options struct {
	// Like says that the real table is a grid of seconds whose gaps are NaN,
	// and that the synthetic one is a complete grid of the same length: the
	// real one's gaps are applied to both, so that gaps are not what is scored.
	Like bool
	// Test and Train are the held-out blocks only and the others only; both
	// need Like.
	Test, Train bool
	Rows        int    // the synthetic table is a concatenation of windows of so many rows; 0: one piece
	Seed        uint64 // of the noise floor's draws
	// Draws of the noise floor: 0 is 200, negative none.
	Draws int
}

// Means are what one comparison comes to: means over the columns that are not
// constant in the real table, which is scaled to [0, 1].
type Means struct {
	W1      float64 `json:"W1"`         // Wasserstein-1 distance of a column's values
	KS      float64 `json:"KS"`         // Kolmogorov-Smirnov statistic
	ACF     float64 `json:"acf_error"`  // mean |difference| of the autocorrelation at lags 1…20 within windows
	Corr    float64 `json:"corr_error"` // mean |difference| of Pearson correlations of two columns
	MMinmax float64 `json:"M_minmax_all"`
}

// Feature is the comparison of one column.
type Feature struct {
	Name string  `json:"name"`
	W1   float64 `json:"W1"`
	KS   float64 `json:"KS"`
	ACF  float64 `json:"acf_error"`
	SD   float64 `json:"sd_ratio"`   // spread within windows, synthetic over real
	Step float64 `json:"step_ratio"` // mean |change| from row to row, synthetic over real
}

// Score is how far a synthetic table is from a real one.
type Score struct {
	RealRows    int       `json:"real"`
	SynthRows   int       `json:"synth"`
	MRaw2600    float64   `json:"M_raw_2600"` // 99 % of it is CalcBitrate
	MMinmax2600 float64   `json:"M_minmax_2600"`
	Mean        Means     `json:"mean"`
	Features    []Feature `json:"features"`           // of the live columns
	Columns     []string  `json:"columns"`            // that were compared
	MBy         []float64 `json:"M_by_column"`        // by column: its term of the mean's M_minmax_all
	MRawBy      []float64 `json:"M_raw_by_column"`    // by column: its term of M_raw_2600
	Left        []string  `json:"left_out,omitempty"` // columns that were not compared: not in both, never measured, or no numbers
	Floor       [3]Means  `json:"floor_p5_p50_p95"`   // the 5, 50 and 95 % points of real windows against the real table
}

// Shares are the columns' shares of M, of their terms MBy or MRawBy, largest first.
func (s *Score) Shares(terms []float64) []Share {
	var all []Share
	sum := 0.
	for k, x := range terms {
		all, sum = append(all, Share{s.Columns[k], x}), sum+x
	}
	for i := range all {
		all[i].Of = all[i].Of / max(sum, 1e-300)
	}
	slices.SortStableFunc(all, func(a, b Share) int { return cmp.Compare(b.Of, a.Of) })
	return all
}

// Share is a column's share of M.
type Share struct {
	Column string
	Of     float64 // 0 to 1
}

// Compare scores synth against real.
func Compare(real, synth Table, o Options) (Score, error) {
	var s Score
	both, left, err := Common(real, synth)
	if err != nil {
		return s, err
	}
	s.Columns, s.Left = both[0].Columns, left
	real, synth, err = prepare(both[0], both[1], o)
	if err != nil {
		return s, err
	}
	s.RealRows, s.SynthRows = real.Rows(), synth.Rows()
	s.MRaw2600, s.MRawBy = M(real, synth, firstRows), MByColumn(real, synth, firstRows)
	ra, xa := minmax(real, synth, true)
	r, x := minmax(real, synth, false)
	like := newProfile(r, 0, windowsOf(o.Rows), windowStep)
	s.MMinmax2600 = M(ra, xa, firstRows)
	s.Mean, s.Features = like.compare(newProfile(x, o.Rows, windowsOf(o.Rows), windowsOf(o.Rows)))
	s.Mean.MMinmax, s.MBy = M(ra, xa, 0), MByColumn(ra, xa, 0)
	draws := o.Draws
	if draws == 0 {
		draws = 200
	}
	if draws > 0 && r.Rows() > windowRows {
		s.Floor = floor(like, x.Rows(), draws, o.Seed)
	}
	return s, nil
}

// prepare checks the tables and gives the rows that are compared.
func prepare(real, synth Table, o Options) (Table, Table, error) {
	switch {
	case o.Test && o.Train:
		return real, synth, fmt.Errorf("selection: the held-out blocks only, and the others only: nothing is left")
	case (o.Test || o.Train) && !o.Like:
		return real, synth, fmt.Errorf("selection: held-out blocks are blocks of seconds: they need a grid")
	case o.Rows < 0 || o.Rows == 1:
		return real, synth, fmt.Errorf("selection: windows of %d rows", o.Rows)
	}
	if n := synth.gaps(); n > 0 {
		return real, synth, fmt.Errorf("selection: %d synthetic rows have cells without a value", n)
	}
	if !o.Like {
		if real.Series {
			real = real.pick(func(i int) bool { return !slices.ContainsFunc(real.Row(i), math.IsNaN) })
		}
		if n := real.gaps(); n > 0 {
			return real, synth, fmt.Errorf("selection: %d real rows were not measured in full: compare on the grid of seconds (--like)", n)
		}
	} else {
		if real.Rows() != synth.Rows() {
			return real, synth, fmt.Errorf("selection: %d synthetic rows for a grid of %d", synth.Rows(), real.Rows())
		}
		grid, split := real, telemetry.All
		if o.Test {
			split = telemetry.Test
		} else if o.Train {
			split = telemetry.Train
		}
		keep := func(i int) bool {
			return !slices.ContainsFunc(grid.Row(i), math.IsNaN) && split.Holds(i)
		}
		real, synth = real.pick(keep), synth.pick(keep)
	}
	if n := windowsOf(o.Rows); real.Rows() < n || synth.Rows() < n {
		return real, synth, fmt.Errorf("selection: %d real and %d synthetic rows: windows take %d", real.Rows(), synth.Rows(), n)
	}
	return real, synth, nil
}

// windowsOf is the length of windows in a table of pieces of so many rows.
func windowsOf(rows int) int {
	if rows == 0 {
		return windowRows
	}
	return min(windowRows, rows)
}

// minmax scales both tables by the real one's range. Columns that are constant
// there keep their scale where constant is set, and are left out else.
func minmax(real, synth Table, constant bool) (Table, Table) {
	var r, s Table
	var at []int
	var lo, span []float64
	for k, name := range real.Columns {
		x := real.column(k)
		a, b := slices.Min(x), slices.Max(x)
		if a == b && !constant {
			continue
		}
		if a == b {
			b = a + 1
		}
		at, lo, span = append(at, k), append(lo, a), append(span, b-a)
		r.Columns = append(r.Columns, name)
	}
	s.Columns = r.Columns
	scale := func(dst *Table, src Table) {
		for i := range src.Rows() {
			for j, k := range at {
				dst.Values = append(dst.Values, (src.Row(i)[k]-lo[j])/span[j])
			}
		}
	}
	scale(&r, real)
	scale(&s, synth)
	return r, s
}

// profile is what a scaled table is compared by.
type profile struct {
	table    Table
	sorted   [][]float64 // by column
	acf      [][]float64 // by column and lag
	sd, step []float64
	corr     []float64
}

// newProfile takes windows of n rows, step apart, within pieces of rows rows.
func newProfile(t Table, rows, n, step int) *profile {
	p := &profile{table: t, corr: correlations(t)}
	at := cut(t.Rows(), rows, n, step)
	for k := range t.Columns {
		x := t.column(k)
		p.acf = append(p.acf, acf(x, at, n))
		sd, step := spread(x, at, n)
		p.sd, p.step = append(p.sd, sd), append(p.step, step)
		slices.Sort(x)
		p.sorted = append(p.sorted, x)
	}
	return p
}

// compare compares with synth; M is left to the caller.
func (p *profile) compare(synth *profile) (Means, []Feature) {
	var m Means
	features := make([]Feature, len(p.table.Columns))
	n := float64(len(features))
	for k, name := range p.table.Columns {
		f := Feature{Name: name, SD: synth.sd[k] / (p.sd[k] + 1e-12), Step: synth.step[k] / (p.step[k] + 1e-12)}
		for i, a := range synth.acf[k] {
			f.ACF += math.Abs(p.acf[k][i]-a) / float64(len(synth.acf[k]))
		}
		f.W1, f.KS = Distances(p.sorted[k], synth.sorted[k])
		m.W1 += f.W1 / n
		m.KS += f.KS / n
		m.ACF += f.ACF / n
		features[k] = f
	}
	for i, c := range p.corr {
		m.Corr += math.Abs(c-synth.corr[i]) / float64(len(p.corr))
	}
	return m, features
}

// cut gives the first rows of windows of n, step apart, in n rows total or,
// with piece > 0, within pieces of that length.
func cut(total, piece, n, step int) []int {
	if piece == 0 {
		piece = total
	}
	var at []int
	for from := 0; from < total; from += piece {
		for i := from; i+n <= min(from+piece, total); i += step {
			at = append(at, i)
		}
	}
	return at
}

// acf is the autocorrelation of x within windows, about the mean and over the
// variance of all of them, at lags 1…20.
func acf(x []float64, at []int, n int) []float64 {
	var mean, variance float64
	count := float64(len(at) * n)
	for _, i := range at {
		for _, v := range x[i : i+n] {
			mean += v / count
		}
	}
	for _, i := range at {
		for _, v := range x[i : i+n] {
			variance += (v - mean) * (v - mean) / count
		}
	}
	variance += 1e-12
	out := make([]float64, min(lags, n-1))
	for lag := range out {
		d := lag + 1
		var sum float64
		for _, i := range at {
			w := x[i : i+n]
			for t := range w[d:] {
				sum += (w[t] - mean) * (w[t+d] - mean)
			}
		}
		out[lag] = sum / float64(len(at)*(n-d)) / variance
	}
	return out
}

// spread is the mean over windows of the standard deviation, and of |change|
// from row to row.
func spread(x []float64, at []int, n int) (sd, step float64) {
	for _, i := range at {
		w := x[i : i+n]
		var mean, square float64
		for _, v := range w {
			mean += v / float64(n)
		}
		for t, v := range w {
			square += (v - mean) * (v - mean) / float64(n)
			if t > 0 {
				step += math.Abs(v-w[t-1]) / float64((n-1)*len(at))
			}
		}
		sd += math.Sqrt(square) / float64(len(at))
	}
	return sd, step
}

// Distances are the Wasserstein-1 distance ∫|F−G| and the Kolmogorov-Smirnov
// statistic max|F−G| of two sorted samples, F and G their distributions.
func Distances(a, b []float64) (w1, ks float64) {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		var x float64
		switch {
		case j == len(b) || i < len(a) && a[i] <= b[j]:
			x = a[i]
		default:
			x = b[j]
		}
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		d := math.Abs(float64(i)/float64(len(a)) - float64(j)/float64(len(b)))
		ks = max(ks, d)
		next := math.Inf(1)
		if i < len(a) {
			next = a[i]
		}
		if j < len(b) {
			next = min(next, b[j])
		}
		if !math.IsInf(next, 1) {
			w1 += d * (next - x)
		}
	}
	return w1, ks
}

// correlations are Pearson's, of every pair of columns; 0 where one is constant.
func correlations(t Table) []float64 {
	f, n := len(t.Columns), float64(t.Rows())
	z := make([][]float64, f)
	for k := range z {
		z[k] = t.column(k)
		var mean, square float64
		for _, v := range z[k] {
			mean += v / n
		}
		for i := range z[k] {
			z[k][i] -= mean
			square += z[k][i] * z[k][i]
		}
		for i := range z[k] {
			if square > 0 {
				z[k][i] /= math.Sqrt(square)
			}
		}
	}
	var out []float64
	for a := range f {
		for b := a + 1; b < f; b++ {
			var sum float64
			for i := range z[a] {
				sum += z[a][i] * z[b][i]
			}
			out = append(out, sum)
		}
	}
	return out
}

// floor is what real data score against themselves: windows of it drawn with
// replacement, as many rows as the synthetic table has.
func floor(real *profile, rows, draws int, seed uint64) [3]Means {
	r := real.table
	all := make([]Means, draws)
	f := len(r.Columns)
	for d := range all {
		key := rng.Key{Seed: seed, A: uint32(d), Purpose: rng.Bootstrap}
		fake := Table{Columns: r.Columns}
		for i := range max(1, rows/windowRows) {
			from := key.Intn(uint32(i), r.Rows()-windowRows)
			fake.Values = append(fake.Values, r.Values[from*f:(from+windowRows)*f]...)
		}
		all[d], _ = real.compare(newProfile(fake, windowRows, windowRows, windowRows))
		all[d].MMinmax = M(r, fake, 0)
	}
	var out [3]Means
	for _, get := range []func(*Means) *float64{
		func(m *Means) *float64 { return &m.W1 }, func(m *Means) *float64 { return &m.KS },
		func(m *Means) *float64 { return &m.ACF }, func(m *Means) *float64 { return &m.Corr },
		func(m *Means) *float64 { return &m.MMinmax },
	} {
		x := make([]float64, draws)
		for d := range all {
			x[d] = *get(&all[d])
		}
		slices.Sort(x)
		for i, p := range []float64{.05, .5, .95} {
			*get(&out[i]) = telemetry.Quantile(x, p)
		}
	}
	return out
}

// Median is the score of the middle: of every figure the median over scores,
// which compare several tables with one, as many rollouts with a recording.
func Median(scores []Score) Score {
	if len(scores) == 0 {
		return Score{}
	}
	out := scores[0]
	out.Features, out.MBy, out.MRawBy = slices.Clone(out.Features), slices.Clone(out.MBy), slices.Clone(out.MRawBy)
	median := func(get func(*Score) *float64) {
		x := make([]float64, len(scores))
		for i := range scores {
			x[i] = *get(&scores[i])
		}
		slices.Sort(x)
		*get(&out) = telemetry.Quantile(x, .5)
	}
	for _, get := range []func(*Score) *float64{
		func(s *Score) *float64 { return &s.MRaw2600 }, func(s *Score) *float64 { return &s.MMinmax2600 },
		func(s *Score) *float64 { return &s.Mean.W1 }, func(s *Score) *float64 { return &s.Mean.KS },
		func(s *Score) *float64 { return &s.Mean.ACF }, func(s *Score) *float64 { return &s.Mean.Corr },
		func(s *Score) *float64 { return &s.Mean.MMinmax },
	} {
		median(get)
	}
	for k := range out.MBy {
		median(func(s *Score) *float64 { return &s.MBy[k] })
		median(func(s *Score) *float64 { return &s.MRawBy[k] })
	}
	for k := range out.Features {
		for _, get := range []func(*Feature) *float64{
			func(f *Feature) *float64 { return &f.W1 }, func(f *Feature) *float64 { return &f.KS },
			func(f *Feature) *float64 { return &f.ACF }, func(f *Feature) *float64 { return &f.SD },
			func(f *Feature) *float64 { return &f.Step },
		} {
			median(func(s *Score) *float64 { return get(&s.Features[k]) })
		}
	}
	return out
}
