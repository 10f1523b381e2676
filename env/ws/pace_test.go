package ws

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
)

// The first message has to be hello or resume, and in time: what the server answers, and
// when.
func TestFirstMessage(t *testing.T) {
	const hello = `{"type":"hello","id":3,"version":1}`
	pad := func(n int) string { return hello[:len(hello)-1] + strings.Repeat(" ", n-len(hello)) + "}" }
	for name, c := range map[string]struct {
		say    string
		ticket bool
		want   string
		after  time.Duration
	}{
		"hello": {say: frame(fin|opText, hello), want: "welcome"}, "a pong, then hello": {say: frame(fin|opPong, "x") + frame(fin|opText, hello), want: "welcome"},
		"a ping, then hello": {say: frame(fin|opPing, "x") + frame(fin|opText, hello), want: "pong welcome"}, "hello in parts": {say: frame(opText, hello[:9]) + frame(fin|opContinue, hello[9:]), want: "welcome"},
		"a ping where a ticket is wanted": {say: frame(fin|opPing, "x") + frame(fin|opText, hello), ticket: true, want: "unauthorized 4502"},
		"nothing":                         {want: "bad_frame 4500", after: 2 * time.Second}, "half a frame": {say: "\x81", want: "bad_frame 4500", after: 2 * time.Second},
		"pings alone": {say: frame(fin|opPing, "x"), want: "pong bad_frame 4500", after: 2 * time.Second}, "binary": {say: frame(fin|opBinary, "x"), want: "bad_frame 4500"}, "a close": {say: closing(1000, "bye"), want: "1000"},
		"a close of another code": {say: closing(4000, ""), want: "4000"}, "16 KiB": {say: frame(fin|opText, pad(maxHello)), want: "welcome"}, "a byte more": {say: frame(fin|opText, pad(maxHello+1)), want: "1009"}, "no UTF-8": {say: frame(fin|opText, "\xff"), want: "1007"},
		"a bad version": {say: frame(fin|opText, `{"type":"hello","id":3,"version":0}`), want: "bad_version 4501"}, "no id": {say: frame(fin|opText, `{"type":"hello","version":1}`), want: "bad_frame 4500"},
	} {
		faked(t, Options{}, func(t *testing.T, s *Server) {
			began := time.Now()
			p := pipe(t, s, c.ticket)
			if c.say != "" {
				go func() { _, _ = io.WriteString(p.net, c.say) }()
			}
			var got []string
			for range strings.Count(c.want, " ") + 1 {
				op, b, err := p.in.next()
				switch {
				case err != nil:
					got = append(got, err.Error())
				case op == opPong:
					got = append(got, "pong")
				case op == opClose:
					got = append(got, fmt.Sprint(parseClose(b).Code))
				case strings.Contains(string(b), `"welcome"`):
					got = append(got, "welcome")
				default:
					_, code, _ := strings.Cut(string(b), `"code":"`)
					code, _, _ = strings.Cut(code, `"`)
					got = append(got, code)
					if !strings.Contains(string(b), `"fatal":true`) {
						t.Errorf("%s: %s", name, b)
					}
				}
			}
			if g := strings.Join(got, " "); g != c.want || time.Since(began) != c.after {
				t.Errorf("%s: %s after %v, want %s", name, g, time.Since(began), c.want)
			}
			_ = p.net.Close()
			synctest.Wait()
			if len(s.conns) != 0 {
				t.Errorf("%s: %d connections have not said hello", name, len(s.conns))
			}
		})
	}
	faked(t, Options{}, func(t *testing.T, s *Server) { // a message may be longer once the session is open
		p := pipe(t, s, false)
		p.hello("")
		p.say("%s", strings.Replace(pad(100_000), `"type":"hello"`, `"type":"ping"`, 1))
		p.want("pong")
		time.Sleep(5 * time.Second) // and the time for hello is no time for the next
		p.say(`{"type":"ping","id":9}`)
		p.want("pong")
		_ = p.net.Close()
	})
}

// A draining server opens no session, even on a connection that was there before.
func TestHelloWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Options{Open: open})
		s.draining = true
		p := pipe(t, s, false)
		if _, _, err := p.in.next(); err != io.EOF {
			t.Errorf("%v", err)
		}
		s.draining = false
		p = pipe(t, s, false)
		synctest.Wait()
		s.draining = true
		p.say(`{"type":"hello","id":3,"version":1}`)
		if m := p.want("draining"); m["retry_ms"] != 1000.0 || m["id"] != 3.0 {
			t.Errorf("%v", m)
		}
		p.wantClose(closeGoingAway)
		_ = p.net.Close()
		if err := s.Shutdown(background); err != nil {
			t.Error(err)
		}
	})
}

// The server sends a ping after PingAfter without a byte from the client, and closes
// the connection PongTimeout later; any byte counts, even half a frame.
func TestPings(t *testing.T) {
	faked(t, Options{PingAfter: 7 * time.Second, PongTimeout: 3 * time.Second}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		began := time.Now()
		next := func(want byte, at time.Duration) {
			t.Helper()
			if op, b, err := p.in.next(); op != want || err != nil || time.Since(began) != at || want == opClose && parseClose(b).Code != closeNoPong {
				t.Errorf("opcode %d %q after %v, %v; want %d after %v", op, b, time.Since(began), err, want, at)
			}
		}
		next(opPing, 7*time.Second)
		time.Sleep(2 * time.Second)
		_, _ = io.WriteString(p.net, frame(fin|opPong, "")) // at 9 s
		next(opPing, 16*time.Second)
		_, _ = io.WriteString(p.net, "\x8a\x80") // half a pong, at 16 s
		next(opPing, 26*time.Second)             // it is seen when the pong is due, at 19 s
		next(opClose, 29*time.Second)
		_ = p.net.Close()
		synctest.Wait()
		if s.count() != [2]int{} {
			t.Errorf("sessions %v: one that asked for nothing need not wait", s.count())
		}
	})
}

// The server reads on while a step runs: it answers pings and queues as many messages
// as may be under way; after the step the replies come in order.
func TestReadingWhileAStepLasts(t *testing.T) {
	v := &slow{takes: 30 * time.Second}
	faked(t, Options{StepTimeout: -1, Open: openSlow(v)}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
		var wrote atomic.Int32
		pinged := make(chan error, 1)
		go func() {
			time.Sleep(time.Second)
			_, err := io.WriteString(p.net, frame(fin|opPing, "p"))
			pinged <- err
			for id := range 70 {
				if _, err := io.WriteString(p.net, frame(fin|opText, fmt.Sprintf(`{"type":"ping","id":%d}`, id))); err != nil {
					return
				}
				wrote.Add(1)
			}
		}()
		began := time.Now()
		if op, b, err := p.in.next(); op != opPong || string(b) != "p" || err != nil || time.Since(began) != time.Second {
			t.Errorf("opcode %d %q, %v after %v", op, b, err, time.Since(began))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := wrote.Load(); n < inFlight || n > inFlight+1 { // one may be under way
			t.Errorf("%d messages were taken", n)
		}
		if _, m := p.ends("step_result"); m["id"] != 3.0 {
			t.Errorf("%v", m)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the step took %v", took)
		}
		for id := range 70 {
			if m := p.want("pong"); m["id"] != float64(id) {
				t.Fatalf("%v, want %d", m, id)
			}
		}
		_ = p.net.Close()
	})
}

// StepTimeout holds for each step, also within STEP_MANY.
func TestStepTimeout(t *testing.T) {
	for _, c := range []struct {
		takes, timeout time.Duration
		steps          int
		ok             bool
	}{
		{4 * time.Second, 5 * time.Second, 1, true}, {6 * time.Second, 5 * time.Second, 1, false}, {4 * time.Second, 5 * time.Second, 10, true}, {6 * time.Second, 5 * time.Second, 2, false},
		{10 * time.Minute, -1, 1, true},
	} {
		v := &slow{takes: c.takes}
		faked(t, Options{StepTimeout: c.timeout, IdleTimeout: time.Hour, Open: openSlow(v)}, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.start()
			go func() { // it is alive
				for range 70 {
					time.Sleep(10 * time.Second)
					if p.send(opPong, nil, true) != nil {
						return
					}
				}
			}()
			began := time.Now()
			p.ask(request{header: header{Type: typeStepMany, Env: 1, N: 1, Seq: 3}, Ack: 2, Steps: c.steps, Actions: make([]int32, c.steps)})
			op, b := p.next()
			for op == opPing || strings.Contains(string(b), "episode_end") {
				op, b = p.next()
			}
			took := time.Since(began)
			if c.ok && (op != opBinary || took != time.Duration(c.steps)*c.takes) || !c.ok && (!strings.Contains(string(b), `"timeout"`) || took < c.timeout || took > c.timeout+3*tick) {
				t.Errorf("%+v: opcode %d %.80q after %v", c, op, b, took)
			}
			if n := s.stats.supersessions.Load(); (n == 0) != c.ok {
				t.Errorf("%+v: %d steps were given up", c, n)
			}
			_ = p.net.Close()
			time.Sleep(15 * time.Second)
		})
	}
}

// At most Rate messages a second are taken; one more closes the connection.
func TestMessagesASecond(t *testing.T) {
	s := NewServer(Options{Open: open, Rate: 3})
	ss := lone(s, &wire{})
	if err := ss.listen(control{}); err != nil {
		t.Fatal(err)
	}
	began := ss.window
	for i, c := range []struct {
		at   time.Duration
		over bool
	}{
		{0, false}, {0, false}, {time.Second - 1, false}, {time.Second - 1, true}, {time.Second - 1, true}, // three, and two too many
		{time.Second, false}, {time.Second, false}, {2*time.Second - 1, false}, {2*time.Second - 1, true}, {2 * time.Second, false},
	} {
		ss.last = began.Add(c.at)
		if got := ss.limited(); got != c.over {
			t.Errorf("message %d, after %v: %v", i, c.at, got)
		}
	}
	ss.rate = 0
	for range 100 {
		if ss.limited() {
			t.Fatal("without a bound there is one")
		}
	}
	for _, n := range []int{0, 3} { // the reply names no request
		faked(t, Options{Rate: 3 + n}, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.hello("")
			for id := range 3 + n {
				p.say(`{"type":"ping","id":%d}`, id)
				p.want("pong")
			}
			p.say(`{"type":"ping","id":9}`)
			if m := p.want("rate_limited"); m["id"] != 0.0 || m["retry_ms"] != 1000.0 || m["fatal"] != true || !strings.HasSuffix(m["message"].(string), fmt.Sprintf("more than %d messages a second", 3+n)) {
				t.Errorf("%v", m)
			}
			p.wantClose(closeBusy)
			_ = p.net.Close()
		})
	}
}

// A make is given up after MakeTimeout; if that is negative, it never is.
func TestMakeTimeout(t *testing.T) {
	for timeout, ok := range map[time.Duration]bool{-1: true, time.Minute: true, 25 * time.Second: false} { // not when a ping goes out, at 20 s: a pipe holds no byte for a peer that writes itself
		v := &script{ends: []int{9}}
		o := openScript(v)
		quick := o.Open
		o.MakeTimeout, o.StepTimeout = timeout, time.Second // which is not that of a make
		o.Open = sleeping(30*time.Second, quick)
		faked(t, o, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.hello("")
			began := time.Now()
			p.say(`{"type":"make","id":1,"ack":0,"scenario":"s","num_envs":1}`)
			op, b := p.next()
			for op == opPing {
				_ = p.send(opPong, nil, true)
				op, b = p.next()
			}
			want, after := `"made"`, 30*time.Second
			if !ok {
				want, after = `"timeout"`, timeout
			}
			if !strings.Contains(string(b), want) || time.Since(began) != after {
				t.Errorf("within %v: %s after %v", timeout, b, time.Since(began))
			}
			_ = p.net.Close()
			time.Sleep(time.Minute)
		})
		if v.closed.Load() != 1 {
			t.Errorf("within %v: closed %d times", timeout, v.closed.Load())
		}
	}
}

// sleeping opens after so long, whatever its context.
func sleeping(d time.Duration, open func(context.Context, MakeRequest) (env.Vector, error)) func(context.Context, MakeRequest) (env.Vector, error) {
	return func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		time.Sleep(d)
		return open(ctx, m)
	}
}

// During a step of a real-time environment the server reads at once, not only from the
// watcher's next tick on.
func TestReadingWhileARealTimeStepLasts(t *testing.T) {
	for _, real := range []bool{true, false} {
		o := Options{Open: func(context.Context, MakeRequest) (env.Vector, error) {
			return &slow{Vector: &script{num: 1, ends: []int{9}, real: real, closed: new(atomic.Int32)}, takes: 30 * time.Second}, nil
		}}
		faked(t, o, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.start()
			p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
			synctest.Wait()
			began := time.Now()
			go func() { _, _ = io.WriteString(p.net, frame(fin|opPing, "p")) }()
			if op, _, err := p.in.next(); op != opPong || err != nil || (time.Since(began) == 0) != real {
				t.Errorf("real-time %v: opcode %d, %v after %v", real, op, err, time.Since(began))
			}
			_ = p.net.Close()
			time.Sleep(time.Minute) // the step ends
		})
	}
}
