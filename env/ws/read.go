package ws

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// This file owns what comes from the client: messages, pings and silence. It runs on the session's
// goroutine, or on help while a long step is under way; never on both.

// reading is what a session reads from, and what it has read. It belongs to run,
// or to help between its start and the close of helped.
type reading struct {
	conn    *conn
	last    time.Time // a byte came
	request time.Time // a request came
	pinged  bool      // since last
	queue   []message // read by help
	readErr error     // why nothing more will be read

	rate   int       // messages a second; 0: no bound
	window time.Time // since when count counts
	count  int
}

// message is a data message. buf is valid until the next read.
type message struct {
	op      byte
	buf     []byte
	replied uint64 // session.replied when it was read
}

// listen readies the session to read from its connection.
func (s *session) listen(hello control) error {
	s.events = hello.Capabilities.episodeEnd
	if s.rate = s.srv.opts.Rate; s.rate == 0 && !local(s.conn.net) {
		s.rate = defaultRate
	}
	s.last = time.Now()
	s.request, s.pinged, s.conn.in.data = s.last, false, false
	s.window, s.count = s.last, 0
	s.queue, s.readErr, s.sendErr = nil, nil, nil
	if err := s.conn.flush(); err != nil {
		return err
	}
	return s.arm()
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
