// Package stepping measures what a step of an environment costs: in this process, over
// a WebSocket on loopback, pipelined, and beside raw TCP that carries as many bytes.
package stepping

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/planegym/planegym"
)

// Options say what is measured and for how long.
type Options struct {
	Data     string        // folder of recordings, to step scenario replay as well; "": without
	Rounds   int           // that the medians are taken over
	Duration time.Duration // of one measurement
	Done     func() error  // after each round of a scenario and a number of rows; may be nil
}

var batches = []int{1, 256, 1024}

func (o Options) scenarios() []string {
	if o.Data == "" {
		return []string{"cartpole"}
	}
	return []string{"cartpole", "replay"}
}

// Calls is how often Done is called.
func (o Options) Calls() int { return o.Rounds * len(o.scenarios()) * len(batches) }

// Run measures every kind of stepping, in batches of 1, 256 and 1024; what is remote is
// on the peer. The kinds take turns within a round, so that what slows the machine
// slows all of them.
func Run(ctx context.Context, to *Peer, o Options) (*Result, error) {
	open := &planegym.Gym{Data: o.Data}
	served, err := planegym.Bundled()
	if err != nil {
		return nil, err
	}
	r := &Result{rounds: o.Rounds}
	for _, name := range o.scenarios() {
		for _, n := range batches {
			ks, err := kinds(ctx, open, served[name], to, n)
			if err != nil {
				return nil, err
			}
			err = o.measure(ctx, ks)
			for _, k := range ks {
				k.stop()
			}
			if err != nil {
				return nil, err
			}
			r.kinds = append(r.kinds, ks)
		}
	}
	return r, nil
}

// measure lets kinds take turns.
func (o Options) measure(ctx context.Context, ks []*kind) error {
	for range o.Rounds {
		for _, k := range ks {
			if err := k.measure(ctx, o.Duration); err != nil {
				return err
			}
		}
		if o.Done != nil {
			if err := o.Done(); err != nil {
				return err
			}
		}
	}
	return nil
}

// kind is one way of stepping: a call steps rows environments.
type kind struct {
	name string
	rows int
	call func() error
	stop func()
	p50  []float64 // us, a round each
	rate []float64 // 1/s
	mem  []float64 // 1/call
}

// measure calls k for a while.
func (k *kind) measure(ctx context.Context, d time.Duration) error {
	for range 10 { // warm
		if err := k.call(); err != nil {
			return err
		}
	}
	took := make([]float64, 0, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	last := begin
	for last.Sub(begin) < d && len(took) < cap(took) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := k.call(); err != nil {
			return err
		}
		now := time.Now()
		took = append(took, float64(now.Sub(last).Nanoseconds())/1e3)
		last = now
	}
	runtime.ReadMemStats(&after)
	calls := float64(len(took))
	k.p50 = append(k.p50, median(took))
	k.rate = append(k.rate, calls*float64(k.rows)/last.Sub(begin).Seconds())
	k.mem = append(k.mem, float64(after.Mallocs-before.Mallocs)/calls)
	return nil
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
