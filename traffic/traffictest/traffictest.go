// Package traffictest tests the contract of traffic.Model, on any implementation.
//
//	traffictest.Check(t, func(t *testing.T) traffic.Model { … })
package traffictest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/planegym/planegym/traffic"
)

// TB is what the clauses need of a *testing.T, so that a test can watch them
// fail.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Check holds what open makes to the contract. open may be called several
// times and gives equal models.
func Check(t *testing.T, open func(t *testing.T) traffic.Model) {
	t.Helper()
	for _, c := range Clauses {
		t.Run(c.Name, func(t *testing.T) { c.Check(t, open(t)) })
	}
}

// Clause is one rule of the contract.
type Clause struct {
	Name  string
	Check func(t TB, m traffic.Model)
}

// Clauses is the contract.
var Clauses = []Clause{
	{"schema", checkSchema},
	{"valid", checkValid},
	{"repeat", checkRepeat},
	{"count", checkCount},
	{"seed", checkSeed},
	{"threads", checkThreads},
	{"labels", checkLabels},
	{"max steps", checkMaxSteps},
	{"prefix", checkPrefix},
	{"impossible", checkImpossible},
	{"cancel", checkCancel},
	{"break", checkBreak},
}

const sessions = 24

func sample(m traffic.Model, r traffic.Request) ([]traffic.Session, error) {
	s, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), r))
	if err != nil {
		return nil, err
	}
	return s.Sessions, nil
}

func must(t TB, m traffic.Model, r traffic.Request) []traffic.Session {
	t.Helper()
	s, err := sample(m, r)
	if err != nil {
		t.Fatalf("sample: %v", err)
	}
	if len(s) != r.N {
		t.Fatalf("asked for %d sessions, got %d", r.N, len(s))
	}
	return s
}

// same is an error where two sessions differ in one bit.
func same(a, b traffic.Session) error {
	bits := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }
	switch {
	case a.Label != b.Label:
		return fmt.Errorf("label %d, not %d", b.Label, a.Label)
	case !bits(a.Start, b.Start):
		return fmt.Errorf("start %v, not %v", b.Start, a.Start)
	case !slices.EqualFunc(a.Meta, b.Meta, bits):
		return fmt.Errorf("meta %v, not %v", b.Meta, a.Meta)
	case !slices.EqualFunc(a.Steps, b.Steps, bits):
		return fmt.Errorf("steps differ: %d and %d values", len(a.Steps), len(b.Steps))
	}
	return nil
}

func equal(t TB, what string, a, b []traffic.Session) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%s: %d sessions, not %d", what, len(b), len(a))
	}
	for i := range a {
		if err := same(a[i], b[i]); err != nil {
			t.Fatalf("%s: session %d: %v", what, i, err)
		}
	}
}

func checkSchema(t TB, m traffic.Model) {
	if err := m.Schema().Check(); err != nil {
		t.Errorf("%v", err)
	}
}

func checkValid(t TB, m traffic.Model) {
	var last float64
	for i, s := range must(t, m, traffic.Request{N: 4 * sessions, Seed: 1}) {
		if err := m.Schema().Valid(&s); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		if m.Schema().Len(&s) == 0 {
			t.Fatalf("session %d has no step", i)
		}
		if s.Start < last {
			t.Fatalf("session %d starts at %v s, the one before at %v s", i, s.Start, last)
		}
		last = s.Start
	}
}

func checkRepeat(t TB, m traffic.Model) {
	r := traffic.Request{N: sessions, Seed: 2}
	equal(t, "the same request again", must(t, m, r), must(t, m, r))
}

// checkCount: session i is the same however many are asked for.
func checkCount(t TB, m traffic.Model) {
	all := must(t, m, traffic.Request{N: sessions, Seed: 3})
	for _, n := range []int{0, 1, 7} {
		equal(t, fmt.Sprintf("%d of %d sessions", n, sessions), all[:n], must(t, m, traffic.Request{N: n, Seed: 3}))
	}
}

func checkSeed(t TB, m traffic.Model) {
	a, b := must(t, m, traffic.Request{N: sessions, Seed: 4}), must(t, m, traffic.Request{N: sessions, Seed: 5})
	for i := range a {
		if same(a[i], b[i]) != nil {
			return
		}
	}
	t.Errorf("%d sessions of two seeds are equal", sessions)
}

func checkThreads(t TB, m traffic.Model) {
	r := traffic.Request{N: sessions, Seed: 6}
	want := must(t, m, r)
	got, errs := make([][]traffic.Session, 4), make([]error, 4)
	var wait sync.WaitGroup
	for k := range got {
		wait.Go(func() { got[k], errs[k] = sample(m, r) })
	}
	wait.Wait()
	for k := range got {
		if errs[k] != nil {
			t.Fatalf("sample: %v", errs[k])
		}
		equal(t, "beside others", want, got[k])
	}
}

func checkLabels(t TB, m traffic.Model) {
	n := len(m.Schema().Labels)
	if n == 0 {
		t.Skipf("the model has no labels")
	}
	want := []int{n - 1, 0, n / 2}
	for i, s := range must(t, m, traffic.Request{N: sessions, Labels: want, Seed: 7}) {
		if s.Label != want[i%3] {
			t.Fatalf("session %d: label %d, asked for %d", i, s.Label, want[i%3])
		}
	}
}

func checkMaxSteps(t TB, m traffic.Model) {
	for i, s := range must(t, m, traffic.Request{N: sessions, MaxSteps: 2, Seed: 8}) {
		if n := m.Schema().Len(&s); n > 2 {
			t.Fatalf("session %d: %d steps, at most 2 asked for", i, n)
		}
	}
}

func checkPrefix(t TB, m traffic.Model) {
	p := must(t, m, traffic.Request{N: 1, MaxSteps: 2, Seed: 9})[0]
	got, err := sample(m, traffic.Request{N: sessions, Prefix: &p, Seed: 10})
	if errors.Is(err, errors.ErrUnsupported) && errors.Is(err, traffic.ErrRequest) {
		t.Skipf("the model takes no prefix")
	}
	if err != nil {
		t.Fatalf("prefix: %v", err)
	}
	for i, s := range got {
		if len(s.Steps) < len(p.Steps) || !slices.Equal(s.Steps[:len(p.Steps)], p.Steps) {
			t.Fatalf("session %d does not begin with the prefix", i)
		}
		if s.Label != p.Label || !slices.Equal(s.Meta, p.Meta) {
			t.Fatalf("session %d: label %d and meta %v, the prefix has %d and %v", i, s.Label, s.Meta, p.Label, p.Meta)
		}
	}
}

func checkImpossible(t TB, m traffic.Model) {
	for _, r := range []traffic.Request{
		{N: -1}, {N: 1, MaxSteps: -1}, {N: 1, Labels: []int{len(m.Schema().Labels)}}, {N: 1, Labels: []int{-2}},
		{N: 1, Prefix: &traffic.Session{Label: -1, Meta: make([]float64, len(m.Schema().Meta)+1)}},
	} {
		n := 0
		var last error
		for _, err := range m.Sample(context.Background(), r) {
			n++
			last = err
		}
		if n != 1 || !errors.Is(last, traffic.ErrRequest) {
			t.Errorf("request %+v: %d results, the last error %v; expected one that wraps ErrRequest", r, n, last)
		}
	}
}

func checkCancel(t TB, m traffic.Model) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	var last error
	for _, err := range m.Sample(ctx, traffic.Request{N: 1 << 30, Seed: 11}) {
		if last = err; n == 1 {
			cancel()
		}
		if n++; n > 1<<16 {
			break
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after cancel: %d results, the last error is %v", n, last)
	}
}

// checkBreak: leaving the loop early leaves nothing behind that hurts.
func checkBreak(t TB, m traffic.Model) {
	r := traffic.Request{N: sessions, Seed: 12}
	want := must(t, m, r)
	for range m.Sample(context.Background(), r) {
		break
	}
	equal(t, "after a broken loop", want, must(t, m, r))
}
