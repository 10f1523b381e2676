package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/ws"
)

// remoteCartPole is n carts on a server; stop ends it.
func remoteCartPole(t *testing.T, n int) (v env.Vector, stop func()) {
	t.Helper()
	s := ws.NewServer(ws.Options{Open: func(_ context.Context, m ws.MakeRequest) (env.Vector, error) {
		if m.Scenario != "cartpole" {
			return nil, fmt.Errorf("%w: %q", ws.ErrUnknownScenario, m.Scenario)
		}
		return cartpole.New(m.NumEnvs, m.Autoreset)
	}})
	h := httptest.NewServer(s)
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		h.Close()
	}
	c, err := ws.Dial(context.Background(), "ws"+strings.TrimPrefix(h.URL, "http")+ws.Path, ws.DialOptions{Scenario: "cartpole", NumEnvs: n, Resume: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, stop
}

func defaultTrainer(t *testing.T, v env.Vector, steps int64) *agent.Trainer {
	t.Helper()
	c, err := agent.Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	c.Hidden, c.Steps = []int{16}, steps
	be := compute.NewBackend(compute.Go, 1)
	t.Cleanup(be.Close)
	tr, err := agent.NewTrainer(c, v, 5, be)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// Equal seeds give equal weights after 1,000 updates, whether the environment
// is in the process or behind a socket.
func TestLocalAndRemoteAgree(t *testing.T) {
	var hashes []string
	remote, stop := remoteCartPole(t, 4)
	defer stop()
	for _, v := range []env.Vector{cartPole(t, 4, env.NextStep), remote} {
		tr := defaultTrainer(t, v, 1<<40)
		done := errors.New("enough")
		err := tr.Train(context.Background(), 64, func(p agent.Progress) error {
			if p.Updates >= 1000 {
				return done
			}
			return nil
		})
		if !errors.Is(err, done) || tr.Agent.Updates() < 1000 {
			t.Fatalf("%d updates: %v", tr.Agent.Updates(), err)
		}
		hashes = append(hashes, tr.Agent.Hash())
	}
	if hashes[0] != hashes[1] {
		t.Errorf("local %s, remote %s", hashes[0], hashes[1])
	}
}

// A server that goes away ends training with an error that says so; the last
// checkpoint stays, and training goes on from it elsewhere.
func TestServerGoneMidTraining(t *testing.T) {
	v, stop := remoteCartPole(t, 2)
	tr := defaultTrainer(t, v, 4000)
	path := filepath.Join(t.TempDir(), "c.safetensors")
	saved := ""
	err := tr.Train(context.Background(), 1500, func(agent.Progress) error {
		err := tr.Save(context.Background(), path)
		saved = tr.Agent.Hash()
		stop()
		return err
	})
	if err == nil || !errors.Is(err, ws.ErrDisconnected) && !errors.Is(err, env.ErrClosed) {
		t.Fatalf("got %v, want that the connection is lost", err)
	}
	kept, err := agent.Load(path, compute.NewBackend(compute.Go, 1))
	if err != nil || kept.Hash() != saved {
		t.Fatalf("the checkpoint is not the one that was saved: %v", err)
	}
	again, err := agent.Resume(context.Background(), path, cartPole(t, 2, env.NextStep), 0, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Train(context.Background(), 4000, func(agent.Progress) error { return nil }); err != nil || again.Agent.Updates() <= kept.Updates() {
		t.Errorf("resumed: %v", err)
	}
}
