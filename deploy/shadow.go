package deploy

import (
	"context"
	"sync"

	"github.com/planegym/planegym/p4"
)

// shadow is a controller that sets no limit.
type shadow struct {
	p4.Group
	mu    sync.Mutex
	asked map[p4.Queue]p4.Limit
}

// NewShadow makes a controller of g's switches that changes nothing on them:
// Set returns the limits in force, and Read returns what Set was asked for, so
// that the policy goes on as if its limits were in force.
func NewShadow(g p4.Group) p4.QueueController {
	return &shadow{Group: g, asked: map[p4.Queue]p4.Limit{}}
}

func (s *shadow) Set(ctx context.Context, queues []p4.Queue, limits []p4.Limit) ([]p4.InForce, error) {
	got, _ := s.Group.Read(ctx, queues) // a limit that could not be read is marked so in got
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range queues {
		s.asked[q] = limits[i]
	}
	return got, nil
}

func (s *shadow) Read(_ context.Context, queues []p4.Queue) ([]p4.InForce, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []p4.InForce
	for _, q := range queues {
		got = append(got, p4.InForce{Queue: q, Limit: s.asked[q]})
	}
	return got, nil
}

// InHand is nil: nothing is written, so nothing need be in hand.
func (s *shadow) InHand() error { return nil }
