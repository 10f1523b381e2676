package planegym

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/scenarios"
)

type constScaler float32

func (c constScaler) Scale(int, float32) float32 { return float32(c) }

// TestScalersFitOnceForAll: callers of one key share a fit; callers of another
// are not delayed by it; one that gives up ends the fit only as the last.
func TestScalersFitOnceForAll(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))) // as many are fitted at once
	synctest.Test(t, func(t *testing.T) {
		var s scalers
		var fits atomic.Int32
		release := make(chan struct{})
		slow := func(ctx context.Context) (queues.Normaliser, error) {
			fits.Add(1)
			select {
			case <-release:
				return constScaler(1), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		var wait sync.WaitGroup
		for range 3 {
			wait.Go(func() {
				if v, err := s.get(t.Context(), "slow", slow); err != nil || v != constScaler(1) {
					t.Errorf("%v, %v", v, err)
				}
			})
		}
		given, giveUp := context.WithCancel(t.Context())
		wait.Go(func() {
			if _, err := s.get(given, "slow", slow); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
		})
		synctest.Wait()
		giveUp()
		synctest.Wait()
		quick := func(context.Context) (queues.Normaliser, error) { return constScaler(2), nil }
		if v, err := s.get(t.Context(), "quick", quick); err != nil || v != constScaler(2) {
			t.Errorf("beside a slow fit: %v, %v", v, err)
		}
		close(release)
		wait.Wait()
		if fits.Load() != 1 {
			t.Errorf("fitted %d times", fits.Load())
		}
	})
}

// TestScalersGiveUp: a fit that no caller waits for any more ends, and the next
// caller fits anew.
func TestScalersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s scalers
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = s.get(ctx, "k", func(ctx context.Context) (queues.Normaliser, error) {
				<-ctx.Done()
				close(ended)
				return nil, ctx.Err()
			})
		}()
		synctest.Wait()
		cancel()
		<-ended
		if v, err := s.get(t.Context(), "k", func(context.Context) (queues.Normaliser, error) { return constScaler(3), nil }); err != nil || v != constScaler(3) {
			t.Errorf("%v, %v", v, err)
		}
	})
}

func TestScalersAreBounded(t *testing.T) {
	var s scalers
	for i := range 5 * maxScalers {
		if _, err := s.get(t.Context(), fmt.Sprint(i), func(context.Context) (queues.Normaliser, error) { return constScaler(0), nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.all) != maxScalers || len(s.used) != maxScalers {
		t.Errorf("%d kept, %d used; want %d", len(s.all), len(s.used), maxScalers)
	}
	refits := 0
	for range 2 { // an error is not kept
		_, _ = s.get(t.Context(), "bad", func(context.Context) (queues.Normaliser, error) { refits++; return nil, ErrConfig })
	}
	if refits != 2 {
		t.Errorf("a fit that failed was tried %d times, want 2", refits)
	}
}

// TestOpenEndsWithContext: making a testbed, whose scaler takes a second and
// more to fit, ends with the context of the make.
func TestOpenEndsWithContext(t *testing.T) {
	s, err := scenarios.Load("testbed")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := new(Gym).Open(ctx, s, 1, env.NextStep); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context canceled", err)
	}
}
