package ws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// This file owns a session's life: its connections, one after the other, and its end. Everything here
// runs on the session's goroutine, run, but for what says that Server.mu is held: those are called by
// the server's and by connections that arrive.

// session is a client's environments and its numbered requests.
//
// Its goroutine, run, owns the environments, every reply and every read: a
// second goroutine to read costs 2 µs a step, a third of a round trip. Only
// while a step of a real-time environment, or any that takes longer than a
// tick of Server.watch, is under way does a goroutine of its own read: help.
//
// A step that takes longer than Options.StepTimeout is left to the goroutine it
// hangs in; another becomes run, answers `timeout` and goes on.
//
// A session whose connection fails waits for its client, which resumes it on a
// new one.
type session struct {
	srv    *Server
	id     string
	secret secret
	token  string // the resume token, until welcome has sent it
	who    identity
	log    *slog.Logger
	rows   atomic.Int64

	// Guarded by srv.mu.
	current *conn     // the client's connection; nil while there is none
	lostAt  time.Time // since when there is none
	client  string    // as it calls itself
	remote  string
	shown   []*shown // by env

	attach   chan attachment // holds the next connection; who set current sends it
	drained  chan struct{}   // closed by drain
	draining atomic.Bool     // reading ends at its next deadline
	revoked  atomic.Bool     // likewise: the client's token is no longer accepted

	reading
	overseen
	answers

	// Of run.
	envs    map[uint32]*vector
	lastEnv uint32
	making  atomic.Int32 // calls of Options.Open that have not returned
	req     *request     // memory of the request under way
	journal *journal     // nil: there is none
	replay  bool         // requests come from the journal

	// What the client's hello announced.
	events, finalInfo, resetOptions bool
}

// attachment is a connection and the message that resumed the session on it.
type attachment struct {
	conn   *conn
	resume control
}

var errSuperseded = errors.New("another goroutine took the session over")

// newSession is a session whose client is at c; srv.mu is held.
func (s *Server) newSession(c *conn, k secret, who identity) *session {
	ss := &session{
		srv: s, id: newID(), secret: k, who: who, current: c, envs: map[uint32]*vector{}, req: new(request),
		attach: make(chan attachment, 1), drained: make(chan struct{}),
	}
	ss.conn, ss.last, ss.next = c, time.Now(), 1
	ss.log = s.opts.Log.With("session", ss.id)
	ss.ctx, ss.cancel = context.WithCancel(context.Background())
	s.sessions[k] = ss
	return ss
}

// errEnd ends a connection whose last reply is written; the session ends
// with it, except where the code says that coming back helps.
type errEnd struct {
	code int
	text string
}

func (e *errEnd) Error() string { return e.text }

// peerClosed is the end of a connection as the peer wanted it.
type peerClosed struct{ *CloseError }

// run answers requests until the session ends, on one connection after the
// other; begin greets the first. With false another goroutine goes on.
func (s *session) run(begin func() error) bool {
	for {
		err := s.guarded(func() error { return apart(begin) })
		if errors.Is(err, errSuperseded) {
			return false
		}
		a, err := s.detach(err)
		if err != nil {
			s.over(err)
			return true
		}
		s.srv.stats.resumed.Add(1)
		begin = func() error { return s.resumed(a) }
	}
}

func (s *session) guarded(begin func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	if err := begin(); err != nil {
		return err
	}
	return s.serve()
}

func (s *session) panicked(p any) error {
	s.log.Error("panic", "panic", p, "stack", string(debug.Stack()))
	return &errEnd{closeInternal, "internal"}
}

// serve answers what is received; the error says why it ended.
func (s *session) serve() error {
	for {
		m, err := s.receive()
		if err != nil {
			return err // detach flushes
		}
		switch {
		case s.limited():
			err = s.fatal(0, fmt.Errorf("%w: more than %d messages a second", ErrRateLimited, s.rate))
		case m.op == opText:
			err = apart(func() error { return s.text(m) })
		default:
			err = s.binary(m)
		}
		if err != nil {
			return err // likewise
		}
		if s.sendErr != nil {
			return s.sendErr
		}
		if len(s.queue) == 0 && !s.conn.in.ready() { // the next read may block
			err := s.conn.flush()
			s.srv.stats.took(time.Since(s.last))
			if err != nil {
				return err
			}
		}
	}
}

// apart calls f on a stack of its own. JSON wants 16 KB of it, which the
// goroutine of a session would keep while it idles.
func apart(f func() error) error {
	var err error
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
		}()
		err = f()
	}()
	if <-done; panicked != nil {
		panic(panicked)
	}
	return err
}

// lose notes that the client is gone from c.
func (s *session) lose(c *conn) {
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	if s.current == c {
		s.current, s.lostAt = nil, time.Now()
	}
}

// detach closes the connection, which ended with err, and waits for the next.
// With an error there will be none, and why.
func (s *session) detach(err error) (attachment, error) {
	c := s.conn
	var end *errEnd
	var peer peerClosed
	var closed *CloseError
	code, text, final := 0, "", false
	switch {
	case errors.As(err, &end):
		code, text = end.code, end.text
		final = code < closeNoPong || code >= closeBadFrame
	case errors.As(err, &peer):
		if code, text = peer.Code, peer.Text; code == 1005 {
			code, text = closeNormal, ""
		}
		final = code == closeNormal || code == closeGoingAway
	case errors.As(err, &closed):
		code, text, final = closed.Code, closed.Text, true
	}
	if e := c.failure(); errors.Is(e, ErrSlowConsumer) { // what reading says is its consequence
		err = e
		s.srv.stats.failed(codeOf(err))
	}
	if s.draining.Load() || s.srv.opts.ResumeFor == 0 || s.next == 1 || s.ctx.Err() != nil {
		final = true
	}
	if final {
		s.forgotten() // before its client hears of it
	} else {
		s.lose(c)
		s.log.Info("client lost", "code", code, "reason", err)
	}
	if code == closeGoingAway && s.draining.Load() {
		s.write(&event{Type: "event", Event: "draining"})
	}
	if code != 0 {
		c.end(code, text, time.Second)
	} else {
		_ = c.flush()
		c.close()
	}
	if final {
		return attachment{}, err
	}
	c.in.buf, s.queue = nil, nil
	t := time.NewTimer(s.srv.opts.ResumeFor)
	defer t.Stop()
	select {
	case a := <-s.attach:
		return a, nil
	case <-s.drained:
		return attachment{}, ErrDraining
	case <-t.C:
	}
	s.srv.mu.Lock()
	back := s.current != nil
	s.srv.mu.Unlock()
	if back {
		return <-s.attach, nil
	}
	return attachment{}, fmt.Errorf("its client did not come back within %v: %w", s.srv.opts.ResumeFor, err)
}

// forgotten takes the session off the server's list.
func (s *session) forgotten() {
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	if s.srv.sessions[s.secret] == s {
		delete(s.srv.sessions, s.secret)
	}
}

// over frees what the session holds. A journal stays where the server drains:
// its successor reads it.
func (s *session) over(reason error) {
	s.abort()
	s.forgotten()
	select {
	case a := <-s.attach:
		why := ErrSessionLost
		if s.draining.Load() {
			why = ErrDraining
		}
		s.srv.turnAway(a.conn, a.resume, why)
	default:
	}
	s.journal.end(s.draining.Load())
	for _, e := range s.envs {
		s.closeVector(e)
	}
	s.log.Info("session closed", "reason", reason)
}

// drain lets the session answer what it has accepted, and end; srv.mu is held.
func (s *session) drain() {
	if s.draining.Swap(true) {
		return
	}
	close(s.drained)
	if s.current != nil {
		_ = s.current.net.SetReadDeadline(time.Now())
	}
}

// revoke ends the session, whose client's token is no longer accepted, with its
// next read; srv.mu is held.
func (s *session) revoke() {
	if !s.revoked.Swap(true) && s.current != nil {
		_ = s.current.net.SetReadDeadline(time.Now())
	}
}

// cut ends the session at once; srv.mu is held.
func (s *session) cut() {
	s.abort()
	if s.current != nil {
		_ = s.current.net.Close()
	}
}

// abort ends a step that waits for its context.
func (s *session) abort() {
	s.helpMu.Lock()
	defer s.helpMu.Unlock()
	s.cancel()
}
