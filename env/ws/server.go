// Package ws steps environments over WebSocket: the server, the Go client,
// and the protocol planegym.v1 that PROTOCOL.md lays out byte for byte.
package ws

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

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
	Session   string          // its id, as in the log
	Env       uint32          // its number in the session
}

// Options configure a Server. Zero values are the defaults in the comments.
type Options struct {
	// Open makes an environment; the server closes it. ctx ends with the
	// environment, or when making it took too long. Its errors wrap ErrUnknownScenario, ErrInvalidConfig,
	// ErrModelUnavailable or ErrCapacity where one of them fits. A vector
	// with a method ModelHash() string sends it to clients, one with
	// ModelCard() map[string]string shows it on the dashboard.
	Open func(ctx context.Context, m MakeRequest) (env.Vector, error)
	Name string       // of the server, in its welcome; "planegym"
	Log  *slog.Logger // nil: no log

	Scenarios []Scenario // that the dashboard lists; what Open makes does not depend on them

	Version, Commit string // of the program, for metrics; "": as Go knows them

	Metrics []prometheus.Collector // shown beside the server's own

	Tokens  *Tokens  // who may connect; nil: anyone who can reach the server
	Origins []string // of web pages that may connect, "https://host:port"; the server's own where empty

	MaxSessions  int           // 1,024
	MaxEnvs      int           // of a session; 16
	Rate         int           // messages a second of a session; without bound on loopback and unix sockets, else 200,000
	HelloTimeout time.Duration // for the first message; 2 s
	WriteTimeout time.Duration // for a peer that does not read; 5 s
	PingAfter    time.Duration // without a byte from the client; 20 s
	PongTimeout  time.Duration // 10 s
	IdleTimeout  time.Duration // of a session without a request; 600 s
	StepTimeout  time.Duration // of one step or reset; 60 s, negative: none
	MakeTimeout  time.Duration // of one make; 60 s, negative: none
	ResumeFor    time.Duration // how long a session waits for a client that was cut off; 60 s, negative: not at all

	// Journal is a directory where sessions are saved to disk, so that they can
	// be resumed after the server was killed and started again; "": they
	// cannot. Environments that cannot be saved are lost with the server.
	Journal string
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
	set(&o.StepTimeout, 60*time.Second)
	set(&o.MakeTimeout, 60*time.Second)
	set(&o.ResumeFor, 60*time.Second)
	for _, d := range []*time.Duration{&o.StepTimeout, &o.MakeTimeout, &o.ResumeFor} {
		*d = max(*d, 0) // from here on 0 is none
	}
	if o.ResumeFor == 0 {
		o.Journal = "" // nobody comes back to it
	}
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
	mux      *http.ServeMux
	tickets  tickets
	stats    stats

	mu       sync.Mutex
	sessions map[secret]*session
	conns    map[*conn]struct{} // upgraded, and not yet a session's
	draining bool
	watching bool
	sweep    *time.Timer    // of journals whose clients did not come back
	running  sync.WaitGroup // greetings, sessions and watch
}

// secret is the digest of a resume token.
type secret [sha256.Size]byte

// NewServer makes a server; o.Open must be set.
func NewServer(o Options) *Server {
	if o.Open == nil {
		panic("ws: Options.Open is nil")
	}
	s := &Server{opts: o.withDefaults(), sessions: map[secret]*session{}, conns: map[*conn]struct{}{}}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: s.opts.HelloTimeout,
		Subprotocols:     []string{Protocol},
		CheckOrigin:      func(*http.Request) bool { return true }, // upgrade has checked it
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			s.refuse(w, status, fmt.Errorf("%w: %v", ErrBadVersion, reason))
		},
	}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc(Path, s.upgrade)
	s.mux.HandleFunc(ticketPath, s.ticket)
	s.mux.HandleFunc("GET /v1/spec", serveSpec)
	s.serveDashboard(s.mux)
	s.observability(s.mux, true)
	s.sweepJournals()
	return s
}

// ServeHTTP upgrades at Path, shows newcomers at / what to do and browsers
// the dashboard, and serves /v1/ticket, /v1/spec, /metrics, /healthz, /readyz.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// greeting says what to do to those who ask for plain text, as curl does.
func (s *Server) greeting(w http.ResponseWriter, r *http.Request) {
	scheme := "ws"
	if r.TLS != nil {
		scheme = "wss"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, `This is %s, a server of reinforcement-learning environments.

Step them over WebSocket:  %s://%s%s   subprotocol %s

  Python   planegym.make("%[2]s://%[3]s", "cartpole")
  Go       ws.Dial(ctx, "%[2]s://%[3]s%[4]s", ws.DialOptions{Scenario: "cartpole"})
  by hand  {"type":"hello","id":0,"client":"me","version":1,"capabilities":[]}
           {"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":1}
           {"type":"reset","id":2,"ack":1,"env":1,"seed":"7"}
           {"type":"step","id":3,"ack":2,"env":1,"actions":[1]}

The protocol: /v1/spec (AsyncAPI). Health: /healthz, /readyz. Metrics: /metrics.
`, s.opts.Name, scheme, r.Host, Path, Protocol)
}

// refuse answers a request that is not upgraded.
func (s *Server) refuse(w http.ResponseWriter, status int, err error) {
	m := errorFor(0, err)
	m.Fatal = true
	s.stats.refused(m.Code)
	switch status {
	case http.StatusServiceUnavailable:
		m.RetryMS = 1000
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	body, _ := encode(m)
	w.Header().Set("Connection", "close") // who may not enter holds no connection
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("%w: this is a WebSocket endpoint: upgrade with Sec-WebSocket-Protocol: %s", ErrBadVersion, Protocol))
		return
	}
	if !slices.Contains(websocket.Subprotocols(r), Protocol) {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("%w: Sec-WebSocket-Protocol is %q, want %s", ErrBadVersion, r.Header.Get("Sec-WebSocket-Protocol"), Protocol))
		return
	}
	if err := s.checkOrigin(r); err != nil {
		s.refuse(w, http.StatusForbidden, err)
		return
	}
	who, needTicket, err := s.authorize(r)
	if err != nil {
		s.refuse(w, http.StatusUnauthorized, err)
		return
	}
	s.mu.Lock()
	draining, full := s.draining, len(s.conns) >= s.opts.MaxSessions
	if !draining && !full {
		s.running.Add(1)
	}
	s.mu.Unlock()
	switch {
	case draining:
		s.refuse(w, http.StatusServiceUnavailable, ErrDraining)
		return
	case full:
		s.refuse(w, http.StatusServiceUnavailable, fmt.Errorf("%w: %d connections have not said hello", ErrCapacity, s.opts.MaxSessions))
		return
	}
	up, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.running.Done()
		return // answered
	}
	// The handler returns, and nothing of it goes along, so that what net/http
	// holds for it can go.
	go s.run(newConn(up.NetConn(), false, maxHello, s.opts.WriteTimeout), r.RemoteAddr, who, needTicket)
}

// run is a connection's goroutine, then its session's.
func (s *Server) run(c *conn, remote string, who identity, needTicket bool) {
	if s.greet(c, remote, who, needTicket) {
		s.running.Done()
	}
}

// greet reads the first message and runs the session it opens, or hands the
// connection to the session it resumes. With false the session goes on in
// another goroutine, which counts as running in this one's place.
func (s *Server) greet(c *conn, remote string, who identity, needTicket bool) bool {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	if s.draining { // Shutdown has not seen it
		_ = c.net.Close()
	}
	s.mu.Unlock()
	first, err := s.first(c, &who, needTicket)
	c.in.limit = maxRequest
	s.mu.Lock()
	delete(s.conns, c)
	var ss *session
	var restore bool
	switch {
	case err != nil:
	case s.draining:
		err = ErrDraining
	case first.Type == "resume":
		k := secret(sha256.Sum256([]byte(first.Token)))
		ss = s.sessions[k]
		switch {
		case ss != nil && ss.who != who:
			err = errNotYours
		case ss != nil && ss.current != nil:
			err = ErrSessionBusy
		case ss != nil:
			ss.current = c
			ss.attach <- attachment{c, first}
			s.mu.Unlock()
			return true
		case s.hasJournal(k) && len(s.sessions) < s.opts.MaxSessions:
			ss, restore = s.newSession(c, k, who), true
		default:
			err = fmt.Errorf("%w: no session has this token; sessions wait %v for their client", ErrSessionLost, s.opts.ResumeFor)
		}
	case len(s.sessions) >= s.opts.MaxSessions:
		err = fmt.Errorf("%w: %d sessions are open, the most allowed", ErrCapacity, len(s.sessions))
	default:
		token := newID()
		ss = s.newSession(c, sha256.Sum256([]byte(token)), who)
		ss.token = token
	}
	if err == nil {
		ss.client, ss.remote = first.Client, remote
	}
	if err == nil && !s.watching {
		s.watching = true
		s.running.Add(1)
		go func() { defer s.running.Done(); s.watch() }()
	}
	s.mu.Unlock()
	if err != nil {
		s.turnAway(c, first, err)
		return true
	}
	begin := func() error { return ss.welcome(first) }
	if restore {
		if err := ss.restore(); err != nil {
			ss.over(err)
			if errors.Is(err, errNotYours) { // whose client may still come
				s.turnAway(c, first, err)
				return true
			}
			_ = os.Remove(s.journalPath(ss.secret)) // its client hears that it is lost
			s.turnAway(c, first, fmt.Errorf("%w: %v", ErrSessionLost, err))
			return true
		}
		s.stats.restored.Add(1)
		begin = func() error { return ss.resumed(attachment{c, first}) }
	}
	s.stats.opened.Add(1)
	ss.log.Info("session opened", "remote", remote, "client", first.Client, "restored", restore)
	return ss.run(begin)
}

// errNotYours is the answer to a resume token under another bearer token, or
// client certificate, than the session was opened with.
var errNotYours = fmt.Errorf("%w: the session belongs to another token or certificate", ErrUnauthorized)

// first reads the hello or resume. Its ticket, where one is needed, says who the
// client is.
func (s *Server) first(c *conn, who *identity, needTicket bool) (control, error) {
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
		case op == opPing && !needTicket:
			if err := c.send(opPong, p, true); err != nil {
				return control{}, err
			}
			continue
		case op == opPing, op == opPong:
			continue
		case op == opClose:
			return control{}, parseClose(p)
		case op == opBinary:
			return control{}, fmt.Errorf("%w: the first message is hello", ErrBadFrame)
		}
		var m control
		err = apart(func() (err error) {
			m, err = parseControl(p)
			return err
		})
		switch {
		case err != nil:
			return m, err
		case m.Type != "hello" && m.Type != "resume":
			return m, fmt.Errorf("%w: the first message is hello, this is %q", ErrBadFrame, m.Type)
		}
		if needTicket {
			of, ok := s.tickets.take(m.Ticket, time.Now())
			if !ok || s.opts.Tokens != nil && !s.opts.Tokens.has(of) {
				return m, fmt.Errorf("%w: %s wants a ticket of POST %s, used within %v and once", ErrUnauthorized, m.Type, ticketPath, ticketFor)
			}
			*who = of
		}
		switch {
		case m.Version != 1:
			return m, fmt.Errorf("%w: version %d; this server speaks 1", ErrBadVersion, m.Version)
		}
		return m, c.net.SetReadDeadline(time.Time{})
	}
}

// turnAway ends a connection that became no session's.
func (s *Server) turnAway(c *conn, first control, err error) {
	var closed *CloseError
	code := closeBadFrame
	switch {
	case errors.As(err, &closed):
		c.end(closed.Code, closed.Text, time.Second)
		return
	case errors.Is(err, ErrBadVersion):
		code = closeBadVersion
	case errors.Is(err, ErrUnauthorized):
		code = closeUnauthorized
	case errors.Is(err, ErrSessionLost):
		code = closeLost
	case errors.Is(err, ErrCapacity), errors.Is(err, ErrSessionBusy):
		code = closeBusy
	case errors.Is(err, ErrDraining):
		code = closeGoingAway
	case !errors.Is(err, ErrBadFrame): // the connection's own
		c.close()
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
	s.stats.refused(m.Code)
	s.opts.Log.Info("connection refused", "remote", c.net.RemoteAddr().String(), "code", m.Code, "reason", err)
	if b, err := encode(m); err == nil {
		_ = c.send(opText, b, false)
	}
	c.end(code, m.Code, time.Second)
}

// Shutdown drains: no connection is accepted any more, every session answers
// what it has accepted and closes with 1001. When ctx ends first, what is
// left is cut, and its error returned once that is done. An environment that
// does not return from a step is not waited for after its StepTimeout, and
// Options.Open not after MakeTimeout.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	if s.sweep != nil {
		s.sweep.Stop()
	}
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
	select {
	case <-done:
	case <-time.After(2 * time.Second): // a step that ignores its context
		return fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
	return ctx.Err()
}

// local says whether a connection comes from this machine.
func local(c net.Conn) bool {
	switch a := c.RemoteAddr().(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// newID is 128 random bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
