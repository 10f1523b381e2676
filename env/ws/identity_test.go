package ws

import (
	"crypto/sha256"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// as connects a peer whose bearer token is token.
func as(t testing.TB, s *Server, token string) *peer {
	return pipeAs(t, s, sha256.Sum256([]byte(token)), false)
}

// TestResumeTokenIsItsClients: a resume token that somebody else got hold of opens
// nothing under another bearer token, in memory or from a journal, and does the
// session no harm. When a token is revoked its sessions end.
func TestResumeTokenIsItsClients(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alice-alice-alice\nmallory-mallory-\n")
	tokens, err := ReadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	faked(t, Options{Tokens: tokens, Journal: dir}, func(t *testing.T, s *Server) {
		alice := as(t, s, "alice-alice-alice")
		token := alice.start()
		_ = alice.net.Close()
		synctest.Wait()
		steal := func(s *Server) {
			t.Helper()
			mallory := as(t, s, "mallory-mallory-")
			mallory.resume(token, 2)
			mallory.want("unauthorized")
			mallory.wantClose(closeUnauthorized)
		}
		steal(s)
		left := t.TempDir() // as a killed server leaves it
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		second := NewServer(Options{Open: open, Tokens: tokens, Journal: left})
		steal(second)
		for _, server := range []*Server{second, s} {
			alice = as(t, server, "alice-alice-alice")
			alice.resume(token, 2)
			alice.want("resumed")
			alice.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
			alice.want("step_result")
			if server == second {
				_ = alice.net.Close()
				if err := second.Shutdown(background); err != nil {
					t.Error(err)
				}
			}
		}
		mallory := as(t, s, "mallory-mallory-")
		mallory.start()
		write("mallory-mallory-\n")
		if err := tokens.Reload(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		alice.wantClose(closeUnauthorized)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the session of a revoked token went on for %v", took)
		}
		mallory.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
		mallory.want("step_result")
		_, _ = alice.net.Close(), mallory.net.Close()
	})
}

// TestHosts: without a token a page under a name that points here by a stranger's
// DNS reads nothing of the server.
func TestHosts(t *testing.T) {
	s := NewServer(Options{Open: open, Origins: []string{"https://gym.example"}})
	for host, want := range map[string]int{
		"127.0.0.1:7070": 200, "localhost:7070": 200, "LOCALHOST": 200, "[::1]:7070": 200, "[::1]": 200, "10.1.2.3": 200, "gym.example": 200, "gym.example:80": 401,
		"evil.example": 401, "evil.example:7070": 401, "localhost.evil.example": 401, "127.0.0.1.evil.example": 401, "": 401,
	} {
		for _, path := range []string{"/v1/status", "/metrics", "/v1/scenarios"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s for Host %q: %d, want %d: %.100s", path, host, w.Code, want, w.Body)
			}
		}
		r := httptest.NewRequest("GET", "/debug/pprof/cmdline", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Admin().ServeHTTP(w, r)
		if fine := want == 200 && host != "gym.example"; (w.Code == 200) != fine {
			t.Errorf("pprof for Host %q: %d", host, w.Code)
		}
		r = httptest.NewRequest("GET", "/healthz", nil)
		r.Host = host
		w = httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 200 {
			t.Errorf("health for Host %q: %d", host, w.Code)
		}
	}
}
