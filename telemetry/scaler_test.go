package telemetry_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// column is a recording of one measured column.
func column(t *testing.T, values ...float32) *telemetry.Dataset {
	t.Helper()
	valid := make([]bool, len(values))
	for i := range valid {
		valid[i] = true
	}
	d, err := telemetry.NewDataset([]telemetry.Field{{Name: "x"}}, 0, time.UnixMilli(0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fit(t *testing.T, d *telemetry.Dataset, kinds ...string) *telemetry.Scaler {
	t.Helper()
	s, err := telemetry.FitScaler(telemetry.All, map[string][]string{"": kinds}, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScaler(t *testing.T) {
	e := float32(math.E - 1)
	for _, c := range []struct {
		name  string
		kinds []string
		fit   []float32
		x     []float32
		want  []float32
	}{
		{"minmax", []string{"minmax"}, []float32{2, 10, 6}, []float32{2, 6, 10, 14, 0}, []float32{0, .5, 1, 1.5, -.25}},
		{"minmax of a constant", []string{"minmax"}, []float32{5, 5}, []float32{5, 6}, []float32{0, 1}},
		{"log1p", []string{"log1p", "minmax"}, []float32{0, e}, []float32{0, e, -e}, []float32{0, 1, -1}},
		// Ranks of 0 0 0 4 8 are 0…4: the zeros share 1.
		{"quantile", []string{"quantile"}, []float32{0, 8, 0, 4, 0}, []float32{-1, 0, 2, 4, 6, 8, 9}, []float32{.25, .25, .5, .75, .875, 1, 1}},
		{"quantile of a constant", []string{"quantile"}, []float32{5, 5, 5}, []float32{4, 5, 6}, []float32{.5, .5, .5}},
		{"quantile of one", []string{"quantile"}, []float32{5}, []float32{5}, []float32{0}},
		{"composed", []string{"quantile", "minmax"}, []float32{0, 8, 0, 4, 0}, []float32{0, 4, 8}, []float32{0, float32(2.) / 3, 1}},
	} {
		s := fit(t, column(t, c.fit...), c.kinds...)
		for i, x := range c.x {
			if got := s.Scale(0, x); got != c.want[i] {
				t.Errorf("%s: %v becomes %v, want %v", c.name, x, got, c.want[i])
			}
		}
	}
}

// TestScalerInverse is the promise of Scaler's comment, on random values of
// many magnitudes.
func TestScalerInverse(t *testing.T) {
	draw := rng.Key{Seed: 1}
	for i, kinds := range [][]string{{"minmax"}, {"log1p", "minmax"}} {
		for j, bounds := range [][2]float32{{0, 64}, {0, 480225}, {-480225, 64}, {639, 3312}, {7.064, 7.065}, {1e-6, 1e6}, {5, 5}} {
			s := fit(t, column(t, bounds[0], bounds[1]), kinds...)
			top := max(math.Abs(float64(bounds[0])), math.Abs(float64(bounds[1])))
			draw.A, draw.B = uint32(i), uint32(j)
			for n := range uint32(20000) {
				// From the top down to 2^-40 of it, either sign.
				x := float32(top * math.Exp2(-40*draw.Float64(2*n)))
				if draw.Float64(2*n+1) < .5 {
					x = -x
				}
				got := s.Inverse(0, s.Forward(0, float64(x)))
				if math.Abs(float64(x)) >= 0x1p-20*top && float32(got) != x || math.Abs(got-float64(x)) > 0x1p-46*top+0x1p-24*math.Abs(float64(x)) {
					t.Fatalf("%v over %v: %v comes back as %v", kinds, bounds, x, got)
				}
			}
		}
	}
}

// TestScalerInverseReal: every value measured in the recordings comes back,
// through every chain, and lies in [0, 1] meanwhile.
func TestScalerInverseReal(t *testing.T) {
	recs, err := telemetry.OpenFolder(data(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := telemetry.Join(openReader(t, "int_raw_poc.csv", telemetry.INT), nil, telemetry.Mean)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]*telemetry.Dataset{{recs[0].Data, recs[1].Data}, {raw}} {
		for _, kinds := range [][]string{{"minmax"}, {"log1p", "minmax"}, {"quantile"}, {"log1p", "quantile", "minmax"}} {
			s, err := telemetry.FitScaler(telemetry.All, map[string][]string{"": kinds}, data...)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range data {
				for c, f := range d.Fields() {
					for i := range d.Len() {
						x, ok := d.At(i, c)
						if !ok {
							continue
						}
						y := s.Forward(c, float64(x))
						if got := s.Inverse(c, y); float32(got) != x || y < 0 || y > 1 {
							t.Fatalf("%v: %s: %v becomes %v and comes back as %v", kinds, f.Name, x, y, got)
						}
					}
				}
			}
		}
	}
}

// TestFitScalerSplit: what is measured in a test block, or not at all, is not
// seen by a scaler of the train split.
func TestFitScalerSplit(t *testing.T) {
	values, valid := make([]float32, 400), make([]bool, 400)
	values[0], valid[0] = 1, true
	values[299], valid[299] = 3, true
	values[300], valid[300] = 100, true
	values[5] = -50
	d, err := telemetry.NewDataset([]telemetry.Field{{Name: "x"}}, 0, time.UnixMilli(0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	for split, want := range map[telemetry.Split]float32{telemetry.Train: 3, telemetry.All: 100} {
		s, err := telemetry.FitScaler(split, nil, d)
		if err != nil {
			t.Fatal(err)
		}
		if s.Scale(0, 1) != 0 || s.Scale(0, want) != 1 {
			t.Errorf("%v: 1 becomes %v, %v becomes %v", split, s.Scale(0, 1), want, s.Scale(0, want))
		}
	}
}

func TestScalerJSON(t *testing.T) {
	d := decodeGrid(t, "t,ts_ms,lbo_s,fps,stall_s\n0,0,0.1,18,\n1,0,7.3,30,\n2,0,61,18,\n")
	s, err := telemetry.FitScaler(telemetry.All, map[string][]string{"lbo_s": {"log1p", "minmax"}, "fps": {"quantile"}}, d)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"name":"lbo_s","unit":"s","steps":[{"kind":"log1p"},{"kind":"minmax","low":0.09531018115897588,"high":4.127134385045092}]},` +
		`{"name":"fps","unit":"1/s","steps":[{"kind":"quantile","values":[18,30],"ranks":[0.25,1]}]},` +
		`{"name":"stall_s","unit":"s","steps":[{"kind":"minmax"}]}]`
	if string(b) != want {
		t.Errorf("%s\nwant %s", b, want)
	}
	var again telemetry.Scaler
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	for c := range 3 {
		for _, x := range []float32{-1, 0, .1, 3.5, 20, 61, 100} {
			if a, b := s.Forward(c, float64(x)), again.Forward(c, float64(x)); a != b {
				t.Errorf("column %d: %v becomes %v, read again %v", c, x, a, b)
			}
		}
	}
	if names(again.Fields()) != "lbo_s fps stall_s" || again.Scale(2, 7) != 7 {
		t.Errorf("%v, a column without values scales 7 to %v", again.Fields(), again.Scale(2, 7))
	}
	if allocs := testing.AllocsPerRun(10, func() { s.Scale(0, 3); s.Scale(1, 20) }); allocs != 0 {
		t.Errorf("Scale allocates %v times", allocs)
	}
	for text, want := range map[string]string{
		`{}`: "cannot unmarshal",
		`[{"name":"x","steps":[{"kind":"cube"}]}]`:                                         `column 0, "x": step 0: kind: "cube" is unknown`,
		`[{"name":"x","steps":[{"kind":"minmax","low":2,"high":1}]}]`:                      "low 2, high 1 do not bound a minmax",
		`[{"name":"x","steps":[{"kind":"minmax","low":-1e308,"high":1e308}]}]`:             "do not bound a minmax",
		`[{"name":"x","steps":[{"kind":"log1p","high":1}]}]`:                               "do not bound a log1p",
		`[{"name":"x","steps":[{"kind":"quantile","values":[1,2],"ranks":[0]}]}]`:          "2 values and 1 ranks",
		`[{"name":"x","steps":[{"kind":"minmax","values":[1],"ranks":[0]}]}]`:              "1 values and 1 ranks in a minmax",
		`[{"name":"x","steps":[{"kind":"quantile","values":[1,1],"ranks":[0,1]}]}]`:        "values and ranks do not rise at 1",
		`[{"name":"x","steps":[{"kind":"quantile","values":[1,2],"ranks":[0.5,0.5]}]}]`:    "values and ranks do not rise at 1",
		`[{"name":"x","steps":[{"kind":"quantile","values":[1,2],"ranks":[0,1.5]}]}]`:      "rank 1.5 is outside",
		`[{"name":"x","unit":"s","scale":2,"steps":[{"kind":"minmax","low":0,"high":1}]}]`: `unknown field "scale"`,
		`[{"name":"x","steps":[{"kind":"log1p"},{"kind":"quantile","low":1,"high":2}]}]`:   "step 1: low 1, high 2 do not bound a quantile",
	} {
		var s telemetry.Scaler
		if err := json.Unmarshal([]byte(text), &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestFitScalerErrors(t *testing.T) {
	x := column(t, 1, 2)
	for _, c := range []struct {
		chains map[string][]string
		data   []*telemetry.Dataset
		want   string
	}{
		{nil, nil, "no data"},
		{map[string][]string{"y": {"minmax"}}, []*telemetry.Dataset{x}, `"y" is not one of the columns`},
		{map[string][]string{"x": {"cube", "minmax"}}, []*telemetry.Dataset{x}, `x: "cube" is not one of "log1p", "minmax", "quantile"`},
		{map[string][]string{"x": {"log1p"}}, []*telemetry.Dataset{x}, `x: ["log1p"] does not end in [0, 1]`},
		{map[string][]string{"": {}}, []*telemetry.Dataset{x}, `x: [] does not end in [0, 1]`},
		{nil, []*telemetry.Dataset{x, decodeGrid(t, "t,ts_ms,lbo_s\n0,0,1\n")}, "recording 1 has fields"},
	} {
		if _, err := telemetry.FitScaler(telemetry.All, c.chains, c.data...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
