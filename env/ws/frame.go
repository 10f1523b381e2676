package ws

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// WebSocket framing (RFC 6455) on a connection whose handshake is done.
//
// gorilla/websocket does the handshakes and is the oracle of the tests, but
// not the framing: its NextReader allocates for every message, its writer
// cannot coalesce frames, and it does not check the UTF-8 of text.

const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA

	maxControl  = 125     // bytes of a control frame's payload
	firstBuffer = 1 << 10 // bytes a connection starts with
	fullBuffer  = 64 << 10
)

// CloseError is the end of a connection with a close code, ours or the peer's.
type CloseError struct {
	Code int
	Text string
}

func (e *CloseError) Error() string { return fmt.Sprintf("websocket closed: %d %s", e.Code, e.Text) }

// The close codes of PROTOCOL.md.
const (
	closeNormal       = 1000
	closeGoingAway    = 1001
	closeProtocol     = 1002
	closeUTF8         = 1007
	closeTooBig       = 1009
	closeNoPong       = 4000
	closeSlow         = 4001
	closeIdle         = 4002
	closeBusy         = 4003
	closeBadFrame     = 4500
	closeBadVersion   = 4501
	closeUnauthorized = 4502
	closeLost         = 4503
	closeInternal     = 4504
)

// frameHead is the parsed start of a frame.
type frameHead struct {
	fin    bool
	op     byte
	size   int // bytes of the head itself
	length uint64
	key    [4]byte // where masked
}

// parseFrameHead reads a head off b; ok is false while b is too short.
func parseFrameHead(b []byte, masked bool) (h frameHead, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h.fin, h.op, h.size, h.length = b[0]&0x80 != 0, b[0]&0x0F, 2, uint64(b[1]&0x7F)
	control := h.op&8 != 0
	switch {
	case b[0]&0x70 != 0:
		return h, false, &CloseError{closeProtocol, "reserved bits are set"}
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, false, &CloseError{closeProtocol, fmt.Sprintf("opcode %d", h.op)}
	case control && (!h.fin || h.length > maxControl):
		return h, false, &CloseError{closeProtocol, "control frame in parts or longer than 125 bytes"}
	case (b[1]&0x80 != 0) != masked:
		return h, false, &CloseError{closeProtocol, "frames of a client are masked, those of a server are not"}
	}
	least := uint64(0) // that the form of the length is for
	switch h.length {
	case 126:
		least = 126
		h.size += 2
		if len(b) < h.size {
			return h, false, nil
		}
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		least = 1 << 16
		h.size += 8
		if len(b) < h.size {
			return h, false, nil
		}
		h.length = binary.BigEndian.Uint64(b[2:])
	}
	if h.length < least || h.length > math.MaxInt64 {
		return h, false, &CloseError{closeProtocol, "length in more bytes than it needs, or beyond 63 bits"}
	}
	if masked {
		if len(b) < h.size+4 {
			return h, false, nil
		}
		copy(h.key[:], b[h.size:])
		h.size += 4
	}
	return h, true, nil
}

// xor masks b with key, or takes the mask away.
func xor(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// frameReader reads messages. Nothing of a frame is consumed before all of it
// is there, so that a read deadline may pass at any byte and reading go on.
type frameReader struct {
	r      io.Reader
	masked bool // the peer is a client
	limit  int  // bytes of a message

	buf        []byte
	start, end int // what is read and not consumed

	fragmented bool
	part       []byte // of a fragmented message
	partOp     byte
	data       bool // a byte was read since somebody last set this to false
}

// next is the next message or control frame. The payload is a view that the
// following call ends. A *CloseError is what to tell the peer; any other
// error is the connection's.
func (f *frameReader) next() (op byte, payload []byte, err error) {
	for {
		h, ok, err := parseFrameHead(f.buf[f.start:f.end], f.masked)
		if err != nil {
			return 0, nil, err
		}
		if !ok {
			if err := f.fill(); err != nil {
				return 0, nil, err
			}
			continue
		}
		control := h.op&8 != 0
		if !control {
			if f.fragmented != (h.op == opContinue) {
				return 0, nil, &CloseError{closeProtocol, "message in parts: wrong continuation"}
			}
			if h.length > uint64(f.limit-len(f.part)) {
				return 0, nil, &CloseError{closeTooBig, fmt.Sprintf("message is longer than %d bytes", f.limit)}
			}
		}
		total := h.size + int(h.length)
		if f.end-f.start < total {
			if err := f.fill(); err != nil {
				return 0, nil, err
			}
			continue
		}
		p := f.buf[f.start+h.size : f.start+total : f.start+total]
		if f.masked {
			xor(p, h.key)
		}
		f.start += total
		op = h.op
		switch {
		case control:
			return op, p, nil
		case op == opContinue:
			f.part = append(f.part, p...)
			if !h.fin {
				continue
			}
			op, p, f.part, f.fragmented = f.partOp, f.part, nil, false
		case !h.fin:
			f.part, f.partOp, f.fragmented = bytes.Clone(p), op, true
			continue
		}
		if op == opText && !utf8.Valid(p) {
			return 0, nil, &CloseError{closeUTF8, "text is not UTF-8"}
		}
		return op, p, nil
	}
}

// fill reads more. The buffer grows with what has come, never with what a
// head announces.
func (f *frameReader) fill() error {
	if f.start == f.end {
		f.start, f.end = 0, 0
	}
	if f.end == len(f.buf) {
		to := f.buf
		if f.end-f.start > len(f.buf)/2 || len(f.buf) == 0 {
			to = make([]byte, max(2*len(f.buf), firstBuffer))
		}
		f.end = copy(to, f.buf[f.start:f.end])
		f.start, f.buf = 0, to
	}
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		f.data = true
		if f.end == len(f.buf) && len(f.buf) < fullBuffer { // more is waiting: read it with fewer calls
			to := make([]byte, min(4*len(f.buf), fullBuffer))
			f.end = copy(to, f.buf[f.start:f.end])
			f.start, f.buf = 0, to
		}
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// ready says whether next has a message, or an error, without reading. A
// control frame or part of a message is neither: who waits for a reply to an
// earlier message may send nothing else before it.
func (f *frameReader) ready() bool {
	h, ok, err := parseFrameHead(f.buf[f.start:f.end], f.masked)
	return err != nil || ok && h.fin && h.op&8 == 0 && uint64(f.end-f.start-h.size) >= h.length
}

// conn is a WebSocket connection: reads belong to one goroutine, writes are
// for all.
//
// A write takes what the network takes at once. What it does not is written
// by a goroutine of its own, spill, while requests go on being answered, until
// pending bytes wait: a peer that sends more before it reads is not locked
// out, one that stopped reading is cut. TLS cannot try a write without the
// danger of losing it, so there every write waits, for the timeout at most.
type conn struct {
	net     net.Conn
	in      frameReader
	timeout time.Duration // of a write that makes no progress

	mu       sync.Mutex // guards what follows
	out      []byte     // frames not yet written
	pending  int        // bytes that may wait while a goroutine, spill, writes
	spilling chan struct{}
	taken    int // bytes that it took from out and has not written
	head     [14]byte
	masked   bool // we are a client
	keys     []byte
	deadline time.Time   // set on net for writes
	waits    atomic.Bool // a write waits for the network
	err      error       // the first of a write; nothing is written after
	try      *tryWriter
}

const leastPending = 4 << 20

// newConn takes over c. limit is of the messages read. Writes of a client
// wait, as its caller does.
func newConn(c net.Conn, client bool, limit int, timeout time.Duration) *conn {
	n := &conn{net: c, masked: client, timeout: timeout, pending: leastPending, in: frameReader{r: c, masked: !client, limit: limit}}
	if !client {
		n.try = newTryWriter(c)
	}
	return n
}

// allow makes pending at least n bytes.
func (c *conn) allow(n int) {
	c.mu.Lock()
	c.pending = max(c.pending, n)
	c.mu.Unlock()
}

// send appends a frame and, if flush is set, writes all that was appended.
func (c *conn) send(op byte, payload []byte, flush bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	h := append(c.head[:0], 0x80|op)
	var mask byte
	if c.masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		h = append(h, mask|byte(n))
	case n < 1<<16:
		h = binary.BigEndian.AppendUint16(append(h, mask|126), uint16(n))
	default:
		h = binary.BigEndian.AppendUint64(append(h, mask|127), uint64(n))
	}
	if c.masked {
		if len(c.keys) < 4 {
			c.keys = append(c.keys[:0], make([]byte, 1024)...)
			if _, err := rand.Read(c.keys); err != nil {
				return err
			}
		}
		key := [4]byte(c.keys)
		c.keys = c.keys[4:]
		h = append(h, key[:]...)
		c.out = append(c.out, h...)
		at := len(c.out)
		c.out = append(c.out, payload...)
		xor(c.out[at:], key)
	} else {
		c.out = append(c.out, h...)
		if len(payload) > fullBuffer && c.spilling == nil { // not worth a copy
			if err := c.flushLocked(); err != nil {
				return err
			}
			if c.spilling == nil {
				return c.write(payload)
			}
		}
		c.out = append(c.out, payload...)
	}
	if c.spilling != nil && c.taken+len(c.out) > c.pending {
		c.err = fmt.Errorf("%w: %d bytes wait", ErrSlowConsumer, c.taken+len(c.out))
		_ = c.net.Close()
		return c.err
	}
	if flush || len(c.out) >= fullBuffer {
		return c.flushLocked()
	}
	return nil
}

// flush writes what send appended.
func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushLocked()
}

func (c *conn) flushLocked() error {
	if len(c.out) == 0 || c.err != nil || c.spilling != nil {
		return c.err
	}
	b := c.out
	c.out = c.out[:0]
	return c.write(b)
}

// write writes b; what it may keep of it is a copy, except where b is the
// memory of c.out, which is then c.out again.
func (c *conn) write(b []byte) error {
	if c.try == nil {
		c.err = c.wait(b)
		return c.err
	}
	n, err := c.try.write(b)
	if err != nil || n == len(b) {
		c.err = err
		return err
	}
	c.out = append(c.out[:0], b[n:]...)
	c.spilling = make(chan struct{})
	go c.spill()
	return nil
}

// wait writes all of b within the timeout; setting the deadline costs, so it
// is set a second too long at most once a second.
func (c *conn) wait(b []byte) error {
	if now := time.Now(); c.timeout > 0 && c.deadline.Sub(now) < c.timeout {
		c.deadline = now.Add(c.timeout + time.Second)
		if err := c.net.SetWriteDeadline(c.deadline); err != nil {
			return err
		}
	}
	c.waits.Store(true)
	_, err := c.net.Write(b)
	c.waits.Store(false)
	if isTimeout(err) {
		err = fmt.Errorf("%w: nothing was taken for %v", ErrSlowConsumer, c.timeout)
	}
	return err
}

// interrupt ends a write that waits for the network; the connection fails with it.
// For a client, whose caller waits as well.
func (c *conn) interrupt() {
	if c.waits.Load() {
		_ = c.net.SetWriteDeadline(time.Now())
	}
}

// unhurried removes interrupt's deadline from a connection whose write had ended
// before.
func (c *conn) unhurried() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = time.Time{}
	return c.net.SetWriteDeadline(c.deadline)
}

// spill writes c.out until it is empty. The timeout is that of a part, so
// that who reads slowly is only held to pending.
func (c *conn) spill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(c.spilling)
	for len(c.out) > 0 && c.err == nil {
		b := c.out
		c.out = nil
		for len(b) > 0 && c.err == nil {
			part := b[:min(len(b), fullBuffer)]
			c.taken, b = len(b), b[len(part):]
			c.mu.Unlock()
			err := c.net.SetWriteDeadline(time.Now().Add(c.timeout))
			if err == nil {
				_, err = c.net.Write(part)
			}
			c.mu.Lock()
			if c.err == nil && err != nil {
				if isTimeout(err) {
					err = fmt.Errorf("%w: nothing was taken for %v", ErrSlowConsumer, c.timeout)
				}
				c.err = err
				_ = c.net.Close() // the reader gets the error
			}
		}
	}
	c.taken = 0
	if c.err == nil {
		c.err = c.net.SetWriteDeadline(time.Time{})
	}
	c.out, c.spilling = nil, nil
}

// rest lets go of buffers that a busy hour has grown.
func (c *conn) rest() {
	if f := &c.in; f.start == f.end && len(f.buf) > firstBuffer {
		f.buf, f.start, f.end = nil, 0, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 && cap(c.out) > firstBuffer {
		c.out = nil
	}
}

// failure is the first error of a write.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// settle waits until nothing is pending, for the timeout at most.
func (c *conn) settle() {
	c.mu.Lock()
	done := c.spilling
	c.mu.Unlock()
	if done == nil {
		return
	}
	t := time.AfterFunc(c.timeout, func() { _ = c.net.Close() })
	<-done
	t.Stop()
}

// close cuts the connection; nothing writes to it afterwards.
func (c *conn) close() {
	_ = c.net.Close()
	c.settle()
}

// closePayload is the payload of a close frame.
func closePayload(code int, text string) []byte {
	if len(text) > maxControl-2 {
		text = text[:maxControl-2]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), text...)
}

// parseClose is the peer's close frame as an error, or the error in it.
func parseClose(p []byte) *CloseError {
	if len(p) == 0 {
		return &CloseError{1005, "no status"}
	}
	if len(p) == 1 {
		return &CloseError{closeProtocol, "close frame of one byte"}
	}
	code := int(binary.BigEndian.Uint16(p))
	switch {
	case code < 1000, code >= 1004 && code <= 1006, code >= 1015 && code < 3000, code > 4999:
		return &CloseError{closeProtocol, fmt.Sprintf("close code %d", code)}
	case !utf8.Valid(p[2:]):
		return &CloseError{closeUTF8, "close reason is not UTF-8"}
	}
	return &CloseError{code, string(p[2:])}
}

// end says goodbye with code and closes. Closing with unread input would
// reset the connection and may take what we wrote last with it, so input is
// read away until the peer closes, or for linger.
func (c *conn) end(code int, text string, linger time.Duration) {
	err := c.send(opClose, closePayload(code, text), true)
	c.settle()
	if half, ok := c.net.(interface{ CloseWrite() error }); ok && err == nil && linger > 0 {
		if half.CloseWrite() == nil && c.net.SetReadDeadline(time.Now().Add(linger)) == nil {
			_, _ = io.Copy(io.Discard, c.net)
		}
	}
	c.close()
}

func isTimeout(err error) bool {
	if err == nil {
		return false // before n, which escapes
	}
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
