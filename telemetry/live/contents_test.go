package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// What was in a ring or in a window before does not come back.
func TestNothingComesBack(t *testing.T) {
	c, err := New(Config{Switches: []uint32{7, 5}, Reports: 1, Aggregate: "max"})
	if err != nil {
		t.Fatal(err)
	}
	start := c.base.Add(-time.Minute)
	hop := func(id, depth uint32) intreport.Hop {
		return intreport.Hop{Has: intreport.HasSwitch | intreport.HasQueue, Switch: id, Depth: depth}
	}
	f := len(c.Columns())
	values, valid := make([]float32, f), make([]bool, f)
	for _, x := range []struct {
		hops  []intreport.Hop
		depth [2]float32
		valid [2]bool
	}{
		{[]intreport.Hop{hop(7, 3), hop(5, 4)}, [2]float32{3, 4}, [2]bool{true, true}},
		{[]intreport.Hop{hop(7, 5)}, [2]float32{5, 4}, [2]bool{true, false}},
		{[]intreport.Hop{hop(5, 6)}, [2]float32{5, 6}, [2]bool{false, true}},
		{nil, [2]float32{5, 6}, [2]bool{false, false}},
	} {
		c.Report(start, &intreport.Report{Hops: x.hops})
		for i := range valid {
			valid[i] = true
		}
		if _, err := c.Window(t.Context(), start, values, valid); err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			if at := 3 * n; values[at] != x.depth[n] || valid[at] != x.valid[n] || valid[at+1] || valid[at+2] {
				t.Errorf("%+v: %v %v", x.hops, values, valid)
			}
		}
		for i := 6; i < f; i++ {
			if valid[i] {
				t.Errorf("%s was measured", c.Columns()[i].Name)
			}
		}
		start = start.Add(time.Second)
	}
}

// A pcap file as libpcap writes it: its packets come at their times; one that is cut, and what is none, is an error.
func TestCaptureByHand(t *testing.T) {
	packet := append([]byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0xc0, 0, 0x25, 0x53, 0, 20, 0, 0},
		0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2) // a postcard without a head
	le := binary.LittleEndian
	file := le.AppendUint32(nil, 0xa1b2c3d4)
	file = le.AppendUint32(file, 2|4<<16)
	for _, v := range []uint32{0, 0, 65535, 101} {
		file = le.AppendUint32(file, v)
	}
	for i := range uint32(2) {
		packet[31] = byte(7 + i)
		for _, v := range []uint32{1_700_000_000 + i, 250_000, uint32(len(packet)), uint32(len(packet))} {
			file = le.AppendUint32(file, v)
		}
		file = append(file, packet...)
	}
	for cut, want := range map[int]string{0: "2 reports, true", 1: "1 reports, false", len(packet) + 17: "0 reports, false", len(file) - 24: "0 reports, true", len(file) - 23: "0 reports, false", len(file): "0 reports, false"} {
		c := collectorOf(t, Config{Decode: intreport.Config{Port: 9555}})
		err := c.ReadPcap(bytes.NewReader(file[:len(file)-cut]), "f")
		if got := fmt.Sprintf("%d reports, %v", c.Stats().Reports, err == nil); got != want || err != nil && !strings.Contains(err.Error(), "f") {
			t.Errorf("without its last %d bytes: %s, %v; want %s", cut, got, err, want)
		}
		if cut == 0 && c.at != int64(time.Unix(1_700_000_001, 250_000_000).Sub(c.base)) {
			t.Errorf("at %v", c.base.Add(time.Duration(c.at)))
		}
	}
}

// Of a log that is followed, times that cannot be one are counted, the first with its line; a header may be of one letter.
func TestTailCountsTimes(t *testing.T) {
	c := collectorOf(t, Config{})
	f := &follower{c: c, path: "f", line: 1}
	f.split([]byte("x\n"))
	if s := c.Stats(); s.BadSamples != 1 || f.header != nil {
		t.Errorf("a header of one letter: %+v", s)
	}
	f.split([]byte("timestamp;Buffer\n1694912784000;1\n5;2\n6;2\n1694912785000;3\n"))
	if s := c.Stats(); s.BadSamples != 3 || !strings.Contains(s.LastError, "f:4: timestamp: \"5\"") || len(f.got) != 2 {
		t.Errorf("%+v, %d samples", s, len(f.got))
	}
}

// What a player's request is answered, and by which headers.
func TestAnswers(t *testing.T) {
	const sample = `{"timestamp": 1694912784759, "Buffer": 3}`
	for _, x := range []struct {
		method, body, token string
		code                int
		kind, answer        string
	}{
		{http.MethodPost, sample, "secret", 200, "application/json", "{\"accepted\":1}\n"},
		{http.MethodPost, sample, "other", 401, "application/json", "{\"accepted\":0,\"error\":\"live: player: the token is missing or wrong: player.token of the scenario\"}\n"},
		{http.MethodPost, `{"Buffer": 3}`, "secret", 400, "application/json", "{\"accepted\":0,\"error\":\"body:1: timestamp: \\\"\\\": want milliseconds since 1970, of a time between 2000 and 2100\"}\n"},
		{http.MethodGet, "", "", 200, "text/javascript; charset=utf-8", string(snippet)},
		{http.MethodOptions, "", "", 204, "", ""},
		{http.MethodPut, "", "", 405, "text/plain; charset=utf-8", "GET or POST\n"},
	} {
		c := collectorOf(t, Config{PlayerAccess: Access{Token: "secret"}})
		w := httptest.NewRecorder()
		r := httptest.NewRequest(x.method, "/", strings.NewReader(x.body))
		r.Header.Set("Authorization", "Bearer "+x.token)
		c.Player().ServeHTTP(w, r)
		h := w.Header()
		if w.Code != x.code || h.Get("Content-Type") != x.kind || w.Body.String() != x.answer || h.Get("Vary") != "Origin" {
			t.Errorf("%s %s: %d %s\n%q\nwant %d %s\n%q", x.method, x.token, w.Code, h.Get("Content-Type"), w.Body, x.code, x.kind, x.answer)
		}
		if got := h.Get("Allow"); (got == "GET, HEAD, OPTIONS, POST") != (x.code == 405) {
			t.Errorf("%s: Allow %q", x.method, got)
		}
		if got := h.Get("Access-Control-Allow-Methods") + "; " + h.Get("Access-Control-Allow-Headers"); (got == "GET, POST; Content-Type, Authorization") != (x.code == 204) {
			t.Errorf("%s: %q", x.method, got)
		}
		if turned := c.Stats().TurnedAway; (turned == 1) != (x.code == 401) {
			t.Errorf("%s %s: %d turned away", x.method, x.token, turned)
		}
	}
}

// The least delay of a span is kept for the next one, to the nanosecond of its end, and no longer.
func TestSpansToTheNanosecond(t *testing.T) {
	const second = int64(time.Second)
	for _, x := range []struct {
		at   int64 // of the second stamp, which came 100 ns late
		then int64 // of the third
		want int64 // by how much the third, 50 ns late, is put earlier
	}{
		{1, 2, 50}, {clockSpan - 1, 2*clockSpan - 1, 50}, {clockSpan, 2*clockSpan - 1, 50}, {clockSpan, 2 * clockSpan, 0}, {clockSpan - 1, clockSpan, 50}, {2 * clockSpan, 3 * clockSpan, 0}, {2*clockSpan - 1, 3*clockSpan - 2, 50},
	} {
		var c clock
		c.align(0, uint64(second), 0)
		c.align(x.at, uint64(second+x.at-100), 0)
		if got := x.then - c.align(x.then, uint64(second+x.then-50), 0); got != x.want {
			t.Errorf("stamps at 0, %d and %d: %d earlier, want %d", x.at, x.then, got, x.want)
		}
	}
}

// spent is a socket with some datagrams, after which it fails.
type spent struct{ packets }

func (*spent) Close() error        { return nil }
func (*spent) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7} }

// When ServeUDP returns, all that came in is counted; a datagram that came before is a replay.
func TestServeUDPTakesAll(t *testing.T) {
	c := collectorOf(t, Config{})
	p := &spent{}
	for i := range 60 {
		p.left = append(p.left, fmt.Sprint("no report ", i/2)) // each twice
	}
	if err := c.ServeUDP(t.Context(), p); err == nil || !strings.Contains(err.Error(), "live: udp 127.0.0.1:7: no more") {
		t.Errorf("%v", err)
	}
	if s := c.Stats(); s.Packets != 60 || s.Replayed != 30 || s.Malformed != 30 || s.Overrun != 0 {
		t.Errorf("%+v", s)
	}
}

// A sample at the very beginning of a second belongs to it, one at its end to the next.
func TestSamplesAtTheEdges(t *testing.T) {
	const second = int64(time.Second)
	c := collectorOf(t, Config{})
	for i, at := range []int64{second, 2 * second, 3 * second} {
		s := sample{at: at}
		s.values[lbo], s.valid[lbo], s.values[counter], s.valid[counter] = float64(i), true, float64(10+5*i*i), true
		c.samples, c.newest = append(c.samples, s), i
	}
	for i, rise := range map[int64]float32{2: 5, 3: 15} {
		values, valid := make([]float32, playerColumns), make([]bool, playerColumns)
		c.fillPlayer(i*second, (i+1)*second, values, valid)
		if !valid[lbo] || values[lbo] != float32(i-1) || !valid[counter] || values[counter] != rise {
			t.Errorf("second %d: %v %v, want a rise of %v", i, values, valid, rise)
		}
	}
}

// A sample that cannot be read is named by its number, blanks around samples are passed over.
func TestSamplesByNumber(t *testing.T) {
	const good = `{"timestamp": 1694912784759, "Buffer": 3}`
	for body, want := range map[string]string{
		" \n\t" + good + "\n": "1 ",
		"\n[" + good + "]":    "1 ",
		good + `{"timestamp": 1694912784760, "FPS": "x"}`:   "1 live: player: sample 2: ",
		`{"timestamp": 1694912784760, "FPS": "x"}`:          "0 live: player: sample 1: ",
		good + " " + good + ` {"timestamp": 1694912784760,`: "2 live: player: sample 3: ",
		"[" + good + `, {"timestamp": 1}]`:                  "1 body:2: timestamp: ",
	} {
		samples, err := parseJSON(bytes.TrimSpace([]byte(body)))
		got := fmt.Sprint(len(samples), " ")
		if err != nil {
			got += err.Error()
		}
		if !strings.HasPrefix(got, want) || (err == nil) != strings.HasSuffix(want, " ") && !strings.HasSuffix(want, ": ") {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
		c := collectorOf(t, Config{})
		w := httptest.NewRecorder()
		c.Player().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if (w.Code == 200) != (err == nil) || c.Stats().Samples != uint64(len(samples)) {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	}
}

// Of more nodes than are followed the reports count all the same.
func TestUnfollowedNodes(t *testing.T) {
	c := collectorOf(t, Config{})
	for i := range uint32(maxNodes + 3) {
		c.Report(c.base.Add(time.Duration(i)), &intreport.Report{Node: i, SeqBits: 22, Hops: []intreport.Hop{{Has: intreport.HasSwitch | intreport.HasQueue, Switch: 1}}})
	}
	if s := c.Stats(); s.Unfollowed != 3 || len(s.Sequences) != maxNodes || s.Reports != maxNodes+3 || c.heard[0] != maxNodes+2 {
		t.Errorf("%d unfollowed, %d followed, %d reports, heard at %d", s.Unfollowed, len(s.Sequences), s.Reports, c.heard[0])
	}
}
