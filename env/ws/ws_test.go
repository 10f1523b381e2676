package ws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/envtest"
)

var background = context.Background()

// open is the factory of the tests.
func open(_ context.Context, m MakeRequest) (env.Vector, error) {
	if m.Scenario != "cartpole" {
		return nil, fmt.Errorf("%w: %q; there is cartpole", ErrUnknownScenario, m.Scenario)
	}
	return cartpole.New(m.NumEnvs, m.Autoreset)
}

// serve starts a server on loopback and gives its ws URL.
func serve(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	if o.Open == nil {
		o.Open = open
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	s := NewServer(o)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		h.Close()
	})
	return s, "ws" + strings.TrimPrefix(h.URL, "http") + Path
}

type logTo struct{ testing.TB }

func (l logTo) Write(p []byte) (int, error) { l.Logf("%s", p); return len(p), nil }

func dial(t testing.TB, url string, o DialOptions) *Client {
	t.Helper()
	if o.Scenario == "" {
		o.Scenario = "cartpole"
	}
	c, err := Dial(background, url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

var modes = []env.Autoreset{env.NextStep, env.SameStep, env.Disabled}

func TestContract(t *testing.T) {
	_, url := serve(t, Options{})
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			envtest.Check(t, func(t *testing.T) env.Vector {
				return dial(t, url, DialOptions{NumEnvs: 4, Autoreset: mode})
			})
		})
	}
}

// run is a rollout of n steps as numbers to compare.
func run(t testing.TB, v env.Vector, steps int) []float32 {
	t.Helper()
	var b env.Batch
	n := v.Num()
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = 1<<63 + uint64(i)
	}
	if err := v.Reset(background, nil, seeds, &b); err != nil {
		t.Fatal(err)
	}
	out := slices.Clone(b.Obs)
	actions := make([]int32, n)
	for k := range steps {
		for i := range actions {
			actions[i] = int32((k*7 + i*3) / 5 % 2)
		}
		if err := v.Step(background, nil, actions, &b); err != nil {
			t.Fatal(err)
		}
		out = append(out, b.Obs...)
		out = append(out, b.Reward...)
		for i := range n {
			if b.Terminated[i] {
				out = append(out, 1)
				out = append(out, b.FinalObs[min(i*4, len(b.FinalObs)):min(i*4+4, len(b.FinalObs))]...)
			}
			if b.Truncated[i] {
				out = append(out, 2)
			}
		}
	}
	return out
}

func TestLocalAndRemoteAreEqual(t *testing.T) {
	_, url := serve(t, Options{})
	for _, n := range []int{1, 5, 256} {
		for _, mode := range modes[:2] {
			local, err := cartpole.New(n, mode)
			if err != nil {
				t.Fatal(err)
			}
			remote := dial(t, url, DialOptions{NumEnvs: n, Autoreset: mode})
			if !slices.Equal(run(t, local, 300), run(t, remote, 300)) {
				t.Errorf("%d environments, %v: local and remote differ", n, mode)
			}
		}
	}
}

func TestAllocations(t *testing.T) {
	_, url := serve(t, Options{})
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	for _, n := range []int{1, 256} {
		c := dial(t, url, DialOptions{NumEnvs: n})
		var b env.Batch
		actions := make([]int32, n)
		if err := c.Reset(ctx, nil, nil, &b); err != nil {
			t.Fatal(err)
		}
		step := func() {
			if err := c.Step(ctx, nil, actions, &b); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			step()
		}
		// The server runs in this process: its allocations count as well.
		if a := testing.AllocsPerRun(1000, step); a != 0 {
			t.Errorf("%d environments: a step allocates %v times", n, a)
		}
	}
}

func TestPipeline(t *testing.T) {
	_, url := serve(t, Options{})
	c := dial(t, url, DialOptions{NumEnvs: 3})
	local, err := cartpole.New(3, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	var got, want env.Batch
	for _, v := range []env.Vector{c, local} {
		if err := v.Reset(background, nil, []uint64{1, 2, 3}, &got); err != nil {
			t.Fatal(err)
		}
	}
	action := func(k int) []int32 { return []int32{int32(k % 2), int32(k / 2 % 2), int32(k / 3 % 2)} }
	const steps, depth = 500, 64
	sent := 0
	for k := range steps {
		for ; sent < steps && sent < k+depth; sent++ {
			if _, err := c.Send(nil, action(sent)); err != nil {
				t.Fatal(err)
			}
		}
		if sent == k+depth {
			if _, err := c.Send(nil, action(0)); !errors.Is(err, ErrCapacity) {
				t.Fatalf("65th step under way: %v", err)
			}
		}
		seq, err := c.Recv(background, &got)
		if err != nil {
			t.Fatal(err)
		}
		if err := local.Step(background, nil, action(k), &want); err != nil {
			t.Fatal(err)
		}
		if seq != uint64(k+3) || !slices.Equal(got.Obs, want.Obs) || !slices.Equal(got.Reward, want.Reward) {
			t.Fatalf("step %d, number %d: differs from the local one", k, seq)
		}
	}
	if _, err := c.Recv(background, &got); err == nil {
		t.Error("nothing is under way, and Recv gives a result")
	}
}

// A reply is not held back for a frame that arrived with its request but calls
// for none: a pong, or the first part of a message.
func TestReplyBeforeControlFrame(t *testing.T) {
	_, url := serve(t, Options{})
	for name, behind := range map[string][]byte{
		"pong": {0x8A, 0x80, 0, 0, 0, 0},
		"part": {0x01, 0x81, 0, 0, 0, 0, '{'},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(background, url, DialOptions{Scenario: "cartpole", NumEnvs: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.net.Close()
			var out env.Batch
			if err := c.Reset(background, nil, []uint64{1}, &out); err != nil {
				t.Fatal(err)
			}
			step := make([]byte, 36) // number 3, ack 2, action 0
			step[0], step[1], step[4], step[8], step[16], step[24] = 1, 1, 1, 1, 3, 2
			frame := append([]byte{0x82, 0x80 | 36, 0, 0, 0, 0}, step...)
			if _, err := c.conn.net.Write(append(frame, behind...)); err != nil {
				t.Fatal(err)
			}
			if err := c.conn.net.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if op, p, err := c.conn.in.next(); err != nil || op != opBinary || p[16] != 3 {
				t.Fatalf("no reply: opcode %d, %x, %v", op, p, err)
			}
		})
	}
}

// After an error what was sent before it was known is skipped; then it goes
// on as if that had never been sent.
func TestPipelineError(t *testing.T) {
	_, url := serve(t, Options{})
	c := dial(t, url, DialOptions{})
	local, _ := cartpole.New(1, env.NextStep)
	var got, want env.Batch
	for _, v := range []env.Vector{c, local} {
		if err := v.Reset(background, nil, []uint64{1}, &got); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, a := range []int32{1, 9, 0, 0} {
			if _, err := c.Send(nil, []int32{a}); err != nil {
				t.Fatal(err)
			}
		}
		for i, is := range []error{nil, env.ErrInvalidAction, ErrSkipped, ErrSkipped} {
			if _, err := c.Recv(background, &got); !errors.Is(err, is) {
				t.Fatalf("reply %d: %v, want %v", i, err, is)
			}
			if i == 1 { // the first that knows of the error is executed
				if _, err := c.Send(nil, []int32{0}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := c.Recv(background, &got); err != nil {
			t.Fatal(err)
		}
		for _, a := range []int32{1, 0} {
			if err := local.Step(background, nil, []int32{a}, &want); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got.Obs, want.Obs) {
			t.Fatal("a skipped step was executed")
		}
	}
}

func TestStepMany(t *testing.T) {
	_, url := serve(t, Options{})
	for _, mode := range modes {
		many, one := dial(t, url, DialOptions{NumEnvs: 3, Autoreset: mode}), dial(t, url, DialOptions{NumEnvs: 3, Autoreset: mode})
		var b, s env.Batch
		for _, v := range []env.Vector{many, one} {
			if err := v.Reset(background, nil, []uint64{4, 5, 6}, &b); err != nil {
				t.Fatal(err)
			}
		}
		const steps = 60
		rows := []int{2, 0}
		actions := make([]int32, steps*2)
		for i := range actions {
			actions[i] = int32(i / 3 % 2)
		}
		done, err := many.StepMany(background, rows, steps, actions, &b)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Reward) != 2*done || (mode == env.Disabled) != (done < steps) {
			t.Fatalf("%v: %d of %d steps done, %d rows", mode, done, steps, len(b.Reward))
		}
		for k := range done {
			if err := one.Step(background, rows, actions[2*k:2*k+2], &s); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(b.Obs[k*8:k*8+8], s.Obs) || !slices.Equal(b.Reward[k*2:k*2+2], s.Reward) ||
				!slices.Equal(b.Terminated[k*2:k*2+2], s.Terminated) || !slices.Equal(b.Truncated[k*2:k*2+2], s.Truncated) {
				t.Fatalf("%v: step %d of many differs from the single one", mode, k)
			}
			for i := range 2 {
				if mode == env.SameStep && s.Terminated[i] && !slices.Equal(b.FinalObs[k*8+i*4:k*8+i*4+4], s.FinalObs[i*4:i*4+4]) {
					t.Fatalf("step %d of many: final observation differs", k)
				}
			}
		}
		if mode == env.Disabled && !anySet(s.Terminated) {
			t.Error("it stopped before an episode ended")
		}
		actions[len(actions)-1] = 2
		var row *env.RowError
		if _, err := many.StepMany(background, rows, steps, actions, &b); !errors.Is(err, env.ErrInvalidAction) || !errors.As(err, &row) || row.Row != 0 {
			t.Errorf("invalid last action: %v", err)
		}
		if _, err := many.StepMany(background, nil, 1<<18, make([]int32, 3<<18), &b); !errors.Is(err, ErrCapacity) {
			t.Errorf("request beyond 1 MiB: %v", err)
		}
	}
}
