package ws

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// This file owns the numbers of requests and the replies to them: what a resumed session sends again.
// All of it runs on the session's goroutine.

// answers are the numbers of a session's requests and the replies that it keeps.
// They belong to run, but for replied.
type answers struct {
	next    uint64 // number of the next request
	acked   uint64
	replied atomic.Uint64   // highest number whose reply conn was given
	replies [inFlight]reply // by number
	spare   [][]byte        // memory of forgotten replies
	sendErr error           // of the replies to this connection
}

type reply struct {
	seq uint64
	op  byte
	buf []byte
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

func (s *session) forget(r *reply) {
	if cap(r.buf) <= maxReply/inFlight && len(s.spare) < 4 {
		s.spare = append(s.spare, r.buf)
	}
	*r = reply{}
}

// reply keeps the reply to seq, in memory that buffer gave, and sends it. The
// journal is written first: once conn has the reply, any goroutine may write it.
func (s *session) reply(seq uint64, op byte, b []byte) {
	s.replies[seq%inFlight] = reply{seq, op, b}
	s.replied.Store(seq)
	s.journal.commit(s, b)
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

func (s *session) limits() limits {
	o := &s.srv.opts
	return limits{
		RequestBytes: maxRequest, ReplyBytes: maxReply, InFlight: inFlight, Envs: o.MaxEnvs,
		IdleSeconds: o.IdleTimeout.Seconds(), PingSeconds: o.PingAfter.Seconds(), PongSeconds: o.PongTimeout.Seconds(),
		ResumeSeconds: o.ResumeFor.Seconds(),
	}
}

func (s *session) capabilities() []string {
	all := []string{"episode_end", "final_info", "info", "reset_options", "resume", "state", "step_many"}
	if s.srv.opts.ResumeFor == 0 {
		all = slices.DeleteFunc(all, func(c string) bool { return c == "resume" })
	}
	return all
}

// welcome answers the first hello.
func (s *session) welcome(hello control) error {
	s.finalInfo, s.resetOptions = hello.Capabilities.finalInfo, hello.Capabilities.resetOptions
	w := &welcome{
		Type: "welcome", ID: *hello.ID, Server: s.srv.opts.Name, Versions: []int{1},
		Capabilities: s.capabilities(), Limits: s.limits(), Session: s.id,
	}
	if s.srv.opts.ResumeFor != 0 {
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
