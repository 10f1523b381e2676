package cuda

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/timegan"
)

// onGPU opens an engine on this machine's first GPU, which closes with the
// benchmark; without one it skips.
func onGPU(b *testing.B, models int) timegan.Engine {
	b.Helper()
	e, err := New(driver.New(), 0, models)
	if errors.Is(err, compute.ErrNoDevice) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	return e
}

// paper is the published setting on windows of so many seconds: hidden 24,
// batch 128, three layers, six channels, and data of no structure.
func paper(b *testing.B, window int) (timegan.Config, timegan.Params, timegan.Windows) {
	b.Helper()
	c, err := timegan.Preset("paper")
	if err != nil {
		b.Fatal(err)
	}
	c.Window = window
	const n, f = 4000, 6
	w := timegan.Windows{Length: window, X: random(n*f, 0), Limit: make([]float32, n), Second: make([]int, n), Median: make([]float32, f)}
	for range f {
		w.Bit = append(w.Bit, -1)
	}
	for i, x := range w.X {
		w.X[i] = (x + 1) / 2
	}
	for i := range n - window {
		w.Start = append(w.Start, i)
	}
	return c, timegan.NewParams(c, f, 0), w
}

// An update of each phase; bench/cuda_timegan.py sets its peers beside it.
func BenchmarkUpdate(b *testing.B) {
	for _, window := range []int{24, 50} {
		for ph := range timegan.Phase(3) {
			b.Run(fmt.Sprintf("H24_T%d_B128_F6/%v", window, ph), func(b *testing.B) {
				e := onGPU(b, 1)
				c, p, w := paper(b, window)
				if err := e.Load(c, p, nil, w); err != nil {
					b.Fatal(err)
				}
				train(b, e, ph, chunk) // the graph is made at the first
				b.ResetTimer()
				train(b, e, ph, b.N)
			})
		}
	}
}

func train(b *testing.B, e timegan.Engine, ph timegan.Phase, updates int) {
	if _, err := e.Run(context.Background(), ph, 0, updates, 1, make([]timegan.Losses, updates)); err != nil {
		b.Error(err)
	}
}

// The joint updates of a sweep's models beside each other: an operation is one
// update of every model.
func BenchmarkSweep(b *testing.B) {
	for _, models := range []int{1, 3, 9, 27} {
		b.Run(fmt.Sprintf("models%d", models), func(b *testing.B) {
			var all []timegan.Engine
			for range models {
				e := onGPU(b, models)
				c, p, w := paper(b, 24)
				if err := e.Load(c, p, nil, w); err != nil {
					b.Fatal(err)
				}
				train(b, e, timegan.Joint, chunk)
				all = append(all, e)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, e := range all {
				wg.Go(func() { train(b, e, timegan.Joint, b.N) })
			}
			wg.Wait()
		})
	}
}

// A second of so many rollouts of the default model with seventeen channels:
// of noise that the host drew and copies, and of what the device draws.
func BenchmarkSimulator(b *testing.B) {
	for _, n := range []int{1, 1024, 65536} {
		load := func(b *testing.B) *stepper {
			e := onGPU(b, 1)
			c, err := timegan.Preset("")
			if err != nil {
				b.Fatal(err)
			}
			w := timegan.Windows{Length: 1, Median: make([]float32, 17)}
			for range 17 {
				w.Bit = append(w.Bit, -1)
			}
			if err := e.Load(c, timegan.NewParams(c, 17, 0), nil, w); err != nil {
				b.Fatal(err)
			}
			s, err := e.Stepper(n)
			if err != nil {
				b.Fatal(err)
			}
			return s.(*stepper)
		}
		rows := make([]int, n)
		for i := range rows {
			rows[i] = i
		}
		b.Run(fmt.Sprintf("device/N%d", n), func(b *testing.B) {
			s := load(b)
			draws, x := make([]timegan.Draw, n), make([]float32, n*s.m.F)
			b.ResetTimer()
			for second := range b.N {
				for i := range draws {
					draws[i].Seed, draws[i].Second = uint64(i), uint32(second)
				}
				if err := s.Roll(rows, draws, x); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "env-steps/s")
		})
		b.Run(fmt.Sprintf("host/N%d", n), func(b *testing.B) {
			s := load(b)
			noise, cond, x := random(n*s.m.Z, 0), random(n*s.m.C, 1), make([]float32, n*s.m.F)
			b.ResetTimer()
			for range b.N {
				if err := s.Next(rows, noise, cond, x); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "env-steps/s")
		})
	}
}

// Where an update's time goes: each kernel's, launched one by one, in µs.
func BenchmarkLaunches(b *testing.B) {
	for ph := range timegan.Phase(3) {
		b.Run(ph.String(), func(b *testing.B) {
			e := onGPU(b, 1).(*engine)
			c, p, w := paper(b, 24)
			if err := e.Load(c, p, nil, w); err != nil {
				b.Fatal(err)
			}
			train(b, e, ph, chunk)
			took := map[string]float64{}
			b.ResetTimer()
			if err := e.do(func(m *model) error {
				for range b.N {
					if err := m.profile(ph, took); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
			for name, ms := range took {
				b.ReportMetric(1e3*ms/float64(b.N), name+"-µs/op")
			}
		})
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
