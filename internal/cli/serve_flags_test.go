package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/serving"
)

// running is a serve command that runs.
type running struct {
	URL, Admin string
	stderr     *syncBuffer
	stop       func() int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startServe(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	s := &running{stderr: new(syncBuffer)}
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, append([]string{"serve", "--json"}, args...), nil, in, s.stderr)
		in.Close()
	}()
	s.stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() {
		if c := s.stop(); c != exitOK {
			t.Errorf("serve %v ended with %d: %s", args, c, s.stderr)
		}
	})
	if err := json.NewDecoder(out).Decode(s); err != nil || s.URL == "" {
		t.Fatalf("serve %v: %v %s", args, err, s.stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return s
}

// issue writes a certificate for 127.0.0.1, signed by parent or itself.
func issue(t *testing.T, dir, name string, parent *tls.Certificate) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, by := c, any(key)
	if parent != nil {
		signer, by = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	if pair.Leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, pair
}

func stepOnce(t *testing.T, url string, o ws.DialOptions) {
	t.Helper()
	o.Scenario = "cartpole"
	c := dial(t, url, o)
	var b env.Batch
	if err := c.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	if err := c.Step(context.Background(), nil, []int32{1}, &b); err != nil {
		t.Fatal(err)
	}
}

func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	ca, _, caPair := issue(t, dir, "ca", nil)
	cert, key, _ := issue(t, dir, "server", &caPair)
	_, _, client := issue(t, dir, "client", &caPair)
	_, _, stranger := issue(t, dir, "stranger", nil)
	roots := x509.NewCertPool()
	roots.AddCert(caPair.Leaf)
	s := startServe(t, "--addr", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	if !strings.HasPrefix(s.URL, "wss://") {
		t.Errorf("URL is %s", s.URL)
	}
	stepOnce(t, s.URL, ws.DialOptions{TLS: &tls.Config{RootCAs: roots}})
	if _, err := ws.Dial(context.Background(), s.URL, ws.DialOptions{Scenario: "cartpole"}); err == nil {
		t.Error("a certificate of nobody was trusted")
	}
	m := startServe(t, "--addr", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--client-ca", ca)
	stepOnce(t, m.URL, ws.DialOptions{TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{client}}})
	for what, certs := range map[string][]tls.Certificate{"none": nil, "a stranger's": {stranger}} {
		if c, err := ws.Dial(context.Background(), m.URL, ws.DialOptions{Scenario: "cartpole", TLS: &tls.Config{RootCAs: roots, Certificates: certs}}); err == nil {
			c.Close()
			t.Errorf("client certificate: %s: let in", what)
		}
	}
}

func TestServeUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := startServe(t, "--unix", path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v, %v", info.Mode(), err)
	}
	if s.URL != "unix://"+path {
		t.Errorf("URL is %s", s.URL)
	}
	stepOnce(t, s.URL, ws.DialOptions{})
	var out, stderr bytes.Buffer
	if c := Main(context.Background(), []string{"serve", "--unix", path}, nil, &out, &stderr); c != exitFailed || !strings.Contains(stderr.String(), "a server listens at") {
		t.Errorf("a second server: %d %s", c, &stderr)
	}
	if c := s.stop(); c != exitOK {
		t.Fatal(s.stderr)
	}
	l, err := net.Listen("unix", path) // a server that was killed leaves its socket
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	stepOnce(t, startServe(t, "--unix", path, "--unix-mode", "0660").URL, ws.DialOptions{})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket of --unix-mode 0660: %v, %v", info.Mode(), err)
	}
	for _, mode := range []string{"rw", "1777", "-1", "0888"} {
		if c := Main(context.Background(), []string{"serve", "--unix", path + "2", "--unix-mode", mode}, nil, io.Discard, &stderr); c != exitUsage {
			t.Errorf("--unix-mode %s: exit status %d", mode, c)
		}
	}
}

// TestIdleConnectionsEnd: connections that send nothing more, after a request or
// before the first, are closed, so that they lock no client out.
func TestIdleConnectionsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	s := startServe(t, "--addr", "127.0.0.1:0")
	host := strings.TrimSuffix(strings.TrimPrefix(s.URL, "ws://"), ws.Path)
	var wait sync.WaitGroup
	for _, request := range []string{"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", ""} {
		wait.Go(func() {
			c, err := net.Dial("tcp", host)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, request)
			_ = c.SetReadDeadline(time.Now().Add(4 * serving.IdleConnection))
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("after %q: the connection was not closed: %v", request, err)
			}
		})
	}
	wait.Wait()
}

func TestServeTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("the-first-token-is-long\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, "--addr", "127.0.0.1:0", "--token-file", file, "--verbose")
	stepOnce(t, s.URL, ws.DialOptions{Token: "the-first-token-is-long"})
	if _, err := ws.Dial(context.Background(), s.URL, ws.DialOptions{Scenario: "cartpole"}); !errors.Is(err, ws.ErrUnauthorized) {
		t.Errorf("without a token: %v", err)
	}
	if err := os.WriteFile(file, []byte("the-second-token-is-long\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(s.stderr.String(), "tokens read again") {
		time.Sleep(time.Millisecond)
	}
	stepOnce(t, s.URL, ws.DialOptions{Token: "the-second-token-is-long"})
	if _, err := ws.Dial(context.Background(), s.URL, ws.DialOptions{Scenario: "cartpole", Token: "the-first-token-is-long"}); !errors.Is(err, ws.ErrUnauthorized) {
		t.Errorf("the old token: %v", err)
	}
	if strings.Contains(s.stderr.String(), "token-is-long") {
		t.Errorf("a token in the log: %s", s.stderr)
	}
}

func TestServeAdmin(t *testing.T) {
	s := startServe(t, "--addr", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	stepOnce(t, s.URL, ws.DialOptions{})
	for path, want := range map[string]string{
		"/metrics": "planegym_steps_total 1\n", "/healthz": "ok", "/readyz": "ready", "/debug/pprof/goroutine?debug=1": "goroutine profile",
	} {
		resp, err := http.Get(s.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(b), want) {
			t.Errorf("%s: %d, no %q in %.300s", path, resp.StatusCode, want, b)
		}
	}
	base := "http" + strings.TrimSuffix(strings.TrimPrefix(s.URL, "ws"), ws.Path)
	resp, err := http.Get(base + "/debug/pprof/")
	if err != nil || resp.StatusCode != 404 {
		t.Errorf("pprof beside the clients: %v %v", resp.Status, err)
	}
	resp.Body.Close()
}

// A client that dies in an episode leaves a recording that ends truncated.
func TestServeRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "episodes")
	s := startServe(t, "--addr", "127.0.0.1:0", "--record", dir, "--resume", "0s")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kill := make(chan struct{})
	go func() {
		down, _ := l.Accept()
		up, _ := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.URL, "ws://"), ws.Path))
		go func() { _, _ = io.Copy(up, down) }()
		go func() { _, _ = io.Copy(down, up) }()
		<-kill
		up.Close()
		down.Close()
	}()
	c := dial(t, "ws://"+l.Addr().String(), ws.DialOptions{Scenario: "cartpole", NumEnvs: 2, Record: true})
	var b env.Batch
	if err := c.Reset(context.Background(), nil, []uint64{1, 2}, &b); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := c.Step(context.Background(), nil, []int32{0, 1}, &b); err != nil {
			t.Fatal(err)
		}
	}
	close(kill)
	var files []string
	for len(files) == 0 { // else the test times out
		files, _ = filepath.Glob(filepath.Join(dir, "cartpole-*.parquet"))
		time.Sleep(time.Millisecond)
	}
	steps, cut := 0, 0
	for _, f := range files {
		if err := episodes.Read(f, func(_ episodes.Spaces, e *episodes.Episode) error {
			steps += len(e.Reward)
			if !e.Terminated {
				cut++
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if steps != 10 || cut != 2 {
		t.Errorf("%d steps recorded, %d episodes truncated", steps, cut)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestServeRefusesToRecord(t *testing.T) {
	s := startServe(t, "--addr", "127.0.0.1:0")
	if _, err := ws.Dial(context.Background(), s.URL, ws.DialOptions{Scenario: "cartpole", Record: true}); !errors.Is(err, ws.ErrInvalidConfig) || !strings.Contains(err.Error(), "--record") {
		t.Errorf("record: %v", err)
	}
}
