package live_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

func request(c *live.Collector, method, target, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.Player().ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w
}

// postAt posts a body that comes at a time of ours, by its own clock the same.
func postAt(t testing.TB, c *live.Collector, at time.Time, body string) (int, string) {
	t.Helper()
	return post(t, c, fmt.Sprintf("?now=%d", at.UnixMilli()+time.Since(at).Milliseconds()), body)
}

// eventually waits until done, or the test's time is up.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		runtime.Gosched()
	}
}

// TestServeUDP sends what emulated switches report over the loopback.
func TestServeUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := intreport.Config{Tick: time.Microsecond}
	c := collector(t, live.Config{Aggregate: telemetry.Max, Decode: cfg})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.ServeUDP(ctx, conn) }()
	out, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	send := func(b []byte) {
		if _, err := out.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	const n = 50
	for i := range uint32(n) {
		if i == 10 {
			continue // lost
		}
		r := intreport.Report{Format: intreport.V20, Node: i%3 + 1, Seq: i / 3, Hops: []intreport.Hop{{
			Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasLatency, Switch: i%3 + 1, Depth: i, Latency: uint64(i) * 1000,
		}}}
		b, err := intreport.Append(nil, cfg, &r)
		if err != nil {
			t.Fatal(err)
		}
		send(b)
		eventually(t, func() bool { return c.Stats().Packets == uint64(min(i+1, n)-b2u(i > 10)) })
	}
	send([]byte("no report"))
	eventually(t, func() bool { return c.Stats().Packets == n })
	s := c.Stats()
	if s.Reports != n-1 || s.Malformed != 1 || !strings.Contains(s.LastError, "intreport: frame: byte 0: Ver: 6: want 0, 1 or 2") {
		t.Errorf("%+v", s)
	}
	if len(s.Sequences) != 3 || s.Sequences[1].Lost != 1 || s.Sequences[0].Lost+s.Sequences[2].Lost != 0 {
		t.Errorf("%+v", s.Sequences)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The socket's own error is returned.
	conn, err = net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := c.ServeUDP(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "live: udp 127.0.0.1:") {
		t.Errorf("%v", err)
	}
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func TestFrame(t *testing.T) {
	c := collector(t, live.Config{Switches: []uint32{1, 2, 3}})
	start := time.Now().Add(-time.Minute)
	c.Frame(start, probeFrame(t, 67))
	c.Frame(start, make([]byte, 64))
	values, valid, _ := window(t, c, start, 1)
	if got := show(c, values, valid); !strings.HasPrefix(got, " 64 67 3 63 67 3 62 67 3 -") {
		t.Errorf("%s", got)
	}
	if s := c.Stats(); s.Packets != 2 || s.Foreign != 1 || s.Reports != 1 {
		t.Errorf("%+v", s)
	}
}

const good = `{"timestamp": 1694912784759, "Buffer": 3.977, "FPS": 30, "ReportedBitrate": 3312, "Resolution": "1280x720", "CalcBitrate": 66, "stall_s": 0.5}`

func TestPlayer(t *testing.T) {
	const head = "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n"
	for _, x := range []struct {
		name, query, body string
		code, samples     int
		want              string
	}{
		{"object", "?now=1694912784760", good, 200, 1, `{"accepted":1}`},
		{"without now", "", good, 200, 1, `{"accepted":1}`},
		{"array", "", "[" + good + "," + good + "]", 200, 2, `{"accepted":2}`},
		{"lines", "", good + "\n" + good + "\n", 200, 2, `{"accepted":2}`},
		{"not measured", "", `{"timestamp": 1694912784759, "Buffer": null}`, 200, 1, `{"accepted":1}`},
		{"log", "", head + "1694912784759;3.977;30;3312;1280x720;66\n1694912785761;7;;;;\n", 200, 2, `{"accepted":2}`},
		{"nothing", "", "", 400, 0, `"body\" is empty"`},
		{"no time", "", `{"Buffer": 1}`, 400, 0, `body:1: timestamp: \"\": want milliseconds`},
		{"seconds of another age", "", `{"timestamp": 1e15}`, 400, 0, `timestamp: \"1e+15\"`},
		{"negative: not measured", "", good + `{"timestamp": 1694912784759, "Buffer": -1}`, 200, 2, `{"accepted":2}`},
		{"a log's negative: not measured", "", head + "1694912784759;-1;30;3312;1280x720;66\n", 200, 1, `{"accepted":1}`},
		{"seconds", "", `{"timestamp": 1694912784}`, 400, 0, `timestamp: \"1.694912784e+09\": want milliseconds since 1970, of a time between 2000 and 2100`},
		{"type", "", `{"timestamp": 1694912784759, "FPS": "x"}`, 400, 0, `FPS`},
		{"resolution", "", `{"timestamp": 1694912784759, "Resolution": "720p"}`, 400, 0, `Resolution: \"720p\": want a resolution like 1280x720`},
		{"broken", "", good + `{"timestamp"`, 400, 1, `sample 2`},
		{"now", "?now=yesterday", good, 400, 0, `query: now: \"yesterday\"`},
		{"log's line", "", head + "1694912784759;3.977;30;3312;1280x720;66\n1694912785761;x;;;;\n", 400, 1, `body:3: Buffer: \"x\"`},
		{"log's header", "", "timestamp;FPS\n1694912784759;2\n", 400, 0, `body:1: Buffer`},
		{"log's time", "", "timestamp;Buffer\n1;2\n", 400, 0, `body:2: timestamp: \"1\": want a time after 2000`},
		{"too large", "", strings.Repeat(" ", 1<<20) + good, 413, 0, "too large"},
	} {
		c := collector(t, live.Config{Stalls: true})
		code, answer := post(t, c, x.query, x.body)
		if x.name == "nothing" {
			x.want = `a header line: the file is empty`
		}
		s := c.Stats()
		if code != x.code || !strings.Contains(answer, x.want) || s.Samples != uint64(x.samples) || (s.BadSamples == 1) != (code == 400) {
			t.Errorf("%s: %d %s, %+v", x.name, code, answer, s)
		}
		if refused := strings.Contains(x.name, "negative"); refused != (len(s.Refused) == 1) || refused && (s.Refused[0].Count != 1 || s.Refused[0].First.Value != "-1") {
			t.Errorf("%s: refused %+v", x.name, s.Refused)
		}
	}
	c := collector(t, live.Config{})
	if w := request(c, http.MethodGet, "/player.js", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "function planegym(player, url)") {
		t.Errorf("%d", w.Code)
	}
	if w := request(c, http.MethodOptions, "/", ""); w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%+v", w)
	}
	if w := request(c, http.MethodDelete, "/", ""); w.Code != 405 {
		t.Errorf("%d", w.Code)
	}
}

// TestPlayerClock: samples belong to when they were taken, by the player's
// clock, an hour slow, whatever the network does to the requests.
func TestPlayerClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour) // theirs is not before 2000
		c := collector(t, live.Config{})
		start := time.Now()
		time.Sleep(20 * time.Millisecond)
		for i := range 12 {
			theirs := time.Now().Add(-time.Hour).UnixMilli()
			delay := time.Duration(i%3) * 300 * time.Millisecond
			time.Sleep(delay)
			body := fmt.Sprintf(`{"timestamp": %d, "Buffer": %d}`, theirs, i)
			if i == 9 {
				body = `{"timestamp": 1694912784759}` // of a player with another clock: not now, not here
			}
			if code, answer := post(t, c, fmt.Sprintf("?now=%d", theirs), body); code != 200 {
				t.Fatal(answer)
			}
			time.Sleep(time.Second - delay)
		}
		values, valid, age := window(t, c, start, 12)
		f := len(c.Columns())
		for s := range 12 {
			if at := s*f + 9; valid[at] != (s != 9) || valid[at] && values[at] != float32(s) {
				t.Errorf("second %d: LBO %v %v", s, values[at], valid[at])
			}
		}
		if s := c.Stats(); s.PlayerClock != time.Hour || s.ClockResets != 0 || age.Player > time.Second {
			t.Errorf("%+v, %+v", s, age)
		}
		// The player is loaded anew: its counter falls, which is no rise.
		start = start.Add(12 * time.Second)
		for i, count := range []int{500, 700, 100, 150} {
			theirs := time.Now().Add(-time.Hour).UnixMilli()
			post(t, c, "", fmt.Sprintf(`{"timestamp": %d, "CalcBitrate": %d}`, theirs, count))
			_ = i
			time.Sleep(time.Second)
		}
		values, valid, _ = window(t, c, start, 4)
		got := ""
		for s := range 4 {
			got += fmt.Sprint(values[s*f+12], valid[s*f+12], " ")
		}
		if got != "0 false 200 true 200 false 50 true " {
			t.Errorf("%s", got)
		}
	})
}

// TestTail follows a log through what happens to logs.
func TestTail(t *testing.T) {
	const head = "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n"
	path := filepath.Join(t.TempDir(), "dash.csv")
	write := func(text string, flag int) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(head+"946684799000;1;;;;\n94668", os.O_TRUNC)
	synctest.Test(t, func(t *testing.T) {
		c := collector(t, live.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Tail(ctx, path) }()
		line := func(lbo float64) string { return fmt.Sprintf("%d;%v;;;;\n", time.Now().UnixMilli(), lbo) }
		step := func(what string, samples, bad uint64) {
			t.Helper()
			time.Sleep(time.Second)
			if s := c.Stats(); s.Samples != samples || s.BadSamples != bad {
				t.Errorf("%s: %d samples, %d bad (%s), want %d, %d", what, s.Samples, s.BadSamples, s.LastError, samples, bad)
			}
		}
		start := time.Now()
		step("old lines", 0, 0)
		write("4801000;7;;;;\n", os.O_APPEND) // ends the line that was begun
		step("the end of a line", 1, 0)
		write(line(10)+line(11)[:8], os.O_APPEND)
		step("a line and a half", 2, 0)
		write(strings.Repeat("0", 70_000), os.O_APPEND)
		step("a line without end", 2, 0)
		write("\n"+line(12), os.O_APPEND)
		step("its end", 3, 1)
		if s := c.Stats(); !strings.Contains(s.LastError, "dash.csv:5: : ") && !strings.Contains(s.LastError, "dash.csv:5: \"\": want a line of at most 65536 bytes") {
			t.Error(s.LastError)
		}
		write("nonsense\n\n"+line(13), os.O_APPEND)
		step("a bad line", 4, 2)
		if s := c.Stats(); !strings.Contains(s.LastError, `dash.csv:7: "nonsense": want 6 cells`) {
			t.Error(s.LastError)
		}
		// Replaced while lines are still appended to the old one.
		write(line(14)[:3], os.O_APPEND)
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		step("renamed, within a line", 4, 3)
		write(head+line(15), os.O_CREATE)
		step("created anew", 5, 3)
		write(line(16), os.O_TRUNC) // no header yet
		step("cut off, no header", 5, 4)
		write("", os.O_TRUNC)
		step("cut off again", 5, 4)
		write(head, os.O_APPEND)
		step("a header", 5, 4)
		write(line(17), os.O_APPEND)
		step("and a line", 6, 4)
		values, valid, _ := window(t, c, start, int(time.Since(start)/time.Second))
		var lbo []float32
		for i := 9; i < len(values); i += len(c.Columns()) {
			if valid[i] {
				lbo = append(lbo, values[i])
			}
		}
		if got := fmt.Sprint(lbo); got != "[7 10 12 13 15 17]" {
			t.Errorf("%v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := c.Tail(t.Context(), filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "live: tail: ") {
			t.Errorf("a folder is followed: %v", err)
		}
	})
}

// TestReadPcapReal reads three reports of three BMv2 switches in line.
func TestReadPcapReal(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set")
	}
	c := collector(t, live.Config{Aggregate: telemetry.Max, Decode: intreport.Config{Tick: time.Microsecond, DSCP: 0x17}})
	for n := 1; n <= 3; n++ {
		name := filepath.Join(dir, "int", fmt.Sprintf("int_mx_report_s%d.pcap", n))
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := c.ReadPcap(f, name); err != nil {
			t.Fatal(err)
		}
	}
	values, valid, _ := window(t, c, time.Unix(0x627240ef, 0), 2)
	want := " 0 4.5190196e+07 - - - - - - - - - - - - -\n - - - 0 4.4944416e+07 - 0 4.4558024e+07 - - - - - - -\n"
	if got := show(c, values, valid); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for i, v := range values {
		if valid[i] && math.IsNaN(float64(v)) {
			t.Error(i)
		}
	}
}
