package deploy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
)

// Words on the pipe from the agent's process to its guard's.
const (
	beatWord = "beat" // I am well
	byeWord  = "bye"  // I have put the safe limit in force myself
)

// Beater writes heartbeats to a guard.
type Beater struct {
	w     io.Writer
	every time.Duration
	last  time.Time
}

// NewBeater makes a Beater; a beat is written at most every window.
func NewBeater(w io.Writer, window time.Duration) *Beater { return &Beater{w: w, every: window} }

// Beat tells that all is well. An error says that the guard is gone.
func (b *Beater) Beat() error {
	if now := time.Now(); now.Sub(b.last) >= b.every {
		b.last = now
		_, err := io.WriteString(b.w, beatWord+"\n")
		return err
	}
	return nil
}

// Bye tells that does not existhing left to guard.
func (b *Beater) Bye() error {
	_, err := io.WriteString(b.w, byeWord+"\n")
	return err
}

// Guard watches over an agent in another process. It holds a backup stream to
// every switch, and where the agent's heartbeat misses two windows, or its
// pipe ends without a bye, it becomes primary with an election id above the
// agent's and puts the safe limit in force.
type Guard struct {
	Inventory inventory.Inventory
	Safe      p4.Limit
	Window    time.Duration // of a heartbeat
	Journal   func(Entry)   // receives what the guard does; must not block
	// Took, where not nil, is called before the guard takes over from an
	// agent that is still running, with the reason.
	Took func(why string)
	// Patience is how long the guard tries to reach a switch when the agent is
	// gone; 0: an hour.
	Patience time.Duration
}

// missed is how many windows without a heartbeat are too many. Half a window
// more is for the time that a step takes beside its window.
const missed = 2.5

// Run guards until the agent says bye (nil), ctx ends, or the agent is gone and
// the safe limit is in force on every switch. A switch that cannot be reached
// is tried until Patience is over; Run's error then says which limits are not
// known. ready is called when every switch has answered.
//
// An agent that hangs with its pipe open is locked out: the guard stays
// primary until the pipe ends. The goroutine that reads the pipe ends with it.
func (g *Guard) Run(ctx context.Context, pipe io.Reader, ready func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, err := OpenBackup(g.Inventory, g.Safe, nil)
	if err != nil {
		return err
	}
	defer group.Close()
	for i, s := range group {
		if c, ok := s.(*p4rt.Client); ok {
			if err := c.Ready(ctx); err != nil {
				return fmt.Errorf("deploy: guard: %s: %w", g.Inventory.WithDefaults(0)[i].Name, err)
			}
		}
	}
	if err := ready(); err != nil {
		return err
	}
	words := make(chan string)
	go func() {
		defer close(words)
		for in := bufio.NewScanner(pipe); in.Scan(); {
			select {
			case words <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	late := time.NewTimer(time.Duration(missed * float64(g.Window)))
	defer late.Stop()
	why, open := "", true
	for why == "" {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case w, ok := <-words:
			switch {
			case !ok:
				why, open = "the agent's process has ended", false
			case w == byeWord:
				return nil
			default:
				late.Reset(time.Duration(missed * float64(g.Window)))
			}
		case <-late.C:
			why = "the agent's heartbeat has stopped"
		}
	}
	if g.Took != nil && open {
		g.Took(why)
	}
	if err := g.takeOver(ctx, group, why); err != nil {
		return err
	}
	for open { // keep a hung agent out
		select {
		case <-ctx.Done():
			return ctx.Err()
		case w, ok := <-words:
			open = ok && w != byeWord
		}
	}
	return nil
}

// takeOver puts the safe limit in force on every switch, each by itself.
func (g *Guard) takeOver(ctx context.Context, group p4.Group, why string) error {
	queues := g.Inventory.Queues()
	var wg sync.WaitGroup
	errs := make([]error, len(group))
	for n := range group {
		var own []p4.Queue
		var limits []p4.Limit
		for _, q := range queues {
			if q.Switch == n {
				own, limits = append(own, q), append(limits, g.Safe)
			}
		}
		wg.Go(func() { errs[n] = g.save(ctx, group, n, own, limits, why) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// save tries until the switch has the safe limit. It reports the first
// failure, and success.
func (g *Guard) save(ctx context.Context, group p4.Group, n int, queues []p4.Queue, limits []p4.Limit, why string) error {
	begin, reported := time.Now(), false
	patience := g.Patience
	if patience == 0 {
		patience = time.Hour
	}
	for {
		err := claim(ctx, group[n])
		var got []p4.InForce
		if err == nil {
			got, err = group.Set(ctx, queues, limits)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || !reported {
			e := Entry{Event: "set", Why: why, Asked: limits, Got: Named(g.Inventory, got), TookMS: time.Since(begin).Seconds() * 1e3}
			if err != nil {
				e.Error, reported = err.Error(), true
			}
			g.Journal(e)
		}
		if err == nil {
			return nil
		}
		if time.Since(begin) >= patience {
			err = fmt.Errorf("deploy: guard: gave up after %v: whatever limit the switch had stays in force: %w", patience, err)
			g.Journal(Entry{Event: "end", Why: why, Asked: limits, Error: err.Error()})
			return err
		}
		t := time.NewTimer(retry)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// retry is how long the guard waits before it tries a switch again.
const retry = 100 * time.Millisecond

// claim makes the guard primary: its election id is above every id that the
// switch has reported. Over Thrift every client may write.
func claim(ctx context.Context, s p4.Switch) error {
	c, ok := s.(*p4rt.Client)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if st := c.State(); !st.Primary {
		return c.Arbitrate(ctx, p4rt.Election{High: st.Election.High + 1})
	}
	return nil
}
