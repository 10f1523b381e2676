package p4_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/planegym/planegym/p4"
)

// A SetError names every queue that is not as asked; a cause that several
// share, each behind its own switch's address, is written out once.
func TestSetErrorText(t *testing.T) {
	at := func(address string, cause error) error { return fmt.Errorf("%s: %w", address, cause) }
	in := func(sw int, port p4.Port, err error) p4.InForce {
		return p4.InForce{Queue: p4.Queue{Switch: sw, Port: port}, Err: err}
	}
	timeout := errors.New("timeout")
	for _, c := range []struct {
		name string
		err  *p4.SetError
		want string
	}{
		{"none failed", &p4.SetError{Got: []p4.InForce{in(0, 1, nil)}}, "p4: 0 of 1 queues failed"},
		{
			"of a read, no limits are asked", &p4.SetError{Got: []p4.InForce{in(0, 1, p4.ErrNoLimit), in(1, 2, nil)}},
			"p4: 1 of 2 queues failed; switch 1 port 1: p4: no limit is set on the port",
		},
		{
			"a shared cause", &p4.SetError{
				Asked: []p4.Limit{8, 16, 32, 64},
				Got:   []p4.InForce{in(0, 1, at("a:1", timeout)), in(1, 2, nil), in(2, 3, at("c:1", timeout)), in(2, 4, at("c:1", p4.ErrClosed))},
			},
			"p4: 3 of 4 queues failed; switch 1 port 1, limit 8: a:1: timeout; switch 3 port 3, limit 32: likewise; switch 3 port 4, limit 64: c:1: p4: controller is closed",
		},
		{
			"a shared cause without an address", &p4.SetError{Got: []p4.InForce{in(0, 1, timeout), in(0, 2, timeout), in(0, 3, timeout)}},
			"p4: 3 of 3 queues failed; switch 1 port 1: timeout; switch 1 port 2: likewise; switch 1 port 3: likewise",
		},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		for i, g := range c.err.Got {
			if g.Err != nil && !errors.Is(c.err, g.Err) {
				t.Errorf("%s: the error of queue %d is not wrapped", c.name, i)
			}
		}
	}
}

// mute takes every limit and tells none; held, where set, is what InHand says.
type mute struct{ held error }

func (mute) SetLimit(context.Context, p4.Port, p4.Limit) error { return nil }
func (mute) Limit(context.Context, p4.Port) (p4.Limit, error)  { return 7, p4.ErrUnreachable }
func (m mute) InHand() error                                   { return m.held }
func (m mute) Close() error                                    { return m.held }

// A limit that could not be read back is not known, whatever came with the error.
func TestUnreadLimitIsUnknown(t *testing.T) {
	got, err := p4.Group{mute{}}.Set(t.Context(), []p4.Queue{{Port: 3}}, []p4.Limit{64})
	want := "p4: 1 of 1 queues failed; switch 1 port 3, limit 64: read back: p4: switch is unreachable"
	if !errors.Is(err, p4.ErrUnreachable) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if len(got) != 1 || got[0].Limit != 0 || got[0].Queue != (p4.Queue{Port: 3}) {
		t.Errorf("in force %+v, want an unknown limit of port 3", got)
	}
	for _, sw := range []int{-1, 1} {
		if got, err := (p4.Group{mute{}}).Read(t.Context(), []p4.Queue{{Switch: sw}}); err == nil || got != nil {
			t.Errorf("switch %d of one: %v, %v", sw, got, err)
		}
	}
}

// A group is in hand where every switch that knows is; one that does not know
// (memory) has no say. Closing it closes all and tells every refusal.
func TestGroupInHand(t *testing.T) {
	lost, closed := errors.New("lost"), errors.New("closed")
	for _, c := range []struct {
		g    p4.Group
		want []error
	}{
		{p4.Group{}, nil},
		{p4.Group{&memory{}}, nil},
		{p4.Group{mute{}, &memory{}, mute{}}, nil},
		{p4.Group{mute{}, mute{lost}}, []error{lost}},
		{p4.Group{mute{closed}, &memory{}, mute{lost}}, []error{closed, lost}},
	} {
		for what, err := range map[string]error{"InHand": c.g.InHand(), "Close": c.g.Close()} {
			if (err == nil) != (c.want == nil) {
				t.Errorf("%v: %s: %v, want %v", c.g, what, err, c.want)
			}
			for _, w := range c.want {
				if !errors.Is(err, w) {
					t.Errorf("%v: %s: %v does not tell %v", c.g, what, err, w)
				}
			}
		}
	}
}
