// Package loads opens the sessions of a testbed's background loads, from a file or a
// traffic model.
package loads

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/bundled"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/models"
	"github.com/planegym/planegym/traffic/store"
)

// Attach reads what c's loads of sessions play, where that is not done yet: a
// file, or a pool drawn of a model. Equal loads share it. c's loads are
// replaced, not written to. An error names the key.
func Attach(ctx context.Context, c *testbed.Config) error {
	if !slices.ContainsFunc(c.Loads, func(l testbed.Load) bool { return l.Kind == "sessions" && l.Sessions == nil }) {
		return nil
	}
	c.Loads = slices.Clone(c.Loads)
	for i := range c.Loads {
		l := &c.Loads[i]
		if l.Kind != "sessions" || l.Sessions != nil {
			continue
		}
		key := fmt.Sprintf("testbed: load[%d]", i)
		k := slices.IndexFunc(c.Loads[:i], func(o testbed.Load) bool { return o.Kind == "sessions" && same(&o, l) })
		if k >= 0 {
			l.Sessions = c.Loads[k].Sessions
			continue
		}
		set, err := read(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		l.Sessions = func() *traffic.Set { return set }
	}
	return c.Check() // with what was read
}

// same reports whether two loads draw from the same sessions.
func same(a, b *testbed.Load) bool {
	return a.Model == b.Model && a.File == b.File && a.Pool == b.Pool && slices.Equal(a.Labels, b.Labels)
}

func read(ctx context.Context, l *testbed.Load) (*traffic.Set, error) {
	if l.File == "" && l.Model == models.BundledPool {
		if l.Pool != 0 {
			return nil, fmt.Errorf("pool: %s is a pool already, of all its sessions with the load's labels: leave pool out", l.Model)
		}
		set, err := bundled.Pool()
		if err != nil {
			return nil, err
		}
		return Labelled(set, l.Labels)
	}
	if l.File == "" {
		m, err := models.Open(l.Model)
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
		return Draw(ctx, m, l, 0)
	}
	set, err := store.ReadFile(l.File)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	return Labelled(set, l.Labels)
}

// Draw is the pool of sessions that l draws from where its model is m. Series and
// flow records are packets by compile.Actions.
func Draw(ctx context.Context, m traffic.Model, l *testbed.Load, seed uint64) (*traffic.Set, error) {
	set, err := models.Pool(ctx, m, l.Labels, cmp.Or(l.Pool, 2048), seed)
	if err != nil {
		return nil, err
	}
	return compile.ActionSet(set)
}

// Labelled is the sessions of a set with labels by name; nil: all. Series and
// flow records are packets by compile.Actions.
func Labelled(set *traffic.Set, labels []string) (*traffic.Set, error) {
	set, err := compile.ActionSet(set)
	if err != nil || labels == nil {
		return set, err
	}
	some := &traffic.Set{Of: set.Of}
	for _, name := range labels {
		if !slices.Contains(set.Of.Labels, name) {
			return nil, fmt.Errorf("labels: %q is not one of %q", name, set.Of.Labels)
		}
	}
	for _, x := range set.Sessions {
		if slices.Contains(labels, set.Of.LabelName(x.Label)) {
			some.Sessions = append(some.Sessions, x)
		}
	}
	return some, nil
}
