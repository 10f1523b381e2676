package eval_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// toy is a plant whose player buffers more the better the limit: limit 64 is
// best, or 16 where worse is set. Seeds differ by noise.
type toy struct {
	worse bool
	shift float32 // of queue depth
	seeds []uint64
	steps []uint32
}

func (t *toy) Columns() []telemetry.Field {
	return []telemetry.Field{
		{Name: "enq_qdepth1", Unit: "packets"}, {Name: "deq_timedelta1", Unit: "us"}, {Name: "deq_qdepth1", Unit: "packets"},
		{Name: "lbo_s", Unit: "s"}, {Name: "fps", Unit: "1/s"}, {Name: "rep_kbps", Unit: "kbit/s"},
	}
}

func (t *toy) Switches() int { return 1 }
func (t *toy) Close() error  { return nil }

func (t *toy) Reset(_ context.Context, rows []int, seeds []uint64, limit []p4.Limit, out *telemetry.Window) error {
	for i, r := range rows {
		for r >= len(t.seeds) {
			t.seeds, t.steps = append(t.seeds, 0), append(t.steps, 0)
		}
		t.seeds[r], t.steps[r] = seeds[i], 0
	}
	return t.Advance(context.Background(), rows, limit, out)
}

func (t *toy) Advance(_ context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	for i, r := range rows {
		k := rng.Key{Seed: t.seeds[r], A: t.steps[r], Purpose: rng.Traffic}
		t.steps[r]++
		x := float64(limit[i]) / 64
		if t.worse {
			x = .25 / x
		}
		values, valid := out.Row(i)
		for at := range valid {
			valid[at] = true
		}
		fps := float32(24)
		if k.Float64(1) < x {
			fps = 30
		}
		for s := range out.Seconds {
			depth := t.shift + float32(k.Float64(uint32(2+s)))*float32(limit[i])
			copy(values[s*6:], []float32{depth, 400 * depth, depth, 20, fps, 1867})
		}
		out.End[i], out.Reason[i] = telemetry.Going, ""
	}
	return nil
}

func side(t *testing.T, name string, seed uint64, plant func() *toy, cfg queues.Config) eval.Side {
	return eval.Side{Name: name, Seed: seed, Open: func(_ context.Context, _ *agent.DDQN, tap func(env.Plant) env.Plant) (env.Vector, error) {
		cfg.Observation = queues.Observation{Normalise: "none"}
		return queues.New(cfg, tap(plant()), 3, nil)
	}}
}

var cfg = queues.Config{Limits: []p4.Limit{16, 32, 64}, MaxSteps: 40}

func policies(names ...string) (p []eval.Policy) {
	for _, n := range names {
		p = append(p, eval.Policy{Name: n})
	}
	return p
}

var five = policies("fixed:16", "fixed:32", "fixed:64", "random", "occupancy:0.5")

func run(t *testing.T, a, b eval.Side) *eval.Result {
	t.Helper()
	r, err := eval.Run(t.Context(), a, b, five, eval.Options{Episodes: 8, Draws: 200})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What was valued before Ctrl-C equals what a comparison of those alone gives.
func TestStoppedComparisonKeepsWhatItHas(t *testing.T) {
	same := func() *toy { return &toy{} }
	ctx, cancel := context.WithCancel(t.Context())
	done := 0
	got, err := eval.Run(ctx, side(t, "a", 1, same, cfg), side(t, "b", 2, same, cfg), five, eval.Options{Episodes: 8, Draws: 200, Done: func(string) error {
		if done++; done == 3 {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, eval.ErrStopped) || !errors.Is(err, context.Canceled) || got == nil {
		t.Fatalf("%v, %v", got, err)
	}
	if want := "compare: stopped before every policy was valued: 3 of 5: context canceled"; err.Error() != want { // once, though every plant was stopped
		t.Errorf("%v, want %s", err, want)
	}
	want, err := eval.Run(t.Context(), side(t, "a", 1, same, cfg), side(t, "b", 2, same, cfg), five[:3], eval.Options{Episodes: 8, Draws: 200})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("stopped:\n%s\nwhole:\n%s", a, b)
	}
}

func near(t *testing.T, what string, got eval.Number, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tolerance) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A plant is itself: nothing differs, and whatever resampling does, ranks agree.
func TestSamePlant(t *testing.T) {
	same := func() *toy { return &toy{} }
	r := run(t, side(t, "a", 1, same, cfg), side(t, "b", 1, same, cfg))
	near(t, "ρ", r.Agreement.Spearman.Value, 1, 0)
	near(t, "ρ, low", r.Agreement.Spearman.Low, 1, 0)
	near(t, "τ", r.Agreement.Kendall.Value, 1, 0)
	near(t, "regret", r.Agreement.Regret.Absolute.High, 0, 0)
	near(t, "similarity", r.Agreement.Similarity.Reward, 1, 1e-12)
	for _, p := range r.Policies {
		near(t, p.Policy, p.Difference.Mean, 0, 0)
		for c, d := range p.Drift {
			near(t, p.Policy+" "+r.Columns[c].Name, d.W1, 0, 0)
			near(t, p.Policy+" "+r.Columns[c].Name, d.KS, 0, 0)
		}
	}
	if r.Agreement.Regret.Best != "fixed:64" || len(r.Columns) != 6 {
		t.Errorf("best %s, columns %v", r.Agreement.Regret.Best, r.Columns)
	}
}

// Where the effect of the limit is reversed, ranks and regret say so, and the
// tutorial's similarity does not.
func TestReversedPlant(t *testing.T) {
	r := run(t, side(t, "a", 1, func() *toy { return &toy{} }, cfg), side(t, "b", 2, func() *toy { return &toy{worse: true, shift: 8} }, cfg))
	g := r.Agreement
	if g.Spearman.Value > -.5 || g.Spearman.High > 0 {
		t.Errorf("ρ is %v", g.Spearman)
	}
	if g.Regret.Chosen != "fixed:16" || g.Regret.Best != "fixed:64" {
		t.Errorf("B picks %s, A's best is %s", g.Regret.Chosen, g.Regret.Best)
	}
	near(t, "regret, of the span", g.Regret.Share.Value, 1, 1e-12)
	near(t, "span", r.Span, .375, .08) // 1 - (.5 + .25/2), by the rule of toy
	near(t, "similarity of the frame rate", g.Similarity.FPS, .95, .05)
	near(t, "of A's worst and best", g.Similarity.Apart.FPS, 25.5/30, .01) // a quarter of the time at 30, or always
	d := r.Policies[0].Drift[0]                                            // limit 16, uniform on 0…16 against 8…24; the spread is 64
	near(t, "W1 of depth", d.W1, 8./64, .01)
	near(t, "KS of depth", d.KS, .5, .05)
}

// What is written can be read again, the values that are none as well.
func TestJSON(t *testing.T) {
	a := side(t, "a", 1, func() *toy { return &toy{} }, cfg)
	r := run(t, a, a)
	r.Span = eval.Number(math.NaN())
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back eval.Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&back)
	if err != nil || string(again) != string(text) || !math.IsNaN(float64(back.Span)) {
		t.Errorf("%v, %v:\n%s\n%s", err, back.Span, text, again)
	}
	if !strings.HasPrefix(string(text), `{"format":"planegym.compare.v1","a":{"name":"a","seed":1},`) || !strings.Contains(string(text), `"span":null`) {
		t.Errorf("%s", text)
	}
}

func TestErrors(t *testing.T) {
	same := func() *toy { return &toy{} }
	a := side(t, "a", 1, same, cfg)
	shorter, other := cfg, cfg
	shorter.MaxSteps, other.Limits = 20, []p4.Limit{16, 64}
	for _, c := range []struct {
		b        eval.Side
		policies []eval.Policy
		episodes int
		want     string
	}{
		{a, five, 1, "1 episodes give no interval"},
		{a, five[:2], 4, "2 policies have no ranking"},
		{side(t, "b", 1, same, shorter), five, 4, "a and b: episodes of the same length are needed: 40 and 20 steps"},
		{side(t, "b", 1, same, other), five, 4, "a and b: the same actions are needed"},
		{a, policies("fixed:16", "fixed:32", "fixed:48"), 4, "fixed:48 on a:"},
	} {
		if _, err := eval.Run(t.Context(), a, c.b, c.policies, eval.Options{Episodes: c.episodes}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
}

// By hand; with ties √.9.
func TestSpearman(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{10, 20, 90}, 1},
		{[]float64{1, 2, 3}, []float64{3, 2, 1}, -1},
		{[]float64{1, 2, 2, 4}, []float64{1, 3, 2, 4}, .9486832980505138},
	} {
		near(t, "ρ", eval.Number(eval.Spearman(c.a, c.b)), c.want, 1e-12)
	}
	if !math.IsNaN(eval.Spearman([]float64{1, 1}, []float64{1, 2})) {
		t.Error("ρ with a constant is a number")
	}
}

func TestDefaults(t *testing.T) {
	v, err := queues.New(queues.Config{Observation: queues.Observation{Normalise: "none"}}, &toy{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := eval.Defaults(v.Spec())
	if len(names) < 12 {
		t.Errorf("%d: %v", len(names), names)
	}
	for _, n := range names {
		if _, err := baseline.New(n, v.Spec()); err != nil {
			t.Error(err)
		}
	}
}
