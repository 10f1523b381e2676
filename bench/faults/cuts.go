package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
)

// Faults of the connection and of the server: cut, killed, drained.

func cuts(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	const want = 1000
	p, err := testkit.Listen(s.addr, 1<<30, 1)
	if err != nil {
		return "", false, err
	}
	var c *ws.Client
	for c == nil { // handshakes are cut too
		c, _ = dial("ws://"+p.Addr(), 3)
	}
	before := p.Cuts()
	const part = 1000
	steps := 0
	for seed := uint64(1); p.Cuts()-before < want; seed++ {
		got, err := trace(c, seed, part, nil)
		if err != nil {
			return "", false, fmt.Errorf("after %d cuts: %w", p.Cuts()-before, err)
		}
		local, err := expected(3, seed, part)
		if err != nil {
			return "", false, err
		}
		steps += part
		if !slices.Equal(got, local) {
			return fmt.Sprintf("differs after %d cuts", p.Cuts()-before), false, nil
		}
	}
	return fmt.Sprintf("%d cuts in %d steps of 3 environments, every value identical", p.Cuts()-before, steps), true, s.stop()
}

// kills steps sessions while the server is killed again and again.
func kills(b *bench) (string, bool, error) {
	rounds, sessions := 25, 8
	if b.long {
		rounds = 250
	}
	// Servers come and go behind a unix socket, whose path stays.
	unix, journal := filepath.Join(b.dir, "s"), filepath.Join(b.dir, "journal")
	args := []string{"--unix", unix, "--journal", journal}
	s, err := b.start(args...)
	if err != nil {
		return "", false, err
	}
	defer func() { s.kill() }()
	var wg sync.WaitGroup
	var over atomic.Bool
	var steps, lost, differ, ok atomic.Int64
	for i := range sessions {
		c, err := dial("unix://"+unix, 1+i%3)
		if err != nil {
			return "", false, err
		}
		wg.Go(func() {
			var err error
			defer func() {
				if c.Close(); err != nil {
					fmt.Fprintln(os.Stderr, "session", i, err)
				}
			}()
			for seed := uint64(i) << 32; !over.Load(); seed++ {
				const part = 2000
				var got, want []float32
				if got, err = trace(c, seed, part, nil); err != nil {
					lost.Add(1)
					return
				}
				if want, err = expected(c.Num(), seed, part); err != nil || !slices.Equal(got, want) {
					differ.Add(1)
					return
				}
				steps.Add(part)
			}
			ok.Add(1)
		})
	}
	for k := range rounds {
		time.Sleep(time.Duration(100+rng.Key{Seed: 3, A: uint32(k)}.Intn(0, 900)) * time.Millisecond)
		s.kill()
		if s, err = b.start(args...); err != nil {
			over.Store(true)
			return "", false, err
		}
	}
	time.Sleep(time.Second)
	over.Store(true)
	wg.Wait()
	resumes := rounds * sessions
	figure := fmt.Sprintf("%d kills × %d sessions, %d steps: %d sessions lost, %d differ", rounds, sessions, steps.Load(), lost.Load(), differ.Load())
	return figure, differ.Load() == 0 && float64(lost.Load()) <= 0.01*float64(resumes) && steps.Load() > 0, s.stop()
}

func drain(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0", "--resume", "0s")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	var wg sync.WaitGroup
	var answered, badEnd atomic.Int64
	for range 100 {
		c, err := dial(s.url, 1)
		if err != nil {
			return "", false, err
		}
		var batch env.Batch
		if err := c.Reset(context.Background(), nil, nil, &batch); err != nil {
			return "", false, err
		}
		wg.Go(func() {
			defer c.Close()
			var batch env.Batch
			for {
				err := c.Step(context.Background(), nil, []int32{0}, &batch)
				if err != nil {
					var closed *ws.CloseError
					if !errors.As(err, &closed) || closed.Code != 1001 {
						badEnd.Add(1)
					}
					return
				}
				answered.Add(1)
			}
		})
	}
	time.Sleep(time.Second)
	start := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return "", false, err
	}
	status := 200 // of readyz, once the signal has come; 0: the server is gone already
	for status == 200 {
		resp, err := http.Get(s.admin + "/readyz")
		if err != nil {
			status = 0
			break
		}
		status = resp.StatusCode
		resp.Body.Close()
	}
	<-s.done
	took := time.Since(start)
	wg.Wait()
	figure := fmt.Sprintf("exit %v after %.2f s, %d of 100 sessions ended otherwise than by 1001, %d steps answered before, readyz %d (0: gone already)", s.exit, took.Seconds(), badEnd.Load(), answered.Load(), status)
	return figure, s.exit == nil && took < 10*time.Second && badEnd.Load() == 0 && answered.Load() > 0 && (status == 503 || status == 0), nil
}
