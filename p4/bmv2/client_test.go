package bmv2

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planegym/planegym/p4"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes are written out by hand from thrift-binary-protocol.md and
// simple_switch.thrift.
func TestGoldenBytes(t *testing.T) {
	for _, c := range []struct {
		name   string
		got    []byte
		golden string
	}{
		{"set_egress_queue_depth(port 2, depth 32), call 1", appendCall(nil, service, "set_egress_queue_depth", 1, i32(2), i32(32)), `
			80010001
			00000024 73696d706c655f737769746368 3a 7365745f6567726573735f71756575655f6465707468
			00000001
			08 0001 00000002
			08 0002 00000020
			00`},
		{"set_egress_queue_rate(port 1, 1000 packets/s), call 258", appendCall(nil, service, "set_egress_queue_rate", 258, i32(1), i64(1000)), `
			80010001
			00000023 73696d706c655f737769746368 3a 7365745f6567726573735f71756575655f72617465
			00000102
			08 0001 00000001
			0a 0002 00000000000003e8
			00`},
		{"get_time_elapsed_us(), call -1", appendCall(nil, service, "get_time_elapsed_us", -1), `
			80010001
			00000021 73696d706c655f737769746368 3a 6765745f74696d655f656c61707365645f7573
			ffffffff
			00`},
	} {
		if want := unhex(t, c.golden); !bytes.Equal(c.got, want) {
			t.Errorf("%s:\n%x\nwant\n%x", c.name, c.got, want)
		}
	}
}

func TestReadReply(t *testing.T) {
	const name = "00000016 7365745f6567726573735f71756575655f6465707468 "
	for _, c := range []struct {
		name, in, err string
		want          int64
	}{
		{"i32", "80010002" + name + "00000007 08 0000 00000000 00", "", 0},
		{"i32 -1", "80010002" + name + "00000007 08 0000 ffffffff 00", "", -1},
		{"i64", "80010002" + name + "00000007 0a 0000 0000000100000000 00", "", 1 << 32},
		{"void", "80010002" + name + "00000007 00", "", 0},
		{"fields of later versions", "80010002" + name + "00000007 0c 0000 08 0001 00000001 0f 0002 0b 00000001 00000001 41 00 00", "", 0},
		{"exception", "80010003" + name + "00000007 0b 0001 00000003 626164 08 0002 00000001 00", `bmv2: set_egress_queue_depth: the switch answers "bad" (kind 1)`, 0},
		{"declared exception", "80010002" + name + "00000007 0c 0001 08 0001 00000001 00 00", `bmv2: set_egress_queue_depth: the switch answers "exception 1 of the method" (kind 0)`, 0},
		{"not strict", "00000016", "bmv2: reply to set_egress_queue_depth: 0x00000016 is not a strict binary protocol", 0},
		{"another call", "80010002" + name + "00000008 00", "bmv2: reply to set_egress_queue_depth: it answers call 8, not 7", 0},
		{"another method", "80010002 00000001 41 00000007 00", `bmv2: reply to set_egress_queue_depth: it answers "A"`, 0},
		{"a call", "80010001" + name + "00000007 00", "bmv2: reply to set_egress_queue_depth: message type 1", 0},
		{"cut", "80010002" + name + "00000007 08", "bmv2: reply to set_egress_queue_depth: EOF", 0},
		{"long name", "80010002 7fffffff", "bmv2: reply to set_egress_queue_depth: a length of 2147483647", 0},
		{"unknown type", "80010002" + name + "00000007 63 0000 00", "bmv2: reply to set_egress_queue_depth: unknown type 99", 0},
	} {
		got, err := readReply(bytes.NewReader(unhex(t, c.in)), service, "set_egress_queue_depth", 7)
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("%s: %d, %v; want %d, %s", c.name, got, err, c.want, c.err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("\x80\x01\x00\x02\x00\x00\x00\x01A\x00\x00\x00\x07\x08\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x80\x01\x00\x02\x00\x00\x00\x01A\x00\x00\x00\x07\x0d\x00\x00\x0f\x0f\x00\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := readReply(bytes.NewReader(b), service, "A", 7)
		if err != nil && v != 0 {
			t.Errorf("%d with %v", v, err)
		}
	})
}

// fake is a simple_switch that speaks the same bytes.
type fake struct {
	l    net.Listener
	wait sync.WaitGroup

	mu     sync.Mutex
	depths map[string]int64
	uptime int64
	mute   bool
	conns  []net.Conn
}

func serve(t *testing.T) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{l: l, depths: map[string]int64{}, uptime: 1e6}
	f.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			f.wait.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for f.answer(in, conn) == nil {
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.hangUp()
		f.wait.Wait()
	})
	return f
}

func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

// answer serves one call.
func (f *fake) answer(in io.Reader, out io.Writer) error {
	r := &reader{r: in}
	head := uint32(r.i32())
	name := r.string()
	seq := r.i32()
	var args []int64
	for r.err == nil {
		t := r.i8()
		if t == typeStop {
			break
		}
		r.i16()
		if t == typeI64 {
			args = append(args, r.i64())
		} else {
			args = append(args, int64(r.i32()))
		}
	}
	if r.err != nil {
		return r.err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mute {
		return nil
	}
	_, method, _ := strings.Cut(name, ":")
	w := &bytes.Buffer{}
	write := func(kind uint32, fields string) {
		fmt.Fprintf(w, "%08x%08x%x%08x%s00", version|kind, len(method), method, uint32(seq), fields)
	}
	switch {
	case head != version|call:
		return errors.New("no call")
	case name == "simple_switch:get_time_elapsed_us":
		f.uptime++
		write(reply, fmt.Sprintf("0a0000%016x", f.uptime))
	case name == "simple_switch:set_egress_queue_depth", name == "simple_switch:set_egress_priority_queue_depth", name == "simple_switch:set_egress_queue_rate":
		f.depths[fmt.Sprint(method, args[:len(args)-1])] = args[len(args)-1]
		write(reply, "08000000000000")
	default:
		write(exception, fmt.Sprintf("0b0001%08x%x08000200000001", len("Invalid method name"), "Invalid method name"))
	}
	b, err := hex.DecodeString(w.String())
	if err == nil {
		_, err = out.Write(b)
	}
	return err
}

func (f *fake) depth(key string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.depths[key]
}

func dial(t *testing.T, f *fake) *Client {
	t.Helper()
	c, err := New(Config{Addr: f.l.Addr().String(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSetLimit(t *testing.T) {
	f := serve(t)
	c := dial(t, f)
	ctx := t.Context()
	if _, err := c.Limit(ctx, 2); !errors.Is(err, p4.ErrNoLimit) {
		t.Errorf("limit before any was set: %v", err)
	}
	for _, l := range []p4.Limit{64, 32} {
		if err := c.SetLimit(ctx, 2, l); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Limit(ctx, 2); err != nil || got != l || f.depth("set_egress_queue_depth[2]") != int64(l) {
			t.Errorf("told %d, %v; the switch has %d; want %d", got, err, f.depth("set_egress_queue_depth[2]"), l)
		}
	}
	if err := c.SetPriorityQueueDepth(ctx, 1, 3, 16); err != nil || f.depth("set_egress_priority_queue_depth[1 3]") != 16 {
		t.Errorf("priority queue: %v, %v", err, f.depths)
	}
	if err := c.SetQueueRate(ctx, 1, 1000); err != nil || f.depth("set_egress_queue_rate[1]") != 1000 {
		t.Errorf("rate: %v, %v", err, f.depths)
	}
	if err := c.SetLimit(ctx, 2, 0); err == nil {
		t.Error("limit 0 was accepted")
	}
	var refused *SwitchError
	if err := c.done(ctx, "no_such_call"); !errors.As(err, &refused) || refused.Kind != 1 {
		t.Errorf("unknown method: %v", err)
	}
	if err := c.SetLimit(ctx, 2, 64); err != nil { // the connection survives it
		t.Error(err)
	}
}

func TestReconnectAndRestart(t *testing.T) {
	f := serve(t)
	c := dial(t, f)
	ctx := t.Context()
	if err := c.SetLimit(ctx, 2, 32); err != nil {
		t.Fatal(err)
	}
	f.hangUp()
	if err := c.SetLimit(ctx, 2, 64); !errors.Is(err, p4.ErrUnreachable) {
		t.Errorf("on a broken connection: %v, want %v", err, p4.ErrUnreachable)
	}
	if _, err := c.Limit(ctx, 2); !errors.Is(err, p4.ErrNoLimit) {
		t.Errorf("a write without an answer leaves the limit unknown: %v", err)
	}
	if err := c.SetLimit(ctx, 2, 64); err != nil {
		t.Fatal(err)
	}
	f.hangUp()
	f.mu.Lock()
	f.uptime = 10 // it was restarted
	f.mu.Unlock()
	_, _ = c.Limit(ctx, 2)
	if _, err := c.Limit(ctx, 2); !errors.Is(err, p4.ErrNoLimit) {
		t.Errorf("after a restart: %v, want %v", err, p4.ErrNoLimit)
	}
}

func TestTimeout(t *testing.T) {
	f := serve(t)
	c := dial(t, f)
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.SetLimit(ctx, 1, 32); !errors.Is(err, p4.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a mute switch: %v", err)
	}
	f.mu.Lock()
	f.mute = false
	f.mu.Unlock()
	if err := c.SetLimit(t.Context(), 1, 32); err != nil {
		t.Errorf("after it: %v", err)
	}
	c.Close()
	if err := c.SetLimit(t.Context(), 1, 32); !errors.Is(err, p4.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := New(Config{Addr: "x"}); err == nil || err.Error() != `bmv2: addr: "x" is not host:port` {
		t.Errorf("addr x: %v", err)
	}
}

// TestRealSwitch sets depths on real switches: the Thrift addresses in
// PLANEGYM_BMV2_THRIFT, host:port,….
func TestRealSwitch(t *testing.T) {
	addrs := os.Getenv("PLANEGYM_BMV2_THRIFT")
	if addrs == "" {
		t.Skip("PLANEGYM_BMV2_THRIFT names no simple_switch")
	}
	for addr := range strings.SplitSeq(addrs, ",") {
		c, err := New(Config{Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, l := range []p4.Limit{64, 32, 64, 32} {
			if err := c.SetLimit(t.Context(), 1, l); err != nil {
				t.Fatal(err)
			}
		}
		up, err := c.Uptime(t.Context())
		t.Logf("%s: up %v, %v", addr, up, err)
	}
}
