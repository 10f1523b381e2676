package graph

import (
	"context"
	"fmt"
	"math"
	"slices"
	"syscall"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/timegan"
)

// recordings are n seconds of f channels, the first with gaps unless latent.
func recordings(n, f, length int, latent bool) timegan.Windows {
	w := timegan.Windows{Length: length, Bit: make([]int, f), Median: make([]float32, f)}
	for k := range w.Bit {
		w.Bit[k] = -1
	}
	if !latent {
		w.Bit[0], w.Bits = 0, 1
	}
	for t := range n {
		gap := !latent && t%3 == 0
		if !latent {
			w.Valid = append(w.Valid, 1)
			if gap {
				w.Valid[t] = 0
			}
		}
		for k := range f {
			x := float32(.5 + .3*math.Sin(float64(t)/float64(k+2)) + .2*(rng.Key{Seed: 1, A: uint32(t), B: uint32(k), Purpose: rng.Start}.Float64(0)-.5))
			if k == 0 && gap {
				x = 0
			}
			w.X = append(w.X, x)
		}
		w.Limit, w.Second = append(w.Limit, float32(2*t/n)), append(w.Second, t%(n/2))
		if t+length <= n {
			w.Start = append(w.Start, t)
		}
	}
	return w
}

// both computes every step by graph and by hand, and compares.
type both struct {
	*objective
	hand   timegan.Objective
	u      *timegan.Update
	losses *timegan.Losses // by hand
	worst  map[string]float64
}

func (b *both) networks() []*timegan.Network {
	return []*timegan.Network{&b.u.Embedder, &b.u.Recovery, &b.u.Generator, &b.u.Supervisor, &b.u.Discriminator}
}

// compare runs a step by graph, keeps its gradients, and leaves those by hand.
func (b *both) compare(step string, l *timegan.Losses, graph, hand func(*timegan.Losses) error) error {
	if err := graph(l); err != nil {
		return err
	}
	var got [][]float32
	for _, n := range b.networks() {
		got = append(got, slices.Clone(n.Grad))
		clear(n.Grad)
	}
	b.losses = &timegan.Losses{}
	if err := hand(b.losses); err != nil {
		return err
	}
	for i, n := range b.networks() {
		at := 0
		for _, v := range n.Params.Views {
			want, have := n.Grad[at:at+len(v.Data)], got[i][at:at+len(v.Data)]
			at += len(v.Data)
			var diff, norm float64
			for k := range want {
				diff += math.Pow(float64(have[k])-float64(want[k]), 2)
				norm += math.Pow(float64(want[k]), 2)
			}
			if diff == 0 && norm == 0 {
				continue // does not learn by this step
			}
			b.record(step+" "+n.Name, math.Sqrt(diff/norm))
		}
	}
	for name, v := range map[string][2]float32{
		"R": {l.R, b.losses.R}, "S": {l.S, b.losses.S}, "U": {l.U, b.losses.U}, "V": {l.V, b.losses.V},
		"C": {l.C, b.losses.C}, "K": {l.K, b.losses.K}, "D": {l.D, b.losses.D},
	} {
		if v[1] != 0 {
			b.record(step+" loss "+name, math.Abs(float64(v[0]-v[1])/float64(v[1])))
		}
	}
	return nil
}

func (b *both) record(what string, d float64) {
	if old, ok := b.worst[what]; !ok || !(d <= old) { // NaN too
		b.worst[what] = d
	}
}

func (b *both) Embedding(l *timegan.Losses) error {
	return b.compare("embedding", l, b.objective.Embedding, b.hand.Embedding)
}

func (b *both) Supervised(l *timegan.Losses) error {
	return b.compare("supervised", l, b.objective.Supervised, b.hand.Supervised)
}

func (b *both) Generator(l *timegan.Losses) error {
	return b.compare("generator", l, b.objective.Generator, b.hand.Generator)
}

func (b *both) Embedder(l *timegan.Losses) error {
	return b.compare("embedder", &timegan.Losses{}, b.objective.Embedder, func(h *timegan.Losses) error {
		err := b.hand.Embedder(h)
		h.R = 0 // the graph of a fresh Losses reports it too; generator's compare has seen S
		return err
	})
}

func (b *both) Discriminator(l *timegan.Losses) (learns bool, err error) {
	err = b.compare("discriminator", l, func(l *timegan.Losses) error {
		learns, err = b.objective.Discriminator(l)
		return err
	}, func(l *timegan.Losses) error {
		again, err := b.hand.Discriminator(l)
		if again != learns {
			return fmt.Errorf("by graph it learns: %v, by hand: %v", learns, again)
		}
		return err
	})
	return learns, err
}

// GoOn compares hidden states.
func (b *both) GoOn() {
	b.objective.GoOn()
	var got [][]float32
	for _, n := range b.networks() {
		got = append(got, slices.Clone(n.Carry))
	}
	b.hand.GoOn()
	for i, n := range b.networks() {
		if !slices.Equal(got[i], n.Carry) {
			b.record("hidden states of "+n.Name, 1)
		}
	}
}

// TestParity: every loss, and every tensor's gradient, is that of the fused
// engine to 10⁻⁵, over the phases of training.
func TestParity(t *testing.T) {
	for _, preset := range []string{"", "paper", "tutorial"} {
		t.Run("preset "+preset, func(t *testing.T) {
			c, err := timegan.Preset(preset)
			if err != nil {
				t.Fatal(err)
			}
			c.Batch = 40 // a tile of 32, and a part of one
			w := recordings(400, 6, c.Window, c.Latent)
			be := compute.NewBackend(auto(t), 1)
			worst := map[string]float64{}
			e := timegan.NewEngine("both", be, func(u *timegan.Update) (timegan.Objective, error) {
				o, err := newObjective(be, u, nil)
				return &both{objective: o, hand: u.Fused(), u: u, worst: worst}, err
			})
			defer e.Close()
			if err := e.Load(c, timegan.NewParams(c, 6, w.Bits), nil, w); err != nil {
				t.Fatal(err)
			}
			for ph := timegan.Embedding; ph <= timegan.Joint; ph++ {
				if _, err := e.Run(context.Background(), ph, 0, 3, 1, make([]timegan.Losses, 3)); err != nil {
					t.Fatal(err)
				}
			}
			if len(worst) < 12 {
				t.Errorf("only %v was compared", worst)
			}
			for what, d := range worst {
				t.Logf("%-30s %.1e", what, d)
				if !(d <= 1e-5) {
					t.Errorf("%s: by graph and by hand differ by %.1e of the norm", what, d)
				}
			}
		})
	}
}

func auto(tb testing.TB) compute.Kernels {
	k, err := compute.ParseKernels("auto")
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// BenchmarkUpdate is an update of each phase, by graph and by hand.
func BenchmarkUpdate(b *testing.B) {
	for _, preset := range []string{"", "paper", "tutorial"} {
		for ph := timegan.Embedding; ph <= timegan.Joint; ph++ {
			for _, e := range []timegan.Engine{timegan.NewCPU(auto(b), 1), NewTimeGAN(auto(b), 1)} {
				b.Run(fmt.Sprintf("preset=%s/%v/%s", preset, ph, e.Name()), func(b *testing.B) {
					c, err := timegan.Preset(preset)
					if err != nil {
						b.Fatal(err)
					}
					f := 6
					if preset == "tutorial" {
						f = 16
					}
					w := recordings(400, f, c.Window, c.Latent)
					if err := e.Load(c, timegan.NewParams(c, f, w.Bits), nil, w); err != nil {
						b.Fatal(err)
					}
					b.ReportAllocs()
					b.ResetTimer()
					before := cpuTime(b)
					if _, err := e.Run(context.Background(), ph, 0, b.N, 1, make([]timegan.Losses, b.N)); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(1e3*(cpuTime(b)-before)/float64(b.N), "cpu-ms/op")
				})
				e.Close()
			}
		}
	}
}

// cpuTime is the process's, seconds: wall time on a busy machine says little.
func cpuTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
