package ws

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
)

// TestScenarioMetrics: steps, episodes and rows are counted by scenario, and the
// build is reported; names beyond a bound share a label.
func TestScenarioMetrics(t *testing.T) {
	s, url := serve(t, Options{Open: openAny})
	metrics := func() string {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/metrics", nil))
		return w.Body.String()
	}
	want := func(lines ...string) {
		t.Helper()
		text := metrics()
		for _, l := range lines {
			if !strings.Contains(text, "\n"+l) {
				t.Errorf("no line %q", l)
			}
		}
	}
	queues, cart := dial(t, url, DialOptions{Scenario: "queues", NumEnvs: 2}), dial(t, url, DialOptions{})
	var b env.Batch
	for _, c := range []*Client{queues, cart} {
		if err := c.Reset(background, nil, nil, &b); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // the fifth is the reset of episodes of four steps
		if err := queues.Step(background, nil, []int32{0, 1}, &b); err != nil {
			t.Fatal(err)
		}
	}
	if err := cart.Step(background, nil, []int32{1}, &b); err != nil {
		t.Fatal(err)
	}
	want(`planegym_scenario_steps_total{scenario="queues"} 10`, `planegym_scenario_steps_total{scenario="cartpole"} 1`, `planegym_scenario_episodes_total{scenario="queues"} 2`,
		`planegym_scenario_environments{scenario="queues"} 2`, `planegym_scenario_environments{scenario="cartpole"} 1`, `planegym_build_info{go="go1`)
	extra := dial(t, url, DialOptions{Scenario: "queues"})
	want(`planegym_scenario_environments{scenario="queues"} 3`)
	if err := extra.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(metrics(), `planegym_scenario_environments{scenario="queues"} 2`) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	want(`planegym_scenario_environments{scenario="queues"} 2`)
	var names byScenario
	for i := range 2 * maxScenarios {
		names.of(fmt.Sprint(i)).steps.Add(1)
	}
	if n := names.all["other"].steps.Load(); len(names.all) != maxScenarios+1 || n != maxScenarios {
		t.Errorf("%d names, %d steps of others", len(names.all), n)
	}
}
