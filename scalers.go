package planegym

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/planegym/planegym/env/queues"
)

// maxScalers is how many fitted scalers are cached.
const maxScalers = 32

// scalers fits each scaler of observations once for all that ask for it at a
// time, and keeps those used last. Fitting one never delays the use of another,
// but for the processors: as many are fitted at once as there are.
type scalers struct {
	mu   sync.Mutex
	all  map[string]*fitting
	used []string      // keys of finished ones, used last at the end
	slot chan struct{} // holds one element for each fit under way
}

// fitting is a scaler that is being fitted, or was.
type fitting struct {
	done   chan struct{} // closed once scaler or err is set
	scaler queues.Normaliser
	err    error
	wanted int                // callers that wait
	cancel context.CancelFunc // ends the fit
}

// get gives the scaler of key, which fit makes. ctx ends the waiting, and the
// fit once no caller waits for it.
func (s *scalers) get(ctx context.Context, key string, fit func(context.Context) (queues.Normaliser, error)) (queues.Normaliser, error) {
	s.mu.Lock()
	if s.all == nil {
		s.all, s.slot = map[string]*fitting{}, make(chan struct{}, runtime.GOMAXPROCS(0))
	}
	f := s.all[key]
	if f == nil {
		var own context.Context
		f = &fitting{done: make(chan struct{})}
		own, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		s.all[key] = f
		go s.fit(own, key, f, fit)
	}
	f.wanted++
	s.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.wanted--
	select {
	case <-f.done:
		if f.err == nil {
			s.use(key)
		}
		return f.scaler, f.err
	default:
	}
	if f.wanted == 0 { // the next caller starts over
		f.cancel()
		if s.all[key] == f {
			delete(s.all, key)
		}
	}
	return nil, ctx.Err()
}

// fit runs in a goroutine of its own and ends f.
func (s *scalers) fit(ctx context.Context, key string, f *fitting, fit func(context.Context) (queues.Normaliser, error)) {
	defer f.cancel()
	select {
	case s.slot <- struct{}{}:
		f.scaler, f.err = fit(ctx)
		<-s.slot
	case <-ctx.Done():
		f.err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.err != nil && s.all[key] == f { // not kept: the next caller tries again
		delete(s.all, key)
	}
	close(f.done)
}

// use marks the finished scaler of key as used last, and drops the one unused
// for longest where there are too many; s.mu is held.
func (s *scalers) use(key string) {
	s.used = append(slices.DeleteFunc(s.used, func(k string) bool { return k == key }), key)
	if len(s.used) > maxScalers {
		delete(s.all, s.used[0])
		s.used = slices.Delete(s.used, 0, 1)
	}
}
