package agent

import (
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

// The frozen oracle: from what happened in two rows, step by step, to the
// transitions that are stored, those that are drawn, their weights, targets and
// loss, and the weights of the network after each of four updates, computed once
// in float64 by testdata/oracle/oracle.py (NumPy; gradients by complex steps). None
// of the numbers comes from this package.
//
//	go test ./agent -run TestOracle -freeze
//	python3 agent/testdata/oracle/oracle.py
type oracleInput struct {
	Config  Config
	Actions []int // how many each switch has
	Dim     int
	Steps   []oracleStep
	Online  map[string][]float32
	Target  map[string][]float32
	Updates []oracleDraw
}

// oracleStep is a step of a row.
type oracleStep struct {
	Row                   int
	Obs, Next             []float32
	Actions               []int32
	Reward                float32
	Terminated, Truncated bool
}

// oracleDraw is how much of training is over at an update, and what its batch
// is drawn by: numbers in [0, 1), one for each place.
type oracleDraw struct {
	Share float64
	U     []float64 // prioritised
	At    []int     // uniform
}

// oracleOutput is what the oracle makes of it.
type oracleOutput struct {
	Shift, Scale                []float64
	Obs, Next, Reward, Discount []float64 // of the memory
	Actions                     []int32
	Updates                     []struct {
		At                     []int
		Weights, Y, Priorities []float64
		Loss, Rate             float64
		Online, Target         map[string][]float64
	}
}

const oracleSeed = 21

func oracleCase(t *testing.T, name string) oracleInput {
	c, err := Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	c.Hidden, c.Batch, c.Replay, c.Minimum, c.Target, c.Gamma = []int{4, 3}, 5, 40, 1, 2, .9
	in := oracleInput{Dim: 3}
	switch name {
	case "per": // three steps, two switches, priorities; value and advantages apart
		c.Dueling, c.Prioritised, c.NStep, c.ClipNorm, c.FinalRate = true, true, 3, .05, 1e-4
		in.Actions = []int{2, 3}
	case "plain": // one step, one switch, as the tutorial's, and conservative
		c.Loss, c.Optimiser, c.Momentum, c.NStep, c.ClipNorm, c.FinalRate, c.CQL, c.Normalise = "mse", "nesterov", .9, 1, 0, 0, .5, "none"
		in.Actions = []int{3}
	case "ring": // more steps than the memory holds, three heads
		c.Replay, c.NStep, c.Prioritised, c.ClipNorm, c.CQL = 11, 2, true, 10, .3
		in.Actions = []int{2, 2, 3}
	}
	in.Config = c
	draw := func(i, j int) float64 {
		return rng.Key{Seed: oracleSeed, A: uint32(i), Purpose: rng.Start}.Float64(uint32(j))
	}
	// Row 0: an episode of 4 steps that terminates, one of 3 that is cut, one of
	// 2 that terminates, one under way. Row 1: 1 step, cut; 6, terminates; …
	ends := [2]map[int]string{{3: "terminated", 6: "truncated", 8: "terminated"}, {0: "truncated", 6: "terminated", 7: "terminated"}}
	var last [2][]float32
	for i := range 12 {
		for row := range 2 {
			s := oracleStep{Row: row, Reward: grid(4*draw(100*i+row, 0) - 1)}
			for j := range in.Dim {
				s.Obs, s.Next = append(s.Obs, grid(6*draw(100*i+row, 10+j)-3)), append(s.Next, grid(6*draw(100*i+row, 20+j)-3))
			}
			if last[row] != nil {
				s.Obs = last[row]
			}
			for j, n := range in.Actions {
				s.Actions = append(s.Actions, int32(draw(100*i+row, 30+j)*float64(n)))
			}
			s.Terminated, s.Truncated = ends[row][i] == "terminated", ends[row][i] == "truncated"
			if last[row] = s.Next; s.Terminated || s.Truncated {
				last[row] = nil
			}
			in.Steps = append(in.Steps, s)
		}
	}
	d := oracleAgent(t, in, compute.Reference)
	for k, m := range []struct {
		to  *map[string][]float32
		net map[string][]float32
	}{{&in.Online, weightsOf(d, false)}, {&in.Target, weightsOf(d, true)}} {
		for name, x := range m.net {
			for j := range x {
				x[j] = grid(1.5*rng.Key{Seed: oracleSeed, A: uint32(k), B: uint32(j + 7*len(name) + 31*int(name[0])), Purpose: rng.Init}.Float64(0) - .75)
			}
		}
		*m.to = m.net
	}
	size := oracleMemory(d, in).size
	for u, share := range []float64{0, .25, .5, 1.5} {
		k := rng.Key{Seed: oracleSeed, A: uint32(u), Purpose: rng.Transition}
		o := oracleDraw{Share: share}
		for i := range c.Batch {
			if c.Prioritised {
				o.U = append(o.U, k.Float64(uint32(i)))
			} else {
				o.At = append(o.At, k.Intn(uint32(i), size))
			}
		}
		in.Updates = append(in.Updates, o)
	}
	return in
}

// grid rounds to a number that is short in decimal, too.
func grid(x float64) float32 { return float32(math.Round(x*256) / 256) }

func oracleAgent(t *testing.T, in oracleInput, k compute.Kernels) *DDQN {
	t.Helper()
	d, err := NewDDQN(in.Config, testSpaces(in.Dim, in.Actions...), 1, compute.NewBackend(k, 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range weightsOf(d, false) {
		copy(x, in.Online[name])
	}
	for name, x := range weightsOf(d, true) {
		copy(x, in.Target[name])
	}
	return d
}

// weightsOf is the memory of a network, by tensor.
func weightsOf(d *DDQN, target bool) map[string][]float32 {
	net := d.online
	if target {
		net = d.target
	}
	all := map[string][]float32{}
	for _, v := range net.Params().Views {
		all[v.Name] = v.Data
	}
	return all
}

func oracleMemory(d *DDQN, in oracleInput) *replay {
	c := in.Config
	r, col := newReplay(c.Replay, d.dim, d.s, c.Prioritised), newCollector(2, c.NStep, d.dim, d.s, c.Gamma)
	for _, s := range in.Steps {
		col.step(s.Row, s.Obs, s.Actions, s.Reward, s.Next, s.Terminated, s.Truncated, r)
	}
	return r
}

func TestOracle(t *testing.T) {
	for _, name := range []string{"per", "plain", "ring"} {
		in := oracleCase(t, name)
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
		var want oracleOutput
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if len(want.Updates) != len(in.Updates) {
			t.Fatalf("%s: %d updates", name, len(want.Updates))
		}
		for _, k := range compute.Available() {
			t.Run(fmt.Sprint(name, "/", k), func(t *testing.T) { oracle(t, in, want, k) })
		}
	}
}

func oracle(t *testing.T, in oracleInput, want oracleOutput, k compute.Kernels) {
	d := oracleAgent(t, in, k)
	r := oracleMemory(d, in)
	same := func(what string, got []float32, want []float64, tolerance float64) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
			return
		}
		for i := range got {
			if !(math.Abs(float64(got[i])-want[i]) <= tolerance*max(1, math.Abs(want[i]))) {
				t.Errorf("%s[%d] is %v, want %v", what, i, got[i], want[i])
				return
			}
		}
	}
	same("memory: obs", r.obs[:r.size*d.dim], want.Obs, 1e-7)
	same("memory: next", r.next[:r.size*d.dim], want.Next, 1e-7)
	same("memory: reward", r.reward[:r.size], want.Reward, 1e-6)
	same("memory: discount", r.discount[:r.size], want.Discount, 1e-6)
	if fmt.Sprint(r.actions[:r.size*d.s]) != fmt.Sprint(want.Actions) {
		t.Errorf("memory: actions %v, want %v", r.actions[:r.size*d.s], want.Actions)
	}
	if !d.fitted {
		d.fit(r.obs[:r.size*d.dim])
	}
	same("shift", d.shift, want.Shift, 1e-6)
	same("scale", d.scale, want.Scale, 1e-6)
	for u, w := range want.Updates {
		loss, target, err := d.update(r, oracleSeed, in.Updates[u].Share)
		if err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf("update %d: ", u)
		if fmt.Sprint(d.batch.at) != fmt.Sprint(w.At) {
			t.Fatalf("%sdrawn %v, want %v", at, d.batch.at, w.At)
		}
		same(at+"weights", d.batch.weights, w.Weights, 1e-5)
		same(at+"y", d.batch.y, w.Y, 1e-5)
		if math.Abs(loss-w.Loss) > 1e-5*max(1, w.Loss) {
			t.Errorf("%sloss %v, want %v", at, loss, w.Loss)
		}
		mean := 0.
		for _, y := range w.Y {
			mean += y / float64(len(w.Y))
		}
		if math.Abs(target-mean) > 1e-5*max(1, math.Abs(mean)) {
			t.Errorf("%smean target %v, want %v", at, target, mean)
		}
		if in.Config.Prioritised {
			var p []float32
			for i := range r.size {
				p = append(p, float32(r.tree.get(i)))
			}
			same(at+"priorities", p, w.Priorities, 2e-5)
		}
		for name, x := range weightsOf(d, false) {
			same(at+"online "+name, x, w.Online[name], 1e-5)
		}
		for name, x := range weightsOf(d, true) {
			same(at+"target "+name, x, w.Target[name], 1e-5)
		}
	}
}
