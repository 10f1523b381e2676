package eval

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym/internal/rng"
)

var freeze = flag.Bool("freeze", false, "write the inputs of testdata/offpolicy/offpolicy.py anew")

// grid rounds to multiples of 1/256, which text holds exactly.
func grid(x float64) float32 { return float32(math.Round(x*256) / 256) }

// Fitted Q and doubly robust values of small logs, compared with what
// testdata/offpolicy/offpolicy.py makes of them in NumPy, from the papers.
//
//	go test ./eval -run TestOffPolicyOracle -freeze
//	python3 eval/testdata/offpolicy/offpolicy.py
type offPolicyInput struct {
	Dim, Actions, Random int
	Gamma                float64
	Episodes             []Logged
	Target               [][]float64
	Project              []float64 // [random,D+1]
}

type offPolicyOutput struct {
	FQE, DR  []float64
	Followed float64
}

func offPolicyCases(t *testing.T) (all []offPolicyInput) {
	// More episodes than groups of the jackknife; a constant element; episodes
	// that terminate; actions bound to be; a policy that parts from them.
	for c, size := range []struct{ episodes, dim, actions, random int }{{3, 1, 2, 0}, {23, 3, 3, 2}, {5, 2, 2, 3}} {
		in := offPolicyInput{Dim: size.dim, Actions: size.actions, Random: size.random, Gamma: []float64{.8, .95, 0}[c]}
		for e := range size.episodes {
			k := rng.Key{Seed: uint64(c), A: uint32(e), Purpose: rng.Traffic}
			n := uint32(0)
			draw := func() float64 { n++; return k.Float64(n) }
			var l Logged
			var target []float64
			steps := 3 + e%4
			for s := range steps + 1 {
				for j := range size.dim {
					x := grid(4*draw() - 2)
					if j == 2 {
						x = 1.5
					}
					l.Obs = append(l.Obs, x)
				}
				// The policy: one action for sure, or several by chance.
				sure := int(draw() * float64(size.actions))
				for a := range size.actions {
					p := 1 / float64(size.actions)
					if s%2 == 0 {
						p = 0
						if a == sure {
							p = 1
						}
					}
					target = append(target, p)
				}
				if s == steps {
					break
				}
				l.Actions = append(l.Actions, int32(draw()*float64(size.actions)))
				l.Chance = append(l.Chance, []float64{.25, 1, .5}[s%3])
				l.Reward = append(l.Reward, grid(3*draw()-1))
			}
			l.Terminated = e%2 == 1
			in.Episodes, in.Target = append(in.Episodes, l), append(in.Target, target)
		}
		o, err := NewOffPolicy(in.Episodes, in.Dim, in.Actions, in.Gamma, in.Random)
		if err != nil {
			t.Fatal(err)
		}
		in.Project = o.project
		all = append(all, in)
	}
	return all
}

func TestOffPolicyOracle(t *testing.T) {
	cases := offPolicyCases(t)
	in, out := filepath.Join("testdata", "offpolicy", "in.json"), filepath.Join("testdata", "offpolicy", "out.json")
	text, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	if *freeze {
		if err := os.WriteFile(in, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was, err := os.ReadFile(in); err != nil || string(was) != string(text)+"\n" {
		t.Fatalf("%s: %v: the inputs are not those that the oracle was given", in, err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var want []offPolicyOutput
	if err := json.Unmarshal(b, &want); err != nil || len(want) != len(cases) {
		t.Fatal(err, len(want))
	}
	for i, c := range cases {
		o, err := NewOffPolicy(c.Episodes, c.Dim, c.Actions, c.Gamma, c.Random)
		if err != nil {
			t.Fatal(err)
		}
		v, err := o.Value(c.Target)
		if err != nil {
			t.Fatal(err)
		}
		for name, x := range map[string][2][]float64{"FQE": {v.FQE, want[i].FQE}, "DR": {v.DR, want[i].DR}, "followed": {{v.Followed}, {want[i].Followed}}} {
			if len(x[0]) != len(x[1]) {
				t.Errorf("case %d: %s: %d values, want %d", i, name, len(x[0]), len(x[1]))
				continue
			}
			for g := range x[0] {
				if !(math.Abs(x[0][g]-x[1][g]) <= 1e-6*max(1, math.Abs(x[1][g]))) {
					t.Errorf("case %d: %s[%d] is %v, want %v", i, name, g, x[0][g], x[1][g])
				}
			}
		}
	}
}
