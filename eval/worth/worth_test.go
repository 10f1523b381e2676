package worth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval/worth"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

const light = `plant = "testbed"
[env]
limits = [32, 64]
max_steps = 4
[testbed]
warmup_s = 1
[[testbed.load]]
kind = "tcp"
object_kb = 20
think_s = 0.2
pattern = { n = 1 }
`

func scenario() scenarios.Scenario {
	s, err := scenarios.Parse([]byte(light))
	if err != nil {
		panic(err)
	}
	s.Name = "light"
	s.Env.Observation = queues.Observation{Normalise: "none"}
	return s
}

// What constants are worth, two of which the scenario allows.
func Example() {
	o := worth.Options{Policies: []string{"constants"}, Limits: []p4.Limit{32, 64, 128}, Seeds: 2, Seed: 1}
	all, err := worth.Contestants(scenario(), o)
	if err != nil {
		panic(err)
	}
	r, err := worth.Run(context.Background(), scenario(), all, o)
	if err != nil {
		panic(err)
	}
	for _, row := range r.Rows {
		fmt.Println(row.Policy, row.Allowed, len(row.PerSeed))
	}
	// Output:
	// constant 32 true 2
	// constant 64 true 2
	// constant 128 false 2
}

// Policies make the contestants that they name, in order.
func TestContestants(t *testing.T) {
	per := scenario()
	per.Env.PerSwitch = true
	o := worth.Options{Limits: []p4.Limit{16, 128}}
	for _, c := range []struct {
		s        scenarios.Scenario
		policies string
		want     string // names, or what the error holds
	}{
		{scenario(), "random,constants,wait:0.4,pi2", "random, constant 16, constant 128, wait:0.4, pi2 at 128"},
		{scenario(), "combinations", ""},
		{per, "combinations", "constant 32 32 32, constant 32 32 64, constant 32 64 32, constant 32 64 64, " +
			"constant 64 32 32, constant 64 32 64, constant 64 64 32, constant 64 64 64"},
		{scenario(), "wait", `!"wait": wait takes a share of a full queue, as in wait:0.42`},
		{scenario(), "random:1", `!"random:1": random takes nothing after it`},
		{scenario(), "wait:-1", `!"wait:-1": "-1"`},
		{scenario(), "occupancy:nan", `!"occupancy:nan": "nan"`},
		{scenario(), "best", `!unknown policy "best"`},
	} {
		o.Policies = strings.Split(c.policies, ",")
		all, err := worth.Contestants(c.s, o)
		if wrong, ok := strings.CutPrefix(c.want, "!"); ok {
			if err == nil || !strings.HasPrefix(err.Error(), wrong) {
				t.Errorf("%s: %v, want %s", c.policies, err, wrong)
			}
			continue
		}
		var names []string
		for _, x := range all {
			names = append(names, x.Name)
		}
		if got := strings.Join(names, ", "); err != nil || got != c.want {
			t.Errorf("%s: %s (%v), want %s", c.policies, got, err, c.want)
		}
	}
	o.Limits, o.Policies = nil, []string{"codel"}
	if _, err := worth.Contestants(scenario(), o); err == nil {
		t.Error("codel at the largest of no limits")
	}
}

// Gains are over the best constant that is allowed, which gains nothing over itself;
// a context that ends leaves what was played.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := worth.Options{Policies: []string{"constants", "random"}, Limits: []p4.Limit{32, 64}, Seeds: 3, Seed: 1}
	all, err := worth.Contestants(scenario(), o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := worth.Run(ctx, scenario(), all, o)
	if err != nil {
		t.Fatal(err)
	}
	best := r.Rows[0]
	if r.Rows[1].Reward.Mean > best.Reward.Mean {
		best = r.Rows[1]
	}
	if best.Gain != (worth.Interval{}) {
		t.Errorf("the best constant gains %+v over itself", best.Gain)
	}
	for _, row := range r.Rows {
		if d := row.Reward.Mean - best.Reward.Mean - row.Gain.Mean; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s gains %v; its reward is %v, the best's %v", row.Policy, row.Gain.Mean, row.Reward.Mean, best.Reward.Mean)
		}
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || !strings.HasPrefix(b.String(), "light, limits [32 64], 3 seeds\n") || strings.Count(b.String(), " *") != 1 {
		t.Errorf("%v\n%s", err, b.String())
	}
	o.Done = cancel
	r, err = worth.Run(ctx, scenario(), all, o)
	if err == nil || r == nil || len(r.Rows) != 1 || !strings.Contains(err.Error(), "stopped after 1 of 3") {
		t.Errorf("%+v %v", r, err)
	}
}
