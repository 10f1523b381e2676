package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
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

// A report is kept if one of its hops is of a switch and a port that are meant; it pushes out
// the oldest, which counts if no window has read it.
func TestReportsThatAreKept(t *testing.T) {
	hop := func(id, port uint32) intreport.Hop {
		return intreport.Hop{Has: intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue, Switch: id, Egress: port, Depth: 1}
	}
	for _, x := range []struct {
		hops                     []intreport.Hop
		kept                     int
		unknown, elsewhere, late uint64
	}{
		{nil, 0, 0, 0, 0},
		{[]intreport.Hop{hop(7, 2)}, 1, 0, 0, 0},
		{[]intreport.Hop{hop(5, 3)}, 1, 0, 0, 0},
		{[]intreport.Hop{hop(7, 3)}, 0, 0, 1, 0},
		{[]intreport.Hop{hop(5, 2)}, 0, 0, 1, 0},
		{[]intreport.Hop{hop(6, 2)}, 0, 1, 0, 0},
		{[]intreport.Hop{hop(6, 2), hop(5, 2), hop(7, 2)}, 1, 1, 1, 0},
		{[]intreport.Hop{hop(7, 2), hop(5, 3)}, 1, 0, 0, 0},
	} {
		c, err := New(Config{Switches: []uint32{7, 5}, Ports: []uint32{2, 3}})
		if err != nil {
			t.Fatal(err)
		}
		c.Report(c.base, &intreport.Report{Hops: x.hops})
		if s := c.Stats(); c.kept != x.kept || s.Unknown != x.unknown || s.Elsewhere != x.elsewhere || s.Late != x.late || s.Reports != 1 {
			t.Errorf("%+v: %d kept, %+v", x.hops, c.kept, s)
		}
	}
	c := collectorOf(t, Config{Reports: 2})
	for i, want := range []uint64{0, 0, 0, 1, 2} { // a window has read up to 2: the first two reports, of 0 and 1
		c.read = 2
		c.Report(c.base.Add(time.Duration(i)), &intreport.Report{Hops: []intreport.Hop{{Has: intreport.HasSwitch, Switch: 1}}})
		if i == 3 {
			want = 0
		} else if i == 4 {
			want = 1
		}
		if s := c.Stats(); s.Dropped != want || s.Late != uint64(min(i+1, 2)) {
			t.Errorf("report %d: %d dropped, %d late", i, s.Dropped, s.Late)
		}
	}
}

// A second's stall is that of all its samples, at most the second; the rest is its last sample's.
func TestStallsOfASecond(t *testing.T) {
	const second = int64(time.Second)
	for _, x := range []struct {
		stalls []float64
		want   float32
	}{{[]float64{0}, 0}, {[]float64{.25}, .25}, {[]float64{.25, .5}, .75}, {[]float64{.5, .25, 0}, .75}, {[]float64{.75, .5}, 1}, {[]float64{1}, 1}} {
		c := collectorOf(t, Config{Stalls: true})
		for i, v := range append([]float64{.9}, append(x.stalls, .9)...) {
			s := sample{at: 2 * second}
			switch i {
			case 0:
				s.at = 2*second - 1
			case len(x.stalls) + 1:
				s.at = 3 * second
			}
			s.values[lbo], s.valid[lbo], s.values[stall], s.valid[stall] = float64(i), true, v, true
			c.samples, c.newest = append(c.samples, s), i
		}
		values, valid := make([]float32, playerColumns), make([]bool, playerColumns)
		c.fillPlayer(2*second, 3*second, values, valid)
		if values[stall] != x.want || !valid[stall] || values[lbo] != float32(len(x.stalls)) {
			t.Errorf("%v: stall %v %v, buffer %v", x.stalls, values[stall], valid[stall], values[lbo])
		}
	}
}

// What cannot be a measurement is none, and leaves no number behind.
func TestRefusedSamples(t *testing.T) {
	c := collectorOf(t, Config{})
	var s sample
	s.values[lbo], s.valid[lbo], s.values[fps], s.valid[fps] = -5, true, 30, true
	c.keep(0, s)
	if got := c.samples[0]; got.valid[lbo] || got.values[lbo] != 0 || !got.valid[fps] || got.values[fps] != 30 {
		t.Errorf("%+v", got)
	}
	if r := c.Stats().Refused; len(r) != 1 || r[0].Column != "lbo_s" || r[0].Count != 1 {
		t.Errorf("%+v", r)
	}
}

// A clock that was set is aligned anew by its first stamp, whichever way it went.
func TestClockIsAlignedAnew(t *testing.T) {
	for _, move := range []int64{int64(time.Hour), -int64(time.Hour)} {
		var c clock
		c.align(0, 1e15, 0)
		for i, x := range []struct{ at, stamp, want int64 }{{100, 1e15 + move, 100}, {200, 1e15 + move + 90, 190}, {300, 1e15 + move + 205, 300}, {400, 1e15 + move + 300, 395}} {
			if got := c.align(x.at, uint64(x.stamp), 0); got != x.want || c.resets != 1 {
				t.Errorf("moved by %v, stamp %d: %d, want %d; %d resets", time.Duration(move), i, got, x.want, c.resets)
			}
		}
	}
}

// A captured packet is found behind the head of its link; what has less than that is foreign.
func TestLinks(t *testing.T) {
	d, err := intreport.NewDecoder(intreport.Config{Port: 9555})
	if err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0xc0, 0, 0x25, 0x53, 0, 20, 0, 0},
		0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2) // a postcard without a head
	for link, head := range map[uint16]int{1: 14, 101: 0, 228: 0, 229: 0, 113: 16, 276: 20} {
		b := append(make([]byte, head), packet...)
		if link == 1 {
			b[12], b[13] = 8, 0
		}
		n := 0
		if err := Decode(d, link, b, func(r *intreport.Report) { n += int(r.Seq) }); err != nil || n != 1 {
			t.Errorf("link %d: %d, %v", link, n, err)
		}
		for cut := range head + 20 {
			if err := Decode(d, link, b[:cut], func(*intreport.Report) { n++ }); !errors.Is(err, intreport.ErrForeign) || n != 1 {
				t.Errorf("link %d, %d bytes: %v", link, cut, err)
			}
		}
	}
	if err := Decode(d, 2, packet, func(*intreport.Report) { t.Error("a report") }); !errors.Is(err, intreport.ErrForeign) {
		t.Errorf("link 2: %v", err)
	}
}

// Faults of clocks are asked for while reports come.
func TestClockFaultBesideReports(t *testing.T) {
	c := collectorOf(t, Config{})
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := range 500 {
			c.Report(c.base.Add(time.Duration(i)*10*time.Millisecond), &intreport.Report{Hops: []intreport.Hop{{
				Has: intreport.HasSwitch | intreport.HasEgressTime, Switch: 1, EgressTime: uint64(i) * 1e4}}})
		}
	}()
	for ended := false; !ended; {
		c.ClockFault(0)
		select {
		case <-done:
			ended = true
		default:
		}
	}
	if got := c.ClockFault(0); !strings.Contains(got, "tick_ns = 1000 ") {
		t.Errorf("%q", got)
	}
}

// What was taken of a log is taken once.
func TestTailTakesOnce(t *testing.T) {
	c := collectorOf(t, Config{})
	path := t.TempDir() + "/log"
	text := "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n"
	f := &follower{c: c, path: path}
	defer f.close()
	for i := range 4 {
		text += fmt.Sprintf("%d;3;;;;\n", 1694912784000+1000*i)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.poll(); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); s.Samples != uint64(i+1) || s.Replayed != 0 || s.BadSamples != 0 {
			t.Errorf("after %d lines: %+v", i+1, s)
		}
	}
}

// A server ends well with its context, and with the error of its listener otherwise.
func TestServeHTTPEnds(t *testing.T) {
	for _, ended := range []bool{true, false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- ServeHTTP(ctx, l, http.NotFoundHandler()) }()
		r, err := http.Get("http://" + l.Addr().String())
		if err != nil || r.StatusCode != http.StatusNotFound {
			t.Fatal(r, err)
		}
		r.Body.Close()
		if ended {
			cancel()
		} else {
			l.Close()
		}
		if err := <-done; (err == nil) != ended || !ended && !errors.Is(err, net.ErrClosed) {
			t.Errorf("its context ended: %v; %v", ended, err)
		}
		cancel()
	}
}

// A request whose time cannot be one gives no sample; those of several requests at once are all counted.
func TestPostsAtOnce(t *testing.T) {
	c := collectorOf(t, Config{})
	post := func(query, body string) string {
		w := httptest.NewRecorder()
		c.Player().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+query, strings.NewReader(body)))
		return fmt.Sprint(w.Code, " ", w.Body)
	}
	for _, now := range []string{"x", "-1", "NaN", "1e300"} {
		if got := post("?now="+now, `{"timestamp": 1694912784759}`); !strings.HasPrefix(got, `400 {"accepted":0,`) || !strings.Contains(got, "now") {
			t.Errorf("now %s: %s", now, got)
		}
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 25 {
				post("", fmt.Sprintf("timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n%d;-3;30;;;\n", 1694912784000+1000*int64(25*i+k)))
				c.Stats()
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); len(s.Refused) != 1 || s.Refused[0].Column != "Buffer" || s.Refused[0].Count != 100 || s.BadSamples != 4 || s.Samples != 100 {
		t.Errorf("%+v", s)
	}
}

// A stamp says no more than its bits.
func TestStampsModuloWrap(t *testing.T) {
	const wrap = 1 << 32
	var a, b clock
	for i, stamp := range []uint64{5, 1000, wrap - 1, 7} {
		at := int64(i) * 1e9
		if x, y := a.align(at, stamp, wrap), b.align(at, stamp+uint64(i+1)*wrap, wrap); x != y {
			t.Errorf("stamp %d: %d, and %d with %d turns more", stamp, x, y, i+1)
		}
	}
}

// Jumps of all clocks are counted together, the player's too.
func TestResetsOfAllClocks(t *testing.T) {
	c, err := New(Config{Switches: []uint32{7, 5}})
	if err != nil {
		t.Fatal(err)
	}
	c.clocks[0].resets, c.clocks[1].resets, c.playerClock.resets = 1, 10, 100
	if got := c.Stats().ClockResets; got != 111 {
		t.Errorf("%d", got)
	}
}
