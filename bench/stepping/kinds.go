package stepping

import (
	"context"
	"fmt"
	"strings"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/scenarios"
)

// kinds opens every way of stepping n environments of s. Their names begin
// with the scenario's and n.
func kinds(ctx context.Context, open *planegym.Gym, s scenarios.Scenario, to *Peer, n int) (ks []*kind, err error) {
	prefix := fmt.Sprintf("%s.n%d.", s.Name, n)
	defer func() {
		if err != nil {
			for _, k := range ks {
				k.stop()
			}
			err = fmt.Errorf("%s: %w", strings.TrimSuffix(prefix, "."), err)
		}
	}()
	add := func(name string, rows int, call func() error, stop func()) {
		ks = append(ks, &kind{name: prefix + name, rows: rows, call: call, stop: stop})
	}
	closes := func(v env.Vector) func() { return func() { _ = v.Close() } }

	local, err := open.Open(ctx, s, n, env.NextStep)
	if err != nil {
		return ks, err
	}
	spec := local.Spec()
	actions := make([]int32, n*len(spec.Action))
	for i := range actions {
		actions[i] = int32(i % 2)
	}
	step := func(v env.Vector) func() error {
		var b env.Batch
		return func() error { return v.Step(ctx, nil, actions, &b) }
	}
	var b env.Batch
	add("inprocess", n, step(local), closes(local))
	if err := local.Reset(ctx, nil, nil, &b); err != nil {
		return ks, err
	}

	remote := func() (*ws.Client, error) {
		c, err := ws.Dial(ctx, to.URL, ws.DialOptions{Scenario: s.Name, NumEnvs: n})
		if err != nil {
			return nil, err
		}
		return c, c.Reset(ctx, nil, nil, &b)
	}
	c, err := remote()
	if err != nil {
		return ks, err
	}
	add("loopback", n, step(c), closes(c))
	if n <= 256 { // more would wait for buffers, not for round trips
		if c, err = remote(); err != nil {
			return ks, err
		}
		add("pipelined64", depth*n, func() error { return pipelined(ctx, c, actions, &b) }, closes(c))
	}

	flags := (n + 3) / 4 * 4
	request := frameBytes(24+8+4*len(actions), true)
	reply := frameBytes(24+4*n*(spec.Observation.Dim()+1)+2*flags, false)
	call, stop, err := pingPong(ctx, to.TCP, request, reply)
	if err != nil {
		return ks, err
	}
	add("tcp", n, call, stop)
	return ks, nil
}

// depth is how many steps a pipelined call has under way.
const depth = 64

func pipelined(ctx context.Context, c *ws.Client, actions []int32, b *env.Batch) error {
	for range depth {
		if _, err := c.Send(nil, actions); err != nil {
			return err
		}
	}
	for range depth {
		if _, err := c.Recv(ctx, b); err != nil {
			return err
		}
	}
	return nil
}
