package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// serve runs the command until the test ends and gives its URL.
func serve(t *testing.T, args ...string) string {
	t.Helper()
	url, _ := serveUntil(t, args...)
	return url
}

// serveUntil is serve with a function that ends it before.
func serveUntil(t *testing.T, args ...string) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, append([]string{"serve", "--addr", "127.0.0.1:0", "--json"}, args...), nil, in, &stderr)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if c := <-code; c != exitOK {
			t.Errorf("serve %v ended with %d: %s", args, c, &stderr)
		}
	})
	var hello struct{ URL, Error string }
	first, err := bufio.NewReader(out).ReadBytes('\n') // one object is one line
	if err == nil {
		err = json.Unmarshal(first, &hello)
	}
	if err != nil || hello.URL == "" {
		t.Fatalf("serve %v: %v %s %s %s", args, err, first, hello.Error, &stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return hello.URL, cancel
}

func dial(t *testing.T, url string, o ws.DialOptions) *ws.Client {
	t.Helper()
	c, err := ws.Dial(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// folder holds small recordings of limits 32 and 64.
func folder(t *testing.T) string {
	t.Helper()
	return folderOf(t, "enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "lbo_s", "fps", "rep_kbps")
}

func folderOf(t *testing.T, columns ...string) string {
	t.Helper()
	dir := t.TempDir()
	var fields []telemetry.Field
	for _, name := range columns {
		f, ok := telemetry.Canonical(name)
		if !ok {
			t.Fatalf("%s is no column", name)
		}
		fields = append(fields, f)
	}
	for _, limit := range []int{32, 64} {
		var values []float32
		for s := range 400 {
			k := rng.Key{Seed: uint64(limit), A: uint32(s), Purpose: rng.Start}
			for _, name := range columns {
				var x float32 // a value that the column can have
				switch {
				case strings.HasPrefix(name, "enq_qdepth"):
					x = float32(k.Intn(0, limit))
				case strings.HasPrefix(name, "deq_timedelta"):
					x = 900
				case strings.HasPrefix(name, "deq_qdepth"):
					x = 3
				case name == "lbo_s" || name == "Buffer":
					x = float32(k.Intn(1, 40))
				case name == "fps" || name == "FPS":
					x = 24
				case name == "width":
					x = 854
				case name == "height":
					x = 480
				default:
					x = 1867
				}
				values = append(values, x)
			}
		}
		d, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, slices.Repeat([]bool{true}, len(values)))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.WriteCSV(filepath.Join(dir, fmt.Sprintf("grid_%d.csv", limit))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Local and remote runs of one seed are equal to the bit.
func TestServeReplayEqualsLocal(t *testing.T) {
	dir := folder(t)
	url := serve(t, "--scenario", "replay", "--data", dir)
	s, err := loadScenario("replay")
	if err != nil {
		t.Fatal(err)
	}
	local, err := (&planegym.Gym{Data: dir}).Open(t.Context(), s, 3, env.SameStep)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	remote := dial(t, url, ws.DialOptions{Scenario: "replay", NumEnvs: 3, Autoreset: env.SameStep})
	sameRollouts(t, local, remote, 300)
}

// sameRollouts steps three rows of each, under equal seeds and one action of
// two at a time.
func sameRollouts(t *testing.T, local, remote env.Vector, steps int) {
	t.Helper()
	ctx := context.Background()
	var a, b env.Batch
	for step := range steps {
		var errA, errB error
		if step == 0 {
			errA, errB = local.Reset(ctx, nil, []uint64{1, 2, 3}, &a), remote.Reset(ctx, nil, []uint64{1, 2, 3}, &b)
		} else {
			actions := []int32{int32(step) % 2, 1, int32(step) / 3 % 2}
			errA, errB = local.Step(ctx, nil, actions, &a), remote.Step(ctx, nil, actions, &b)
		}
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if !slices.Equal(a.Obs, b.Obs) || !slices.Equal(a.Reward, b.Reward) || !slices.Equal(a.Truncated, b.Truncated) || !slices.Equal(a.Terminated, b.Terminated) {
			t.Fatalf("step %d: local %+v, remote %+v", step, a, b)
		}
	}
}

// What a client asks for and cannot have says why; the session lives.
func TestServeRefuses(t *testing.T) {
	url := serve(t, "--data", "")
	for _, c := range []struct {
		o    ws.DialOptions
		is   error
		says string
	}{
		{ws.DialOptions{Scenario: "nope"}, ws.ErrUnknownScenario, "cartpole"},
		{ws.DialOptions{Scenario: "replay"}, ws.ErrInvalidConfig, "--data"},
		{ws.DialOptions{Scenario: "replay", Kwargs: map[string]any{"env": map[string]any{"queue": 3}}}, ws.ErrInvalidConfig, "env.queue"},
		{ws.DialOptions{Scenario: "cartpole", Model: "mine"}, ws.ErrModelUnavailable, "mine"},
	} {
		if _, err := ws.Dial(context.Background(), url, c.o); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: got %v, want %v that says %q", c.o, err, c.is, c.says)
		}
	}
	for _, args := range [][]string{
		{"serve", "--scenario", "replay", "--data", ""},
		{"serve", "--scenario", "replay", "--data", t.TempDir()},
		{"serve", "--addr", "256.0.0.1:1"},
	} {
		var out, stderr bytes.Buffer
		if code := Main(context.Background(), args, nil, &out, &stderr); code != exitFailed || stderr.Len() == 0 {
			t.Errorf("%v: exit %d: %s", args, code, &stderr)
		}
	}
}

// A client's overrides reach its environment and no other.
func TestServeOverrides(t *testing.T) {
	url := serve(t, "--scenario", "replay", "--data", folder(t))
	c := dial(t, url, ws.DialOptions{Scenario: "replay", Kwargs: map[string]any{"env": map[string]any{
		"max_steps": 7, "limits": []int{64}, "observation": map[string]any{"name": "tutorial", "normalise": "none"}}}})
	if s := c.Spec(); s.MaxSteps != 7 || len(s.Limits) != 1 || s.Observation.Dim() != 3 {
		t.Errorf("overridden: %+v", s)
	}
	if s := dial(t, url, ws.DialOptions{Scenario: "replay"}).Spec(); s.MaxSteps != 900 || len(s.Limits) != 2 {
		t.Errorf("the next client's: %+v", s)
	}
	_, err := ws.Dial(context.Background(), url, ws.DialOptions{Scenario: "replay", Kwargs: map[string]any{"env": map[string]any{"limits": []int{48}}}})
	if !errors.Is(err, ws.ErrInvalidConfig) || !strings.Contains(err.Error(), "no recording of limit 48") {
		t.Errorf("limit 48: %v", err)
	}
}

// An hour of the real recordings, stepped over WebSocket under four policies.
// The returns stand in the README; a change here is a change there. Rewards
// under "tutorial" are the published ones, stale pairs included.
func TestHourOfRecordings(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is unset: the real recordings are not here")
	}
	url := serve(t, "--scenario", "replay", "--data", dir)
	policies := []struct {
		name string
		act  func(step int) int32 // an index into {32, 64}
		want map[string]float64   // return, by reward
	}{
		{"fixed 32", func(int) int32 { return 0 }, map[string]float64{"lbo-fps": 639.9, "tutorial": 649.0}},
		{"fixed 64", func(int) int32 { return 1 }, map[string]float64{"lbo-fps": 636.6, "tutorial": 635.0}},
		{"alternating", func(step int) int32 { return int32(step % 2) }, map[string]float64{"lbo-fps": 431.5, "tutorial": 388.6}},
		{"random", func(step int) int32 { return int32(rng.Key{Seed: 1, B: uint32(step), Purpose: rng.Action}.Intn(0, 2)) },
			map[string]float64{"lbo-fps": 526.5, "tutorial": 497.2}},
	}
	for _, p := range policies {
		for reward, want := range p.want {
			c := dial(t, url, ws.DialOptions{Scenario: "replay", Kwargs: map[string]any{
				"env":    map[string]any{"limits": []int{32, 64}, "reward": map[string]any{"name": reward}},
				"replay": map[string]any{"start": "first"},
			}})
			var b env.Batch
			if err := c.Reset(context.Background(), nil, nil, &b); err != nil {
				t.Fatal(err)
			}
			steps, sum := 0, 0.0
			for ended := false; !ended; steps++ {
				if err := c.Step(context.Background(), nil, []int32{p.act(steps)}, &b); err != nil {
					t.Fatal(err)
				}
				sum += float64(b.Reward[0])
				ended = b.Terminated[0] || b.Truncated[0]
			}
			if steps != 899 { // with the reset's window 900 windows of 4 s: the hour
				t.Errorf("%s, %s: %d steps", reward, p.name, steps)
			}
			if math.Abs(sum-want) > .05 {
				t.Errorf("%s, %s: return %.1f, want %.1f", reward, p.name, sum, want)
			}
		}
	}
}

// What serve prints for trying it by hand works, line by line.
func TestGreetingWorks(t *testing.T) {
	var out bytes.Buffer
	url := serve(t)
	v, err := cartpole.New(1, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	cmd := newServe()
	cmd.SetOut(&out)
	greet(cmd, url, "cartpole", v.Spec())
	d := websocket.Dialer{Subprotocols: []string{ws.Protocol}}
	c, resp, err := d.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp.Body.Close()
	var types []string
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "{") {
			continue
		}
		if err := c.WriteMessage(websocket.TextMessage, []byte(line)); err != nil {
			t.Fatal(err)
		}
		var reply struct{ Type, Message string }
		if err := c.ReadJSON(&reply); err != nil {
			t.Fatal(err)
		}
		types = append(types, reply.Type+reply.Message)
	}
	if want := []string{"welcome", "made", "reset_result", "step_result"}; !slices.Equal(types, want) {
		t.Errorf("replies %q, want %q", types, want)
	}
}
