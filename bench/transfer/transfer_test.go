package main

import (
	"bytes"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/planegym/planegym/scenarios"
)

// known are a truth and a model of it, small enough to compute every figure by hand:
// four policies, of which the model ranks the second best first and the best third.
func known() (truth, model Values) {
	row := func(policy string, x ...float64) Valued { return Valued{Policy: policy, PerSeed: x} }
	truth = Values{Scenario: "s", Policies: []Valued{row("fixed:32", .9, 1.1), row("buffer:30", 2, 2), row("alternate", 3, 3), row("codel:6000", 4, 4)}}
	model = Values{Scenario: "s", Model: "dir/m.safetensors", Policies: []Valued{row("fixed:32", 1), row("buffer:30", 3.5), row("alternate", 3.6), row("codel:6000", 3.3)}}
	return truth, model
}

func TestSummary(t *testing.T) {
	truth, model := known()
	var out bytes.Buffer
	regret, rms := summary(&out, "m", pairs(truth, model))
	// ranks 1 2 3 4 and 1 3 4 2: ρ = 1 - 6·(0+1+1+4)/(4·15) = .4; chosen 3 of 4
	if want := math.Sqrt((0 + 1.5*1.5 + .6*.6 + .7*.7) / 4); math.Abs(rms-want) > 1e-9 || math.Abs(regret-.25) > 1e-9 {
		t.Errorf("regret %v, rms %v, want .25 and %v", regret, rms, want)
	}
	for _, want := range []string{"rho 0.400", "regret 25.0 %", "bias +0.350", "watch the player, 1 policies: rms 1.500 bias +1.500", "change every step, 1", "watch queues, 1 policies: rms 0.700 bias -0.700", "constants, 1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// The tables are made from files, one of another testbed, and a file of values on
// another scenario is refused.
func TestTables(t *testing.T) {
	truth, model := known()
	other := truth
	other.Scenario = "other"
	dir := t.TempDir()
	for name, v := range map[string]any{"truth": truth, "values": []Values{model}, "other": other, "wrong": []Values{other}} {
		if err := write(filepath.Join(dir, name), v); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := printTables(&out, filepath.Join(dir, "truth"), filepath.Join(dir, "other"), []string{filepath.Join(dir, "values")}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| policy | testbed | m | testbed of other |", "| fixed:32 | 1.00 ± 1.27 | 1.00 | 1.00 |",
		"| m | 0.400 (0.400 … 0.400) | 25.0 % | 0.880 | +0.35 | +0.00 | +1.50 | +0.60 | | -0.70 |", "| testbed of other | 1.000 (1.000 … 1.000) | 0.0 % | 0.000 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if err := printTables(&out, filepath.Join(dir, "truth"), "", []string{filepath.Join(dir, "wrong")}); err == nil || !strings.Contains(err.Error(), "the truth is of s") {
		t.Errorf("values of another scenario: %v", err)
	}
}

// A run that was stopped goes on, one that wants more episodes adds them, and
// either is what one run would have played: episode i is seed i's.
func TestValuesGoOn(t *testing.T) {
	dir := t.TempDir()
	play := func(file string, episodes int, policies ...string) Values {
		t.Helper()
		file = filepath.Join(dir, file)
		if err := valueTruth(t.Context(), Values{Scenario: "contended", Seed: 3, Episodes: episodes, Steps: 4}, policies, file); err != nil {
			t.Fatal(err)
		}
		v, err := read(file)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	whole := play("whole", 3, "fixed:32", "random")
	play("parts", 1, "fixed:32")
	parts := play("parts", 3, "fixed:32", "random")
	for i, p := range whole.Policies {
		q := parts.Policies[i]
		if p.Policy != q.Policy || len(p.PerSeed) != 3 || math.Abs(p.LBO-q.LBO) > 1e-9 {
			t.Errorf("%+v at once, %+v in parts", p, q)
			continue
		}
		for j := range p.PerSeed {
			if p.PerSeed[j] != q.PerSeed[j] {
				t.Errorf("%s, episode %d: %v at once, %v in parts", p.Policy, j, p.PerSeed[j], q.PerSeed[j])
			}
		}
	}
	if err := valueTruth(t.Context(), Values{Scenario: "contended", Seed: 4, Episodes: 3, Steps: 4}, nil, filepath.Join(dir, "parts")); err == nil || !strings.Contains(err.Error(), "seed 3") {
		t.Errorf("another seed into the same file: %v", err)
	}
}

func TestFamilies(t *testing.T) {
	all := families([]int32{16, 200})
	if all[0] != "fixed:16" || all[1] != "fixed:200" || len(all) != 32 {
		t.Errorf("families of two limits: %v", all)
	}
}

func TestAgents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "play.json")
	policy := func(name string, returns ...float64) map[string]any {
		return map[string]any{"policy": name, "returns": returns}
	}
	all := []any{policy("model-1/policy.safetensors", 8, 10), policy("model-2/policy.safetensors", 10, 8), policy("bed-1/policy.safetensors", 10, 10), policy("bed-2/policy.safetensors", 10, 10), policy("fixed:32", 4, 4), policy("fixed:64", 5, 6)}
	if err := write(file, map[string]any{"scenario": "site", "policies": all}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printAgents(&out, []string{file}, "model,bed"); err != nil {
		t.Fatal(err)
	}
	// either model's agent has 9 in the mean of 10; drawn episodes may be all 8 or all 10
	if want := "| `site`, 2 seeds each, 2 episodes | 9, 9 | 10, 10 | 6 (`fixed:64`) | 90.0 % (80.0 … 100.0) |"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
	for _, groups := range []string{"model", "model,nothing", "fixed:32,model"} {
		if err := printAgents(&out, []string{file}, groups); err == nil {
			t.Errorf("groups %q are compared", groups)
		}
	}
}

// The three scenarios of a comparison of agents have the testbed's environment, and
// observations on the model's scale.
func TestTask(t *testing.T) {
	dir := t.TempDir()
	for _, of := range []string{"contended", "site", "per-switch", filepath.Join("testdata", "campus.toml")} {
		want, err := scenarios.Load(of)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"model", "testbed", "judge"} {
			file := filepath.Join(dir, part+".toml")
			if err := writeTask(of, part, "m.safetensors", file); err != nil {
				t.Fatal(err)
			}
			got, err := scenarios.Load(file)
			if err != nil {
				t.Fatalf("%s of %s: %v", part, of, err)
			}
			env, plant, testbed := want.Env, "testbed", want.Testbed
			if part == "model" {
				plant, testbed = "synthetic", scenarios.Scenario{}.Testbed
			}
			if part == "judge" {
				env.MaxSteps = 450
			}
			if got.Plant != plant || got.Model != filepath.Join(dir, "m.safetensors") || !reflect.DeepEqual(got.Env, env) {
				t.Errorf("%s of %s: plant %s, model %s, env %+v, want %+v", part, of, got.Plant, got.Model, got.Env, env)
			}
			if !reflect.DeepEqual(got.Testbed, testbed) {
				t.Errorf("%s of %s: testbed %+v", part, of, got.Testbed)
			}
		}
	}
	for _, bad := range [][2]string{{"contended", "nothing"}, {"cartpole", "model"}, {"missing", "model"}} {
		if err := writeTask(bad[0], bad[1], "m.safetensors", filepath.Join(dir, "bad")); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}
