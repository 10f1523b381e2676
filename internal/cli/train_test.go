package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env/ws"
)

// command runs a command line and gives its exit code and both its outputs.
func command(ctx context.Context, args ...string) (code int, out, stderr string) {
	var o, e bytes.Buffer
	code = Main(ctx, args, nil, &o, &e)
	return code, o.String(), e.String()
}

// train trains a small agent on CartPole into out.
func train(ctx context.Context, out string, args ...string) (int, string) {
	code, _, stderr := command(ctx, append([]string{"train", "--scenario", "cartpole", "--set", "hidden=[16]", "--kernels", "go", "--evaluate", "3", "--out", out}, args...)...)
	return code, stderr
}

// Training on a server gives the bytes that training here gives.
func TestTrainHereAndThere(t *testing.T) {
	url, dir := serve(t), t.TempDir()
	var files [2][]byte
	for i, args := range [][]string{nil, {"--url", url}} {
		out := filepath.Join(dir, string('a'+rune(i)))
		if code, stderr := train(context.Background(), out, append(args, "--steps", "2000", "--checkpoint-every", "500")...); code != exitOK {
			t.Fatal(stderr)
		}
		var err error
		if files[i], err = os.ReadFile(filepath.Join(out, "policy.safetensors")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the policies differ")
	}
}

// until calls stop once file is there.
func until(t *testing.T, file string, stop func()) {
	t.Helper()
	go func() {
		for range 3000 {
			if _, err := os.Stat(file); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		stop()
	}()
}

// Ctrl-C, and a server that goes away, leave a checkpoint and say how to go
// on from it.
func TestTrainInterrupted(t *testing.T) {
	for name, remote := range map[string]bool{"Ctrl-C": false, "server gone": true} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			args, stop := []string{"--steps", "100000000", "--checkpoint-every", "1500"}, cancel
			if remote {
				var url string
				url, stop = serveUntil(t)
				args = append(args, "--url", url, "--reconnect", "-1s")
			}
			until(t, filepath.Join(out, "policy.safetensors"), stop)
			code, stderr := train(ctx, out, args...)
			want := "is kept: planegym train --resume " + out
			if code != exitFailed || !strings.Contains(stderr, want) || remote && !strings.Contains(stderr, ws.ErrDisconnected.Error()) {
				t.Fatalf("exit %d: %s", code, stderr)
			}
			if code, _, stderr := command(context.Background(), "train", "--resume", out, "--steps", "1600", "--evaluate", "0"); code != exitOK {
				t.Error(stderr)
			}
		})
	}
}

// An agent meets a scenario that it was not trained in.
func TestPlayRefusesAnotherSchema(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	if code, stderr := train(context.Background(), out, "--steps", "200"); code != exitOK {
		t.Fatal(stderr)
	}
	policy, data := filepath.Join(out, "policy.safetensors"), folder(t)
	for _, args := range [][]string{{"play", policy}, {"train", "--transfer", policy, "--out", out + "2"}} {
		code, _, stderr := command(context.Background(), append(args, "--scenario", "replay", "--data", data)...)
		if code != exitFailed || !strings.Contains(stderr, "trained on observations of 4 elements (cart_position, ") || !strings.Contains(stderr, "or train anew") {
			t.Errorf("%v: exit %d: %s", args[0], code, stderr)
		}
	}
}

// On recordings, every baseline plays, and the result includes the viewer's experience.
func TestPlayRecordings(t *testing.T) {
	code, out, stderr := command(context.Background(), "play", "--scenario", "replay", "--data", folder(t), "--episodes", "2")
	if code != exitOK {
		t.Fatal(stderr)
	}
	for _, want := range []string{"BUFFER (s)", "fixed:32", "fixed:64", "codel", "threshold", "32: 100 %, 64: 0 %"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
