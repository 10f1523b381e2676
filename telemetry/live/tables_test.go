package live

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// Both sides of every bound of a configuration, and its defaults.
func TestConfigBounds(t *testing.T) {
	ids := func(n int) []uint32 {
		var s []uint32
		for i := range n {
			s = append(s, uint32(i))
		}
		return s
	}
	for _, c := range []struct {
		cfg  Config
		want string // the error, or what it becomes
	}{
		{Config{Switches: ids(1)}, "65536 250ms 1s"},
		{Config{Switches: ids(16), Ports: ids(16), Reports: 1, Settle: 1, Second: 1}, "1 1ns 1ns"},
		{Config{Switches: ids(1), Reports: 1 << 24, Settle: time.Minute, Second: time.Hour}, "16777216 1m0s 1h0m0s"},
		{Config{Switches: ids(17)}, "live: switches: 17 are not between 1 and 16"},
		{Config{Switches: ids(2), Ports: ids(1)}, "live: ports: 1 for 2 switches"},
		{Config{Switches: ids(1), Ports: []uint32{}}, "live: ports: 0 for 1 switches"},
		{Config{Switches: ids(1), Reports: 1<<24 + 1}, "live: reports: 16777217 is not between 1 and 16777216"},
		{Config{Switches: ids(1), Settle: time.Minute + 1}, "live: settle: 1m0.000000001s is not between 0 and 1m"},
		{Config{Switches: ids(1), Second: time.Hour + 1}, "live: second: 1h0m0.000000001s is not between 0 and 1h"},
		{Config{Switches: []uint32{3, 4, 4}}, "live: switches: 4 is there twice"},
	} {
		cfg, err := c.cfg.withDefaults()
		got := fmt.Sprint(cfg.Reports, " ", cfg.Settle, " ", cfg.Second)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.cfg, got, c.want)
		}
	}
}

// A clock that moves by ten seconds is delayed, by more it was set; what was
// seen least is kept for one to two spans of half a minute.
func TestClockStepsAndSpans(t *testing.T) {
	const step = int64(10 * time.Second)
	for move, resets := range map[int64]uint64{step: 0, step + 1: 1, -step: 0, -step - 1: 1} {
		var c clock
		if c.align(0, 1e15, 0); c.measured(time.Unix(5, 0)) != time.Duration(5e9-1e15) {
			t.Errorf("an offset of %v", c.measured(time.Unix(5, 0)))
		}
		c.align(1, uint64(1e15+1-move), 0)
		if c.resets != resets {
			t.Errorf("%d ns: %d resets, want %d", move, c.resets, resets)
		}
	}
	if got := new(clock).measured(time.Unix(5, 0)); got != 0 {
		t.Errorf("before any report the offset is %v", got)
	}
	const half = int64(30 * time.Second)
	for _, c := range []struct{ at, want int64 }{ // stamps are 7 too early, and once, at 0, 3
		{half - 1, 3},
		{half, 3},
		{2*half - 1, 3},
		{2 * half, 7}, // a silence of two spans
	} {
		var k clock
		k.align(0, uint64(1e15-3), 0)
		if got := k.align(c.at, uint64(1e15+c.at-7), 0); got != c.at-7+c.want {
			t.Errorf("%d ns later: %d ns before it came, want %d", c.at, c.at-got, 7-c.want)
		}
	}
	var k clock
	k.align(0, uint64(1e15-3), 0)
	for i, at := range []int64{half, 2 * half} { // two spans, with a report in each
		if got, want := at-k.align(at, uint64(1e15+at-7), 0), []int64{4, 0}[i]; got != want {
			t.Errorf("span %d: %d ns, want %d", i+1, got, want)
		}
	}
}

// The edges at which a number is late, lost, or out of all order; and which
// numbers are new.
func TestSequenceEdges(t *testing.T) {
	const quarter = 1<<20 - 1 // of 22 bits, rounded down
	for _, x := range []struct {
		name  string
		seq   []uint32
		fresh string // of those after the first
		want  Sequence
	}{
		{"a late one again", []uint32{1, 3, 4, 2, 2}, "yyyn", Sequence{Received: 5, Reordered: 1, Duplicates: 1}},
		{"63 behind", []uint32{0, 100, 37}, "yy", Sequence{Received: 3, Lost: 98, Reordered: 1}},
		{"64 behind", []uint32{0, 100, 36}, "yn", Sequence{Received: 3, Lost: 99}},
		{"a quarter ahead", []uint32{5, 5 + quarter}, "y", Sequence{Received: 2, Lost: quarter - 1}},
		{"more than a quarter", []uint32{5, 6 + quarter}, "n", Sequence{Received: 2}},
		{"a stray, then in order, then the stray's next", []uint32{5, 1 << 21, 6, 1<<21 + 1}, "nyn", Sequence{Received: 4}},
		{"a restart, and its last two again", []uint32{5, 1 << 21, 1<<21 + 1, 1<<21 + 1, 1 << 21, 1<<21 + 2}, "nynny", Sequence{Received: 6, Restarts: 1, Duplicates: 2}},
		{"two strays", []uint32{5, 1 << 21, 1<<21 + 5, 1<<21 + 1}, "nnn", Sequence{Received: 4}},
		{"late though none was lost", []uint32{5, 4}, "y", Sequence{Received: 2, Reordered: 1}},
	} {
		s := sequence{Sequence: Sequence{Received: 1}, last: x.seq[0], seen: 1}
		fresh := ""
		for _, n := range x.seq[1:] {
			fresh += map[bool]string{true: "y", false: "n"}[s.count(n, 22)]
		}
		if s.Sequence != x.want || fresh != x.fresh {
			t.Errorf("%s: %+v, new %s; want %+v, %s", x.name, s.Sequence, fresh, x.want, x.fresh)
		}
	}
}

// A pace is known after a second and five stamps, and wrong from three times
// too fast or slow.
func TestPaceEdges(t *testing.T) {
	for f, wrong := range map[Pace]bool{.3: true, .301: false, 1: false, 2.999: false, 3: true, 0: true, Pace(math.NaN()): false} {
		if got := f.Fault(0); (got != "") != wrong {
			t.Errorf("pace %v: %q", f, got)
		}
	}
	for f, want := range map[Pace]string{
		2:     "",
		5:     "its times go 5 times too fast: no unit of ns to s is theirs",
		1e-9:  "its times go 1000000000 times too slowly: set tick_ns = 1000000000 (--tick 1s), their unit",
		1e-10: "its times go 10000000000 times too slowly: no unit of ns to s is theirs",
	} {
		if got := f.Fault(0); got != want {
			t.Errorf("pace %v: %q, want %q", f, got, want)
		}
	}
	for _, c := range []struct {
		reports int
		ns      int64
		known   bool
	}{{5, int64(time.Second), true}, {4, int64(time.Second), false}, {5, int64(time.Second) - 1, false}} {
		var p Pacer
		for i := range c.reports {
			at := c.ns * int64(i) / int64(c.reports-1)
			p.Add(at, uint64(at/2), 0)
		}
		got := p.Pace()
		if math.IsNaN(float64(got)) == c.known || c.known && math.Abs(float64(got)-.5) > 1e-8 {
			t.Errorf("%d reports in %d ns: pace %v", c.reports, c.ns, got)
		}
		b, err := got.MarshalJSON()
		var back Pace
		if err := back.UnmarshalJSON(b); err != nil || c.known && back != got || !c.known && !math.IsNaN(float64(back)) {
			t.Errorf("%s is read as %v, %v", b, back, err)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := new(Pace).UnmarshalJSON([]byte("x")); err == nil {
		t.Error("x is a pace")
	}
	// A stamp up to half of the wrap ahead moves the clock on; further it is out of order.
	for _, c := range []struct{ stamp, wrap, moved uint64 }{
		{90, 100, 0}, {60, 100, 50}, {61, 100, 0}, {5, 100, 0}, {10, 100, 0}, {10 + 1<<63, 0, 1 << 63}, {11 + 1<<63, 0, 0}, {9, 0, 0},
	} {
		var p Pacer
		p.Add(0, 10, c.wrap)
		if p.Add(1, c.stamp, c.wrap); p.moved != c.moved {
			t.Errorf("from 10 to %d modulo %d: moved %d, want %d", c.stamp, c.wrap, p.moved, c.moved)
		}
	}
}

func collectorOf(t *testing.T, cfg Config) *Collector {
	t.Helper()
	cfg.Switches = []uint32{1}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A sample belongs to the second, of the first one's, that is nearest.
func TestNearestSecond(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, second := range []int64{1000, 100} {
		c := collectorOf(t, Config{Second: time.Duration(second * ms)})
		anchor := 12_345*ms + 7
		for _, x := range []struct{ late, want int64 }{{0, 0}, {second/2*ms - 1, 0}, {second / 2 * ms, 1}, {second * 3 / 2 * ms, 2}, {-second / 2 * ms, 0}, {-second/2*ms - 1, -1}, {-3 * second * ms, -3}} {
			c.keep(anchor+x.late, sample{})
			if got := c.samples[c.newest].at; got != anchor+x.want*second*ms {
				t.Errorf("%d ns after the first: second %v, want %d", x.late, float64(got-anchor)/float64(second*ms), x.want)
			}
		}
	}
}

// The oldest of 4,096 samples goes, and is counted where no window read it.
func TestSamplesThatGo(t *testing.T) {
	c := collectorOf(t, Config{})
	const second = int64(time.Second)
	for i := range int64(maxSamples) {
		c.keep(i*second, sample{})
	}
	if c.stats.Dropped != 0 || c.newest != maxSamples-1 {
		t.Fatalf("%d dropped, newest at %d", c.stats.Dropped, c.newest)
	}
	c.read = second // the first is read, the second not
	for i := range int64(3) {
		c.keep((maxSamples+i)*second, sample{})
		if want := uint64(i); c.stats.Dropped != want || c.newest != int(i) || c.samples[i].at != (maxSamples+i)*second {
			t.Errorf("after %d more: %d dropped, newest at %d", i+1, c.stats.Dropped, c.newest)
		}
	}
	if c.stats.Late != 0 || c.stats.Samples != maxSamples+3 {
		t.Errorf("%+v", c.stats)
	}
	if c.keep(0, sample{}); c.stats.Late != 1 {
		t.Errorf("a sample of a second that was read: %d late", c.stats.Late)
	}
}

// The last 4,096 are known, no more.
func TestReplaysKnown(t *testing.T) {
	var r replays
	for i := range uint64(4096) {
		if r.again(i) {
			t.Fatalf("%d came before", i)
		}
	}
	if !r.again(0) || !r.again(4095) || len(r.set) != 4096 {
		t.Error("one of the last 4,096 is new")
	}
	if r.again(4096) || r.again(0) { // 0 made room for 4096, 1 makes it for 0
		t.Error("what came 4,096 others ago is known")
	}
	if r.again(1) || !r.again(3) || !r.again(4096) || !r.again(0) || len(r.set) != 4096 {
		t.Errorf("%d are known", len(r.set))
	}
}

// What a browser is allowed, by page.
func TestPages(t *testing.T) {
	for _, c := range []struct {
		access Access
		origin string
		want   string
	}{
		{Access{}, "http://a", ""},
		{Access{Origins: []string{"http://a"}}, "http://a", "http://a"},
		{Access{Origins: []string{"http://a", ""}}, "", ""},
		{Access{Origins: []string{"http://a"}}, "http://b", ""},
		{Access{Token: "x"}, "http://b", "http://b"},
		{Access{Token: "x"}, "", ""},
	} {
		col := collectorOf(t, Config{PlayerAccess: c.access})
		r := httptest.NewRequest(http.MethodOptions, "/", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		col.Player().ServeHTTP(w, r)
		h := w.Header()
		_, set := h["Access-Control-Allow-Origin"]
		if h.Get("Access-Control-Allow-Origin") != c.want || set != (c.want != "") || h.Get("Vary") != "Origin" || w.Code != http.StatusNoContent ||
			h.Get("Access-Control-Allow-Methods") != "GET, POST" || h.Get("Access-Control-Allow-Headers") != "Content-Type, Authorization" {
			t.Errorf("%+v, origin %q: %d %v", c.access, c.origin, w.Code, h)
		}
	}
	w := httptest.NewRecorder()
	collectorOf(t, Config{}).Player().ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("PUT: %d %v", w.Code, w.Header())
	}
}

// The widths and heights of a sample have 16 bits.
func TestResolutionBits(t *testing.T) {
	for text, ok := range map[string]bool{"65535x65535": true, "65536x1": false, "1x65536": false, "1x": false, "x1": false, "1": false} {
		_, err := parseJSON([]byte(`{"timestamp": 1694912784759, "Resolution": "` + text + `"}`))
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What cannot be read in a log is named by its line, wherever the header is and
// whatever came before.
func TestTailNamesTheLine(t *testing.T) {
	const head = "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate"
	const good = "1694912784759;3;;;;"
	long := strings.Repeat("0", maxLine+1)
	for _, c := range []struct {
		name  string
		parts []string // as they are read
		bad   uint64
		want  string // of the last error
		got   int
	}{
		{"all good", []string{head + "\n" + good + "\n"}, 0, "", 1},
		{"after a header", []string{head + "\n" + good + "\nx\n"}, 1, `f:3: "x": want 6 cells`, 1},
		{"after blank lines", []string{"\n \n" + head + "\n" + good + "\nx\n"}, 1, `f:5: "x": want 6 cells`, 1},
		{"after a long line", []string{long + "\n" + head + "\nx\n"}, 2, `f:3: "x": want 6 cells`, 0},
		{"a long line after the header", []string{head + "\n" + long + "\n" + good + "\nx\n"}, 2, `f:4: "x": want 6 cells`, 1},
		{"a long line in pieces", []string{head + "\n" + long[:maxLine], "0", "0\n", "x\n"}, 2, `f:3: "x": want 6 cells`, 0},
		{"the longest line that is read", []string{head + "\n" + good + strings.Repeat(" ", maxLine-len(good)) + "\nx\n"}, 1, `f:3: "x": want 6 cells`, 1},
		{"in another piece", []string{head + "\n" + good + "\n", "x\n"}, 1, `f:3: "x": want 6 cells`, 1},
		{"a header in pieces", []string{head[:5], head[5:] + "\nx", "\n"}, 1, `f:2: "x": want 6 cells`, 0},
		{"no header", []string{"nonsense\n" + head + "\nx\n"}, 2, `f:3: "x": want 6 cells`, 0},
	} {
		col := collectorOf(t, Config{})
		f := &follower{c: col, path: "f", line: 1}
		for _, p := range c.parts {
			f.split([]byte(p))
		}
		if s := col.Stats(); s.BadSamples != c.bad || !strings.Contains(s.LastError, c.want) || len(f.got) != c.got {
			t.Errorf("%s: %d bad, last %.80s; %d samples; want %d, %s, %d", c.name, s.BadSamples, s.LastError, len(f.got), c.bad, c.want, c.got)
		}
	}
}

// Of a long file the newest samples are taken.
func TestTailKeepsTheNewest(t *testing.T) {
	col := collectorOf(t, Config{})
	f := &follower{c: col, path: "f", line: 1}
	var b strings.Builder
	b.WriteString("timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n")
	for i := range maxSamples + 5 {
		fmt.Fprintf(&b, "%d;3;;;;\n", 1694912784000+1000*i)
	}
	f.split([]byte(b.String()))
	var first, last int64
	if len(f.got) > 0 {
		first, last = f.got[0].millis, f.got[len(f.got)-1].millis
	}
	if want := []int64{maxSamples, 1694912784000 + 5000, 1694912784000 + 1000*(maxSamples+4)}; !slices.Equal([]int64{int64(len(f.got)), first, last}, want) {
		t.Errorf("%d samples from %d to %d, want %v", len(f.got), first, last, want)
	}
}
