package timegan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// The presets are what their sources say: see DESIGN.md.
func TestPresetsAreTheirs(t *testing.T) {
	for name, want := range map[string]string{
		"": `{"window":32,"hidden":32,"layers":2,"noise":8,"batch":64,"embed":2000,"super":500,"joint":3500,"seed":0,"learning_rate":0.001,"final_rate":0.1,` +
			`"gamma":1,"moments":20,"eta":0.1,"changes":20,"covariances":20,"threshold":0.15,"clock":3600,"latent":false}`,
		"paper": `{"window":24,"hidden":24,"layers":3,"noise":6,"batch":128,"embed":10000,"super":10000,"joint":10000,"seed":0,"learning_rate":0.001,"final_rate":1,` +
			`"gamma":1,"moments":100,"eta":100,"changes":-1,"covariances":-1,"threshold":0.15,"clock":-1,"latent":true,"free":true}`,
		"tutorial": `{"window":50,"hidden":20,"layers":3,"noise":16,"batch":100,"embed":100,"super":100,"joint":100,"seed":0,"learning_rate":0.0005,"final_rate":1,` +
			`"gamma":1,"moments":100,"eta":100,"changes":-1,"covariances":-1,"threshold":0.15,"clock":-1,"latent":true,"free":true}`,
	} {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(c); err != nil || string(got) != want {
			t.Errorf("%q: %s\nwant %s", name, got, want)
		}
	}
	if _, err := Preset("papre"); err == nil || !strings.Contains(err.Error(), `"papre" is not one of`) {
		t.Errorf("got %v", err)
	}
}

// The condition of a second is the limit and where the clock is; without a
// clock the limit alone.
func TestConditionAndClock(t *testing.T) {
	c := Config{Clock: 8}.WithDefaults()
	for second, want := range map[int][3]float32{0: {.5, 0, 1}, 2: {.5, 1, 0}, 4: {.5, 0, -1}, 6: {.5, -1, 0}, 9: {.5, float32(math.Sqrt2 / 2), float32(math.Sqrt2 / 2)}} {
		got := [3]float32{9, 9, 9}
		c.condition(got[:], .5, second)
		for i := range got {
			if math.Abs(float64(got[i]-want[i])) > 1e-6 {
				t.Errorf("second %d: %v, want %v", second, got, want)
				break
			}
		}
	}
	if c.conditions() != 3 {
		t.Errorf("%d numbers with a clock", c.conditions())
	}
	for _, clock := range []int{-1, 0} {
		c.Clock = clock
		got := [3]float32{9, 9, 9}
		c.condition(got[:], .5, 2)
		if c.conditions() != 1 || got != [3]float32{.5, 9, 9} {
			t.Errorf("clock %d: %d numbers, %v", clock, c.conditions(), got)
		}
	}
	for _, l := range []struct {
		lo, hi, limit int32
		want          float32
	}{{32, 64, 32, 0}, {32, 64, 64, 1}, {32, 64, 40, .25}, {64, 64, 64, 0}, {64, 64, 65, 1}} {
		if got := (&Codec{Lo: l.lo, Hi: l.hi}).Condition(l.limit); got != l.want {
			t.Errorf("limit %d of %d…%d is told as %v, want %v", l.limit, l.lo, l.hi, got, l.want)
		}
	}
}

// The noise of one second is drawn whatever how many numbers there are: pairs
// of Box and Muller's, the last alone where their number is odd.
func TestNoiseAt(t *testing.T) {
	key := rng.Key{Seed: 3, Purpose: rng.Noise}
	for _, width := range []int{1, 2, 3, 4, 5} {
		c := Config{Noise: width}
		pairs := uint32(width+1) / 2
		for _, second := range []uint32{0, 1, 7} {
			z := make([]float32, width)
			c.noiseAt(z, key, second)
			for j := range z {
				a, b := key.Normal(second*pairs + uint32(j/2))
				if want := float32([2]float64{a, b}[j%2]); z[j] != want {
					t.Errorf("%d numbers, second %d: number %d is %v, want %v", width, second, j, z[j], want)
				}
			}
		}
	}
}

// Gaps of a window show the last measured value, the median before the first;
// the gradient of a shown value belongs to the measured one.
func TestFillByHand(t *testing.T) {
	w := Windows{Length: 4, Bit: []int{0, -1, 1}, Bits: 2, Median: []float32{.5, .6, .7}}
	// Two rows; x[t][row] = channels. Bits: channel 0 of row 0 is measured in
	// seconds 1 and 3, of row 1 never; channel 2 of both in second 0 only.
	valid := []float32{
		0, 1, 0, 1,
		1, 0, 0, 0,
		0, 0, 0, 0,
		1, 0, 0, 0,
	}
	x := []float32{
		9, 1, 30, 9, 2, 40,
		11, 3, 9, 9, 4, 9,
		9, 5, 9, 9, 6, 9,
		13, 7, 9, 9, 8, 9,
	}
	w.fill(x, valid, 2)
	want := []float32{
		.5, 1, 30, .5, 2, 40,
		11, 3, 30, .5, 4, 40,
		11, 5, 30, .5, 6, 40,
		13, 7, 30, .5, 8, 40,
	}
	if !slices.Equal(x, want) {
		t.Errorf("filled %v\nwant   %v", x, want)
	}
	dx := make([]float32, len(x))
	for i := range dx {
		dx[i] = float32(i + 1)
	}
	w.fillGrad(dx, valid, 2)
	back := []float32{
		0, 2, 3 + 9 + 15 + 21, 0, 5, 6 + 12 + 18 + 24,
		7 + 13, 8, 0, 0, 11, 0,
		0, 14, 0, 0, 17, 0,
		19, 20, 0, 0, 23, 0,
	}
	if !slices.Equal(dx, back) {
		t.Errorf("gradient %v\nwant     %v", dx, back)
	}
}

// Sequences of generated windows begin anew after an hour, on average: their
// hidden states at 0 and their clock at random. Until then the clock goes on.
func TestSequencesRestart(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	w := small(true)
	w.Length = 6
	c := smallConfig(false)
	c.Batch = 50
	tr := newTrainer(be, c, w)
	tr.phase = Joint
	tr.draw(0, 0, 3)
	fresh, all := 0, 0
	for u := range 200 {
		before := slices.Clone(tr.clock)
		for _, n := range []int{generator, supervisor, recovery} {
			for i := range tr.carry[n] {
				tr.carry[n][i] = 1
			}
		}
		tr.noise(u, 1, 3)
		for i := range c.Batch {
			zeros, ones := 0, 0
			for _, n := range []int{generator, supervisor, recovery} {
				for l := range tr.nets[n].Layers {
					for _, x := range tr.carry[n][(l*c.Batch+i)*c.Hidden:][:c.Hidden] {
						if x == 0 {
							zeros++
						} else {
							ones++
						}
					}
				}
			}
			if zeros > 0 && ones > 0 {
				t.Fatalf("update %d: row %d keeps %d hidden numbers of %d", u, i, ones, zeros+ones)
			}
			all++
			if zeros > 0 {
				fresh++
			} else if want := float32((int(before[i]) + 6) % 30); tr.clock[i] != want {
				t.Fatalf("update %d: row %d's clock went from %v to %v, want %v", u, i, before[i], tr.clock[i], want)
			}
			if tr.clock[i] < 0 || tr.clock[i] >= 30 {
				t.Fatalf("the clock shows %v", tr.clock[i])
			}
		}
	}
	// 10,000 windows of 6 s: 16.7 sequences of an hour, ± 3 standard deviations.
	if want := float64(all) * 6 / 3600; math.Abs(float64(fresh)-want) > 3*math.Sqrt(want)+1 {
		t.Errorf("%d of %d windows began anew, want %.1f", fresh, all, want)
	}
	tr.noise(0, 0, 3)
	for _, x := range tr.carry[generator] {
		if x != 0 {
			t.Fatal("the first windows of all do not begin at 0")
		}
	}
}

// Losses that an update did not compute stay what they were.
func TestLossesMerge(t *testing.T) {
	l := Losses{R: 1, S: 2, U: 3, V: 4, C: 5, K: 6, D: 7}
	l.merge(Losses{R: 10, U: 30, C: 50, D: 70})
	if l != (Losses{R: 10, S: 2, U: 30, V: 4, C: 50, K: 6, D: 70}) {
		t.Errorf("%+v", l)
	}
	l.merge(Losses{S: 20, V: 40, K: 60})
	if l != (Losses{R: 10, S: 20, U: 30, V: 40, C: 50, K: 60, D: 70}) {
		t.Errorf("%+v", l)
	}
	for p, want := range map[Phase]string{Embedding: "embedding", Supervised: "supervised", Joint: "joint", 3: "Phase(3)"} {
		if p.String() != want {
			t.Errorf("%s, want %s", p, want)
		}
	}
}

func smallModel(t *testing.T, edit func(*Model)) *Model {
	t.Helper()
	r := dataset(t, 64, codecFields, codecRows(300), func(s, k int) bool { return k > 1 || s%3 > 0 })
	c, err := NewCodec([]telemetry.Recording{r}, 9, telemetry.Train)
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{Config: Config{Window: 4, Hidden: 3, Layers: 1, Noise: 2, Batch: 2, Clock: 40, Seed: 2}.WithDefaults(), Codec: c, Engine: "go"}
	m.Params = NewParams(m.Config, c.Channels, c.Bits)
	if edit != nil {
		edit(m)
	}
	return m
}

// A recording without gaps has no validity bits: such a model is saved and read.
// One with limits of its own for two switches is refused.
func TestModelWithoutGaps(t *testing.T) {
	r := dataset(t, 64, codecFields, codecRows(300), func(int, int) bool { return true })
	c, err := NewCodec([]telemetry.Recording{r}, 9, telemetry.Train)
	if err != nil || c.Bits != 0 {
		t.Fatalf("%d validity bits, %v: want none", c.Bits, err)
	}
	if err := c.check(); err != nil {
		t.Error(err)
	}
	for _, switches := range []int{2, 3} {
		r.PerSwitch = make([]int32, switches*r.Data.Len())
		for i := range r.PerSwitch {
			r.PerSwitch[i] = 32
		}
		if _, err := NewCodec([]telemetry.Recording{r}, 9, telemetry.Train); err == nil || !strings.Contains(err.Error(), "a limit for each switch") {
			t.Errorf("%d switches: %v", switches, err)
		}
	}
}

// A channel's fill before its first measurement is the median of what was
// measured of it, be it one second alone; where nothing was, 0.
func TestMedianOfFew(t *testing.T) {
	for _, measured := range []int{0, 1, 2, 3} {
		r := dataset(t, 64, codecFields, codecRows(290), func(s, k int) bool { return k > 0 || s < measured })
		c, err := NewCodec([]telemetry.Recording{dataset(t, 64, codecFields, codecRows(290), func(s, k int) bool { return k > 0 || s%2 == 0 })}, 9, telemetry.All)
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWindows(c, []telemetry.Recording{r}, 4, telemetry.All)
		if err != nil {
			t.Fatal(err)
		}
		k := c.Columns[0].Channel
		var values []float32
		for s := range measured {
			values = append(values, w.X[s*c.Channels+k])
		}
		var want float32
		if slices.Sort(values); measured > 0 {
			want = values[measured/2]
		}
		if w.Median[k] != want {
			t.Errorf("%d seconds measured: median %v, want %v of %v", measured, w.Median[k], want, values)
		}
	}
}

// Both sides of what a codec may be.
func TestCodecCheck(t *testing.T) {
	if err := smallModel(t, nil).Codec.check(); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Codec){
		"margin 0": func(c *Codec) { c.Margin = 0 }, "margin 1": func(c *Codec) { c.Margin = 1 }, "one limit": func(c *Codec) { c.Lo = c.Hi },
		"more bits": func(c *Codec) { c.Bits = c.Channels }, "unbounded": func(c *Codec) { c.free() }, "as many levels": func(c *Codec) { c.Columns = nil; c.Levels = c.Channels }, "no level": func(c *Codec) { c.Columns = nil; c.Levels = 0 },
		"4096 channels": func(c *Codec) { c.Channels = 4096 }, "two knots": func(c *Codec) { c.Columns[0].Knots = []float32{1, 2} },
		"the last channel": func(c *Codec) { c.Columns[0].Channel = c.Channels - 1 },
	} {
		c := smallModel(t, nil).Codec
		if edit(c); c.check() != nil {
			t.Errorf("%s: %v", name, c.check())
		}
	}
	for name, edit := range map[string]func(*Codec){
		"margin below": func(c *Codec) { c.Margin = -.01 }, "margin above": func(c *Codec) { c.Margin = 1.01 }, "limits": func(c *Codec) { c.Lo = c.Hi + 1 },
		"no channel": func(c *Codec) { c.Channels = 0 }, "4097 channels": func(c *Codec) { c.Channels = 4097 }, "bits below": func(c *Codec) { c.Bits = -1 },
		"bits above": func(c *Codec) { c.Bits = c.Channels + 1 }, "levels below": func(c *Codec) { c.Levels = -1 }, "levels above": func(c *Codec) { c.Levels = c.Channels + 1 },
		"one knot": func(c *Codec) { c.Columns[0].Knots = []float32{1} }, "falling knots": func(c *Codec) { c.Columns[0].Knots = []float32{2, 1} },
		"fall": func(c *Codec) { c.Columns[0].Fall = 1 }, "rise": func(c *Codec) { c.Columns[0].Rise = -1 }, "bit": func(c *Codec) { c.Columns[0].Bit = c.Bits },
		"bit below": func(c *Codec) { c.Columns[0].Bit = -2 }, "kind": func(c *Codec) { c.Columns[0].Kind = "x" }, "channel below": func(c *Codec) { c.Columns[0].Channel = -1 },
		"channel above": func(c *Codec) { c.Columns[0].Channel = c.Channels }, "levels missing": func(c *Codec) { c.Columns[3].Levels = c.Columns[3].Levels[1:] },
		"a level's channel": func(c *Codec) { c.Columns[3].Channel++ },
	} {
		c := smallModel(t, nil).Codec
		if edit(c); c.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What a simulator cannot be made of, and what it cannot do.
func TestSimulatorRefuses(t *testing.T) {
	engines := func(n int) (all []Engine) {
		for range n {
			all = append(all, NewCPU(compute.Go, 1))
		}
		return all
	}
	one := func(limit int32) *Model {
		return smallModel(t, func(m *Model) { m.Codec.Lo, m.Codec.Hi = limit, limit })
	}
	other := one(32)
	other.Codec.Columns[2].Name = "other"
	turns := one(32)
	turns.Config.Clock = 41
	for name, c := range map[string]struct {
		n       int
		models  []*Model
		engines int
		want    string
	}{
		"no row":         {0, []*Model{one(32)}, 1, "0 simulations of 1 models"},
		"no model":       {1, nil, 0, "of 0 models"},
		"an engine less": {1, []*Model{one(32), one(64)}, 1, "of 2 models on 1 engines"},
		"ranges":         {1, []*Model{one(32), smallModel(t, func(m *Model) { m.Codec.Lo, m.Codec.Hi = 40, 64 })}, 2, "model 1 was trained under limits 40…64"},
		"twice":          {1, []*Model{one(32), one(64), one(32)}, 3, "two models of limit 32"},
		"fields":         {1, []*Model{one(64), other}, 2, "the models of limits 64 and 32 have different fields"},
		"clocks":         {1, []*Model{one(64), turns}, 2, "turn in 40 and 41 seconds"},
	} {
		if _, err := NewSimulator(c.n, c.models, engines(c.engines)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
	s, err := NewSimulator(2, []*Model{one(64)}, engines(1))
	if err != nil {
		t.Fatal(err)
	}
	if lo, hi := s.Limits(); s.Num() != 2 || len(s.Columns()) != 6 || lo != 64 || hi != 64 {
		t.Errorf("%d rows, %v, limits %d…%d", s.Num(), s.Columns(), lo, hi)
	}
	ctx := context.Background()
	for second, want := range map[int]string{-2: "no second -2", -1: "", 0: "", 39: "", 40: "no second 40, it turns in 40"} {
		if err := s.ResetAt([]int{0}, []uint64{1}, second); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("second %d: %v, want %q", second, err, want)
		}
	}
	if err := s.Reset([]int{0, 1}, []uint64{1}); err == nil || !strings.Contains(err.Error(), "1 seeds for 2 rows") {
		t.Errorf("got %v", err)
	}
	var w telemetry.Window
	for _, c := range []struct{ limits, rows, fields int }{{1, 2, 6}, {2, 1, 6}, {2, 2, 5}} {
		w.Size(c.rows, 1, c.fields)
		if err := s.Step(ctx, []int{0, 1}, make([]int32, c.limits), &w); err == nil {
			t.Errorf("%+v: accepted", c)
		}
	}
	w.Size(1, 1, 6)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Step(ended, []int{0}, []int32{64}, &w); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	state, err := s.Snapshot(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	nan := slices.Clone(state)
	copy(nan[16:], []byte{0, 0, 0xc0, 0x7f})
	last := slices.Clone(state)
	copy(last[len(last)-4:], []byte{0, 0, 0x80, 0x7f})
	for name, b := range map[string][]byte{"short": state[1:], "long": append(slices.Clone(state), 0), "NaN": nan, "Inf at the end": last} {
		if err := s.Restore(0, b); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	if again, err := s.Snapshot(0, nil); err != nil || !bytes.Equal(again, state) {
		t.Error("what was refused changed the row")
	}
	for _, c := range []struct{ seeds, seconds int }{{0, 1}, {3, 1}, {1, 0}} {
		if _, err := Sample(ctx, s, make([]uint64, c.seeds), 0, 64, c.seconds); err == nil || !strings.Contains(err.Error(), "sample: ") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	d, err := Sample(ctx, s, []uint64{7, 8}, -1, 64, 61)
	if err != nil || len(d) != 2 || d[0].Len() != 61 || d[1].Limit() != 64 {
		t.Errorf("%v, %d recordings", err, len(d))
	}
	if v, ok := d[1].At(60, 2); !ok || v < 0 {
		t.Errorf("lbo_s of the last second: %v %v", v, ok)
	}
}

// An engine that has nothing loaded, or is asked for what it cannot do.
func TestEngineRefuses(t *testing.T) {
	e := NewCPU(compute.Go, 1)
	_, none := e.Run(context.Background(), Embedding, 0, 1, 1, make([]Losses, 1))
	_, _, store := e.Store()
	_, stepper := e.Stepper(1)
	for _, err := range []error{none, store, stepper} {
		if !errors.Is(err, errNotLoaded) {
			t.Errorf("got %v", err)
		}
	}
	c, w := smallConfig(false), small(true)
	p := NewParams(c, 3, 1)
	_, s := NewLayout(c, 3, 1).Empty()
	for name, load := range map[string]func() error{
		"a tensor less": func() error { return e.Load(c, p[1:], nil, w) },
		"another name":  func() error { q := slices.Clone(p); q[0].Name = "x"; return e.Load(c, q, nil, w) },
		"another shape": func() error { q := slices.Clone(p); q[0].Shape = []int{1}; return e.Load(c, q, nil, w) },
		"another size":  func() error { q := slices.Clone(p); q[0].Data = q[0].Data[1:]; return e.Load(c, q, nil, w) },
		"state":         func() error { return e.Load(c, p, s[1:], w) },
	} {
		if err := load(); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	if err := e.Load(c, p, s, w); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		ph            Phase
		from, n, room int
	}{{3, 0, 1, 1}, {Joint, -1, 1, 1}, {Joint, 0, -1, 1}, {Joint, 0, 2, 1}} {
		if done, err := e.Run(context.Background(), bad.ph, bad.from, bad.n, 1, make([]Losses, bad.room)); err == nil || done != 0 {
			t.Errorf("%+v: %d, %v", bad, done, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if done, err := e.Run(ctx, Joint, 0, 1, 1, make([]Losses, 1)); done != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d %v", done, err)
	}
	if done, err := e.Run(context.Background(), Embedding, 0, 2, 1, make([]Losses, 2)); done != 2 || err != nil {
		t.Errorf("%d %v", done, err)
	}
	st, err := e.Stepper(2)
	if err != nil {
		t.Fatal(err)
	}
	k := c.conditions()
	for _, n := range [][3]int{{5, 2 * k, 6}, {6, 2*k - 1, 6}, {6, 2 * k, 7}} {
		if err := st.Next([]int{0, 1}, make([]float32, n[0]), make([]float32, n[1]), make([]float32, n[2])); err == nil {
			t.Errorf("%v: accepted", n)
		}
	}
	if err := st.Next(nil, nil, nil, nil); err != nil {
		t.Error(err)
	}
	if want := 2*5 + 2*5 + 1*5; st.Size() != want {
		t.Errorf("hidden states of %d numbers, want %d", st.Size(), want)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Stepper(1); !errors.Is(err, errNotLoaded) {
		t.Errorf("closed: %v", err)
	}
}

// Reports come every interval and at the end of a phase, checkpoints every so
// many updates and at the end, and say how far training is.
func TestFitReports(t *testing.T) {
	r := dataset(t, 64, codecFields, codecRows(300), all)
	c := Config{Window: 6, Hidden: 3, Layers: 1, Noise: 2, Batch: 2, Embed: 5, Super: 2, Joint: 4, Clock: -1}
	tr, err := NewTraining([]telemetry.Recording{r}, telemetry.Train, c, 9)
	if err != nil {
		t.Fatal(err)
	}
	var said, kept []string
	e := NewCPU(compute.Go, 1)
	m, err := Fit(context.Background(), c, e, tr, FitOptions{
		Interval: 2, Every: 3,
		Report:     func(p Progress) { said = append(said, fmt.Sprint(p.Phase, p.Update, "/", p.Of, p.Done, "/", p.Total)) },
		Checkpoint: func(m *Model) error { kept = append(kept, fmt.Sprint(m.Phase, m.Update)); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said, ", "); got != "embedding 2/5 2/11, embedding 4/5 4/11, embedding 5/5 5/11, supervised 2/2 7/11, joint 2/4 9/11, joint 4/4 11/11" {
		t.Errorf("reports: %s", got)
	}
	if got := strings.Join(kept, ", "); got != "embedding 3, joint 3, Phase(3) 0" {
		t.Errorf("checkpoints: %s", got)
	}
	if !m.Done() || m.Losses.R == 0 || m.Losses.S == 0 || m.Losses.D == 0 || len(m.Data) != 1 || m.Engine != "go" {
		t.Errorf("%+v", m.Losses)
	}
	// Stopped at a checkpoint, and one that cannot be written.
	for want, stop := range map[error]error{nil: ErrStop, errNotLoaded: errNotLoaded} {
		m, err := Fit(context.Background(), c, e, tr, FitOptions{Every: 3, Checkpoint: func(m *Model) error {
			if m.Phase == Joint {
				return stop
			}
			return nil
		}})
		if !errors.Is(err, want) || m == nil || m.Phase != Joint || m.Update != 3 {
			t.Errorf("%v: %v", stop, err)
		}
	}
	if m, err := Fit(context.Background(), c, e, tr, FitOptions{Path: t.TempDir() + "/none/m"}); err == nil || m == nil {
		t.Error("a checkpoint that cannot be written is no error")
	}
	if _, err := NewTraining(nil, telemetry.Train, c, 9); err == nil {
		t.Error("no recording is trained on")
	}
	if free, err := NewTraining([]telemetry.Recording{r}, telemetry.Train, Config{Window: 6, Free: true}, 9); err != nil || free.Codec.Margin != 0 || free.Codec.Columns[0].Rise != 0 || tr.Codec.Margin != margin || tr.Codec.Columns[0].Rise == 0 {
		t.Errorf("free: %v", err)
	}
}

// Where windows begin, their conditions, and the values before their first
// measurement.
func TestNewWindows(t *testing.T) {
	fields := []telemetry.Field{{Name: "a"}, {Name: "b"}}
	var rows [][]float32
	for s := range 300 {
		rows = append(rows, []float32{float32(s % 100), float32(s % 10)})
	}
	valid := func(s, k int) bool { return k == 1 || s%2 == 0 }
	one, two := dataset(t, 32, fields, rows, valid), dataset(t, 64, fields, rows[:250], valid)
	recordings := []telemetry.Recording{one, two}
	c, err := NewCodec(recordings, 2, telemetry.Train)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWindows(c, recordings, 20, telemetry.Train)
	if err != nil {
		t.Fatal(err)
	}
	if w.Length != 20 || w.Bits != 1 || len(w.Limit) != 550 || w.Second[299] != 299 || w.Second[300] != 0 || w.Limit[299] != 0 || w.Limit[300] != 1 {
		t.Errorf("%d seconds, %d bits", len(w.Limit), w.Bits)
	}
	// Both are of the train blocks, seconds 0…299 of 400.
	if want := 300 - 19 + 250 - 19; len(w.Start) != want || w.Start[0] != 0 || w.Start[280] != 280 || w.Start[281] != 300 {
		t.Errorf("%d windows begin, want %d", len(w.Start), want)
	}
	for s := range 300 {
		if w.Valid[s] != float32((s+1)%2) || s%2 == 0 && math.Abs(float64(w.X[2*s])-float64(s%100)/98) > 1e-6 || s%2 == 1 && w.X[2*s] != 0 || math.Abs(float64(w.X[2*s+1])-float64(s%10)/9) > 1e-6 {
			t.Fatalf("second %d: %v, %v", s, w.X[2*s:2*s+2], w.Valid[s])
		}
	}
	// Of a: 0 … 48 six times, 50 … 98 five times; of b: 0 … 9.
	if math.Abs(float64(w.Median[0])-44./98) > 1e-6 || math.Abs(float64(w.Median[1])-5./9) > 1e-6 {
		t.Errorf("medians %v", w.Median)
	}
	if _, err := NewWindows(c, recordings, 301, telemetry.Train); err == nil || !strings.Contains(err.Error(), "no run of 301 seconds") {
		t.Errorf("got %v", err)
	}
	if _, err := NewWindows(c, []telemetry.Recording{dataset(t, 32, fields[:1], [][]float32{{1}}, all)}, 20, telemetry.Train); err == nil || !strings.Contains(err.Error(), "has no b") {
		t.Errorf("got %v", err)
	}
}

// A value of a column in the range that was trained on, for an agent.
func TestCodecScale(t *testing.T) {
	c := &Codec{Columns: []Column{{Kind: Continuous, Knots: []float32{10, 11, 30}}, {Kind: Constant, Value: 7}, {Kind: Categories, Levels: []float32{24, 18, 30}}}}
	for _, x := range []struct {
		column  int
		x, want float32
	}{{0, 10, 0}, {0, 30, 1}, {0, 15, .25}, {0, 40, 1.5}, {1, 7, 0}, {1, 9, 2}, {2, 18, 0}, {2, 30, 1}, {2, 24, .5}} {
		if got := c.Scale(x.column, x.x); got != x.want {
			t.Errorf("column %d: %v is shown as %v, want %v", x.column, x.x, got, x.want)
		}
	}
	if got := len(c.Schema()); got != 64 {
		t.Errorf("a schema of %d characters", got)
	}
}

// A checkpoint that says what cannot be is refused with why.
func TestModelMetadataRefused(t *testing.T) {
	encode := func(edit func(*Model)) ([]byte, error) {
		var b bytes.Buffer
		err := smallModel(t, edit).Write(&b)
		return b.Bytes(), err
	}
	decode := func(b []byte) error { _, err := DecodeModel(bytes.NewReader(b), int64(len(b))); return err }
	good, err := encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := decode(good); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*Model){
		"codec: margin":                          func(m *Model) { m.Codec.Margin = 2 },
		"timegan: noise: 2000":                   func(m *Model) { m.Config.Noise = 2000 },
		"tensor recovery.head.bias holds +Inf":   func(m *Model) { named(m, "recovery.head.bias").Data[1] = float32(math.Inf(1)) },
		"tensor embedder.weight_ih_l0 holds NaN": func(m *Model) { named(m, "embedder.weight_ih_l0").Data[0] = float32(math.NaN()) },
		"41 tensors, want 40":                    func(m *Model) { m.Params = append(m.Params, Tensor{"more", []int{1}, []float32{0}}) },
		"generator.head.bias":                    func(m *Model) { named(m, "generator.head.bias").Name = "x" },
		"state.embedder.m":                       func(m *Model) { m.State = OptimiserState{{"state.updates", []int{5}, make([]float32, 5)}} },
	} {
		b, err := encode(edit)
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(want, "tensors, want")
		if err := decode(b); err == nil || n == 0 && !strings.Contains(err.Error(), want) || n > 0 && !strings.Contains(err.Error(), "tensors, want") {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	whole := smallModel(t, func(m *Model) { m.State = emptyState(m.Config, m.Codec.Channels, m.Codec.Bits); m.State[0].Data[2] = 9 })
	var b bytes.Buffer
	if err := whole.Write(&b); err != nil {
		t.Fatal(err)
	}
	m, err := DecodeModel(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil || len(m.State) != len(whole.State) || m.State[0].Data[2] != 9 || m.Done() {
		t.Errorf("%v", err)
	}
}

func named(m *Model, name string) *Tensor {
	for i := range m.Params {
		if m.Params[i].Name == name {
			return &m.Params[i]
		}
	}
	return nil
}

// A layout is of the whole settings, whatever it is asked for with.
func TestLayoutOfSparseSettings(t *testing.T) {
	sparse, whole := NewLayout(Config{Hidden: 5}, 3, 1), NewLayout(Config{Hidden: 5}.WithDefaults(), 3, 1)
	if sparse != whole || sparse.Config.Layers != 2 || sparse.Conditions != 3 || sparse.Networks[generator].In != 8+3 || sparse.Networks[supervisor].Layers != 1 || sparse.Networks[discriminator].Out != 1 {
		t.Errorf("%+v", sparse)
	}
	p, s := sparse.Empty()
	if err := whole.Check(p, s); err != nil {
		t.Error(err)
	}
	if len(s) != 1+3*networkCount+1 || s[len(s)-1].Name != "state.clock" || len(s[len(s)-1].Data) != 64 || s[0].Name != "state.updates" || len(s[0].Data) != 5 {
		t.Errorf("%d tensors of state", len(s))
	}
}

// A field without a channel or a validity bit says -1 in a checkpoint.
func TestColumnsWithoutChannel(t *testing.T) {
	c := smallModel(t, nil).Codec
	if k := c.Columns[1]; k.Kind != Constant || k.Channel != -1 || k.Bit != -1 || k.Value != 0 {
		t.Errorf("%+v", k)
	}
	if k := c.Columns[2]; k.Channel != 1 || k.Bit != -1 || !slices.Equal(c.bitOf(), []int{0, -1, -1, -1, -1, -1}) {
		t.Errorf("%+v, bits %v", k, c.bitOf())
	}
	if l := c.level(make([]float32, len(c.Columns))); l != -1 {
		t.Errorf("values of no level show level %d", l)
	}
	if c.category() != "fps" {
		t.Errorf("the category is %s", c.category())
	}
}
