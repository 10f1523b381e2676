// Command faults injects the faults that a long training run meets into a server,
// and prints the outcome: go run ./bench/faults [--long] [--only name]. It builds and
// starts the server itself, as a process of its own, so that it can be killed
// and its memory measured. Figures and criteria are in env/ws/FAULTS.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
)

func main() {
	long := flag.Bool("long", false, "the full times: an hour of soak, more kills")
	lasts := flag.Duration("soak", 0, "how long the soak takes (10m, with --long 1h)")
	only := flag.String("only", "", "one fault by name")
	profiles := flag.String("profiles", "", "folder for the metrics of the soak's server, every minute, and a heap profile of its end")
	flag.Parse()
	dir, err := os.MkdirTemp("", "faults")
	if err == nil {
		defer os.RemoveAll(dir)
		err = run(dir, bench{long: *long, soak: *lasts, profiles: *profiles}, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
}

// fault is one thing done to a server. It gives the figure that it measured.
type fault struct {
	name, criterion string
	do              func(b *bench) (figure string, pass bool, err error)
}

var faults = []fault{
	{"cuts", "1,000 random cuts with resume: bit-identical", cuts},
	{"kills", "server killed and restarted with a journal: ≥ 99 % of sessions resume bit-identical, none differs", kills},
	{"drain", "SIGTERM with 100 sessions: readyz 503, 1001, every executed step answered, exit 0 in ≤ 10 s", drain},
	{"connects", "10k connects at capacity: refused ≤ 50 ms p99, RSS back to +10 % in 60 s, no goroutine left", connects},
	{"oversize", "1 MiB + 1: close 1009, RSS growth < 4 MiB", oversize},
	{"neighbour-malformed", "malformed frames: answered ≤ 100 ms p99, a neighbour's p99 ± 10 %", malformed},
	{"neighbour-slow", "slow readers: others lose < 5 % of steps/s", slow},
	{"idle", "10k idle sessions ≤ 300 MiB", idle},
	{"soak", "64 sessions with random faults: live heap and mapped memory, which bounds RSS, grow < 1 MiB/h", soak},
}

// bench is where the faults are done.
type bench struct {
	dir      string // of this fault
	bin      string
	long     bool
	soak     time.Duration
	profiles string // "": none
}

func run(dir string, given bench, only string) error {
	bin := filepath.Join(dir, "planegym")
	build := exec.Command("go", "build", "-o", bin, "./cmd/planegym")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build, from the root of the repository: %w", err)
	}
	failed, known := 0, false
	for _, f := range faults {
		if only != "" && f.name != only {
			continue
		}
		known = true
		b := &given
		b.dir, b.bin = filepath.Join(dir, f.name), bin
		if err := os.Mkdir(b.dir, 0o755); err != nil {
			return err
		}
		start := time.Now()
		figure, pass, err := f.do(b)
		verdict := "pass"
		if err != nil {
			figure, pass = "error: "+err.Error(), false
		}
		if !pass {
			verdict = "FAIL"
			failed++
		}
		fmt.Printf("%s\t%s\n\tcriterion: %s\n\tfigure:    %s\n\t%.0f s\n", verdict, f.name, f.criterion, figure, time.Since(start).Seconds())
	}
	switch {
	case !known:
		return fmt.Errorf("no fault %q", only)
	case failed > 0:
		return fmt.Errorf("%d did not pass", failed)
	}
	return nil
}

// server is a planegym serve that runs.
type server struct {
	cmd       *exec.Cmd
	addr, url string
	admin     string
	stderr    bytes.Buffer
	exit      error
	done      chan struct{}
}

func (b *bench) start(args ...string) (*server, error) {
	s := &server{done: make(chan struct{})}
	s.cmd = exec.Command(b.bin, append([]string{"serve", "--json", "--admin", "127.0.0.1:0"}, args...)...)
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	var hello struct{ URL, Admin string }
	r := bufio.NewReader(out)
	err = json.NewDecoder(r).Decode(&hello)
	go func() { _, _ = io.Copy(io.Discard, r); s.exit = s.cmd.Wait(); close(s.done) }()
	if err != nil {
		<-s.done
		return nil, fmt.Errorf("serve %v: %s", args, &s.stderr)
	}
	s.url, s.admin = hello.URL, hello.Admin
	s.addr = strings.TrimSuffix(strings.TrimPrefix(s.url, "ws://"), ws.Path)
	return s, nil
}

// stop drains the server, and says whether it ended well.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
	if s.exit != nil {
		return fmt.Errorf("server: %w: %s", s.exit, &s.stderr)
	}
	return nil
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// plain asks for no compression, for which a server keeps a megabyte between two scrapes, or not.
var plain = http.Client{Transport: &http.Transport{DisableCompression: true}}

// metrics are the sums of the named metrics' values, of one moment.
func (s *server) metrics(names ...string) ([]float64, error) {
	resp, err := plain.Get(s.admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	sums, found := make([]float64, len(names)), make([]bool, len(names))
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		for i, name := range names {
			rest, ok := strings.CutPrefix(lines.Text(), name)
			if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
				continue
			}
			v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err != nil {
				return nil, err
			}
			sums[i], found[i] = sums[i]+v, true
		}
	}
	if i := slices.Index(found, false); i >= 0 {
		return nil, fmt.Errorf("no metric %s", names[i])
	}
	return sums, nil
}

func (s *server) metric(name string) (float64, error) {
	v, err := s.metrics(name)
	if err != nil {
		return 0, err
	}
	return v[0], nil
}

const mib = 1 << 20

const rssMetric = "process_resident_memory_bytes"

func (s *server) rss() (float64, error) { return s.metric(rssMetric) }

// keep writes what the server says at path of its admin address to a file.
func (s *server) keep(path, file string) error {
	resp, err := plain.Get(s.admin + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// trace is a rollout as numbers: of v, from seed, steps long.
func trace(v env.Vector, seed uint64, steps int, each func(step int) error) ([]float32, error) {
	ctx := context.Background()
	var b env.Batch
	n := v.Num()
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = seed + uint64(i)
	}
	if err := v.Reset(ctx, nil, seeds, &b); err != nil {
		return nil, err
	}
	out := slices.Clone(b.Obs)
	actions := make([]int32, n)
	for k := range steps {
		for i := range actions {
			actions[i] = int32((k + i*3) / 2 % 2)
		}
		if each != nil {
			if err := each(k); err != nil {
				return nil, err
			}
		}
		if err := v.Step(ctx, nil, actions, &b); err != nil {
			return nil, fmt.Errorf("step %d: %w", k, err)
		}
		out = append(out, b.Obs...)
		out = append(out, b.Reward...)
	}
	return out, nil
}

// expected is the rollout without a server.
func expected(n int, seed uint64, steps int) ([]float32, error) {
	v, err := cartpole.New(n, env.NextStep)
	if err != nil {
		return nil, err
	}
	return trace(v, seed, steps, nil)
}

func dial(url string, n int) (*ws.Client, error) {
	return ws.Dial(context.Background(), url, ws.DialOptions{Scenario: "cartpole", NumEnvs: n})
}

func cuts(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	const want = 1000
	p, err := testkit.Listen(s.addr, 1<<30, 1)
	if err != nil {
		return "", false, err
	}
	var c *ws.Client
	for c == nil { // handshakes are cut too
		c, _ = dial("ws://"+p.Addr(), 3)
	}
	before := p.Cuts()
	const part = 1000
	steps := 0
	for seed := uint64(1); p.Cuts()-before < want; seed++ {
		got, err := trace(c, seed, part, nil)
		if err != nil {
			return "", false, fmt.Errorf("after %d cuts: %w", p.Cuts()-before, err)
		}
		local, err := expected(3, seed, part)
		if err != nil {
			return "", false, err
		}
		steps += part
		if !slices.Equal(got, local) {
			return fmt.Sprintf("differs after %d cuts", p.Cuts()-before), false, nil
		}
	}
	return fmt.Sprintf("%d cuts in %d steps of 3 environments, every value identical", p.Cuts()-before, steps), true, s.stop()
}

// kills steps sessions while the server is killed again and again.
func kills(b *bench) (string, bool, error) {
	rounds, sessions := 25, 8
	if b.long {
		rounds = 250
	}
	// Servers come and go behind a unix socket, whose path stays.
	unix, journal := filepath.Join(b.dir, "s"), filepath.Join(b.dir, "journal")
	args := []string{"--unix", unix, "--journal", journal}
	s, err := b.start(args...)
	if err != nil {
		return "", false, err
	}
	defer func() { s.kill() }()
	var wg sync.WaitGroup
	var over atomic.Bool
	var steps, lost, differ, ok atomic.Int64
	for i := range sessions {
		c, err := dial("unix://"+unix, 1+i%3)
		if err != nil {
			return "", false, err
		}
		wg.Go(func() {
			var err error
			defer func() {
				if c.Close(); err != nil {
					fmt.Fprintln(os.Stderr, "session", i, err)
				}
			}()
			for seed := uint64(i) << 32; !over.Load(); seed++ {
				const part = 2000
				var got, want []float32
				if got, err = trace(c, seed, part, nil); err != nil {
					lost.Add(1)
					return
				}
				if want, err = expected(c.Num(), seed, part); err != nil || !slices.Equal(got, want) {
					differ.Add(1)
					return
				}
				steps.Add(part)
			}
			ok.Add(1)
		})
	}
	for k := range rounds {
		time.Sleep(time.Duration(100+rng.Key{Seed: 3, A: uint32(k)}.Intn(0, 900)) * time.Millisecond)
		s.kill()
		if s, err = b.start(args...); err != nil {
			over.Store(true)
			return "", false, err
		}
	}
	time.Sleep(time.Second)
	over.Store(true)
	wg.Wait()
	resumes := rounds * sessions
	figure := fmt.Sprintf("%d kills × %d sessions, %d steps: %d sessions lost, %d differ", rounds, sessions, steps.Load(), lost.Load(), differ.Load())
	return figure, differ.Load() == 0 && float64(lost.Load()) <= 0.01*float64(resumes) && steps.Load() > 0, s.stop()
}

func drain(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0", "--resume", "0s")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	var wg sync.WaitGroup
	var answered, badEnd atomic.Int64
	for range 100 {
		c, err := dial(s.url, 1)
		if err != nil {
			return "", false, err
		}
		var batch env.Batch
		if err := c.Reset(context.Background(), nil, nil, &batch); err != nil {
			return "", false, err
		}
		wg.Go(func() {
			defer c.Close()
			var batch env.Batch
			for {
				err := c.Step(context.Background(), nil, []int32{0}, &batch)
				if err != nil {
					var closed *ws.CloseError
					if !errors.As(err, &closed) || closed.Code != 1001 {
						badEnd.Add(1)
					}
					return
				}
				answered.Add(1)
			}
		})
	}
	time.Sleep(time.Second)
	start := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return "", false, err
	}
	status := 200 // of readyz, once the signal has come; 0: the server is gone already
	for status == 200 {
		resp, err := http.Get(s.admin + "/readyz")
		if err != nil {
			status = 0
			break
		}
		status = resp.StatusCode
		resp.Body.Close()
	}
	<-s.done
	took := time.Since(start)
	wg.Wait()
	figure := fmt.Sprintf("exit %v after %.2f s, %d of 100 sessions ended otherwise than by 1001, %d steps answered before, readyz %d (0: gone already)", s.exit, took.Seconds(), badEnd.Load(), answered.Load(), status)
	return figure, s.exit == nil && took < 10*time.Second && badEnd.Load() == 0 && answered.Load() > 0 && (status == 503 || status == 0), nil
}

// raw is a connection after its handshake, of which only bytes are known.
func raw(addr string) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	if err := upgrade(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func upgrade(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", ws.Path, ws.Protocol)
	if err != nil {
		return err
	}
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if _, err := io.ReadFull(c, one); err != nil {
			return err
		}
		head = append(head, one[0])
	}
	if !bytes.Contains(head, []byte(" 101 ")) {
		return fmt.Errorf("handshake: %.60s", head)
	}
	return nil
}

// say sends a text frame, masked with zeros.
func say(c net.Conn, text string) error {
	b := []byte{0x81}
	if n := len(text); n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	}
	_, err := c.Write(append(append(b, 0, 0, 0, 0), text...))
	return err
}

// hear reads a frame of less than 64 KiB.
func hear(c net.Conn) (op byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	if n == 126 {
		var l [2]byte
		if _, err := io.ReadFull(c, l[:]); err != nil {
			return 0, nil, err
		}
		n = int(l[0])<<8 | int(l[1])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c, payload)
	return h[0] & 15, payload, err
}

const hello = `{"type":"hello","id":0,"client":"faults","version":1,"capabilities":[]}`

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return math.MaxInt64
	}
	slices.Sort(d)
	return d[(len(d)-1)*p/100]
}

func connects(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0", "--max-sessions", "64")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	var held []*ws.Client
	for range 64 {
		c, err := dial(s.url, 1)
		if err != nil {
			return "", false, err
		}
		held = append(held, c)
	}
	before, err := s.rss()
	if err != nil {
		return "", false, err
	}
	goroutines, err := s.metric("go_goroutines")
	if err != nil {
		return "", false, err
	}
	const total, workers = 10000, 16
	var mu sync.Mutex
	var took []time.Duration
	var other atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range total / workers {
				start := time.Now()
				c, err := raw(s.addr)
				if err != nil {
					other.Add(1)
					continue
				}
				_ = say(c, hello)
				_, p, err := hear(c)
				d := time.Since(start)
				if err != nil || !bytes.Contains(p, []byte(`"code":"capacity"`)) {
					other.Add(1)
				}
				c.Close()
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var after, left float64
	for range 60 {
		time.Sleep(time.Second)
		if after, err = s.rss(); err != nil {
			return "", false, err
		}
		if left, err = s.metric("go_goroutines"); err != nil {
			return "", false, err
		}
		if after <= 1.1*before && left <= goroutines+1 {
			break
		}
	}
	p99 := percentile(took, 99)
	figure := fmt.Sprintf("%d connects, %d at a time: p50 %.1f ms, p99 %.1f ms, %d not refused with capacity; RSS %.1f → %.1f MiB, goroutines %.0f → %.0f",
		total, workers, ms(percentile(took, 50)), ms(p99), other.Load(), before/mib, after/mib, goroutines, left)
	pass := p99 <= 50*time.Millisecond && other.Load() == 0 && after <= 1.1*before && left <= goroutines+1
	for _, c := range held {
		_ = c.Close()
	}
	return figure, pass, s.stop()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func oversize(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	const times = 200
	say1009 := func(over int) error { // a message of 1 KiB, or of 1 MiB and over
		c, err := raw(s.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = say(c, hello)
		if _, _, err := hear(c); err != nil {
			return err
		}
		n := 1024
		if over > 0 {
			n = mib + over
		}
		go func() {
			_, _ = c.Write(append([]byte{0x82, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0, 0, 0}, make([]byte, n)...))
		}()
		op, p, err := hear(c)
		if err != nil || op != 8 || int(p[0])<<8|int(p[1]) != 1009 && over > 0 {
			return fmt.Errorf("opcode %d %q %v", op, p, err)
		}
		return nil
	}
	for range times { // connections alone cost memory too: these go before
		if err := say1009(0); err != nil {
			return "", false, err
		}
	}
	before, err := s.rss()
	if err != nil {
		return "", false, err
	}
	for range times {
		if err := say1009(1); err != nil {
			return err.Error(), false, nil
		}
	}
	after, err := s.rss()
	if err != nil {
		return "", false, err
	}
	return fmt.Sprintf("%d messages: 1009 each; RSS %.1f → %.1f MiB", times, before/mib, after/mib), after-before < 4*mib, s.stop()
}

// latency steps a session for d and gives its times.
func latency(url string, d time.Duration) ([]time.Duration, error) {
	c, err := dial(url, 1)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var b env.Batch
	if err := c.Reset(context.Background(), nil, nil, &b); err != nil {
		return nil, err
	}
	var took []time.Duration
	for end := time.Now().Add(d); ; {
		start := time.Now()
		if start.After(end) {
			return took, nil
		}
		if err := c.Step(context.Background(), nil, []int32{0}, &b); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
}

// beside measures a neighbour in turns, alone, disturbed, alone: rounds of them and one alone
// after. Each disturbed turn is compared with the two alone around it, since the load of the
// machine changes too, and how much says the control: those two compared with each other.
func beside(url string, rounds int, d time.Duration, disturbed func() ([]time.Duration, error), figure func([]time.Duration) float64) (change, control quartiles, err error) {
	var ratios, controls []float64
	turn := func(times []time.Duration, err error) (float64, error) {
		if err == nil && len(times) == 0 {
			err = errors.New("the neighbour did not step")
		}
		if err != nil {
			return 0, err
		}
		return figure(times), nil
	}
	before, err := turn(latency(url, d))
	for i := 0; i < rounds && err == nil; i++ {
		var during, after float64
		if during, err = turn(disturbed()); err != nil {
			break
		}
		if after, err = turn(latency(url, d)); err != nil {
			break
		}
		ratios = append(ratios, 100*(during/math.Sqrt(before*after)-1))
		controls = append(controls, 100*(after/before-1))
		before = after
	}
	return quartilesOf(ratios), quartilesOf(controls), err
}

// quartiles are of changes, in percent.
type quartiles [3]float64

func quartilesOf(x []float64) (q quartiles) {
	slices.Sort(x)
	for i := range q {
		if len(x) > 0 {
			q[i] = x[(len(x)-1)*(i+1)/4]
		}
	}
	return q
}

func (q quartiles) String() string { return fmt.Sprintf("%+.0f %% (%+.0f to %+.0f)", q[1], q[0], q[2]) }

// malformed sends ten broken frames a second.
func malformed(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	var answers []time.Duration
	disturb := func(stop <-chan struct{}) {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			c, err := raw(s.addr)
			if err != nil {
				continue
			}
			_ = say(c, hello)
			if _, _, err = hear(c); err == nil {
				start := time.Now()
				_, _ = c.Write([]byte{byte(0x83 + i%5), 0x80 | 3, 1, 2, 3, 4, 5, 6, 7})
				if _, _, err = hear(c); err == nil {
					answers = append(answers, time.Since(start))
				}
			}
			c.Close()
		}
	}
	const d = 500 * time.Millisecond
	change, control, err := beside(s.url, 20, d, func() ([]time.Duration, error) {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { disturb(stop) })
		defer wg.Wait()
		defer close(stop)
		return latency(s.url, d)
	}, func(times []time.Duration) float64 { return float64(percentile(times, 99)) })
	if err != nil {
		return "", false, err
	}
	n, a := len(answers), percentile(answers, 99)
	figure := fmt.Sprintf("%d frames answered, p99 %.2f ms; neighbour's p99, median of 20 rounds and quartiles: %v; alone against alone %v", n, ms(a), change, control)
	return figure, n > 0 && a <= 100*time.Millisecond && change[1] <= 10, s.stop()
}

// slow has eight clients that ask and do not read.
func slow(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	const rounds, clients = 4, 8
	change, control, err := beside(s.url, rounds, 1500*time.Millisecond, func() ([]time.Duration, error) {
		return besideSlow(s, clients, 1500*time.Millisecond)
	}, func(times []time.Duration) float64 { return float64(len(times)) })
	if err != nil {
		return "", false, err
	}
	cut, err := s.metric(`planegym_errors_total{code="slow_consumer"}`)
	if err != nil {
		return "", false, err
	}
	figure := fmt.Sprintf("%.0f of %d cut; another session's steps/s, median of %d rounds and quartiles: %v; alone against alone %v", cut, rounds*clients, rounds, change, control)
	return figure, cut == rounds*clients && change[1] > -5, s.stop()
}

// besideSlow steps a session for d while others ask and do not read, until they are cut.
func besideSlow(s *server, clients int, d time.Duration) ([]time.Duration, error) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range clients {
		c, err := raw(s.addr)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
		for _, m := range []string{hello, `{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":16384}`} {
			if err := say(c, m); err != nil {
				return nil, err
			}
		}
	}
	time.Sleep(time.Second)
	for i := range conns { // 80 replies of 360 KB, more than the network takes
		for seq := 2; seq < 82; seq++ {
			_ = say(conns[i], fmt.Sprintf(`{"type":"state","id":%d,"ack":1,"env":1,"rows":[0,1,2,3]}`, seq))
		}
		var frame []byte
		for seq := 82; seq < 162; seq++ {
			body := []byte{1, 3, 0, 0, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, byte(seq), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}
			frame = append(append(frame, 0x82, 0x80|byte(len(body)), 0, 0, 0, 0), body...)
		}
		_, _ = conns[i].Write(frame)
	}
	for busy := -1.0; ; { // until their requests are executed
		time.Sleep(500 * time.Millisecond)
		now, err := s.metric("planegym_requests_total")
		if err != nil {
			return nil, err
		}
		if now == busy {
			break
		}
		busy = now
	}
	times, err := latency(s.url, d) // while they hang
	if err != nil {
		return nil, err
	}
	time.Sleep(5 * time.Second) // they are cut
	return times, nil
}

func idle(b *bench) (string, bool, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", false, err
	}
	total := min(10000, int(limit.Max)-200)
	unix := filepath.Join(b.dir, "s")
	s, err := b.start("--unix", unix, "--max-sessions", strconv.Itoa(total+1))
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	empty, err := s.rss()
	if err != nil {
		return "", false, err
	}
	conns := make([]net.Conn, 0, total)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range total {
		c, err := raw(unix)
		if err != nil {
			return "", false, fmt.Errorf("session %d: %w", len(conns), err)
		}
		conns = append(conns, c)
		for _, m := range []string{hello, `{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":1}`, `{"type":"reset","id":2,"ack":1,"env":1,"seed":"7"}`} {
			if err := say(c, m); err != nil {
				return "", false, err
			}
			if _, _, err := hear(c); err != nil {
				return "", false, err
			}
		}
	}
	most := 0.0
	for range 5 {
		time.Sleep(time.Second)
		now, err := s.rss()
		if err != nil {
			return "", false, err
		}
		most = max(most, now)
	}
	heap, err := s.metric("go_memstats_heap_inuse_bytes")
	if err != nil {
		return "", false, err
	}
	stack, err := s.metric("go_memstats_stack_inuse_bytes")
	if err != nil {
		return "", false, err
	}
	figure := fmt.Sprintf("%d sessions with a cartpole each: RSS %.0f MiB (%.0f empty; heap %.0f, stacks %.0f)", total, most/mib, empty/mib, heap/mib, stack/mib)
	return figure, total == 10000 && most <= 300*mib, nil
}

// soak has 64 clients step while random things happen to them. What leaks is lost
// with a session, a cut, a request; so they come often, and steps take little: the
// ten minutes cost one of processor time.
func soak(b *bench) (string, bool, error) {
	d := 10 * time.Minute
	switch {
	case b.soak > 0:
		d = b.soak
	case b.long:
		d = time.Hour
	}
	s, err := b.start("--addr", "127.0.0.1:0", "--resume", "2s")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	p, err := testkit.Listen(s.addr, 1<<30, 9)
	if err != nil {
		return "", false, err
	}
	var over atomic.Bool
	var wg sync.WaitGroup
	var steps, sessions, happened atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			for n := uint32(0); !over.Load(); n++ {
				k := rng.Key{Seed: uint64(i), A: n}
				url := s.url
				if k.Intn(1, 3) == 0 {
					url = "ws://" + p.Addr()
				}
				c, err := dial(url, 1+k.Intn(2, 16))
				if err != nil {
					happened.Add(1)
					continue
				}
				sessions.Add(1)
				var batch env.Batch
				err = c.Reset(context.Background(), nil, nil, &batch)
				for j := 0; err == nil && j < 20+k.Intn(3, 100) && !over.Load(); j++ {
					actions := make([]int32, c.Num())
					if k.Intn(4, 4) == 0 && j%50 == 0 {
						actions[0] = 9 // refused
					}
					err = c.Step(context.Background(), nil, actions, &batch)
					if errors.Is(err, env.ErrInvalidAction) {
						happened.Add(1)
						err = nil
					}
					steps.Add(int64(c.Num()))
					time.Sleep(40 * time.Millisecond)
				}
				_ = c.Close()
				if rc, err := raw(s.addr); err == nil { // garbage, and one that dies in its hello
					_ = say(rc, hello[:k.Intn(5, len(hello))])
					_, _ = rc.Write([]byte{0xff, 0xff, 1})
					rc.Close()
					happened.Add(1)
				}
			}
		})
	}
	var at, mem, heap, sys []float64
	start := time.Now()
	warm, minutes := d/5, 0
	for time.Since(start) < d {
		time.Sleep(time.Second)
		if m := int(time.Since(start).Minutes()); b.profiles != "" && m > minutes {
			minutes = m
			if err := s.keep("/metrics", filepath.Join(b.profiles, fmt.Sprintf("metrics-%02d.txt", m))); err != nil {
				over.Store(true)
				return "", false, err
			}
		}
		if time.Since(start) < warm {
			continue
		}
		// What the last collection left. Asking for one by a heap profile would add what making
		// the profile takes: more with every stack the profiler sees, for as long as it sees new ones.
		v, err := s.metrics(rssMetric, "go_gc_heap_live_bytes", "go_memstats_sys_bytes")
		if err != nil {
			over.Store(true)
			return "", false, err
		}
		at, mem, heap = append(at, time.Since(start).Hours()), append(mem, v[0]/mib), append(heap, v[1]/mib)
		sys = append(sys, v[2]/mib)
	}
	over.Store(true)
	wg.Wait()
	if b.profiles != "" {
		if err := s.keep("/debug/pprof/heap?gc=1", filepath.Join(b.profiles, "heap.pb.gz")); err != nil {
			return "", false, err
		}
	}
	slope, wobble := fit(at, mem)
	live, liveWobble := fit(at, heap)
	mapped, _ := fit(at, sys)
	figure := fmt.Sprintf("%.0f min: %d sessions, %d steps, %d cuts, %d other faults; RSS %.1f MiB at %.0f min, slope %+.2f ± %.2f MiB/h; live heap %.1f MiB, slope %+.2f ± %.2f MiB/h; memory that Go has mapped %.1f MiB, slope %+.2f MiB/h",
		d.Minutes(), sessions.Load(), steps.Load(), p.Cuts(), happened.Load(), mem[len(mem)-1], d.Minutes(), slope, wobble, heap[len(heap)-1], live, liveWobble, sys[len(sys)-1], mapped)
	// RSS creeps towards what is mapped for longer than ten minutes, page by page that Go comes by;
	// what leaks shows in the live heap at once, and in what is mapped in the end.
	return figure, live < 1 && mapped < 1, s.stop()
}

// fit is the slope of y over x by least squares, and its standard error with
// the residuals' autocorrelation allowed for by blocks of 30 points.
func fit(x, y []float64) (slope, stderr float64) {
	mean := func(v []float64) (m float64) {
		for _, v := range v {
			m += v
		}
		return m / float64(len(v))
	}
	const block = 30
	if len(x) >= 4*block {
		var bx, by []float64
		for i := 0; i+block <= len(x); i += block {
			bx, by = append(bx, mean(x[i:i+block])), append(by, mean(y[i:i+block]))
		}
		x, y = bx, by
	}
	mx, my := mean(x), mean(y)
	var sxx, sxy, rr float64
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	slope = sxy / sxx
	for i := range x {
		r := y[i] - my - slope*(x[i]-mx)
		rr += r * r
	}
	return slope, math.Sqrt(rr / float64(max(len(x)-2, 1)) / sxx)
}
