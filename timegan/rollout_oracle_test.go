package timegan

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// Rollouts compared with testdata/rollout/rollout.py, which has weights, noise
// and what was recorded, and fits the scalers of the codec itself.
//
//	go test ./timegan -run TestRolloutOracle -freeze
//	python3 timegan/testdata/rollout/rollout.py
type rolloutInput struct {
	Config     Config
	Free       bool
	Knots      int
	Fields     []string
	Recordings []rolloutRecording // a model of each where Lockstep, else of all
	Lockstep   bool
	Params     []map[string][]float32 // by model
	Start      int
	Limits     []int         // of each second
	Z          [][][]float32 // [models][warm-up + seconds][Z]
}

type rolloutRecording struct {
	Limit  int
	Values [][]float32
	Valid  [][]bool
}

func rolloutCase(t *testing.T, name string) rolloutInput {
	in := rolloutInput{Knots: 7, Start: 5, Free: name == "free", Lockstep: name == "lockstep"}
	in.Config = Config{Window: 4, Hidden: 3, Layers: 2, Noise: 3, Batch: 2, Clock: 20, Free: in.Free}.WithDefaults()
	for _, f := range codecFields {
		in.Fields = append(in.Fields, f.Name)
	}
	for i, limit := range []int{32, 64} {
		r := rolloutRecording{Limit: limit}
		for s, row := range codecRows(120) {
			k := rng.Key{Seed: uint64(limit), A: uint32(s), Purpose: rng.Start}
			row[0], row[5] = float32(math.Floor(k.Float64(0)*k.Float64(1)*20)), 100+grid(30*k.Float64(2))
			row[2] = grid(4 + 3*k.Float64(3) + float64(i))
			r.Values = append(r.Values, row)
			ok := make([]bool, len(row))
			for c := range ok {
				ok[c] = c > 1 || s%3 > 0
			}
			r.Valid = append(r.Valid, ok)
		}
		in.Recordings = append(in.Recordings, r)
	}
	models := 1
	if in.Lockstep {
		models = 2
	}
	for k := range models {
		p := map[string][]float32{}
		for i, x := range NewParams(in.Config, 6, 1) {
			for j := range x.Data {
				x.Data[j] = grid(3*rng.Key{Seed: 5, A: uint32(i + 100*k), B: uint32(j), Purpose: rng.Init}.Float64(0) - 1.5)
			}
			p[x.Name] = x.Data
		}
		in.Params = append(in.Params, p)
		var z [][]float32
		for s := range warmUp + 20 {
			row := make([]float32, 3)
			in.Config.noiseAt(row, rng.Key{Seed: 77, B: uint32(k), Purpose: rng.SampleNoise}, uint32(1+s))
			z = append(z, row)
		}
		in.Z = append(in.Z, z)
	}
	for s := range 20 {
		in.Limits = append(in.Limits, []int{32, 64, 64, 48}[s/5])
		if in.Lockstep && s/5 == 3 {
			in.Limits[s] = 32
		}
	}
	return in
}

func TestRolloutOracle(t *testing.T) {
	for _, name := range []string{"bounded", "free", "lockstep"} {
		in := rolloutCase(t, name)
		path := filepath.Join("testdata", "rollout", name+".in.json")
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if *freeze {
			if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if was, err := os.ReadFile(path); err != nil || string(was) != string(text)+"\n" {
			t.Fatalf("%s: %v: the inputs are not those that the oracle was given", path, err)
		}
		b, err := os.ReadFile(filepath.Join("testdata", "rollout", name+".out.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want [][]float64
		if err := json.Unmarshal(b, &want); err != nil || len(want) != 20 {
			t.Fatal(err, len(want))
		}
		for _, k := range compute.Available() {
			t.Run(fmt.Sprint(name, "/", k), func(t *testing.T) { rolloutOracle(t, in, want, k) })
		}
	}
}

func rolloutOracle(t *testing.T, in rolloutInput, want [][]float64, k compute.Kernels) {
	var all []telemetry.Recording
	for _, r := range in.Recordings {
		all = append(all, dataset(t, r.Limit, codecFields, r.Values, func(s, c int) bool { return r.Valid[s][c] }))
	}
	var models []*Model
	var engines []Engine
	for i, p := range in.Params {
		of := all
		if in.Lockstep {
			of = all[i : i+1]
		}
		codec, err := NewCodec(of, in.Knots, telemetry.All)
		if err != nil {
			t.Fatal(err)
		}
		if in.Free {
			codec.free()
		}
		m := &Model{Config: in.Config, Codec: codec, Params: NewParams(in.Config, codec.Channels, codec.Bits)}
		for j := range m.Params {
			copy(m.Params[j].Data, p[m.Params[j].Name])
		}
		models, engines = append(models, m), append(engines, NewCPU(k, 1))
	}
	sim, err := NewSimulator(3, models, engines)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.ResetAt([]int{1}, []uint64{77}, in.Start); err != nil {
		t.Fatal(err)
	}
	var w telemetry.Window
	n := len(in.Fields)
	w.Size(1, 1, n)
	for s, limit := range in.Limits {
		if err := sim.Step(context.Background(), []int{1}, []int32{int32(limit)}, &w); err != nil {
			t.Fatal(err)
		}
		for c, x := range w.Values {
			if math.Abs(float64(x)-want[s][c]) > 1e-4*max(1, math.Abs(want[s][c])) {
				t.Fatalf("second %d: %s is %v, want %v", s, in.Fields[c], x, want[s][c])
			}
			if !w.Valid[c] {
				t.Fatalf("second %d: %s is not valid", s, in.Fields[c])
			}
		}
	}
}
