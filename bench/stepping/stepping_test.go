package stepping

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// inProcess is a peer in this process.
func inProcess(t testing.TB) *Peer {
	t.Helper()
	in, stop := io.Pipe()
	read, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- ServePeer("", in, out) }()
	p := &Peer{end: func() { stop.Close() }}
	if err := json.NewDecoder(read).Decode(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

// Every kind has its figures, under names that stay, and raw TCP is the last of each.
func TestRun(t *testing.T) {
	calls := 0
	o := Options{Rounds: 2, Duration: time.Millisecond, Done: func() error { calls++; return nil }}
	r, err := Run(t.Context(), inProcess(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if calls != o.Calls() || calls != 6 {
		t.Errorf("Done was called %d times; Calls says %d", calls, o.Calls())
	}
	got := map[string]Figure{}
	for _, f := range r.Figures() {
		if f.Value < 0 || f.Value != f.Value {
			t.Errorf("%s is %v", f.Name, f.Value)
		}
		got[f.Name] = f
	}
	for _, n := range []int{1, 256, 1024} {
		for _, kind := range []string{"inprocess", "loopback", "pipelined64", "tcp"} {
			if n == 1024 && kind == "pipelined64" {
				continue
			}
			for figure, unit := range map[string]string{"p50": "us", "rate": "1/s", "allocs": "1/call", "p50_over_tcp": "ratio", "rate_over_tcp": "ratio"} {
				name := fmt.Sprintf("cartpole.n%d.%s.%s", n, kind, figure)
				f, ok := got[name]
				if bare := kind == "tcp" && figure != "p50" && figure != "rate"; ok == bare || ok && f.Unit != unit {
					t.Errorf("%s: %+v %v", name, f, ok)
				}
				delete(got, name)
			}
		}
	}
	if len(got) > 0 {
		t.Errorf("more than was expected: %v", got)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || strings.Count(b.String(), "\n") != 12 {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// RFC 6455, section 5.2: 2 bytes of header, 2 or 8 more for longer payloads, 4 for
// the mask.
func TestFrameBytes(t *testing.T) {
	for _, c := range []struct {
		payload int
		masked  bool
		want    int
	}{{0, false, 2}, {125, false, 127}, {126, false, 130}, {65535, false, 65539}, {65536, false, 65546}, {125, true, 131}, {65536, true, 65550}} {
		if got := frameBytes(c.payload, c.masked); got != c.want {
			t.Errorf("%d bytes, masked %v: %d, want %d", c.payload, c.masked, got, c.want)
		}
	}
}

// The raw exchange carries as many bytes as was asked for, in both directions.
func TestPingPong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var in, out int
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		pong(&counted{Conn: c, in: &in, out: &out})
	}()
	call, stop, err := pingPong(t.Context(), l.Addr().String(), 40, 300)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	<-done
	if in != 8+3*40 || out != 3*300 {
		t.Errorf("%d bytes in, %d out; want %d and %d", in, out, 8+3*40, 3*300)
	}
}

type counted struct {
	net.Conn
	in, out *int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	*c.in += n
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	*c.out += n
	return n, err
}
