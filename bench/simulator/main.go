// Command simulator measures three errors of a learned simulator of switches: drift
// over an hour, jumps when the queue limit changes, and an effect of the limit
// where the recordings have none.
//
//	go run ./bench/simulator --data recordings [--model model.safetensors]
//	go run ./bench/simulator --data recordings --shuffle folder
//
// The second form writes the recordings with every block of 100 s under a limit
// that was drawn: a model of them has no effect of the limit to learn.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

const (
	rollouts = 64
	seconds  = 3600
	part     = 600 // seconds at either end
)

func main() {
	data := flag.String("data", os.Getenv("PLANEGYM_DATA"), "folder of recordings")
	model := flag.String("model", "recorded", "bundled model, or a .safetensors file")
	kernels := flag.String("kernels", "auto", "kernel set")
	shuffle := flag.String("shuffle", "", "folder for recordings whose limits are shuffled; nothing is measured")
	flag.Parse()
	if err := run(*data, *model, *kernels, *shuffle); err != nil {
		fmt.Fprintln(os.Stderr, "simulator:", err)
		os.Exit(1)
	}
}

func run(data, model, kernels, shuffle string) error {
	recordings, err := telemetry.OpenFolder(data)
	if err != nil {
		return err
	}
	if shuffle != "" {
		return shuffled(recordings, shuffle)
	}
	k, err := compute.ParseKernels(kernels)
	if err != nil {
		return err
	}
	b, err := scenarios.OpenModel(model)
	if err != nil {
		return err
	}
	m, err := timegan.DecodeModel(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	e := timegan.NewCPU(k, 2)
	defer e.Close()
	sim, err := timegan.NewSimulator(rollouts, []*timegan.Model{m}, []timegan.Engine{e})
	if err != nil {
		return err
	}
	out := map[string]any{"model": model, "kernels": k.String()}
	for _, r := range recordings {
		d, floor, err := drift(sim, m, int32(r.Limit))
		if err != nil {
			return err
		}
		out[fmt.Sprintf("drift_%d", r.Limit)] = map[string]float64{"W1": d, "floor_W1": floor}
	}
	lo, hi := sim.Limits()
	if out["lbo_change"], err = jumps(sim, lo, hi); err != nil {
		return err
	}
	if out["reward"], err = rewards(sim, m); err != nil {
		return err
	}
	j := json.NewEncoder(os.Stdout)
	j.SetIndent("", "  ")
	return j.Encode(out)
}

// drift is the mean W1, over fields scaled to the range trained on, between
// the last and the first 600 seconds of 64 rollouts that begin evenly spaced
// over the clock's turn; and its floor, the largest between the first 600 of
// these and of 64 others, in 8 draws. (From random starts both are several
// times that: 64 draws of where an hour begins are never even.)
func drift(sim *timegan.Simulator, m *timegan.Model, limit int32) (w1, floor float64, err error) {
	fields := len(sim.Columns())
	roll := func(seed, length int) ([][]float32, error) {
		rows, limits := make([]int, rollouts), make([]int32, rollouts)
		for i := range rows {
			rows[i], limits[i] = i, limit
			if err := sim.ResetAt(rows[i:i+1], []uint64{uint64(seed + i)}, i*max(m.Config.Clock, 0)/rollouts); err != nil {
				return nil, err
			}
		}
		values := make([][]float32, rollouts)
		var w telemetry.Window
		for range length / part {
			w.Size(rollouts, part, fields)
			if err := sim.Step(context.Background(), rows, limits, &w); err != nil {
				return nil, err
			}
			for i := range rows {
				v, _ := w.Row(i)
				values[i] = append(values[i], v...)
			}
		}
		return values, nil
	}
	apart := func(a [][]float32, from int, b [][]float32) float64 {
		take := func(sets [][]float32, column, from int) []float64 {
			var x []float64
			for _, v := range sets {
				for t := from; t < from+part; t++ {
					x = append(x, float64(m.Codec.Scale(column, v[t*fields+column])))
				}
			}
			slices.Sort(x)
			return x
		}
		var sum, n float64
		for k, c := range m.Codec.Columns {
			if c.Kind != timegan.Constant {
				sum += distance(take(a, k, from), take(b, k, 0))
				n++
			}
		}
		return sum / n
	}
	all, err := roll(0, seconds)
	if err != nil {
		return 0, 0, err
	}
	for draw := 1; draw <= 8; draw++ {
		other, err := roll(draw*rollouts, part)
		if err != nil {
			return 0, 0, err
		}
		floor = max(floor, apart(all, 0, other))
	}
	return apart(all, seconds-part, all), floor, nil
}

// distance is the Wasserstein-1 distance of two sorted samples of one size.
func distance(a, b []float64) float64 {
	var sum float64
	for i := range a {
		sum += math.Abs(a[i]-b[i]) / float64(len(a))
	}
	return sum
}

// jumps are the changes of LBO from second to second, where the limit changes
// every 40 s and where it does not.
func jumps(sim *timegan.Simulator, lo, hi int32) (map[string]float64, error) {
	rows, limits, seeds := make([]int, rollouts), make([]int32, rollouts), make([]uint64, rollouts)
	for i := range rows {
		rows[i], seeds[i] = i, uint64(1000+i)
	}
	if err := sim.Reset(rows, seeds); err != nil {
		return nil, err
	}
	fields := sim.Columns()
	lbo := slices.IndexFunc(fields, func(f telemetry.Field) bool { return f.Name == "lbo_s" })
	var at, between []float64
	last := make([]float32, rollouts)
	var w telemetry.Window
	for step := range seconds / 40 {
		for i := range limits {
			if limits[i] = lo; step%2 == 1 {
				limits[i] = hi
			}
		}
		w.Size(rollouts, 40, len(fields))
		if err := sim.Step(context.Background(), rows, limits, &w); err != nil {
			return nil, err
		}
		for i := range rows {
			v, _ := w.Row(i)
			for t := range 40 {
				x := v[t*len(fields)+lbo]
				d := math.Abs(float64(x - last[i]))
				switch last[i] = x; {
				case t > 0:
					between = append(between, d)
				case step > 0:
					at = append(at, d)
				}
			}
		}
	}
	out := map[string]float64{}
	for name, x := range map[string][]float64{"change": at, "no_change": between} {
		slices.Sort(x)
		for what, p := range map[string]float64{"median": .5, "p95": .95, "p99": .99} {
			out[name+"_"+what] = telemetry.Quantile(x, p)
		}
		for _, v := range x {
			out[name+"_mean"] += v / float64(len(x))
		}
	}
	return out, nil
}

// rewards are the mean rewards of an hour, 64 rows, by policy: constant limits
// and one that alternates every step.
func rewards(sim *timegan.Simulator, m *timegan.Model) (map[string]float64, error) {
	s, err := scenarios.Load("recorded")
	if err != nil {
		return nil, err
	}
	v, err := queues.New(s.Env, model.New(sim), rollouts, m.Codec)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	seeds, actions := make([]uint64, rollouts), make([]int32, rollouts)
	for i := range seeds {
		seeds[i] = uint64(5000 + i)
	}
	out := map[string]float64{}
	for name, act := range map[string]func(int) int32{
		"constant_0": func(int) int32 { return 0 }, "constant_1": func(int) int32 { return 1 },
		"alternate": func(t int) int32 { return int32(t % 2) },
	} {
		var b env.Batch
		if err := v.Reset(context.Background(), nil, seeds, &b); err != nil {
			return nil, err
		}
		n := v.Spec().MaxSteps - 1
		for t := range n {
			for i := range actions {
				actions[i] = act(t)
			}
			if err := v.Step(context.Background(), nil, actions, &b); err != nil {
				return nil, err
			}
			for _, r := range b.Reward {
				out[name] += float64(r) / float64(rollouts*n)
			}
		}
	}
	out["alternate_less_constant"] = math.Abs(out["alternate"] - (out["constant_0"]+out["constant_1"])/2)
	return out, nil
}

// shuffled writes recordings in which every block of 100 s comes from one of
// them that was drawn, the same for no two at a time.
func shuffled(recordings []telemetry.Recording, folder string) error {
	n := recordings[0].Data.Len()
	fields := recordings[0].Data.Fields()
	for k, r := range recordings {
		var values []float32
		var valid []bool
		for t := range n {
			shift := rng.Key{Seed: 1, A: uint32(t / telemetry.BlockSeconds), Purpose: rng.Start}.Intn(0, len(recordings))
			from := recordings[(k+shift)%len(recordings)].Data
			for c := range fields {
				v, ok := from.At(t, c)
				values, valid = append(values, v), append(valid, ok)
			}
		}
		d, err := telemetry.NewDataset(fields, r.Limit, time.Unix(0, 0), values, valid)
		if err != nil {
			return err
		}
		if err := d.WriteCSV(filepath.Join(folder, fmt.Sprintf("grid_%d.csv", r.Limit))); err != nil {
			return err
		}
	}
	return nil
}
