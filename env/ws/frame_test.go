package ws

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A frame's head is parsed once all of it has arrived, and refused where RFC 6455,
// section 5.2, says so.
func TestFrameHeads(t *testing.T) {
	long := func(form byte, n uint64, bytes int) string { // a binary frame's length in so many bytes
		b := []byte{0x82, form}
		for i := bytes - 1; i >= 0; i-- {
			b = append(b, byte(n>>(8*i)))
		}
		return string(b)
	}
	for _, c := range []struct {
		b    string
		want frameHead
	}{
		{"\x82\x00", frameHead{fin: true, op: opBinary, size: 2}},
		{"\x01\x01", frameHead{op: opText, size: 2, length: 1}},
		{"\x00\x7d", frameHead{op: opContinue, size: 2, length: 125}},
		{"\x88\x7d", frameHead{fin: true, op: opClose, size: 2, length: 125}},
		{"\x8a\x00", frameHead{fin: true, op: opPong, size: 2}},
		{long(126, 126, 2), frameHead{fin: true, op: opBinary, size: 4, length: 126}},
		{long(126, 1<<16-1, 2), frameHead{fin: true, op: opBinary, size: 4, length: 1<<16 - 1}},
		{long(127, 1<<16, 8), frameHead{fin: true, op: opBinary, size: 10, length: 1 << 16}},
		{long(127, math.MaxInt64, 8), frameHead{fin: true, op: opBinary, size: 10, length: math.MaxInt64}},
	} {
		for _, masked := range []bool{false, true} {
			b, want := []byte(c.b), c.want
			if masked {
				b[1] |= 0x80
				b = append(b, 9, 8, 7, 6)
				want.key, want.size = [4]byte{9, 8, 7, 6}, want.size+4
			}
			for n := range b {
				if h, ok, err := parseFrameHead(b[:n], masked); ok || err != nil {
					t.Errorf("%x: of %d bytes: %+v, %v", b, n, h, err)
				}
			}
			if h, ok, err := parseFrameHead(b, masked); h != want || !ok || err != nil {
				t.Errorf("%x: %+v, %v, %v, want %+v", b, h, ok, err, want)
			}
			if h, ok, err := parseFrameHead(append(b, 1), masked); h != want || !ok || err != nil {
				t.Errorf("%x and a byte: %+v, %v, %v, want %+v", b, h, ok, err, want)
			}
			if _, _, err := parseFrameHead(b, !masked); err == nil {
				t.Errorf("%x of the other side is taken", b)
			}
		}
	}
	for _, b := range []string{
		"\xc2\x00", "\xa2\x00", "\x92\x00", "\x83\x00", "\x87\x00", "\x8b\x00", "\x8f\x00", "\x08\x00", "\x89\x7e\x00\x7e",
		long(126, 125, 2), long(127, 1<<16-1, 8), long(127, 1<<63, 8),
	} {
		var closed *CloseError
		if _, ok, err := parseFrameHead([]byte(b), false); ok || !errors.As(err, &closed) || closed.Code != closeProtocol {
			t.Errorf("%x: %v, %v", b, ok, err)
		}
	}
}

// Masking is byte by byte, whatever the length, and its own inverse.
func TestMask(t *testing.T) {
	key := [4]byte{1, 2, 4, 128}
	for n := range 40 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(3 * i)
		}
		want := slices.Clone(b)
		for i := range want {
			want[i] ^= key[i%4]
		}
		if xor(b, key); !bytes.Equal(b, want) {
			t.Errorf("%d bytes: %x, want %x", n, b, want)
		}
	}
}

// reader reads s, so many bytes at a time.
type reader struct {
	s    string
	size int
}

func (r *reader) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(r.size, len(p))], r.s)
	r.s = r.s[n:]
	return n, nil
}

// Messages are read whole, whether they come in fragments, between control frames or
// cut anywhere; no message comes with an error.
func TestMessages(t *testing.T) {
	const limit = 20
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct{ sent, want string }{
		{frame(fin|opText, "ab") + frame(fin|opBinary, "\xff") + frame(fin|opPing, "p"), `1 "ab", 2 "\xff", 9 "p", EOF`},
		{frame(opText, "a") + frame(fin|opPing, "p") + frame(opContinue, "") + frame(opContinue, "b") + frame(fin|opContinue, "c") + frame(fin|opText, "d"), `9 "p", 1 "abc", 1 "d", EOF`},
		{frame(opBinary, "a") + frame(fin|opContinue, "") + frame(opText, "") + frame(fin|opContinue, "b"), `2 "a", 1 "b", EOF`},
		{frame(fin|opContinue, "a"), "1002"},
		{frame(opText, "a") + frame(fin|opText, "b"), "1002"},
		{frame(opText, "a") + frame(fin|opContinue, "b") + frame(fin|opContinue, "c"), `1 "ab", 1002`},
		{frame(fin|opText, x(limit)) + frame(fin|opBinary, x(limit+1)), fmt.Sprintf("1 %q, 1009", x(limit))},
		{frame(opText, x(5)) + frame(fin|opContinue, x(limit-5)) + frame(opText, x(5)) + frame(fin|opContinue, x(limit-4)), fmt.Sprintf("1 %q, 1009", x(limit))},
		{frame(fin|opPing, x(limit+1)), fmt.Sprintf("9 %q, EOF", x(limit+1))}, // is no message
		{frame(opText, "\xe2\x82") + frame(fin|opContinue, "\xac"), `1 "€", EOF`},
		{frame(opText, "\xe2\x82") + frame(fin|opContinue, "a"), "1007"},
		{frame(fin|opText, "a\xff"), "1007"},
	} {
		for size := range 30 {
			f := frameReader{r: &reader{c.sent, size + 1}, masked: true, limit: limit}
			var got []string
			for {
				op, p, err := f.next()
				if err == nil {
					got = append(got, fmt.Sprintf("%d %q", op, p))
					continue
				}
				if op != 0 || p != nil {
					t.Errorf("%q: a message %d %q with %v", c.sent, op, p, err)
				}
				var closed *CloseError
				if errors.As(err, &closed) {
					got = append(got, fmt.Sprint(closed.Code))
				} else {
					got = append(got, err.Error())
				}
				break
			}
			if g := strings.Join(got, ", "); g != c.want {
				t.Errorf("%q in pieces of %d: %s, want %s", c.sent, size+1, g, c.want)
			}
		}
	}
	f := frameReader{r: &reader{frame(fin|opText, "ab"), 1}, masked: true, limit: limit}
	if err := f.fill(); err != nil || !f.data { // half a head is a sign of life
		t.Errorf("a byte was read: %v, %v", f.data, err)
	}
	f = frameReader{r: &reader{"x", 0}, limit: limit}
	if _, _, err := f.next(); err != io.ErrNoProgress {
		t.Errorf("a reader that reads nothing: %v", err)
	}
}

// The read buffer doubles as messages get longer, at once for a long one, and does not
// grow with their number.
func TestReadBuffer(t *testing.T) {
	small := strings.Repeat(frame(fin|opText, strings.Repeat("x", 94)), 1000) // of 100 bytes
	for _, size := range []int{1, 100} {
		f := frameReader{r: &reader{small, size}, masked: true, limit: 1 << 20}
		for range 1000 {
			if _, p, err := f.next(); err != nil || len(p) != 94 {
				t.Fatal(len(p), err)
			}
		}
		if len(f.buf) != firstBuffer {
			t.Errorf("after small messages in pieces of %d there are %d bytes", size, len(f.buf))
		}
	}
	for _, c := range []struct{ message, piece, want int }{
		{500, 500, firstBuffer}, {2000, 500, 4 * firstBuffer}, {2000, 1 << 20, 4 * firstBuffer}, {50_000, 1 << 20, fullBuffer}, {200_000, 1 << 20, 4 * fullBuffer},
	} {
		f := frameReader{r: &reader{frame(fin|opText, strings.Repeat("x", c.message)), c.piece}, masked: true, limit: 1 << 20}
		if _, p, err := f.next(); err != nil || len(p) != c.message {
			t.Fatal(len(p), err)
		}
		if len(f.buf) != c.want {
			t.Errorf("a message of %d bytes in pieces of %d takes %d bytes, want %d", c.message, c.piece, len(f.buf), c.want)
		}
	}
	// What has come of the next message moves to the front, where it is less than half.
	f := frameReader{r: &reader{strings.Repeat(frame(fin|opText, strings.Repeat("x", 40_000-8)), 20), 1 << 20}, masked: true, limit: 1 << 20}
	for i := range 20 {
		if _, p, err := f.next(); err != nil || len(p) != 40_000-8 || len(f.buf) > fullBuffer {
			t.Fatalf("message %d: %d bytes, %v, in a buffer of %d", i, len(p), err, len(f.buf))
		}
	}
}

// A reply may wait to be flushed only if the buffer has the next message already, whole
// or malformed.
func TestReady(t *testing.T) {
	text := frame(fin|opText, "abc")
	for _, c := range []struct {
		there string
		want  bool
	}{
		{"", false}, {text[:1], false}, {text[:6], false}, {text[:len(text)-1], false}, {text, true}, {text + text, true}, {frame(fin|opText, ""), true},
		{frame(fin|opPing, ""), false}, {frame(fin|opClose, ""), false}, {frame(opText, "abc"), false}, {frame(fin|opContinue, "abc"), true}, {"\xf2\x80", true},
	} {
		for _, before := range []string{"", frame(fin|opText, strings.Repeat("x", 50))} {
			f := frameReader{buf: []byte(before + c.there + "......"), start: len(before), end: len(before + c.there), masked: true}
			if got := f.ready(); got != c.want {
				t.Errorf("%q after %d bytes: %v", c.there, len(before), got)
			}
		}
	}
}

// wire is a network that records what is written and when it would time out.
type wire struct {
	net.Conn
	wrote     []string
	deadlines []time.Time
	closed    atomic.Int32
	reads     time.Time
	half      int
	fails     error
	gate      chan struct{} // nil: a write does not wait; else for a value each
}

func (w *wire) Write(b []byte) (int, error) {
	if w.gate != nil {
		<-w.gate
	}
	if w.fails != nil {
		return 0, w.fails
	}
	w.wrote = append(w.wrote, string(b))
	return len(b), nil
}
func (w *wire) Read([]byte) (int, error)           { return 0, io.EOF }
func (w *wire) SetWriteDeadline(t time.Time) error { w.deadlines = append(w.deadlines, t); return nil }
func (w *wire) SetReadDeadline(t time.Time) error  { w.reads = t; return nil }
func (w *wire) CloseWrite() error                  { w.half++; return nil }
func (w *wire) Close() error                       { w.closed.Add(1); return nil }
func (w *wire) all() string                        { return strings.Join(w.wrote, "") }

// A frame is written with the shortest head for its length; a client's is masked, by
// another key each time.
func TestSentFrames(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 1<<16 - 1, 1 << 16, 1<<16 + 1} {
		payload := strings.Repeat("p", n)
		head := []byte{0x82, byte(n)}
		switch {
		case n >= 1<<16:
			head = []byte{0x82, 127, 0, 0, 0, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}
		case n > 125:
			head = []byte{0x82, 126, byte(n >> 8), byte(n)}
		}
		w := &wire{}
		c := newConn(w, false, 1, time.Minute)
		if err := c.send(opBinary, []byte(payload), true); err != nil || w.all() != string(head)+payload {
			t.Errorf("%d bytes: %v, head % x, want % x", n, err, w.all()[:min(len(head), len(w.all()))], head)
		}
		if calls := map[bool]int{false: 1, true: 2}[n > fullBuffer]; len(w.wrote) != calls { // a long one is not copied
			t.Errorf("%d bytes in %d writes, want %d", n, len(w.wrote), calls)
		}
		w = &wire{}
		c = newConn(w, true, 1, time.Minute)
		head[1] |= 0x80
		err := c.send(opBinary, []byte(payload), true)
		got := []byte(w.all())
		if err != nil || len(got) != len(head)+4+n || !bytes.Equal(got[:len(head)], head) {
			t.Errorf("%d bytes, masked: %v, %d bytes", n, err, len(got))
			continue
		}
		key := got[len(head) : len(head)+4]
		for i, b := range got[len(head)+4:] {
			if b^key[i%4] != 'p' {
				t.Fatalf("%d bytes, masked: byte %d is %q", n, i, b^key[i%4])
			}
		}
	}
	w := &wire{}
	c, keys := newConn(w, true, 1, time.Minute), map[string]bool{}
	const frames = 1000
	for range frames {
		w.wrote = nil
		if err := c.send(opPong, nil, true); err != nil || len(w.all()) != 6 {
			t.Fatalf("%v: % x", err, w.all())
		}
		keys[w.all()[2:]] = true
	}
	if len(keys) < frames-1 { // of 2^32, two are equal one time in 8,600
		t.Errorf("%d keys of %d frames", len(keys), frames)
	}
}

// Frames wait for flush, or until there are fullBuffer bytes of them.
func TestFlush(t *testing.T) {
	w := &wire{}
	c := newConn(w, false, 1, time.Minute)
	part := make([]byte, fullBuffer/2-4) // half of it, head included
	for i, want := range []int{0, 1, 1, 2} {
		if err := c.send(opBinary, part, false); err != nil || len(w.wrote) != want {
			t.Errorf("after %d halves %d writes, want %d: %v", i+1, len(w.wrote), want, err)
		}
	}
	if err := c.flush(); err != nil || len(w.wrote) != 2 {
		t.Errorf("nothing waits, and %d writes: %v", len(w.wrote), err)
	}
	if err := c.send(opPing, nil, false); err != nil || len(w.wrote) != 2 {
		t.Errorf("%d writes: %v", len(w.wrote), err)
	}
	if err := c.flush(); err != nil || len(w.wrote) != 3 || w.wrote[2] != "\x89\x00" {
		t.Errorf("%q: %v", w.wrote[2:], err)
	}
	w.fails = io.ErrClosedPipe
	if err := c.send(opPing, nil, true); err != io.ErrClosedPipe || c.failure() != io.ErrClosedPipe {
		t.Errorf("%v, %v", err, c.failure())
	}
	w.fails = nil
	for name, err := range map[string]error{"send": c.send(opPing, nil, true), "flush": c.flush()} {
		if err != io.ErrClosedPipe || len(w.wrote) != 3 {
			t.Errorf("%s after a failed write: %v, %d writes", name, err, len(w.wrote))
		}
	}
}

// The deadline of writes is a second beyond the timeout, and set when that second is
// over; without a timeout there is none.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		c := newConn(w, true, 1, 5*time.Second)
		began := time.Now()
		for _, s := range []struct {
			after time.Duration
			sets  int
		}{{0, 1}, {time.Second, 1}, {time.Nanosecond, 2}, {time.Second - 1, 2}, {time.Minute, 3}} {
			time.Sleep(s.after)
			if err := c.send(opPong, nil, true); err != nil || len(w.deadlines) != s.sets {
				t.Errorf("after %v the deadline was set %d times, want %d: %v", time.Since(began), len(w.deadlines), s.sets, err)
			}
		}
		if !w.deadlines[0].Equal(began.Add(6*time.Second)) || !w.deadlines[1].Equal(began.Add(7*time.Second+1)) {
			t.Errorf("deadlines %v from %v", w.deadlines, began)
		}
		for _, timeout := range []time.Duration{0, -1} {
			w = &wire{}
			if err := newConn(w, true, 1, timeout).send(opPong, nil, true); err != nil || len(w.deadlines) != 0 {
				t.Errorf("a timeout of %v sets %v: %v", timeout, w.deadlines, err)
			}
		}
		w.fails = timeout{}
		if err := newConn(w, true, 1, time.Second).send(opPong, nil, true); !errors.Is(err, ErrSlowConsumer) {
			t.Errorf("a write that timed out: %v", err)
		}
	})
}

type timeout struct{}

func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }
func (timeout) Error() string   { return "timeout" }

// interrupt ends a write that waits, and touches nothing else.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{gate: make(chan struct{})}
		c := newConn(w, true, 1, 0)
		c.interrupt()
		if len(w.deadlines) != 0 {
			t.Errorf("nothing is written, and the deadline is %v", w.deadlines)
		}
		go func() { _ = c.send(opPong, nil, true) }()
		synctest.Wait()
		c.interrupt()
		if len(w.deadlines) != 1 || w.deadlines[0].After(time.Now()) {
			t.Errorf("deadlines %v of a write that waits", w.deadlines)
		}
		w.gate <- struct{}{}
		synctest.Wait()
		if c.interrupt(); len(w.deadlines) != 1 {
			t.Errorf("the write is over, and the deadlines are %v", w.deadlines)
		}
	})
}

// A close frame holds its code and as much of the reason as fits, without cutting a
// character.
func TestClosePayload(t *testing.T) {
	x := strings.Repeat("x", 120)
	for reason, want := range map[string]string{
		"": "", "bye": "bye", x + "abc": x + "abc", x + "abcd": x + "abc", x + "ab€": x + "ab", x + "€": x + "€", x + "a€": x + "a", x + "aé": x + "aé", x + "abé": x + "ab",
		x + "😀": x, x[1:] + "😀": x[1:] + "😀",
	} {
		if got := closePayload(4500, reason); string(got) != "\x11\x94"+want {
			t.Errorf("%q: %q, want %q", reason, got, want)
		}
	}
	for payload, want := range map[string]CloseError{
		"": {1005, "no status"}, "\x03": {closeProtocol, "close frame of one byte"}, "\x03\xe8": {1000, ""}, "\x03\xe8bye": {1000, "bye"}, "\x13\x87é": {4999, "é"},
		"\x03\xe8\xff": {closeUTF8, "close reason is not UTF-8"}, "\x03\xe8a\xff": {closeUTF8, "close reason is not UTF-8"},
	} {
		if got := parseClose([]byte(payload)); *got != want {
			t.Errorf("%q: %v, want %v", payload, got, want)
		}
	}
	for code, ok := range map[int]bool{
		0: false, 999: false, 1000: true, 1001: true, 1003: true, 1004: false, 1005: false, 1006: false, 1007: true, 1014: true, 1015: false, 1016: false,
		2999: false, 3000: true, 3001: true, 4999: true, 5000: false, 65535: false,
	} {
		want := code
		if !ok {
			want = closeProtocol
		}
		if got := parseClose([]byte{byte(code >> 8), byte(code)}); got.Code != want {
			t.Errorf("code %d is read as %v", code, got)
		}
	}
}

// A connection ends with a close frame, stops writing, and discards what still arrives
// for the given time; if it cannot write, it closes at once.
func TestConnectionEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		linger time.Duration
		fails  error
		half   int
	}{{"with a linger", time.Second, nil, 1}, {"at once", 0, nil, 0}, {"after a failure", time.Second, io.ErrClosedPipe, 0}} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{fails: c.fails}
			newConn(w, false, 1, time.Minute).end(4002, "idle", c.linger)
			if w.half != c.half || w.closed.Load() != 1 || (c.half > 0) != w.reads.Equal(time.Now().Add(c.linger)) {
				t.Errorf("%s: half closed %d times, closed %d times, reads until %v", c.name, w.half, w.closed.Load(), w.reads)
			}
			if c.fails == nil && w.all() != "\x88\x06\x0f\xa2idle" {
				t.Errorf("%s: said %q", c.name, w.all())
			}
		})
	}
}

// At rest a connection frees the buffers that are larger than firstBuffer, and no others.
func TestRestOfASmallConnection(t *testing.T) {
	f := frame(fin|opText, "hello")
	c := newConn(&wire{}, false, 100, time.Minute)
	c.in.r, c.in.masked = &reader{f + f + f, len(f)}, true
	for i, room := range []int{firstBuffer, firstBuffer, firstBuffer + 1} {
		if _, p, err := c.in.next(); string(p) != "hello" || err != nil {
			t.Fatal(p, err)
		}
		if i == 1 {
			c.in.buf = append(c.in.buf, 0) // one byte more
		}
		c.out = make([]byte, 0, room)
		c.rest()
		if kept := c.in.buf != nil; kept != (i != 1) {
			t.Errorf("message %d: %d bytes of what was read are kept", i, len(c.in.buf))
		}
		if kept := c.out != nil; kept != (room <= firstBuffer) {
			t.Errorf("message %d: %d of %d bytes of what was written are kept", i, cap(c.out), room)
		}
	}
}
