package timegan

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

var freeze = flag.Bool("freeze", false, "write the inputs of testdata/oracle/oracle.py anew")

// The frozen oracle: two updates of each phase, from given weights, windows and
// noise, computed once in float64 by testdata/oracle/oracle.py (NumPy; gradients
// by complex steps, no rule of differentiation anywhere). The numbers do not come
// from this package, so that a label, a mask or a clock that is wrong in loss
// and gradient alike is seen.
//
//	go test ./timegan -run TestOracle -freeze
//	python3 timegan/testdata/oracle/oracle.py
type oracleInput struct {
	Config  Config
	Bits    int
	Windows Windows
	Params  map[string][]float32
	Draws   []oracleDraw
}

// oracleDraw is what is drawn for one batch: where the real windows begin, and
// of generated ones the noise, whether they are the first of a sequence, and the
// second of the clock at which that begins.
type oracleDraw struct {
	Phase, Update, Pick int
	Starts              []int     // [B]
	Z                   []float32 // [T,B,Z]
	Fresh               []bool    // [B]
	Clock               []int     // [B], where fresh
}

// oracleStep is what an update leaves.
type oracleStep struct {
	Phase, Update int
	Losses        map[string]float64
	Params        map[string][]float64
	M, V          map[string][]float64 // Adam's, of the phase's last update
	Hidden        map[string][]float64
	Clock         []float64
}

const oracleSeed = 11

// oracleCase is windows of 6 s: with gaps, some of them of every channel, going
// on from each other; or without, standing alone (Latent).
func oracleCase(latent bool) oracleInput {
	w := Windows{Length: 6, Bit: []int{0, 1, 0}, Bits: 2, Median: []float32{.5, .25, .75}}
	if latent {
		w.Bit, w.Bits, w.Median = []int{-1, -1, -1}, 0, make([]float32, 3)
	}
	for t := range 40 {
		k := rng.Key{Seed: oracleSeed, A: uint32(t), Purpose: rng.Start}
		x := []float32{grid(k.Float64(0)), grid(k.Float64(1)), grid(k.Float64(2))}
		if !latent {
			bits := []float32{1, 1}
			for b := range bits {
				if k.Float64(uint32(3+b)) < .4 {
					bits[b] = 0
				}
			}
			for c, b := range w.Bit {
				x[c] *= bits[b]
			}
			w.Valid = append(w.Valid, bits...)
		}
		w.X, w.Limit, w.Second = append(w.X, x...), append(w.Limit, float32(t/8%2)), append(w.Second, t+3)
		if t <= 34 {
			w.Start = append(w.Start, t)
		}
	}
	c := Config{
		Window: 6, Hidden: 3, Layers: 2, Noise: 2, Batch: 3, Embed: 2, Super: 2, Joint: 4, Clock: 17, Seed: oracleSeed, Latent: latent,
		FinalRate: .5, Gamma: .7, Moments: 10, Eta: 3, Changes: 5, Covariances: 8, Threshold: .01,
	}.WithDefaults()
	in := oracleInput{Config: c, Bits: w.Bits, Windows: w, Params: map[string][]float32{}}
	for i, p := range NewParams(c, 3, w.Bits) {
		for j, x := range p.Data { // away from where the start is special
			p.Data[j] = grid(float64(x) + rng.Key{Seed: oracleSeed, A: uint32(i), B: uint32(j), Purpose: rng.Init}.Float64(0) - .5)
		}
		in.Params[p.Name] = p.Data
	}
	for ph, steps := range []int{2, 2, 2} {
		for u := range steps {
			picks := 1
			if Phase(ph) == Joint {
				picks = 3
			}
			for pick := range picks {
				d := oracleDraw{Phase: ph, Update: u, Pick: pick}
				for i := range c.Batch {
					key := rng.Key{Seed: oracleSeed, A: uint32(u), B: uint32(i), Purpose: rng.BatchOrder}
					d.Starts = append(d.Starts, w.Start[key.Intn(uint32(ph*4+pick), len(w.Start))])
				}
				if Phase(ph) == Joint {
					d.Z = make([]float32, w.Length*c.Batch*c.Noise)
					for i := range c.Batch {
						key := rng.Key{Seed: oracleSeed, A: uint32(3*u + pick), B: uint32(i), Purpose: rng.Noise}
						d.Fresh = append(d.Fresh, latent || u == 0 && pick == 0)
						d.Clock = append(d.Clock, key.Intn(math.MaxUint32, c.Clock))
						for s := range w.Length {
							a, b := key.Normal(uint32(1 + s))
							copy(d.Z[(s*c.Batch+i)*2:], []float32{float32(a), float32(b)})
						}
					}
				}
				in.Draws = append(in.Draws, d)
			}
		}
	}
	return in
}

// grid rounds to a number that is short in decimal, too.
func grid(x float64) float32 { return float32(math.Round(x*256) / 256) }

func TestOracle(t *testing.T) {
	for name, latent := range map[string]bool{"gaps": false, "latent": true} {
		in := oracleCase(latent)
		path := filepath.Join("testdata", "oracle", name+".in.json")
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
			t.Fatalf("%s: %v: the inputs are not those that the oracle was given: -freeze, then run oracle.py", path, err)
		}
		b, err := os.ReadFile(filepath.Join("testdata", "oracle", name+".out.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want []oracleStep
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if len(want) != 6 {
			t.Fatalf("%s: %d updates", name, len(want))
		}
		for _, k := range compute.Available() {
			tolerance := 2e-3
			if k == compute.Reference {
				tolerance = 2e-4
			}
			t.Run(fmt.Sprint(name, "/", k), func(t *testing.T) { oracle(t, in, want, k, tolerance) })
		}
	}
}

func oracle(t *testing.T, in oracleInput, want []oracleStep, k compute.Kernels, tolerance float64) {
	e := NewCPU(k, 1)
	defer e.Close()
	p := NewParams(in.Config, 3, in.Bits)
	before := map[string][]float64{}
	for i := range p {
		copy(p[i].Data, in.Params[p[i].Name])
		before[p[i].Name] = widen(p[i].Data)
	}
	if err := e.Load(in.Config, p, nil, in.Windows); err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		losses := make([]Losses, 1)
		if done, err := e.Run(context.Background(), Phase(w.Phase), w.Update, 1, oracleSeed, losses); done != 1 || err != nil {
			t.Fatal(done, err)
		}
		at := fmt.Sprintf("%v phase, update %d", Phase(w.Phase), w.Update)
		l := losses[0]
		for name, got := range map[string]float32{"R": l.R, "S": l.S, "U": l.U, "V": l.V, "C": l.C, "K": l.K, "D": l.D} {
			if x := w.Losses[name]; math.Abs(float64(got)-x) > 1e-5*max(1, math.Abs(x)) {
				t.Errorf("%s: loss %s is %v, want %v", at, name, got, x)
			}
		}
		params, state, err := e.Store()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range params {
			moved := distance(w.Params[x.Name], before[x.Name])
			if d := distance(widen(x.Data), w.Params[x.Name]); !(d <= tolerance*moved+1e-6) {
				t.Errorf("%s: %s is %.2g away from the oracle, which moved it by %.2g", at, x.Name, d, moved)
			}
			before[x.Name] = w.Params[x.Name]
		}
		for _, x := range state {
			got := widen(x.Data)
			var wanted []float64
			switch name := x.Name; {
			case name == "state.updates":
				continue
			case name == "state.clock":
				wanted = w.Clock
			default:
				of, kind, _ := cut2(name)
				from := map[string]map[string][]float64{"m": w.M, "v": w.V, "hidden": w.Hidden}[kind]
				if wanted = from[of]; wanted == nil {
					continue
				}
			}
			size := distance(wanted, make([]float64, len(wanted)))
			if d := distance(got, wanted); !(d <= tolerance*size+1e-6) {
				t.Errorf("%s: %s is %.2g away from the oracle's, of length %.2g", at, x.Name, d, size)
			}
		}
	}
}

// cut2 takes "state.NETWORK.KIND" apart.
func cut2(name string) (network, kind string, ok bool) {
	for _, n := range networkNames {
		for _, k := range []string{"m", "v", "hidden"} {
			if name == "state."+n+"."+k {
				return n, k, true
			}
		}
	}
	return "", "", false
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// distance is Euclidean; NaN where the lengths differ.
func distance(a, b []float64) float64 {
	if len(a) != len(b) {
		return math.NaN()
	}
	var sum float64
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(sum)
}
