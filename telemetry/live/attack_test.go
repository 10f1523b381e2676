package live_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

// One POST says nothing of the player later on, whatever times it carries.
func TestOnePostIsOneSample(t *testing.T) {
	for _, q := range []struct{ query, ts string }{
		{"", "1700000000000"}, {"?now=1700000000000", "1700000600000"}, {"?now=1700000000000", "9000000000000"}, {"?now=0.5", "99999999999999"},
		{"?now=1", "9223372036855"}, {"?now=1", "99999999999999"}, {"?now=99999999999999", "1"}, {"?now=4000000000000", "4000000000000"}, {"?now=1700000000000", "1600000000000"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := collector(t, live.Config{})
			post(t, c, q.query, `{"timestamp": `+q.ts+`, "Buffer": 30, "FPS": 30}`)
			start := time.Now()
			for _, h := range []time.Duration{0, time.Minute, time.Hour} {
				if _, _, age := window(t, c, start.Add(h), 4); age.Player < h+4*time.Second {
					t.Errorf("%s timestamp %s: the player is %v old, %v after the only post", q.query, q.ts, age.Player, h+4*time.Second)
				}
			}
		})
	}
}

// A sample that is later than its request is refused, with its time, and
// counted; one that came before is no news.
func TestFutureAndRepeatedSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector(t, live.Config{})
		code, answer := post(t, c, "?now=1700000000000", `{"timestamp": 1700000000001, "Buffer": 30}`)
		if s := c.Stats(); code != 200 || answer != `{"accepted":0}` || !strings.Contains(s.LastError, "1700000000001") || s.BadSamples != 1 || s.Samples != 0 {
			t.Errorf("%d %s, %+v", code, answer, s)
		}
		start := time.Now()
		for range 15 { // one sample, sent again and again
			post(t, c, "?now=1700000000000", `{"timestamp": 1700000000000, "Buffer": 30}`)
			time.Sleep(4 * time.Second)
		}
		if _, _, age := window(t, c, start.Add(56*time.Second), 4); age.Player < 56*time.Second || c.Stats().Replayed != 14 {
			t.Errorf("a repeated sample is %v old after a minute; %+v", age.Player, c.Stats())
		}
		// A player whose clock is set back goes on being heard, and its silence too.
		post(t, c, "?now=1600000000000", `{"timestamp": 1600000000000, "Buffer": 30}`)
		start = time.Now()
		if _, _, age := window(t, c, start, 4); age.Player != 4*time.Second {
			t.Errorf("after its clock was set back the player is %v old", age.Player)
		}
	})
}

// A report that is sent again, or one whose number is out of all order, does
// not make telemetry any younger.
func TestReplayedReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := func(seq uint32) []byte {
			b, err := intreport.Append(nil, intreport.Config{}, &intreport.Report{
				Format: intreport.V20, Node: 3, Tracked: true, Seq: seq, SeqBits: 22,
				Hops: []intreport.Hop{{Has: intreport.HasSwitch | intreport.HasLatency | intreport.HasQueue, Switch: 1, Depth: 9, Latency: 1000}},
			})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		c := collector(t, live.Config{Switches: []uint32{1}})
		for i := range uint32(10) {
			c.Datagram(time.Now(), report(1000+i))
			time.Sleep(time.Second)
		}
		start := time.Now()
		for i := range uint32(15) {
			c.Datagram(time.Now(), report(1005))        // as it came
			c.Datagram(time.Now(), report(3000000-7*i)) // out of all order
			time.Sleep(4 * time.Second)
		}
		if _, _, age := window(t, c, start, 60); age.Switches[0] < time.Minute {
			t.Errorf("after a minute of replayed and forged numbers the switch is %v old", age.Switches[0])
		}
		c.Datagram(time.Now(), report(1010))
		if _, _, age := window(t, c, time.Now(), 4); age.Switches[0] != 4*time.Second {
			t.Errorf("after a report of its own the switch is %v old", age.Switches[0])
		}
	})
}

func TestWhoMayPost(t *testing.T) {
	from, err := live.ParseFrom([]string{"10.0.0.7", "192.0.2.0/24", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := live.ParseFrom([]string{"lab"}); err == nil {
		t.Error(`from "lab" was accepted`)
	}
	const page, other = "https://player.example", "https://evil.example"
	for _, c := range []struct {
		access                   live.Access
		addr, origin, auth, path string
		code                     int
	}{
		{live.Access{}, "198.51.100.1:5", "", "", "/", 200}, // no page: a script, or the player's own program
		{live.Access{}, "198.51.100.1:5", other, "", "/", 403},
		{live.Access{Origins: []string{page}}, "198.51.100.1:5", page, "", "/", 200},
		{live.Access{Origins: []string{page}}, "198.51.100.1:5", other, "", "/", 403},
		{live.Access{From: from}, "10.0.0.7:5", "", "", "/", 200},
		{live.Access{From: from}, "192.0.2.9:5", "", "", "/", 200},
		{live.Access{From: from}, "[2001:db8::1]:5", "", "", "/", 200},
		{live.Access{From: from}, "[::ffff:10.0.0.7]:5", "", "", "/", 200},
		{live.Access{From: from}, "10.0.0.8:5", "", "", "/", 403},
		{live.Access{Token: "s3"}, "198.51.100.1:5", "", "", "/", 401},
		{live.Access{Token: "s3"}, "198.51.100.1:5", other, "Bearer s4", "/", 401},
		{live.Access{Token: "s3"}, "198.51.100.1:5", page, "Bearer s3", "/", 200},
		{live.Access{Token: "s3"}, "198.51.100.1:5", page, "", "/?token=s3", 200},
		{live.Access{Token: "s3", From: from}, "198.51.100.1:5", page, "", "/?token=s3", 403},
	} {
		col := collector(t, live.Config{PlayerAccess: c.access})
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(`{"timestamp": 1700000000000, "Buffer": 30}`))
		r.RemoteAddr = c.addr
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		w := httptest.NewRecorder()
		col.Player().ServeHTTP(w, r)
		s := col.Stats()
		if w.Code != c.code || (s.Samples == 1) != (c.code == 200) || (s.TurnedAway == 1) != (c.code != 200) {
			t.Errorf("%+v: %d, %d samples, %d turned away", c, w.Code, s.Samples, s.TurnedAway)
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got == "*" || c.code == 403 && got != "" && c.access.Token == "" {
			t.Errorf("%+v: allows %q", c, got)
		}
	}
}

// Reports are taken from the addresses that may send them.
func TestWhoMayReport(t *testing.T) {
	for from, want := range map[string]uint64{"127.0.0.1": 1, "192.0.2.1": 0} {
		c := collector(t, live.Config{Switches: []uint32{1}, Probes: live.Access{From: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(from), 32)}}})
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.ServeUDP(t.Context(), conn) }()
		out, err := net.Dial("udp", conn.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(out, "hello")
		for c.Stats().Packets+c.Stats().TurnedAway == 0 {
			time.Sleep(time.Millisecond)
		}
		if s := c.Stats(); s.Packets != want || s.TurnedAway != 1-want {
			t.Errorf("from %s: %+v", from, s)
		}
		out.Close()
		conn.Close()
		<-done
	}
}

// Silent connections lock no client out.
func TestIdleConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := collector(t, live.Config{})
	done := make(chan error, 1)
	go func() { done <- live.ServeHTTP(t.Context(), l, c.Player()) }()
	var idle []net.Conn
	for i := range 300 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // keep-alive after a request, or not a byte
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		idle = append(idle, conn)
	}
	r, err := http.Post("http://"+l.Addr().String()+"/", "application/json", strings.NewReader(`{"timestamp": 1700000000000, "Buffer": 30}`))
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%v, %v", r, err)
	}
	r.Body.Close()
	closed := 0
	for _, conn := range idle {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		for b := make([]byte, 1<<16); ; {
			if _, err := conn.Read(b); err != nil {
				if n, ok := err.(net.Error); !ok || !n.Timeout() {
					closed++
				}
				break
			}
		}
		conn.Close()
	}
	if closed < 200 {
		t.Errorf("%d of 300 idle connections were closed", closed)
	}
}
