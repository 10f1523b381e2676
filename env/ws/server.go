// Package ws steps environments over WebSocket: the server, the Go client,
// and the protocol planegym.v1 that PROTOCOL.md lays out byte for byte.
package ws

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/planegym/planegym/env"
)

// Protocol is the WebSocket subprotocol, Path where it is spoken.
const (
	Protocol = "planegym.v1"
	Path     = "/v1/ws"
)

// MakeRequest is what a client asks to be made.
type MakeRequest struct {
	Scenario  string
	NumEnvs   int // at least 1
	Autoreset env.Autoreset
	Model     string          // "": the scenario's own
	Record    bool            // record the episodes
	Kwargs    json.RawMessage // an object or empty; the scenario refuses what it does not know
}

// Options configure a Server. Zero values are the defaults in the comments.
type Options struct {
	// Open makes an environment; the server closes it. ctx ends with the
	// session. Its errors wrap ErrUnknownScenario, ErrInvalidConfig,
	// ErrModelUnavailable or ErrCapacity where one of them fits. A vector
	// with a method ModelHash() string has it told to the client.
	Open func(ctx context.Context, m MakeRequest) (env.Vector, error)
	Name string       // of the server, told to clients; "planegym"
	Log  *slog.Logger // nil: no log

	MaxSessions  int           // 1,024
	MaxEnvs      int           // of a session; 16
	HelloTimeout time.Duration // for the first message; 2 s
	WriteTimeout time.Duration // for a peer that does not read; 5 s
	PingAfter    time.Duration // without a byte from the client; 20 s
	PongTimeout  time.Duration // 10 s
	IdleTimeout  time.Duration // of a session without a request; 600 s
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.HelloTimeout, 2*time.Second)
	set(&o.WriteTimeout, 5*time.Second)
	set(&o.PingAfter, 20*time.Second)
	set(&o.PongTimeout, 10*time.Second)
	set(&o.IdleTimeout, 600*time.Second)
	if o.MaxSessions == 0 {
		o.MaxSessions = 1024
	}
	if o.MaxEnvs == 0 {
		o.MaxEnvs = 16
	}
	if o.Name == "" {
		o.Name = "planegym"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server speaks planegym.v1 at Path of an http.Server.
type Server struct {
	opts     Options
	upgrader websocket.Upgrader

	mu       sync.Mutex
	sessions map[string]*session
	conns    map[*conn]struct{} // upgraded, and not yet a session's
	draining bool
	watching bool
	running  sync.WaitGroup // greetings, sessions and watch
}

// NewServer makes a server; o.Open must be set.
func NewServer(o Options) *Server {
	if o.Open == nil {
		panic("ws: Options.Open is nil")
	}
	s := &Server{opts: o.withDefaults(), sessions: map[string]*session{}, conns: map[*conn]struct{}{}}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: s.opts.HelloTimeout,
		Subprotocols:     []string{Protocol},
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			refuse(w, status, fmt.Errorf("%w: %v", ErrBadVersion, reason))
		},
	}
	return s
}

// ServeHTTP upgrades at Path and tells newcomers at / what to do.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case Path:
		s.upgrade(w, r)
	case "/":
		scheme := "ws"
		if r.TLS != nil {
			scheme = "wss"
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, `This is %s, a server of reinforcement-learning environments.

Step them over WebSocket:  %s://%s%s   subprotocol %s

  Python   planegym.make("%[2]s://%[3]s", "cartpole")
  Go       ws.Dial(ctx, "%[2]s://%[3]s%[4]s", ws.DialOptions{Scenario: "cartpole"})
  by hand  {"type":"hello","id":0,"version":1}
           {"type":"make","id":1,"scenario":"cartpole","num_envs":1}
           {"type":"reset","id":2,"env":1,"seed":"7"}
           {"type":"step","id":3,"env":1,"actions":[1]}
`, s.opts.Name, scheme, r.Host, Path, Protocol)
	default:
		http.NotFound(w, r)
	}
}

// refuse answers a request that is not upgraded.
func refuse(w http.ResponseWriter, status int, err error) {
	m := errorFor(0, err)
	m.Fatal = true
	if status == http.StatusServiceUnavailable {
		m.RetryMS = 1000
		w.Header().Set("Retry-After", "1")
	}
	body, _ := encode(m)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%w: this is a WebSocket endpoint: upgrade with Sec-WebSocket-Protocol: %s", ErrBadVersion, Protocol))
		return
	}
	spoken := false
	for _, p := range websocket.Subprotocols(r) {
		spoken = spoken || p == Protocol
	}
	if !spoken {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%w: Sec-WebSocket-Protocol is %q, want %s", ErrBadVersion, r.Header.Get("Sec-WebSocket-Protocol"), Protocol))
		return
	}
	s.mu.Lock()
	draining := s.draining
	if !draining {
		s.running.Add(1)
	}
	s.mu.Unlock()
	if draining {
		refuse(w, http.StatusServiceUnavailable, ErrDraining)
		return
	}
	up, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.running.Done()
		return // answered
	}
	// The handler returns, so that what net/http holds for it can go.
	go func() {
		defer s.running.Done()
		s.greet(newConn(up.NetConn(), false, maxRequest, s.opts.WriteTimeout), r.RemoteAddr)
	}()
}

// greet reads the first message and runs the session it opens.
func (s *Server) greet(c *conn, remote string) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	first, err := s.first(c)
	s.mu.Lock()
	delete(s.conns, c)
	var ss *session
	switch {
	case err != nil:
	case s.draining:
		err = ErrDraining
	case len(s.sessions) >= s.opts.MaxSessions:
		err = fmt.Errorf("%w: %d sessions are open, the most allowed", ErrCapacity, len(s.sessions))
	default:
		ss = s.newSession(c)
		s.sessions[ss.id] = ss
		if !s.watching {
			s.watching = true
			s.running.Add(1)
			go func() { defer s.running.Done(); s.watch() }()
		}
	}
	s.mu.Unlock()
	if err != nil {
		s.turnAway(c, first, err)
		return
	}
	ss.log.Info("session opened", "remote", remote, "client", first.Client)
	ss.run(*first.ID)
	s.mu.Lock()
	delete(s.sessions, ss.id)
	s.mu.Unlock()
}

const tick = 100 * time.Millisecond

// watch ticks the sessions while there are any.
func (s *Server) watch() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for range t.C {
		s.mu.Lock()
		for _, ss := range s.sessions {
			ss.tick()
		}
		s.watching = len(s.sessions) > 0
		goOn := s.watching
		s.mu.Unlock()
		if !goOn {
			return
		}
	}
}

// first reads the hello.
func (s *Server) first(c *conn) (control, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(s.opts.HelloTimeout)); err != nil {
		return control{}, err
	}
	for {
		op, p, err := c.in.next()
		switch {
		case isTimeout(err):
			return control{}, fmt.Errorf("%w: no hello within %v", ErrBadFrame, s.opts.HelloTimeout)
		case err != nil:
			return control{}, err
		case op == opPing:
			if err := c.send(opPong, p, true); err != nil {
				return control{}, err
			}
			continue
		case op == opPong:
			continue
		case op == opClose:
			return control{}, parseClose(p)
		case op == opBinary:
			return control{}, fmt.Errorf("%w: the first message is hello", ErrBadFrame)
		}
		m, err := parseControl(p)
		switch {
		case err != nil:
			return m, err
		case m.Type != "hello":
			return m, fmt.Errorf("%w: the first message is hello, this is %q", ErrBadFrame, m.Type)
		case m.Version != 1:
			return m, fmt.Errorf("%w: version %d; this server speaks 1", ErrBadVersion, m.Version)
		}
		return m, c.net.SetReadDeadline(time.Time{})
	}
}

// turnAway ends a connection that became no session.
func (s *Server) turnAway(c *conn, first control, err error) {
	var closed *CloseError
	code := closeBadFrame
	switch {
	case errors.As(err, &closed):
		c.end(closed.Code, closed.Text, time.Second)
		return
	case errors.Is(err, ErrBadVersion):
		code = closeBadVersion
	case errors.Is(err, ErrCapacity):
		code = closeBusy
	case errors.Is(err, ErrDraining):
		code = closeGoingAway
	case !errors.Is(err, ErrBadFrame): // the connection's own
		_ = c.net.Close()
		return
	}
	m := errorFor(0, err)
	if first.ID != nil {
		m.ID = *first.ID
	}
	m.Fatal = true
	if code < closeBadFrame {
		m.RetryMS = 1000
	}
	if b, err := encode(m); err == nil {
		_ = c.send(opText, b, false)
	}
	c.end(code, m.Code, time.Second)
}

// Shutdown drains: no connection is accepted any more, every session answers
// what it has accepted and closes with 1001. When ctx ends first, what is
// left is cut, and its error returned once that is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		_ = c.net.Close()
	}
	for _, ss := range s.sessions {
		ss.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for _, ss := range s.sessions {
		ss.cut()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
