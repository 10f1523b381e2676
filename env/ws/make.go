package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/planegym/planegym/env"
)

// This file makes environments. Options.Open runs on a goroutine of its own, which closes what it has
// made when the session no longer waits for it; everything else runs on the session's goroutine.

// requestBytes is the longest request for num rows of s actions.
func requestBytes(num, s int) int { return headerBytes + 8 + max(12, 4+4*s)*num }

func (s *session) make(c *control, id uint64, request []byte) (any, error) {
	switch {
	case c.Scenario == "":
		return nil, fmt.Errorf("%w: make: scenario is missing", ErrBadFrame)
	case c.NumEnvs < 1:
		return nil, fmt.Errorf("%w: make: num_envs: %d is less than 1", ErrBadFrame, c.NumEnvs)
	case len(s.envs)+int(s.making.Load()) >= s.srv.opts.MaxEnvs:
		return nil, fmt.Errorf("%w: the session has %d environments, the most allowed", ErrCapacity, s.srv.opts.MaxEnvs)
	}
	fits := func(size func(num int) int, limit int, what string) error {
		if size(c.NumEnvs) <= limit {
			return nil
		}
		most := sort.Search(c.NumEnvs, func(n int) bool { return size(n+1) > limit })
		return fmt.Errorf("%w: num_envs: %d would make %s longer than %d bytes; the largest is %d", ErrCapacity, c.NumEnvs, what, limit, most)
	}
	if c.NumEnvs > math.MaxInt32 {
		c.NumEnvs = math.MaxInt32
	}
	if err := fits(func(n int) int { return requestBytes(n, 1) }, maxRequest, "a request"); err != nil {
		return nil, err
	}
	e, err := s.open(MakeRequest{c.Scenario, c.NumEnvs, c.Autoreset, c.Model, c.Record, slices.Clone(json.RawMessage(c.Kwargs)), s.id, s.lastEnv + 1})
	if err != nil {
		return nil, err
	}
	v := e.Vector
	e.made, e.spec, e.num = request, v.Spec(), v.Num()
	e.episodes = make([]episode, e.num)
	e.d, e.s = e.spec.Observation.Dim(), len(e.spec.Action)
	if i, ok := v.(env.Informer); ok {
		e.informer, e.f = i, len(i.InfoFields())
		e.finals = s.finalInfo && e.spec.Autoreset == env.SameStep
	}
	err = fits(e.replyBytes, maxReply, "a reply")
	if err == nil {
		err = fits(func(n int) int { return requestBytes(n, e.s) }, maxRequest, "a request")
	}
	if err != nil {
		e.close(s.log)
		return nil, err
	}
	s.lastEnv = e.id
	s.envs[e.id] = e
	s.rows.Add(int64(e.num))
	e.stats = s.srv.stats.scenarios.of(c.Scenario)
	e.stats.rows.Add(int64(e.num))
	s.conn.allow(e.pending())
	out := &made{
		Type: "made", ID: id, Env: e.id, Scenario: c.Scenario, NumEnvs: e.num, InfoFields: []field{},
		InFlight: inFlight, PendingBytes: e.pending(),
	}
	out.describe(e.spec)
	if e.f > 0 {
		out.InfoFields = fields(e.informer.InfoFields())
	}
	if e.spec.RealTime {
		out.InFlight = 1
	}
	if h, ok := v.(interface{ ModelHash() string }); ok {
		out.ModelHash = h.ModelHash()
	}
	if snap, ok := v.(env.Snapshotter); ok {
		_, err := snap.Snapshot(0, nil) // a wrapper may wrap one that takes none
		out.Snapshots = !errors.Is(err, env.ErrBadSnapshot)
	}
	if !out.Snapshots || e.spec.RealTime {
		s.journal.drop(s, errors.New("its environment takes no snapshots"))
	}
	if s.resetOptions {
		out.ResetOptions = resetOptions(env.OptionsOf(v))
	}
	e.shown = newShown(e, out)
	s.srv.mu.Lock()
	s.shown = append(s.shown, e.shown)
	s.srv.mu.Unlock()
	s.log.Info("environment made", "request", id, "env", e.id, "scenario", c.Scenario, "num_envs", e.num)
	return out, nil
}

// open has an environment made, and waits for it as long as MakeTimeout. The
// goroutine that makes it closes what comes too late.
func (s *session) open(m MakeRequest) (*vector, error) {
	ctx, cancel := context.WithCancel(s.ctx)
	e := &vector{id: m.Env, cancel: cancel}
	made, gone := make(chan error), make(chan struct{})
	s.making.Add(1)
	go func() {
		err := s.openGuarded(ctx, m, e)
		select {
		case made <- err: // counted below, for the client's next make may come at once
		case <-gone:
			defer s.making.Add(-1)
			if err == nil {
				e.close(s.log)
			}
		}
	}()
	var late <-chan time.Time
	if d := s.srv.opts.MakeTimeout; d != 0 && !s.replay {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	var err error
	select {
	case err = <-made:
		s.making.Add(-1)
		if err != nil {
			cancel()
		}
		return e, err
	case <-late:
		err = fmt.Errorf("%w: make: more than %v", ErrTimeout, s.srv.opts.MakeTimeout)
		s.lastEnv = m.Env // what has this number still comes
		s.journal.drop(s, errors.New("a make was given up"))
		s.log.Warn("make given up", "env", m.Env, "scenario", m.Scenario, "after", s.srv.opts.MakeTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	close(gone)
	cancel()
	return nil, err
}

func (s *session) openGuarded(ctx context.Context, m MakeRequest, e *vector) (err error) {
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
			err = fmt.Errorf("%w: %v", ErrInternal, p)
		}
	}()
	e.Vector, err = s.srv.opts.Open(ctx, m)
	return err
}
