package graph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// offline is an agent of two switches that learns from 20 episodes of noise.
func recorded(tb testing.TB, c agent.Config, be *compute.Backend) *offline.Trainer {
	tb.Helper()
	s := agent.Spaces{Actions: env.MultiDiscrete{3, 4}}
	const d = 7
	for i := range d {
		s.Elements = append(s.Elements, telemetry.Field{Name: fmt.Sprint("x", i)})
	}
	path := filepath.Join(tb.TempDir(), "noise.parquet")
	w, err := episodes.Create(path, s, "noise", "")
	if err != nil {
		tb.Fatal(err)
	}
	k := rng.Key{Seed: 3, Purpose: rng.Traffic}
	n := uint32(0)
	draw := func() float64 { n++; return k.Float64(n) }
	obs := func() []float32 {
		o := make([]float32, d)
		for i := range o {
			o[i] = float32(draw())
		}
		return o
	}
	for range 20 {
		if err := w.Begin(0, 1, obs()); err != nil {
			tb.Fatal(err)
		}
		for t := range 30 {
			a := []int32{int32(3 * draw()), int32(4 * draw())}
			if err := w.Step(0, a, float32(6*draw()-3), t == 29, false, obs()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	o, err := offline.New(c, path, 1, be)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

func config(tb testing.TB, change func(c *agent.Config)) agent.Config {
	tb.Helper()
	c, err := agent.Preset("default")
	if err != nil {
		tb.Fatal(err)
	}
	c.Batch, c.Target, c.Steps, c.Minimum, c.NStep = 40, 7, 40, 40, 2 // a tile of 32, and a part of one
	change(&c)
	return c
}

// bothValues computes every update by graph and by hand, and compares.
type bothValues struct {
	graph agent.Learner
	u     *agent.Minibatch
	worst map[string]float64
}

func (b bothValues) Learn() (float64, error) {
	loss, err := b.graph.Learn()
	if err != nil {
		return 0, err
	}
	grad, y, far := slices.Clone(b.u.Grad), slices.Clone(b.u.Y), slices.Clone(b.u.Delta)
	clear(b.u.Grad)
	want, err := b.u.Fused().Learn()
	record := func(what string, d float64) {
		if old, ok := b.worst[what]; !ok || !(d <= old) { // NaN too
			b.worst[what] = d
		}
	}
	record("loss", math.Abs(loss-want)/want)
	record("target", apart(y, b.u.Y))
	record("distance", apart(far, b.u.Delta))
	at := 0
	for _, v := range b.u.Online.Params.Views {
		record("∂"+v.Name, apart(grad[at:at+len(v.Data)], b.u.Grad[at:at+len(v.Data)]))
		at += len(v.Data)
	}
	return want, err
}

// apart is ‖a-b‖/‖b‖.
func apart(a, b []float32) float64 {
	var diff, norm float64
	for k := range b {
		diff += math.Pow(float64(a[k])-float64(b[k]), 2)
		norm += math.Pow(float64(b[k]), 2)
	}
	return math.Sqrt(diff / norm)
}

// TestValueParity: loss, targets and every tensor's gradient are those of the
// fused engine to 10⁻⁵, in every configuration that changes the loss.
func TestValueParity(t *testing.T) {
	for name, change := range map[string]func(c *agent.Config){
		"huber":       func(c *agent.Config) {},
		"mse":         func(c *agent.Config) { c.Loss = "mse" },
		"dueling":     func(c *agent.Config) { c.Dueling = true },
		"prioritised": func(c *agent.Config) { c.Prioritised = true },
		"cql":         func(c *agent.Config) { c.CQL = .5; c.Dueling = true },
		"linear":      func(c *agent.Config) { c.Hidden = nil; c.Loss = "mse"; c.CQL = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			be := compute.NewBackend(auto(t), 1)
			defer be.Close()
			o := recorded(t, config(t, change), be)
			worst := map[string]float64{}
			err := o.Agent.Use(func(u *agent.Minibatch) (agent.Learner, error) {
				g, err := NewDDQN()(u)
				return bothValues{g, u, worst}, err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Train(context.Background(), 100, func(agent.Progress) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if want := 3 + len(o.Agent.Config.Hidden)*2 + 2; len(worst) != want {
				t.Errorf("compared %d things, want %d", len(worst), want)
			}
			for what, d := range worst {
				t.Logf("%-12s %.1e", what, d)
				if !(d <= 1e-5) {
					t.Errorf("%s: by graph and by hand differ by %.1e of the norm", what, d)
				}
			}
		})
	}
}

// A term is part of what is descended; one that is no scalar is refused.
func TestValueTerm(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	// 100·mean(Q²) leaves no value far from 0.
	flat := func(v Values) (*G.Node, error) {
		return G.Mul(G.NewConstant(float32(100)), G.Must(G.Mean(G.Must(G.Square(v.Q)))))
	}
	size := map[string]float64{}
	for name, e := range map[string]agent.Learning{"without": NewDDQN(), "with": NewDDQN(flat)} {
		o := recorded(t, config(t, func(c *agent.Config) { c.Steps = 200 }), be)
		var last *agent.Minibatch
		err := o.Agent.Use(func(u *agent.Minibatch) (agent.Learner, error) {
			last = u
			return e(u)
		})
		if err == nil {
			err = o.Train(context.Background(), 1000, func(agent.Progress) error { return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
		q := make([]float32, len(last.Reward)*7)
		nn.MLPOf(last.Online.MLPConfig, last.Online.Params).NewRun(be, len(last.Reward)).Forward(last.X, q)
		for _, x := range q {
			size[name] += math.Abs(float64(x)) / float64(len(q))
		}
	}
	if !(size["with"] < size["without"]/3) {
		t.Errorf("mean |Q| is %v", size)
	}
	wrong := errors.New("wrong")
	for want, term := range map[string]ValueTerm{
		"not a scalar": func(v Values) (*G.Node, error) { return v.Q, nil },
		"wrong":        func(v Values) (*G.Node, error) { return nil, wrong },
	} {
		o := recorded(t, config(t, func(c *agent.Config) {}), be)
		if err := o.Agent.Use(NewDDQN(term)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

// BenchmarkValueUpdate is an update of DDQN by graph and by hand.
func BenchmarkValueUpdate(b *testing.B) {
	for _, preset := range agent.PresetNames {
		for name, e := range map[string]agent.Learning{"fused": nil, "graph": NewDDQN()} {
			b.Run("preset="+preset+"/"+name, func(b *testing.B) {
				be := compute.NewBackend(auto(b), 1)
				defer be.Close()
				c, err := agent.Preset(preset)
				if err != nil {
					b.Fatal(err)
				}
				c.Steps, c.TrainEvery, c.Updates = int64(b.N), 1, 1
				o := recorded(b, c, be)
				if err := o.Agent.Use(e); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				before := cpuTime(b)
				if err := o.Train(context.Background(), 1<<40, func(agent.Progress) error { return nil }); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(1e6*(cpuTime(b)-before)/float64(b.N), "cpu-us/op")
			})
		}
	}
}
