package ws

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// Dial connects to ws, wss and unix addresses, and says once what is wrong with an
// address.
func TestAddresses(t *testing.T) {
	s := NewServer(Options{Open: open})
	plain, secure := httptest.NewServer(s), httptest.NewUnstartedServer(s)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	secure.StartTLS()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &http.Server{Handler: s}
	go func() { _ = local.Serve(l) }()
	defer func() { plain.Close(); secure.Close(); local.Close() }()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // which is not for loopback, nor for sockets
	host := strings.TrimPrefix(plain.URL, "http://")
	roots := secure.Client().Transport.(*http.Transport).TLSClientConfig
	for _, c := range []struct {
		url  string
		tls  *tls.Config
		want string
	}{
		{"ws://" + host, nil, ""}, {"ws://" + host + "/", nil, ""}, {"ws://" + host + Path, nil, ""}, {"wss" + strings.TrimPrefix(secure.URL, "https"), roots, ""}, {"unix://" + socket, nil, ""},
		{"ws://" + host + "/v2/ws", nil, "dial ws://" + host + "/v2/ws: websocket: bad handshake: HTTP 404 Not Found"},
		{"http://" + host, nil, "dial http://" + host + ": invalid configuration: want ws://host:port, wss://host or unix:///path"},
		{"ws://127.0.0.1:1", nil, "dial ws://127.0.0.1:1: connection refused"},
		{"unix://" + socket + "2", nil, "dial unix://" + socket + "2: no such file or directory"},
		{"ws://a b", nil, "dial ws://a b: invalid character \" \" in host name"},
		{"wss" + strings.TrimPrefix(secure.URL, "https"), nil, "certificate"},
	} {
		client, err := Dial(background, c.url, DialOptions{Scenario: "cartpole", TLS: c.tls})
		switch {
		case err == nil:
			if err := client.Close(); err != nil {
				t.Error(c.url, err)
			}
			fallthrough
		case c.want == "":
			if err != nil || c.want != "" {
				t.Errorf("%s: %v, want %q", c.url, err, c.want)
			}
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
	if _, err := Dial(background, "ws://"+host, DialOptions{Kwargs: func() {}}); err == nil || !strings.HasPrefix(err.Error(), "ws: kwargs: ") {
		t.Errorf("kwargs that are no JSON: %v", err)
	}
	if err := s.Shutdown(background); err != nil {
		t.Error(err)
	}
}

// Dial reports a server that speaks another subprotocol, or that refuses with any kind
// of body.
func TestHandshakesThatFail(t *testing.T) {
	gone := make(chan error, 1)
	ofLength := func(n int) string {
		return `{"type":"error","code":"capacity","message":"` + strings.Repeat("x", n-len(`{"type":"error","code":"capacity","message":""}`)) + `"}`
	}
	refusals := map[string]string{
		"/error": `{"type":"error","id":0,"code":"unauthorized","message":"who are you"}`, "/other": `{"type":"welcome"}`, "/text": "go away",
		"/long": ofLength(1024), "/longer": ofLength(1025),
	}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body := refusals[r.URL.Path]; body != "" {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, body)
			return
		}
		up, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err == nil {
			_, _, err = up.ReadMessage()
		}
		gone <- err
	}))
	defer h.Close()
	for path, want := range map[string]string{
		"/error": "who are you (unauthorized)", "/other": "HTTP 418", "/text": "HTTP 418", "/long": "(capacity)", "/longer": "HTTP 418",
		"/none": `the server chose subprotocol "", want planegym.v1`,
	} {
		_, err := Dial(background, "ws"+strings.TrimPrefix(h.URL, "http")+path, DialOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := <-gone; err == nil {
		t.Error("a connection of another subprotocol goes on")
	}
}
