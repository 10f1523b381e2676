package closedloop

import (
	"context"
	"encoding/json"
	"flag"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/telemetry"
)

var freeze = flag.Bool("freeze", false, "write testdata/frozen anew")

// rich is toy with columns of every kind: a second depth and a second wait at switch 1, a
// depth at switch 2, three levels of which the frame rate says two, a rate and a constant;
// some seconds are not measured. With each, both switches have limits of their own.
func rich(seed uint64, seconds int, each bool) telemetry.Recording {
	r := toy(seed, seconds, 20, false)
	fields := []telemetry.Field{
		{Name: "lbo_s", Unit: "s"}, {Name: "rep_kbps", Unit: "kbit/s"}, {Name: "fps", Unit: "1/s"}, {Name: "calc_rate", Unit: "1/s"}, {Name: "still", Unit: "s"},
		{Name: "enq_qdepth1", Unit: "packets"}, {Name: "deq_qdepth1", Unit: "packets"}, {Name: "deq_timedelta1", Unit: "us"}, {Name: "other1"}, {Name: "deq_qdepth2", Unit: "packets"},
	}
	var values []float32
	var valid []bool
	var limits []int32
	for t := range seconds {
		u := func(i int) float32 {
			return float32(rng.Key{Seed: seed, A: uint32(t), B: 7, Purpose: rng.Start}.Float64(uint32(i)))
		}
		v := make([]float32, 4)
		r.Data.Copy(t, v, nil)
		second := []int32{32, 128}[rng.Key{Seed: seed, A: uint32(t / 30), B: 8, Purpose: rng.Start}.Intn(0, 2)]
		limits = append(limits, int32(r.LimitAt(t)), second)
		if !each {
			second = int32(r.LimitAt(t))
		}
		kbps, fps := v[3], float32(18)
		if v[2] > 20 && kbps < 1000 {
			kbps, fps = 1500, 30
		}
		values = append(values, v[2], kbps, fps, kbps/100+u(3), 3,
			float32(math.Round(float64(v[0]))), float32(math.Round(float64(v[0]*.9+3*u(0)))), v[1], 5*u(1), float32(second)*(.4+.2*u(2)))
		for j := range fields {
			valid = append(valid, j < 5 && u(4) > .01 || j >= 5 && u(j) > .1)
		}
	}
	d, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)
	if err != nil {
		panic(err)
	}
	if each {
		return telemetry.Recording{Data: d, PerSwitch: limits}
	}
	return telemetry.Recording{Data: d, Limits: r.Limits}
}

// Fits and their rollouts give the numbers that they gave before: what is read off the
// recordings, the network, what recordings are like under it, and rows second by second whose
// limits change.
func TestFrozen(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	c := Config{Hidden: 5, Updates: 6, Window: 24, Batch: 3, Seed: 4}
	for name, k := range map[string]struct {
		edit       func(*Config)
		recordings []telemetry.Recording
		limits     [][]int32 // of each step, all rows
		second     int
	}{
		"regimes":   {func(c *Config) { c.Regimes = 2 }, []telemetry.Recording{rich(1, 400, false), rich(2, 300, false)}, [][]int32{{32, 64, 128}, {128, 32, 48}}, -1},
		"found":     {func(c *Config) { c.HeldOut = true }, []telemetry.Recording{rich(1, 500, false), rich(2, 500, false), rich(3, 400, false)}, [][]int32{{32, 128, 64}}, -1},
		"perswitch": {func(c *Config) { c.Regimes = 2; c.Noise = .3 }, []telemetry.Recording{rich(3, 400, true), rich(4, 300, true)}, [][]int32{{32, 128, 128, 32, 64, 64}, {128, 128, 32, 32, 32, 128}, {32, 64, 128}}, -1},
		"clock":     {func(c *Config) { c.Clock, c.Noise, c.Regimes = 150, -1, 2 }, []telemetry.Recording{rich(5, 400, false)}, [][]int32{{32, 64, 128}, {64, 64, 64}}, 70},
		"open":      {func(c *Config) { c.Open = true; c.Regimes = 3 }, []telemetry.Recording{rich(6, 500, false)}, [][]int32{{32, 64, 128}}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			k.edit(&c)
			var losses []float64
			m, err := Fit(context.Background(), c, be, k.recordings, FitOptions{Report: func(p Progress) { losses = append(losses, p.Loss) }})
			if err != nil {
				t.Fatal(err)
			}
			meta, tensors, err := m.parts()
			if err != nil {
				t.Fatal(err)
			}
			var described map[string]any
			if err := json.Unmarshal([]byte(meta["model"]), &described); err != nil {
				t.Fatal(err)
			}
			delete(described, "config") // has its own tests
			got := map[string]any{"model": described, "losses": losses, "warnings": m.Warnings}
			weights := map[string]any{}
			for _, x := range tensors {
				if data, ok := x.Data.([]float32); ok {
					weights[x.Name] = sketch(data)
				} else {
					weights[x.Name] = sketch(bytesOf(x.Data.([]byte)))
				}
			}
			got["tensors"] = weights
			names, nats, err := m.Likelihood(be, k.recordings[:1])
			if err != nil {
				t.Fatal(err)
			}
			got["likelihood"] = []any{names, nats}
			s, err := NewSimulator(3, m, be)
			if err != nil {
				t.Fatal(err)
			}
			rows := []int{0, 1, 2}
			if err := s.ResetAt(rows, []uint64{5, 6, 7}, k.second); err != nil {
				t.Fatal(err)
			}
			shown := map[string][][]float32{}
			var w telemetry.Window
			for step, limits := range k.limits {
				w.Size(3, 30, len(m.Fields()))
				if err := s.Step(context.Background(), rows, limits, &w); err != nil {
					t.Fatal(err)
				}
				for i := range rows {
					v, _ := w.Row(i)
					for second := range slices.Chunk(v, len(m.Fields())) {
						row := string(rune('a'+i)) + string(rune('0'+step))
						shown[row] = append(shown[row], slices.Clone(second))
					}
				}
			}
			w.Size(3, 250, len(m.Fields())) // in which the load changes
			if err := s.Step(context.Background(), rows, k.limits[0], &w); err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				v, _ := w.Row(i)
				shown["later"] = append(shown["later"], slices.Clone(v[len(v)-2*len(m.Fields()):]))
			}
			got["shown"] = shown
			testkit.Frozen(t, filepath.Join("testdata", "frozen", name+".json"), got, 1e-5, *freeze)
		})
	}
}

func bytesOf(b []byte) (x []float32) {
	for _, v := range b {
		x = append(x, float32(v))
	}
	return x
}

// sketch is the length of x and sums of it against eight directions: two that agree in them
// agree.
func sketch(x []float32) []float64 {
	s := make([]float64, 9)
	s[0] = float64(len(x))
	for i, v := range x {
		for j := range s[1:] {
			s[1+j] += float64(v) * (2*rng.Key{Seed: 1, A: uint32(i), Purpose: rng.Start}.Float64(uint32(j)) - 1)
		}
	}
	return s
}
