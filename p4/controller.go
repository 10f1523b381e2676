package p4

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Port is an egress port as the switch's program numbers it.
type Port uint32

// Queue names one egress queue: a switch, by its index, and a port of it.
type Queue struct {
	Switch int
	Port   Port
}

// What callers branch on. Errors of switches wrap them.
var (
	ErrNotPrimary     = errors.New("p4: another controller is primary")
	ErrUnreachable    = errors.New("p4: switch is unreachable")
	ErrPipeline       = errors.New("p4: the switch runs another pipeline")
	ErrNotProvisioned = errors.New("p4: no queue is provisioned for the limit")
	ErrReadBack       = errors.New("p4: the switch reads back another limit")
	ErrNoLimit        = errors.New("p4: no limit is set on the port")
	ErrClosed         = errors.New("p4: controller is closed")
	// ErrElection: P4Runtime gives an election id to one client of a switch.
	ErrElection = errors.New("p4: another client of the switch has this election id: is another deploy, collect or train --switches running?")
	// ErrUnprovisioned: a switch restarted and nothing can set the depths of
	// its queues, so that a limit read back says nothing about the queue.
	ErrUnprovisioned = errors.New("p4: the limit in force is unknown: the switch was restarted, and nothing has set the depths of its queues since")
)

// Switch is one switch whose queue limits can be set: p4/p4rt speaks
// P4Runtime, p4/bmv2 BMv2's Thrift. Its methods may be called at once.
type Switch interface {
	// SetLimit puts a limit in force on the queues of a port. An error leaves
	// either the old or the new limit in force; Limit tells which.
	SetLimit(ctx context.Context, port Port, l Limit) error
	// Limit asks the switch for the limit in force. Error: ErrNoLimit.
	Limit(ctx context.Context, port Port) (Limit, error)
	// Close lets go of the switch; its limits stay in force.
	Close() error
}

// QueueController sets queue limits per switch and port.
type QueueController interface {
	// Set puts limits[i] in force at queues[i] and reads it back. Switches
	// cannot be written atomically: got tells what each queue's switch said
	// afterwards, and a *SetError names every queue that is not as asked.
	Set(ctx context.Context, queues []Queue, limits []Limit) (got []InForce, err error)
	// Read asks for the limits in force; a *SetError names the queues that
	// did not tell.
	Read(ctx context.Context, queues []Queue) (got []InForce, err error)
	Close() error
}

// Holder is a Switch or QueueController that knows whether it may write.
type Holder interface {
	// InHand is nil where a write would be taken now: the client is primary
	// and the switch is as it should be. It asks no switch.
	InHand() error
}

// InForce is what is known of one queue after a Set or Read.
type InForce struct {
	Queue
	Limit Limit // read back; 0 where the switch did not tell
	Err   error // why the limit is not as asked, or not known
}

// SetError tells which queues are not as asked. It wraps the error of each.
type SetError struct {
	Asked []Limit // nil of a Read
	Got   []InForce
}

func (e *SetError) Error() string {
	var b strings.Builder
	failed := 0
	reported := map[string]bool{} // causes
	for i, g := range e.Got {
		if g.Err == nil {
			continue
		}
		failed++
		cause := g.Err.Error()
		if inner := errors.Unwrap(g.Err); inner != nil { // without the switch's address
			cause = inner.Error()
		}
		fmt.Fprintf(&b, "; switch %d port %d", g.Switch+1, g.Port)
		if e.Asked != nil {
			fmt.Fprintf(&b, ", limit %d", e.Asked[i])
		}
		if reported[cause] {
			b.WriteString(": likewise")
			continue
		}
		reported[cause] = true
		fmt.Fprintf(&b, ": %v", g.Err)
	}
	return fmt.Sprintf("p4: %d of %d queues failed%s", failed, len(e.Got), b.String())
}

// Unwrap gives the error of every queue that failed.
func (e *SetError) Unwrap() []error {
	var errs []error
	for _, g := range e.Got {
		if g.Err != nil {
			errs = append(errs, g.Err)
		}
	}
	return errs
}

// Group is the QueueController of several switches, which it owns.
type Group []Switch

// Set writes the switches in parallel, the queues of one in order.
func (g Group) Set(ctx context.Context, queues []Queue, limits []Limit) ([]InForce, error) {
	if len(queues) != len(limits) {
		return nil, fmt.Errorf("p4: %d limits for %d queues", len(limits), len(queues))
	}
	for _, l := range limits {
		if err := l.Check(); err != nil {
			return nil, err
		}
	}
	return g.each(queues, limits, func(s Switch, i int) (Limit, error) {
		wrote := s.SetLimit(ctx, queues[i].Port, limits[i])
		got, err := s.Limit(ctx, queues[i].Port)
		switch {
		case wrote != nil:
			return got, wrote
		case err != nil:
			return 0, fmt.Errorf("read back: %w", err)
		case got != limits[i]:
			return got, fmt.Errorf("%w: %d, wrote %d", ErrReadBack, got, limits[i])
		}
		return got, nil
	})
}

// Read asks the switches in parallel.
func (g Group) Read(ctx context.Context, queues []Queue) ([]InForce, error) {
	return g.each(queues, nil, func(s Switch, i int) (Limit, error) { return s.Limit(ctx, queues[i].Port) })
}

// each runs do for every queue, a goroutine per switch, and waits for them.
func (g Group) each(queues []Queue, asked []Limit, do func(s Switch, i int) (Limit, error)) ([]InForce, error) {
	for _, q := range queues {
		if q.Switch < 0 || q.Switch >= len(g) {
			return nil, fmt.Errorf("p4: there is no switch %d: there are %d", q.Switch+1, len(g))
		}
	}
	got := make([]InForce, len(queues))
	var wg sync.WaitGroup
	for n, s := range g {
		wg.Go(func() {
			for i, q := range queues {
				if q.Switch != n {
					continue
				}
				got[i].Queue = q
				got[i].Limit, got[i].Err = do(s, i)
			}
		})
	}
	wg.Wait()
	for _, f := range got {
		if f.Err != nil {
			return got, &SetError{Asked: asked, Got: got}
		}
	}
	return got, nil
}

// InHand is nil where every switch that knows is in hand.
func (g Group) InHand() error {
	var errs []error
	for _, s := range g {
		if h, ok := s.(Holder); ok {
			errs = append(errs, h.InHand())
		}
	}
	return errors.Join(errs...)
}

// Close closes the switches.
func (g Group) Close() error {
	var errs []error
	for _, s := range g {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
