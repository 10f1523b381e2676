package ws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planegym/planegym/env"
)

// session is a client's environments and its numbered requests.
//
// Its goroutine, run, owns the environments, every reply and every read: a
// second goroutine to read costs 2 µs a step, a third of a round trip. Only
// while a step of a real-time environment, or any that takes longer than a
// tick of Server.watch, is under way does a goroutine of its own read, help:
// it answers pings, queues what comes, and notices that the client is gone.
//
// A step that takes longer than Options.StepTimeout is left to the goroutine
// it hangs in; another takes the session over, answers `timeout` and goes on.
// What the first returns with, at last, nobody sees.
//
// A session whose connection fails waits for its client, which resumes it on
// a new one.
type session struct {
	srv    *Server
	id     string
	secret secret
	token  string // "" once it was told
	who    identity
	log    *slog.Logger
	rate   int // messages a second; 0: no bound
	rows   atomic.Int64

	// Guarded by srv.mu.
	current *conn     // the client's connection; nil while there is none
	lostAt  time.Time // since when there is none
	client  string    // as it calls itself
	remote  string
	shown   []*shown // by env

	attach  chan attachment // holds the next connection; sent to by who set current
	drained chan struct{}   // closed by drain

	// Of whoever reads: run, or help between its start and the close of helped.
	conn    *conn
	last    time.Time // a byte came
	request time.Time // a request came
	pinged  bool      // since last
	queue   []message // read by help
	readErr error     // why nothing more will be read

	work     atomic.Uint64 // see executing
	doing    doing         // what is under way
	watched  uint64        // work at the last tick, and since when
	since    time.Time
	helpMu   sync.Mutex    // guards helped, ctx and cancel
	helped   chan struct{} // closed when help is done
	ctx      context.Context
	cancel   context.CancelFunc
	stopHelp atomic.Bool

	draining atomic.Bool   // reading ends at its next deadline
	revoked  atomic.Bool   // likewise: the client's token is no longer accepted
	replied  atomic.Uint64 // highest number whose reply was handed to conn

	events bool // the client wants episode_end

	finalInfo, resetOptions bool // capabilities of the client's hello

	envs    map[uint32]*vector
	lastEnv uint32
	making  atomic.Int32 // calls of Options.Open that have not returned
	next    uint64       // number of the next request
	acked   uint64
	replies [inFlight]reply // by number
	spare   [][]byte        // memory of forgotten replies
	req     *request
	sendErr error     // of the replies to this connection
	window  time.Time // since when count counts
	count   int
	journal *journal // nil: none is kept
	replay  bool     // requests come from the journal
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

// attachment is a connection and the message that resumed the session on it.
type attachment struct {
	conn   *conn
	resume control
}

// message is a data message. buf is valid until the next read.
type message struct {
	op      byte
	buf     []byte
	replied uint64 // session.replied when it was read
}

type reply struct {
	seq uint64
	op  byte
	buf []byte
}

// vector is an environment of a session.
type vector struct {
	env.Vector
	id        uint32
	made      json.RawMessage // the request that made it
	spec      env.Spec
	num, d, s int
	f         int // info fields
	informer  env.Informer
	cancel    context.CancelFunc // of the context it was made with
	skip      bool               // answer `skipped` until RESYNC
	lastSeq   uint64             // of its last request
	hung      atomic.Int32

	out      env.Batch
	many     env.Batch // [T,n,…] of STEP_MANY
	info     []float32 // [n,F], or [T,n,F]
	final    []float32 // likewise, of before the resets of same_step; empty where the client does not know it
	finals   bool      // the client knows final infos
	episodes []episode // [num]
	shown    *shown
}

// vector.hung: a hung vector belongs to the goroutine that hangs in it,
// which closes it if it was orphaned meanwhile.
const (
	hungNot = iota
	hungNow
	orphaned
)

// episode is what episode_end tells.
type episode struct {
	Steps     int     `json:"steps"`
	Return    float64 `json:"return"`
	Resetting bool    `json:"resetting,omitempty"` // its next step starts an episode, and is none
}

var errSuperseded = errors.New("another goroutine took the session over")

// newSession is a session whose client is at c; srv.mu is held.
func (s *Server) newSession(c *conn, k secret, who identity) *session {
	ss := &session{
		srv: s, id: newID(), secret: k, who: who, conn: c, current: c, next: 1, envs: map[uint32]*vector{}, req: new(request),
		attach: make(chan attachment, 1), drained: make(chan struct{}), last: time.Now(),
	}
	ss.log = s.opts.Log.With("session", ss.id)
	ss.ctx, ss.cancel = context.WithCancel(context.Background())
	s.sessions[k] = ss
	return ss
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
	if s.draining.Load() || s.srv.opts.ResumeFor < 0 || s.next == 1 || s.ctx.Err() != nil {
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
	s.journal.flush(s)
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
	if !back {
		delete(s.srv.sessions, s.secret)
	}
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
	s.journal.end(s, s.draining.Load())
	for _, e := range s.envs {
		s.closeVector(e)
	}
	s.log.Info("session closed", "reason", reason)
}

func (s *session) closeVector(e *vector) {
	delete(s.envs, e.id)
	s.rows.Add(-int64(e.num))
	s.srv.mu.Lock()
	s.shown = slices.DeleteFunc(s.shown, func(d *shown) bool { return d.Env == e.id })
	s.srv.mu.Unlock()
	if e.hung.CompareAndSwap(hungNow, orphaned) {
		return // who hangs in it closes it
	}
	e.close(s.log)
}

func (e *vector) close(log *slog.Logger) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	defer e.cancel()
	if err := e.Close(); err != nil {
		log.Warn("environment did not close", "env", e.id, "error", err)
	}
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

// unhelp ends help.
func (s *session) unhelp() {
	s.stopHelp.Store(true)
	_ = s.conn.net.SetReadDeadline(time.Now())
	s.helpMu.Lock()
	helped := s.helped
	s.helpMu.Unlock()
	<-helped
	s.stopHelp.Store(false)
	if s.readErr == nil {
		s.readErr = s.arm()
	}
}

// startHelp has a goroutine read while the work that state counts is
// under way.
func (s *session) startHelp(state uint64) {
	s.helpMu.Lock()
	defer s.helpMu.Unlock()
	if s.work.CompareAndSwap(state, state|helping) {
		done := make(chan struct{})
		s.helped = done
		go func() { defer close(done); s.help() }()
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
	if s.current == nil && now.Sub(s.lostAt) >= max(s.srv.opts.ResumeFor, 0) {
		s.abort()
	}
	if t := s.srv.opts.StepTimeout; t > 0 && state&timed != 0 && now.Sub(s.since) >= t {
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
	back := e.hung.CompareAndSwap(hungNow, hungNot)
	s.helpMu.Unlock()
	if !back {
		e.close(s.log)
	}
}

func (s *session) help() {
	for s.readErr == nil && len(s.queue) < inFlight {
		m, err := s.read()
		if err != nil {
			if !s.stopHelp.Load() || !isTimeout(err) {
				s.readErr = err
				var end *errEnd
				if !errors.As(err, &end) {
					s.lose(s.conn)
				}
			}
			return
		}
		m.buf = bytes.Clone(m.buf)
		s.queue = append(s.queue, m)
	}
}

// receive is the next message for run.
func (s *session) receive() (message, error) {
	if len(s.queue) > 0 {
		m := s.queue[0]
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil
		}
		return m, nil
	}
	if s.readErr != nil {
		return message{}, s.readErr
	}
	return s.read()
}

// arm sets the deadline of reads: the ping that is due, or the pong.
func (s *session) arm() error {
	d := s.srv.opts.PingAfter
	if s.pinged {
		d += s.srv.opts.PongTimeout
	}
	err := s.conn.net.SetReadDeadline(s.last.Add(d))
	if s.draining.Load() || s.revoked.Load() || s.stopHelp.Load() { // whose own deadline must not be lost
		err = s.conn.net.SetReadDeadline(s.last)
	}
	return err
}

// read is the next data message. It answers pings and sends them.
func (s *session) read() (message, error) {
	o, c := &s.srv.opts, s.conn
	for {
		op, p, err := c.in.next()
		if c.in.data {
			c.in.data, s.pinged = false, false
			s.last = time.Now()
		}
		if isTimeout(err) {
			now := time.Now()
			silent := now.Sub(s.last)
			switch {
			case s.draining.Load():
				return message{}, &errEnd{closeGoingAway, "draining"}
			case s.revoked.Load():
				return message{}, &errEnd{closeUnauthorized, "unauthorized"}
			case s.stopHelp.Load():
				return message{}, err
			case now.Sub(s.request) >= o.IdleTimeout:
				return message{}, &errEnd{closeIdle, fmt.Sprintf("no request for %v", o.IdleTimeout)}
			case silent >= o.PingAfter+o.PongTimeout:
				return message{}, &errEnd{closeNoPong, "no pong"}
			case silent >= o.PingAfter && !s.pinged:
				s.pinged = true
				c.rest()
				if err := c.send(opPing, nil, true); err != nil {
					return message{}, err
				}
			}
			if err := s.arm(); err != nil {
				return message{}, err
			}
			continue
		}
		if err != nil {
			return message{}, err
		}
		switch op {
		case opPing:
			if err := c.send(opPong, p, true); err != nil {
				return message{}, err
			}
		case opPong:
		case opClose:
			return message{}, peerClosed{parseClose(p)}
		default:
			s.request = s.last
			return message{op, p, s.replied.Load()}, nil
		}
	}
}

func (s *session) limits() limits {
	o := &s.srv.opts
	return limits{
		RequestBytes: maxRequest, ReplyBytes: maxReply, InFlight: inFlight, Envs: o.MaxEnvs,
		IdleSeconds: o.IdleTimeout.Seconds(), PingSeconds: o.PingAfter.Seconds(), PongSeconds: o.PongTimeout.Seconds(),
		ResumeSeconds: max(o.ResumeFor, 0).Seconds(),
	}
}

func (s *session) capabilities() []string {
	if s.srv.opts.ResumeFor < 0 {
		return []string{"episode_end", "final_info", "info", "reset_options", "state", "step_many"}
	}
	return []string{"episode_end", "final_info", "info", "reset_options", "resume", "state", "step_many"}
}

// listen readies the session to read from its connection.
func (s *session) listen(hello control) error {
	s.events = hello.Capabilities.episodeEnd
	if s.rate = s.srv.opts.Rate; s.rate == 0 && !local(s.conn.net) {
		s.rate = defaultRate
	}
	s.last = time.Now()
	s.request, s.pinged = s.last, false
	s.window, s.count = s.last, 0
	s.queue, s.readErr, s.sendErr = nil, nil, nil
	if err := s.conn.flush(); err != nil {
		return err
	}
	return s.arm()
}

// welcome answers the first hello.
func (s *session) welcome(hello control) error {
	s.finalInfo, s.resetOptions = hello.Capabilities.finalInfo, hello.Capabilities.resetOptions
	w := &welcome{
		Type: "welcome", ID: *hello.ID, Server: s.srv.opts.Name, Versions: []int{1},
		Capabilities: s.capabilities(), Limits: s.limits(), Session: s.id,
	}
	if s.srv.opts.ResumeFor >= 0 {
		w.ResumeToken = s.token
	}
	s.token = ""
	s.write(w)
	s.journal = s.openJournal()
	return s.listen(hello)
}

// resumed goes on at a new connection: with the replies that the client has
// not had, or an error, which ends the session.
func (s *session) resumed(a attachment) error {
	s.conn = a.conn
	for _, e := range s.envs {
		s.conn.allow(e.pending())
	}
	from := a.resume.LastSeq + 1
	missing := from > s.next || s.next-from > inFlight
	for n := from; n < s.next && !missing; n++ {
		missing = s.replies[n%inFlight].seq != n
	}
	if missing {
		return s.fatal(*a.resume.ID, fmt.Errorf("%w: last_seq is %d, and not all replies from there to %d are kept", ErrSessionLost, a.resume.LastSeq, s.next-1))
	}
	s.write(&resumed{
		Type: "resumed", ID: *a.resume.ID, Server: s.srv.opts.Name, Versions: []int{1},
		Capabilities: s.capabilities(), Limits: s.limits(), Session: s.id, Accepted: s.next - 1,
	})
	for n := from; n < s.next; n++ {
		r := &s.replies[n%inFlight]
		if err := s.conn.send(r.op, r.buf, false); err != nil {
			return err
		}
	}
	s.log.Info("session resumed", "remote", a.conn.net.RemoteAddr().String(), "last_seq", a.resume.LastSeq, "accepted", s.next-1)
	return s.listen(a.resume)
}

// limited says that this message is one too many.
func (s *session) limited() bool {
	if s.rate == 0 {
		return false
	}
	if s.count++; s.count <= s.rate {
		return false
	}
	if s.last.Sub(s.window) < time.Second {
		s.count--
		return true
	}
	s.window, s.count = s.last, 1
	return false
}

// serve answers what is received; the error says why it ended.
func (s *session) serve() error {
	for {
		m, err := s.receive()
		if err != nil {
			_ = s.conn.flush()
			return err
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
			return err // conn.end flushes
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

// write sends an unnumbered message.
func (s *session) write(m any) {
	b, err := encode(m)
	if err != nil {
		s.log.Error("message not encoded", "error", err)
		return
	}
	_ = s.conn.send(opText, b, false) // a broken connection shows at the flush
}

// fatal reports err and ends the session.
func (s *session) fatal(id uint64, err error) error {
	m := errorFor(id, err)
	m.Fatal = true
	code := closeBadFrame
	switch {
	case errors.Is(err, ErrBadVersion):
		code = closeBadVersion
	case errors.Is(err, ErrSessionLost):
		code = closeLost
	case errors.Is(err, ErrInternal):
		code = closeInternal
	case errors.Is(err, ErrRateLimited):
		code, m.RetryMS = closeBusy, 1000
	}
	s.srv.stats.failed(m.Code)
	s.log.Info("session fails", "request", id, "code", m.Code, "error", err)
	s.write(m)
	return &errEnd{code, m.Code}
}

// turn admits the request of a number: fresh, or one whose reply is sent
// again here. An error is fatal.
func (s *session) turn(seq uint64) (fresh bool, err error) {
	switch {
	case seq == s.next:
		s.next++
		return true, nil
	case seq == 0 || seq > s.next:
		return false, fmt.Errorf("%w: number %d, want %d", ErrBadFrame, seq, s.next)
	}
	r := &s.replies[seq%inFlight]
	if r.seq != seq {
		return false, fmt.Errorf("%w: the reply to %d is no longer kept", ErrSessionLost, seq)
	}
	return false, s.conn.send(r.op, r.buf, false)
}

// ack forgets replies up to seq.
func (s *session) ack(seq uint64) error {
	if seq <= s.acked {
		return nil
	}
	if seq > s.replied.Load() {
		return fmt.Errorf("%w: ack is %d, the last reply was %d", ErrBadFrame, seq, s.replied.Load())
	}
	for n := max(s.acked+1, s.next-min(s.next, inFlight)); n <= seq; n++ {
		if r := &s.replies[n%inFlight]; r.seq == n {
			s.forget(r)
		}
	}
	s.acked = seq
	return nil
}

func (s *session) forget(r *reply) {
	if cap(r.buf) <= maxReply/inFlight && len(s.spare) < 4 {
		s.spare = append(s.spare, r.buf)
	}
	*r = reply{}
}

// buffer is memory for the reply to seq.
func (s *session) buffer(seq uint64) []byte {
	r := &s.replies[seq%inFlight]
	if r.seq != 0 {
		s.forget(r)
	}
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b[:0]
	}
	return nil
}

// reply keeps the reply to seq, in memory that buffer gave, and sends it. The
// journal is written first: once conn has the reply, any goroutine may write it.
func (s *session) reply(seq uint64, op byte, b []byte) {
	s.replies[seq%inFlight] = reply{seq, op, b}
	s.replied.Store(seq)
	s.journal.commit(s, b)
	s.journal.flush(s)
	if !s.replay && s.sendErr == nil {
		s.sendErr = s.conn.send(op, b, false)
	}
}

func (s *session) replyText(seq uint64, m any) {
	if e, ok := m.(*errorMessage); ok && !s.replay {
		s.srv.stats.failed(e.Code)
		s.log.Debug("request failed", "request", seq, "code", e.Code, "error", e.Message)
	}
	s.buffer(seq)
	b, err := encode(m)
	if err != nil {
		b, _ = encode(errorFor(seq, fmt.Errorf("%w: %v", ErrEnv, err)))
	}
	if len(b) > maxReply {
		b, _ = encode(errorFor(seq, fmt.Errorf("%w: a reply of %d bytes, the most is %d", ErrCapacity, len(b), maxReply)))
	}
	s.reply(seq, opText, b)
}

// find is the environment of a number.
func (s *session) find(id uint32) (*vector, error) {
	if e := s.envs[id]; e != nil {
		if e.hung.Load() != hungNot {
			e.skip = true
			return nil, fmt.Errorf("%w: a step of it, given up, has not come back", ErrTimeout)
		}
		return e, nil
	}
	if id >= 1 && id <= s.lastEnv {
		return nil, env.ErrClosed
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknownEnv, id)
}

// admit checks what a real-time environment asks for beyond order.
func (e *vector) admit(seq uint64, m message, many bool) error {
	last := e.lastSeq
	e.lastSeq = seq
	if !e.spec.RealTime {
		return nil
	}
	if last > m.replied {
		return fmt.Errorf("%w: request %d is still under way, and a real-time environment takes one at a time", ErrBadFrame, last)
	}
	if many {
		return fmt.Errorf("%w: a real-time environment takes no STEP_MANY", ErrBadFrame)
	}
	return nil
}

// binary answers a request of the hot path. An error ends the session.
func (s *session) binary(m message) error {
	h, err := parseHeader(m.buf)
	if err != nil {
		return s.fatal(0, err)
	}
	if h.Type != typeStep && h.Type != typeReset && h.Type != typeStepMany {
		return s.fatal(h.Seq, fmt.Errorf("%w: type %d is no request", ErrBadFrame, h.Type))
	}
	if fresh, err := s.turn(h.Seq); err != nil {
		return s.fatal(h.Seq, err)
	} else if !fresh {
		return nil
	}
	s.journal.begin(m)
	s.srv.stats.requests[h.Type].Add(1)
	e, err := s.find(h.Env)
	if err == nil {
		err = s.hot(e, h, m)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSuperseded):
		return err
	case errors.Is(err, ErrInternal):
		return s.fatal(h.Seq, err)
	}
	s.replyText(h.Seq, errorFor(h.Seq, err))
	return nil
}

// hot decodes, executes and answers; an error is to be answered.
func (s *session) hot(e *vector, h header, m message) error {
	if h.Flags&flagResync != 0 {
		e.skip = false
	}
	r := s.req
	r.header = h
	err := e.admit(h.Seq, m, h.Type == typeStepMany)
	if err == nil {
		err = r.decode(m.buf, e.num, e.s)
	}
	if err == nil {
		err = s.ack(r.Ack)
	}
	if err == nil && e.skip {
		return ErrSkipped
	}
	steps := 0
	if err == nil {
		steps, err = s.execute(e, r)
	}
	if errors.Is(err, errSuperseded) {
		return err
	}
	if err != nil {
		e.skip = true
		return err
	}
	h.Type++ // its result
	out := &e.out
	if h.Type == typeStepManyResult {
		out = &e.many
	}
	s.reply(h.Seq, opBinary, appendResult(s.buffer(h.Seq), h, steps, out, e.info, e.final))
	return nil
}

// execute does what r asks, into e.out (STEP_MANY: e.many) and e.info, and
// gives the number of steps done. After errSuperseded the session and r
// belong to another goroutine.
func (s *session) execute(e *vector, r *request) (steps int, err error) {
	s.doing = doing{e, r.Seq}
	kind := uint64(executing | timed)
	if s.replay {
		kind = executing
	}
	ctx := s.ctx // giveUp replaces it
	mine := s.busy(kind)
	if e.spec.RealTime {
		s.startHelp(mine)
	}
	steps, err = s.call(ctx, e, r, &mine)
	if !s.idle(mine) {
		s.late(e)
		return 0, errSuperseded
	}
	if err != nil {
		return 0, err
	}
	switch {
	case r.Type == typeReset:
		e.begin(r.Rows)
	default:
		s.srv.stats.rows.Add(uint64(steps * len(e.out.Reward)))
		b := &e.many
		if r.Type == typeStep {
			b = &e.out
		}
		looked := e.shown.watch.until.Load() != 0
		for t := range steps {
			at := t * len(e.out.Reward)
			s.track(e, r.Rows, b, at)
			if looked {
				e.sample(r, b, at)
			}
		}
	}
	return steps, nil
}

// call is the call of the environment, whose panic is an error.
func (s *session) call(ctx context.Context, e *vector, r *request, mine *uint64) (steps int, err error) {
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
			err = fmt.Errorf("%w: %v", ErrInternal, p)
		}
	}()
	e.info, e.final = e.info[:0], e.final[:0]
	switch r.Type {
	case typeReset:
		if r.Options != nil {
			err = env.ResetWith(ctx, e.Vector, r.Rows, r.Seeds, *r.Options, &e.out)
		} else {
			err = e.Reset(ctx, r.Rows, r.Seeds, &e.out)
		}
	case typeStep:
		err = e.Step(ctx, r.Rows, r.Actions, &e.out)
	default:
		return s.stepMany(ctx, e, r, mine)
	}
	if err == nil && r.Flags&flagInfo != 0 {
		e.tell(r.Rows, len(e.out.Reward))
	}
	return 1, err
}

// begin notes that rows begin an episode.
func (e *vector) begin(rows []int) {
	for i := range len(e.out.Reward) {
		e.episodes[env.RowAt(rows, i)] = episode{}
	}
}

// track adds up episodes over the rows of b from the at-th, and tells of
// their ends.
func (s *session) track(e *vector, rows []int, b *env.Batch, at int) {
	n := len(e.out.Reward)
	terminated, truncated := b.Terminated[at:at+n], b.Truncated[at:at+n]
	for i, reward := range b.Reward[at : at+n] {
		row := i
		if rows != nil {
			row = rows[i]
		}
		p := &e.episodes[row]
		if p.Resetting {
			*p = episode{}
			continue
		}
		p.Steps++
		p.Return += float64(reward)
		if terminated[i] || truncated[i] {
			s.ended(e, row, *p)
			*p = episode{Resetting: e.spec.Autoreset == env.NextStep}
		}
	}
}

func (s *session) ended(e *vector, row int, p episode) {
	if s.replay {
		return
	}
	s.srv.stats.episodes.Add(1)
	if s.events {
		row, total := row, p.Return // only these go to the heap
		s.write(&event{Type: "event", Event: "episode_end", Env: e.id, Row: &row, Steps: p.Steps, Return: &total})
	}
}

// tell appends the rows' info.
func (e *vector) tell(rows []int, n int) {
	if e.f > 0 {
		for i := range n {
			e.info = e.informer.Info(env.RowAt(rows, i), e.info)
		}
		for i := 0; e.finals && i < n; i++ {
			at := len(e.final)
			final, ok := env.FinalInfo(e.Vector, env.RowAt(rows, i), e.final)
			if !ok { // the vector does not know: what it has is the best there is
				final = e.informer.Info(env.RowAt(rows, i), e.final[:at])
			}
			e.final = final
		}
	}
}

func (s *session) stepMany(ctx context.Context, e *vector, r *request, mine *uint64) (int, error) {
	n, final := int(r.N), e.spec.Autoreset == env.SameStep
	f := 0
	if r.Flags&flagInfo != 0 {
		f = e.f
	}
	if size := resultBytes(true, n*r.Steps, e.d, f, final, e.finals); size > maxReply {
		most := sort.Search(r.Steps, func(t int) bool { return resultBytes(true, n*(t+1), e.d, f, final, e.finals) > maxReply })
		return 0, fmt.Errorf("%w: %d steps make a reply of %d bytes; %d fit", ErrCapacity, r.Steps, size, most)
	}
	wide := n * e.s
	for t := range r.Steps {
		if err := env.CheckActions(r.Rows, n, r.Actions[t*wide:(t+1)*wide], e.spec.Action); err != nil {
			return 0, err
		}
	}
	b := &e.many
	b.Size(n*r.Steps, e.d, final)
	for t := range r.Steps {
		if !s.still(mine) {
			return 0, errSuperseded
		}
		if err := e.Step(ctx, r.Rows, r.Actions[t*wide:(t+1)*wide], &e.out); err != nil {
			if t > 0 {
				err = fmt.Errorf("after %d of %d steps: %w", t, r.Steps, err)
			}
			return 0, err
		}
		copy(b.Obs[t*n*e.d:], e.out.Obs)
		copy(b.Reward[t*n:], e.out.Reward)
		copy(b.Terminated[t*n:], e.out.Terminated)
		copy(b.Truncated[t*n:], e.out.Truncated)
		if final {
			copy(b.FinalObs[t*n*e.d:], e.out.FinalObs)
		}
		if f > 0 {
			e.tell(r.Rows, n)
		}
		if e.spec.Autoreset == env.Disabled && (anySet(e.out.Terminated) || anySet(e.out.Truncated)) {
			b.Size(n*(t+1), e.d, final)
			return t + 1, nil
		}
	}
	return r.Steps, nil
}

// text answers a control message. An error ends the session.
func (s *session) text(m message) error {
	c, err := parseControl(m.buf)
	if c.ID == nil {
		s.write(errorFor(0, err))
		return nil
	}
	id := *c.ID
	if !c.numbered() {
		switch {
		case err != nil:
		case c.Type == "ping":
			s.write(&pong{"pong", id})
			return nil
		default:
			err = fmt.Errorf("%w: %s was said before", ErrBadFrame, c.Type)
		}
		s.write(errorFor(id, err))
		return nil
	}
	if fresh, err := s.turn(id); err != nil {
		return s.fatal(id, err)
	} else if !fresh {
		return nil
	}
	s.journal.begin(m)
	s.srv.stats.requests[0].Add(1)
	if err == nil {
		err = s.ack(c.Ack)
	}
	var out any
	if err == nil {
		out, err = s.control(&c, id, m)
	}
	switch {
	case errors.Is(err, errSuperseded):
		return err
	case errors.Is(err, ErrInternal):
		return s.fatal(id, err)
	case err != nil:
		s.replyText(id, errorFor(id, err))
	default:
		s.replyText(id, out)
		if c.Type == "close" && c.Env == 0 {
			return &errEnd{closeNormal, ""}
		}
	}
	return nil
}

// control does what c asks and gives the reply.
func (s *session) control(c *control, id uint64, m message) (out any, err error) {
	made := m.buf
	if c.Type == "make" {
		made = bytes.Clone(m.buf)
	}
	if c.Type != "step" && c.Type != "reset" { // execute does
		mine := s.busy(executing)
		defer s.idle(mine)
	}
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
			err = fmt.Errorf("%w: %v", ErrInternal, p)
		}
	}()
	switch c.Type {
	case "make":
		return s.make(c, id, made)
	case "close":
		if c.Env == 0 {
			return &envReply{"closed", id, 0}, nil
		}
		if e := s.envs[c.Env]; e != nil { // one that hangs too
			s.closeVector(e)
			return &envReply{"closed", id, e.id}, nil
		}
	case "reset", "step", "state", "set_state":
	default:
		return nil, fmt.Errorf("%w: unknown type %q", ErrBadFrame, c.Type)
	}
	e, err := s.find(c.Env)
	if err != nil {
		return nil, err
	}
	if err := e.admit(id, m, false); err != nil {
		return nil, err
	}
	switch c.Type {
	case "reset":
		return s.resetText(e, c, id)
	case "step":
		return s.stepText(e, c, id)
	case "state":
		return s.state(e, c, id)
	}
	return s.setState(e, c, id)
}

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
		defer s.making.Add(-1)
		err := s.openGuarded(ctx, m, e)
		select {
		case made <- err:
		case <-gone:
			if err == nil {
				e.close(s.log)
			}
		}
	}()
	var late <-chan time.Time
	if d := s.srv.opts.MakeTimeout; d > 0 && !s.replay {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	var err error
	select {
	case err = <-made:
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

func (e *vector) replyBytes(n int) int {
	return int(resultBytes(false, n, e.d, e.f, e.spec.Autoreset == env.SameStep, e.finals))
}

// pending is how many bytes of replies may wait for a client.
func (e *vector) pending() int { return max(leastPending, 2*inFlight*e.replyBytes(e.num)) }

// readable refuses a text reply that would be too long.
func (e *vector) readable(rows []int) error {
	n := e.num
	if rows != nil {
		n = len(rows)
	}
	if size := 32 * n * (2*e.d + 2*e.f + 3); size > maxReply {
		return fmt.Errorf("%w: %d rows make a JSON reply longer than %d bytes: use the binary form", ErrCapacity, n, maxReply)
	}
	return nil
}

func split(x []float32, n int) [][]float32 {
	out := make([][]float32, n)
	d := len(x) / n
	for i := range out {
		out[i] = x[i*d : (i+1)*d]
	}
	return out
}

// infos are the infos of n rows, info [n,F], by name; nil where there are none.
func (e *vector) infos(n int, info []float32) map[string][]float32 {
	if len(info) == 0 {
		return nil
	}
	out := make(map[string][]float32, e.f)
	for j, f := range e.informer.InfoFields() {
		for i := range n {
			out[f.Name] = append(out[f.Name], info[i*e.f+j])
		}
	}
	return out
}

// executeText executes a text form as its binary one would be; n is the rows.
func (s *session) executeText(e *vector, c *control, id uint64, kind uint8, seeds []uint64, actions []int32, options *env.Options) (n int, err error) {
	if c.Rows != nil && len(c.Rows) == 0 {
		return 0, fmt.Errorf("%w: rows is empty", env.ErrInvalidRows)
	}
	rows, err := e.ints(c.Rows)
	if err == nil {
		err = e.readable(rows)
	}
	if err != nil {
		return 0, err
	}
	r := &request{header: header{Type: kind, Seq: id}, Seeds: seeds, Rows: rows, Actions: actions, Options: options}
	if c.Info {
		r.Flags = flagInfo
	}
	if _, err = s.execute(e, r); err != nil {
		return 0, err
	}
	return len(e.out.Reward), nil
}

func (s *session) resetText(e *vector, c *control, id uint64) (any, error) {
	options, err := e.options(c.Options)
	if err != nil {
		return nil, err
	}
	if c.Seed != nil && c.Seeds != nil {
		return nil, fmt.Errorf("%w: reset: both seed and seeds", ErrBadFrame)
	}
	if len(c.Seeds) > e.num {
		return nil, fmt.Errorf("%w: %d seeds for %d rows", env.ErrInvalidRows, len(c.Seeds), e.num)
	}
	var seeds []uint64
	for _, v := range c.Seeds {
		seeds = append(seeds, uint64(v))
	}
	if c.Seed != nil {
		n := e.num
		if c.Rows != nil {
			n = len(c.Rows)
		}
		for i := range n {
			seeds = append(seeds, uint64(*c.Seed)+uint64(i))
		}
	}
	n, err := s.executeText(e, c, id, typeReset, seeds, nil, options)
	if err != nil {
		return nil, err
	}
	return &resetResult{Type: "reset_result", ID: id, Env: e.id, Obs: split(e.out.Obs, n), Info: e.infos(n, e.info)}, nil
}

// emptyObject says that b is absent, null or {}.
func emptyObject(b json.RawMessage) bool {
	b = bytes.TrimSpace(b)
	return len(b) == 0 || string(b) == "null" || b[0] == '{' && len(bytes.TrimSpace(b[1:len(b)-1])) == 0
}

func (s *session) stepText(e *vector, c *control, id uint64) (any, error) {
	if c.Actions == nil {
		return nil, fmt.Errorf("%w: step: actions is missing", ErrBadFrame)
	}
	if a := c.Actions; a.rows > 0 && (a.width != e.s || a.odd != 0) {
		i, has := 0, a.width
		if a.width == e.s {
			i, has = a.odd, a.has
		}
		if i < len(c.Rows) {
			i = int(c.Rows[i])
		}
		return nil, &env.RowError{Row: i, Err: fmt.Errorf("%w: %d numbers, want %d", env.ErrInvalidAction, has, e.s)}
	}
	n, err := s.executeText(e, c, id, typeStep, nil, c.Actions.flat, nil)
	if err != nil {
		return nil, err
	}
	out := &stepResult{
		resetResult: resetResult{Type: "step_result", ID: id, Env: e.id, Obs: split(e.out.Obs, n), Info: e.infos(n, e.info)},
		Reward:      e.out.Reward, Terminated: e.out.Terminated, Truncated: e.out.Truncated,
	}
	if len(e.out.FinalObs) > 0 && (anySet(e.out.Terminated) || anySet(e.out.Truncated)) {
		out.FinalObs, out.FinalInfo = split(e.out.FinalObs, n), e.infos(n, e.final)
		for i := range out.FinalObs {
			if !e.out.Terminated[i] && !e.out.Truncated[i] {
				out.FinalObs[i] = nil
			}
		}
	}
	return out, nil
}

// ints are rows as an environment takes them; nil stays nil. More than there
// are cannot all be good.
func (e *vector) ints(rows rowList) ([]int, error) {
	if len(rows) > e.num {
		return nil, fmt.Errorf("%w: %d rows named, there are %d", env.ErrInvalidRows, len(rows), e.num)
	}
	if rows == nil {
		return nil, nil
	}
	out := make([]int, len(rows))
	for i, r := range rows {
		out[i] = int(r)
	}
	return out, nil
}

// rowsOf is rows, or all.
func (e *vector) rowsOf(list rowList) ([]int, error) {
	rows, err := e.ints(list)
	if err != nil {
		return nil, err
	}
	if list == nil {
		for i := range e.num {
			rows = append(rows, i)
		}
	}
	return rows, env.CheckRows(rows, make([]bool, e.num))
}

func (s *session) state(e *vector, c *control, id uint64) (any, error) {
	rows, err := e.rowsOf(c.Rows)
	if err != nil {
		return nil, err
	}
	snap, ok := e.Vector.(env.Snapshotter)
	if !ok {
		return nil, fmt.Errorf("%w: it takes none", env.ErrBadSnapshot)
	}
	out := &stateResult{Type: "state_result", ID: id, Env: e.id, States: [][]byte{}}
	for _, r := range rows {
		b, err := snap.Snapshot(r, nil)
		if err != nil {
			return nil, err
		}
		out.States = append(out.States, b)
	}
	return out, nil
}

// setState restores all rows or, putting back what it changed, none.
func (s *session) setState(e *vector, c *control, id uint64) (any, error) {
	rows, err := e.rowsOf(c.Rows)
	if err != nil {
		return nil, err
	}
	if len(rows) != c.States.n {
		return nil, fmt.Errorf("%w: %d states for %d rows", env.ErrInvalidRows, c.States.n, len(rows))
	}
	states, err := c.States.decode()
	if err != nil {
		return nil, err
	}
	snap, ok := e.Vector.(env.Snapshotter)
	if !ok {
		return nil, fmt.Errorf("%w: it takes none", env.ErrBadSnapshot)
	}
	var before [][]byte
	for i, r := range rows {
		old, err := snap.Snapshot(r, nil)
		if err == nil {
			err = snap.Restore(r, states[i])
		}
		if err != nil {
			for j, b := range before {
				if err := snap.Restore(rows[j], b); err != nil {
					return nil, fmt.Errorf("%w: row %d was changed and cannot be put back: %v", ErrEnv, rows[j], err)
				}
			}
			return nil, err
		}
		before = append(before, old)
	}
	for _, r := range rows {
		e.episodes[r] = episode{} // counted from here
	}
	return &envReply{"state_set", id, e.id}, nil
}
