package deploy

import (
	"context"
	"sync"
	"time"

	"github.com/planegym/planegym/p4/inventory"
)

// pulse says whether the control loop is alive: whatever it does, it says
// beforehand for how long it may be busy. A switch that hangs keeps it busy for
// a call's timeout, which is no reason to take the switches from it; a loop that
// is busy for longer than it said hangs itself.
type pulse struct {
	mu    sync.Mutex
	until time.Time
}

func (p *pulse) busy(d time.Duration) {
	p.mu.Lock()
	p.until = time.Now().Add(d)
	p.mu.Unlock()
}

func (p *pulse) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.until)
}

// beat sends a heartbeat twice a window, while the loop is alive, until ctx
// ends or the guard is gone, which it reports to failed.
func (p *pulse) beat(ctx context.Context, b *Beater, window time.Duration, failed func(error)) {
	t := time.NewTicker(window / 2)
	defer t.Stop()
	for {
		if p.alive() {
			if err := b.Beat(); err != nil {
				failed(err)
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// setting is how long a change of the limits may take: the switches are set at
// once, the ports of one after each other, each written and read back.
func setting(inv inventory.Inventory) time.Duration {
	var longest time.Duration
	for _, c := range inv {
		longest = max(longest, time.Duration(2*len(c.Ports))*c.WithDefaults().Timeout)
	}
	return longest
}
