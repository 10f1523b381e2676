package ws

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// TestNodeClient: a client of a hundred lines, written for Node by PROTOCOL.md
// alone, gets bit by bit what a local environment gives, and errors by their code.
func TestNodeClient(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Node five times")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node here: ", err)
	}
	flag := "--experimental-websocket"
	if exec.Command(node, flag, "-e", "if (!globalThis.WebSocket) process.exit(1)").Run() != nil {
		t.Skip("this Node has no WebSocket: 22 has, and 20 behind " + flag)
	}
	_, url := serve(t, Options{})
	for _, mode := range modes[:2] {
		for _, rows := range []int{1, 5} {
			const steps, seed = 120, 1<<63 + 5
			cmd := exec.Command(node, flag, "--no-warnings", "node/rollout.mjs", strings.TrimSuffix(url, Path), "cartpole", fmt.Sprint(rows), mode.String(), fmt.Sprint(steps), fmt.Sprint(uint64(seed)))
			text, err := cmd.Output()
			var got struct {
				Out     []float32
				Refused string
			}
			if err == nil {
				err = json.Unmarshal(text, &got)
			}
			if err != nil {
				var exit *exec.ExitError
				if e, ok := err.(*exec.ExitError); ok {
					exit = e
					t.Fatalf("%v: %s", err, exit.Stderr)
				}
				t.Fatalf("%v: %s", err, text)
			}
			local, err := cartpole.New(rows, mode)
			if err != nil {
				t.Fatal(err)
			}
			seeds := make([]uint64, rows)
			for i := range seeds {
				seeds[i] = seed + uint64(i)
			}
			var b env.Batch
			if err := local.Reset(background, nil, seeds, &b); err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(b.Obs)
			flags := func(x []bool) {
				for _, f := range x {
					if f {
						want = append(want, 1)
					} else {
						want = append(want, 0)
					}
				}
			}
			actions := make([]int32, rows)
			for k := range steps {
				for i := range actions {
					actions[i] = int32((k*7 + i*3) / 5 % 2)
				}
				if err := local.Step(background, nil, actions, &b); err != nil {
					t.Fatal(err)
				}
				want = append(append(want, b.Obs...), b.Reward...)
				flags(b.Terminated)
				flags(b.Truncated)
				if mode == env.SameStep && (anySet(b.Terminated) || anySet(b.Truncated)) {
					for i := range rows { // rows whose episode goes on repeat their observation
						if !b.Terminated[i] && !b.Truncated[i] {
							copy(b.FinalObs[4*i:4*i+4], b.Obs[4*i:])
						}
					}
					want = append(want, b.FinalObs...)
				}
			}
			if !slices.Equal(got.Out, want) {
				t.Errorf("%v, %d rows: Node's rollout differs from the local one", mode, rows)
			}
			if code := "bad_frame"; rows == 1 && got.Refused != "invalid_action" || rows > 1 && got.Refused != code {
				t.Errorf("%v, %d rows: a wrong action is answered %q", mode, rows, got.Refused)
			}
		}
	}
}
