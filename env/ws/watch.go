package ws

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// This file owns the time that work may take. Server.watch, one goroutine for all sessions, looks at
// each every tick: a step that lasts gets a reader (help), and one that lasts too long is given up to
// the goroutine that it hangs in. busy, still and idle are the working goroutine's side of that; all
// three and the watcher change overseen.work by compare-and-swap alone, so one of them wins.

const tick = 100 * time.Millisecond

// watch ticks the sessions while there are any.
func (s *Server) watch() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for now := range t.C {
		s.mu.Lock()
		for _, ss := range s.sessions {
			ss.tick(now)
			if s.opts.Tokens != nil && !s.opts.Tokens.has(ss.who) {
				ss.revoke()
			}
		}
		s.watching = len(s.sessions) > 0
		goOn := s.watching
		s.mu.Unlock()
		if !goOn {
			return
		}
	}
}

// overseen is what Server.watch looks at to find work that takes long.
type overseen struct {
	work     atomic.Uint64 // see executing
	doing    doing         // what is under way
	watched  uint64        // work at the last tick, and since when
	since    time.Time
	helpMu   sync.Mutex    // guards helped, ctx and cancel
	helped   chan struct{} // closed when help is done
	ctx      context.Context
	cancel   context.CancelFunc
	stopHelp atomic.Bool
}

// session.work counts executions in steps of one, over these bits.
const (
	executing = 1 << iota // an environment is at work
	timed                 // and StepTimeout counts
	helping               // and help reads meanwhile
	oneExecution
	workBits = oneExecution - 1
)

// doing is the execution that work counts.
type doing struct {
	e   *vector
	seq uint64
}

// busy marks the start of work that may take long. It uses no message's
// memory, since help may read during it. kind is executing, or with timed.
func (s *session) busy(kind uint64) (mine uint64) { return s.work.Add(kind) }

// still renews the time that work may take; false: another goroutine has
// taken over.
func (s *session) still(mine *uint64) bool {
	for {
		now := s.work.Load()
		if now&^helping != *mine {
			return false
		}
		if s.work.CompareAndSwap(now, now+oneExecution) {
			*mine += oneExecution
			return true
		}
	}
}

// idle marks the end of work, and takes reading back from help. With false
// another goroutine has taken over, and the session is to be left alone.
func (s *session) idle(mine uint64) bool {
	for {
		now := s.work.Load()
		if now&^helping != mine {
			return false
		}
		if s.work.CompareAndSwap(now, now&^workBits+oneExecution) {
			if now&helping != 0 {
				s.unhelp()
			}
			return true
		}
	}
}

// tick is called by Server.watch alone, with srv.mu held. Work that was under
// way at the last call, and is, gets help, and is given up when its time has
// passed. Work for a client that did not come back ends with its context.
func (s *session) tick(now time.Time) {
	state := s.work.Load()
	if state&executing == 0 || state&^helping != s.watched {
		s.watched, s.since = state&^helping, now
		return
	}
	if state&helping == 0 {
		s.startHelp(state)
		return
	}
	if s.current == nil && now.Sub(s.lostAt) >= s.srv.opts.ResumeFor {
		s.abort()
	}
	if t := s.srv.opts.StepTimeout; t != 0 && state&timed != 0 && now.Sub(s.since) >= t {
		s.giveUp(state)
	}
}

// giveUp leaves the step that state counts to the goroutine it hangs in.
func (s *session) giveUp(state uint64) {
	s.helpMu.Lock()
	defer s.helpMu.Unlock()
	if !s.work.CompareAndSwap(state, state&^workBits+oneExecution) {
		return
	}
	d := s.doing // of who hangs, who waits for helpMu before it goes on
	d.e.hung.Store(hungNow)
	s.cancel()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.srv.stats.supersessions.Add(1)
	s.log.Warn("step given up", "request", d.seq, "env", d.e.id, "after", s.srv.opts.StepTimeout)
	go func() {
		if s.run(func() error {
			s.unhelp()
			s.req = new(request)
			d.e.skip = true
			s.journal.drop(s, errors.New("a step was given up"))
			s.replyText(d.seq, errorFor(d.seq, fmt.Errorf("%w: more than %v", ErrTimeout, s.srv.opts.StepTimeout)))
			return s.conn.flush()
		}) {
			s.srv.running.Done()
		}
	}()
}

// late is called where a step came back that was given up.
func (s *session) late(e *vector) {
	s.log.Info("step came back that was given up", "env", e.id)
	s.helpMu.Lock() // which giveUp holds until e is hung
	back := e.hung.CompareAndSwap(hungNow, notHung)
	s.helpMu.Unlock()
	if !back {
		e.close(s.log)
	}
}
