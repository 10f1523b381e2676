package cuda_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/drivertest"
	"github.com/planegym/planegym/internal/cuda/ptxvm"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/enginetest"
)

// fake opens an engine on a driver without a device.
func fake(t testing.TB) timegan.Engine {
	t.Helper()
	d := &drivertest.Driver{Device: driver.Info{SMs: 2}, VM: ptxvm.Options{Workers: 2}}
	e, err := cuda.New(d, 0)
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
	e, err := cuda.New(d, 0)
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
		step = 97
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
	_, err := cuda.New(&drivertest.Driver{Absent: "libcuda.so.1: cannot open"}, 0)
	if !errors.Is(err, nn.ErrNoDevice) || !strings.Contains(err.Error(), "libcuda.so.1") {
		t.Error(err)
	}
	_, err = cuda.New(&drivertest.Driver{Device: driver.Info{Major: 7, Minor: 5, Name: "T4"}}, 0)
	if err == nil || !strings.Contains(err.Error(), "T4, has compute capability 7.5") {
		t.Error(err)
	}
}

// TestDiverged: a weight that is no number stops training, named as the CPU
// names it, and changes no weight.
func TestDiverged(t *testing.T) {
	c, w := tiny()
	c.Layers = 2
	p := timegan.NewParams(c, 1, 0)
	p[5].Data[0] = float32(math.NaN())
	cpu := timegan.NewCPU(nn.Go, 1)
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
	for _, rows := range [][]int{{2}, {-1}, {0, 1, 1}} {
		n := len(rows)
		if err := s.Next(rows, make([]float32, n), make([]float32, n), make([]float32, n)); err == nil {
			t.Errorf("rows %v of 2", rows)
		}
	}
}
