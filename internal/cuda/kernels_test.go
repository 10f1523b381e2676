package cuda

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/drivertest"
	"github.com/planegym/planegym/internal/cuda/ptxvm"
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

// devices runs f on a driver without a device and, where there is one, on the
// GPU. f gets the bound that holds there.
func devices(t *testing.T, f func(t *testing.T, d *device, bound float64)) {
	run := func(name string, bound float64, d driver.Driver) {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread() // the context's
			defer runtime.UnlockOSThread()
			dev, err := openDevice(d, 0, 1)
			if errors.Is(err, compute.ErrNoDevice) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := dev.close(); err != nil {
					t.Error(err)
				}
				if fake, ok := d.(*drivertest.Driver); ok {
					fake.Check(t)
				}
			}()
			f(t, dev, bound)
		})
	}
	small := driver.Info{SMs: 2}
	run("exact", exact, &drivertest.Driver{Device: small})
	run("perturbed", perturbed, &drivertest.Driver{Device: small, VM: ptxvm.Options{Perturb: 7, Reverse: true}})
	run("GPU", exact, driver.New())
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

// read copies n numbers from the device.
func (m *model) read(t *testing.T, p driver.Ptr, n int) []float32 {
	t.Helper()
	out := make([]float32, n)
	download(&m.arena, out, p)
	if err := m.wait(); err != nil {
		t.Fatal(err)
	}
	return out
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
			devices(t, func(t *testing.T, d *device, bound float64) {
				l := timegan.NewLayout(timegan.Config{Hidden: c.hidden, Layers: c.layers, Noise: 3, Batch: c.rows, Window: c.steps, Clock: -1}, 4, 1)
				p := timegan.NewParams(l.Config, 4, 1)
				for i := range p {
					for k, v := range random(len(p[i].Data), uint32(i)) { // biases too
						p[i].Data[k] += .3 * v
					}
				}
				w := timegan.Windows{Length: c.steps, Bit: []int{0, -1, -1, -1}, Bits: 1, Median: make([]float32, 4), X: make([]float32, 4), Valid: make([]float32, 1),
					Limit: make([]float32, 1), Second: make([]int, 1), Start: []int{0}}
				m, err := newModel(d, l, p, nil, w)
				if err != nil {
					t.Fatal(err)
				}
				defer m.end()
				if c.far {
					m.weights = 0
				}
				for network, size := range l.Networks {
					n := c.steps * c.rows
					x, h0, dy := random(n*size.In, 100), random(size.Layers*c.rows*c.hidden, 101), random(n*size.Out, 102)
					a := m.train1(network, part{P: put(&m.arena, x), Width: int32(size.In)})
					start := network != embedder
					if start {
						a.Carry, a.CarryRow, a.CarryLayer = put(&m.arena, h0), int32(c.hidden), int32(c.rows*c.hidden)
					} else {
						h0 = nil
					}
					m.forward(1, a).launch()
					y := m.read(t, a.Y, len(dy))
					m.backward(1, a.from(true, plain(put(&m.arena, dy), size.Out))).launch()
					m.learn(timegan.Embedding, 0, nil, a)
					steps := m.launches[timegan.Embedding]
					for _, s := range steps[len(steps)-3 : len(steps)-1] {
						s.launch()
					}
					if m.err == nil {
						c := control{Bad: none}
						upload(&m.arena, m.control, bytesOf([]control{c}))
					}

					g := nn.NewGRU(size)
					at := g.Params().Data
					for _, x := range p {
						if i := slices.IndexFunc(g.Params().Views, func(v compute.View) bool { return x.Name == names[network]+"."+v.Name }); i >= 0 {
							copy(g.Params().Views[i].Data, x.Data)
						}
					}
					be := compute.NewBackend(compute.Reference, 1)
					defer be.Close()
					r := g.NewRun(be, c.steps, c.rows)
					wantY, wantX, wantGrad, last := make([]float32, len(y)), make([]float32, len(x)), make([]float32, len(at)), make([]float32, size.Layers*c.rows*c.hidden)
					r.Forward(x, h0, wantY)
					r.Last(last)
					r.Backward(dy, wantX, wantGrad)
					near(t, bound, names[network]+": y", y, wantY)
					if start {
						near(t, bound, names[network]+": h", m.read(t, a.Carry, len(last)), last)
					}
					near(t, bound, names[network]+": dx", m.read(t, a.DX, len(wantX)), wantX)
					grad := m.read(t, m.grad+driver.Ptr(4*m.at[network]), len(wantGrad))
					for _, v := range g.Params().Views {
						near(t, bound, names[network]+"."+v.Name, grad[:len(v.Data)], wantGrad[:len(v.Data)])
						grad, wantGrad = grad[len(v.Data):], wantGrad[len(v.Data):]
					}
				}
			})
		})
	}
}

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
			devices(t, func(t *testing.T, d *device, bound float64) {
				m, err := newModel(d, timegan.NewLayout(c, w.Channels(), w.Bits), p, nil, w)
				if err != nil {
					t.Fatal(err)
				}
				defer m.end()
				stages := r.stages
				for ph := range timegan.Phase(3) {
					for update := range 2 {
						got := m.eager(t, bound, ph, update, c.Seed, &stages)
						compare(t, bound, fmt.Sprintf("%v phase, update %d", ph, update), got, want[ph][update])
					}
				}
			})
		})
	}
}

// eager makes an update launch by launch, each step of the optimiser from the
// weights of the next stage, and compares.
func (m *model) eager(t *testing.T, bound float64, ph timegan.Phase, update int, seed uint64, stages *[]stage) timegan.Losses {
	t.Helper()
	upload(&m.arena, m.control, bytesOf([]control{{Seed: seed, Update: int32(update), Bad: none}}))
	upload(&m.arena, m.records, make([]record, 1))
	n := m.T * m.B
	for _, s := range m.launches[ph] {
		if len(*stages) == 0 { // adam and finish of the last
			s.launch()
			continue
		}
		now := &(*stages)[0]
		at := fmt.Sprintf("%v phase, update %d, %d stages before the last: ", ph, update, len(*stages)-1)
		if s.kernel == forward {
			for i, w := range now.weights {
				upload(&m.arena, m.p+driver.Ptr(4*m.at[i]), w)
			}
			same := func(what string, got driver.Ptr, want []float32) {
				t.Helper()
				if g := m.read(t, got, len(want)); !slices.Equal(g, want) {
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
			same("x", m.x, now.x)
			same("valid", m.valid, now.valid)
			same("cells", m.cells, floats(now.cells, 1))
			same("codes", m.codes, floats(now.codes, m.H))
			near(t, bound, at+"told", m.read(t, m.cond, n*m.C), now.told)
			if ph == timegan.Joint {
				near(t, bound, at+"z", m.read(t, m.z, n*m.Z), now.z)
				near(t, bound, at+"told fake", m.read(t, m.fake, n*m.C), now.toldFake)
			}
		}
		s.launch()
		if s.kernel == gradient {
			p, _ := m.Empty()
			for i, want := range now.grad {
				if slices.Max(want) == 0 && slices.Min(want) == 0 {
					continue // it does not learn here
				}
				got := m.read(t, m.grad+driver.Ptr(4*m.at[i]), len(want))
				for _, x := range p {
					if name := x.Name; len(name) > len(names[i]) && name[:len(names[i])+1] == names[i]+"." {
						near(t, bound, at+name, got[:len(x.Data)], want[:len(x.Data)])
						got, want = got[len(x.Data):], want[len(x.Data):]
					}
				}
			}
			*stages = (*stages)[1:]
		}
	}
	var r [1]record
	download(&m.arena, r[:], m.records)
	if err := m.wait(); err != nil {
		t.Fatal(err)
	}
	return r[0].losses()
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

// TestAdam holds a step, of two networks at once, to package nn's; below the
// discriminator's threshold there is none.
func TestAdam(t *testing.T) {
	devices(t, func(t *testing.T, d *device, bound float64) {
		c := timegan.Config{Window: 4, Hidden: 5, Layers: 1, Batch: 2, Seed: 1, Threshold: .5, Joint: 100, FinalRate: .5}
		w := windows(4, false)
		m, err := newModel(d, timegan.NewLayout(c, 4, 2), timegan.NewParams(c, 4, 2), nil, w)
		if err != nil {
			t.Fatal(err)
		}
		defer m.end()
		n := m.at[networks]
		g, p := random(n, 1), random(n, 2)
		be := compute.NewBackend(compute.Reference, 1)
		defer be.Close()
		adam := nn.NewAdam(n, 1e-3*(1-.5*20/100))
		copy(adam.M, random(n, 3))
		for i, v := range random(n, 4) {
			adam.V[i] = v * v
		}
		adam.T = 9
		upload(&m.arena, m.grad, g)
		upload(&m.arena, m.p, p)
		upload(&m.arena, m.m, adam.M)
		upload(&m.arena, m.v, adam.V)
		upload(&m.arena, m.control, bytesOf([]control{{Update: 20, Bad: none, Learned: [networks]int32{8, 8, 8, 8, 8}}}))
		step := func(a learnArgs) {
			a.Control, a.Grad, a.P, a.M, a.V, a.Rate, a.Fall, a.Of, a.Before, a.Params = m.control, m.grad, m.p, m.m, m.v, 1e-3, .5, 100, 1, int32(n)
			launch(&m.arena, 5, (n+255)/256, 1, 256, 0, a)
		}
		from, one, two := m.at[generator], int32(m.at[supervisor]-m.at[generator]), int32(m.at[discriminator]-m.at[supervisor])
		gate := put(&m.arena, []float64{.2, .2})
		spans := learnArgs{One: span{int32(from), one, 0, generator}, Two: span{int32(from) + one, two, 0, supervisor}}
		shut := spans
		shut.Gate, shut.Gates, shut.Threshold = gate, 2, .5
		step(shut)
		near(t, 0, "weights below the threshold", m.read(t, m.p, n), p)
		shut.Threshold = .3
		step(shut)
		adam.Step(be, p, g)
		to := m.at[discriminator]
		for _, x := range []struct {
			name string
			got  driver.Ptr
			want []float32
		}{{"p", m.p, p}, {"m", m.m, adam.M}, {"v", m.v, adam.V}} {
			near(t, 1e-7, x.name, m.read(t, x.got, n)[from:to], x.want[from:to])
		}
		upload(&m.arena, m.control, bytesOf([]control{{Bad: 3}}))
		step(spans)
		near(t, 1e-7, "weights where a gradient was no number", m.read(t, m.p, n)[from:to], p[from:to])
	})
}

// TestProfile: the launches of an update can be timed one by one.
func TestProfile(t *testing.T) {
	interpreted(t)
	devices(t, func(t *testing.T, d *device, _ float64) {
		c := timegan.Config{Window: 4, Hidden: 3, Layers: 1, Noise: 1, Batch: 2, Seed: 1}
		m, err := newModel(d, timegan.NewLayout(c, 4, 2), timegan.NewParams(c, 4, 2), nil, windows(4, false))
		if err != nil {
			t.Fatal(err)
		}
		defer m.end()
		took := map[string]float64{}
		for ph := range timegan.Phase(3) {
			if err := m.profile(ph, took); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range functions[:noise] { // what training launches
			if _, ok := took[name]; !ok {
				t.Errorf("%s was not launched", name)
			}
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
