package ws

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCapacity(t *testing.T) {
	faked(t, Options{MaxSessions: 2}, func(t *testing.T, s *Server) {
		a, b := pipe(t, s, false), pipe(t, s, false)
		a.start()
		b.start()
		for range 100 {
			p := pipe(t, s, false)
			p.say(`{"type":"hello","id":3,"version":1}`)
			if m := p.want("capacity"); m["id"] != 3.0 || m["retry_ms"] == nil {
				t.Errorf("%v", m)
			}
			p.wantClose(closeBusy)
			_ = p.net.Close()
		}
		a.say(`{"type":"close","id":3,"ack":2}`)
		a.want("closed")
		a.wantClose(closeNormal)
		_ = a.net.Close()
		synctest.Wait()
		c := pipe(t, s, false) // there is room again
		c.start()
		_ = b.net.Close()
		_ = c.net.Close()
		// No goroutine is left once the sessions have waited: else the bubble panics.
	})
}

func TestRate(t *testing.T) {
	faked(t, Options{Rate: 10}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		token := p.start() // two messages
		for id := 3; id < 11; id++ {
			p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, id, id-1)
			p.want("step_result")
		}
		p.say(`{"type":"step","id":11,"ack":10,"env":1,"actions":[1]}`)
		p.want("rate_limited")
		p.wantClose(closeBusy)
		_ = p.net.Close()
		time.Sleep(time.Second)
		p = pipe(t, s, false)
		p.resume(token, 10)
		p.want("resumed")
		p.say(`{"type":"step","id":11,"ack":10,"env":1,"actions":[1]}`)
		p.want("step_result")
		_ = p.net.Close()
	})
}

func TestTickets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("# ours\n0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	faked(t, Options{Tokens: tokens}, func(t *testing.T, s *Server) {
		ticket := func() string {
			r := httptest.NewRequest("POST", ticketPath, nil)
			r.Header.Set("Authorization", "Bearer 0123456789abcdef")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			var m struct{ Ticket string }
			if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != 200 || m.Ticket == "" {
				t.Fatalf("ticket: %d %s", w.Code, w.Body)
			}
			return m.Ticket
		}
		hello := func(ticket, want string) {
			t.Helper()
			p := pipe(t, s, true)
			p.say(`{"type":"hello","id":0,"version":1,"ticket":%q}`, ticket)
			p.want(want)
			if want != "welcome" {
				p.wantClose(closeUnauthorized)
			}
			_ = p.net.Close()
		}
		good := ticket()
		hello(good, "welcome")
		hello(good, "unauthorized") // once
		hello("", "unauthorized")
		old := ticket()
		time.Sleep(ticketFor + time.Millisecond)
		hello(old, "unauthorized")
		p := pipe(t, s, true) // nothing is said before
		p.say(`{"type":"make","id":1,"scenario":"cartpole","num_envs":1}`)
		p.want("bad_frame")
		p.wantClose(closeBadFrame)
	})
}

// TestAdmission is who is let in, before the upgrade; and that what they
// present is in no log.
func TestAdmission(t *testing.T) {
	const token = "0123456789abcdef-secret"
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var mu sync.Mutex
	o := Options{Tokens: tokens, Origins: []string{"https://lab.example"}, Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	s, url := serve(t, o)
	base := "http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), Path)
	for _, c := range []struct {
		name   string
		header [3]string // Authorization, Origin, subprotocol
		status int
		code   string
	}{
		{"no token", [3]string{"", "", Protocol}, 401, "unauthorized"},
		{"wrong token", [3]string{"Bearer " + token + "x", "", Protocol}, 401, "unauthorized"},
		{"half a token", [3]string{"Bearer " + token[:20], "", Protocol}, 401, "unauthorized"},
		{"basic", [3]string{"Basic " + token, "", Protocol}, 401, "unauthorized"},
		{"token", [3]string{"bearer " + token, "", Protocol}, 101, ""},
		{"no subprotocol", [3]string{"Bearer " + token, "", ""}, 400, "bad_version"},
		{"next version", [3]string{"Bearer " + token, "", "planegym.v2"}, 400, "bad_version"},
		{"stranger's page", [3]string{"Bearer " + token, "https://evil.example", Protocol}, 403, "unauthorized"},
		{"stranger's page, no token", [3]string{"", "https://evil.example", Protocol}, 403, "unauthorized"},
		{"listed page", [3]string{"", "https://lab.example", Protocol}, 101, ""}, // wants a ticket next
		{"own page", [3]string{"", base, Protocol}, 101, ""},
	} {
		r, _ := http.NewRequest("GET", base+Path, nil)
		for i, k := range []string{"Authorization", "Origin", "Sec-Websocket-Protocol"} {
			if c.header[i] != "" {
				r.Header.Set(k, c.header[i])
			}
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-Websocket-Version", "13")
		r.Header.Set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		var m errorMessage
		if resp.StatusCode != 101 {
			_ = json.NewDecoder(resp.Body).Decode(&m)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || m.Code != c.code {
			t.Errorf("%s: %d %q, want %d %q", c.name, resp.StatusCode, m.Code, c.status, c.code)
		}
	}
	if _, err := Dial(background, url, DialOptions{Scenario: "cartpole", Token: "wrong"}); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("wrong token: %v", err)
	}
	c := dial(t, url, DialOptions{Token: token})
	resume := c.token
	if resp, err := http.Get(base + "/metrics"); err != nil || resp.StatusCode != 401 {
		t.Errorf("metrics without a token: %v %v", resp, err)
	}
	if err := os.WriteFile(path, []byte("another-token-of-ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(background, url, DialOptions{Scenario: "cartpole", Token: token}); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("a token that was taken away: %v", err)
	}
	_ = s
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range []string{token, resume, "another-token"} {
		if strings.Contains(log.String(), secret[:12]) {
			t.Errorf("the log has a secret:\n%s", &log)
		}
	}
	if !strings.Contains(log.String(), "session=") {
		t.Error("the log has no session")
	}
}

type locked struct {
	*sync.Mutex
	w io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.w.Write(p)
}

func TestTokenFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	for _, c := range []struct{ text, want string }{
		{"", "no token"},
		{"# only this\n\n", "no token"},
		{"0123456789abcdef\nshort\n", "line 2: a token of 5 characters"},
		{"0123456789 abcdef\n", "line 1: a token has no blanks"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadTokens(path); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "0123456") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := ReadTokens(path + "no"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
