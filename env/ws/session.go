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
// tick of Server.watch, is under way does a goroutine of its own read, help.
// It answers pings, queues what comes, and when the connection fails cancels
// ctx, which ends a step that is still waiting.
type session struct {
	srv    *Server
	id     string
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	conn   *conn

	// Of whoever reads: run, or help between its start and the close of helped.
	last    time.Time // a byte came
	request time.Time // a request came
	pinged  bool      // since last
	queue   []message // read by help
	readErr error     // why nothing more will be read

	work     atomic.Uint32 // see executing
	watched  uint32        // work at the last tick
	helpMu   sync.Mutex    // guards helped
	helped   chan struct{} // closed when help is done
	stopHelp atomic.Bool

	draining atomic.Bool   // reading ends at its next deadline
	replied  atomic.Uint64 // highest number whose reply was handed to conn

	envs    map[uint32]*vector
	lastEnv uint32
	next    uint64 // number of the next request
	acked   uint64
	replies [inFlight]reply // by number
	spare   [][]byte        // memory of forgotten replies
	req     request
}

// session.work counts executions in steps of one, over these bits.
const (
	executing = 1 << iota // an environment is at work
	helping               // and help reads meanwhile
	oneExecution
)

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
	spec      env.Spec
	num, d, s int
	f         int // info fields
	informer  env.Informer
	skip      bool   // answer `skipped` until RESYNC
	lastSeq   uint64 // of its last request

	out  env.Batch
	many env.Batch // [T,n,…] of STEP_MANY
	info []float32 // [n,F], or [T,n,F]
}

func (s *Server) newSession(c *conn) *session {
	ss := &session{
		srv: s, id: newID(), conn: c, next: 1, envs: map[uint32]*vector{},
	}
	ss.log = s.opts.Log.With("session", ss.id)
	ss.ctx, ss.cancel = context.WithCancel(context.Background())
	return ss
}

// drain lets the session answer what it has accepted, and end.
func (s *session) drain() {
	s.draining.Store(true)
	_ = s.conn.net.SetReadDeadline(time.Now())
}

// cut ends the session at once.
func (s *session) cut() {
	s.cancel()
	_ = s.conn.net.Close()
}

// errEnd ends a session whose last reply is written.
type errEnd struct {
	code int
	text string
}

func (e *errEnd) Error() string { return e.text }

// run answers requests until the connection or the session ends.
func (s *session) run(hello uint64) {
	defer s.cancel()
	var err error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = s.panicked(p)
			}
		}()
		err = s.serve(hello)
	}()
	var end *errEnd
	var closed *CloseError
	code, text := 0, ""
	switch {
	case errors.As(err, &end):
		code, text = end.code, end.text
	case errors.As(err, &closed):
		if code, text = closed.Code, closed.Text; code == 1005 {
			code, text = closeNormal, ""
		}
	}
	s.cancel()
	if code != 0 {
		s.conn.end(code, text, time.Second)
	} else {
		_ = s.conn.net.Close()
	}
	for _, e := range s.envs {
		s.closeVector(e)
	}
	s.log.Info("session closed", "code", code, "reason", err)
}

func (s *session) panicked(p any) error {
	s.log.Error("panic", "panic", p, "stack", string(debug.Stack()))
	return &errEnd{closeInternal, "internal"}
}

func (s *session) closeVector(e *vector) {
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
		}
	}()
	if err := e.Close(); err != nil {
		s.log.Warn("environment did not close", "env", e.id, "error", err)
	}
	delete(s.envs, e.id)
}

// busy marks the start of work that may take long. It uses no message's
// memory, since help may read during it.
func (s *session) busy() { s.work.Add(executing) }

// idle marks the end of it, and takes reading back from help.
func (s *session) idle() {
	if s.work.Add(oneExecution-executing)&helping == 0 {
		return
	}
	s.stopHelp.Store(true)
	_ = s.conn.net.SetReadDeadline(time.Now())
	s.helpMu.Lock()
	helped := s.helped
	s.helpMu.Unlock()
	<-helped
	s.stopHelp.Store(false)
	s.work.Add(^uint32(helping) + 1)
	if s.readErr == nil {
		s.readErr = s.arm()
	}
}

// startHelp has a goroutine read while the work that state counts is
// under way.
func (s *session) startHelp(state uint32) {
	s.helpMu.Lock()
	defer s.helpMu.Unlock()
	if s.work.CompareAndSwap(state, state|helping) {
		done := make(chan struct{})
		s.helped = done
		go func() { defer close(done); s.help() }()
	}
}

// tick is called by Server.watch alone: work that was under way at the last
// call, and is, gets help.
func (s *session) tick() {
	state := s.work.Load()
	if state == s.watched && state&(executing|helping) == executing {
		s.startHelp(state)
	}
	s.watched = state
}

func (s *session) help() {
	for len(s.queue) < inFlight {
		m, err := s.read()
		if err != nil {
			if !s.stopHelp.Load() || !isTimeout(err) {
				s.readErr = err
				if !s.draining.Load() {
					s.cancel()
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
	if s.draining.Load() || s.stopHelp.Load() { // whose own deadline must not be lost
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
			case s.stopHelp.Load():
				return message{}, err
			case now.Sub(s.request) >= o.IdleTimeout:
				return message{}, &errEnd{closeIdle, fmt.Sprintf("no request for %v", o.IdleTimeout)}
			case silent >= o.PingAfter+o.PongTimeout:
				return message{}, &errEnd{closeNoPong, "no pong"}
			case silent >= o.PingAfter && !s.pinged:
				s.pinged = true
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
			return message{}, parseClose(p)
		default:
			s.request = s.last
			return message{op, p, s.replied.Load()}, nil
		}
	}
}

// serve answers what is received; the error says why it ended.
func (s *session) serve(hello uint64) error {
	o := &s.srv.opts
	s.write(&welcome{
		Type: "welcome", ID: hello, Server: o.Name, Versions: []int{1}, Session: s.id,
		Capabilities: []string{"info", "state", "step_many"},
		Limits: limits{
			RequestBytes: maxRequest, ReplyBytes: maxReply, InFlight: inFlight, Envs: o.MaxEnvs,
			IdleSeconds: o.IdleTimeout.Seconds(), PingSeconds: o.PingAfter.Seconds(), PongSeconds: o.PongTimeout.Seconds(),
		},
	})
	if err := s.conn.flush(); err != nil {
		return err
	}
	s.last = time.Now()
	s.request = s.last
	if err := s.arm(); err != nil {
		return err
	}
	for {
		m, err := s.receive()
		if err != nil {
			_ = s.conn.flush()
			return err
		}
		if m.op == opText {
			err = s.text(m)
		} else {
			err = s.binary(m)
		}
		if err != nil {
			return err // conn.end flushes
		}
		if len(s.queue) == 0 && !s.conn.in.ready() { // the next read may block
			if err := s.conn.flush(); err != nil {
				return err
			}
		}
	}
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
	s.write(m)
	code := closeBadFrame
	switch {
	case errors.Is(err, ErrBadVersion):
		code = closeBadVersion
	case errors.Is(err, ErrSessionLost):
		code = closeLost
	case errors.Is(err, ErrInternal):
		code = closeInternal
	}
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

// reply keeps the reply to seq, in memory that buffer gave, and sends it.
func (s *session) reply(seq uint64, op byte, b []byte) {
	s.replies[seq%inFlight] = reply{seq, op, b}
	s.replied.Store(seq)
	_ = s.conn.send(op, b, false) // a broken connection shows at the flush
}

func (s *session) replyText(seq uint64, m any) {
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
	e, err := s.find(h.Env)
	if err == nil {
		err = s.hot(e, h, m)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrInternal) {
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
	r := &s.req
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
	if err != nil {
		e.skip = true
		return err
	}
	h.Type++ // its result
	out := &e.out
	if h.Type == typeStepManyResult {
		out = &e.many
	}
	s.reply(h.Seq, opBinary, appendResult(s.buffer(h.Seq), h, steps, out, e.info))
	return nil
}

// execute does what r asks, into e.out (STEP_MANY: e.many) and e.info, and
// gives the number of steps done.
func (s *session) execute(e *vector, r *request) (steps int, err error) {
	s.busy()
	defer s.idle()
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
			err = fmt.Errorf("%w: %v", ErrInternal, p)
		}
	}()
	if e.spec.RealTime {
		s.startHelp(s.work.Load())
	}
	e.info = e.info[:0]
	switch r.Type {
	case typeReset:
		err = e.Reset(s.ctx, r.Rows, r.Seeds, &e.out)
	case typeStep:
		err = e.Step(s.ctx, r.Rows, r.Actions, &e.out)
	default:
		return s.stepMany(e, r)
	}
	if err == nil && r.Flags&flagInfo != 0 {
		e.tell(r.Rows, len(e.out.Reward))
	}
	return 1, err
}

// tell appends the rows' info.
func (e *vector) tell(rows []int, n int) {
	if e.f > 0 {
		for i := range n {
			e.info = e.informer.Info(env.RowAt(rows, i), e.info)
		}
	}
}

func (s *session) stepMany(e *vector, r *request) (int, error) {
	n, final := int(r.N), e.spec.Autoreset == env.SameStep
	f := 0
	if r.Flags&flagInfo != 0 {
		f = e.f
	}
	if size := resultBytes(true, n*r.Steps, e.d, f, final); size > maxReply {
		most := sort.Search(r.Steps, func(t int) bool { return resultBytes(true, n*(t+1), e.d, f, final) > maxReply })
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
		if err := e.Step(s.ctx, r.Rows, r.Actions[t*wide:(t+1)*wide], &e.out); err != nil {
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
	if err == nil {
		err = s.ack(c.Ack)
	}
	var out any
	if err == nil {
		out, err = s.control(&c, id, m)
	}
	switch {
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
	if c.Type != "step" && c.Type != "reset" { // execute does
		s.busy()
		defer s.idle()
	}
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
			err = fmt.Errorf("%w: %v", ErrInternal, p)
		}
	}()
	switch c.Type {
	case "make":
		return s.make(c, id)
	case "close":
		if c.Env == 0 {
			return &envReply{"closed", id, 0}, nil
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
	case "set_state":
		return s.setState(e, c, id)
	}
	s.closeVector(e)
	return &envReply{"closed", id, e.id}, nil
}

// requestBytes is the longest request for num rows of s actions.
func requestBytes(num, s int) int { return headerBytes + 8 + max(12, 4+4*s)*num }

func (s *session) make(c *control, id uint64) (any, error) {
	switch {
	case c.Scenario == "":
		return nil, fmt.Errorf("%w: make: scenario is missing", ErrBadFrame)
	case c.NumEnvs < 1:
		return nil, fmt.Errorf("%w: make: num_envs: %d is less than 1", ErrBadFrame, c.NumEnvs)
	case len(s.envs) >= s.srv.opts.MaxEnvs:
		return nil, fmt.Errorf("%w: the session has %d environments, the most allowed", ErrCapacity, len(s.envs))
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
	v, err := s.srv.opts.Open(s.ctx, MakeRequest{c.Scenario, c.NumEnvs, c.Autoreset, c.Model, c.Record, slices.Clone(json.RawMessage(c.Kwargs))})
	if err != nil {
		return nil, err
	}
	e := &vector{Vector: v, id: s.lastEnv + 1, spec: v.Spec(), num: v.Num()}
	e.d, e.s = e.spec.Observation.Dim(), len(e.spec.Action)
	if i, ok := v.(env.Informer); ok {
		e.informer, e.f = i, len(i.InfoFields())
	}
	replyBytes := func(n int) int {
		return int(resultBytes(false, n, e.d, e.f, e.spec.Autoreset == env.SameStep))
	}
	err = fits(replyBytes, maxReply, "a reply")
	if err == nil {
		err = fits(func(n int) int { return requestBytes(n, e.s) }, maxRequest, "a request")
	}
	if err != nil {
		s.closeVector(e)
		return nil, err
	}
	s.lastEnv = e.id
	s.envs[e.id] = e
	out := &made{
		Type: "made", ID: id, Env: e.id, Scenario: c.Scenario, NumEnvs: e.num, InfoFields: []field{},
		InFlight: inFlight, PendingBytes: max(4<<20, 2*inFlight*replyBytes(e.num)),
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
	s.log.Info("environment made", "request", id, "env", e.id, "scenario", c.Scenario, "num_envs", e.num)
	return out, nil
}

// readable refuses a text reply that would be too long.
func (e *vector) readable(rows []int) error {
	n := e.num
	if rows != nil {
		n = len(rows)
	}
	if size := 32 * n * (2*e.d + e.f + 3); size > maxReply {
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

func (e *vector) infos(n int) map[string][]float32 {
	if len(e.info) == 0 {
		return nil
	}
	out := make(map[string][]float32, e.f)
	for j, f := range e.informer.InfoFields() {
		for i := range n {
			out[f.Name] = append(out[f.Name], e.info[i*e.f+j])
		}
	}
	return out
}

// executeText executes a text form as its binary one would be; n is the rows.
func (s *session) executeText(e *vector, c *control, kind uint8, seeds []uint64, actions []int32) (n int, err error) {
	if c.Rows != nil && len(c.Rows) == 0 {
		return 0, fmt.Errorf("%w: rows is empty", env.ErrInvalidRows)
	}
	if err := e.readable(c.Rows); err != nil {
		return 0, err
	}
	r := &request{header: header{Type: kind}, Seeds: seeds, Rows: c.Rows, Actions: actions}
	if c.Info {
		r.Flags = flagInfo
	}
	_, err = s.execute(e, r)
	return len(e.out.Reward), err
}

func (s *session) resetText(e *vector, c *control, id uint64) (any, error) {
	if len(c.Options) > 0 {
		return nil, fmt.Errorf("%w: reset: options: this environment takes none", ErrBadFrame)
	}
	if c.Seed != nil && c.Seeds != nil {
		return nil, fmt.Errorf("%w: reset: both seed and seeds", ErrBadFrame)
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
	n, err := s.executeText(e, c, typeReset, seeds, nil)
	if err != nil {
		return nil, err
	}
	return &resetResult{"reset_result", id, e.id, split(e.out.Obs, n), e.infos(n)}, nil
}

func (s *session) stepText(e *vector, c *control, id uint64) (any, error) {
	if c.Actions == nil {
		return nil, fmt.Errorf("%w: step: actions is missing", ErrBadFrame)
	}
	var actions []int32
	for i, a := range c.Actions {
		if len(a) != e.s {
			row := i
			if i < len(c.Rows) {
				row = c.Rows[i]
			}
			return nil, &env.RowError{Row: row, Err: fmt.Errorf("%w: %d numbers, want %d", env.ErrInvalidAction, len(a), e.s)}
		}
		actions = append(actions, a...)
	}
	n, err := s.executeText(e, c, typeStep, nil, actions)
	if err != nil {
		return nil, err
	}
	out := &stepResult{
		resetResult: resetResult{"step_result", id, e.id, split(e.out.Obs, n), e.infos(n)},
		Reward:      e.out.Reward, Terminated: e.out.Terminated, Truncated: e.out.Truncated,
	}
	if len(e.out.FinalObs) > 0 && (anySet(e.out.Terminated) || anySet(e.out.Truncated)) {
		out.FinalObs = split(e.out.FinalObs, n)
		for i := range out.FinalObs {
			if !e.out.Terminated[i] && !e.out.Truncated[i] {
				out.FinalObs[i] = nil
			}
		}
	}
	return out, nil
}

// rowsOf is rows, or all.
func (e *vector) rowsOf(rows []int) ([]int, error) {
	if rows == nil {
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
	if len(rows) != len(c.States) {
		return nil, fmt.Errorf("%w: %d states for %d rows", env.ErrInvalidRows, len(c.States), len(rows))
	}
	snap, ok := e.Vector.(env.Snapshotter)
	if !ok {
		return nil, fmt.Errorf("%w: it takes none", env.ErrBadSnapshot)
	}
	var before [][]byte
	for i, r := range rows {
		old, err := snap.Snapshot(r, nil)
		if err == nil {
			err = snap.Restore(r, c.States[i])
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
	return &envReply{"state_set", id, e.id}, nil
}
