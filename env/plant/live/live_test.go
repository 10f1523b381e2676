package live_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/telemetry"
)

// ticker reports, for second n counted from its beginning, enq n, delay 100 n and
// deq n/2 at every switch, 20+n s in the player's buffer. It joins seconds of
// any phase.
type ticker struct {
	switches int
	second   time.Duration
	settle   time.Duration
	begin    time.Time
	stall    float32

	mu     sync.Mutex
	hushed [2]time.Time // since when switches, player are silent
	closed bool
}

func (k *ticker) Columns() []telemetry.Field {
	var out []telemetry.Field
	for s := 1; s <= k.switches; s++ {
		for _, stem := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
			f, _ := telemetry.Canonical(fmt.Sprint(stem, s))
			out = append(out, f)
		}
	}
	for _, n := range []string{"lbo_s", "fps", "rep_kbps", "calc_rate", "width", "height", "stall_s"} {
		f, _ := telemetry.Canonical(n)
		out = append(out, f)
	}
	return out
}

func (k *ticker) Window(ctx context.Context, start time.Time, values []float32, valid []bool) (live.Ages, error) {
	f := 3*k.switches + 7
	end := start.Add(time.Duration(len(values)/f) * k.second)
	select {
	case <-time.After(time.Until(end.Add(k.settle))):
	case <-ctx.Done():
		return live.Ages{}, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range values {
		at := start.Add(time.Duration(i/f) * k.second)
		n := float32(at.Sub(k.begin) / k.second)
		c, who := i%f, 0
		if c >= 3*k.switches {
			who = 1
			values[i] = []float32{20 + n, 30, 3312, 500, 1280, 720, k.stall}[c-3*k.switches]
		} else {
			values[i] = []float32{n, 100 * n, n / 2}[c%3]
		}
		if valid[i] = k.hushed[who].IsZero() || at.Before(k.hushed[who]); !valid[i] {
			values[i] = -1 // not to be seen
		}
	}
	age := func(who int) time.Duration {
		switch h := k.hushed[who]; {
		case h.IsZero():
			return 0
		case h.Equal(k.begin):
			return live.Never
		default:
			return max(end.Sub(h), 0)
		}
	}
	ages := live.Ages{Player: age(1)}
	for range k.switches {
		ages.Switches = append(ages.Switches, age(0))
	}
	return ages, nil
}

func (k *ticker) Close() error { k.closed = true; return nil }

func (k *ticker) hush(who int, since time.Time) {
	k.mu.Lock()
	k.hushed[who] = since
	k.mu.Unlock()
}

// liveBench is a Live over three P4Runtime switches in memory.
type liveBench struct {
	*testing.T
	*live.Plant
	s      []*sim.Server
	source *ticker
	acts   []live.Act
	window telemetry.Window
}

const safe, usual = p4.Limit(32), p4.Limit(64)

func onBench(t *testing.T, cfg live.Config, do func(b *liveBench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &liveBench{T: t, source: &ticker{switches: 3, second: time.Second, settle: 100 * time.Millisecond, begin: time.Now()}}
		var g p4.Group
		var ports []p4.Queue
		for i := range 3 {
			pipe := sim.NewPipe()
			s, err := sim.Serve(sim.Config{Ports: []p4.Port{1}, Depths: []p4.Limit{safe, usual}}, pipe)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c, err := p4rt.Open(p4rt.Config{Seed: uint64(i), Provision: func(context.Context) error { return nil }, Switch: inventory.Switch{
				Target: "pipe", Dial: pipe.Dial, Ports: []p4.Port{1}, Queues: []p4.Limit{safe, usual}, Safe: safe,
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.s, g, ports = append(b.s, s), append(g, c), append(ports, p4.Queue{Switch: i, Port: 1})
		}
		cfg.Safe = safe
		var err error
		if b.Plant, err = live.New(cfg, g, ports, b.source, func(a live.Act) { b.acts = append(b.acts, a) }); err != nil {
			t.Fatal(err)
		}
		b.window.Size(1, 4, len(b.Columns()))
		do(b)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		b.inForce(safe, safe, safe)
		if !b.source.closed {
			t.Error("telemetry is left open")
		}
	})
}

func (b *liveBench) reset(l p4.Limit) {
	b.Helper()
	if err := b.Reset(b.Context(), []int{0}, nil, []p4.Limit{l, l, l}, &b.window); err != nil {
		b.Fatal(err)
	}
}

func (b *liveBench) advance(l p4.Limit) {
	b.Helper()
	if err := b.Advance(b.Context(), []int{0}, []p4.Limit{l, l, l}, &b.window); err != nil {
		b.Fatal(err)
	}
}

func (b *liveBench) inForce(want ...p4.Limit) {
	b.Helper()
	for i, s := range b.s {
		if got := s.InForce(1); got != want[i] {
			b.Errorf("switch %d has limit %d, want %d", i+1, got, want[i])
		}
	}
}

func (b *liveBench) truncated(why string) {
	b.Helper()
	if b.window.End[0] != telemetry.Truncated || !strings.Contains(b.window.Reason[0], why) {
		b.Fatalf("%v %q, want it truncated with %q", b.window.End[0], b.window.Reason[0], why)
	}
}

// at is a cell of the window by name.
func (b *liveBench) at(t int, name string) (float32, bool) {
	b.Helper()
	c := slices.IndexFunc(b.Columns(), func(f telemetry.Field) bool { return f.Name == name })
	values, valid := b.window.Row(0)
	i := t*len(b.Columns()) + c
	return values[i], valid[i]
}

func TestLiveTellsWhatWasMeasuredUnderALimit(t *testing.T) {
	onBench(t, live.Config{}, func(b *liveBench) {
		begin := time.Now()
		b.reset(usual)
		b.inForce(usual, usual, usual)
		// Of the seconds 0…4, one to see whether anything comes, then four.
		for i := range 4 {
			for _, c := range []struct {
				name string
				want float32
			}{
				{"enq_qdepth1", float32(i + 1)}, {"deq_timedelta3", float32(100 * (i + 1))}, {"deq_qdepth2", float32(i+1) / 2},
				{"lbo_s", float32(21 + i)}, {"fps", 30}, {"rep_kbps", 3312}, {"calc_rate", 500}, {"stall_s", 0},
			} {
				if v, ok := b.at(i, c.name); v != c.want || !ok {
					b.Errorf("second %d: %s = %v, %v; want %v", i, c.name, v, ok, c.want)
				}
			}
		}
		if took := time.Since(begin); took != 5200*time.Millisecond {
			b.Errorf("the first reset took %v, want a second, a window and what they settle in", took)
		}
		at := time.Now()
		b.advance(safe)
		b.inForce(safe, safe, safe)
		if b.window.End[0] != telemetry.Going || b.window.Reason[0] != "" {
			b.Errorf("%v %q", b.window.End[0], b.window.Reason[0])
		}
		b.reset(usual)
		if took := time.Since(at); took != 8200*time.Millisecond {
			b.Errorf("a step and a reset took %v, want two windows", took)
		}
		var why []string
		for i, a := range b.acts {
			why = append(why, a.Why)
			if a.Done != (i%2 == 1) || a.Done && (len(a.Got) != 3 || a.Err != nil || a.Got[2].Limit != a.Asked[2]) {
				b.Errorf("act %d: %+v", i, a)
			}
		}
		if want := []string{"reset", "reset", "policy", "policy", "reset", "reset"}; !slices.Equal(why, want) {
			b.Errorf("acts %v, want %v", why, want)
		}
	})
}

func TestLiveMasksWhatIsMissing(t *testing.T) {
	onBench(t, live.Config{}, func(b *liveBench) {
		b.reset(usual)
		silent := time.Now()
		b.source.hush(0, silent)
		b.advance(usual)
		v, ok := b.at(3, "enq_qdepth1")
		if p, played := b.at(3, "lbo_s"); ok || v != 4 || !played || p != 28 {
			b.Errorf("silent switches: %v %v, want the last good 4, invalid; player %v %v", v, ok, p, played)
		}
		if b.window.End[0] != telemetry.Going {
			b.Errorf("truncated after one window: %s", b.window.Reason[0])
		}
		// At the end of the window in which the last report became older than
		// two windows the safe limit comes.
		b.advance(usual)
		b.truncated("telemetry: nothing of switch 1 for 8.1 s")
		b.inForce(safe, safe, safe)
		b.Logf("the safe limit was in force %v after the last report", time.Since(silent))
		if last := b.acts[len(b.acts)-1]; !last.Done || !strings.HasPrefix(last.Why, "telemetry: ") {
			b.Errorf("the last act: %+v", last)
		}
		// A reset waits for reports; the safe limit holds.
		time.AfterFunc(20*time.Second, func() { b.inForce(safe, safe, safe); b.source.hush(0, time.Time{}) })
		begin := time.Now()
		b.reset(usual)
		if took := time.Since(begin); took < 24*time.Second || took > 27*time.Second {
			b.Errorf("reset took %v", took)
		}
		b.inForce(usual, usual, usual)
	})
}

func TestLiveResetGivesUp(t *testing.T) {
	onBench(t, live.Config{PatienceS: 10}, func(b *liveBench) {
		b.source.hush(1, b.source.begin)
		begin := time.Now()
		err := b.Reset(b.Context(), []int{0}, nil, []p4.Limit{usual, usual, usual}, &b.window)
		if err == nil || err.Error() != "env: live: telemetry: nothing of the player yet" || time.Since(begin) > 12*time.Second {
			b.Errorf("%v after %v", err, time.Since(begin))
		}
		b.inForce(safe, safe, safe)
	})
}

func TestLiveSwitchOutOfHand(t *testing.T) {
	onBench(t, live.Config{}, func(b *liveBench) {
		b.reset(usual)
		b.s[1].Cut()
		synctest.Wait()
		b.advance(usual)
		b.truncated("switch 2 port 1, limit 64: ")
		b.inForce(safe, usual, safe) // the second switch is unreachable
		if _, ok := b.at(0, "lbo_s"); ok {
			b.Error("an unmeasured window has valid cells")
		}
		b.s[1].Mend()
		time.Sleep(time.Second)
		b.inForce(safe, safe, safe)
		b.reset(usual)
		b.inForce(usual, usual, usual)
		// In the middle of a window a switch restarts, and is back in hand
		// before its end: it was not under the limit asked for.
		time.AfterFunc(time.Second, b.s[0].Restart)
		b.advance(usual)
		b.truncated("switch 1 port 1 has limit 32, it was given 64")
		b.inForce(safe, safe, safe)
		b.s[2].Inject(sim.Faults{Refuse: codes.ResourceExhausted})
		err := b.Reset(b.Context(), []int{0}, nil, []p4.Limit{usual, usual, usual}, &b.window)
		var refused *p4.SetError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "ResourceExhausted") {
			b.Errorf("reset of a switch that refuses: %v", err)
		}
		b.inForce(safe, safe, safe)
		b.s[2].Inject(sim.Faults{})
	})
}

func TestLiveStall(t *testing.T) {
	onBench(t, live.Config{MaxStallS: 3}, func(b *liveBench) {
		b.reset(usual)
		b.source.stall = 1
		b.advance(usual)
		b.truncated("playback: stalled for 4 s")
		b.inForce(safe, safe, safe)
	})
}

func TestLiveConfigErrorsNameTheKey(t *testing.T) {
	ok := live.Config{Safe: 32}
	for _, c := range []struct {
		edit func(*live.Config)
		want string
	}{
		{func(*live.Config) {}, ""},
		{func(c *live.Config) { c.Safe = 0 }, "env: live: safe: p4: limit 0 is outside 1…524287 packets"},
		{func(c *live.Config) { c.StaleWindows = -1 }, "env: live: stale_windows: -1 is outside 1…100"},
		{func(c *live.Config) { c.TimeScale = 1e9 }, "env: live: time_scale: 1e+09 is outside 0.001…10000"},
	} {
		cfg := ok
		c.edit(&cfg)
		if err := cfg.Check(); c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	_, err := live.New(ok, p4.Group{}, []p4.Queue{{Switch: 2}, {Switch: 1}, {Switch: 0}}, &ticker{switches: 2}, nil)
	if err == nil || err.Error() != "env: live: telemetry tells no enq_qdepth3" {
		t.Error(err)
	}
	_, err = live.New(ok, p4.Group{}, []p4.Queue{{Switch: 1}}, &ticker{switches: 2}, nil)
	if err == nil || err.Error() != "env: live: switch 1 has no port whose limit is set" {
		t.Error(err)
	}
}

// remembers is a controller that remembers.
type remembers map[p4.Queue]p4.Limit

func (m remembers) Set(_ context.Context, queues []p4.Queue, limits []p4.Limit) ([]p4.InForce, error) {
	for i, q := range queues {
		m[q] = limits[i]
	}
	return m.Read(context.Background(), queues)
}

func (m remembers) Read(_ context.Context, queues []p4.Queue) ([]p4.InForce, error) {
	var got []p4.InForce
	for _, q := range queues {
		got = append(got, p4.InForce{Queue: q, Limit: m[q]})
	}
	return got, nil
}

func (m remembers) Close() error { return nil }

// The vector over it is one row in real time, at a thousand of the switches'
// seconds in one of ours.
func TestLiveIsAVector(t *testing.T) {
	envtest.Check(t, func(t *testing.T) env.Vector {
		source := &ticker{switches: 2, second: time.Millisecond, begin: time.Now()}
		l, err := live.New(live.Config{Safe: safe, TimeScale: 1000}, remembers{}, []p4.Queue{{Switch: 0, Port: 1}, {Switch: 1, Port: 1}}, source, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := queues.New(queues.Config{MaxSteps: 5, Observation: queues.Observation{Normalise: "none"}}, l, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s := v.Spec(); !s.RealTime {
			t.Error("not in real time")
		}
		return v
	})
}

func TestLiveRefuses(t *testing.T) {
	onBench(t, live.Config{}, func(b *liveBench) {
		if err := b.Reset(b.Context(), []int{1}, nil, []p4.Limit{usual, usual, usual}, &b.window); !errors.Is(err, env.ErrInvalidRows) {
			b.Error(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		if err := b.Reset(ctx, []int{0}, nil, []p4.Limit{usual, usual, usual}, &b.window); !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	})
}

// A stall is counted in a row: as long as it may last it goes on, and playback that goes on
// ends it.
func TestLiveStallsInARow(t *testing.T) {
	onBench(t, live.Config{MaxStallS: 3}, func(b *liveBench) {
		b.reset(usual)
		for _, stall := range []float32{.5, 0, .5, 0, .625} {
			b.source.stall = stall
			if b.advance(usual); b.window.End[0] != telemetry.Going {
				b.Errorf("four seconds with %v s stalled: %q", stall, b.window.Reason[0])
			}
		}
		b.source.stall = .125 // 2.5 s and .5 s are 3
		b.advance(usual)
		b.truncated("playback: stalled for 3 s")
	})
}

// While a switch is out of hand an episode does not begin; what is said is which, and that it
// did not take the safe limit either.
func TestLiveSaysWhatHolds(t *testing.T) {
	onBench(t, live.Config{PatienceS: 6}, func(b *liveBench) {
		b.reset(usual)
		b.s[1].Cut()
		synctest.Wait()
		b.advance(usual)
		b.truncated("; the safe limit: p4: 1 of 3 queues failed; switch 2 port 1, limit 32: ")
		begin := time.Now()
		err := b.Reset(b.Context(), []int{0}, nil, []p4.Limit{usual, usual, usual}, &b.window)
		if took := time.Since(begin); err == nil || !strings.HasPrefix(err.Error(), "env: live: switches: ") || !strings.Contains(err.Error(), "; the safe limit: p4: 1 of 3") || took < 6*time.Second || took > 9*time.Second {
			b.Errorf("after %v: %v", took, err)
		}
		b.s[1].Mend()
		time.Sleep(2 * time.Second)
		b.reset(usual)
		b.inForce(usual, usual, usual)
	})
}

// Both sides of every range.
func TestLiveRanges(t *testing.T) {
	for key, k := range map[string]struct {
		set            func(c *live.Config, x float64)
		accept, refuse []float64
	}{
		"stale_windows": {func(c *live.Config, x float64) { c.StaleWindows = int(x) }, []float64{0, 1, 100}, []float64{-1, 101}},
		"max_stall_s":   {func(c *live.Config, x float64) { c.MaxStallS = x }, []float64{0, 3600}, []float64{-1e-9, 3600.001, math.NaN()}},
		"patience_s":    {func(c *live.Config, x float64) { c.PatienceS = x }, []float64{0, 1e-9, 86400}, []float64{-1e-9, 86400.001, math.NaN()}},
		"time_scale":    {func(c *live.Config, x float64) { c.TimeScale = x }, []float64{0, 1e-3, 1e4}, []float64{.99e-3, 10000.001, -1}},
	} {
		testkit.BothSides(t, "env: live: "+key+": ", k.accept, k.refuse, func(x float64) error {
			c := live.Config{Safe: 32}
			k.set(&c, x)
			return c.Check()
		})
	}
}

// steady is a telemetry of one switch and a player whose stalls nothing measures, in columns
// of its own order; every window says the same.
type steady struct{ lbo float32 }

func (steady) Close() error { return nil }
func (steady) Columns() (out []telemetry.Field) {
	for _, n := range []string{"lbo_s", "calc_rate", "rep_kbps", "fps", "deq_qdepth1", "deq_timedelta1", "enq_qdepth1"} {
		f, _ := telemetry.Canonical(n)
		out = append(out, f)
	}
	return out
}
func (s *steady) Window(_ context.Context, _ time.Time, values []float32, valid []bool) (live.Ages, error) {
	for i := range values {
		values[i], valid[i] = []float32{s.lbo, 1, 2, 3, 4, 5, 6}[i%7], true
	}
	return live.Ages{Switches: make([]time.Duration, 1)}, nil
}

// Without a measured stall an empty buffer stalls, and no other; columns come in the plant's
// order, whatever the telemetry's.
func TestLiveStallsWhereTheBufferIsEmpty(t *testing.T) {
	for lbo, ends := range map[float32]bool{0: true, .5: false, 1: false} {
		s := &steady{lbo: 9}
		var why []string
		p, err := live.New(live.Config{Safe: 32, MaxStallS: 1.5}, remembers{}, []p4.Queue{{Switch: 0, Port: 1}}, s, func(a live.Act) {
			if !a.Done {
				why = append(why, a.Why)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		var w telemetry.Window
		w.Size(1, 1, len(p.Columns()))
		if err := p.Reset(t.Context(), []int{0}, nil, []p4.Limit{64}, &w); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.Values, []float32{6, 5, 4, 9, 3, 2, 1}) || p.Columns()[3].Name != "lbo_s" {
			t.Errorf("shows %v of %v", w.Values, p.Columns())
		}
		s.lbo = lbo
		for second := range 2 {
			if err := p.Advance(t.Context(), []int{0}, []p4.Limit{32}, &w); err != nil || (w.End[0] == telemetry.Truncated) != (ends && second == 1) {
				t.Errorf("a buffer of %v s, second %d: ends is %v (%s), %v", lbo, second, w.End[0], w.Reason[0], err)
			}
		}
		// What is wrong changes nothing where the policy has put the safe limit in force itself.
		if want := []string{"reset", "policy", "policy"}; !slices.Equal(why, want) {
			t.Errorf("limits change for %q, want %q", why, want)
		}
	}
}

// refuses is a controller that refuses.
type refuses struct{ remembers }

var errRefused = errors.New("not the primary")

func (refuses) Set(context.Context, []p4.Queue, []p4.Limit) ([]p4.InForce, error) {
	return nil, errRefused
}

// Where the safe limit cannot be put in force at the end, Close says so.
func TestLiveCloseSaysWhatHolds(t *testing.T) {
	p, err := live.New(live.Config{Safe: 32}, refuses{remembers{}}, []p4.Queue{{Switch: 0, Port: 1}}, &steady{lbo: 9}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); !errors.Is(err, errRefused) || err.Error() != "env: live: close: the safe limit: not the primary" {
		t.Errorf("got %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}
