package ws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestAutobahn runs the cases of Autobahn's suite against the server's framing:
// sessions that send each message back. The suite is wstest on PATH, or the
// file that PLANEGYM_WSTEST names (.ci/autobahn installs it, on CPython 2.7).
//
// Compression (12, 13) is never negotiated. Case 9, messages of up to 16 MiB,
// tests speed; PLANEGYM_AUTOBAHN=all runs it, with a larger bound.
func TestAutobahn(t *testing.T) {
	wstest := os.Getenv("PLANEGYM_WSTEST")
	if wstest == "" {
		var err error
		if wstest, err = exec.LookPath("wstest"); err != nil {
			t.Skip("no Autobahn here: ", err)
		}
	}
	if testing.Short() {
		t.Skip("takes a minute")
	}
	s := NewServer(Options{Open: open, ResumeFor: -1})
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	url := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c := newConn(u.NetConn(), false, 17<<20, time.Minute)
		c.allow(64 << 20)
		s.mu.Lock()
		ss := s.newSession(c, secret{byte(len(s.sessions))}, identity{})
		s.mu.Unlock()
		_, err = ss.detach(ss.echo())
		ss.over(err)
	}))
	defer url.Close()

	dir := t.TempDir()
	excluded := []string{"9.*", "12.*", "13.*"}
	least := 247
	if os.Getenv("PLANEGYM_AUTOBAHN") == "all" {
		excluded, least = excluded[1:], 301
	}
	spec := filepath.Join(dir, "spec.json")
	text, err := json.Marshal(map[string]any{
		"outdir": dir, "cases": []string{"*"}, "exclude-cases": excluded, "exclude-agent-cases": map[string]any{},
		"servers": []any{map[string]any{"agent": "planegym", "url": "ws" + strings.TrimPrefix(url.URL, "http")}},
	})
	if err == nil {
		err = os.WriteFile(spec, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(wstest, "-m", "fuzzingclient", "-s", spec)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var report map[string]map[string]struct{ Behavior, BehaviorClose string }
	text, err = os.ReadFile(filepath.Join(dir, "index.json"))
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(text)).Decode(&report)
	}
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for name, got := range report["planegym"] {
		count[got.Behavior]++
		for _, b := range []string{got.Behavior, got.BehaviorClose} {
			if b != "OK" && b != "INFORMATIONAL" && b != "NON-STRICT" {
				t.Errorf("case %s: %s, close %s", name, got.Behavior, got.BehaviorClose)
				break
			}
		}
	}
	if n := len(report["planegym"]); n < least {
		t.Errorf("%d cases ran, expected at least %d", n, least)
	}
	t.Log(fmt.Sprint(count))
}

// echo sends every message back, until the connection is over.
func (s *session) echo() error {
	if err := s.listen(control{}); err != nil {
		return err
	}
	for {
		m, err := s.receive()
		if err != nil {
			_ = s.conn.flush()
			return err
		}
		if err := s.conn.send(m.op, m.buf, !s.conn.in.ready()); err != nil {
			return err
		}
	}
}
