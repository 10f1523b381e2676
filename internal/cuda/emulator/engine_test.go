package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/drivertest"
	"github.com/planegym/planegym/internal/cuda/emulator/ptxvm"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/enginetest"
)

// fake opens an engine on a driver without a device.
func fake(t testing.TB) timegan.Engine { return fakeOf(t, 1) }

func fakeOf(t testing.TB, models int) timegan.Engine {
	t.Helper()
	d := &drivertest.Driver{Device: driver.Info{SMs: 1 + models}, VM: ptxvm.Options{Workers: 2}}
	e, err := cuda.New(d, 0, models)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Check(t) })
	return e
}

func TestContract(t *testing.T) {
	if testing.Short() {
		t.Skip("some hundred updates, interpreted")
	}
	enginetest.Check(t, func(t *testing.T) timegan.Engine { return fake(t) })
}

// gpu opens an engine on this machine's first GPU; without one it skips.
func gpu(t testing.TB) timegan.Engine { return gpuOf(t, 1) }

func gpuOf(t testing.TB, models int) timegan.Engine {
	t.Helper()
	e, err := cuda.New(driver.New(), 0, models)
	if errors.Is(err, compute.ErrNoDevice) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestContractOnGPU(t *testing.T) {
	gpu(t).Close()
	enginetest.Check(t, func(t *testing.T) timegan.Engine { return gpu(t) })
}

// TestLosses: from one seed the losses stay those of the CPU's engine, over
// updates whose rounding differs: within 1 % in the first two phases, 5 % in
// the third.
func TestLosses(t *testing.T) {
	small, data := tiny()
	small.Layers, small.Hidden, small.Batch = 2, 3, 5
	default_, err := timegan.Preset("")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name    string
		open    func(testing.TB) timegan.Engine
		c       timegan.Config
		d       timegan.Windows
		updates int
	}{{"fake", fake, small, data, 40}, {"GPU", gpu, default_, waves(default_.Window), 100}} {
		t.Run(x.name, func(t *testing.T) {
			if x.name == "fake" && testing.Short() {
				t.Skip("interpreted")
			}
			e, cpu := x.open(t), timegan.NewCPU(compute.Go, 1)
			defer cpu.Close()
			defer e.Close()
			p := timegan.NewParams(x.c, x.d.Channels(), 0)
			for _, e := range []timegan.Engine{e, cpu} {
				if err := e.Load(x.c, p, nil, x.d); err != nil {
					t.Fatal(err)
				}
			}
			for ph := range timegan.Phase(3) {
				got, want := make([]timegan.Losses, x.updates), make([]timegan.Losses, x.updates)
				if _, err := e.Run(context.Background(), ph, 0, x.updates, x.c.Seed, got); err != nil {
					t.Fatal(err)
				}
				if _, err := cpu.Run(context.Background(), ph, 0, x.updates, x.c.Seed, want); err != nil {
					t.Fatal(err)
				}
				bound := .01
				if ph == timegan.Joint {
					bound = .05
				}
				worst := 0.
				for i, w := range want {
					g := got[i]
					for _, l := range [][2]float32{{g.R, w.R}, {g.S, w.S}, {g.U, w.U}, {g.V, w.V}, {g.C, w.C}, {g.K, w.K}, {g.D, w.D}} {
						if l[1] == 0 && l[0] == 0 {
							continue
						}
						off := math.Abs(float64(l[0]-l[1])) / math.Abs(float64(l[1]))
						if worst = max(worst, off); !(off <= bound) {
							t.Fatalf("%v phase, update %d: losses %+v, want %+v", ph, i, g, w)
						}
					}
				}
				t.Logf("%v phase: losses of %d updates are within %.2g of the CPU's", ph, x.updates, worst)
			}
		})
	}
}

// waves are six channels without gaps.
func waves(length int) timegan.Windows {
	w := timegan.Windows{Length: length, Bit: []int{-1, -1, -1, -1, -1, -1}, Median: make([]float32, 6)}
	for t := range 2000 {
		for k := range 6 {
			w.X = append(w.X, float32(.5+.4*math.Sin(float64(t*(k+1))/9)))
		}
		w.Limit, w.Second = append(w.Limit, 0), append(w.Second, t)
		if t+length <= 2000 {
			w.Start = append(w.Start, t)
		}
	}
	return w
}

// TestTogether: models that train at once, each on a stream of its own, get the
// bytes that they get alone.
func TestTogether(t *testing.T) {
	for name, open := range map[string]func(t testing.TB, models int) timegan.Engine{"fake": fakeOf, "GPU": gpuOf} {
		t.Run(name, func(t *testing.T) {
			train := func(e timegan.Engine, seed uint64) (string, error) {
				c, w := tiny()
				c.Seed = seed
				if err := e.Load(c, timegan.NewParams(c, 1, 0), nil, w); err != nil {
					return "", err
				}
				if _, err := e.Run(context.Background(), timegan.Joint, 0, 2, seed, make([]timegan.Losses, 2)); err != nil {
					return "", err
				}
				p, s, err := e.Store()
				return fmt.Sprint(p, s), errors.Join(err, e.Close())
			}
			const models = 2
			var wg sync.WaitGroup
			var got [models]string
			var errs [models]error
			for i := range got {
				e := open(t, models)
				wg.Go(func() { got[i], errs[i] = train(e, uint64(i)) })
			}
			wg.Wait()
			for i, g := range got {
				want, err := train(open(t, 1), uint64(i))
				if err := errors.Join(err, errs[i]); err != nil {
					t.Fatal(err)
				}
				if g != want {
					t.Errorf("model %d differs", i)
				}
			}
		})
	}
}

// tiny is a model of the smallest sizes and one channel of data.
func tiny() (timegan.Config, timegan.Windows) {
	w := timegan.Windows{Length: 3, Bit: []int{-1}, Median: []float32{0}}
	for t := range 20 {
		w.X, w.Limit, w.Second = append(w.X, float32(t%5)/5), append(w.Limit, 0), append(w.Second, t)
		if t+3 <= 20 {
			w.Start = append(w.Start, t)
		}
	}
	return timegan.Config{Window: 3, Hidden: 2, Layers: 1, Noise: 1, Batch: 2, Clock: -1, Seed: 1}, w
}

// session is everything that an engine does, once.
func session(d driver.Driver) error {
	e, err := cuda.New(d, 0, 1)
	if err != nil {
		return err
	}
	work := func() error {
		c, w := tiny()
		p := timegan.NewParams(c, 1, 0)
		if err := e.Load(c, p, nil, w); err != nil {
			return err
		}
		for ph := range timegan.Phase(3) {
			if _, err := e.Run(context.Background(), ph, 0, 1, 1, make([]timegan.Losses, 1)); err != nil {
				return err
			}
		}
		p, s, err := e.Store()
		if err != nil {
			return err
		}
		st, err := e.Stepper(2)
		if err != nil {
			return err
		}
		state := make([]float32, st.Size())
		st.SetHidden(1, state)
		st.Hidden(0, state)
		if err := st.Next([]int{0, 1}, make([]float32, 2), make([]float32, 2), make([]float32, 2)); err != nil {
			return err
		}
		return e.Load(c, p, s, w)
	}
	return errors.Join(work(), e.Close())
}

// TestFaults fails the driver's calls in turn: the error names the call, and
// nothing is left.
func TestFaults(t *testing.T) {
	calm := &drivertest.Driver{}
	if err := session(calm); err != nil {
		t.Fatal(err)
	}
	calm.Check(t)
	step := 17 // most calls are allocations and copies, one like the other
	if testing.Short() {
		step = 193
	}
	t.Logf("%d calls", calm.Calls())
	for n := 1; n <= calm.Calls(); n += step {
		d := &drivertest.Driver{}
		d.FailAt(n)
		err := session(d)
		if err == nil || !strings.Contains(err.Error(), d.Failed()) {
			t.Errorf("call %d, %s, fails: %v", n, d.Failed(), err)
		}
		d.Check(t)
		if t.Failed() {
			return
		}
	}
}

func TestNoDevice(t *testing.T) {
	_, err := cuda.New(&drivertest.Driver{Absent: "libcuda.so.1: cannot open"}, 0, 1)
	if !errors.Is(err, compute.ErrNoDevice) || !strings.Contains(err.Error(), "libcuda.so.1") {
		t.Error(err)
	}
	_, err = cuda.New(&drivertest.Driver{Device: driver.Info{Major: 7, Minor: 5, Name: "T4"}}, 0, 1)
	if err == nil || !strings.Contains(err.Error(), "T4, has compute capability 7.5") {
		t.Error(err)
	}
}

// TestDiverged: a NaN weight stops training, named as the CPU
// names it, and changes no weight.
func TestDiverged(t *testing.T) {
	c, w := tiny()
	c.Layers = 2
	p := timegan.NewParams(c, 1, 0)
	p[5].Data[0] = float32(math.NaN())
	cpu := timegan.NewCPU(compute.Go, 1)
	defer cpu.Close()
	e := fake(t)
	defer e.Close()
	var want string
	for _, e := range []timegan.Engine{cpu, e} {
		if err := e.Load(c, p, nil, w); err != nil {
			t.Fatal(err)
		}
		l := make([]timegan.Losses, 3)
		done, err := e.Run(context.Background(), timegan.Embedding, 0, 3, 1, l)
		var diverged *timegan.DivergedError
		if done != 0 || !errors.As(err, &diverged) || l[0].At != diverged.Tensor {
			t.Fatalf("%d done, %v, %+v", done, err, l)
		}
		if want == "" {
			want = err.Error()
		} else if err.Error() != want {
			t.Errorf("%v, want %v", err, want)
		}
		after, _, err := e.Store()
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range after {
			if fmt.Sprint(x.Data) != fmt.Sprint(p[i].Data) {
				t.Errorf("%s has changed", x.Name)
			}
		}
	}
}

// TestLimits: what the engine does not compute is said.
func TestLimits(t *testing.T) {
	e := fake(t)
	defer e.Close()
	c, w := tiny()
	c.Hidden = 513
	if err := e.Load(c, nil, nil, w); err == nil || !strings.Contains(err.Error(), "hidden: 513 is above 512") {
		t.Error(err)
	}
	c.Hidden = 2
	w.Start = nil
	if err := e.Load(c, timegan.NewParams(c, 1, 0), nil, w); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(context.Background(), timegan.Embedding, 0, 1, 1, make([]timegan.Losses, 1)); err == nil {
		t.Error("trained on nothing")
	}
	s, err := e.Stepper(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Stepper(1 << 30); err == nil || !strings.Contains(err.Error(), "more than 2³¹ numbers") {
		t.Error(err)
	}
	for _, rows := range [][]int{{2}, {-1}, {0, 1, 1}} {
		n := len(rows)
		if err := s.Next(rows, make([]float32, n), make([]float32, n), make([]float32, n)); err == nil {
			t.Errorf("rows %v of 2", rows)
		}
	}
}
