package p4_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/planegym/planegym/p4"
)

// memory is a switch that keeps its limits in a map; say, where set, is what
// it tells instead.
type memory struct {
	limits map[p4.Port]p4.Limit
	refuse error
	say    p4.Limit
	closed bool
}

func (m *memory) SetLimit(_ context.Context, port p4.Port, l p4.Limit) error {
	if m.refuse != nil {
		return m.refuse
	}
	m.limits[port] = l
	return nil
}

func (m *memory) Limit(_ context.Context, port p4.Port) (p4.Limit, error) {
	if m.say != 0 {
		return m.say, nil
	}
	if l, ok := m.limits[port]; ok {
		return l, nil
	}
	return 0, p4.ErrNoLimit
}

func (m *memory) Close() error { m.closed = true; return nil }

func TestGroupReportsWhatTookEffect(t *testing.T) {
	queues := []p4.Queue{{Switch: 0, Port: 1}, {Switch: 1, Port: 2}, {Switch: 2, Port: 3}, {Switch: 0, Port: 4}}
	for _, c := range []struct {
		name  string
		spoil func(s []*memory)
		want  []p4.Limit // in force, as reported
		is    error
		text  string
	}{
		{"all", func([]*memory) {}, []p4.Limit{32, 16, 64, 8}, nil, ""},
		{
			"one refuses", func(s []*memory) { s[1].refuse = p4.ErrNotPrimary },
			[]p4.Limit{32, 64, 64, 8}, p4.ErrNotPrimary,
			"p4: 1 of 4 queues failed; switch 2 port 2, limit 16: p4: another controller is primary",
		},
		{
			"one lies", func(s []*memory) { s[2].say = 9 },
			[]p4.Limit{32, 16, 9, 8}, p4.ErrReadBack,
			"p4: 1 of 4 queues failed; switch 3 port 3, limit 64: p4: the switch reads back another limit: 9, wrote 64",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s []*memory
			var g p4.Group
			for i := range 3 {
				m := &memory{limits: map[p4.Port]p4.Limit{p4.Port(i + 1): 64}}
				s, g = append(s, m), append(g, m)
			}
			c.spoil(s)
			got, err := g.Set(t.Context(), queues, []p4.Limit{32, 16, 64, 8})
			if !errors.Is(err, c.is) || err != nil && err.Error() != c.text {
				t.Errorf("error %v, want %s", err, c.text)
			}
			var limits []p4.Limit
			for i, f := range got {
				limits = append(limits, f.Limit)
				if f.Queue != queues[i] {
					t.Errorf("outcome %d is of %v, want %v", i, f.Queue, queues[i])
				}
			}
			if !slices.Equal(limits, c.want) {
				t.Errorf("in force %v, want %v", limits, c.want)
			}
			if err := g.Close(); err != nil || !s[0].closed || !s[1].closed || !s[2].closed {
				t.Errorf("close: %v, closed %v %v %v", err, s[0].closed, s[1].closed, s[2].closed)
			}
		})
	}
}

func TestGroupChecksBeforeItWrites(t *testing.T) {
	m := &memory{limits: map[p4.Port]p4.Limit{}}
	g := p4.Group{m}
	for _, c := range []struct {
		queues []p4.Queue
		limits []p4.Limit
		text   string
	}{
		{[]p4.Queue{{}}, nil, "p4: 0 limits for 1 queues"},
		{[]p4.Queue{{}, {}}, []p4.Limit{32, 0}, "p4: limit 0 is outside 1…524287 packets"},
		{[]p4.Queue{{}, {Switch: 1}}, []p4.Limit{32, 32}, "p4: there is no switch 2: there are 1"},
	} {
		if _, err := g.Set(t.Context(), c.queues, c.limits); err == nil || err.Error() != c.text {
			t.Errorf("%v %v: %v, want %s", c.queues, c.limits, err, c.text)
		}
	}
	if len(m.limits) != 0 {
		t.Errorf("a refused call wrote %v", m.limits)
	}
	if _, err := g.Read(t.Context(), []p4.Queue{{}}); !errors.Is(err, p4.ErrNoLimit) {
		t.Errorf("read of nothing: %v, want %v", err, p4.ErrNoLimit)
	}
}
