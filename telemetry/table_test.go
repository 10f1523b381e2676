package telemetry

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// The ladder is the recorded video's; a quality is the level nearest to it, of
// what it says, and the higher of two as near.
func TestLadderByHand(t *testing.T) {
	if got := fmt.Sprint(Published()); got != "[{18 639 426 240} {24 1867 854 480} {30 3312 1280 720}]" {
		t.Error(got)
	}
	for _, c := range []struct {
		q    Quality
		want int
	}{
		{Quality{}, 0}, {Quality{FPS: 1}, 0}, {Quality{FPS: 1000}, 2}, {Quality{Kbps: 1}, 0}, {Quality{Kbps: 2589}, 1}, {Quality{Kbps: 2590}, 2},
		{Quality{Width: 639}, 0}, {Quality{Width: 640}, 1}, {Quality{Width: 1066}, 1}, {Quality{Width: 1067}, 2}, {Quality{Height: 359}, 0}, {Quality{Height: 360}, 1}, {Quality{Height: 599}, 1}, {Quality{Height: 600}, 2},
		// Two that disagree: 30 frames/s is a span from the lowest, 639 kbit/s .459 from the middle.
		{Quality{FPS: 30, Kbps: 639}, 1}, {Quality{FPS: 18, Kbps: 3312}, 2}, {Quality{FPS: 18, Kbps: 639, Height: 720}, 0}, {Quality{FPS: 24, Kbps: 1867, Height: 240}, 1},
		{Quality{FPS: 30, Width: 426, Height: 240}, 0}, {Quality{FPS: 18, Width: 1280, Height: 720}, 2}, {Quality{FPS: 27, Kbps: 1867}, 1}, {Quality{FPS: 26.99, Kbps: 2600}, 2},
	} {
		if got := c.q.Level(); got != c.want {
			t.Errorf("%+v: level %d, want %d", c.q, got, c.want)
		}
	}
	// Of a recording: what was not measured says nothing.
	fields := []Field{{"height", "px"}, {"lbo_s", "s"}, {"fps", "1/s"}, {"rep_kbps", "kbit/s"}}
	d, err := NewDataset(fields, 0, time.Unix(0, 0),
		[]float32{720, 1, 18, 639, 240, 1, 30, 3312, 480, 1, 18, 639, 720, 1, 24, 1867},
		[]bool{true, true, false, false, false, true, true, true, false, true, false, false, true, false, true, true})
	if err != nil {
		t.Fatal(err)
	}
	levels, valid := d.Levels()
	if fmt.Sprint(levels, valid) != "[2 2 0 1] [true true false true]" {
		t.Errorf("%v %v", levels, valid)
	}
}

func TestWindowIsOfRows(t *testing.T) {
	var w Window
	w.Size(3, 2, 4)
	if w.Rows() != 3 || len(w.Values) != 24 || len(w.Valid) != 24 || len(w.Reason) != 3 || w.Seconds != 2 || w.Fields != 4 {
		t.Errorf("%+v", w)
	}
	for i := range w.Values {
		w.Values[i], w.Valid[i] = float32(i), i%3 == 0
	}
	for i := range 3 {
		values, valid := w.Row(i)
		if len(values) != 8 || cap(values) != 8 || len(valid) != 8 || cap(valid) != 8 || values[0] != float32(8*i) || values[7] != float32(8*i+7) || valid[0] != (8*i%3 == 0) || valid[7] != ((8*i+7)%3 == 0) {
			t.Errorf("row %d: %v %v", i, values, valid)
		}
	}
	first := &w.Values[0]
	if w.Size(2, 3, 4); &w.Values[0] != first || w.Rows() != 2 {
		t.Error("a smaller window takes other memory")
	}
	if w.Size(4, 3, 4); len(w.Values) != 48 {
		t.Errorf("%d values", len(w.Values))
	}
	if s := Grow(make([]int, 1, 5), 5); len(s) != 5 || cap(s) != 5 {
		t.Errorf("%d of %d", len(s), cap(s))
	}
	for e, want := range map[End]string{Going: "going", Terminated: "terminated", Truncated: "truncated", 3: "End(3)"} {
		if e.String() != want {
			t.Errorf("%s, want %s", e, want)
		}
	}
}

// Blocks of 100 s, of which every fourth is held out (ARCHITECTURE, decision 9).
func TestSplitByHand(t *testing.T) {
	for _, c := range []struct {
		t    int
		test bool
	}{{0, false}, {99, false}, {299, false}, {300, true}, {399, true}, {400, false}, {699, false}, {700, true}, {799, true}, {800, false}} {
		if Test.Holds(c.t) != c.test || Train.Holds(c.t) == c.test || !All.Holds(c.t) {
			t.Errorf("second %d: test %v, train %v", c.t, Test.Holds(c.t), Train.Holds(c.t))
		}
	}
	for s, want := range map[Split]string{All: "all", Train: "train", Test: "test", 3: "unknown split"} {
		if s.String() != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
	for _, c := range []struct {
		s         Split
		n, length int
		want      string
	}{
		{Train, 403, 2, "0…298, 400…401"}, {Test, 410, 100, "300"}, {Test, 410, 101, ""}, {Test, 399, 100, ""}, {All, 5, 5, "0"}, {All, 5, 6, ""}, {All, 3, 1, "0…2"}, {All, 3, 0, ""}, {Test, 301, 1, "300"},
	} {
		var runs []string
		starts := c.s.Windows(c.n, c.length)
		for i := 0; i < len(starts); {
			j := i
			for j+1 < len(starts) && starts[j+1] == starts[j]+1 {
				j++
			}
			if runs = append(runs, fmt.Sprint(starts[i])); j > i {
				runs[len(runs)-1] += fmt.Sprint("…", starts[j])
			}
			i = j + 1
		}
		if got := strings.Join(runs, ", "); got != c.want {
			t.Errorf("%v of %d by %d: %s, want %s", c.s, c.n, c.length, got, c.want)
		}
	}
}

// What can be a measurement of each column, and what another file calls it.
func TestColumnsByHand(t *testing.T) {
	for name, want := range map[string][2]float64{
		"enq_qdepth1": {0, 524287}, "deq_timedelta12": {0, 60e6}, "deq_qdepth3": {0, 524287}, "probes2": {0, 1 << 20}, "lbo_s": {0, 3600}, "fps": {0, 1000}, "rep_kbps": {0, 200000},
		"calc_cum": {0, 1 << 53}, "calc_rate": {0, 1e6}, "width": {1, 16384}, "height": {1, 16384}, "stall_s": {0, 1.1},
		"other": {math.Inf(-1), math.Inf(1)}, "enq_qdepth": {math.Inf(-1), math.Inf(1)}, "enq_qdepth0": {math.Inf(-1), math.Inf(1)}, "enq_qdepth01": {math.Inf(-1), math.Inf(1)},
	} {
		f := Field{Name: name}
		low, high := f.Bounds()
		if low != want[0] || high != want[1] {
			t.Errorf("%s: %v…%v, want %v", name, low, high, want)
		}
		if !f.Plausible(min(max(low, -1e9), 1e9)) || !f.Plausible(max(min(high, 1e9), -1e9)) || f.Plausible(math.NaN()) {
			t.Errorf("%s: its bounds are not plausible", name)
		}
		if !math.IsInf(low, 0) && (f.Plausible(math.Nextafter(low, -1)) || f.Plausible(math.Nextafter(high, math.Inf(1)))) {
			t.Errorf("%s: what is outside of %v…%v is", name, low, high)
		}
	}
	for ms, want := range map[float64]bool{946684800000: true, 946684799999: false, 4102444800000: true, 4102444800001: false, math.NaN(): false} {
		if PlausibleTime(ms) != want {
			t.Errorf("%v: %v", ms, !want)
		}
	}
	for name, want := range map[string]string{
		" enq_qdepth2 ": "enq_qdepth2 packets", "deq_timedelta1": "deq_timedelta1 us", "Buffer": "lbo_s s", "LBO": "lbo_s s", "FPS": "fps 1/s", "ReportedBitrate": "rep_kbps kbit/s", "CalcBitrate": "calc_cum ",
		"lbo_s": "lbo_s s", "enq_qdepthN": "", "enq_qdepth": "", "Resolution": "", "lbo_s1": "", "x1": "", "": "", "probes10": "probes10 ", "enq_qdepth007": "",
	} {
		f, ok := Canonical(name)
		if got := f.Name + " " + f.Unit; ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v, want %q", name, got, ok, want)
		}
	}
	for name, want := range map[string]int{"enq_qdepth2": 2, "deq_qdepth12": 12, "lbo_s": 0, "x3": 0, "probes1": 1, "enq_qdepth0": 0} {
		if got := (Field{Name: name}).Hop(); got != want {
			t.Errorf("%s is of switch %d, want %d", name, got, want)
		}
	}
	var f []Field
	for _, n := range strings.Fields("stall_s other rep_kbps deq_qdepth10 enq_qdepth10 lbo_s deq_qdepth2 deq_timedelta2 enq_qdepth2 probes1 fps") {
		f = append(f, Field{Name: n})
	}
	SortFields(f)
	var names []string
	for _, x := range f {
		names = append(names, x.Name)
	}
	if got := strings.Join(names, " "); got != "probes1 enq_qdepth2 deq_timedelta2 deq_qdepth2 enq_qdepth10 deq_qdepth10 other lbo_s fps rep_kbps stall_s" {
		t.Error(got)
	}
}

// One second's probes, of which some measured a switch and some did not.
func TestSecondByHand(t *testing.T) {
	var probe []Field
	for s := 1; s <= 2; s++ {
		for _, n := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
			f, _ := Canonical(fmt.Sprint(n, s))
			probe = append(probe, f)
		}
	}
	type report struct {
		values []float64
		valid  string // by field, x where measured
	}
	a := report{[]float64{1, 100, 2, 10, 40, 20}, "xxxxxx"}
	b := report{[]float64{5, 300, 6, 50, 10, 60}, "xxxxxx"}
	c := report{[]float64{3, 300, 4, 30, 90, 40}, "xxxxxx"}
	d := report{[]float64{9, 0, 0, 0, 500, 0}, "x...x."} // postcards: a depth here, a delay there
	for _, k := range []struct {
		how     Aggregation
		reports []report
		want    string
	}{
		{Max, []report{a, b, c}, "5 300 6 50 90 60"}, {Mean, []report{a, b, c, d}, "4.5 233.33333333333334 4 30 160 40"}, {Max, nil, "- - - - - -"}, {Mean, []report{d}, "9 - - - 500 -"},
		{P95, []report{a, b}, "4.8 290 5.8 48 38.5 58"}, {P95, []report{d}, "9 - - - 500 -"}, {Count, []report{a, b, d}, "2 3"}, {Count, nil, "0 0"},
		{MaxTimedelta1, []report{a, b, c}, "5 300 6 50 10 60"}, {MaxTimedelta1, []report{c, b, a}, "3 300 4 30 90 40"}, {MaxTimedelta1, []report{d}, "9 - - - 500 -"},
		{MaxTimedelta1, []report{d, a}, "1 100 2 10 40 20"}, {MaxTimedelta1, []report{a, d}, "1 100 2 10 40 20"}, {MaxTimedelta1, nil, "- - - - - -"},
		{MaxTimedelta1, []report{{[]float64{1, 2, 3, 0, 0, 0}, "xxx..."}, {[]float64{0, 0, 0, 7, 8, 9}, "...xxx"}, {[]float64{0, 0, 0, 6, 9, 5}, "...xxx"}}, "1 2 3 6 9 5"},
		{MaxTimedelta1, []report{{[]float64{4, 0, 0, 7, 0, 0}, "x..x.."}, {[]float64{6, 0, 0, 5, 0, 0}, "x..x.."}}, "6 - - 5 - -"},
	} {
		s, err := NewSecond(probe, k.how)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // what was before a second is forgotten
			s.Reset()
			for _, r := range k.reports {
				valid := make([]bool, 6)
				for i := range valid {
					valid[i] = r.valid[i] == 'x'
				}
				s.Add(r.values, valid)
			}
			var got []string
			for i := range s.Fields() {
				if v, ok := s.Value(i); ok {
					got = append(got, fmt.Sprint(v))
				} else {
					got = append(got, "-")
				}
			}
			if text := strings.Join(got, " "); text != k.want {
				t.Errorf("%s of %v: %s, want %s", k.how, k.reports, text, k.want)
			}
		}
	}
	if s, err := NewSecond(probe, Count); err != nil || fmt.Sprint(s.Fields()) != "[{probes1 } {probes2 }]" {
		t.Errorf("%v %v", s.Fields(), err)
	}
	if _, err := NewSecond(probe, "min"); err == nil || !strings.Contains(err.Error(), `"min" is not one of`) {
		t.Errorf("got %v", err)
	}
	if _, err := NewSecond(probe[3:], MaxTimedelta1); err == nil || !strings.Contains(err.Error(), "needs deq_timedelta1") {
		t.Errorf("got %v", err)
	}
	if _, err := NewSecond(probe[3:], Max); err != nil {
		t.Error(err)
	}
}

// What is measured where tells recordings apart, even where the bytes of the
// measured values are the same.
func TestHashSeesTheMask(t *testing.T) {
	fields := []Field{{"a", ""}, {"b", "s"}}
	make := func(edit func(f []Field, limit *int, start *time.Time, v []float32, ok []bool)) string {
		f, limit, start := slices.Clone(fields), 32, time.Unix(5, 0)
		v, ok := []float32{1, 1, 1, 1}, []bool{true, false, true, true}
		if edit != nil {
			edit(f, &limit, &start, v, ok)
		}
		d, err := NewDataset(f, limit, start, v, ok)
		if err != nil {
			t.Fatal(err)
		}
		return d.Hash()
	}
	base := make(nil)
	if len(base) != 64 || make(nil) != base {
		t.Errorf("hash %s", base)
	}
	for name, edit := range map[string]func(f []Field, limit *int, start *time.Time, v []float32, ok []bool){
		"name":  func(f []Field, _ *int, _ *time.Time, _ []float32, _ []bool) { f[0].Name = "c" },
		"unit":  func(f []Field, _ *int, _ *time.Time, _ []float32, _ []bool) { f[1].Unit = "ms" },
		"limit": func(_ []Field, limit *int, _ *time.Time, _ []float32, _ []bool) { *limit = 33 },
		"start": func(_ []Field, _ *int, start *time.Time, _ []float32, _ []bool) { *start = time.Unix(6, 0) },
		"value": func(_ []Field, _ *int, _ *time.Time, v []float32, _ []bool) { v[3] = 2 },
		"mask":  func(_ []Field, _ *int, _ *time.Time, _ []float32, ok []bool) { ok[0], ok[1] = false, true },
		"order": func(f []Field, _ *int, _ *time.Time, _ []float32, _ []bool) { f[0], f[1] = f[1], f[0] },
	} {
		if make(edit) == base {
			t.Errorf("%s: the hash is the same", name)
		}
	}
	if make(func(_ []Field, _ *int, _ *time.Time, v []float32, _ []bool) { v[1] = 77 }) != base {
		t.Error("what was not measured is in the hash")
	}
}

// Filling and its shares; copies; a recording under another limit.
func TestDatasetByHand(t *testing.T) {
	fields := []Field{{"a", ""}, {"b", ""}, {"c", ""}}
	v := []float32{0, 5, 0, 3, 0, 0, 0, 7, 0, 4, 0, 0}
	ok := []bool{false, true, false, true, false, false, false, true, false, true, false, false}
	d, err := NewDataset(fields, 32, time.UnixMilli(1500), v, ok)
	if err != nil {
		t.Fatal(err)
	}
	// a: the median of 3 and 4 before the first; b holds; c was never measured.
	want := []float32{3.5, 5, 0, 3, 5, 0, 3, 7, 0, 4, 7, 0}
	got, valid := make([]float32, 12), make([]bool, 12)
	d.Copy(0, got, valid)
	if !slices.Equal(got, want) || !slices.Equal(valid, ok) {
		t.Errorf("%v %v", got, valid)
	}
	part := make([]float32, 6)
	d.Copy(1, part, nil)
	if !slices.Equal(part, want[3:9]) {
		t.Errorf("%v", part)
	}
	flags := make([]bool, 3)
	d.Copy(3, nil, flags)
	if !slices.Equal(flags, ok[9:]) {
		t.Errorf("%v", flags)
	}
	if x, measured := d.At(2, 1); x != 7 || !measured {
		t.Errorf("%v %v", x, measured)
	}
	if fmt.Sprint(d.Measured(), d.Empty(), d.Len(), d.Limit(), d.Column("c"), d.Column("d"), d.Start().UnixMilli()) != "[0.5 0.5 0] [c] 4 32 2 -1 1500" {
		t.Error(d.Measured(), d.Empty(), d.Len(), d.Limit(), d.Column("c"), d.Column("d"), d.Start().UnixMilli())
	}
	other, err := d.WithLimit(64)
	if err != nil || other.Limit() != 64 || d.Limit() != 32 || other.Hash() == d.Hash() {
		t.Errorf("%v", err)
	}
	if same, err := d.WithLimit(32); err != nil || same.Hash() != d.Hash() {
		t.Errorf("%v", err)
	}
	if _, err := d.WithLimit(0); err != nil {
		t.Error(err)
	}
	if _, err := d.WithLimit(-1); err == nil || !strings.Contains(err.Error(), "-1 packets is negative") {
		t.Errorf("got %v", err)
	}
	if c, counted := d.Counter(); c != nil || counted != nil {
		t.Error("has a counter")
	}
	// The sum of rates, which hold between measurements.
	rate, _ := Canonical("calc_rate")
	r, err := NewDataset([]Field{rate}, 0, time.Unix(0, 0), []float32{2, 9, 3}, []bool{true, false, true})
	if err != nil {
		t.Fatal(err)
	}
	if c, counted := r.Counter(); fmt.Sprint(c, counted) != "[2 2 5] [true false true]" {
		t.Errorf("%v %v", c, counted)
	}
}

func TestNewDatasetBothSides(t *testing.T) {
	one := []Field{{"a", ""}}
	for _, c := range []struct {
		fields []Field
		limit  int
		v      []float32
		ok     []bool
		want   string
	}{
		{one, 0, []float32{math.MaxFloat32}, []bool{true}, ""}, {one, 0, []float32{float32(math.Inf(1))}, []bool{false}, ""},
		{nil, 0, []float32{1}, []bool{true}, "1 values and 1 flags for 0 fields"}, {one, 0, nil, nil, "0 values"}, {append(one, Field{"b", ""}), 0, []float32{1}, []bool{true}, "for 2 fields"},
		{one, 0, []float32{1}, nil, "1 values and 0 flags"}, {one, -1, []float32{1}, []bool{true}, "-1 packets"}, {[]Field{{"", ""}}, 0, []float32{1}, []bool{true}, "empty"},
		{append(one, Field{"a", "s"}), 0, []float32{1, 1}, []bool{true, true}, `field 1: "a" is empty or named twice`},
		{one, 0, []float32{1, float32(math.NaN())}, []bool{true, true}, "second 1: a is NaN"}, {one, 0, []float32{float32(math.Inf(-1))}, []bool{true}, "second 0: a is -Inf"},
	} {
		_, err := NewDataset(c.fields, c.limit, time.Unix(0, 0), c.v, c.ok)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The steps of scalers at values whose images are known.
func TestScalerSteps(t *testing.T) {
	for _, c := range []struct {
		step scaleStep
		x, y float64
	}{
		{scaleStep{Kind: "minmax", Low: 10, High: 30}, 10, 0}, {scaleStep{Kind: "minmax", Low: 10, High: 30}, 25, .75}, {scaleStep{Kind: "minmax", Low: 10, High: 30}, 50, 2}, {scaleStep{Kind: "minmax", Low: 4, High: 4}, 6, 2},
		{scaleStep{Kind: "log1p"}, math.E - 1, 1}, {scaleStep{Kind: "log1p"}, 1 - math.E, -1}, {scaleStep{Kind: "log1p"}, 0, 0},
		{scaleStep{Kind: "quantile", Values: []float64{1, 2, 6}, Ranks: []float64{0, .25, 1}}, 2, .25}, {scaleStep{Kind: "quantile", Values: []float64{1, 2, 6}, Ranks: []float64{0, .25, 1}}, 4, .625},
		{scaleStep{Kind: "quantile", Values: []float64{1, 2, 6}, Ranks: []float64{0, .25, 1}}, 1.5, .125}, {scaleStep{Kind: "quantile"}, 7, 7},
	} {
		if y := c.step.forward(c.x); math.Abs(y-c.y) > 1e-12 {
			t.Errorf("%+v: %v becomes %v, want %v", c.step, c.x, y, c.y)
		}
		if x := c.step.inverse(c.y); math.Abs(x-c.x) > 1e-12 {
			t.Errorf("%+v: %v comes from %v, want %v", c.step, c.y, x, c.x)
		}
	}
	q := scaleStep{Kind: "quantile", Values: []float64{1, 2, 6}, Ranks: []float64{0, .25, 1}}
	if q.forward(0) != 0 || q.forward(9) != 1 || q.inverse(-1) != 1 || q.inverse(2) != 6 {
		t.Error("outside of what was fitted it does not stay at the ends")
	}
	s, err := fitStep("quantile", []float64{1, 1, 1, 5, 7})
	if err != nil || fmt.Sprint(s.Values, s.Ranks) != "[1 5 7] [0.25 0.75 1]" {
		t.Errorf("%+v %v", s, err)
	}
	if s, err = fitStep("quantile", []float64{4}); err != nil || fmt.Sprint(s.Values, s.Ranks) != "[4] [0]" {
		t.Errorf("%+v %v", s, err)
	}
	for n, want := range map[int]int{1023: 1023, 1024: 1024, 1025: 1024, 5000: 1024} {
		var v []float64
		for i := range n {
			v = append(v, float64(i))
		}
		if s, _ = fitStep("quantile", v); len(s.Values) != want || s.Values[0] != 0 || s.Values[want-1] != float64(n-1) || s.Ranks[0] != 0 || s.Ranks[want-1] != 1 {
			t.Errorf("%d values: %d knots from %v to %v", n, len(s.Values), s.Values[0], s.Values[len(s.Values)-1])
		}
	}
	if s, err = fitStep("minmax", []float64{3, 8}); err != nil || s.Low != 3 || s.High != 8 || s.span() != 5 {
		t.Errorf("%+v %v", s, err)
	}
	if s, err = fitStep("minmax", nil); err != nil || s.Low != 0 || s.High != 0 || s.span() != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if _, err = fitStep("zscore", nil); err == nil {
		t.Error("zscore is fitted")
	}
}

func TestScalerCheckBothSides(t *testing.T) {
	for text, want := range map[string]string{
		`[{"name":"a","unit":"s","steps":[{"kind":"log1p"},{"kind":"minmax","low":-1,"high":2}]}]`: "",
		`[{"name":"a","steps":[{"kind":"minmax","low":2,"high":2}]}]`:                              "",
		`[{"name":"a","steps":[{"kind":"quantile","values":[1,2],"ranks":[0,1]}]}]`:                "",
		`[{"name":"a","steps":[{"kind":"quantile"}]}]`:                                             "",
		`[{"name":"a","steps":[]}]`:                                                                "",
		`[{"name":"a","steps":[{"kind":"minmax","low":2,"high":1}]}]`:                              "do not bound",
		`[{"name":"a","steps":[{"kind":"minmax","low":-1e308,"high":1e308}]}]`:                     "do not bound",
		`[{"name":"a","steps":[{"kind":"log1p","high":1}]}]`:                                       "do not bound",
		`[{"name":"a","steps":[{"kind":"quantile","low":-1}]}]`:                                    "do not bound",
		`[{"name":"a","steps":[{"kind":"minmax"},{"kind":"x"}]}]`:                                  `step 1: kind: "x" is unknown`,
		`[{"name":"a","steps":[{"kind":"quantile","values":[1,2],"ranks":[0]}]}]`:                  "2 values and 1 ranks",
		`[{"name":"a","steps":[{"kind":"minmax","values":[1],"ranks":[0]}]}]`:                      "1 values and 1 ranks",
		`[{"name":"a","steps":[{"kind":"quantile","values":[1,1],"ranks":[0,1]}]}]`:                "do not rise at 1",
		`[{"name":"a","steps":[{"kind":"quantile","values":[1,2,3],"ranks":[0,0.5,0.5]}]}]`:        "do not rise at 2",
		`[{"name":"a","steps":[{"kind":"quantile","values":[1,2],"ranks":[-0.1,1]}]}]`:             "rank -0.1",
		`[{"name":"a","steps":[{"kind":"quantile","values":[1,2],"ranks":[0,1.1]}]}]`:              "rank 1.1",
		`[{"name":"a","steps":[{"kind":"quantile","values":[-1e308,1e308],"ranks":[0,1]}]}]`:       "span too much",
		`[{"name":"b","step":[]}]`:                                                                 "unknown field",
	} {
		var s Scaler
		err := json.Unmarshal([]byte(text), &s)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err == nil {
			if again, err := json.Marshal(&s); err != nil || len(again) < len(text)-20 || len(s.Fields()) != 1 || s.Fields()[0].Name != "a" {
				t.Errorf("%s becomes %s, %v", text, again, err)
			}
		}
	}
}

func TestOutliersByHand(t *testing.T) {
	// Quartiles 2 and 4 of 1…5: fences at -1 and 7.
	v := []float64{5, 3, 1, 2, 4}
	if low, high := fences(v); low != -1 || high != 7 || !slices.IsSorted(v) {
		t.Errorf("%v…%v", low, high)
	}
	d, err := NewDataset([]Field{{"a", ""}, {"b", ""}}, 0, time.Unix(0, 0),
		[]float32{1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 7, 9, 99, 0}, []bool{true, true, true, true, true, true, true, true, true, true, true, false, false, true})
	if err != nil {
		t.Fatal(err)
	}
	// a: quartiles of 1 2 3 4 5 7 are 2.25 and 4.75, fences -1.5 and 8.5; 99 was not measured.
	if got := fmt.Sprint(d.Outliers()); strings.Contains(got, "true") {
		t.Error(got)
	}
	d, err = NewDataset([]Field{{"a", ""}}, 0, time.Unix(0, 0), []float32{1, 2, 3, 4, 5, 8.6, -40}, []bool{true, true, true, true, true, true, true})
	if err != nil {
		t.Fatal(err)
	}
	// Quartiles of -40 1 2 3 4 5 8.6: 1.5 and 4.5, fences -3 and 9.
	if got := fmt.Sprint(d.Outliers()); got != "[false false false false false false true]" {
		t.Error(got)
	}
	tab := &Table{Fields: []Field{{"a", ""}, {"b", ""}}, Seconds: []int64{1, 2, 3}, Values: []float64{1, 2, 3, 4, 5, 6}}
	if tab.Reverse(); fmt.Sprint(tab.Seconds, tab.Values) != "[3 2 1] [5 6 3 4 1 2]" {
		t.Error(tab.Seconds, tab.Values)
	}
	if err := tab.fillMean([]bool{true, true, false, true, true, false}); err != nil || fmt.Sprint(tab.Values) != "[5 6 3 4 1 5]" {
		t.Error(tab.Values, err)
	}
	if err := tab.fillMean([]bool{true, false, true, false, true, false}); err == nil || !strings.Contains(err.Error(), "b was never measured") {
		t.Errorf("got %v", err)
	}
}

// A recording as it is written: what was not measured is an empty cell.
func TestGridByHand(t *testing.T) {
	var fields []Field
	for _, n := range []string{"enq_qdepth1", "lbo_s", "calc_rate"} {
		f, _ := Canonical(n)
		fields = append(fields, f)
	}
	d, err := NewDataset(fields, 32, time.UnixMilli(1700000000500), []float32{3, 1.5, 10, 0, 2, 0, 7, 0, 2.5}, []bool{true, true, true, false, true, false, true, false, true})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := d.EncodeCSV(&b); err != nil {
		t.Fatal(err)
	}
	want := "t,ts_ms,queue,enq_qdepth1,lbo_s,calc_cum,calc_rate,int_present\n" +
		"0,1700000000500,32,3,1.5,10,10,1\n1,1700000001500,32,,2,,,0\n2,1700000002500,32,7,,12.5,2.5,1\n"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
	for _, c := range []struct {
		f    Field
		v    float32
		want string
	}{{Field{"calc_rate", "x"}, 1, `no column "calc_rate" in "x"`}, {Field{"lbo_s", "ms"}, 1, `no column "lbo_s" in "ms"`}, {Field{"lbo_s", "s"}, -1, "second 0: lbo_s is -1"}} {
		d, err := NewDataset([]Field{c.f}, 0, time.Unix(0, 0), []float32{c.v}, []bool{true})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.EncodeCSV(&strings.Builder{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
	if err := d.WriteCSV(t.TempDir() + "/none/x.csv"); err == nil || !strings.Contains(err.Error(), "telemetry: write ") {
		t.Errorf("got %v", err)
	}
}

// MaxTimedelta1 goes by the delay at switch 1 wherever that field is, the
// first included.
func TestDelayStandsFirst(t *testing.T) {
	s, err := NewSecond([]Field{{"deq_timedelta1", "us"}, {"enq_qdepth1", "packets"}}, MaxTimedelta1)
	if err != nil {
		t.Fatal(err)
	}
	s.Add([]float64{5, 1}, []bool{true, true})
	s.Add([]float64{9, 2}, []bool{true, true})
	s.Add([]float64{7, 3}, []bool{true, true})
	if d, ok := s.Value(1); d != 2 || !ok {
		t.Errorf("depth %v %v", d, ok)
	}
}
