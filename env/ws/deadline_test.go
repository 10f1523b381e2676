package ws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// gate is a proxy that a test closes and opens: while it is closed, connections
// are cut and none gets through.
type gate struct {
	net.Listener
	to string

	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

func newGate(t *testing.T, url string) *gate {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l, to: strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), Path)}
	t.Cleanup(func() { g.set(true); l.Close() })
	go func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", g.to)
			if err != nil {
				down.Close()
				continue
			}
			g.mu.Lock()
			if g.shut {
				down.Close()
				up.Close()
			} else {
				g.conns = append(g.conns, down, up)
				go func() { _, _ = copyClose(up, down) }()
				go func() { _, _ = copyClose(down, up) }()
			}
			g.mu.Unlock()
		}
	}()
	return g
}

func copyClose(dst, src net.Conn) (int64, error) {
	defer dst.Close()
	defer src.Close()
	var n int64
	b := make([]byte, 32<<10)
	for {
		k, err := src.Read(b)
		if err != nil {
			return n, err
		}
		if _, err := dst.Write(b[:k]); err != nil {
			return n, err
		}
		n += int64(k)
	}
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut = shut; shut {
		for _, c := range g.conns {
			c.Close()
		}
		g.conns = nil
	}
}

// TestStepEndsWithItsContext: a step whose server cannot be reached ends with its
// context, however long the client may try to come back; once it can be reached
// the next call goes on where the session is, and no step is done twice.
func TestStepEndsWithItsContext(t *testing.T) {
	_, url := serve(t, Options{})
	g := newGate(t, url)
	c := dial(t, "ws://"+g.Addr().String(), DialOptions{Resume: time.Minute})
	local, _ := cartpole.New(1, env.NextStep)
	var got, want env.Batch
	for _, v := range []env.Vector{c, local} {
		if err := v.Reset(background, nil, []uint64{7}, &got); err != nil {
			t.Fatal(err)
		}
	}
	for k, call := range []func(context.Context) error{
		func(ctx context.Context) error { return c.Step(ctx, nil, []int32{1}, &got) },
		func(ctx context.Context) error { _, err := c.StepMany(ctx, nil, 1, []int32{1}, &got); return err },
	} {
		g.set(true)
		for try := range 3 { // the first finds out, the next try to come back
			ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
			began := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 10*time.Second {
				t.Fatalf("call %d, try %d: %v after %v", k, try, err, took)
			}
		}
		g.set(false)
		for range 3 { // the steps that were given up take place all the same
			if err := local.Step(background, nil, []int32{1}, &want); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Step(background, nil, []int32{0}, &got); err != nil {
			t.Fatalf("call %d, after the gate has opened: %v", k, err)
		}
		if err := local.Step(background, nil, []int32{0}, &want); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Obs, want.Obs) {
			t.Fatalf("call %d: %v, want %v", k, got.Obs, want.Obs)
		}
	}
	g.set(true)
	ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := c.Reset(ctx, nil, nil, &got); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("reset: %v after %v", err, time.Since(began))
	}
	g.set(false)
	if err := c.Reset(background, nil, nil, &got); err != nil {
		t.Error(err)
	}
}

// TestWriteEndsWithItsContext: so does one whose server reads nothing any more.
func TestWriteEndsWithItsContext(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := &Client{conn: newConn(a, true, maxReply, time.Minute)}
	c.use(c.conn)
	ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := c.write(ctx, opBinary, make([]byte, 100), true); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestReplyIsJournalledFirst: of a reply too long for the buffers no byte leaves
// before its request is in the file, so that a server killed then loses nothing.
func TestReplyIsJournalledFirst(t *testing.T) {
	dir := t.TempDir()
	s := NewServer(Options{Open: open, Journal: dir})
	p := pipe(t, s, false)
	p.say(`{"type":"hello","id":0,"client":"t","version":1,"capabilities":["resume"]}`)
	p.want("welcome")
	p.say(`{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":8192}`) // replies of 180 kB
	p.want("made")
	size := func() int64 {
		files, err := filepath.Glob(filepath.Join(dir, "*"+journalName))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		info, err := os.Stat(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for seq := uint64(2); seq < 5; seq++ {
		before := size()
		r := request{header: header{Type: typeReset, Env: 1, N: 8192, Seq: seq}, Ack: seq - 1}
		b := r.append(nil)
		if err := p.send(opBinary, b, true); err != nil {
			t.Fatal(err)
		}
		var first [1]byte
		if _, err := p.net.Read(first[:]); err != nil { // the server waits with the rest of the frame
			t.Fatal(err)
		}
		if now := size(); now != before+recordHead+5+int64(len(b)) {
			t.Errorf("request %d: %d bytes are in the journal while its reply leaves, want %d more than %d", seq, now, recordHead+5+len(b), before)
		}
		p.in.buf, p.in.start, p.in.end = first[:], 0, 1
		if op, _, err := p.in.next(); op != opBinary || err != nil {
			t.Fatal(op, err)
		}
	}
	_ = p.net.Close()
	if err := s.Shutdown(background); err != nil {
		t.Error(err)
	}
}

// TestJournalTemporaries: what a killed server was writing is removed by the
// next; what another may still be writing is not.
func TestJournalTemporaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for name, age := range map[string]time.Duration{".journal.123": 2 * time.Minute, ".journal.456": 10 * time.Second, "notes": time.Hour} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Now().Add(-age), time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		names := func() string {
			files, _ := os.ReadDir(dir)
			var all []string
			for _, f := range files {
				all = append(all, f.Name())
			}
			return fmt.Sprint(all)
		}
		s := NewServer(Options{Open: open, Journal: dir, ResumeFor: time.Minute})
		if got := names(); got != "[.journal.456 notes]" {
			t.Errorf("at the start: %s", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := names(); got != "[notes]" {
			t.Errorf("after the sessions' time: %s", got)
		}
		if err := s.Shutdown(background); err != nil {
			t.Error(err)
		}
	})
}

// TestShutdownTwice: a server may be shut down again, at the same time too.
func TestShutdownTwice(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		var wait sync.WaitGroup
		for range 2 {
			wait.Go(func() {
				if err := s.Shutdown(background); err != nil {
					t.Error(err)
				}
			})
		}
		p.want("draining")
		p.wantClose(closeGoingAway)
		_ = p.net.Close()
		wait.Wait()
		if err := s.Shutdown(background); err != nil {
			t.Error(err)
		}
	})
}

// A write that succeeds just as its context ends leaves no expired deadline behind: the
// next write has its full time, even in a call whose context never ends.
func TestWriteAfterAnInterruptedOne(t *testing.T) {
	for _, timeout := range []time.Duration{time.Minute, -1} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{gate: make(chan struct{})}
			c := &Client{}
			c.use(newConn(w, true, maxReply, timeout))
			ctx, cancel := context.WithCancel(background)
			done := make(chan error)
			go func() { done <- c.write(ctx, opBinary, []byte("a"), true) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			if n := len(w.deadlines); n == 0 || w.deadlines[n-1].IsZero() || w.deadlines[n-1].After(time.Now()) {
				t.Fatalf("deadlines %v of a write whose context has ended", w.deadlines)
			}
			w.gate <- struct{}{}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			go func() { done <- c.write(background, opBinary, []byte("b"), true) }()
			synctest.Wait()
			if last := w.deadlines[len(w.deadlines)-1]; timeout > 0 && !last.Equal(time.Now().Add(timeout+time.Second)) || timeout < 0 && !last.IsZero() {
				t.Errorf("the next write has until %v, it is %v", last, time.Now())
			}
			w.gate <- struct{}{}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
