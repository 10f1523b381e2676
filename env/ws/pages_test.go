package ws

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask sends s a request without a network.
func ask(s http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1"+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// tokens are those of a file with these lines.
func tokens(t *testing.T, lines ...string) (*Tokens, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := ReadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	return k, path
}

// A refusal has an HTTP status, its headers and a JSON error.
func TestRefusals(t *testing.T) {
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Version", "13", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	speaks := append(upgrade, "Sec-Websocket-Protocol", Protocol)
	k, _ := tokens(t, "0123456789abcdef")
	for name, c := range map[string]struct {
		o       Options
		set     func(s *Server)
		method  string
		path    string
		header  []string
		status  int
		code    string
		message string
	}{
		"no upgrade":      {path: Path, status: 400, code: "bad_version", message: "this is a WebSocket endpoint: upgrade with Sec-WebSocket-Protocol: planegym.v1"},
		"no protocol":     {path: Path, header: upgrade, status: 400, code: "bad_version", message: `Sec-WebSocket-Protocol is "", want planegym.v1`},
		"another":         {path: Path, header: append(upgrade, "Sec-Websocket-Protocol", "v2"), status: 400, code: "bad_version", message: `Sec-WebSocket-Protocol is "v2", want planegym.v1`},
		"no key":          {path: Path, header: append(upgrade[:6:6], "Sec-Websocket-Protocol", Protocol), status: 400, code: "bad_version", message: "websocket: "},
		"a page":          {path: Path, header: append(speaks, "Origin", "http://evil.example"), status: 403, code: "unauthorized", message: `pages of "http://evil.example" may not connect`},
		"no token":        {o: Options{Tokens: k}, path: Path, header: speaks, status: 401, code: "unauthorized", message: "this server wants a token: send Authorization: Bearer TOKEN"},
		"draining":        {set: func(s *Server) { s.draining = true }, path: Path, header: speaks, status: 503, code: "draining", message: "server is going away"},
		"many":            {o: Options{MaxSessions: 2}, set: func(s *Server) { s.conns[&conn{}], s.conns[&conn{}] = struct{}{}, struct{}{} }, path: Path, header: speaks, status: 503, code: "capacity", message: "2 connections have not said hello"},
		"a ticket by GET": {path: ticketPath, status: 405, code: "bad_frame", message: "/v1/ticket is for POST"},
		"a ticket":        {o: Options{Tokens: k}, method: "POST", path: ticketPath, status: 401, code: "unauthorized", message: "this server wants a token"},
		"a page's ticket": {o: Options{Tokens: k}, method: "POST", path: ticketPath, header: []string{"Origin", "http://127.0.0.1"}, status: 401, code: "unauthorized", message: "this server wants a token"},
		"a wrong token":   {o: Options{Tokens: k}, path: "/v1/status", header: []string{"Authorization", "Bearer 0123456789abcdeg"}, status: 401, code: "unauthorized", message: "this token is not accepted here"},
		"another scheme":  {o: Options{Tokens: k}, path: "/metrics", header: []string{"Authorization", "Bearer"}, status: 401, code: "unauthorized", message: "this token is not accepted here"},
		"a scenario":      {path: "/v1/scenarios/none", status: 404, code: "unknown_scenario", message: `"none" has no page here`},
		"a watch":         {path: "/v1/watch?session=x&env=3", status: 404, code: "unknown_env", message: `3 of session "x"`},
		"a negative row":  {path: "/v1/watch?session=x&row=-1", status: 404, code: "bad_frame", message: `row is "-1", want a number`},
		"no since":        {path: "/v1/watch?session=x&since=y", status: 404, code: "bad_frame", message: `since is "y", want a number`},
		"no env":          {path: "/v1/watch?env=", status: 404, code: "unknown_env", message: `0 of session ""`},
	} {
		o := c.o
		o.Open = open
		s := NewServer(o)
		if c.set != nil {
			c.set(s)
		}
		if c.method == "" {
			c.method = "GET"
		}
		w := ask(s, c.method, c.path, c.header...)
		var m errorMessage
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v in %s", name, err, w.Body)
		}
		h := w.Header()
		if w.Code != c.status || m.Type != "error" || m.Code != c.code || !strings.Contains(m.Message, c.message) || !m.Fatal || m.ID != 0 || !strings.HasSuffix(w.Body.String(), "}\n") {
			t.Errorf("%s: %d %+v, want %d %s %q", name, w.Code, m, c.status, c.code, c.message)
		}
		if (m.RetryMS == 1000) != (c.status == 503) || (h.Get("Retry-After") == "1") != (c.status == 503) || (h.Get("Www-Authenticate") == "Bearer") != (c.status == 401) ||
			h.Get("Connection") != "close" || h.Get("Content-Type") != "application/json" || (h.Get("Allow") == "POST, OPTIONS") != (c.status == 405) {
			t.Errorf("%s: %v, retry_ms %d", name, h, m.RetryMS)
		}
		if n := s.stats.refusals[codeIndex(c.code)].Load(); n != 1 {
			t.Errorf("%s: counted %d times", name, n)
		}
		clear(s.conns)
		if err := s.Shutdown(background); err != nil { // nothing is waited for
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token file has one token a line, of 16 characters at least; a file that cannot be
// read leaves the tokens as they were.
func TestTokensOfAFile(t *testing.T) {
	k, path := tokens(t, "# ours", "", "  0123456789abcdef  ", "another-token-of-ours", "#0123456789abcdeg")
	for token, want := range map[string]bool{"0123456789abcdef": true, "another-token-of-ours": true, "#0123456789abcdeg": false, "# ours": false, "": false, "  0123456789abcdef  ": false, "0123456789abcde": false} {
		if k.allow(token) != want {
			t.Errorf("%q: %v", token, !want)
		}
	}
	for text, want := range map[string]string{
		"0123456789abcdef\n\n# x\n0123456789abcde": "line 4: a token of 15 characters, want at least 16",
		"0123456789\tabcdef":                       "line 1: a token has no blanks",
		strings.Repeat("x", 1<<16):                 "token too long",
		"#":                                        "no token in it, want one a line",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.Reload(); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "ws: tokens: "+path) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if !k.allow("0123456789abcdef") {
			t.Errorf("%.40q: the tokens are gone", text)
		}
	}
}

// A ticket is good once, for 30 seconds. No more than 1,024 are valid at a time;
// expired ones make room.
func TestTicketsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all tickets
		who := identity{7}
		began := time.Now()
		for i := range maxTickets {
			if _, ok := all.give(who, began.Add(time.Duration(i))); !ok {
				t.Fatalf("after %d tickets there is none", i)
			}
		}
		for after, want := range map[time.Duration]bool{0: false, ticketFor: false} {
			if _, ok := all.give(who, began.Add(after)); ok != want {
				t.Errorf("one more after %v: %v", after, ok)
			}
		}
		if maxTickets != 1024 {
			t.Errorf("%d tickets", maxTickets)
		}
		ticket, ok := all.give(who, began.Add(ticketFor+1)) // the first is too old
		if !ok {
			t.Error("an old ticket makes no room")
		}
		if _, ok := all.give(who, began.Add(ticketFor+1)); ok {
			t.Error("one old ticket makes room for two")
		}
		if _, ok := all.take(ticket+"x", began); ok {
			t.Error("a guess is a ticket")
		}
		if got, ok := all.take(ticket, began.Add(2*ticketFor+1)); !ok || got != who {
			t.Errorf("at the end of its time: %v, %v", got, ok)
		}
		if _, ok := all.take(ticket, began); ok {
			t.Error("a ticket is good twice")
		}
		ticket, _ = all.give(who, began)
		if _, ok := all.take(ticket, began.Add(ticketFor+1)); ok {
			t.Error("a ticket is good after its time")
		}
		k, _ := tokens(t, "0123456789abcdef")
		s := NewServer(Options{Open: open, Tokens: k})
		w := ask(s, "POST", ticketPath, "Authorization", "Bearer 0123456789abcdef")
		var m struct {
			Ticket  string
			Seconds int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != 200 || len(m.Ticket) != 32 || m.Seconds != 30 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Vary") != "" {
			t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
		}
		if got, ok := s.tickets.take(m.Ticket, time.Now()); !ok || got != sha256.Sum256([]byte("0123456789abcdef")) {
			t.Errorf("the ticket is %v's", got)
		}
		for range maxTickets {
			s.tickets.give(who, time.Now())
		}
		if w := ask(s, "POST", ticketPath, "Authorization", "Bearer 0123456789abcdef"); w.Code != 503 || !strings.Contains(w.Body.String(), "1024 tickets are unused") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// A client's identity is its bearer token, or its certificate if the server has no
// tokens.
func TestIdentities(t *testing.T) {
	k, _ := tokens(t, "0123456789abcdef")
	digest := func(b string) identity { return sha256.Sum256([]byte(b)) }
	certified := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("a")}, {Raw: []byte("b")}}}
	for name, c := range map[string]struct {
		tokens *Tokens
		tls    *tls.ConnectionState
		bearer string
		page   bool
		path   string
		who    identity
		ticket bool
		ok     bool
	}{
		"anybody": {ok: true}, "TLS": {tls: &tls.ConnectionState{}, ok: true}, "a certificate": {tls: certified, who: digest("a"), ok: true},
		"a token":            {tokens: k, bearer: "bEARER 0123456789abcdef", who: digest("0123456789abcdef"), ok: true},
		"a token and a cert": {tokens: k, tls: certified, bearer: "Bearer 0123456789abcdef", who: digest("0123456789abcdef"), ok: true},
		"no token":           {tokens: k}, "another token": {tokens: k, bearer: "Bearer 0123456789abcdeg"}, "no bearer": {tokens: k, bearer: "0123456789abcdef"},
		"a page": {tokens: k, page: true, ticket: true, ok: true}, "a page elsewhere": {tokens: k, page: true, path: "/v1/status"}, "a page and a wrong token": {tokens: k, page: true, bearer: "Bearer x"},
	} {
		s := NewServer(Options{Open: open, Tokens: c.tokens})
		if c.path == "" {
			c.path = Path
		}
		r := httptest.NewRequest("GET", "http://127.0.0.1"+c.path, nil)
		r.TLS = c.tls
		if c.bearer != "" {
			r.Header.Set("Authorization", c.bearer)
		}
		if c.page {
			r.Header.Set("Origin", "http://127.0.0.1")
		}
		who, ticket, err := s.authorize(r)
		if who != c.who || ticket != c.ticket || (err == nil) != c.ok {
			t.Errorf("%s: %s, %v, %v", name, who, ticket, err)
		}
	}
	if got := (identity{}).String(); got != "" {
		t.Errorf("nobody is %q", got)
	}
	if got := (identity{0xca, 0xfe}).String(); got != "cafe"+strings.Repeat("0", 60) {
		t.Errorf("somebody is %q", got)
	}
}

// A page may connect if its origin is listed, or is the server's own host: by IP
// address or localhost, by any name if the server wants tokens.
func TestOrigins(t *testing.T) {
	k, _ := tokens(t, "0123456789abcdef")
	for _, c := range []struct {
		origin, host  string
		plain, tokens bool
	}{
		{"", "gym.example", true, true}, {"https://LAB.example", "gym.example", true, true}, {"https://lab.example:444", "gym.example", false, false},
		{"http://gym.example", "gym.example", false, true}, {"http://gym.example:80", "gym.example:80", false, true}, {"http://gym.example:81", "gym.example:80", false, false},
		{"http://127.0.0.1:80", "127.0.0.1:80", true, true}, {"http://localhost:80", "localhost:80", true, true}, {"http://[::1]:80", "[::1]:80", true, true}, {"http://127.0.0.1:80", "gym.example", false, false},
		{"null", "gym.example", false, false}, {"http://%zz", "", false, false}, {"x", "", false, true},
	} {
		for _, tokens := range []*Tokens{nil, k} {
			s := NewServer(Options{Open: open, Tokens: tokens, Origins: []string{"https://lab.example"}})
			r := httptest.NewRequest("GET", "http://x", nil)
			r.Host = c.host
			r.Header.Set("Origin", c.origin)
			want := c.plain
			if tokens != nil {
				want = c.tokens
			}
			if err := s.checkOrigin(r); (err == nil) != want {
				t.Errorf("a page of %q at %q, tokens %v: %v", c.origin, c.host, tokens != nil, err)
			}
		}
	}
}

// The addresses in the plain-text greeting are those at which the server was reached.
func TestGreeting(t *testing.T) {
	s := NewServer(Options{Open: open, Name: "gym"})
	for scheme, state := range map[string]*tls.ConnectionState{"ws": nil, "wss": {}} {
		r := httptest.NewRequest("GET", "http://10.0.0.1:7070/", nil)
		r.TLS = state
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		for _, line := range []string{
			"This is gym, a server", fmt.Sprintf("%s://10.0.0.1:7070/v1/ws   subprotocol planegym.v1\n", scheme), fmt.Sprintf("planegym.make(%q, \"cartpole\")", scheme+"://10.0.0.1:7070"),
			fmt.Sprintf("ws.Dial(ctx, %q, ws.DialOptions", scheme+"://10.0.0.1:7070/v1/ws"),
		} {
			if !strings.Contains(w.Body.String(), line) {
				t.Errorf("no %q in %s", line, w.Body)
			}
		}
		if w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Error(w.Header())
		}
	}
}

// The admin port serves metrics and profiles, under an IP address or localhost only.
func TestAdmin(t *testing.T) {
	k, _ := tokens(t, "0123456789abcdef")
	s := NewServer(Options{Open: open, Tokens: k})
	for path, want := range map[string]string{"/metrics": "planegym_sessions", "/debug/pprof/": "goroutine", "/debug/pprof/cmdline": os.Args[0], "/debug/pprof/symbol": "num_symbols: 1", "/healthz": "ok", "/readyz": "ready"} {
		if w := ask(s.Admin(), "GET", path); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.100s", path, w.Code, w.Body)
		}
	}
	gone, cancel := context.WithCancel(background) // else a profile takes its time
	cancel()
	for _, path := range []string{"profile", "trace"} {
		w := httptest.NewRecorder()
		if s.Admin().ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/debug/pprof/"+path, nil).WithContext(gone)); w.Code != 200 || w.Header().Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	r := httptest.NewRequest("GET", "http://gym.example/metrics", nil)
	w := httptest.NewRecorder()
	if s.Admin().ServeHTTP(w, r); w.Code != 403 || !strings.Contains(w.Body.String(), `Host \"gym.example\": want an IP address or localhost`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Connections from this machine have no rate limit unless one is set.
func TestLocal(t *testing.T) {
	for _, c := range []struct {
		addr net.Addr
		want bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, true}, {&net.TCPAddr{IP: net.IPv6loopback}, true}, {&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, false}, {&net.UnixAddr{}, true}, {&net.IPAddr{}, false},
	} {
		w := &addressed{&wire{}, c.addr}
		if got := local(w); got != c.want {
			t.Errorf("%T %v: %v", c.addr, c.addr, got)
		}
		for _, rate := range []int{0, 7} {
			s := NewServer(Options{Open: open, Rate: rate})
			ss := lone(s, w)
			if err := ss.listen(control{}); err != nil {
				t.Fatal(err)
			}
			want := rate
			if rate == 0 && !c.want {
				want = 200_000
			}
			if ss.rate != want {
				t.Errorf("%T %v with a rate of %d: %d", c.addr, c.addr, rate, ss.rate)
			}
		}
	}
}

type addressed struct {
	*wire
	addr net.Addr
}

func (a *addressed) RemoteAddr() net.Addr { return a.addr }

// Options that are not set are what their comments say.
func TestDefaults(t *testing.T) {
	o := NewServer(Options{Open: open}).opts
	got := fmt.Sprint(o.MaxSessions, o.MaxEnvs, o.Rate, o.HelloTimeout, o.WriteTimeout, o.PingAfter, o.PongTimeout, o.IdleTimeout, o.StepTimeout, o.MakeTimeout, o.ResumeFor, " ", o.Name)
	if want := "1024 16 0 2s 5s 20s 10s 10m0s 1m0s 1m0s 1m0s planegym"; got != want || o.Log == nil {
		t.Errorf("%s, want %s", got, want)
	}
	o = NewServer(Options{Open: open, MaxSessions: 1, MaxEnvs: 2, HelloTimeout: 3, WriteTimeout: 4, PingAfter: 5, PongTimeout: 6, IdleTimeout: 7, StepTimeout: -1, MakeTimeout: -2, ResumeFor: -3, Name: "gym", Journal: "x"}).opts
	got = fmt.Sprint(o.MaxSessions, o.MaxEnvs, o.Rate, o.HelloTimeout, o.WriteTimeout, o.PingAfter, o.PongTimeout, o.IdleTimeout, o.StepTimeout, o.MakeTimeout, o.ResumeFor, " ", o.Name, o.Journal)
	if want := "1 2 0 3ns 4ns 5ns 6ns 7ns 0s 0s 0s gym"; strings.TrimSpace(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("a server that makes nothing")
		}
	}()
	NewServer(Options{})
}
