package serving

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/scenarios"
)

// An address that is not of every interface is given as it is; of every interface the
// port stays and the host can be reached.
func TestReachable(t *testing.T) {
	a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7070}
	if got := Reachable(a); got != "127.0.0.1:7070" {
		t.Error(got)
	}
	host, port, err := net.SplitHostPort(Reachable(&net.TCPAddr{IP: net.IPv6zero, Port: 7071}))
	if ip := net.ParseIP(host); err != nil || port != "7071" || ip == nil || ip.IsUnspecified() {
		t.Errorf("%s %s %v", host, port, err)
	}
}

// A socket that a killed server left is replaced; a running server's is not, and neither
// is a file.
func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, 0o600); err == nil {
		t.Error("two servers at one socket")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a kill leaves it
	l.Close()
	l, err = ListenUnix(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, 0o600); err == nil {
		t.Error("a file was replaced")
	}
}

func TestTLSRefuses(t *testing.T) {
	if _, err := TLS("none.pem", "none.key", ""); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What is recorded is read back; asking a server to record that does not is an error.
func TestRecorder(t *testing.T) {
	open := func(context.Context, ws.MakeRequest) (env.Vector, error) { return cartpole.New(1, env.SameStep) }
	if _, err := (&Recorder{}).Wrap(open)(t.Context(), ws.MakeRequest{Record: true}); !errors.Is(err, ws.ErrInvalidConfig) {
		t.Error(err)
	}
	dir := t.TempDir()
	v, err := (&Recorder{Dir: dir}).Wrap(open)(t.Context(), ws.MakeRequest{Scenario: "a/cartpole", Session: "s", Env: 3})
	if err != nil {
		t.Fatal(err)
	}
	var b env.Batch
	if err := v.Reset(t.Context(), nil, []uint64{1}, &b); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for ended := false; !ended; steps++ {
		if err := v.Step(t.Context(), nil, []int32{0}, &b); err != nil {
			t.Fatal(err)
		}
		ended = b.Terminated[0]
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "cartpole-s-3-*.parquet"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	rows := 0
	if err := episodes.Read(files[0], func(_ episodes.Spaces, e *episodes.Episode) error { rows += len(e.Reward); return nil }); err != nil || rows != steps {
		t.Errorf("%d rewards of %d steps: %v", rows, steps, err)
	}
}

// The default scenario's page is first, and a user's own has no measured returns.
func TestPages(t *testing.T) {
	served, err := planegym.Bundled()
	if err != nil {
		t.Fatal(err)
	}
	mine := served["contended"]
	mine.Name = "mine"
	served["mine"] = mine
	pages, err := Pages(new(planegym.Gym), served, "mine", true)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) != len(scenarios.Names())+1 || pages[0].Name != "mine" || pages[0].Best != nil {
		t.Errorf("%d pages, first %q with returns %v", len(pages), pages[0].Name, pages[0].Best)
	}
	for _, p := range pages {
		if p.Name == "cartpole" && len(p.Best) == 0 {
			t.Error("cartpole has no measured returns")
		}
	}
	best := known([]scenarios.Return{{Policy: "ddqn", Mean: 9}, {Policy: "fixed:32", Mean: 5}, {Policy: "fixed:64", Mean: 4}})
	if len(best) != 2 || best[0].Policy != "ddqn" || best[1].Policy != "fixed:32" {
		t.Errorf("%+v", best)
	}
}
