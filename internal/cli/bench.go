package cli

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/scenarios"
)

func newBench() *cobra.Command {
	var data string
	var rounds int
	var seconds float64
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure stepping: in process, over loopback, beside raw TCP",
		Long: `bench steps scenarios in process and over a WebSocket on loopback, in batches
of 1, 256 and 1024 and pipelined, and beside it exchanges as many bytes over
raw TCP; both go to a process of its own, as a server is. The kinds take turns
within a round; every figure is the median over rounds. Read the ratios: they
hold across machines, times do not.

Names are stable: SCENARIO.nROWS.KIND.FIGURE. Units: us (a call's median time),
1/s (environment steps), ratio, 1/call (heap allocations of the calling process).`,
		Example: `  planegym bench
  planegym bench --data recordings --json > bench.json
  planegym bench --rounds 3 --seconds 0.05`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rounds < 1 || seconds <= 0 {
				return usagef("bench: --rounds %d, --seconds %v: both must be above 0", rounds, seconds)
			}
			return runBench(cmd, data, rounds, time.Duration(seconds*float64(time.Second)))
		},
	}
	addData(cmd, &data)
	cmd.Flags().IntVar(&rounds, "rounds", 7, "rounds to take the median over")
	cmd.Flags().Float64Var(&seconds, "seconds", 0.2, "how long a measurement lasts, seconds")
	return cmd
}

// figure is one result, under a name that stays.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// kind is one way of stepping: a call steps rows environments.
type kind struct {
	name string
	rows int
	call func() error
	stop func()
	p50  []float64 // us, a round each
	rate []float64 // 1/s
	mem  []float64 // 1/call
}

// measure calls k for a while.
func (k *kind) measure(ctx context.Context, d time.Duration) error {
	for range 10 { // warm
		if err := k.call(); err != nil {
			return err
		}
	}
	took := make([]float64, 0, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	last := begin
	for last.Sub(begin) < d && len(took) < cap(took) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := k.call(); err != nil {
			return err
		}
		now := time.Now()
		took = append(took, float64(now.Sub(last).Nanoseconds())/1e3)
		last = now
	}
	runtime.ReadMemStats(&after)
	calls := float64(len(took))
	k.p50 = append(k.p50, median(took))
	k.rate = append(k.rate, calls*float64(k.rows)/last.Sub(begin).Seconds())
	k.mem = append(k.mem, float64(after.Mallocs-before.Mallocs)/calls)
	return nil
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// pingPong is raw TCP to the peer: a call writes request bytes and reads reply
// bytes. It is what no protocol can beat.
func pingPong(ctx context.Context, addr string, request, reply int) (call func() error, stop func(), err error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	var sizes [8]byte
	binary.LittleEndian.PutUint32(sizes[:], uint32(request))
	binary.LittleEndian.PutUint32(sizes[4:], uint32(reply))
	if _, err := c.Write(sizes[:]); err != nil {
		c.Close()
		return nil, nil, err
	}
	out, in := make([]byte, request), make([]byte, reply)
	call = func() error {
		if _, err := c.Write(out); err != nil {
			return err
		}
		_, err := io.ReadFull(c, in)
		return err
	}
	return call, func() { c.Close() }, nil
}

// pong is the other end of pingPong.
func pong(c net.Conn) {
	defer c.Close()
	var sizes [8]byte
	if _, err := io.ReadFull(c, sizes[:]); err != nil {
		return
	}
	in, out := make([]byte, binary.LittleEndian.Uint32(sizes[:])), make([]byte, binary.LittleEndian.Uint32(sizes[4:]))
	for {
		if _, err := io.ReadFull(c, in); err != nil {
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// peer is what bench talks to: a process of its own, as a server is, that
// serves scenarios and raw TCP until its stdin ends.
type peer struct {
	URL string `json:"url"`
	TCP string `json:"tcp"`
	end func()
}

const peerCommand = "bench-peer"

func newBenchPeer() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: peerCommand, Hidden: true, Args: exactly(0),
		Short: "The process that bench steps through",
		RunE:  func(cmd *cobra.Command, _ []string) error { return runPeer(cmd, data) },
	}
	addData(cmd, &data)
	return cmd
}

func runPeer(cmd *cobra.Command, data string) error {
	served, err := planegym.Bundled()
	if err != nil {
		return err
	}
	handler := ws.NewServer(ws.Options{Open: (&planegym.Gym{Data: data}).Serve(served)})
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(cmd.OutOrStdout()).Encode(peer{URL: "ws://" + web.Addr().String() + ws.Path, TCP: raw.Addr().String()}); err != nil {
		return err
	}
	failed := make(chan error, 2)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() { failed <- server.Serve(web) }()
	go func() {
		for {
			c, err := raw.Accept()
			if err != nil {
				failed <- err
				return
			}
			go pong(c) // ends with its connection, at the latest with the process
		}
	}()
	go func() {
		_, err := io.Copy(io.Discard, cmd.InOrStdin())
		failed <- err // nil: the parent is done
	}()
	return <-failed
}

// startPeer starts this program once more.
func startPeer(ctx context.Context, data string, stderr io.Writer) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, peerCommand, "--data", data)
	c.Stderr = stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &peer{end: func() {
		in.Close()
		_ = c.Wait() // what it had to say is on stderr
	}}
	if err := json.NewDecoder(out).Decode(p); err != nil {
		p.end()
		return nil, fmt.Errorf("the peer process: %w", err)
	}
	return p, nil
}

// frameBytes is the length of a WebSocket frame (RFC 6455, section 5.2).
func frameBytes(payload int, masked bool) int {
	n := 2 + payload
	switch {
	case payload > 65535:
		n += 8
	case payload > 125:
		n += 2
	}
	if masked {
		n += 4
	}
	return n
}

// kinds opens every way of stepping n environments of s. Their names begin
// with the scenario's and n.
func kinds(ctx context.Context, open *planegym.Gym, s scenarios.Scenario, to *peer, n int) (ks []*kind, err error) {
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

func runBench(cmd *cobra.Command, data string, rounds int, d time.Duration) error {
	ctx := cmd.Context()
	open := &planegym.Gym{Data: data}
	names := []string{"cartpole"}
	if data != "" {
		names = append(names, "replay")
	}
	served, err := planegym.Bundled()
	if err != nil {
		return err
	}
	to, err := startPeer(ctx, data, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer to.end()

	var all [][]*kind
	bar := newProgress(cmd, int64(rounds*len(names)*3), "round", "bench")
	for _, name := range names {
		for _, n := range []int{1, 256, 1024} {
			ks, err := kinds(ctx, open, served[name], to, n)
			if err != nil {
				return err
			}
			for range rounds {
				for _, k := range ks {
					if err == nil {
						err = k.measure(ctx, d)
					}
				}
				if err == nil {
					err = bar.Add(1)
				}
			}
			for _, k := range ks {
				k.stop()
			}
			if err != nil {
				return err
			}
			all = append(all, ks)
		}
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	return printBench(cmd, all, rounds)
}

// printBench tells the medians, and the ratios to TCP taken round by round.
func printBench(cmd *cobra.Command, all [][]*kind, rounds int) error {
	var figures []figure
	add := func(name string, value float64, unit string) {
		figures = append(figures, figure{name, value, unit})
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "what\tp50 (us)\tsteps/s\tallocs/call\tp50 / tcp\trate / tcp\t")
	for _, ks := range all {
		tcp := ks[len(ks)-1]
		for _, k := range ks {
			p50, rate := median(k.p50), median(k.rate)
			add(k.name+".p50", p50, "us")
			add(k.name+".rate", rate, "1/s")
			fmt.Fprintf(out, "%s\t%.2f\t%.0f\t", k.name, p50, rate)
			if k == tcp {
				fmt.Fprintln(out, "\t\t\t")
				continue
			}
			add(k.name+".allocs", median(k.mem), "1/call")
			slower, share := make([]float64, rounds), make([]float64, rounds)
			for i := range rounds {
				slower[i], share[i] = k.p50[i]/tcp.p50[i], k.rate[i]/tcp.rate[i]
			}
			add(k.name+".p50_over_tcp", median(slower), "ratio")
			add(k.name+".rate_over_tcp", median(share), "ratio")
			fmt.Fprintf(out, "%.2f\t%.2f\t%.2f\t\n", median(k.mem), median(slower), median(share))
		}
	}
	if !asJSON(cmd) {
		return out.Flush()
	}
	return writeJSON(cmd.OutOrStdout(), map[string]any{"machine": thisMachine(), "rounds": rounds, "figures": figures})
}
