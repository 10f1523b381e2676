package ws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/internal/testkit"
)

func TestNoHello(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		start := time.Now()
		p := pipe(t, s, false)
		p.want("bad_frame")
		p.wantClose(closeBadFrame)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestHalfOpen(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		start := time.Now()
		p := pipe(t, s, false)
		token := p.start()
		for _, want := range []byte{opPing, opClose} { // the pong never comes
			if op, _, err := p.in.next(); err != nil || op != want {
				t.Fatalf("%v: opcode %d, %v", time.Since(start), op, err)
			}
		}
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("connection closed after %v, want 30 s", d)
		}
		_ = p.net.Close()
		synctest.Wait()
		time.Sleep(59 * time.Second)
		if c := s.count(); c != [2]int{0, 1} {
			t.Fatalf("59 s later: %v sessions", c)
		}
		p = pipe(t, s, false)
		p.say(`{"type":"resume","id":5,"version":1,"token":%q,"last_seq":2}`, token)
		if m := p.want("resumed"); m["accepted"] != 2.0 || m["id"] != 5.0 {
			t.Errorf("%v", m)
		}
		p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
		p.want("step_result")
		_ = p.net.Close()
		time.Sleep(61 * time.Second)
		if c := s.count(); c != [2]int{} {
			t.Fatalf("61 s after the second cut: %v sessions", c)
		}
		p = pipe(t, s, false)
		p.resume(token, 3)
		p.want("session_lost")
		p.wantClose(closeLost)
	})
}

// What a connection has grown for large messages it lets go of, and nothing
// that is still to be read or written.
func TestRest(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := newConn(b, false, maxRequest, time.Minute)
	go func() { _, _ = io.WriteString(a, frame(fin|opText, ping(300000))+"\x81") }()
	if op, _, err := c.in.next(); op != opText || err != nil {
		t.Fatal(op, err)
	}
	for c.in.start == c.in.end { // the first byte of the next frame
		if err := c.in.fill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.send(opText, make([]byte, 5000), false); err != nil {
		t.Fatal(err)
	}
	if c.rest(); len(c.in.buf) < 300000 || len(c.out) < 5000 {
		t.Errorf("%d and %d bytes are left of a connection that is at work", len(c.in.buf), len(c.out))
	}
	c.in.start, c.out = c.in.end, c.out[:0]
	if c.rest(); len(c.in.buf) > firstBuffer || cap(c.out) > firstBuffer {
		t.Errorf("%d and %d bytes are left", len(c.in.buf), cap(c.out))
	}
}

func TestIdle(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		start := time.Now()
		for {
			op, b, err := p.in.next()
			if err != nil {
				t.Fatal(err)
			}
			if op == opClose {
				if c := parseClose(b); c.Code != closeIdle || time.Since(start) < 600*time.Second || time.Since(start) > 620*time.Second {
					t.Errorf("%v after %v", c, time.Since(start))
				}
				return
			}
			if err := p.send(opPong, nil, true); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestBusyAndLost(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		first := pipe(t, s, false)
		token := first.start()
		second := pipe(t, s, false)
		second.resume(token, 2)
		if m := second.want("session_busy"); m["retry_ms"] == nil || m["fatal"] != true {
			t.Errorf("%v", m)
		}
		second.wantClose(closeBusy)
		first.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`) // the first is none the worse
		first.want("step_result")
		_ = first.net.Close()
		synctest.Wait()
		for _, last := range []int{9, 1} { // never sent; forgotten after ack 2
			p := pipe(t, s, false)
			p.resume(token, last)
			p.want("session_lost")
			p.wantClose(closeLost)
		}
		p := pipe(t, s, false)
		p.say(`{"type":"resume","id":0,"version":1,"token":"guess","last_seq":0}`)
		p.want("session_lost")
		p.wantClose(closeLost)
	})
}

// What a session accepted before its connection broke is answered after it
// was resumed, and a request that is sent again is not executed again.
func TestStoredReplies(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		token := p.start()
		p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
		lost := p.want("step_result")
		_ = p.net.Close()
		synctest.Wait()
		p = pipe(t, s, false)
		p.resume(token, 2)
		p.want("resumed")
		for range 2 {
			if again := p.want("step_result"); fmt.Sprint(again) != fmt.Sprint(lost) {
				t.Fatalf("stored reply %v, was %v", again, lost)
			}
			p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[0]}`)
		}
		p.want("step_result")
		p.say(`{"type":"step","id":4,"ack":3,"env":1,"actions":[1]}`)
		local, _ := cartpole.New(1, env.NextStep)
		var b env.Batch
		_ = local.Reset(background, nil, []uint64{7}, &b)
		for range 2 {
			_ = local.Step(background, nil, []int32{1}, &b)
		}
		obs := p.want("step_result")["obs"].([]any)[0].([]any)
		for i, v := range obs {
			if float32(v.(float64)) != b.Obs[i] {
				t.Fatalf("after the resend: %v, want %v", obs, b.Obs)
			}
		}
	})
}

// hanging is an environment whose steps wait for release, and do not care for
// their context.
type hanging struct {
	env.Vector
	hang    atomic.Bool
	release chan struct{}
	closed  atomic.Int32
}

func (h *hanging) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if h.hang.Load() {
		<-h.release
	}
	return h.Vector.Step(ctx, rows, actions, out)
}

func (h *hanging) Close() error { h.closed.Add(1); return h.Vector.Close() }

// openHanging makes what open does, and of the model "hang" h over it.
func openHanging(h *hanging) func(context.Context, MakeRequest) (env.Vector, error) {
	return func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		v, err := open(ctx, m)
		if m.Model == "hang" {
			h.Vector = v
			return h, err
		}
		return v, err
	}
}

func TestHungEnvironment(t *testing.T) {
	for _, end := range []string{"late", "orphaned"} {
		h := &hanging{}
		o := Options{StepTimeout: 5 * time.Second, Open: openHanging(h)}
		t.Run(end, func(t *testing.T) {
			faked(t, o, func(t *testing.T, s *Server) {
				h.release = make(chan struct{})
				p := pipe(t, s, false)
				p.start()
				p.say(`{"type":"make","id":3,"ack":2,"scenario":"cartpole","model":"hang","num_envs":1}`)
				p.want("made")
				p.say(`{"type":"reset","id":4,"ack":3,"env":2,"seed":"1"}`)
				p.want("reset_result")
				h.hang.Store(true)
				start := time.Now()
				p.say(`{"type":"step","id":5,"ack":4,"env":2,"actions":[1]}`)
				p.want("timeout")
				if d := time.Since(start); d < 5*time.Second || d > 5500*time.Millisecond {
					t.Errorf("timeout after %v", d)
				}
				p.say(`{"type":"step","id":6,"ack":5,"env":2,"actions":[1]}`) // still hangs
				p.want("timeout")
				p.say(`{"type":"step","id":7,"ack":6,"env":1,"actions":[1]}`) // the session lives
				p.want("step_result")
				if end == "orphaned" {
					p.say(`{"type":"close","id":8,"ack":7}`)
					p.want("closed")
					p.wantClose(closeNormal)
					_ = p.net.Close()
					synctest.Wait()
					if h.closed.Load() != 0 {
						t.Error("closed while it steps")
					}
					close(h.release)
					synctest.Wait()
					if h.closed.Load() != 1 {
						t.Errorf("closed %d times", h.closed.Load())
					}
					return
				}
				h.hang.Store(false)
				close(h.release)
				synctest.Wait()
				p.say(`{"type":"step","id":8,"ack":7,"env":2,"actions":[1]}`) // the late result was dropped
				p.want("step_result")
				_ = p.net.Close()
			})
		})
	}
}

// A make that takes too long is answered, the session lives, and what comes late is closed.
func TestHungMake(t *testing.T) {
	release := make(chan struct{})
	var closed atomic.Int32
	var contexts atomic.Int32 // that ended
	o := Options{MakeTimeout: 5 * time.Second, MaxEnvs: 3, Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		v, err := cartpole.New(m.NumEnvs, m.Autoreset)
		if m.Model == "" {
			return v, err
		}
		context.AfterFunc(ctx, func() { contexts.Add(1) })
		<-release
		if m.Model == "panic" {
			panic("seeded fault")
		}
		return &counted{v, &closed}, err
	}}
	faked(t, o, func(t *testing.T, s *Server) {
		release = make(chan struct{})
		p := pipe(t, s, false)
		p.start() // env 1
		for i, model := range []string{"hang", "panic"} {
			start := time.Now()
			p.say(`{"type":"make","id":%d,"ack":%d,"scenario":"cartpole","model":%q,"num_envs":1}`, 3+i, 2+i, model)
			p.want("timeout")
			if d := time.Since(start); d != 5*time.Second {
				t.Errorf("timeout after %v", d)
			}
		}
		synctest.Wait()
		if contexts.Load() != 2 {
			t.Errorf("%d contexts ended", contexts.Load())
		}
		p.say(`{"type":"make","id":5,"ack":4,"scenario":"cartpole","num_envs":1}`)
		p.want("capacity") // those that hang count
		p.say(`{"type":"step","id":6,"ack":5,"env":1,"actions":[1]}`)
		p.want("step_result")
		p.say(`{"type":"step","id":7,"ack":6,"env":2,"actions":[1]}`)
		p.want("closed")
		close(release)
		synctest.Wait()
		if closed.Load() != 1 {
			t.Errorf("closed %d times", closed.Load())
		}
		p.say(`{"type":"make","id":8,"ack":7,"scenario":"cartpole","num_envs":1}`)
		if m := p.want("made"); m["env"] != 4.0 {
			t.Error(m)
		}
		_ = p.net.Close()
	})
}

// counted counts how often it is closed.
type counted struct {
	env.Vector
	n *atomic.Int32
}

func (c *counted) Close() error { c.n.Add(1); return c.Vector.Close() }

// panicking panics at its third step.
type panicking struct {
	env.Vector
	steps int
}

func (v *panicking) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if v.steps++; v.steps == 3 {
		panic("seeded fault")
	}
	return v.Vector.Step(ctx, rows, actions, out)
}

func TestPanicEndsItsSession(t *testing.T) {
	o := Options{Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		v, err := cartpole.New(m.NumEnvs, m.Autoreset)
		return &panicking{Vector: v}, err
	}}
	faked(t, o, func(t *testing.T, s *Server) {
		bad, good := pipe(t, s, false), pipe(t, s, false)
		token := bad.start()
		good.start()
		for id := 3; id < 5; id++ {
			bad.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, id, id-1)
			bad.want("step_result")
		}
		bad.say(`{"type":"step","id":5,"ack":4,"env":1,"actions":[1]}`)
		bad.want("internal")
		bad.wantClose(closeInternal)
		_ = bad.net.Close()
		synctest.Wait()
		good.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
		good.want("step_result")
		p := pipe(t, s, false)
		p.resume(token, 4)
		p.want("session_lost")
		p.wantClose(closeLost)
		_ = good.net.Close()
	})
}

func TestSlowReader(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		slow, other := pipe(t, s, false), pipe(t, s, false)
		slow.start()
		other.start()
		start := time.Now()
		slow.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`) // whose reply it does not read
		for id := 3; id < 8; id++ {
			other.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, id, id-1)
			other.want("step_result")
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the other session waited %v", d)
		}
		time.Sleep(4900 * time.Millisecond)
		if c := s.count(); c != [2]int{2, 0} {
			t.Errorf("after 4.9 s: %v", c)
		}
		time.Sleep(2 * time.Second)
		if c := s.count(); c != [2]int{1, 1} {
			t.Errorf("after 6.9 s: %v", c)
		}
		if n := s.stats.errors[codeIndex("slow_consumer")].Load(); n != 1 {
			t.Errorf("%d slow consumers were counted", n)
		}
		_ = other.net.Close()
	})
}

// A client that sends all it may before it reads is served to the end; one
// that goes on is cut when its pending output is full, and not before.
func TestPendingOutput(t *testing.T) {
	s, url := serve(t, Options{WriteTimeout: time.Hour}) // which is not what cuts it
	const n = 4096                                       // replies of 90 KB: 6 MB under way
	c := dial(t, url, DialOptions{NumEnvs: n})
	var b env.Batch
	if err := c.Reset(background, nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	actions := make([]int32, n)
	for range inFlight {
		if _, err := c.Send(nil, actions); err != nil {
			t.Fatal(err)
		}
	}
	for range inFlight {
		if _, err := c.Recv(background, &b); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.stats.resumed.Load(); got != 0 {
		t.Errorf("%d cuts", got)
	}
	nc, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), Path))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := handshake(t, nc)
	p.start()
	p.say(`{"type":"make","id":3,"ack":2,"scenario":"cartpole","num_envs":%d}`, n)
	limit := p.want("made")["pending_bytes"].(float64)
	before := s.stats.requests[typeReset].Load()
	for seq := uint64(4); seq < 500; seq++ {
		r := request{header: header{Type: typeReset, Env: 2, N: n, Seq: seq}, Ack: 3}
		if err := p.send(opBinary, r.append(nil), true); err != nil {
			break
		}
	}
	for s.stats.errors[codeIndex("slow_consumer")].Load() == 0 { // else the test times out
		time.Sleep(time.Millisecond)
	}
	bytes := float64(s.stats.requests[typeReset].Load()-before) * float64(resultBytes(false, n, 4, 0, false, false))
	if bytes < limit || bytes > limit+16<<20 {
		t.Errorf("cut after %v bytes of replies; %v may be pending", bytes, limit)
	}
}

// TestDrain: whatever was accepted is answered, then 1001.
func TestDrain(t *testing.T) {
	s, url := serve(t, Options{ResumeFor: -1})
	const sessions = 100
	var clients []*Client
	for range sessions {
		c, err := Dial(background, url, DialOptions{Scenario: "cartpole"})
		if err != nil {
			t.Fatal(err)
		}
		var b env.Batch
		if err := c.Reset(background, nil, nil, &b); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	var answered, asked atomic.Int64
	var wg sync.WaitGroup
	started := make(chan struct{}, sessions)
	for _, c := range clients {
		wg.Go(func() {
			defer c.Close()
			var b env.Batch
			for i := 0; ; i++ {
				err := c.Step(background, nil, []int32{0}, &b)
				if i == 10 {
					started <- struct{}{}
				}
				if err == nil {
					answered.Add(1)
					continue
				}
				var closed *CloseError
				if !errors.As(err, &closed) || closed.Code != closeGoingAway {
					t.Errorf("ended with %v", err)
				}
				return
			}
		})
	}
	for range sessions {
		<-started
	}
	asked.Store(0)
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	// Every step that the server executed reached its client.
	if rows := s.stats.rows.Load(); rows != uint64(answered.Load()) {
		t.Errorf("%d steps executed, %d answered", rows, answered.Load())
	}
	for path, status := range map[string]int{"/readyz": 503, "/healthz": 200} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		if w.Code != status {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if _, err := Dial(background, url, DialOptions{Scenario: "cartpole"}); !errors.Is(err, ErrDraining) {
		t.Errorf("dial: %v", err)
	}
}

func TestEvents(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		for id, steps := 3, 1; ; id, steps = id+1, steps+1 {
			p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, id, id-1)
			m, err := p.hear()
			if err != nil {
				t.Fatal(err)
			}
			if m["type"] == "event" {
				if m["event"] != "episode_end" || m["steps"] != float64(steps) || m["return"] != float64(steps) || m["row"] != 0.0 || m["env"] != 1.0 {
					t.Errorf("after %d steps: %v", steps, m)
				}
				if r := p.want("step_result"); r["terminated"].([]any)[0] != true {
					t.Errorf("%v", r)
				}
				break
			}
		}
		go func() { _ = s.Shutdown(background) }()
		p.want("draining")
		p.wantClose(closeGoingAway)
		_ = p.net.Close()
	})
}

// rollout steps by Send and Recv at a depth, and by hand, and gives all that came.
func rollout(t testing.TB, v env.Vector, steps, depth int) []float32 {
	t.Helper()
	var b env.Batch
	n := v.Num()
	if err := v.Reset(background, nil, slices.Repeat([]uint64{11}, n), &b); err != nil {
		t.Fatal(err)
	}
	out := slices.Clone(b.Obs)
	action := func(k int) []int32 {
		a := make([]int32, n)
		for i := range a {
			a[i] = int32((k*5 + i) / 3 % 2)
		}
		return a
	}
	keep := func() {
		out = append(out, b.Obs...)
		out = append(out, b.Reward...)
		for i := range n {
			if b.Terminated[i] {
				out = append(out, float32(i))
			}
		}
	}
	p, remote := v.(env.Pipeline)
	sent := 0
	for k := range steps {
		if !remote || depth == 1 {
			if err := v.Step(background, nil, action(k), &b); err != nil {
				t.Fatalf("step %d: %v", k, err)
			}
			keep()
			continue
		}
		for ; sent < steps && sent < k+depth; sent++ {
			if _, err := p.Send(nil, action(sent)); err != nil {
				t.Fatalf("send %d: %v", sent, err)
			}
		}
		if _, err := p.Recv(background, &b); err != nil {
			t.Fatalf("step %d: %v", k, err)
		}
		keep()
	}
	return out
}

func TestRandomCuts(t *testing.T) {
	_, url := serve(t, Options{})
	cuts := 60
	if testing.Short() {
		cuts = 10
	}
	for _, depth := range []int{1, 16} {
		proxy, err := testkit.Listen(strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), Path), cuts+2, uint64(depth))
		if err != nil {
			t.Fatal(err)
		}
		var c *Client
		for { // the proxy cuts handshakes too
			var err error
			if c, err = Dial(background, "ws://"+proxy.Addr(), DialOptions{Scenario: "cartpole", NumEnvs: 3}); err == nil {
				break
			}
		}
		local, _ := cartpole.New(3, env.NextStep)
		steps := 60 * cuts
		if !slices.Equal(rollout(t, c, steps, depth), rollout(t, local, steps, depth)) {
			t.Errorf("depth %d: with %d cuts it went on differently", depth, proxy.Cuts())
		}
		if n := proxy.Cuts(); n < cuts/2 {
			t.Errorf("only %d cuts", n)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		proxy.Close()
	}
}

// Equal seeds give equal episodes whatever the batch and the processors.
func TestBatchAndThreads(t *testing.T) {
	_, url := serve(t, Options{})
	const n = 256
	steps := 10000
	if testing.Short() || raced {
		steps = 1000
	}
	one, many := dial(t, url, DialOptions{}), dial(t, url, DialOptions{NumEnvs: n})
	var b, m env.Batch
	seeds := make([]uint64, n)
	seeds[77] = 42
	if err := one.Reset(background, nil, seeds[77:78], &b); err != nil {
		t.Fatal(err)
	}
	if err := many.Reset(background, nil, seeds, &m); err != nil {
		t.Fatal(err)
	}
	actions := make([]int32, n)
	was := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(was)
	for k := range steps {
		if k == steps/2 {
			runtime.GOMAXPROCS(1)
		}
		for i := range actions {
			actions[i] = int32((k + i*7) / 3 % 2)
		}
		if err := one.Step(background, nil, actions[77:78], &b); err != nil {
			t.Fatal(err)
		}
		if err := many.Step(background, nil, actions, &m); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Obs, m.Obs[77*4:78*4]) || b.Terminated[0] != m.Terminated[77] {
			t.Fatalf("step %d: alone %v, of %d %v", k, b.Obs, n, m.Obs[77*4:78*4])
		}
	}
}
