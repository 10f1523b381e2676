package scenarios

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/planegym/planegym/env/plant/testbed"
)

// foreignSessions reports the first load whose sessions a client may not name:
// files of the server's that the served scenario does not play.
func (s *Scenario) foreignSessions(served *Scenario) error {
	for i := range s.Testbed.Loads {
		l := &s.Testbed.Loads[i]
		if l.Kind != "sessions" || l.File == "" && slices.Contains(bundledTraffic, l.Model) {
			continue
		}
		k := slices.IndexFunc(served.Testbed.Loads, func(o testbed.Load) bool {
			return o.Kind == "sessions" && o.File == l.File && o.Model == l.Model
		})
		if k < 0 {
			return fmt.Errorf("scenarios: overrides: testbed.load[%d]: a client may play sessions of %q and of what the scenario names, not of %q", i, bundledTraffic, l.Model+l.File)
		}
		if o := &served.Testbed.Loads[k]; o.Pool != l.Pool || !slices.Equal(o.Labels, l.Labels) {
			l.Sessions = nil // to be read with these labels
		}
	}
	return nil
}

// bundledTraffic names the models of traffic that come with planegym.
var bundledTraffic = []string{"bundled", "bundled-pool", "bundled-ngram"}

// arrivals are the sessions a second of s's loads.
func arrivals(c testbed.Config) (sum float64) {
	for _, l := range c.Loads {
		if x, err := strconv.ParseFloat(string(l.Arrivals), 64); err == nil && l.Kind == "sessions" {
			sum += x
		}
	}
	return sum
}
