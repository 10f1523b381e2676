package selection

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// recording reads a file of the published recordings or skips the test.
func recording(t *testing.T, name string) Table {
	t.Helper()
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is unset: it names the folder of the published recordings")
	}
	x, err := ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// scored is what an independent implementation (Python: numpy, scipy) gives:
//
//	score.py REAL SYNTH --fast [--like --test]
type scored struct {
	Real, Synth string
	Like, Test  bool
	Rows        [2]int
	M           struct {
		Raw   float64 `json:"raw_2600"`
		First float64 `json:"minmax_2600"`
		All   float64 `json:"minmax_all"`
	}
	Mean  map[string]float64
	Live  []string
	Per   map[string]json.RawMessage `json:"per_feature"`
	Floor map[string][3]float64
}

func TestAgreesWithPython(t *testing.T) {
	b, err := os.ReadFile("testdata/score.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []scored
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s/%s", c.Real, c.Synth), func(t *testing.T) {
			s, err := Compare(recording(t, c.Real), recording(t, c.Synth), Options{Like: c.Like, Test: c.Test})
			if err != nil {
				t.Fatal(err)
			}
			near := func(what string, got, want, tol float64) {
				t.Helper()
				if !(math.Abs(got-want) <= tol*max(1, math.Abs(want))) {
					t.Errorf("%s is %.9g, want %.9g", what, got, want)
				}
			}
			if s.RealRows != c.Rows[0] || s.SynthRows != c.Rows[1] {
				t.Errorf("%d real and %d synthetic rows, want %v", s.RealRows, s.SynthRows, c.Rows)
			}
			near("M raw, 2600 rows", s.MRaw2600, c.M.Raw, 1e-6)
			near("M minmax, 2600 rows", s.MMinmax2600, c.M.First, 1e-6)
			near("M minmax, all rows", s.Mean.MMinmax, c.M.All, 1e-6)
			near("W1", s.Mean.W1, c.Mean["W1"], 1e-6)
			near("KS", s.Mean.KS, c.Mean["KS"], 1e-6)
			near("correlation error", s.Mean.Corr, c.Mean["corr_error"], 1e-6)
			near("ACF error", s.Mean.ACF, c.Mean["acf_error"], 1e-6)
			for what, get := range map[string]func(Feature) float64{
				"W1": func(f Feature) float64 { return f.W1 }, "KS": func(f Feature) float64 { return f.KS },
				"acf_error": func(f Feature) float64 { return f.ACF }, "sd_ratio": func(f Feature) float64 { return f.SD },
				"step_ratio": func(f Feature) float64 { return f.Step },
			} {
				var want []float64
				if err := json.Unmarshal(c.Per[what], &want); err != nil {
					t.Fatal(err)
				}
				for i, name := range c.Live {
					if s.Features[i].Name != name {
						t.Fatalf("column %d is %s, want %s", i, s.Features[i].Name, name)
					}
					near(what+" of "+name, get(s.Features[i]), want[i], 1e-6)
				}
			}
			// The floor's draws are other draws: its medians agree within a fifth.
			for what, got := range map[string]float64{"W1": s.Floor[1].W1, "KS": s.Floor[1].KS, "corr_error": s.Floor[1].Corr, "acf_error": s.Floor[1].ACF} {
				if want := c.Floor[what][1]; math.Abs(got-want) > .2*want {
					t.Errorf("floor's median %s is %.4g, score.py's is %.4g", what, got, want)
				}
			}
		})
	}
}

// The figures published with the recordings' analysis, to the digits given.
func TestPublishedFigures(t *testing.T) {
	for _, c := range []struct {
		peer              string
		limit             int
		all, first        string
		raw               float64
		w1, ks, corr, acf string
	}{
		{"models9", 32, "0.547", "3.845", 619953, "0.0437", "0.173", "0.190", "0.100"},
		{"models9", 64, "1.251", "4.467", 527344, "0.0332", "0.143", "0.092", "0.035"},
		{"models3", 32, "6.315", "6.316", 747041, "0.261", "0.563", "0.722", "0.545"},
		{"models3", 64, "5.423", "5.427", 660671, "0.247", "0.566", "0.755", "0.559"},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.peer, c.limit), func(t *testing.T) {
			s, err := Compare(recording(t, fmt.Sprintf("real_%d.csv", c.limit)),
				recording(t, fmt.Sprintf("peer_%s_best_modelsum_%d.csv", c.peer, c.limit)), Options{Draws: -1})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []struct {
				what, want string
				got        float64
			}{
				{"M minmax, all rows", c.all, s.Mean.MMinmax}, {"M minmax, first 2600", c.first, s.MMinmax2600},
				{"W1", c.w1, s.Mean.W1}, {"KS", c.ks, s.Mean.KS}, {"correlation", c.corr, s.Mean.Corr}, {"ACF", c.acf, s.Mean.ACF},
			} {
				if got := fmt.Sprintf("%.*f", len(f.want)-2, f.got); got != f.want {
					t.Errorf("%s is %s, want %s", f.what, got, f.want)
				}
			}
			if math.Round(s.MRaw2600) != c.raw {
				t.Errorf("M raw is %.1f, want %.0f", s.MRaw2600, c.raw)
			}
		})
	}
}

// table is rows of 13 columns from a function of (row, column).
func table(n int, f func(i, k int) float64) Table {
	t := Table{Columns: Columns}
	for i := range n {
		for k := range Columns {
			t.Values = append(t.Values, f(i, k))
		}
	}
	return t
}

func wave(i, k int) float64 { return math.Sin(float64(i)*.1*float64(k+1)) + float64(k) }

func TestM(t *testing.T) {
	one := func(x ...float64) Table { return Table{Columns: []string{"a"}, Values: x} }
	for _, c := range []struct {
		real, synth Table
		rows        int
		want        float64
	}{
		{one(1, 2, 3, 4, 5), one(5, 4, 3, 2, 1), 0, 0}, // order is nothing to M
		{one(1, 2, 3, 4, 5), one(2, 3, 4, 5, 6), 0, 1}, // the median moved by 1
		{one(1, 2, 3, 4, 5), one(2, 4, 6, 8, 10), 0, 2 + 3},
		{one(1, 2, 3, 4), one(1, 2, 3, 4, 100, 100), 4, 0}, // the first rows only
		{one(1, 2), one(1.5), 0, .5},                       // quartiles 1.25, 1.5, 1.75
	} {
		if got := M(c.real, c.synth, c.rows); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("M(%v, %v, %d) = %v, want %v", c.real.Values, c.synth.Values, c.rows, got, c.want)
		}
	}
}

// The published index i·iMax + j·jMax + k is not one to one; ours is.
func TestIndex(t *testing.T) {
	for _, c := range []struct{ i, j, k, publishedDistinct int }{{2, 2, 2, 7}, {3, 2, 2, 9}, {3, 3, 3, 13}} {
		ours, theirs := map[int]bool{}, map[int]bool{}
		for i := range c.i {
			for j := range c.j {
				for k := range c.k {
					ours[Index(i, j, k, c.j, c.k)] = true
					theirs[i*c.i+j*c.j+k] = true
				}
			}
		}
		n := c.i * c.j * c.k
		if len(ours) != n || !ours[0] || !ours[n-1] {
			t.Errorf("%d×%d×%d: %d indices", c.i, c.j, c.k, len(ours))
		}
		if len(theirs) == n {
			t.Errorf("%d×%d×%d: the published index is one to one", c.i, c.j, c.k)
		}
	}
}

func TestRank(t *testing.T) {
	r := Rank([][]float64{{3, 1}, {1, 4}, {1, 5}, {2, 1}, {math.NaN(), 2}})
	want := Ranking{Best: []int{1, 0}, Worst: []int{4, 2}, BestSum: 3, WorstSum: 4}
	if !slices.Equal(r.Best, want.Best) || !slices.Equal(r.Worst, want.Worst) || r.BestSum != want.BestSum || r.WorstSum != want.WorstSum {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func TestDistances(t *testing.T) {
	for _, c := range []struct {
		a, b   []float64
		w1, ks float64
	}{
		{[]float64{0, 1}, []float64{0, 1}, 0, 0},
		{[]float64{0, 0}, []float64{1, 1}, 1, 1},
		{[]float64{0, 1, 3}, []float64{5, 6, 8}, 5, 1}, // scipy.stats.wasserstein_distance's example
		{[]float64{0, 0, 1}, []float64{0}, 1. / 3, 1. / 3},
	} {
		if w1, ks := Distances(c.a, c.b); math.Abs(w1-c.w1) > 1e-12 || math.Abs(ks-c.ks) > 1e-12 {
			t.Errorf("Distances(%v, %v) = %v, %v, want %v, %v", c.a, c.b, w1, ks, c.w1, c.ks)
		}
	}
}

// What M cannot see the others do: shuffled rows have M near 0 and no time.
func TestShuffledRows(t *testing.T) {
	real := table(600, wave)
	shuffled := table(600, func(i, k int) float64 { return wave(i*251%600, k) })
	s, err := Compare(real, shuffled, Options{Draws: 20})
	if err != nil {
		t.Fatal(err)
	}
	if s.Mean.MMinmax > 1e-9 || s.Mean.W1 > 1e-9 {
		t.Errorf("M %v, W1 %v of the same rows in another order", s.Mean.MMinmax, s.Mean.W1)
	}
	if s.Mean.ACF < .2 || s.Floor[2].ACF > .1 || s.Features[0].Step < 2 {
		t.Errorf("ACF error %v (floor %v), step ratio %v", s.Mean.ACF, s.Floor[2].ACF, s.Features[0].Step)
	}
}

func TestGapsAndBlocks(t *testing.T) {
	grid := table(800, func(i, k int) float64 {
		if i%5 == 0 && k < 9 {
			return math.NaN()
		}
		return wave(i, k)
	})
	s, err := Compare(grid, table(800, wave), Options{Like: true, Test: true, Draws: -1})
	if err != nil {
		t.Fatal(err)
	}
	if s.RealRows != 160 || s.Mean.W1 != 0 || s.Mean.ACF > .2 {
		t.Errorf("%d rows, W1 %v, ACF error %v: blocks 3 and 7 have 160 whole rows and nothing differs", s.RealRows, s.Mean.W1, s.Mean.ACF)
	}
	for _, c := range []struct {
		real, synth Table
		o           Options
		want        string
	}{
		{grid, table(800, wave), Options{}, "160 real rows"},
		{grid, grid, Options{Like: true}, "160 synthetic rows"},
		{grid, table(799, wave), Options{Like: true}, "799 synthetic rows for a grid of 800"},
		{table(800, wave), table(800, wave), Options{Test: true}, "need a grid"},
		{table(49, wave), table(800, wave), Options{}, "49 real"},
		{table(800, wave), table(800, wave), Options{Rows: 1}, "windows of 1"},
		{table(800, wave), Table{Columns: []string{"a"}, Values: []float64{1}}, Options{}, "no column is measured in both"},
	} {
		if _, err := Compare(c.real, c.synth, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v does not say %q", err, c.want)
		}
	}
}

func TestCopyShare(t *testing.T) {
	// White noise: a window is nearest to itself, and to all others alike.
	noise := func(i, k int) float64 {
		return rng.Key{Seed: uint64(i), A: uint32(k), Purpose: rng.Bootstrap}.Float64(0)
	}
	real := table(1600, noise)
	var train, test Table
	train, test = real.pick(func(i int) bool { return telemetry.Train.Holds(i) }), real.pick(telemetry.Test.Holds)
	for _, c := range []struct {
		what   string
		synth  Table
		lo, hi float64
	}{
		{"copied test blocks", test, 0, .2},
		{"copied train blocks", train, .62, 1}, // a third of the draws hold the copied block, the rest are even: 2/3
		{"new blocks", table(1600, func(i, k int) float64 { return noise(i+1600, k) }), .3, .7},
	} {
		got, err := CopyShare(real, c.synth, 5, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got < c.lo || got > c.hi {
			t.Errorf("%s: share %v, want %v…%v", c.what, got, c.lo, c.hi)
		}
	}
	if _, err := CopyShare(table(200, noise), test, 1, 1); err == nil {
		t.Error("a recording without a test block has a copy share")
	}
}

func TestReadAndWrite(t *testing.T) {
	want := table(3, func(i, k int) float64 { return float64(i) + float64(k)/4 })
	var b bytes.Buffer
	if err := want.Write(&b, 1); err != nil {
		t.Fatal(err)
	}
	const head = header + "0.0,0.25,0.5,0.75,1.0,"
	if !strings.HasPrefix(b.String(), head) || !strings.HasSuffix(b.String(), ",5.0,1.0\n") {
		t.Errorf("wrote %q", b.String())
	}
	got, err := Read(&b)
	if err != nil || !slices.Equal(got.Values, want.Values) {
		t.Errorf("read %v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                                    "no header",
		"t,ts_ms\n1,1\n2,7\n":                 "there is no column to compare: found ts_ms",
		"name,city\na,b\nc,d\n":               "no column of numbers to model: found name (words), city (words)",
		strings.Join(Columns, ",") + "\n":     "there is no row",
		strings.Join(Columns, ",") + ",fps\n": "column FPS is a duplicate",
		strings.Join(Columns, ",") + "\n1,2,3,4,5,6,7,8,9,10,11,12,x\n":   `line 2: CalcBitrate: "x"`,
		strings.Join(Columns, ",") + "\n1,2,3,4,5,6,7,8,9,10,11,Inf,13\n": `line 2: FPS: "Inf"`,
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v does not say %q", text, err, want)
		}
	}
	if err := (Table{Columns: Columns, Values: make([]float64, 12)}).Write(&b, 0); err != nil {
		t.Errorf("a table without rows: %v", err)
	}
	want.Values[3] = math.NaN()
	if err := want.Write(&b, 0); err == nil {
		t.Error("a gap was written")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(strings.Join(Columns, ",") + "\n1,2,3,4,5,6,7,8,9,10,11,12,13\n")
	f.Add(strings.Join(Columns, ", ") + "\n,,,,,,,,,,11,12,1e400\n")
	f.Fuzz(func(t *testing.T, text string) {
		x, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		if x.Rows() == 0 || len(x.Columns) == 0 || len(x.Values) != x.Rows()*len(x.Columns) || slices.ContainsFunc(x.Values, func(v float64) bool { return math.IsInf(v, 0) }) {
			t.Errorf("%q gives %v", text, x)
		}
	})
}
