package closedloop

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// nats is a model's mean over heads and seconds of recordings.
func natsOf(t *testing.T, m *Model, all []telemetry.Recording) float64 {
	t.Helper()
	_, nats, err := m.Likelihood(backend(t), all)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.
	for _, n := range nats {
		sum += n
	}
	return sum
}

// A model that begins with another's weights and hardly trains knows as much as
// that one, with as many regimes of load, with fewer, with more and with one: its
// regimes begin as those of the other that they are. One that begins with its own
// knows nothing.
func TestFrom(t *testing.T) {
	many, few := toys(6, 1500, 20, false), []telemetry.Recording{toy(77, 1500, 20, false)}
	still := small
	still.Updates, still.Rate, still.Regimes = 1, 1e-9, 2
	fresh := natsOf(t, fit(t, still, few, FitOptions{}), few)
	for _, x := range []struct{ lends, has int }{{2, 2}, {3, 2}, {2, 3}, {2, 1}, {1, 2}} {
		c := small
		c.Regimes = x.lends
		from := fit(t, c, many, FitOptions{})
		known := natsOf(t, from, few)
		still.Regimes = x.has
		m := fit(t, still, few, FitOptions{From: from})
		got := natsOf(t, m, few)
		t.Logf("%d regimes of %d: %.3f nats, the other model %.3f, a new one %.3f", x.has, x.lends, got, known, fresh)
		if m.Regimes() != x.has {
			t.Errorf("%d regimes, want %d", m.Regimes(), x.has)
		}
		if lost := (got - known) / (fresh - known); x.has == x.lends && math.Abs(lost) > .02 || lost > .35 {
			t.Errorf("%d regimes of %d: of what the other model knows %.0f %% is lost: %.3f nats, %.3f, %.3f", x.has, x.lends, 100*lost, got, known, fresh)
		}
	}
}

// What does not fit is refused, and so is a run that goes on without the model
// that it began with.
func TestFromRefuses(t *testing.T) {
	c := small
	c.Updates, c.Regimes = 2, 2
	from := fit(t, c, toys(2, 600, 20, false), FitOptions{})
	few := []telemetry.Recording{toy(7, 600, 20, false)}
	other := toy(7, 600, 20, false)
	for i := range other.Limits {
		other.Limits[i] *= 2
	}
	wide, clock := c, c
	wide.Hidden, clock.Clock = 12, 600
	for _, x := range []struct {
		c    Config
		all  []telemetry.Recording
		want string
	}{
		{wide, few, "hidden: it has 24 units, not 12"},
		{clock, few, "clock"},
		{c, []telemetry.Recording{other}, "the recordings have limit 64, and it knows [32 128]"},
	} {
		if _, err := Fit(t.Context(), x.c, backend(t), x.all, FitOptions{From: from}); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
	half, err := Fit(t.Context(), c, backend(t), few, FitOptions{From: from, Every: 1, Checkpoint: func(*Model) error { return timegan.ErrStop }})
	if err != nil || half.Done() {
		t.Fatal(half, err)
	}
	if _, err := Fit(t.Context(), c, backend(t), few, FitOptions{From: half}); err == nil || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("a model whose training has not ended lends its weights: %v", err)
	}
	if _, err := Fit(t.Context(), c, backend(t), few, FitOptions{Resume: half}); !errors.Is(err, timegan.ErrResume) {
		t.Errorf("resumed without the model begun with: %v", err)
	}
	if _, err := Fit(t.Context(), c, backend(t), few, FitOptions{From: from, Resume: half}); err != nil {
		t.Errorf("resumed with it: %v", err)
	}
}
