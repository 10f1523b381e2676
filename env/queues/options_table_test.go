package queues_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// loaded is a tape whose load can be shared.
type loaded struct {
	*tape
	under []string
}

func (l *loaded) Phases() []string { return []string{"busy", "quiet"} }
func (l *loaded) ResetUnder(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, load float64, phase string, out *telemetry.Window) error {
	l.under = append(l.under, fmt.Sprint(load, phase))
	return l.tape.Reset(ctx, rows, seeds, limit, out)
}

// What a reset is asked for reaches the plant, for that episode alone.
func TestResetOptionsByHand(t *testing.T) {
	ctx := context.Background()
	two := []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2", "lbo_s", "fps", "rep_kbps"}
	half, none := .5, 0.
	seed := func(s uint64, episode uint32) uint64 {
		return rng.Key{Seed: s, A: episode, Purpose: rng.Episode}.Uint64(0)
	}
	p := &loaded{tape: &tape{switches: 2, columns: two, windows: [][][]float32{{make([]float32, 9)}}}}
	v, err := queues.New(queues.Config{StepSeconds: 1, PerSwitch: true, Autoreset: env.Disabled, Observation: queues.Observation{Normalise: "none"}}, p, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := env.OptionsOf(v); !s.Load || !s.TrafficSeed || !slices.Equal(s.Initial, []p4.Limit{32, 64}) || len(s.Phases) != 2 {
		t.Errorf("%+v", s)
	}
	var b env.Batch
	for _, c := range []struct {
		rows   []int
		seeds  []uint64
		o      env.Options
		limits []p4.Limit
		seeded []uint64
		under  []string
	}{
		{nil, []uint64{5, 6}, env.Options{}, []p4.Limit{64, 64, 64, 64}, []uint64{seed(5, 0), seed(6, 0)}, nil},
		{[]int{1}, nil, env.Options{Initial: []p4.Limit{32}}, []p4.Limit{32, 32}, []uint64{seed(6, 1)}, nil},
		{nil, nil, env.Options{Initial: []p4.Limit{32, 64}}, []p4.Limit{32, 64, 32, 64}, []uint64{seed(5, 1), seed(6, 2)}, nil},
		{nil, nil, env.Options{TrafficSeed: []uint64{9}}, []p4.Limit{64, 64, 64, 64}, []uint64{seed(9, 0), seed(9, 0)}, nil},
		{nil, nil, env.Options{TrafficSeed: []uint64{9, 8}, Phase: "quiet"}, []p4.Limit{64, 64, 64, 64}, []uint64{seed(9, 0), seed(8, 0)}, []string{"1quiet"}},
		{[]int{0}, nil, env.Options{Load: &half}, []p4.Limit{64, 64}, []uint64{seed(5, 4)}, []string{"0.5"}},
		{[]int{0}, nil, env.Options{Load: &none, Phase: "busy"}, []p4.Limit{64, 64}, []uint64{seed(5, 5)}, []string{"0busy"}},
		{[]int{0}, nil, env.Options{}, []p4.Limit{64, 64}, []uint64{seed(5, 6)}, nil},
	} {
		p.seeds, p.under = nil, nil
		if err := env.ResetWith(ctx, v, c.rows, c.seeds, c.o, &b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.limits, c.limits) || !slices.Equal(p.seeds, c.seeded) || !slices.Equal(p.under, c.under) {
			t.Errorf("%+v: limits %v, seeds %v, under %v; want %v, %v, %v", c.o, p.limits, p.seeds, p.under, c.limits, c.seeded, c.under)
		}
	}
	p.seeds = nil
	if err := env.ResetWith(ctx, v, nil, nil, env.Options{Phase: "x"}, &b); !errors.Is(err, env.ErrInvalidOption) || p.seeds != nil {
		t.Errorf("%v, seeds %v", err, p.seeds)
	}
	plain, err := queues.New(queues.Config{StepSeconds: 1, Autoreset: env.Disabled, Observation: queues.Observation{Normalise: "none"}}, p.tape, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := env.OptionsOf(plain); s.Load || s.Phases != nil {
		t.Errorf("%+v", s)
	}
	if err := env.ResetWith(ctx, plain, nil, nil, env.Options{Load: &half}, &b); !errors.Is(err, env.ErrInvalidOption) {
		t.Errorf("got %v", err)
	}
}
