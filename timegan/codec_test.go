package timegan

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

func dataset(t *testing.T, limit int, fields []telemetry.Field, rows [][]float32, valid func(t, k int) bool) telemetry.Recording {
	t.Helper()
	var values []float32
	var ok []bool
	for s, row := range rows {
		values = append(values, row...)
		for k := range row {
			ok = append(ok, valid(s, k))
		}
	}
	d, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, ok)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry.Recording{Limit: limit, Data: d}
}

func all(int, int) bool { return true }

func TestScale(t *testing.T) {
	for _, c := range []struct {
		knots   []float32
		integer bool
		x, u    float32
	}{
		{[]float32{0, 10}, false, 5, .5},           // min-max
		{[]float32{0, 10}, false, -3, 0},           // outside
		{[]float32{0, 10}, false, 12, 1},           //
		{[]float32{0, 0, 0, 4, 8}, true, 0, .25},   // half of it is zero
		{[]float32{0, 0, 0, 4, 8}, true, 2, .625},  //
		{[]float32{0, 0, 0, 4, 8}, true, 8, 1},     //
		{[]float32{0, 4, 8, 8, 8}, true, 8, .75},   // an atom at the top
		{[]float32{1, 2, 2, 3, 9}, false, 6, .875}, //
	} {
		col := Column{Knots: c.knots, Integer: c.integer}
		if got := col.scale(c.x); math.Abs(float64(got-c.u)) > 1e-6 {
			t.Errorf("%v: scale(%v) = %v, want %v", c.knots, c.x, got, c.u)
		}
		want := min(max(c.x, c.knots[0]), c.knots[len(c.knots)-1])
		if got := col.unscale(c.u); math.Abs(float64(got-want)) > 1e-5 {
			t.Errorf("%v: unscale(%v) = %v, want %v", c.knots, c.u, got, want)
		}
	}
	// Within an atom's share of [0, 1] it is what comes out.
	col := Column{Knots: []float32{0, 0, 0, 4, 8}, Integer: true}
	for _, u := range []float32{-1, 0, .1, .49} {
		if got := col.unscale(u); got != 0 {
			t.Errorf("unscale(%v) = %v, want 0", u, got)
		}
	}
}

var codecFields = []telemetry.Field{{Name: "enq_qdepth1"}, {Name: "deq_qdepth1"}, {Name: "lbo_s"}, {Name: "fps"}, {Name: "rep_kbps"}, {Name: "calc_rate"}}

func codecRows(n int) [][]float32 {
	var rows [][]float32
	for s := range n {
		level := [][2]float32{{30, 3312}, {18, 639}, {24, 1867}}[s%3]
		rows = append(rows, []float32{float32(s % 7), 0, float32(s%50) / 4, level[0], level[1], float32(100 + s%11)})
	}
	return rows
}

// What is encoded and decoded is what was measured.
func TestCodecRoundTrip(t *testing.T) {
	r := dataset(t, 64, codecFields, codecRows(300), func(s, k int) bool { return k > 1 || s%3 > 0 })
	c, err := NewCodec([]telemetry.Recording{r}, 257, telemetry.Train)
	if err != nil {
		t.Fatal(err)
	}
	kinds := []Kind{Continuous, Constant, Continuous, Categories, Categories, Continuous}
	for i, col := range c.Columns {
		if col.Kind != kinds[i] || col.Name != codecFields[i].Name {
			t.Errorf("column %d is %s, a %s", i, col.Name, col.Kind)
		}
	}
	if c.Channels != 6 || c.Bits != 1 || c.Levels != 3 || c.Columns[0].Bit != 0 || c.Columns[2].Bit != -1 {
		t.Errorf("%d channels, %d bits, %d levels, bits of columns %d and %d", c.Channels, c.Bits, c.Levels, c.Columns[0].Bit, c.Columns[2].Bit)
	}
	x, bits, err := c.encode(r)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(codecFields))
	for s := range r.Data.Len() {
		for k := range values {
			values[k] = -1
		}
		c.decode(x[s*c.Channels:(s+1)*c.Channels], values, false)
		for k := range codecFields {
			want, ok := r.Data.At(s, k)
			if ok && math.Abs(float64(values[k]-want)) > .02 {
				t.Fatalf("second %d: %s is %v, was %v", s, codecFields[k].Name, values[k], want)
			}
		}
		if (bits[s] == 1) != (s%3 > 0) {
			t.Fatalf("second %d: validity bit %v", s, bits[s])
		}
	}
	if got := c.Condition(64); got != 0 {
		t.Errorf("the only limit's condition is %v", got)
	}
}

// What follows a second moves no farther than the recording did, and its
// quality changes only where another level leads by the margin.
func TestDecodeFollows(t *testing.T) {
	r := dataset(t, 64, codecFields, codecRows(300), all)
	c, err := NewCodec([]telemetry.Recording{r}, 257, telemetry.Train)
	if err != nil {
		t.Fatal(err)
	}
	if lbo := c.Columns[2]; lbo.Fall != -12.25 || lbo.Rise != .25 {
		t.Fatalf("lbo_s changes by %v…%v, the recording's by -12.25…0.25", lbo.Fall, lbo.Rise)
	}
	//           depth   lbo  rate  levels 0, 1, 2
	steep := []float32{1, 1, 1, .3, 0, .3 + c.Margin/2}
	far := []float32{1, 1, 1, .3, 0, .4 + c.Margin}
	values := make([]float32, len(codecFields))
	for _, x := range []struct {
		name     string
		channels []float32
		follows  bool
		lbo, fps float32
	}{
		{"alone", steep, false, 12.25, 30},
		{"follows, levels nearly equal", steep, true, 2.25, 18},
		{"follows, a level leads", far, true, 2.25, 30},
	} {
		copy(values, []float32{3, 0, 2, 18, 639, 105})
		c.decode(x.channels, values, x.follows)
		if values[2] != x.lbo || values[3] != x.fps {
			t.Errorf("%s: lbo_s %v, fps %v, want %v, %v", x.name, values[2], values[3], x.lbo, x.fps)
		}
	}
	c.free()
	if c.decode(steep, values, true); values[2] != 12.25 || values[3] != 30 {
		t.Errorf("free: lbo_s %v, fps %v, want 12.25, 30", values[2], values[3])
	}
}

// Nothing of a test block is seen by the codec.
func TestCodecSeesTrainBlocksOnly(t *testing.T) {
	rows := codecRows(400)
	fit := func() *Codec {
		c, err := NewCodec([]telemetry.Recording{dataset(t, 64, codecFields, rows, all)}, 65, telemetry.Train)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := fit()
	for s := 300; s < 400; s++ {
		rows[s] = []float32{1000, 5, 1000, 18, 639, 1000}
	}
	after := fit()
	for i, col := range after.Columns {
		if !slices.Equal(col.Knots, before.Columns[i].Knots) || col.Kind != before.Columns[i].Kind {
			t.Errorf("%s: the test block changed its scaler", col.Name)
		}
	}
}

// TestSharedFrameRate: rungs of a ladder that share a frame rate, or a bitrate,
// stay apart: all that they consist of tells them. A second without a quality
// has the last one.
func TestSharedFrameRate(t *testing.T) {
	fields := []telemetry.Field{{Name: "lbo_s", Unit: "s"}, {Name: "fps", Unit: "1/s"}, {Name: "rep_kbps", Unit: "kbit/s"}, {Name: "width", Unit: "px"}, {Name: "height", Unit: "px"}}
	ladder := [][]float32{{24, 300, 426, 240}, {30, 800, 640, 360}, {30, 1500, 854, 480}, {30, 3000, 1280, 720}, {30, 3000, 1920, 1080}}
	var rows [][]float32
	for s := range 60 {
		rows = append(rows, append([]float32{float32(s % 7)}, ladder[s%5]...))
	}
	r := dataset(t, 32, fields, rows, func(s, k int) bool { return s != 13 || k == 0 })
	c, err := NewCodec([]telemetry.Recording{r}, 9, telemetry.Train)
	if err != nil || c.Levels != len(ladder) {
		t.Fatalf("%d levels of %d: %v", c.Levels, len(ladder), err)
	}
	x, _, err := c.encode(r)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(fields))
	for s := range rows {
		c.decode(x[s*c.Channels:(s+1)*c.Channels], values, false)
		want := ladder[s%5]
		if s == 13 {
			want = ladder[12%5]
		}
		if !slices.Equal(values[1:], want) {
			t.Errorf("second %d: %v, want %v", s, values[1:], want)
		}
	}
	if _, err := NewCodec([]telemetry.Recording{dataset(t, 32, fields, rows, func(s, k int) bool { return k != 2 })}, 9, telemetry.Train); err == nil || !strings.Contains(err.Error(), "was never measured") {
		t.Errorf("a bitrate that was never measured: %v", err)
	}
}

func TestCodecRefuses(t *testing.T) {
	rows := codecRows(20)
	good := dataset(t, 64, codecFields, rows, all)
	renamed := slices.Clone(codecFields)
	renamed[0].Name = "enq_qdepth2"
	several := telemetry.Recording{Data: good.Data, PerSwitch: slices.Repeat([]int32{32, 64}, 20)}
	ladder := codecRows(20)
	for s := range ladder {
		ladder[s][4] = float32(s)
	}
	for _, c := range []struct {
		want  string
		knots int
		r     []telemetry.Recording
	}{
		{"no recording", 9, nil},
		{"1 knots", 1, []telemetry.Recording{good}},
		{"different fields", 9, []telemetry.Recording{good, dataset(t, 32, renamed, rows, all)}},
		{"never measured", 9, []telemetry.Recording{dataset(t, 32, codecFields, rows, func(_, k int) bool { return k > 0 })}},
		{"recording 2 has a limit for each switch", 9, []telemetry.Recording{good, several}},
		{"a ladder", 9, []telemetry.Recording{dataset(t, 32, codecFields, ladder, all)}},
	} {
		if _, err := NewCodec(c.r, c.knots, telemetry.Train); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
	if _, err := NewTraining([]telemetry.Recording{good}, telemetry.Train, Config{Window: 30}, 9); err == nil || !strings.Contains(err.Error(), "no run of 30 seconds") {
		t.Errorf("windows of 30 in 20 seconds: %v", err)
	}
}

// A gap shows the last valid value, the median before the first; windows stay
// clear of test blocks.
func TestWindows(t *testing.T) {
	r := dataset(t, 64, codecFields, codecRows(800), func(s, k int) bool { return k > 1 || s%5 > 1 })
	tr, err := NewTraining([]telemetry.Recording{r}, telemetry.Train, Config{Window: 10}, 33)
	if err != nil {
		t.Fatal(err)
	}
	w := tr.Windows
	for _, s := range w.Start {
		if telemetry.Test.Holds(s) || telemetry.Test.Holds(s+9) {
			t.Fatalf("a window begins at second %d", s)
		}
	}
	if len(w.Start) != 2*(300-9) {
		t.Errorf("%d windows, want 2 runs of 300 seconds", len(w.Start))
	}
	const n = 3
	f := w.Channels()
	config := Config{Batch: n, Clock: -1}
	b := batch{make([]float32, 10*n*f), make([]float32, 10*n), make([]float32, 10*n)}
	w.draw(&b, config, 1, 2, 3)
	for i := range n {
		last := w.Median[0]
		for s := range 10 {
			row := s*n + i
			if b.valid[row] == 1 {
				last = b.x[row*f]
			}
			if b.x[row*f] != last {
				t.Errorf("example %d, second %d: %v, want %v (valid %v)", i, s, b.x[row*f], last, b.valid[row])
			}
		}
	}
	// Example 1 is the same in a batch of another size.
	config.Batch = 2
	c := batch{make([]float32, 10*2*f), make([]float32, 10*2), make([]float32, 10*2)}
	w.draw(&c, config, 1, 2, 3)
	for s := range 10 {
		if !slices.Equal(b.x[(s*n+1)*f:(s*n+2)*f], c.x[(s*2+1)*f:(s*2+2)*f]) {
			t.Fatalf("second %d of example 1 depends on the batch's size", s)
		}
	}
	// fillGrad is fill's transpose: ⟨fill(x)-fill(0), d⟩ = ⟨x, fillGrad(d)⟩.
	x, zero, d := make([]float32, len(b.x)), make([]float32, len(b.x)), make([]float32, len(b.x))
	for i := range x {
		x[i], d[i] = float32(i%13)/13, float32(i%7)-3
	}
	var left, right float64
	filled := slices.Clone(x)
	w.fill(filled, b.valid, n)
	w.fill(zero, b.valid, n)
	for i := range filled {
		left += float64(filled[i]-zero[i]) * float64(d[i])
	}
	w.fillGrad(d, b.valid, n)
	for i := range x {
		right += float64(x[i]) * float64(d[i])
	}
	if math.Abs(left-right) > 1e-4 {
		t.Errorf("⟨fill, d⟩ %v, ⟨x, fillGrad⟩ %v", left, right)
	}
}

func TestPresets(t *testing.T) {
	for _, name := range []string{"", "paper", "tutorial"} {
		c, err := Preset(name)
		if err != nil || c.Check() != nil {
			t.Errorf("%q: %v, %v", name, err, c.Check())
		}
	}
	paper, _ := Preset("paper")
	if paper.Window != 24 || paper.Embed != 10000 || paper.Threshold != .15 || !paper.Latent || paper.LearningRate != .001 {
		t.Errorf("paper: %+v", paper)
	}
	if _, err := Preset("papre"); err == nil {
		t.Error(`"papre" is a preset`)
	}
}

// The clock starts over after a turn, and is where the recording is.
func TestCondition(t *testing.T) {
	c := Config{Clock: 100}
	a, b, quarter := make([]float32, 3), make([]float32, 3), make([]float32, 3)
	c.condition(a, .5, 7)
	c.condition(b, .5, 307)
	c.condition(quarter, 0, 25)
	if !slices.Equal(a, b) || a[0] != .5 || quarter[1] != 1 || math.Abs(float64(quarter[2])) > 1e-6 {
		t.Errorf("%v, a turn later %v, after a quarter %v", a, b, quarter)
	}
}
