package scenarios

import (
	"context"
	"fmt"
	"slices"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/models"
	"github.com/planegym/planegym/traffic/store"
)

// attach reads what the testbed's loads of sessions play: a file, or a pool
// drawn of a model. Equal loads of one scenario share it.
func (s *Scenario) attach(ctx context.Context) error {
	for i := range s.Testbed.Loads {
		l := &s.Testbed.Loads[i]
		if l.Kind != "sessions" || l.Sessions != nil {
			continue
		}
		key := fmt.Sprintf("scenarios: testbed.load[%d]", i)
		k := slices.IndexFunc(s.Testbed.Loads[:i], func(o testbed.Load) bool { return o.Kind == "sessions" && sameSessions(&o, l) })
		if k >= 0 {
			l.Sessions = s.Testbed.Loads[k].Sessions
			continue
		}
		set, err := readSessions(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		l.Sessions = func() *traffic.Set { return set }
	}
	return nil
}

// sameSessions tells whether two loads draw from the same sessions.
func sameSessions(a, b *testbed.Load) bool {
	return a.Model == b.Model && a.File == b.File && a.Pool == b.Pool && slices.Equal(a.Labels, b.Labels)
}

func readSessions(ctx context.Context, l *testbed.Load) (*traffic.Set, error) {
	pool := l.Pool
	if pool == 0 {
		pool = 2048
	}
	if l.File == "" {
		m, err := models.Open(l.Model)
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
		return models.Pool(ctx, m, l.Labels, pool)
	}
	set, err := store.ReadFile(l.File)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	if l.Labels == nil {
		return set, nil
	}
	some := &traffic.Set{Of: set.Of}
	for _, name := range l.Labels {
		if !slices.Contains(set.Of.Labels, name) {
			return nil, fmt.Errorf("labels: %q is none of %q", name, set.Of.Labels)
		}
	}
	for _, x := range set.Sessions {
		if slices.Contains(l.Labels, set.Of.LabelName(x.Label)) {
			some.Sessions = append(some.Sessions, x)
		}
	}
	return some, nil
}

// foreignSessions reports the first load whose sessions a client may not name:
// files of the server's that the served scenario does not play.
func (s *Scenario) foreignSessions(served *Scenario) error {
	for i := range s.Testbed.Loads {
		l := &s.Testbed.Loads[i]
		if l.Kind != "sessions" || l.File == "" && l.Model == models.Bundled {
			continue
		}
		k := slices.IndexFunc(served.Testbed.Loads, func(o testbed.Load) bool {
			return o.Kind == "sessions" && o.File == l.File && o.Model == l.Model
		})
		if k < 0 {
			return fmt.Errorf("scenarios: overrides: testbed.load[%d]: a client may play sessions of the model \"bundled\" and of what the scenario names, not of %q", i, l.Model+l.File)
		}
		if o := &served.Testbed.Loads[k]; sameSessions(o, l) {
			l.Sessions = o.Sessions
		} else {
			l.Sessions = nil
		}
	}
	return nil
}
