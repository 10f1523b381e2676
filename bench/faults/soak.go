package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
)

// soak has 64 clients step while random things happen to them. What leaks is lost
// with a session, a cut, a request; so they come often, and steps take little: the
// ten minutes cost one of processor time.
func soak(b *bench) (string, bool, error) {
	d := 10 * time.Minute
	switch {
	case b.soak > 0:
		d = b.soak
	case b.long:
		d = time.Hour
	}
	s, err := b.start("--addr", "127.0.0.1:0", "--resume", "2s")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	p, err := testkit.Listen(s.addr, 1<<30, 9)
	if err != nil {
		return "", false, err
	}
	var over atomic.Bool
	var wg sync.WaitGroup
	var steps, sessions, happened atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			for n := uint32(0); !over.Load(); n++ {
				k := rng.Key{Seed: uint64(i), A: n}
				url := s.url
				if k.Intn(1, 3) == 0 {
					url = "ws://" + p.Addr()
				}
				c, err := dial(url, 1+k.Intn(2, 16))
				if err != nil {
					happened.Add(1)
					continue
				}
				sessions.Add(1)
				var batch env.Batch
				err = c.Reset(context.Background(), nil, nil, &batch)
				for j := 0; err == nil && j < 20+k.Intn(3, 100) && !over.Load(); j++ {
					actions := make([]int32, c.Num())
					if k.Intn(4, 4) == 0 && j%50 == 0 {
						actions[0] = 9 // refused
					}
					err = c.Step(context.Background(), nil, actions, &batch)
					if errors.Is(err, env.ErrInvalidAction) {
						happened.Add(1)
						err = nil
					}
					steps.Add(int64(c.Num()))
					time.Sleep(40 * time.Millisecond)
				}
				_ = c.Close()
				if rc, err := raw(s.addr); err == nil { // garbage, and one that dies in its hello
					_ = say(rc, hello[:k.Intn(5, len(hello))])
					_, _ = rc.Write([]byte{0xff, 0xff, 1})
					rc.Close()
					happened.Add(1)
				}
			}
		})
	}
	var at, mem, heap, sys []float64
	start := time.Now()
	warm, minutes := d/5, 0
	for time.Since(start) < d {
		time.Sleep(time.Second)
		if m := int(time.Since(start).Minutes()); b.profiles != "" && m > minutes {
			minutes = m
			if err := s.keep("/metrics", filepath.Join(b.profiles, fmt.Sprintf("metrics-%02d.txt", m))); err != nil {
				over.Store(true)
				return "", false, err
			}
		}
		if time.Since(start) < warm {
			continue
		}
		// What the last collection left. Asking for one by a heap profile would add what making
		// the profile takes: more with every stack the profiler sees, for as long as it sees new ones.
		v, err := s.metrics(rssMetric, "go_gc_heap_live_bytes", "go_memstats_sys_bytes")
		if err != nil {
			over.Store(true)
			return "", false, err
		}
		at, mem, heap = append(at, time.Since(start).Hours()), append(mem, v[0]/mib), append(heap, v[1]/mib)
		sys = append(sys, v[2]/mib)
	}
	over.Store(true)
	wg.Wait()
	if b.profiles != "" {
		if err := s.keep("/debug/pprof/heap?gc=1", filepath.Join(b.profiles, "heap.pb.gz")); err != nil {
			return "", false, err
		}
	}
	slope, wobble := fit(at, mem)
	live, liveWobble := fit(at, heap)
	mapped, _ := fit(at, sys)
	figure := fmt.Sprintf("%.0f min: %d sessions, %d steps, %d cuts, %d other faults; RSS %.1f MiB at %.0f min, slope %+.2f ± %.2f MiB/h; live heap %.1f MiB, slope %+.2f ± %.2f MiB/h; memory that Go has mapped %.1f MiB, slope %+.2f MiB/h",
		d.Minutes(), sessions.Load(), steps.Load(), p.Cuts(), happened.Load(), mem[len(mem)-1], d.Minutes(), slope, wobble, heap[len(heap)-1], live, liveWobble, sys[len(sys)-1], mapped)
	// RSS creeps towards what is mapped for longer than ten minutes, page by page that Go comes by;
	// what leaks shows in the live heap at once, and in what is mapped in the end.
	return figure, live < 1 && mapped < 1, s.stop()
}
