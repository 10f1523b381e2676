package closedloop

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
)

// kind is how a column becomes classes of a head and back.
type kind string

// The kinds of columns. Each head's value is one number x of a second; a
// column's value v comes of it.
const (
	constantKind kind = "constant" // never changes: no head
	levelKind    kind = "level"    // of the quality columns together: the class itself
	qualityKind  kind = "quality"  // a column that the level sets: no head of its own
	changeKind   kind = "change"   // x = v - the value a second ago (the player's buffer)
	shareKind    kind = "share"    // x = v / limit (a queue's depth)
	besideKind   kind = "beside"   // x = (v - the depth of the switch) / limit (another depth of it)
	perKind      kind = "per"      // x = v / (1 + the depth of the switch) (a wait)
	valueKind    kind = "value"    // x = v
)

// column is a field that is generated.
type column struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit,omitempty"`
	Kind    kind      `json:"kind"`
	Switch  int       `json:"switch"` // from 0; -1: none
	Head    int       `json:"head"`   // -1: none
	Value   float32   `json:"value,omitempty"`
	Lo      float32   `json:"lo"` // measured range
	Hi      float32   `json:"hi"`
	Integer bool      `json:"integer,omitempty"`
	Levels  []float32 `json:"levels,omitempty"` // of a quality column, by level
	Mean    float64   `json:"mean"`             // of x, and its deviation: the scale of inputs
	SD      float64   `json:"sd"`
}

// head is a distribution: of a column, or of the level.
type head struct {
	Name   string    `json:"name"`
	Column int       `json:"column"` // the first of the level's
	Bins   *seq.Bins `json:"bins,omitempty"`
	Given  []int     `json:"given,omitempty"`
	Follow float64   `json:"follow,omitempty"` // how far places inside bins go with those of the head Given last, 0 to 1
}

// codec is how seconds become inputs and classes, and classes become seconds.
type codec struct {
	Columns  []column  `json:"columns"`
	Heads    []head    `json:"heads"`
	Levels   int       `json:"levels"`   // classes of the level; 0 without
	Switches int       `json:"switches"` // limits of a second: 1 where all switches had one
	Limits   [][]int32 `json:"limits"`   // [switches] recorded, packets, ascending
	Knots    []float64 `json:"knots"`    // quantiles of the buffer, for its hats
	Buffer   int       `json:"buffer"`   // column; -1 without
	Load     *load     `json:"load"`
	Clock    int       `json:"clock,omitempty"`
	Open     bool      `json:"open,omitempty"`
	Density  bool      `json:"density,omitempty"`
	Full     []float64 `json:"full,omitempty"`    // seconds of buffer, by level, that a player keeps at most; nil without one, and in earlier checkpoints
	Restart  bool      `json:"restart,omitempty"` // with each regime running means, rises and the network's state begin anew; false in earlier checkpoints
	Played   bool      `json:"played,omitempty"`  // how long ago each level was last seen is an input

	means []int // heads whose running means are inputs
	heads []int // heads whose last class is an input as it is
}

// averages are the time constants of running means that are inputs, seconds.
var averages = [...]float64{4, 16, 64}

const (
	bufferKnots = 16
	longAgo     = 240 // seconds: older changes look alike
	rises       = 4   // of the buffer, whose distances in time are inputs
)

// newCodec fits a codec to recordings, and gives the regimes of their seconds.
func newCodec(c Config, recordings []telemetry.Recording) (*codec, [][]uint8, error) {
	if len(recordings) == 0 {
		return nil, nil, errors.New("closedloop: there is no recording")
	}
	k := &codec{Buffer: -1, Switches: 1, Clock: c.Clock, Open: c.Open, Density: c.Density, Restart: true, Played: c.Played}
	fields := recordings[0].Data.Fields()
	for i, r := range recordings {
		if !slices.Equal(r.Data.Fields(), fields) {
			return nil, nil, fmt.Errorf("closedloop: recordings 1 and %d have different fields", i+1)
		}
		if n := r.Switches(); n != k.Switches && n > 1 {
			if k.Switches > 1 {
				return nil, nil, fmt.Errorf("closedloop: a recording has %d limits a second, recording %d has %d", k.Switches, i+1, n)
			}
			k.Switches = n
		}
	}
	if err := k.limits(recordings); err != nil {
		return nil, nil, err
	}
	if err := k.describe(fields, recordings); err != nil {
		return nil, nil, err
	}
	k.full(recordings)
	if err := k.fitHeads(c, recordings); err != nil {
		return nil, nil, err
	}
	if c.Regimes == 0 && c.Clock > 0 {
		c.Regimes = 1 // the clock says what the load is
	}
	var paths [][]uint8
	k.Load, paths = inferLoad(k, recordings, c.Regimes)
	return k, paths, nil
}

func (k *codec) limits(recordings []telemetry.Recording) error {
	seen := make([]map[int32]bool, k.Switches)
	for s := range seen {
		seen[s] = map[int32]bool{}
	}
	limits := make([]int32, k.Switches)
	for i, r := range recordings {
		for t := range r.Data.Len() {
			r.LimitsAt(t, limits)
			for s, l := range limits {
				if l < 1 {
					return fmt.Errorf("closedloop: recording %d, second %d: a limit of %d packets", i+1, t, l)
				}
				seen[s][l] = true
			}
		}
	}
	for s := range seen {
		var all []int32
		for l := range seen[s] {
			all = append(all, l)
		}
		slices.Sort(all)
		if len(all) > 64 {
			return fmt.Errorf("closedloop: %d different limits: 64 at most", len(all))
		}
		k.Limits = append(k.Limits, all)
	}
	return nil
}

// describe finds each column's kind.
func (k *codec) describe(fields []telemetry.Field, recordings []telemetry.Recording) error {
	for j, f := range fields {
		c := column{Name: f.Name, Unit: f.Unit, Switch: -1, Head: -1, Integer: true}
		any := false
		for _, r := range recordings {
			for t := range r.Data.Len() {
				v, ok := r.Data.At(t, j)
				if !ok {
					continue
				}
				if !any {
					c.Lo, c.Hi, any = v, v, true
				}
				c.Lo, c.Hi = min(c.Lo, v), max(c.Hi, v)
				c.Integer = c.Integer && v == float32(math.Trunc(float64(v)))
			}
		}
		if !any {
			return fmt.Errorf("closedloop: %s was never measured", f.Name)
		}
		stem := strings.TrimRight(f.Name, "0123456789")
		if stem != f.Name {
			_, _ = fmt.Sscan(f.Name[len(stem):], &c.Switch)
			c.Switch--
		}
		switch {
		case c.Lo == c.Hi:
			c.Kind, c.Value = constantKind, c.Lo
		case f.Name == "lbo_s":
			c.Kind, k.Buffer = changeKind, j
		case slices.Contains([]string{"fps", "rep_kbps", "width", "height"}, f.Name):
			c.Kind = qualityKind
		case stem == "enq_qdepth":
			c.Kind = shareKind
		case stem == "deq_qdepth":
			c.Kind = besideKind
		case stem == "deq_timedelta":
			c.Kind = perKind
		default:
			c.Kind = valueKind
		}
		k.Columns = append(k.Columns, c)
	}
	for j := range k.Columns { // without a depth before it, a column is by itself
		c := &k.Columns[j]
		if (c.Kind == besideKind || c.Kind == perKind) && k.depth(c.Switch) < 0 {
			c.Kind = valueKind
			if strings.HasPrefix(c.Name, "deq_qdepth") {
				c.Kind = shareKind
			}
		}
	}
	if k.Buffer >= 0 {
		var v []float64
		for _, r := range recordings {
			for t := range r.Data.Len() {
				if x, ok := r.Data.At(t, k.Buffer); ok {
					v = append(v, float64(x))
				}
			}
		}
		slices.Sort(v)
		for i := range bufferKnots {
			q := telemetry.Quantile(v, float64(i)/(bufferKnots-1))
			if n := len(k.Knots); n == 0 || q > k.Knots[n-1] {
				k.Knots = append(k.Knots, q)
			}
		}
	}
	return k.ladder(recordings)
}

// depth is the column whose share of the limit is a switch's; -1 without.
func (k *codec) depth(sw int) int {
	return slices.IndexFunc(k.Columns, func(c column) bool { return c.Kind == shareKind && c.Switch == sw })
}

// ladder finds the levels: the combinations of quality columns.
func (k *codec) ladder(recordings []telemetry.Recording) error {
	var of []int
	for j, c := range k.Columns {
		if c.Kind == qualityKind {
			of = append(of, j)
		}
	}
	if len(of) == 0 {
		return nil
	}
	count := map[string]int{}
	values := map[string][]float32{}
	for _, r := range recordings {
		for t := range r.Data.Len() {
			if v, ok := k.quality(r, t, of); ok {
				key := fmt.Sprint(v)
				count[key]++
				values[key] = v
			}
		}
	}
	var levels [][]float32
	for key, n := range count {
		if n > 0 {
			levels = append(levels, values[key])
		}
	}
	if len(levels) > 64 { // a rate, not a ladder: columns by themselves
		for _, j := range of {
			k.Columns[j].Kind = valueKind
		}
		return nil
	}
	slices.SortFunc(levels, func(a, b []float32) int { return slices.CompareFunc(a, b, cmp.Compare[float32]) })
	k.Levels = len(levels)
	for i, j := range of {
		for _, l := range levels {
			k.Columns[j].Levels = append(k.Columns[j].Levels, l[i])
		}
	}
	return nil
}

// full finds how full the buffer gets, by level: nine tenths of the seconds of a
// level are below.
func (k *codec) full(recordings []telemetry.Recording) {
	if k.Buffer < 0 || k.Columns[k.Buffer].Kind != changeKind {
		return
	}
	at := make([][]float64, max(k.Levels, 1))
	v, ok := make([]float32, len(k.Columns)), make([]bool, len(k.Columns))
	for _, r := range recordings {
		for t := range r.Data.Len() {
			r.Data.Copy(t, v, ok)
			if l := k.playing(v, ok); l >= 0 && ok[k.Buffer] {
				at[l] = append(at[l], float64(v[k.Buffer]))
			}
		}
	}
	for _, x := range at {
		slices.Sort(x)
		full := 0.
		if len(x) > 0 {
			full = telemetry.Quantile(x, .9)
		}
		k.Full = append(k.Full, full)
	}
}

// quality is second t's values of columns of; false where one is missing.
func (k *codec) quality(r telemetry.Recording, t int, of []int) ([]float32, bool) {
	v := make([]float32, len(of))
	for i, j := range of {
		x, ok := r.Data.At(t, j)
		if !ok {
			return nil, false
		}
		v[i] = x
	}
	return v, true
}

// fields are the columns.
func (k *codec) fields() []telemetry.Field {
	var f []telemetry.Field
	for _, c := range k.Columns {
		f = append(f, telemetry.Field{Name: c.Name, Unit: c.Unit})
	}
	return f
}

// limitOf is the limit of a column's switch among those of a second.
func (k *codec) limitOf(c *column, limits []int32) float64 {
	if c.Switch >= 0 && c.Switch < len(limits) {
		return float64(limits[c.Switch])
	}
	return float64(limits[0])
}

// number is x of a column in a second of values v [F], with the values of the
// second before.
func (k *codec) number(j int, v, before []float32, limits []int32) float64 {
	c := &k.Columns[j]
	switch x := float64(v[j]); c.Kind {
	case changeKind:
		return math.Round(1e3*(x-float64(before[j]))) / 1e3 // differences of float32 have no more
	case shareKind:
		return x / k.limitOf(c, limits)
	case besideKind:
		return (x - float64(v[k.depth(c.Switch)])) / k.limitOf(c, limits)
	case perKind:
		return x / (1 + float64(v[k.depth(c.Switch)]))
	default:
		return x
	}
}

// value is number's inverse; v holds the columns that come before.
func (k *codec) value(j int, x float64, v, before []float32, limits []int32) float32 {
	c := &k.Columns[j]
	switch c.Kind {
	case changeKind:
		x += float64(before[j])
	case shareKind:
		x *= k.limitOf(c, limits)
	case besideKind:
		x = x*k.limitOf(c, limits) + float64(v[k.depth(c.Switch)])
	case perKind:
		x *= 1 + float64(v[k.depth(c.Switch)])
	}
	if c.Integer {
		x = math.Round(x)
	}
	return float32(min(max(x, float64(c.Lo)), float64(c.Hi)))
}

// needs are the columns that a column's number is made of, beside itself.
func (k *codec) needs(j int) (same, before int) {
	switch c := &k.Columns[j]; c.Kind {
	case changeKind:
		return -1, j
	case besideKind, perKind:
		return k.depth(c.Switch), -1
	}
	return -1, -1
}

// fitHeads makes a head for each column that has a distribution: the level,
// the buffer, other columns of the player, then switch by switch the depth and
// what goes with it.
func (k *codec) fitHeads(c Config, recordings []telemetry.Recording) error {
	add := func(j int, given ...int) error {
		col := &k.Columns[j]
		x, err := k.numbers(j, recordings)
		if err != nil {
			return err
		}
		n := c.Bins
		if col.Kind == valueKind || col.Kind == changeKind {
			n = min(n, 16)
		}
		b, err := seq.NewBins(x, n)
		if err == nil && k.Density {
			b, err = grid(x)
		}
		if err != nil {
			return fmt.Errorf("closedloop: %s: %w", col.Name, err)
		}
		mean, sd := 0., 0.
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			sd += (v - mean) * (v - mean) / float64(len(x))
		}
		col.Mean, col.SD, col.Head = mean, max(math.Sqrt(sd), 1e-9), len(k.Heads)
		k.Heads = append(k.Heads, head{Name: col.Name, Column: j, Bins: b, Given: given})
		return nil
	}
	if k.Levels > 1 {
		j := slices.IndexFunc(k.Columns, func(c column) bool { return c.Kind == qualityKind })
		k.Columns[j].Head = 0
		k.Heads = append(k.Heads, head{Name: "level", Column: j})
	}
	for _, want := range []kind{changeKind, valueKind} {
		for j := range k.Columns {
			if c := &k.Columns[j]; c.Kind == want && c.Switch < 0 {
				if err := add(j, upTo(len(k.Heads))...); err != nil {
					return err
				}
			}
		}
	}
	var depths []int
	for j := range k.Columns {
		if k.Columns[j].Kind != shareKind {
			continue
		}
		given := slices.Clone(depths)
		if k.Buffer >= 0 && k.Columns[k.Buffer].Head >= 0 {
			given = append(given, k.Columns[k.Buffer].Head)
		}
		slices.Sort(given)
		if err := add(j, given...); err != nil {
			return err
		}
		depths = append(depths, k.Columns[j].Head)
	}
	for _, want := range []kind{perKind, besideKind, valueKind} {
		for j := range k.Columns {
			c := &k.Columns[j]
			if c.Kind != want || c.Switch < 0 {
				continue
			}
			var given []int
			for _, o := range k.Columns {
				if o.Switch == c.Switch && o.Head >= 0 {
					given = append(given, o.Head)
				}
			}
			slices.Sort(given)
			if err := add(j, given...); err != nil {
				return err
			}
		}
	}
	if len(k.Heads) == 0 {
		return errors.New("closedloop: no column of the recordings changes")
	}
	k.index()
	k.follow(recordings)
	return nil
}

// index finds what follows from the heads.
func (k *codec) index() { k.means, k.heads = k.averaged(), k.tokensIn() }

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// numbers are x of a column in all seconds in which it was measured.
func (k *codec) numbers(j int, recordings []telemetry.Recording) (x []float64, err error) {
	limits := make([]int32, k.Switches)
	for _, r := range recordings {
		n := len(k.Columns)
		v, before := make([]float32, n), make([]float32, n)
		ok, okBefore := make([]bool, n), make([]bool, n)
		for t := range r.Data.Len() {
			copy(before, v)
			copy(okBefore, ok)
			r.Data.Copy(t, v, ok)
			if t == 0 && k.Columns[j].Kind == changeKind || !k.measured(j, ok, okBefore) {
				continue
			}
			r.LimitsAt(t, limits)
			x = append(x, k.number(j, v, before, limits))
		}
	}
	if len(x) == 0 {
		return nil, fmt.Errorf("closedloop: %s was never measured in two seconds together", k.Columns[j].Name)
	}
	return x, nil
}

// measured says whether a column's number is known in a second.
func (k *codec) measured(j int, ok, before []bool) bool {
	same, last := k.needs(j)
	return ok[j] && (same < 0 || ok[same]) && (last < 0 || before[last])
}

// follow measures, for each head given another of its switch, how far places
// inside bins go together: of what is drawn inside a bin, such a share is
// taken over, or columns that agree in class would disagree in detail.
func (k *codec) follow(recordings []telemetry.Recording) {
	for h := range k.Heads {
		of := &k.Heads[h]
		if len(of.Given) == 0 || of.Bins == nil {
			continue
		}
		g := &k.Heads[of.Given[len(of.Given)-1]]
		if g.Bins == nil || k.Columns[g.Column].Switch != k.Columns[of.Column].Switch || k.Columns[g.Column].Switch < 0 {
			continue
		}
		var sum, n float64
		limits := make([]int32, k.Switches)
		for _, r := range recordings {
			m := len(k.Columns)
			v, before := make([]float32, m), make([]float32, m)
			ok, okBefore := make([]bool, m), make([]bool, m)
			for t := range r.Data.Len() {
				copy(before, v)
				copy(okBefore, ok)
				r.Data.Copy(t, v, ok)
				if t == 0 || !k.measured(of.Column, ok, okBefore) || !k.measured(g.Column, ok, okBefore) {
					continue
				}
				r.LimitsAt(t, limits)
				a := k.number(of.Column, v, before, limits)
				b := k.number(g.Column, v, before, limits)
				i, j := of.Bins.Encode(a), g.Bins.Encode(b)
				if lo, hi := of.Bins.Range(i); lo == hi {
					continue
				}
				if lo, hi := g.Bins.Range(j); lo == hi {
					continue
				}
				sum += 12 * (of.Bins.Within(i, a) - .5) * (g.Bins.Within(j, b) - .5)
				n++
			}
		}
		if n > 100 {
			of.Follow = sum / n // -1 to 1; with |Follow| the place is the other's, or its mirror image
		}
	}
}
