package structured

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/telemetry"
)

// Both sides of every bound of a configuration, whose error names the field.
func TestConfigBothSides(t *testing.T) {
	for _, k := range []struct {
		field          string
		accept, refuse []func(*Config)
	}{
		{"regimes", []func(*Config){func(c *Config) { c.Regimes = 1 }, func(c *Config) { c.Regimes = 16 }}, []func(*Config){func(c *Config) { c.Regimes = -1 }, func(c *Config) { c.Regimes = 17 }}},
		{"hidden", []func(*Config){func(c *Config) { c.Hidden = 1 }, func(c *Config) { c.Hidden = 1024 }}, []func(*Config){func(c *Config) { c.Hidden = -1 }, func(c *Config) { c.Hidden = 1025 }}},
		{"updates", []func(*Config){func(c *Config) { c.Updates = 1 }, func(c *Config) { c.Updates = math.MaxInt32 }}, []func(*Config){func(c *Config) { c.Updates = -1 }, func(c *Config) { c.Updates = math.MaxInt32 + 1 }}},
		{"knots", []func(*Config){func(c *Config) { c.Knots = 2 }, func(c *Config) { c.Knots = 1024 }}, []func(*Config){func(c *Config) { c.Knots = 1 }, func(c *Config) { c.Knots = 1025 }}},
		{"segment_s", []func(*Config){func(c *Config) { c.SegmentS, c.StableS, c.TopS = .1, .1, .1 }, func(c *Config) { c.SegmentS, c.TopS = 3600, 3600 }}, []func(*Config){func(c *Config) { c.SegmentS = .09 }, func(c *Config) { c.SegmentS = 3601 }, func(c *Config) { c.SegmentS = math.NaN() }}},
		{"stable_s", []func(*Config){func(c *Config) { c.StableS = .1 }, func(c *Config) { c.StableS = 60 }}, []func(*Config){func(c *Config) { c.StableS = -1 }, func(c *Config) { c.StableS = 3601 }}},
		{"top_s", []func(*Config){func(c *Config) { c.TopS = 12 }, func(c *Config) { c.TopS = 124 }}, []func(*Config){func(c *Config) { c.TopS = 11.9 }, func(c *Config) { c.TopS = 124.1 }, func(c *Config) { c.TopS = 3601 }}},
		{"ranks.latent", nil, []func(*Config){func(c *Config) { c.Ranks.Latent = true }}},
		{"ranks: timegan: hidden", nil, []func(*Config){func(c *Config) { c.Ranks.Hidden = -1 }}},
	} {
		testkit.BothSides(t, "structured: "+k.field+": ", k.accept, k.refuse, func(edit func(*Config)) error {
			var c Config
			edit(&c)
			return c.Check()
		})
	}
	c := Config{TopS: 3}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "top_s: 3 is outside stable_s 12 … 31 segments") {
		t.Error(err)
	}
	set := Config{Regimes: 3, SegmentS: 2, StableS: 10, TopS: 20, Hidden: 5, Updates: 6, Knots: 7, Seed: 8}
	if d := set.withDefaults(); d.Regimes != 3 || d.SegmentS != 2 || d.StableS != 10 || d.TopS != 20 || d.Hidden != 5 || d.Updates != 6 || d.Knots != 7 || d.Seed != 8 {
		t.Errorf("%+v became %+v", set, d)
	}
	if d := Defaults(); d.SegmentS != 4 || d.StableS != 12 || d.TopS != 60 || d.Hidden != 16 || d.Updates != 4000 || d.Ranks.Noise != 8 || d.Ranks.Layers != 2 {
		t.Errorf("%+v", d)
	}
}

// decoded is what Decode says of a model that edit has changed.
func decoded(t *testing.T, good []byte, edit func(*Model)) error {
	t.Helper()
	m, err := Decode(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	edit(m)
	b := encoded(t, m)
	_, err = Decode(bytes.NewReader(b), int64(len(b)))
	return err
}

// Both sides of what a checkpoint may hold.
func TestCheckpointBothSides(t *testing.T) {
	m, _ := known8()
	good := encoded(t, m)
	starts := func(i int, v float32) func(*Model) { return func(m *Model) { m.Starts[i] = v } }
	most := float32(32 * 4)
	for name, edit := range map[string]func(*Model){
		"as it is": func(*Model) {}, "the last regime": starts(0, 1), "lasts 1 s": starts(1, 1), "lasts for ever": starts(1, forEver), "an empty buffer": starts(2, 0), "a full one": starts(2, most),
		"level 0": starts(3, 0), "level 1": starts(3, 1), "slow": starts(4, 1e-6), "no packet's time": func(m *Model) { m.Columns[1].PerPacket = 0 },
		"a wait by itself": func(m *Model) { m.Columns[1].Depth = -1 }, "a limit of 1": func(m *Model) { m.Limits[0] = 1 },
	} {
		if err := decoded(t, good, edit); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	nan := float32(math.NaN())
	for name, edit := range map[string]func(*Model){
		"a regime below": starts(0, -1), "above": starts(0, 2), "lasts 0 s": starts(1, 0), "lasts longer": starts(1, 1<<25), "a buffer below": starts(2, -1), "a buffer above": starts(2, most+1),
		"a level below": starts(3, -1), "a level above": starts(3, 2), "no throughput": starts(4, 0), "NaN": starts(4, nan), "a table": func(m *Model) { m.Tables[5] = nan },
		"a weight": func(m *Model) { m.paceNet.Params().Data[3] = float32(math.Inf(1)) },
	} {
		if err := decoded(t, good, edit); err == nil || !strings.Contains(err.Error(), "structured: tensor ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, edit := range map[string]func(*Model){
		"config": func(m *Model) { m.Config.Knots = 0 }, "a bad config": func(m *Model) { m.Config.Knots = -1 },
		"no limits": func(m *Model) { m.Limits = nil }, "a limit of 0": func(m *Model) { m.Limits[0] = 0 }, "falling limits": func(m *Model) { slices.Reverse(m.Limits) }, "1025 limits": func(m *Model) { m.Limits = slices.Repeat([]int32{5}, 1025) },
		"no bitrates": func(m *Model) { m.Kbps = nil }, "a bitrate of 0": func(m *Model) { m.Kbps[0] = 0 }, "falling bitrates": func(m *Model) { slices.Reverse(m.Kbps) }, "17 bitrates": func(m *Model) { m.Kbps = slices.Repeat([]float64{5}, 17) },
		"a channel": func(m *Model) { m.Columns[1].Channel = 2 }, "a kind": func(m *Model) { m.Columns[2].Kind = "x" }, "levels": func(m *Model) { m.Columns[4].Levels = nil }, "levels of a constant": func(m *Model) { m.Columns[2].Levels = []float32{1} },
		"its own depth": func(m *Model) { m.Columns[1].Depth = 1 }, "the depth of another kind": func(m *Model) { m.Columns[2].Depth = 1 }, "a depth below": func(m *Model) { m.Columns[1].Depth = -2 },
		"a negative time": func(m *Model) { m.Columns[1].PerPacket = -1 }, "no switch": func(m *Model) { m.Columns = m.Columns[2:] }, "no buffer": func(m *Model) { m.Columns[3].Kind = stallKind },
		"no quality": func(m *Model) {
			for _, j := range []int{4, 5} {
				m.Columns[j].Kind, m.Columns[j].Levels = constantKind, nil
			}
		},
	} {
		again, err := Decode(bytes.NewReader(good), int64(len(good)))
		if err != nil {
			t.Fatal(err)
		}
		if edit(again); again.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if IsCheckpoint(strings.NewReader("no"), 2) {
		t.Error("two letters are a checkpoint")
	}
}

// A state that no simulation gets into is refused, and the row is as it was.
func TestStateBothSides(t *testing.T) {
	m, _ := known8()
	s := simulator(t, m, 1)
	if err := s.Reset([]int{0}, []uint64{3}); err != nil {
		t.Fatal(err)
	}
	good := s.rows[0].state
	for name, edit := range map[string]func(*state){
		"as it is": func(*state) {}, "nothing is left": func(r *state) { r.Left = 0 }, "done": func(r *state) { r.Progress = 1 }, "all queued": func(r *state) { r.Queued, r.Head, r.Buffer = maxQueued, maxQueued-1, maxQueued*4 },
		"the last level": func(r *state) { r.Level, r.Segment[31] = 1, 1 }, "the last regime": func(r *state) { r.Regime = 1 }, "far out": func(r *state) { r.Noise = -40 },
	} {
		r := good
		if edit(&r); r.check(m) != nil {
			t.Errorf("%s: %v", name, r.check(m))
		}
	}
	nan, inf := math.NaN(), math.Inf(1)
	for name, edit := range map[string]func(*state){
		"left": func(r *state) { r.Left = -1 }, "progress": func(r *state) { r.Progress = 1.001 }, "queued": func(r *state) { r.Queued = maxQueued + 1 }, "head": func(r *state) { r.Head = maxQueued },
		"more than queued": func(r *state) { r.Buffer = float64(r.Queued)*4 + .001 }, "a level": func(r *state) { r.Level = 2 }, "a segment's level": func(r *state) { r.Segment[7] = 2 }, "a regime": func(r *state) { r.Regime = 2 },
		"noise": func(r *state) { r.Noise = 40.1 }, "no noise": func(r *state) { r.Noise = nan }, "a negative buffer": func(r *state) { r.Buffer = -1e-9 }, "an infinite wait": func(r *state) { r.Wait = inf }, "idle": func(r *state) { r.Idle = nan },
		"elapsed": func(r *state) { r.Elapsed = -1 }, "throughput": func(r *state) { r.Kbps[3] = inf },
	} {
		r := good
		if edit(&r); r.check(m) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, src := range [][]byte{nil, make([]byte, 10)} {
		if err := s.Restore(0, src); err == nil || !strings.Contains(err.Error(), "want more than") {
			t.Errorf("%d bytes: %v", len(src), err)
		}
	}
	whole, err := s.Snapshot(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(0, whole[:len(whole)-1]); err == nil || s.rows[0].state != good {
		t.Errorf("without its last byte: %v", err)
	}
}

// Places on scales of powers, and values on the range that was recorded.
func TestScalesByHand(t *testing.T) {
	m := &Model{Limits: []int32{32, 64, 128}, Kbps: []float64{500, 1000, 8000}, Columns: []Column{{Lo: 10, Hi: 30}, {Lo: 5, Hi: 5}}}
	one := &Model{Limits: []int32{64}, Kbps: []float64{1000}}
	near := func(what string, got, want float64) {
		if t.Helper(); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("place of 32", m.place(32), 0)
	near("place of 64", m.place(64), .5)
	near("place of 128", m.place(128), 1)
	near("place of 256", m.place(256), 1.5)
	near("the only place", one.place(64), 0)
	near("place of twice the only", one.place(128), 0)
	near("rung of 500", m.rung(500), 0)
	near("rung of 2000", m.rung(2000), .5)
	near("rung of 8000", m.rung(8000), 1)
	near("rung of twice the only", one.rung(2000), math.Log(2))
	near("10", float64(m.Scale(0, 10)), 0)
	near("15", float64(m.Scale(0, 15)), .25)
	near("40", float64(m.Scale(0, 40)), 1.5)
	near("7 where 5 is all", float64(m.Scale(1, 7)), 2)
	m.Config.SegmentS, m.Rate = 4, math.Log(2000)
	mu, s := m.pace([]float32{.5, .25}, 1) // 4000 kbit at 2000 kbit/s · e^.5
	near("mu", mu, math.Log(2)-.5)
	near("s", s, -.75)
	_, s = m.pace([]float32{0, 9}, 1)
	near("the largest s", s, 1.5)
	_, s = m.pace([]float32{0, -9}, 1)
	near("the smallest s", s, -4)
	m.Config.Regimes, m.Config.TopS = 2, 60
	x := slices.Repeat([]float32{9}, 6)
	if m.paceInput(x, 1, 64, 2, 2); !slices.Equal(x, []float32{0, 1, .5, 1, .5, 1}) {
		t.Errorf("input of a download %v", x)
	}
	if m.paceInput(x, 0, 128, 0, 0); !slices.Equal(x, []float32{1, 0, 1, 0, 0, 0}) {
		t.Errorf("input of a download at once %v", x)
	}
	if m.paceInput(x, 0, 128, 0, 40); x[4] != 1 {
		t.Errorf("ten segments of idling are %v", x[4])
	}
	y := slices.Repeat([]float32{9}, 8)
	if m.levelInput(y, known{level: 2, buffer: 30, mean: 8000, last: 500, waited: 1, stalled: true}); !slices.Equal(y, []float32{0, 0, 1, .5, 1, 0, .25, 1}) {
		t.Errorf("input of a request %v", y)
	}
	if m.levelInput(y, known{level: 0, buffer: 60, mean: 500, last: 8000, waited: 9}); !slices.Equal(y, []float32{1, 0, 0, 1, 0, 1, 1, 0}) {
		t.Errorf("input of a request %v", y)
	}
	if m.paceIn() != 6 || m.levelIn() != 8 || m.most() != 128 {
		t.Errorf("%d and %d inputs, a buffer of %v at most", m.paceIn(), m.levelIn(), m.most())
	}
}

// Between two recorded limits a channel shows what lies between theirs, on the scale of
// powers; beyond them, the nearest's.
func TestShownBetweenLimits(t *testing.T) {
	m := &Model{Config: Config{Regimes: 2, Knots: 2}, Limits: []int32{32, 128}, Tables: []float32{
		0, 0, 0, 0, 0, 0, 0, 0, // channel 0
		9, 9, 9, 9, 0, 1, 4, 8, // channel 1: regime 0, then regime 1 under 32 and 128
	}}
	for _, c := range []struct{ limit, u, want float64 }{{32, 0, 0}, {32, .5, .5}, {32, 1, 1}, {128, .5, 6}, {64, .5, 3.25}, {64, 0, 2}, {16, .5, .5}, {90.5096679918781, 1, 6.25}} {
		if got := m.shown(1, 1, c.limit, c.u); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("limit %v at %v: %v, want %v", c.limit, c.u, got, c.want)
		}
	}
	for _, c := range []struct{ u, want float64 }{{-1, 1}, {0, 1}, {.25, 2}, {.5, 3}, {.75, 6}, {1, 9}, {2, 9}} {
		if got := quantile([]float32{1, 3, 9}, c.u); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("quantile at %v is %v, want %v", c.u, got, c.want)
		}
	}
}

// The path of a load against all paths one by one.
func TestPathAgainstAllPaths(t *testing.T) {
	draw := func(i int) float64 { return rng.Key{Seed: 5, A: uint32(i), Purpose: rng.Init}.Float64(0) }
	for try := range 6 {
		const k, d, n = 2, 2, 7
		h := &load{k: k, d: d, limits: []int{32, 64}, mean: make([]float64, k*2*d), dev: make([]float64, k*2*d), trans: make([]float64, k*k), first: make([]float64, k)}
		for i := range h.mean {
			h.mean[i], h.dev[i] = draw(100*try+i), .1+.2*draw(100*try+20+i)
		}
		for z := range k {
			p := .2 + .6*draw(100*try+40+z)
			h.trans[z*k], h.trans[z*k+1] = math.Log(p), math.Log(1-p)
		}
		h.first[0], h.first[1] = math.Log(.3), math.Log(.7)
		s := sequence{}
		for i := range n {
			s.limit = append(s.limit, int(2*draw(100*try+50+i)))
			s.x = append(s.x, draw(100*try+60+2*i), draw(100*try+61+2*i))
		}
		s.x[3], s.x[6], s.x[7] = math.NaN(), math.NaN(), math.NaN()
		best, most := "", math.Inf(-1)
		for code := range 1 << n {
			lp, path := 0., ""
			for i := range n {
				z := code >> i & 1
				path += fmt.Sprint(z)
				if i == 0 {
					lp += h.first[z]
				} else {
					lp += h.trans[(code>>(i-1)&1)*k+z]
				}
				for j := range d {
					if x, e := s.x[i*d+j], (z*2+s.limit[i])*d+j; x == x {
						lp += -(x-h.mean[e])*(x-h.mean[e])/(2*h.dev[e]*h.dev[e]) - math.Log(h.dev[e])
					}
				}
			}
			if lp > most {
				best, most = path, lp
			}
		}
		got := ""
		for _, z := range h.path(s) {
			got += fmt.Sprint(z)
		}
		if got != best {
			t.Errorf("try %d: %s, want %s", try, got, best)
		}
	}
}

// What a load learns of paths: means and deviations by regime and limit over what was
// measured, and how often one second follows another, with one of each not seen.
func TestLearnByHand(t *testing.T) {
	h := &load{k: 2, d: 1, limits: []int{32, 64}, mean: make([]float64, 4), dev: make([]float64, 4), trans: make([]float64, 4), first: make([]float64, 2)}
	h.learn([]sequence{{limit: []int{0, 0, 1, 1, 0}, x: []float64{.1, .3, .8, math.NaN(), .6}}, {limit: []int{0, 0}, x: []float64{.2, .6}}}, [][]uint8{{0, 0, 0, 1, 1}, {0, 1}})
	same := func(what string, got, want []float64) {
		t.Helper()
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-12 {
				t.Errorf("%s %v, want %v", what, got, want)
				return
			}
		}
	}
	same("means", h.mean, []float64{.2, .8, .6, 0})
	same("deviations", h.dev, []float64{math.Sqrt(.02/3) + .01, .01, .01, .01})
	same("transitions", h.trans, []float64{math.Log(3. / 6), math.Log(3. / 6), math.Log(1. / 3), math.Log(2. / 3)})
	same("first", h.first, []float64{math.Log(3. / 4), math.Log(1. / 4)})
}

// Stays by hand: a first one is left out, a last one goes on unseen, and what follows is
// counted; a regime that nothing followed is followed by itself.
func TestStaysByHand(t *testing.T) {
	path := func(stays ...int) (p []uint8) { // regime, seconds, …
		for i := 0; i < len(stays); i += 2 {
			p = append(p, slices.Repeat([]uint8{uint8(stays[i])}, stays[i+1])...)
		}
		return p
	}
	lasts, follows := stays([][]uint8{path(0, 5, 1, 10, 0, 20, 1, 30, 2, 7), path(1, 3, 0, 40, 1, 20, 0, 9)}, 3, 3)
	if want := []float32{0, 1, 0, .75, 0, .25, 0, 0, 1}; !slices.Equal(follows, want) {
		t.Errorf("follows %v, want %v", follows, want)
	}
	if want := []float32{20, 20, 40, 10, 20, 30, forEver, forEver, forEver}; !slices.Equal(lasts, want) {
		t.Errorf("lasts %v, want %v", lasts, want)
	}
}

// The loss of a download far out is that of the density there; of a download that was given
// up, the chance of more.
func TestTookByHand(t *testing.T) {
	for _, c := range []struct{ mu, s, lo, hi, want float64 }{
		{0, 0, 1, math.Inf(1), math.Log(2)}, {0, 0, math.E, math.Inf(1), -math.Log(.15865525393145707)}, {0, 0, 1 / math.E, 1, -math.Log(.3413447460685429)},
		{0, 0, 1, math.E, -math.Log(.3413447460685429)}, {0, math.Log(2), math.E * math.E, math.Exp(4), -math.Log(.13590512198327787)},
		{0, 0, math.Exp(9), math.Exp(11), 50 - math.Log(1e-9)}, {0, 0, math.Exp(-11), math.Exp(-9), 50 - math.Log(1e-9)}, {0, 0, math.Exp(10), math.Inf(1), 50 - math.Log(1e-9)},
	} {
		if got, _, _ := took(c.mu, c.s, c.lo, c.hi); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if _, dmu, ds := took(0, 0, math.Exp(9), math.Exp(11)); math.Abs(dmu+10) > 1e-9 || math.Abs(ds+100) > 1e-9 {
		t.Errorf("far out the slopes are %v and %v", dmu, ds)
	}
	p := make([]float64, 3)
	if softmax([]float32{0, float32(math.Log(2)), float32(math.Log(5))}, p); math.Abs(p[0]-.125) > 1e-6 || math.Abs(p[1]-.25) > 1e-6 || math.Abs(p[2]-.625) > 1e-6 {
		t.Errorf("softmax %v", p)
	}
}

// What has quantiles is a depth's share of the limit, what a wait has over what the packets
// before it take, and any other value itself; it is measured where both are.
func TestLawByHand(t *testing.T) {
	gone := float32(nan)
	r := recorded("other1 enq_qdepth1 deq_timedelta1 deq_timedelta2", []float32{7, 16, 500, 90}, []float32{7, gone, 500, 90}, []float32{gone, 8, gone, gone})
	m := &Model{Columns: []Column{{Kind: switchKind}, {Kind: depthKind}, {Kind: waitKind, Depth: 1, PerPacket: 30}, {Kind: waitKind, Depth: -1, PerPacket: 30}}}
	for j, want := range [][]float64{{7, 7, nan}, {.25, nan, .125}, {20, nan, nan}, {90, 90, nan}} {
		for s, w := range want {
			if x, ok := m.law(&m.Columns[j], r, s, j); ok != (w == w) || ok && x != w {
				t.Errorf("column %d, second %d: %v %v, want %v", j, s, x, ok, w)
			}
		}
	}
}

// playedBy is a recording of a player whose buffer, level and stalls are given by second, under
// a limit of 64.
func playedBy(buffer, kbps, stall []float32) telemetry.Recording {
	f := []telemetry.Field{{Name: "lbo_s"}, {Name: "rep_kbps"}, {Name: "stall_s"}}
	var values []float32
	for i := range buffer {
		values = append(values, buffer[i], kbps[i], stall[i])
	}
	d, err := telemetry.NewDataset(f, 64, time.Unix(0, 0), values, slices.Repeat([]bool{true}, len(values)))
	if err != nil {
		panic(err)
	}
	return telemetry.Recording{Limit: 64, Data: d}
}

// What a player asked for and how long it took, read off a buffer by hand: at once below its
// target, after a wait above it; a change of level without a segment gives a download up.
func TestTrackByHand(t *testing.T) {
	m := &Model{Config: Config{SegmentS: 4, StableS: 12, TopS: 20}, Kbps: []float64{500, 1000}, Columns: []Column{
		{Name: "lbo_s", Kind: lboKind}, {Name: "rep_kbps", Kind: qualityKind, Levels: []float32{500, 1000}}, {Name: "stall_s", Kind: stallKind},
	}}
	buffer := []float32{8, 11, 10, 13, 12, 15, 14, 13, 16, 15, 14, 13, 12, 11, 10, 13, 12, 14.5, 13.5}
	kbps := []float32{500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 1000, 1000, 1000, 1000, 500, 500}
	stall := make([]float32, len(buffer))
	stall[17] = .5
	down, asked, first := m.track(playedBy(buffer, kbps, stall), make([]uint8, len(buffer)))
	if first != (start{8, 0}) {
		t.Errorf("it begins as %+v", first)
	}
	var got []string
	for _, d := range down {
		got = append(got, fmt.Sprintf("level %d after %.1f s: %.2f … %.2f, %d %d %v", d.level, d.idle, d.lo, d.hi, d.regime, d.limit, d.alike))
	}
	for i, want := range []string{
		"level 0 after 0.0 s: 1.29 … 2.71, 0 64 true", // asked for half way through second 1, there half way through second 3, ± √½
		"level 0 after 1.5 s: 0.05 … 1.00, 0 64 true", // after a wait from 13.5 to 12, at second 4; there at 4.5
		"level 0 after 4.5 s: 0.05 … +Inf, 0 64 true", // the one before came sooner than it was asked for; this one was given up
		"level 1 after 0.0 s: 1.29 … 2.71, 0 64 true",
		"level 1 after 0.0 s: 1.29 … 2.71, 0 64 true",
	} {
		if i >= len(got) || got[i] != want {
			t.Errorf("download %d: %q, want %q", i, got, want)
			break
		}
	}
	if want := (request{0, known{level: 1, buffer: 15, stalled: true}, [window]int{0, 1, 3, 4}}); len(down) != 5 || len(asked) != 1 || asked[0] != want {
		t.Errorf("asked for %+v, want %+v", asked, want)
	}
	// A regime that changes after the request leaves a download without one.
	path := make([]uint8, len(buffer))
	path[3] = 1
	if down, _, _ = m.track(playedBy(buffer, kbps, stall), path); down[0].alike || down[0].regime != 1 || !down[3].alike {
		t.Errorf("where the regime changes: %+v", down)
	}
	// A segment that is there as it is asked for was another request's.
	if down, _, _ = m.track(playedBy([]float32{8, 11, 10, 13.5, 12.5, 15.5}, kbps[:6], stall[:6]), path[:6]); len(down) != 1 {
		t.Errorf("downloads %+v, want that of second 3 alone", down)
	}
}

// What a simulator shows, and which limits it takes, are what was recorded.
func TestSimulatorByHand(t *testing.T) {
	m, _ := known8()
	s := simulator(t, m, 2)
	lo, hi := s.Limits()
	if lo != 32 || hi != 128 || s.Num() != 2 || s.Ladder().Rungs() != 2 || s.Ladder().TopKbps() != 3312 || !slices.Equal(s.Columns(), fields) {
		t.Errorf("limits %d…%d, %d rows, ladder %v, columns %v", lo, hi, s.Num(), s.Ladder(), s.Columns())
	}
	var w telemetry.Window
	for _, c := range []struct {
		rows, fields int
		limits       []int32
		want         string
	}{
		{1, 8, []int32{32}, ""}, {1, 8, []int32{128}, ""}, {1, 8, []int32{31}, "limit 31: 32…128"}, {1, 8, []int32{129}, "limit 129: 32…128"},
		{2, 8, []int32{32}, "a window of 2×8 for 1 rows"}, {1, 7, []int32{32}, "a window of 1×7"}, {1, 8, []int32{32, 32}, "2 limits"},
	} {
		w.Size(c.rows, 1, c.fields)
		if err := s.Step(t.Context(), []int{0}, c.limits, &w); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	// A row that was never reset begins as from seed 0; a second of the clock changes nothing.
	played := func(row int) []float32 {
		w.Size(1, 20, 8)
		if err := s.Step(t.Context(), []int{row}, []int32{64}, &w); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(w.Values)
	}
	never := played(1)
	if err := s.ResetAt([]int{0}, []uint64{0}, 17); err != nil {
		t.Fatal(err)
	}
	if got := played(0); !slices.Equal(got, never) {
		t.Error("a row that was never reset does not begin as from seed 0")
	}
	if err := s.Reset([]int{0}, []uint64{1}); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(played(0), never) {
		t.Error("seeds 0 and 1 play alike")
	}
}
