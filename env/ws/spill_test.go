//go:build unix

package ws

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// network is a wire that takes so many bytes without blocking, as a socket does.
type network struct {
	*wire
	takes int
	fails error // of a try
	err   error // of the socket
}

func (n *network) SyscallConn() (syscall.RawConn, error) { return nil, io.EOF } // tried sets what is used

// Write is that of a RawConn.
type tried struct {
	syscall.RawConn
	n *network
	t *tryWriter
}

func (r *tried) Write(func(uintptr) bool) error {
	took := min(r.n.takes, len(r.t.b))
	if r.t.n, r.t.err = took, r.n.fails; r.n.fails == nil {
		r.n.wrote = append(r.n.wrote, string(r.t.b[:took]))
	}
	r.n.takes -= took
	if took == 0 && r.n.fails == nil {
		r.t.n, r.t.err = -1, syscall.EAGAIN
	}
	return r.n.err
}

// spilling is a connection of a server to a network that takes so many bytes before a
// reader is slow; what it takes after that is written one value of gate at a time.
func spilling(takes int, timeout time.Duration) (*conn, *network) {
	n := &network{wire: &wire{gate: make(chan struct{})}, takes: takes}
	c := newConn(n, false, 1, timeout)
	c.try = new(tryWriter)
	c.try.raw = &tried{n: n, t: c.try}
	return c, n
}

// payload is a payload of n bytes that differ from those of another letter.
func payload(letter string, n int) []byte { return []byte(strings.Repeat(letter, n)) }

// What the network does not take at once a goroutine writes, in order, and ends; later
// frames are tried at once again.
func TestSpill(t *testing.T) {
	for _, takes := range []int{0, 1, 5} {
		synctest.Test(t, func(t *testing.T) {
			c, n := spilling(takes, time.Minute)
			want := ""
			for _, letter := range []string{"a", "b", "c"} {
				if err := c.send(opBinary, payload(letter, 10), true); err != nil {
					t.Fatal(err)
				}
				want += "\x82\x0a" + strings.Repeat(letter, 10)
				synctest.Wait()
			}
			if got := n.all(); got != want[:takes] {
				t.Errorf("%d bytes are taken: %q", takes, got)
			}
			if n.takes = 100; c.flush() != nil || len(n.all()) != takes { // nothing overtakes the goroutine
				t.Errorf("%q went while others wait", n.all())
			}
			n.gate <- struct{}{} // the rest of a, then b and c
			n.gate <- struct{}{}
			synctest.Wait()
			if n.all() != want || c.spilling != nil || c.taken != 0 || len(c.out) != 0 {
				t.Errorf("%q, want %q; spilling %v, %d taken, %d left", n.all(), want, c.spilling, c.taken, len(c.out))
			}
			if last := n.deadlines[len(n.deadlines)-1]; !last.IsZero() {
				t.Errorf("the deadline %v is left", last)
			}
			if err := c.send(opBinary, payload("d", 10), true); err != nil || n.all() != want+"\x82\x0adddddddddd" {
				t.Errorf("then %q: %v", n.all(), err)
			}
		})
	}
}

// A long payload is written without a copy. What the network does not take at once is
// copied, and written in parts, each with the full timeout.
func TestSpillOfALongPayload(t *testing.T) {
	for _, takes := range []int{0, 5, 10, 100} {
		synctest.Test(t, func(t *testing.T) {
			c, n := spilling(takes, time.Minute)
			long := payload("l", 2*fullBuffer+7)
			if err := c.send(opBinary, long, false); err != nil {
				t.Fatal(err)
			}
			for i := range long {
				long[i] = 'x' // it is the caller's again
			}
			if err := c.send(opPing, nil, true); err != nil {
				t.Fatal(err)
			}
			want := "\x82\x7f\x00\x00\x00\x00\x00\x02\x00\x07" + strings.Repeat("l", len(long)) + "\x89\x00"
			began := time.Now()
			var deadlines []time.Duration
			for n.all() != want {
				time.Sleep(40 * time.Second)
				n.gate <- struct{}{}
				synctest.Wait()
			}
			for _, d := range n.deadlines {
				if !d.IsZero() {
					deadlines = append(deadlines, d.Sub(began))
				}
			}
			for i, d := range deadlines {
				if d != time.Minute+time.Duration(i)*40*time.Second {
					t.Errorf("%d taken at once: deadlines of %v", takes, deadlines)
				}
			}
			for i, part := range n.wrote {
				if len(part) > fullBuffer {
					t.Errorf("part %d has %d bytes", i, len(part))
				}
			}
			if c.failure() != nil {
				t.Error(c.failure())
			}
		})
	}
}

// No more than pending bytes may wait, those being written included; allow raises that
// bound and never lowers it.
func TestPendingBytes(t *testing.T) {
	for _, c := range []struct {
		allow, bytes int // of frames after the first
		ok           bool
	}{
		{0, leastPending - 12, true}, {0, leastPending - 11, false}, {1000, leastPending - 12, true}, {leastPending + 9, leastPending - 3, true}, {leastPending + 9, leastPending - 2, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, n := spilling(0, time.Minute)
			conn.allow(c.allow)
			if err := conn.send(opBinary, payload("a", 10), true); err != nil { // 12 bytes
				t.Fatal(err)
			}
			synctest.Wait() // they are taken from out
			var err error
			for left := c.bytes; left > 0 && err == nil; {
				part := min(left-10, 1<<20) // of ten bytes of head
				if left-10-part < 1<<17 && left-10-part > 0 {
					part -= 1 << 17
				}
				err = conn.send(opBinary, make([]byte, part), true)
				left -= part + 10
			}
			if c.ok && err != nil || !c.ok && (!errors.Is(err, ErrSlowConsumer) || !strings.Contains(err.Error(), "4194") || n.closed.Load() != 1) {
				t.Errorf("%+v: %v, closed %d times", c, err, n.closed.Load())
			}
			if err != nil && conn.send(opPing, nil, true) != err {
				t.Error("a connection that was cut takes a frame")
			}
			_ = conn.net.Close()
			n.wire.fails = io.ErrClosedPipe
			close(n.gate)
		})
	}
}

// A failed write ends the connection with its error, a timeout with ErrSlowConsumer;
// the goroutine ends, and nothing more is written.
func TestSpillFails(t *testing.T) {
	for name, c := range map[string]struct{ fails, want error }{
		"closed": {io.ErrClosedPipe, io.ErrClosedPipe}, "timeout": {timeout{}, ErrSlowConsumer},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, n := spilling(0, time.Minute)
			for range 2 {
				if err := conn.send(opBinary, payload("a", 10), true); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			n.wire.fails = c.fails
			n.gate <- struct{}{}
			synctest.Wait()
			if !errors.Is(conn.failure(), c.want) || n.closed.Load() != 1 || conn.spilling != nil || len(conn.out) != 0 {
				t.Errorf("%s: %v, closed %d times, spilling %v", name, conn.failure(), n.closed.Load(), conn.spilling)
			}
			n.wire.fails, n.takes = nil, 100
			if err := conn.send(opPing, nil, true); err != conn.failure() || n.all() != "" {
				t.Errorf("%s: then %v, %q", name, err, n.all())
			}
		})
	}
	for name, set := range map[string]func(n *network){"of the try": func(n *network) { n.fails = syscall.EPIPE }, "of the socket": func(n *network) { n.err = syscall.EPIPE }} {
		conn, n := spilling(10, time.Minute)
		set(n)
		if err := conn.send(opPing, nil, true); err != syscall.EPIPE || conn.failure() != err || conn.spilling != nil {
			t.Errorf("an error %s: %v, %v", name, err, conn.failure())
		}
		set = func(n *network) { n.fails, n.err = nil, nil }
		if set(n); conn.send(opPing, nil, true) != syscall.EPIPE {
			t.Errorf("an error %s is forgotten", name)
		}
	}
}

// Ending a connection waits until pending bytes are written, at most for the timeout;
// then it is cut.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // the network takes what is pending
		cut   int
		want  time.Duration
	}{{"in time", 20 * time.Second, 1, 20 * time.Second}, {"too late", 2 * time.Minute, 2, 2 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			conn, n := spilling(0, time.Minute)
			if err := conn.send(opBinary, payload("a", 10), true); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			began := time.Now()
			cut := time.Duration(0)
			go func() {
				time.Sleep(c.after)
				if cut = 0; n.closed.Load() > 0 {
					cut = time.Minute
				}
				n.gate <- struct{}{}
				n.gate <- struct{}{}
			}()
			conn.end(closeNormal, "", 0)
			time.Sleep(time.Hour) // no timer cuts it again
			if int(n.closed.Load()) != c.cut || (cut > 0) != (c.cut > 1) || n.all() != "\x82\x0aaaaaaaaaaa\x88\x02\x03\xe8" {
				t.Errorf("%s: closed %d times after %v, said %q", c.name, n.closed.Load(), time.Since(began), n.all())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		conn, n := spilling(0, time.Minute)
		if err := conn.send(opBinary, payload("a", 10), true); err != nil {
			t.Fatal(err)
		}
		go func() { n.wire.fails = io.ErrClosedPipe; time.Sleep(time.Second); n.gate <- struct{}{} }()
		began := time.Now()
		if conn.close(); time.Since(began) != time.Second || n.closed.Load() < 1 { // its goroutine has ended
			t.Errorf("closed %d times after %v", n.closed.Load(), time.Since(began))
		}
	})
}

// Only a server's connection over a socket writes without blocking; a client's, and one
// that is no socket, blocks.
func TestWhoTries(t *testing.T) {
	client, server := tcpPair(t)
	if newConn(server, false, 1, time.Second).try == nil || newConn(client, true, 1, time.Second).try != nil || newConn(&wire{}, false, 1, time.Second).try != nil {
		t.Error("a server's socket is to be tried, and nothing else")
	}
	n := &network{wire: &wire{}}
	if newConn(n, false, 1, time.Second).try != nil {
		t.Error("a socket that gives no descriptor cannot be tried")
	}
	try := newTryWriter(server)
	total := 0
	for {
		k, err := try.write(make([]byte, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		if total += k; k == 0 { // it is full
			break
		}
	}
	if _, err := io.ReadFull(client, make([]byte, total)); err != nil {
		t.Error(err)
	}
	_ = server.Close()
	if _, err := try.write([]byte("x")); err == nil {
		t.Error("a closed socket takes a byte")
	}
}
