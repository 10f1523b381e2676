//go:build unix

package timegan_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// kernels are the sets of this machine that a user may pick.
func kernels() []compute.Kernels { return compute.Available()[1:] }

// noise is training data without structure, of the sizes of a peer's.
func noise(channels, length int) timegan.Windows {
	const n = 4000
	w := timegan.Windows{Length: length, X: make([]float32, n*channels), Limit: make([]float32, n),
		Second: make([]int, n), Median: make([]float32, channels)}
	for range channels {
		w.Bit = append(w.Bit, -1)
	}
	key := rng.Key{Seed: 1}
	for i := range w.X {
		w.X[i] = float32(key.Float64(uint32(i)))
	}
	for i := range n - length {
		w.Start = append(w.Start, i)
	}
	return w
}

// An update of each phase: the paper's setting and the tutorial's, as public
// ports train them, and the default's.
func BenchmarkPhase(b *testing.B) {
	for _, s := range []struct {
		preset   string
		channels int
	}{{"paper", 6}, {"tutorial", 16}, {"", 17}} {
		c, err := timegan.Preset(s.preset)
		if err != nil {
			b.Fatal(err)
		}
		d := noise(s.channels, c.Window)
		for _, k := range kernels() {
			for _, threads := range []int{1, 2} {
				for _, ph := range []timegan.Phase{timegan.Embedding, timegan.Supervised, timegan.Joint} {
					b.Run(fmt.Sprintf("H%d_T%d_B%d_F%d/%v/%v/threads%d", c.Hidden, c.Window, c.Batch, s.channels, ph, k, threads), func(b *testing.B) {
						e := timegan.NewCPU(k, threads)
						defer e.Close()
						if err := e.Load(c, timegan.NewParams(c, s.channels, 0), nil, d); err != nil {
							b.Fatal(err)
						}
						losses := make([]timegan.Losses, 1)
						update := 0
						testkit.PerOp(b, func() {
							if _, err := e.Run(context.Background(), ph, update, 1, 1, losses); err != nil {
								b.Fatal(err)
							}
							update++
						})
					})
				}
			}
		}
	}
}

// A step of the simulator: 1024 rows by one window of 4 seconds.
func BenchmarkSimulator(b *testing.B) {
	const n = 1024
	for _, k := range kernels() {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%v/threads%d", k, threads), func(b *testing.B) {
				m, err := timegan.Fit(context.Background(), timegan.Config{Embed: 1, Super: 1, Joint: 1}, timegan.NewCPU(k, 1),
					training(b, timegan.Config{}, .3), timegan.FitOptions{})
				if err != nil {
					b.Fatal(err)
				}
				e := timegan.NewCPU(k, threads)
				defer e.Close()
				sim, err := timegan.NewSimulator(n, []*timegan.Model{m}, []timegan.Engine{e})
				if err != nil {
					b.Fatal(err)
				}
				rows, seeds, limits := make([]int, n), make([]uint64, n), make([]int32, n)
				for i := range rows {
					rows[i], seeds[i], limits[i] = i, uint64(i), 32
				}
				if err := sim.Reset(rows, seeds); err != nil {
					b.Fatal(err)
				}
				var out telemetry.Window
				out.Size(n, 4, len(sim.Columns()))
				seconds := testkit.PerOp(b, func() {
					if err := sim.Step(context.Background(), rows, limits, &out); err != nil {
						b.Fatal(err)
					}
				})
				b.ReportMetric(n/seconds, "steps/cpu-s")
				macs := 0. // of a row and second: every weight once
				for _, p := range m.Params {
					net, _, _ := strings.Cut(p.Name, ".")
					if len(p.Shape) == 2 && (net == "generator" || net == "supervisor" || net == "recovery") {
						macs += float64(len(p.Data))
					}
				}
				lanes := map[compute.Kernels]int{compute.AVX2: 8, compute.AVX512: 16}[k]
				testkit.Peak(b, macs*n*4, seconds, lanes)
			})
		}
	}
}
