package ws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// peer is a client of single messages.
type peer struct {
	t testing.TB
	*conn
}

// pipe connects a peer to s without a network, so that a test may fake time.
func pipe(t testing.TB, s *Server, needTicket bool) *peer {
	return pipeAs(t, s, identity{}, needTicket)
}

// pipeAs is pipe for a client whose identity is known.
func pipeAs(t testing.TB, s *Server, who identity, needTicket bool) *peer {
	client, server := net.Pipe()
	s.running.Add(1)
	go s.run(newConn(server, false, maxHello, s.opts.WriteTimeout), "pipe", who, needTicket)
	return &peer{t, newConn(client, true, maxReply, time.Minute)}
}

func (p *peer) say(format string, args ...any) {
	p.t.Helper()
	if err := p.send(opText, fmt.Appendf(nil, format, args...), true); err != nil {
		p.t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// hear is the next text message; a close frame is its error.
func (p *peer) hear() (m map[string]any, err error) {
	p.t.Helper()
	for {
		op, b, err := p.in.next()
		switch {
		case err != nil:
			return nil, err
		case op == opClose:
			return nil, parseClose(b)
		case op == opText:
			err := json.Unmarshal(b, &m)
			return m, err
		}
	}
}

// ask says a binary request.
func (p *peer) ask(r request) {
	p.t.Helper()
	if err := p.send(opBinary, r.append(nil), true); err != nil {
		p.t.Fatal(err)
	}
}

// next is the next message, whatever it is.
func (p *peer) next() (op byte, b []byte) {
	p.t.Helper()
	op, b, err := p.in.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return op, b
}

// want hears a message of a type, or with "error" of a code.
func (p *peer) want(what string) map[string]any {
	p.t.Helper()
	m, err := p.hear()
	if err != nil {
		p.t.Fatalf("want %s: %v", what, err)
	}
	if m["type"] != what && (m["type"] != "error" || m["code"] != what) && (m["type"] != "event" || m["event"] != what) {
		p.t.Fatalf("want %s, have %v", what, m)
	}
	return m
}

func (p *peer) wantClose(code int) {
	p.t.Helper()
	m, err := p.hear()
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != code {
		p.t.Fatalf("want close %d, have %v %v", code, m, err)
	}
}

// start opens a session with a cartpole, and gives its resume token.
func (p *peer) start() string {
	p.t.Helper()
	p.say(`{"type":"hello","id":0,"client":"t","version":1,"capabilities":["resume","episode_end"]}`)
	token := p.want("welcome")["resume_token"].(string)
	p.say(`{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":1}`)
	p.want("made")
	p.say(`{"type":"reset","id":2,"ack":1,"env":1,"seed":"7"}`)
	p.want("reset_result")
	return token
}

// numbered gives a function that says a text request of these keys, with the next
// number, and hears the reply, as want does.
func (p *peer) numbered() func(want, keys string) map[string]any {
	id := 0
	return func(want, keys string) map[string]any {
		p.t.Helper()
		id++
		p.say(`{"id":%d,"ack":%d,%s}`, id, id-1, keys)
		return p.want(want)
	}
}

// resume asks for the session of a token, whose replies up to last it has.
func (p *peer) resume(token any, last int) {
	p.t.Helper()
	p.say(`{"type":"resume","id":0,"version":1,"token":%q,"last_seq":%d}`, token, last)
}

// lone is a session of s over c, which nothing serves yet.
func lone(s *Server, c net.Conn) *session {
	return s.newSession(newConn(c, false, 1, time.Second), secret{}, identity{})
}

// faked runs f in a bubble of fake time with a server that is shut down after.
func faked(t *testing.T, o Options, f func(t *testing.T, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.Open == nil {
			o.Open = open
		}
		s := NewServer(o)
		f(t, s)
		ctx, cancel := context.WithTimeout(background, 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
}

// count is the number of sessions, with a client and without.
func (s *Server) count() [2]int {
	attached, detached, _, _ := s.load()
	return [2]int{attached, detached}
}

// handshake upgrades c.
func handshake(t testing.TB, c net.Conn) *peer {
	t.Helper()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", Path, Protocol)
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			t.Fatalf("handshake: %v after %q", err, head)
		}
		head = append(head, b[0])
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) || !bytes.Contains(head, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) || bytes.Contains(bytes.ToLower(head), []byte("extensions")) {
		t.Fatalf("handshake: %s", head)
	}
	return &peer{t, newConn(c, true, maxReply, 5*time.Second)}
}

// textLog logs to b, everything.
func textLog(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(locked{new(sync.Mutex), b}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
