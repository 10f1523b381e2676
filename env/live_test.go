package env_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/p4/p4test"
	"github.com/planegym/planegym/telemetry"
)

// beat is a source of one report every so often, by whatever time it is.
type beat struct {
	fields []telemetry.Field
	every  time.Duration
	ahead  time.Duration // its clock
	record func(n int, r *telemetry.Record)

	mu     sync.Mutex
	n      int
	next   time.Time
	silent bool
	closed bool
}

func fields(names ...string) []telemetry.Field {
	var out []telemetry.Field
	for _, n := range names {
		f, _ := telemetry.Canonical(n)
		out = append(out, f)
	}
	return out
}

func (b *beat) Fields() []telemetry.Field { return b.fields }

func (b *beat) Take(dst []telemetry.Record) []telemetry.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next.IsZero() {
		b.next = time.Now()
	}
	for ; !b.next.After(time.Now()); b.next = b.next.Add(b.every) {
		r := telemetry.Record{Millis: b.next.Add(b.ahead).UnixMilli(), Values: make([]float64, len(b.fields)), Valid: make([]bool, len(b.fields))}
		for i := range r.Valid {
			r.Valid[i] = true
		}
		b.record(b.n, &r)
		b.n++
		if !b.silent {
			dst = append(dst, r)
		}
	}
	return dst
}

func (b *beat) Close() error { b.closed = true; return nil }

func (b *beat) hush(silent bool) {
	b.mu.Lock()
	b.silent = silent
	b.mu.Unlock()
}

// newProbes reports 4 times a second: enq n, delay 100 n, deq n/2 at every
// switch, so that what is joined tells which reports were.
func newProbes(switches int) *beat {
	var names []string
	for s := 1; s <= switches; s++ {
		names = append(names, fmt.Sprint("enq_qdepth", s), fmt.Sprint("deq_timedelta", s), fmt.Sprint("deq_qdepth", s))
	}
	return &beat{fields: fields(names...), every: time.Second / 4, record: func(n int, r *telemetry.Record) {
		for i := range r.Values {
			r.Values[i] = []float64{float64(n), float64(100 * n), float64(n) / 2}[i%3]
		}
	}}
}

func newPlayer() *beat {
	return &beat{
		fields: fields("lbo_s", "fps", "rep_kbps", "calc_cum", "width", "height", "stall_s"), every: time.Second,
		record: func(n int, r *telemetry.Record) {
			copy(r.Values, []float64{20 + float64(n), 30, 3312, 500 * float64(n), 1280, 720, 0})
		},
	}
}

// liveBench is a Live over three P4Runtime switches in memory.
type liveBench struct {
	*testing.T
	*env.Live
	s              []*p4test.Server
	probes, player *beat
	acts           []env.Act
	window         telemetry.Window
}

const safe, usual = p4.Limit(32), p4.Limit(64)

func live(t *testing.T, cfg env.LiveConfig, do func(b *liveBench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &liveBench{T: t, probes: newProbes(3), player: newPlayer()}
		var g p4.Group
		var queues []p4.Queue
		for i := range 3 {
			pipe := p4test.NewPipe()
			s, err := p4test.Serve(p4test.Config{Ports: []p4.Port{1}, Depths: []p4.Limit{safe, usual}}, pipe)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c, err := p4rt.Open(p4rt.Config{
				Target: "pipe", Dial: pipe.Dial, Ports: []p4.Port{1}, Queues: []p4.Limit{safe, usual}, Safe: safe, Seed: uint64(i),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.s, g, queues = append(b.s, s), append(g, c), append(queues, p4.Queue{Switch: i, Port: 1})
		}
		cfg.Safe = safe
		var err error
		if b.Live, err = env.NewLive(cfg, g, queues, b.probes, b.player, func(a env.Act) { b.acts = append(b.acts, a) }); err != nil {
			t.Fatal(err)
		}
		b.window.Size(1, 4, len(b.Columns()))
		do(b)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		b.inForce(safe, safe, safe)
		if !b.probes.closed || !b.player.closed {
			t.Error("sources are left open")
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

func TestLiveJoinsWhatWasReportedUnderALimit(t *testing.T) {
	live(t, env.LiveConfig{}, func(b *liveBench) {
		begin := time.Now()
		b.reset(usual)
		b.inForce(usual, usual, usual)
		// The first window begins at once; of each second the probe that
		// waited longest, the fourth.
		for i := range 4 {
			for _, c := range []struct {
				name string
				want float32
			}{
				{"enq_qdepth1", float32(4*i + 3)}, {"deq_timedelta3", float32(400*i + 300)}, {"deq_qdepth2", float32(4*i+3) / 2},
				{"lbo_s", float32(20 + i)}, {"fps", 30}, {"rep_kbps", 3312}, {"stall_s", 0},
			} {
				if v, ok := b.at(i, c.name); v != c.want || !ok {
					b.Errorf("second %d: %s = %v, %v; want %v", i, c.name, v, ok, c.want)
				}
			}
			if v, ok := b.at(i, "calc_rate"); ok != (i > 0) || ok && v != 500 {
				b.Errorf("second %d: calc_rate %v, %v: the first report of a counter gives no difference", i, v, ok)
			}
		}
		if took := time.Since(begin); took != 4100*time.Millisecond {
			b.Errorf("reset took %v, want a window and its grace", took)
		}
		b.advance(safe)
		b.inForce(safe, safe, safe)
		if v, _ := b.at(0, "calc_rate"); v != 500 {
			b.Errorf("calc_rate %v across windows, want 500", v)
		}
		if b.window.End[0] != telemetry.Going || b.window.Reason[0] != "" {
			b.Errorf("%v %q", b.window.End[0], b.window.Reason[0])
		}
		if b.Late() != 0 {
			b.Errorf("%d reports are late", b.Late())
		}
		var why []string
		for i, a := range b.acts {
			why = append(why, a.Why)
			if a.Done != (i%2 == 1) || a.Done && (len(a.Got) != 3 || a.Err != nil || a.Got[2].Limit != a.Asked[2]) {
				b.Errorf("act %d: %+v", i, a)
			}
		}
		if want := []string{"reset", "reset", "policy", "policy"}; !slices.Equal(why, want) {
			b.Errorf("acts %v, want %v", why, want)
		}
	})
}

func TestLiveMasksWhatIsMissing(t *testing.T) {
	live(t, env.LiveConfig{}, func(b *liveBench) {
		b.reset(usual)
		b.probes.hush(true)
		b.advance(usual)
		v, ok := b.at(3, "enq_qdepth1")
		if p, played := b.at(3, "lbo_s"); ok || v != 15 || !played || p != 28 {
			b.Errorf("silent probes: %v %v, want the last good 15, invalid; player %v %v", v, ok, p, played)
		}
		if b.window.End[0] != telemetry.Going {
			b.Errorf("truncated after one window: %s", b.window.Reason[0])
		}
		// Two windows after the last report the safe limit comes.
		silent := time.Now()
		b.advance(usual)
		b.truncated("nothing from the probes (INT) for 8")
		b.inForce(safe, safe, safe)
		if took := time.Since(silent); took > 4*time.Second {
			b.Errorf("detected %v after the window began", took)
		}
		if last := b.acts[len(b.acts)-1]; !last.Done || !strings.HasPrefix(last.Why, "telemetry: ") {
			b.Errorf("the last act: %+v", last)
		}
		// A reset waits for reports; the safe limit holds.
		time.AfterFunc(20*time.Second, func() { b.inForce(safe, safe, safe); b.probes.hush(false) })
		begin := time.Now()
		b.reset(usual)
		if took := time.Since(begin); took < 24*time.Second || took > 27*time.Second {
			b.Errorf("reset took %v", took)
		}
		b.inForce(usual, usual, usual)
	})
}

func TestLiveResetGivesUp(t *testing.T) {
	live(t, env.LiveConfig{PatienceS: 10}, func(b *liveBench) {
		b.player.hush(true)
		begin := time.Now()
		err := b.Reset(b.Context(), []int{0}, nil, []p4.Limit{usual, usual, usual}, &b.window)
		if err == nil || !strings.Contains(err.Error(), "nothing from the player (DASH) yet") || time.Since(begin) != 10*time.Second {
			b.Errorf("%v after %v", err, time.Since(begin))
		}
		b.inForce(safe, safe, safe)
	})
}

func TestLiveSwitchOutOfHand(t *testing.T) {
	live(t, env.LiveConfig{}, func(b *liveBench) {
		b.reset(usual)
		b.s[1].Cut()
		synctest.Wait()
		b.advance(usual)
		b.truncated("switch 2 port 1, limit 64: ")
		b.inForce(safe, usual, safe) // nobody reaches the second
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
		b.s[2].Inject(p4test.Faults{Refuse: codes.ResourceExhausted})
		err := b.Reset(b.Context(), []int{0}, nil, []p4.Limit{usual, usual, usual}, &b.window)
		if err == nil || !strings.Contains(err.Error(), "ResourceExhausted") {
			b.Errorf("reset of a switch that refuses: %v", err)
		}
		b.inForce(safe, safe, safe)
		b.s[2].Inject(p4test.Faults{})
	})
}

func TestLiveStall(t *testing.T) {
	live(t, env.LiveConfig{MaxStallS: 3}, func(b *liveBench) {
		b.reset(usual)
		b.player.record = func(_ int, r *telemetry.Record) { r.Values[6] = 1 }
		b.advance(usual)
		b.truncated("playback: stalled for 4 s")
		b.inForce(safe, safe, safe)
	})
}

func TestLiveWrongClock(t *testing.T) {
	live(t, env.LiveConfig{PatienceS: 5}, func(b *liveBench) {
		b.player.ahead = time.Hour
		err := b.Reset(b.Context(), []int{0}, nil, []p4.Limit{usual, usual, usual}, &b.window)
		if err == nil || !strings.Contains(err.Error(), "player") || b.Late() == 0 {
			b.Errorf("%v, %d late", err, b.Late())
		}
	})
}

// However short episodes are, limits change at most once a window.
func TestLiveChangesOnceAWindow(t *testing.T) {
	live(t, env.LiveConfig{}, func(b *liveBench) {
		b.reset(usual)
		b.player.hush(true)
		b.advance(usual)
		b.advance(usual)
		b.truncated("player")
		b.player.hush(false)
		b.reset(usual)
		var last time.Time
		for _, a := range b.acts {
			if a.Done || len(b.acts) == 0 {
				continue
			}
			if d := a.Time.Sub(last); d < 4*time.Second && !strings.Contains(a.Why, "player") {
				b.Errorf("%s %v after the change before", a.Why, d)
			}
			last = a.Time
		}
	})
}

func TestLiveConfigErrorsNameTheKey(t *testing.T) {
	ok := env.LiveConfig{Safe: 32}
	for _, c := range []struct {
		edit func(*env.LiveConfig)
		want string
	}{
		{func(*env.LiveConfig) {}, ""},
		{func(c *env.LiveConfig) { c.Safe = 0 }, "env: live: safe: p4: limit 0 is outside 1…524287 packets"},
		{func(c *env.LiveConfig) { c.GraceS = -1 }, "env: live: grace_s: -1 is outside 0…10"},
		{func(c *env.LiveConfig) { c.StaleWindows = -1 }, "env: live: stale_windows: -1 is outside 1…100"},
		{func(c *env.LiveConfig) { c.TimeScale = 1e9 }, "env: live: time_scale: 1e+09 is outside 0.001…10000"},
	} {
		cfg := ok
		c.edit(&cfg)
		if err := cfg.Check(); c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	probes := newProbes(3)
	probes.fields = probes.fields[:6]
	_, err := env.NewLive(ok, p4.Group{}, []p4.Queue{{Switch: 2}, {Switch: 1}, {Switch: 0}}, probes, newPlayer(), nil)
	if err == nil || err.Error() != "env: live: neither probes nor player report enq_qdepth3" {
		t.Error(err)
	}
	_, err = env.NewLive(ok, p4.Group{}, []p4.Queue{{Switch: 1}}, probes, newPlayer(), nil)
	if err == nil || err.Error() != "env: live: switch 1 has no port whose limit is set" {
		t.Error(err)
	}
}

// told is a controller that remembers.
type told map[p4.Queue]p4.Limit

func (m told) Set(_ context.Context, queues []p4.Queue, limits []p4.Limit) ([]p4.InForce, error) {
	for i, q := range queues {
		m[q] = limits[i]
	}
	return m.Read(context.Background(), queues)
}

func (m told) Read(_ context.Context, queues []p4.Queue) ([]p4.InForce, error) {
	var got []p4.InForce
	for _, q := range queues {
		got = append(got, p4.InForce{Queue: q, Limit: m[q]})
	}
	return got, nil
}

func (m told) Close() error { return nil }

// The vector over it is one row in real time, at a thousand of the switches'
// seconds in one of ours.
func TestLiveIsAVector(t *testing.T) {
	envtest.Check(t, func(t *testing.T) env.Vector {
		probes, player := newProbes(2), newPlayer()
		probes.every, player.every = time.Millisecond/4, time.Millisecond
		l, err := env.NewLive(env.LiveConfig{Safe: safe, TimeScale: 1000, GraceS: 1, StaleWindows: 100}, told{}, []p4.Queue{{Switch: 0, Port: 1}, {Switch: 1, Port: 1}}, probes, player, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := env.New(env.Config{MaxSteps: 5, Observation: env.Observation{Normalise: "none"}}, l, 1, nil)
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
	live(t, env.LiveConfig{}, func(b *liveBench) {
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
