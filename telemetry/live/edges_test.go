package live

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// packets is a socket at which datagrams wait, and that fails after them.
type packets struct {
	net.PacketConn
	left []string
}

func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	if len(p.left) == 0 {
		return 0, nil, errors.New("no more")
	}
	n := copy(b, p.left[0])
	p.left = p.left[1:]
	return n, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}, nil
}

// Of datagrams that wait the oldest go, and are counted, while the counts are read.
func TestOverrunIsCounted(t *testing.T) {
	c := collectorOf(t, Config{})
	p := &packets{}
	for i := range 300 {
		p.left = append(p.left, fmt.Sprint(i))
	}
	p.left = append(p.left, strings.Repeat("x", maxDatagram+1))
	q := newQueue(3)
	done := make(chan error, 1)
	go func() { done <- c.receive(p, q) }()
	for {
		c.Stats()
		select {
		case err := <-done:
			if err == nil || err.Error() != "no more" || c.Stats().Overrun != 298 {
				t.Errorf("%d overrun, %v", c.Stats().Overrun, err)
			}
		default:
			continue
		}
		break
	}
	for _, want := range []string{"298", "299", strings.Repeat("x", maxDatagram)} {
		if _, b, ok := q.take(nil); !ok || string(b) != want {
			t.Errorf("%.9s of %d bytes, %v; want %.9s", b, len(b), ok, want)
		}
	}
	q.close()
	if _, _, ok := q.take(nil); ok {
		t.Error("there is one more")
	}
}

// link is a connection that notes its end.
type link struct {
	net.Conn
	closed int
}

func (l *link) Close() error { l.closed++; return nil }

// Of more than 64 connections the one that has waited for longest goes; those that are
// served and those that have ended do not wait.
func TestConnectionsThatWait(t *testing.T) {
	c := &conns{since: map[net.Conn]time.Time{}}
	var all []*link
	add := func() *link {
		l := &link{}
		all = append(all, l)
		c.state(l, http.StateNew)
		c.since[l] = time.Unix(int64(len(all)), 0)
		return l
	}
	closed := func() (at []int) {
		for i, l := range all {
			if l.closed > 0 {
				at = append(at, i)
			}
		}
		return at
	}
	for range maxConns {
		add()
	}
	c.state(all[0], http.StateActive)
	c.state(all[2], http.StateClosed)
	if add(); len(closed()) > 0 || c.open != maxConns || len(c.since) != maxConns-1 {
		t.Fatalf("%v closed, %d open, %d wait", closed(), c.open, len(c.since))
	}
	if add(); fmt.Sprint(closed()) != "[1]" || c.open != maxConns+1 {
		t.Fatalf("%v closed, %d open: want the second", closed(), c.open)
	}
	c.state(all[1], http.StateClosed)
	c.state(all[0], http.StateIdle) // waits anew, since now
	if add(); fmt.Sprint(closed()) != "[1 3]" || all[3].closed != 1 {
		t.Errorf("%v closed", closed())
	}
	c.state(all[3], http.StateClosed)
	for i, l := range all {
		if i != 1 && i != 2 && i != 3 {
			c.state(l, http.StateHijacked)
		}
	}
	if c.open != 0 || len(c.since) != 0 {
		t.Errorf("%d open, %d wait after the last", c.open, len(c.since))
	}
	// Nothing but a new one makes room.
	for range maxConns + 1 {
		add()
	}
	n := len(closed())
	if c.state(all[len(all)-1], http.StateIdle); len(closed()) != n {
		t.Error("an idle one made room")
	}
}

// A counter's rise: by second, none below 0, and of the first sample only that 0 is 0.
func TestRises(t *testing.T) {
	const second = int64(time.Second)
	at := func(s float64, v float64) *sample {
		x := &sample{at: int64(s * float64(second))}
		x.values[counter] = v
		return x
	}
	for _, x := range []struct {
		before, last *sample
		v            float64
		ok           bool
	}{
		{nil, at(1, 0), 0, true}, {nil, at(1, 1), 0, false}, {nil, at(1, .5), 0, false},
		{at(0, 5), at(1, 5), 0, true}, {at(0, 5), at(1, 5.5), .5, true}, {at(0, 5), at(1, 4), -1, false},
		{at(0, 5), at(2, 6), .5, true}, {at(0, 5), at(1.49, 6), 1, true}, {at(0, 5), at(1.5, 6), .5, true},
		{at(0, 5), at(.4, 6), 1, true},
	} {
		c := collectorOf(t, Config{})
		if v, ok := c.rise(x.before, x.last); v != x.v || ok != x.ok {
			t.Errorf("%+v to %+v: %v %v, want %v %v", x.before, x.last, v, ok, x.v, x.ok)
		}
	}
}

// A switch is heard of by a depth or a time in the queue, alone or both.
func TestHeardBy(t *testing.T) {
	for has, heard := range map[intreport.Field]bool{
		intreport.HasQueue: true, intreport.HasLatency: true, intreport.HasQueue | intreport.HasLatency: true,
		intreport.HasWait: true, intreport.HasPorts: false, intreport.HasEgressTime: false,
	} {
		c := collectorOf(t, Config{})
		c.Report(c.base.Add(5), &intreport.Report{Hops: []intreport.Hop{{Has: has | intreport.HasSwitch, Switch: 1, Wait: 1000, Latency: 1000}}})
		if want := map[bool]int64{true: 5, false: never}[heard]; c.heard[0] != want {
			t.Errorf("%v: heard at %d, want %d", has, c.heard[0], want)
		}
	}
}

// A header that cannot be one is named by its line.
func TestTailNamesTheHeader(t *testing.T) {
	for text, want := range map[string]string{"nonsense\n": "f:1", "\n\nnonsense\n": "f:3", strings.Repeat("0", maxLine+1) + "\nnonsense\n": "f:2"} {
		col := collectorOf(t, Config{})
		f := &follower{c: col, path: "f", line: 1}
		f.split([]byte(text))
		if s := col.Stats(); !strings.Contains(s.LastError, want+":") {
			t.Errorf("%.12q: %s, want %s", text, s.LastError, want)
		}
	}
}

// Nothing is negative: seconds, what settles, buffers.
func TestConfigNegative(t *testing.T) {
	for field, cfg := range map[string]Config{"second": {Second: -1}, "settle": {Settle: -1}, "reports": {Reports: -1}, "switches": {Switches: []uint32{}}} {
		if cfg.Switches == nil {
			cfg.Switches = []uint32{1}
		}
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "live: "+field+": ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
