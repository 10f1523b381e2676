package sim

import (
	"fmt"
	"time"

	"github.com/planegym/planegym/p4"
)

// bootDepth is how deep BMv2's queues are when it starts.
const bootDepth p4.Limit = 64

// bank is the queues of the ports, as they are provisioned: owned by the
// server, under its lock.
type bank struct {
	depths map[p4.Port][]p4.Limit // by queue id
	rates  map[p4.Port]int64      // packets/s; 0: unlimited
	booted time.Time
}

func newBank(ports []p4.Port, depths []p4.Limit, rate int64) bank {
	b := bank{depths: map[p4.Port][]p4.Limit{}, rates: map[p4.Port]int64{}, booted: time.Now()}
	for _, p := range ports {
		b.depths[p] = append([]p4.Limit(nil), depths...)
		b.rates[p] = rate
	}
	return b
}

// reboot is what BMv2 knows of its queues after a restart: their number.
func (b *bank) reboot() {
	for p, d := range b.depths {
		for i := range d {
			d[i] = bootDepth
		}
		b.rates[p] = 0
	}
	b.booted = time.Now()
}

// of is the queues of a port; one that is not modelled has them, too.
func (s *Server) of(port p4.Port) []p4.Limit {
	d := s.bank.depths[port]
	if d == nil {
		for range s.cfg.Depths {
			d = append(d, bootDepth)
		}
		s.bank.depths[port] = d
	}
	return d
}

// SetDepth sets the depth of one queue of a port. Its error is what BMv2 says
// of a queue that does not exist.
func (s *Server) SetDepth(port p4.Port, queue int, depth p4.Limit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.of(port)
	if queue < 0 || queue >= len(d) {
		return fmt.Errorf("vector::_M_range_check: __n (which is %d) >= this->size() (which is %d)", uint64(queue), len(d))
	}
	d[queue] = depth
	s.enforce()
	return nil
}

// SetDepths sets the depth of all queues of a port.
func (s *Server) SetDepths(port p4.Port, depth p4.Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.of(port)
	for i := range d {
		d[i] = depth
	}
	s.enforce()
}

// SetRate sets how many packets/s a port serves; 0: as many as come.
func (s *Server) SetRate(port p4.Port, rate int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bank.rates[port] = rate
}

// Depths is a copy of the depths of a port's queues, Rate what it serves in
// packets/s, 0 unlimited, and Uptime how long the switch has run.
func (s *Server) Depths(port p4.Port) []p4.Limit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]p4.Limit(nil), s.of(port)...)
}

// Rate is what a port serves, packets/s; 0: unlimited.
func (s *Server) Rate(port p4.Port) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bank.rates[port]
}

// Uptime is how long the switch has run since it was last started.
func (s *Server) Uptime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.bank.booted)
}
