package inloop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	base "github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/inloop"
	"github.com/planegym/planegym/traffic/models"
)

// loaded is scenario crossing with short episodes and a load that needs no labels.
func loaded(t *testing.T) scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Load("crossing")
	if err != nil {
		t.Fatal(err)
	}
	s.Env.MaxSteps = 8
	s.Testbed.Phases = nil
	s.Testbed.Loads = s.Testbed.Loads[:1]
	l := &s.Testbed.Loads[0]
	l.Labels, l.Phase, l.Arrivals, l.MaxSteps, l.Speed = nil, "", "60", 220, 3
	return s
}

func sample(t *testing.T, n int, labels ...string) *traffic.Set {
	t.Helper()
	m, err := models.Open(models.BundledCounts)
	if err != nil {
		t.Fatal(err)
	}
	s, err := models.Pool(t.Context(), m, labels, n, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(n ...string) (all []base.Policy) {
	for _, n := range n {
		all = append(all, base.Policy{Name: n})
	}
	return all
}

// The held-out sessions stand in for themselves without a difference, as a set
// and of a model that yields them; sessions of ten times the bytes do not.
func TestCompare(t *testing.T) {
	train, held := sample(t, 600, "port443").Halves()
	large := &traffic.Set{Of: held.Of, Sessions: slices.Clone(held.Sessions)}
	size, w := held.Of.StepIndex("size"), len(held.Of.Steps)
	for i := range large.Sessions {
		x := &large.Sessions[i]
		x.Steps = slices.Clone(x.Steps)
		for k := size; k < len(x.Steps); k += w {
			x.Steps[k] *= 10
		}
	}
	var seen []string
	o := inloop.Options{Episodes: 2, Draws: 50, Policies: names("fixed:32", "fixed:64", "fixed:128"), Done: func(policy, load string) error {
		seen = append(seen, load)
		return nil
	}}
	r, err := inloop.Compare(t.Context(), loaded(t), train, held, []eval.Candidate{{Name: "itself", Set: held}, {Name: "large", Set: large}}, o)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, l := range r.Rows {
		rows = append(rows, l.Name)
	}
	if want := []string{"held", "real", "bootstrap", "markov", "witten-bell-3", "itself", "large"}; !slices.Equal(rows, want) {
		t.Fatalf("loads %v, want %v", rows, want)
	}
	if len(seen) != o.Work(2, 3) || seen[0] != "held" || seen[3] != "real" || seen[20] != "large" {
		t.Errorf("%d calls of Done: %v", len(seen), seen)
	}
	itself, big := r.StandIns[4], r.StandIns[5]
	if itself.Off.High != 0 || r.Rows[5].PacketsPerSecond != r.Rows[0].PacketsPerSecond {
		t.Errorf("held-out sessions in their own place are off by %v", itself.Off)
	}
	if big.Off.Value < .3 || r.Rows[6].PacketsPerSecond < 3*r.Rows[0].PacketsPerSecond {
		t.Errorf("ten times the bytes are off by %v, %.0f packets a second instead of %.0f", big.Off, r.Rows[6].PacketsPerSecond, r.Rows[0].PacketsPerSecond)
	}
	o.NoFloors, o.Done = true, nil
	again, err := inloop.Compare(t.Context(), loaded(t), train, held, []eval.Candidate{{Name: "large", Set: large}}, o)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(r.StandIns[5])
	if b, _ := json.Marshal(again.StandIns[1]); string(a) != string(b) {
		t.Errorf("a second run, without floors, differs:\n%s\n%s", a, b)
	}
}

func TestCompareErrors(t *testing.T) {
	set := sample(t, 20)
	noLoad, label := loaded(t), loaded(t)
	noLoad.Testbed.Loads = nil
	label.Testbed.Loads[0].Labels = []string{"nobody"}
	for want, s := range map[string]scenarios.Scenario{
		`crossing: it is no testbed with a [[testbed.load]] kind = "sessions"`: noLoad,
		`inloop: held: load[0]: labels: "nobody" is not one of`:                label,
	} {
		if _, err := inloop.Compare(t.Context(), s, set, nil, nil, inloop.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// How much are policies off under the load of a model's sessions, and under half
// of the real sessions in the place of the other half?
func ExampleCompare() {
	s, err := scenarios.Load("crossing")
	if err != nil {
		panic(err)
	}
	s.Env.MaxSteps, s.Testbed.WarmupS = 2, new(int) // short, for the example: leave them, and play 20 episodes
	m, err := models.Open(models.BundledCounts)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	real, err := models.Pool(ctx, m, []string{"port443"}, 100, 1) // in the place of captures
	if err != nil {
		panic(err)
	}
	r, err := inloop.Compare(ctx, s, real, nil, []eval.Candidate{{Name: "mine", Model: m}}, inloop.Options{
		Episodes: 2, NoFloors: true, Policies: []base.Policy{{Name: "fixed:32"}, {Name: "fixed:128"}},
	})
	if err != nil {
		panic(err)
	}
	for i, x := range r.StandIns {
		fmt.Printf("%s (%s): off by %.2f a step\n", x.Name, r.Rows[i+1].Kind, x.Off.Value)
	}
	// Output:
	// real (real): off by 0.38 a step
	// mine (candidate): off by 0.50 a step
}
