package eval_test

import (
	"context"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// record lets sessions run on a toy, a limit drawn for every block of steps.
func record(t *testing.T, plant *toy, sessions, steps, block int) *eval.Log {
	t.Helper()
	l := &eval.Log{Path: "toy", Gamma: .99, Fields: plant.Columns(), Switches: 1, Open: func(_ *agent.DDQN, p env.Plant, n int) (env.Vector, error) {
		c := cfg
		c.Observation, c.MaxSteps = queues.Observation{Normalise: "none"}, 10_000
		return queues.New(c, p, n, nil)
	}}
	var w telemetry.Window
	for i := range sessions {
		var s table.Session
		k := rng.Key{Seed: uint64(i), Purpose: rng.Action}
		limit := p4.Limit(64)
		for at := range steps + 1 {
			w.Size(1, 4, 6)
			if at == 0 {
				_ = plant.Reset(context.Background(), []int{0}, []uint64{uint64(i)}, []p4.Limit{limit}, &w)
			} else {
				if (at-1)%block == 0 {
					limit = cfg.Limits[k.Intn(uint32(at), 3)]
				}
				_ = plant.Advance(context.Background(), []int{0}, []p4.Limit{limit}, &w)
			}
			s.Values, s.Valid = append(s.Values, w.Values...), append(s.Valid, w.Valid...)
			for range 4 {
				s.Limits = append(s.Limits, limit)
			}
		}
		l.Sessions = append(l.Sessions, s)
	}
	return l
}

// Recordings rank policies as playing them does, although the policies never played;
// with the limits' labels shuffled they do not.
func TestRecordings(t *testing.T) {
	a := side(t, "a", 1, func() *toy { return &toy{} }, cfg)
	policies := policies("fixed:16", "fixed:32", "fixed:64", "random", "alternate", "occupancy:0.5")
	l := record(t, &toy{}, 8, 120, 6)
	l.Gamma, l.Shuffles = .5, 2
	r, err := eval.Run(t.Context(), a, a, policies, eval.Options{Episodes: 8, Draws: 100, Log: l})
	if err != nil {
		t.Fatal(err)
	}
	got := r.Recordings
	if got.Block != 6 || got.Sessions != 8 || got.Steps != 120 || len(got.Policies) != 5 {
		t.Fatalf("%+v", got)
	}
	near(t, "ρ of FQE", got.FQE, 1, .11) // random and occupancy are close
	near(t, "ρ of DR", got.DR, 1, .11)
	values := map[string]eval.Valued{}
	for _, p := range r.Policies {
		values[p.Policy] = p
	}
	for _, e := range got.Policies {
		want := float64(values[e.Policy].A.Reward.Mean)
		near(t, "FQE of "+e.Policy, e.FQE.Mean, want, .1)
		near(t, "DR of "+e.Policy, e.DR.Mean, want, .1)
	}
	best := got.Policies[2]
	if !(best.AdvantageFQE.Mean > best.AdvantageFQE.CI && best.AdvantageDR.Mean > best.AdvantageDR.CI) {
		t.Errorf("%s has no advantage: %+v", best.Policy, best)
	}
	near(t, "share of null intervals with 0, FQE", got.Null.FQE, .95, .2)
	near(t, "share of null intervals with 0, DR", got.Null.DR, .95, .2)
}

func TestRecordingErrors(t *testing.T) {
	a := side(t, "a", 1, func() *toy { return &toy{} }, cfg)
	for want, change := range map[string]func(l *eval.Log){
		"1 sessions give no interval":                               func(l *eval.Log) { l.Sessions = l.Sessions[:1] },
		"session 1, second 8: limit 7 is not one of the scenario's": func(l *eval.Log) { fill(l.Sessions[1].Limits[8:12], 7) },
		"session 0, second 4: limits [":                             func(l *eval.Log) { l.Sessions[0].Limits[5] = 7 },
		"session 1: 40 s are no 11 steps":                           func(l *eval.Log) { l.Sessions[1].Limits = l.Sessions[1].Limits[:40] },
		"no limit changes within a session":                         func(l *eval.Log) { fill(l.Sessions[0].Limits, 16); fill(l.Sessions[1].Limits, 32) },
	} {
		l := record(t, &toy{}, 2, 11, 5)
		change(l)
		if _, err := eval.Run(t.Context(), a, a, five, eval.Options{Episodes: 2, Draws: 10, Log: l}); err == nil || !strings.Contains(err.Error(), "compare: recordings: toy: "+want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func fill(l []p4.Limit, x p4.Limit) {
	for i := range l {
		l[i] = x
	}
}
