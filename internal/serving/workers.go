package serving

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/scenarios"
)

// Workers are the URLs of environments that others step, by scenario. A worker speaks
// planegym.v1 itself (python/planegym/worker.py), so that a session's environment is
// a client. As a flag it is NAME=URL, repeated.
type Workers map[string]string

// String lists the names.
func (w Workers) String() string { return strings.Join(slices.Sorted(maps.Keys(w)), ", ") }

// Type is a flag's.
func (w Workers) Type() string { return "NAME=URL" }

// Set adds NAME=URL.
func (w Workers) Set(text string) error {
	name, at, ok := strings.Cut(text, "=")
	u, err := url.Parse(at)
	switch {
	case !ok || name == "" || err != nil || u.Scheme == "":
		return fmt.Errorf("%q: want NAME=unix:///path/of/socket", text)
	case u.Scheme != "unix" && u.Scheme != "ws" && u.Scheme != "wss":
		return fmt.Errorf("%q: scheme %s: want unix, ws or wss", text, u.Scheme)
	}
	if _, twice := w[name]; twice {
		return fmt.Errorf("%s is given twice", name)
	}
	w[name] = at
	return nil
}

// Pages are what the dashboard shows of them; an error names one that scenarios of
// planegym's own have the name of.
func (w Workers) Pages(served map[string]scenarios.Scenario) (out []ws.Scenario, err error) {
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if _, bundled := served[name]; bundled {
			return nil, fmt.Errorf("%s is the name of a scenario that comes with planegym", name)
		}
		out = append(out, ws.Scenario{Name: name, Description: "An environment of a worker, at " + w[name] + "."})
	}
	return out, nil
}

// Wrap has environments of workers made there, the others by open.
func (w Workers) Wrap(open func(context.Context, ws.MakeRequest) (env.Vector, error)) func(context.Context, ws.MakeRequest) (env.Vector, error) {
	if len(w) == 0 {
		return open
	}
	return func(ctx context.Context, m ws.MakeRequest) (env.Vector, error) {
		at, ok := w[m.Scenario]
		if !ok {
			v, err := open(ctx, m)
			if errors.Is(err, ws.ErrUnknownScenario) {
				err = fmt.Errorf("%w, and of workers %v", err, w)
			}
			return v, err
		}
		var kwargs any
		if len(m.Kwargs) > 0 {
			kwargs = m.Kwargs
		}
		// The session that this is for resumes; the worker's own connection does not.
		c, err := ws.Dial(ctx, at, ws.DialOptions{
			Scenario: m.Scenario, NumEnvs: m.NumEnvs, Autoreset: env.Disabled, Model: m.Model, Kwargs: kwargs, Info: true, Resume: -1,
		})
		if err != nil {
			return nil, fmt.Errorf("worker of %s: %w", m.Scenario, err)
		}
		return env.WithAutoreset(c, m.Autoreset), nil
	}
}
