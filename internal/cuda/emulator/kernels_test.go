package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/drivertest"
	"github.com/planegym/planegym/internal/cuda/emulator/ptxvm"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/timegan"
)

// bounds of ‖Δ‖/‖reference‖ of a tensor against float64: of instructions as
// they round best, and moved as far as NVIDIA says that its approximate ones
// may be off. A GPU is in between.
const (
	exact     = 1e-5
	perturbed = 3e-5
)

// everywhere runs f on the interpreter, on one whose approximate instructions are
// as far off as they may be, and on a GPU where there is one, each with the
// distance from float64 that it may have.
func everywhere(t *testing.T, f func(t *testing.T, d driver.Driver, bound float64)) {
	t.Helper()
	run := func(name string, d driver.Driver, bound float64) {
		t.Run(name, func(t *testing.T) {
			if _, err := d.Count(); errors.Is(err, compute.ErrNoDevice) {
				t.Skip(err)
			}
			f(t, d, bound)
			if fake, ok := d.(*drivertest.Driver); ok {
				fake.Check(t)
			}
		})
	}
	small := driver.Info{SMs: 2}
	run("exact", &drivertest.Driver{Device: small}, exact)
	run("perturbed", &drivertest.Driver{Device: small, VM: ptxvm.Options{Perturb: 7, Reverse: true}}, perturbed)
	run("GPU", driver.New(), exact)
}

// devices runs f with a model everywhere.
func devices(t *testing.T, l timegan.Layout, params timegan.Params, w timegan.Windows, f func(t *testing.T, p probe, bound float64)) {
	t.Helper()
	everywhere(t, func(t *testing.T, d driver.Driver, bound float64) {
		runtime.LockOSThread() // the context's
		defer runtime.UnlockOSThread()
		p, err := cuda.NewProbe(d, l, params, w)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(t, probe{p, t, params}, bound)
	})
}

// probe is a cuda.Probe whose errors end the test.
type probe struct {
	*cuda.Probe
	t     *testing.T
	empty timegan.Params // names and sizes of the tensors
}

func (p probe) read(name string) []float32 {
	p.t.Helper()
	out, err := p.Read(name)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// interpreted skips what one goroutine computes for long, in short runs: under
// the race detector, above all.
func interpreted(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("long, interpreted")
	}
}

// random are n numbers in ±1 of a stream.
func random(n int, stream uint32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(2*rng.Key{Seed: 3, B: stream}.Float64(uint32(i)) - 1)
	}
	return out
}

// near reports an array that is farther from want than bound.
func near(t *testing.T, bound float64, what string, got, want []float32) {
	t.Helper()
	var d, n float64
	for i, w := range want {
		d += math.Pow(float64(got[i])-float64(w), 2)
		n += math.Pow(float64(w), 2)
	}
	if !(math.Sqrt(d) <= bound*math.Sqrt(n)) {
		t.Errorf("%s is off by %.2g of its norm %.3g", what, math.Sqrt(d/max(n, 1e-300)), math.Sqrt(n))
	}
}

// TestGRU holds networks, forward and backward, with and without a start, with
// weights in shared memory and not, to the plain loops in float64.
func TestGRU(t *testing.T) {
	interpreted(t)
	for _, c := range []struct {
		hidden, layers, steps, rows int
		far                         bool // weights stay in global memory
	}{
		{5, 1, 1, 1, false}, {5, 2, 6, 7, false}, {6, 3, 4, 3, true}, {24, 2, 5, 5, false}, {33, 1, 3, 2, true},
		{128, 1, 2, 1, false}, // some of its weights do not fit
	} {
		t.Run(fmt.Sprintf("H%d_L%d_T%d_B%d_far%v", c.hidden, c.layers, c.steps, c.rows, c.far), func(t *testing.T) {
			l := timegan.NewLayout(timegan.Config{Hidden: c.hidden, Layers: c.layers, Noise: 3, Batch: c.rows, Window: c.steps, Clock: -1}, 4, 1)
			params := timegan.NewParams(l.Config, 4, 1)
			for i := range params {
				for k, v := range random(len(params[i].Data), uint32(i)) { // biases too
					params[i].Data[k] += .3 * v
				}
			}
			w := timegan.Windows{Length: c.steps, Bit: []int{0, -1, -1, -1}, Bits: 1, Median: make([]float32, 4), X: make([]float32, 4), Valid: make([]float32, 1),
				Limit: make([]float32, 1), Second: make([]int, 1), Start: []int{0}}
			devices(t, l, params, w, func(t *testing.T, p probe, bound float64) {
				for network, size := range l.Networks {
					n := c.steps * c.rows
					x, h0, dy := random(n*size.In, 100), random(size.Layers*c.rows*c.hidden, 101), random(n*size.Out, 102)
					if network == embedder {
						h0 = nil
					}
					got, err := p.Pass(network, x, h0, dy, c.far)
					if err != nil {
						t.Fatal(err)
					}

					g := nn.NewGRU(size)
					at := g.Params().Data
					for _, x := range params {
						if i := slices.IndexFunc(g.Params().Views, func(v compute.View) bool { return x.Name == names[network]+"."+v.Name }); i >= 0 {
							copy(g.Params().Views[i].Data, x.Data)
						}
					}
					be := compute.NewBackend(compute.Reference, 1)
					defer be.Close()
					r := g.NewRun(be, c.steps, c.rows)
					wantY, wantX, wantGrad, last := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(at)), make([]float32, size.Layers*c.rows*c.hidden)
					r.Forward(x, h0, wantY)
					r.Last(last)
					r.Backward(dy, wantX, wantGrad)
					near(t, bound, names[network]+": y", got.Y, wantY)
					if h0 != nil {
						near(t, bound, names[network]+": h", got.Last, last)
					}
					near(t, bound, names[network]+": dx", got.DX, wantX)
					if len(got.Grad) != len(wantGrad) {
						t.Fatalf("%s has %d parameters, want %d", names[network], len(got.Grad), len(wantGrad))
					}
					for _, v := range g.Params().Views {
						near(t, bound, names[network]+"."+v.Name, got.Grad[:len(v.Data)], wantGrad[:len(v.Data)])
						got.Grad, wantGrad = got.Grad[len(v.Data):], wantGrad[len(v.Data):]
					}
				}
			})
		})
	}
}

// The networks, in the order of timegan.Layout.
const (
	embedder = iota
	recovery
	generator
	supervisor
	discriminator
	networks
)

var names = [...]string{"embedder", "recovery", "generator", "supervisor", "discriminator"}

// recorder is the CPU's objective, and what it saw and gave.
type recorder struct {
	timegan.Objective
	u      *timegan.Update
	stages []stage
}

// stage is one step of an optimiser: the batch it was made from, the weights
// before and the gradients.
type stage struct {
	x, valid, told, z, toldFake []float32
	cells, codes                []bool
	weights, grad               [networks][]float32
}

func (r *recorder) all() [networks]timegan.Network {
	return [...]timegan.Network{r.u.Embedder, r.u.Recovery, r.u.Generator, r.u.Supervisor, r.u.Discriminator}
}

func (r *recorder) record(f func() error) error {
	u := r.u
	s := stage{x: slices.Clone(u.X), valid: slices.Clone(u.Valid), told: slices.Clone(u.Told), z: slices.Clone(u.Z), toldFake: slices.Clone(u.ToldFake),
		cells: slices.Clone(u.Cells), codes: slices.Clone(u.Codes)}
	for i, n := range r.all() {
		s.weights[i] = slices.Clone(n.Params.Data)
	}
	err := f()
	for i, n := range r.all() {
		s.grad[i] = slices.Clone(n.Grad)
	}
	r.stages = append(r.stages, s)
	return err
}

func (r *recorder) Embedding(l *timegan.Losses) error {
	return r.record(func() error { return r.Objective.Embedding(l) })
}

func (r *recorder) Supervised(l *timegan.Losses) error {
	return r.record(func() error { return r.Objective.Supervised(l) })
}

func (r *recorder) Generator(l *timegan.Losses) error {
	return r.record(func() error { return r.Objective.Generator(l) })
}

func (r *recorder) Embedder(l *timegan.Losses) error {
	return r.record(func() error { return r.Objective.Embedder(l) })
}

func (r *recorder) Discriminator(l *timegan.Losses) (learns bool, err error) {
	err = r.record(func() (err error) {
		learns, err = r.Objective.Discriminator(l)
		return err
	})
	return learns, err
}

// TestUpdate holds each step of the optimiser of an update of each phase to
// float64: what it draws, its gradients, tensor by tensor, from the weights
// that the reference had before it, and the losses.
func TestUpdate(t *testing.T) {
	interpreted(t)
	for _, c := range []timegan.Config{
		{Window: 5, Hidden: 6, Layers: 2, Noise: 3, Batch: 9, Clock: 50, Seed: 5},
		{Window: 12, Hidden: 4, Layers: 1, Noise: 2, Batch: 4, Clock: -1, Seed: 6, Changes: -1, Joint: 10},
		{Window: 4, Hidden: 5, Layers: 2, Noise: 3, Batch: 7, Seed: 7, Latent: true, Gamma: .7, Covariances: -1},
	} {
		t.Run(fmt.Sprintf("T%d_latent%v", c.Window, c.Latent), func(t *testing.T) {
			w := windows(c.Window, c.Latent)
			p := timegan.NewParams(c, w.Channels(), w.Bits)
			r := &recorder{}
			oracle := timegan.NewEngine("oracle", compute.NewBackend(compute.Reference, 1), func(u *timegan.Update) (timegan.Objective, error) {
				r.u, r.Objective = u, u.Fused()
				return r, nil
			})
			defer oracle.Close()
			if err := oracle.Load(c, p, nil, w); err != nil {
				t.Fatal(err)
			}
			var want [3][]timegan.Losses
			for ph := range want {
				want[ph] = make([]timegan.Losses, 2)
				if _, err := oracle.Run(context.Background(), timegan.Phase(ph), 0, 2, c.Seed, want[ph]); err != nil {
					t.Fatal(err)
				}
			}
			devices(t, timegan.NewLayout(c, w.Channels(), w.Bits), p, w, func(t *testing.T, p probe, bound float64) {
				stages := r.stages
				for ph := range timegan.Phase(3) {
					for update := range 2 {
						got := p.eager(bound, ph, update, c.Seed, &stages)
						compare(t, bound, fmt.Sprintf("%v phase, update %d", ph, update), got, want[ph][update])
					}
				}
			})
		})
	}
}

// eager makes an update launch by launch, each step of the optimiser from the
// weights of the next stage, and compares.
func (p probe) eager(bound float64, ph timegan.Phase, update int, seed uint64, stages *[]stage) timegan.Losses {
	t := p.t
	t.Helper()
	for _, s := range p.Update(ph, update, seed) {
		if len(*stages) == 0 { // adam and finish of the last
			s.Run()
			continue
		}
		now := &(*stages)[0]
		at := fmt.Sprintf("%v phase, update %d, %d stages before the last: ", ph, update, len(*stages)-1)
		if s.Kernel == "forward" {
			for i, w := range now.weights {
				from, _ := p.Span(i)
				p.Write("params", from, w)
			}
			same := func(what string, want []float32) {
				t.Helper()
				if g := p.read(what); !slices.Equal(g, want) {
					t.Errorf("%s%s is %v, want %v", at, what, g, want)
				}
			}
			floats := func(b []bool, every int) []float32 {
				var out []float32
				for i := 0; i < len(b); i += every {
					v := float32(0)
					if b[i] {
						v = 1
					}
					out = append(out, v)
				}
				return out
			}
			same("x", now.x)
			same("valid", now.valid)
			same("cells", floats(now.cells, 1))
			same("codes", floats(now.codes, len(now.codes)/len(p.read("codes"))))
			near(t, bound, at+"cond", p.read("cond"), now.told)
			if ph == timegan.Joint {
				near(t, bound, at+"z", p.read("z"), now.z)
				near(t, bound, at+"fake", p.read("fake"), now.toldFake)
			}
		}
		s.Run()
		if s.Kernel == "gradient" {
			all := p.read("grad")
			for i, want := range now.grad {
				if slices.Max(want) == 0 && slices.Min(want) == 0 {
					continue // it does not learn here
				}
				from, to := p.Span(i)
				got := all[from:to]
				for _, x := range p.empty {
					if strings.HasPrefix(x.Name, names[i]+".") {
						near(t, bound, at+x.Name, got[:len(x.Data)], want[:len(x.Data)])
						got, want = got[len(x.Data):], want[len(x.Data):]
					}
				}
			}
			*stages = (*stages)[1:]
		}
	}
	losses, err := p.Losses()
	if err != nil {
		t.Fatal(err)
	}
	return losses
}

func compare(t *testing.T, bound float64, what string, got, want timegan.Losses) {
	t.Helper()
	for _, l := range []struct {
		name      string
		got, want float32
	}{{"R", got.R, want.R}, {"S", got.S, want.S}, {"U", got.U, want.U}, {"V", got.V, want.V}, {"C", got.C, want.C}, {"K", got.K, want.K}, {"D", got.D, want.D}} {
		if !(math.Abs(float64(l.got-l.want)) <= bound*math.Abs(float64(l.want))) {
			t.Errorf("%s: loss %s is %v, want %v", what, l.name, l.got, l.want)
		}
	}
}

// TestAdam compares a step of two networks at once with package nn's; below the
// discriminator's threshold, and where a gradient is NaN, there is none.
func TestAdam(t *testing.T) {
	c := timegan.Config{Window: 4, Hidden: 5, Layers: 1, Batch: 2, Seed: 1, Threshold: .5, Joint: 100, FinalRate: .5}
	devices(t, timegan.NewLayout(c, 4, 2), timegan.NewParams(c, 4, 2), windows(4, false), func(t *testing.T, d probe, bound float64) {
		from, _ := d.Span(generator)
		_, to := d.Span(supervisor)
		_, n := d.Span(networks - 1)
		g, p := random(n, 1), random(n, 2)
		be := compute.NewBackend(compute.Reference, 1)
		defer be.Close()
		adam := nn.NewAdam(n, 1e-3*(1-.5*20/100))
		copy(adam.M, random(n, 3))
		for i, v := range random(n, 4) {
			adam.V[i] = v * v
		}
		adam.T = 9
		d.Write("grad", 0, g)
		d.Write("params", 0, p)
		d.Write("moment1", 0, adam.M)
		d.Write("moment2", 0, adam.V)
		step := cuda.AdamStep{Networks: [2]int{generator, supervisor}, Learned: 9, Update: 20, Of: 100, Rate: 1e-3, Fall: .5,
			Gate: []float64{.2, .2}, Threshold: .5, Bad: -1}
		d.Adam(step)
		near(t, 0, "weights below the threshold", d.read("params"), p)
		step.Threshold = .3
		d.Adam(step)
		adam.Step(be, p, g)
		for _, x := range []struct {
			name string
			want []float32
		}{{"params", p}, {"moment1", adam.M}, {"moment2", adam.V}} {
			near(t, 1e-7, x.name, d.read(x.name)[from:to], x.want[from:to])
		}
		step.Gate, step.Bad = nil, 3
		d.Adam(step)
		near(t, 1e-7, "weights where a gradient was NaN", d.read("params")[from:to], p[from:to])
	})
}

// TestProfile: the launches of an update can be timed one by one, and together
// they are every kernel that training has.
func TestProfile(t *testing.T) {
	interpreted(t)
	c := timegan.Config{Window: 4, Hidden: 3, Layers: 1, Noise: 1, Batch: 2, Seed: 1}
	devices(t, timegan.NewLayout(c, 4, 2), timegan.NewParams(c, 4, 2), windows(4, false), func(t *testing.T, p probe, _ float64) {
		took := map[string]float64{}
		for ph := range timegan.Phase(3) {
			if err := p.Profile(ph, took); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"adam", "backward", "finish", "forward", "gradient", "losses", "prepare", "products", "spread", "stats"}
		if got := slices.Sorted(maps.Keys(took)); !slices.Equal(got, want) {
			t.Errorf("launched %v, want %v", got, want)
		}
	})
}

// windows are four channels of recordings; the first two have gaps unless
// complete.
func windows(length int, complete bool) timegan.Windows {
	w := timegan.Windows{Length: length, Bit: []int{0, 1, -1, -1}, Bits: 2, Median: []float32{.5, .25, 0, 0}}
	if complete {
		w.Bit, w.Bits = []int{-1, -1, -1, -1}, 0
	}
	for t := range 120 {
		x := [4]float32{float32(.5 + .4*math.Sin(float64(t))), float32(t%7) / 7, float32(t / 10 % 2), float32(t%11) / 11}
		if !complete {
			for k, ok := range []bool{t%3 > 0, t/8%2 > 0} {
				w.Valid = append(w.Valid, 0)
				if ok {
					w.Valid[len(w.Valid)-1] = 1
				} else {
					x[k] = 0
				}
			}
		}
		w.X = append(w.X, x[:]...)
		w.Limit, w.Second = append(w.Limit, float32(t/60)), append(w.Second, t%60)
		if t+length <= 120 {
			w.Start = append(w.Start, t)
		}
	}
	return w
}
