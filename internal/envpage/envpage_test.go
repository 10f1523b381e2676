package envpage_test

import (
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/envpage"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

func specOf(elements ...string) env.Spec {
	s := env.Spec{
		Action: env.MultiDiscrete{2}, Limits: queues.DefaultLimits(), Initial: queues.DefaultLimits()[:1],
		Reward: [2]float64{-2, 2}, StepSeconds: 4, MaxSteps: 900,
	}
	for _, e := range elements {
		s.Observation.Elements = append(s.Observation.Elements, telemetry.Field{Name: e})
		s.Observation.Low = append(s.Observation.Low, float32(math.Inf(-1)))
		s.Observation.High = append(s.Observation.High, 1)
	}
	return s
}

func lines(t *testing.T, page envpage.Page, want ...string) {
	t.Helper()
	got := page.Markdown()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
}

func TestPage(t *testing.T) {
	lines(t, envpage.Page{
		Scenario: scenarios.Scenario{Name: "mine", Description: "Mine", Plant: "testbed"},
		Spec:     specOf("enq_qdepth12_p95", "lbo_s", "enq_qdepth2_valid[3]"),
	},
		"# mine\n\nMine.\n",
		"| 0 | `enq_qdepth12_p95` | 95th percentile of the step: queue depth when a packet was queued, packets, switch 12 | −∞ … 1 |",
		"| 1 | `lbo_s` | seconds of video in the player's buffer |",
		"| 2 | `enq_qdepth2_valid[3]` | 1 if measured, else 0: queue depth when a packet was queued, packets, switch 2, second 3 of the step |",
		"| 1 | 64 | 25.6 ms | 10.7 ms | 10.7 ms |", // 64 packets at the default line's 2,500 and 6,000 a second
		"| `max_episode_steps` | 900, 60 min of video |",
		"| else, the buffer fell or playback stalled | −2 |",
	)
}

func TestPageShowsCurvesAndTwins(t *testing.T) {
	page := envpage.Page{Scenario: scenarios.Scenario{Name: "mine"}, Spec: specOf(), Returns: scenarios.Returns{
		Policies: []scenarios.Return{{Policy: "fixed:64", Mean: 9, CI: 1}, {Policy: "fixed:32", Mean: 4, CI: 2}, {Policy: "threshold", Mean: 4, CI: 2}},
		Curves: []scenarios.Curve{{Algorithm: "PPO", Settings: "gamma=0.99", Command: "make ppo", Seeds: 3,
			Points: []scenarios.Point{{Transitions: 0, Mean: 1.2, CI: 0.6}, {Transitions: 64, Mean: 7}}}}}}
	lines(t, page, "`threshold` is `fixed:32` here", "![Return over transitions of each algorithm, beside the best constant limit](mine.svg)",
		"**PPO**, 3 trainings by `make ppo`, with `gamma=0.99`\n\n| transitions | 0 | 64 |\n|---|---|---|\n| return | 1 ± 1 | 7 |\n")
	if got := page.Markdown(); strings.Contains(got, "`threshold` is `fixed:64`") || strings.Count(got, " is `fixed") != 1 {
		t.Errorf("not the twin alone:\n%s", got)
	}
	page.Returns.Policies[0] = scenarios.Return{Policy: "fixed:64", Mean: 4, CI: 2}
	if got := page.Markdown(); strings.Contains(got, " is `fixed") {
		t.Errorf("a rule that returns what every constant does:\n%s", got)
	}
}

func TestPageSaysWhereNoActionMatters(t *testing.T) {
	const says = "No action matters here"
	page := envpage.Page{Spec: specOf(), Returns: scenarios.Returns{Policies: []scenarios.Return{
		{Policy: "a", Mean: 100, CI: 10}, {Policy: "b", Mean: 85, CI: 6}}}}
	lines(t, page, says)
	for name, other := range map[string]scenarios.Return{
		"intervals apart":    {Policy: "b", Mean: 85, CI: 4},
		"interval not known": {Policy: "b", Mean: 100},
	} {
		page.Returns.Policies[1] = other
		if strings.Contains(page.Markdown(), says) {
			t.Errorf("%s: the page says that no action matters", name)
		}
	}
}
