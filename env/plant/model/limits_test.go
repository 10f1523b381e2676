package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// noted is a model of two switches that notes the limits it is stepped under; it knows one
// limit for each or one for all.
type noted struct {
	*walk
	each   int
	limits []int32
	fail   error
}

func (n *noted) Switches() int { return n.each }
func (n *noted) Columns() []telemetry.Field {
	return append([]telemetry.Field{{Name: "enq_qdepth2"}}, oneSwitch...)
}
func (n *noted) Reset([]int, []uint64) error { return n.fail }
func (n *noted) Step(_ context.Context, _ []int, limit []int32, out *telemetry.Window) error {
	n.limits = slices.Clone(limit)
	return n.fail
}
func (n *noted) Ladder() telemetry.Ladder {
	return telemetry.NewLadder(telemetry.Quality{Kbps: 500}, telemetry.Quality{Kbps: 900})
}

// A model gets a limit for each switch where it knows one, else the one of all of them: limits
// that differ are refused then, as are limits outside those that it was trained under.
func TestLimitsOfAModel(t *testing.T) {
	for _, k := range []struct {
		each int
		give []p4.Limit
		want string
	}{
		{2, []p4.Limit{32, 64, 48, 40}, "[32 64 48 40]"}, {1, []p4.Limit{32, 32, 64, 64}, "[32 64]"}, {1, []p4.Limit{32, 32, 64, 63}, "row 1: env: synthetic: limits [64 63]"},
		{3, []p4.Limit{50, 50, 64, 64}, "[50 64]"}, // of other switches than the columns measure: one for all
		{2, []p4.Limit{32, 64, 31, 40}, "row 1: env: synthetic: limit 31"}, {2, []p4.Limit{32, 65, 40, 40}, "row 0: env: synthetic: limit 65"},
	} {
		n := &noted{walk: newWalk(3), each: k.each}
		p := model.New(n)
		var w telemetry.Window
		w.Size(2, 1, len(p.Columns()))
		w.End[0], w.Reason[1] = telemetry.Truncated, "of before"
		for what, do := range map[string]func() error{
			"advance": func() error { return p.Advance(context.Background(), []int{0, 1}, k.give, &w) },
			"reset":   func() error { return p.Reset(context.Background(), []int{0, 1}, []uint64{1, 2}, k.give, &w) },
		} {
			n.limits = nil
			err := do()
			got := fmt.Sprint(n.limits)
			if err != nil {
				if got = strings.ReplaceAll(err.Error(), "\n", ""); n.limits != nil {
					t.Errorf("%s: limits that are refused were put in force", what)
				}
			} else if w.End[0] != telemetry.Going || w.Reason[1] != "" {
				t.Errorf("%s: ends %v", what, w.End)
			}
			if !strings.HasPrefix(got, k.want) {
				t.Errorf("%s: %v of a model of %d limits: %s, want %s", what, k.give, k.each, got, k.want)
			}
		}
	}
}

// What fails in the model is said, and which rows it has; its ladder is the player's.
func TestModelFails(t *testing.T) {
	gone := errors.New("the device is gone")
	n := &noted{walk: newWalk(2), each: 2, fail: gone}
	p := model.New(n)
	var w telemetry.Window
	w.Size(1, 1, len(p.Columns()))
	limit := []p4.Limit{32, 64}
	for what, err := range map[string]error{
		"reset":   p.Reset(context.Background(), []int{0}, []uint64{1}, limit, &w),
		"advance": p.Advance(context.Background(), []int{0}, limit, &w),
	} {
		if !errors.Is(err, gone) || !strings.HasPrefix(err.Error(), "env: synthetic: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	n.fail = nil
	for row, ok := range map[int]bool{0: true, 1: true, 2: false} {
		if err := p.Advance(context.Background(), []int{row}, limit, &w); (err == nil) != ok || err != nil && !errors.Is(err, env.ErrInvalidRows) {
			t.Errorf("row %d: %v", row, err)
		}
	}
	if p.Switches() != 2 || p.Ladder().Rungs() != 2 || model.New(newWalk(1)).Ladder() != nil {
		t.Errorf("%d switches, ladder %v", p.Switches(), p.Ladder())
	}
	s, err := p.Snapshot(1, nil)
	if err != nil || p.Restore(0, s) != nil {
		t.Errorf("%v", err)
	}
	var row *env.RowError
	if err := p.Restore(1, s[1:]); !errors.As(err, &row) || row.Row != 1 || !errors.Is(err, env.ErrBadSnapshot) {
		t.Errorf("a state that is cut: %v", err)
	}
}
