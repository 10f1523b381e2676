package telemetry_test

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// TestBounds: every column has bounds; the real recordings lie within them.
func TestBounds(t *testing.T) {
	for _, name := range append([]string{"probes1", "calc_cum", "stall_s"}, published...) {
		f, _ := telemetry.Canonical(name)
		low, high := f.Bounds()
		if !(low >= 0 && high > low && high < 1e17) || f.Plausible(low-1) || f.Plausible(2*high+1) || f.Plausible(math.NaN()) || !f.Plausible(high) {
			t.Errorf("%s: %v to %v", name, low, high)
		}
	}
	if f := (telemetry.Field{Name: "Volume"}); !f.Plausible(-1e30) {
		t.Error("a column of another's has bounds")
	}
	for _, name := range []string{"aligned_32.csv", "aligned_64.csv"} {
		d, err := telemetry.ReadGrid(filepath.Join(data(t), name))
		if err != nil || len(d.Reading().Notes()) > 0 {
			t.Errorf("%s: %v, %q", name, err, d.Reading().Notes())
		}
	}
}

// TestRefused: a value that cannot be one is not measured, and counted with
// its column; the rest of the file is read.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		format telemetry.Format
		text   string
		want   string // as readAll prints it
		notes  string
	}{
		{"delay of a wrapped clock", telemetry.INT, intHead + "1700000001,1,18446744073709551.6,1\n", "2@1700000001000: 1 - 1\n", `deq_timedelta1: "18446744073709551.6": want 0 to 60000000 us (1 of 1, 1e+02 %)`},
		{"negative", telemetry.INT, intHead + "1700000001,-3,1,1\n1700000001,3,1,1\n", "2@1700000001000: - 1 1\n3@1700000001000: 3 1 1\n", `enq_qdepth1: "-3": want 0 to 524287 packets (1 of 2, 50 %)`},
		{"infinite, too large for a float", telemetry.INT, intHead + "1700000001,+Inf,1e999,1\n", "2@1700000001000: - - 1\n", `enq_qdepth1: "+Inf"`},
		{"bits for kilobits", telemetry.DASH, dashHead + "1700000000001;3;30;3312000;1280x720;66\n", "2@1700000000001: 3 30 - 66 1280 720\n", `ReportedBitrate: "3312000": want 0 to 200000 kbit/s`},
		{"milliseconds for a buffer", telemetry.DASH, dashHead + "1700000000001;59011;30;3312;1280x720;66\n", "2@1700000000001: - 30 3312 66 1280 720\n", `Buffer: "59011": want 0 to 3600 s`},
		{"a time before 2000 among others", telemetry.INT, intHead + "1700000001,1,1,1\n7,1,1,1\n1700000002,1,1,1\n", "2@1700000001000: 1 1 1\n4@1700000002000: 1 1 1\n", `timestamp: "7": want a time between 2000 and 2100 in seconds`},
		{"no time", telemetry.INT, intHead + "1700000001,1,1,1\n,1,1,1\n", "2@1700000001000: 1 1 1\n", `timestamp: "": want`},
		{"back in time", telemetry.INT, intHead + "1700000008,1,1,1\n1700000007,1,1,1\n1700000009,1,1,1\n", "2@1700000008000: 1 1 1\n4@1700000009000: 1 1 1\n", `timestamp: "1700000007": want a time not before the line above, 2023-11-14 22:13:28.000 (1 of 3`},
		{"one line of another day", telemetry.INT, intHead + "1700000008,1,1,1\n1800000000,1,1,1\n1700000009,1,1,1\n", "2@1700000008000: 1 1 1\n4@1700000009000: 1 1 1\n", `want a time within an hour`},
		{"a grid in seconds", telemetry.Grid, "t,ts_ms,lbo_s\n" + gridLines(1700000000, 100, 1), "", "timestamp"},
	} {
		r := stringReader(t, c.format, c.text)
		got, err := readAll(r)
		if c.format == telemetry.Grid {
			got, c.notes = "", "ts_ms"
		}
		notes := ""
		for _, n := range r.Refused() {
			notes += n.String() + "\n"
		}
		if err != nil || got != c.want || !strings.Contains(notes, c.notes) {
			t.Errorf("%s: %v\n%swant\n%s%swant\n%s", c.name, err, got, c.want, notes, c.notes)
		}
	}
}

// gridLines are n lines of a grid with t, ts_ms and a column, step ms apart.
func gridLines(from, n, step int64) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(itoa(i) + "," + itoa(from+i*step) + ",3\n")
	}
	return b.String()
}

// TestCheck: a share of 5 % is let pass, more is an error that names the first.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		bad, of int
		err     bool
	}{{0, 20, false}, {1, 20, false}, {2, 39, true}, {20, 20, true}} {
		text := dashHead
		for i := range c.of {
			lbo := "4"
			if i < c.bad {
				lbo = "-1"
			}
			text += itoa(1700000000000+1000*int64(i)) + ";" + lbo + ";18;639;426x240;10\n"
		}
		d, err := telemetry.Join(nil, stringReader(t, telemetry.DASH, text), telemetry.Max)
		if err != nil {
			t.Fatal(err)
		}
		err = d.Reading().Check(telemetry.MaxRefused)
		var bad *telemetry.ValueError
		if (err != nil) != c.err || err != nil && (!errors.As(err, &bad) || bad.Line != 2 || bad.Column != "Buffer") {
			t.Errorf("%d of %d: %v", c.bad, c.of, err)
		}
		if err := d.Reading().Check(1); err != nil {
			t.Errorf("all are let pass: %v", err)
		}
		if want := float64(c.of-c.bad) / float64(c.of); math.Abs(d.Measured()[0]-want) > 1e-9 {
			t.Errorf("%d of %d: a share of %v is measured, want %v", c.bad, c.of, d.Measured()[0], want)
		}
	}
}

// TestLayouts: what other programs write instead.
func TestLayouts(t *testing.T) {
	const want = "2@1694912784759: 3.977 30 3312 66 1280 720\n3@1694912785759: - 30 3312 464 - -\n"
	at := time.UnixMilli(1694912784759).UTC()
	for name, text := range map[string]string{
		"published":         dashHead + "1694912784759;3.977;30;3312;1280x720;66\n1694912785759;;30;3312;;464\n",
		"commas":            strings.ReplaceAll(dashHead, ";", ",") + "1694912784759,3.977,30,3312,1280x720,66\n1694912785759,,30,3312,,464\n",
		"tabs":              strings.ReplaceAll(dashHead, ";", "\t") + "1694912784759\t3.977\t30\t3312\t1280x720\t66\n1694912785759\tnan\t30\t3312\t\t464\n",
		"seconds":           dashHead + "1694912784.759;3.977;30;3312;1280x720;66\n1694912785.759;null;30;3312;0x0;464\n",
		"microseconds":      dashHead + "1694912784759000;3.977;30;3312;1280x720;66\n1694912785759000;undefined;30;3312;undefinedxundefined;464\n",
		"nanoseconds":       dashHead + "1694912784759000000;3.977;30;3312;1280x720;66\n1694912785759000000;NA;30;3312;N/A;464\n",
		"ISO 8601":          dashHead + at.Format("2006-01-02T15:04:05.000Z") + ";3.977;30;3312;1280x720;66\n" + at.Add(time.Second).Format("2006-01-02T15:04:05.000Z") + ";None;30;3312;None;464\n",
		"pandas":            dashHead + at.Format("2006-01-02 15:04:05.000") + ";3.977;30;3312;1280x720;66\n" + at.Add(time.Second).Format("2006-01-02 15:04:05.000") + ";NaT;30;3312;<NA>;464\n",
		"decimal comma":     dashHead + "1694912784759;3,977;30;3312;1280×720;66\n1694912785759;-;30;3312;-;464\n",
		"Time for a clock":  strings.Replace(dashHead, "timestamp", "Time", 1) + "1694912784759;3.977;30;3312;1280x720;66\n1694912785759;;30;3312;;464\n",
		"headed once again": dashHead + "1694912784759;3.977;30;3312;1280x720;66\n" + dashHead + "1694912785759;;30;3312;;464\n",
	} {
		got, err := readAll(stringReader(t, telemetry.DASH, text))
		if name == "headed once again" {
			got = strings.Replace(got, "4@", "3@", 1)
		}
		if err != nil || got != want {
			t.Errorf("%s: %v\n%swant\n%s", name, err, got, want)
		}
	}
	r := stringReader(t, telemetry.DASH, "timestamp;Buffer\n1700000000;3\n")
	d, err := telemetry.Join(nil, r, telemetry.Max)
	if err != nil || names(d.Fields()) != "lbo_s" || strings.Join(d.Reading().Notes(), "") != t.Name()+": times are taken for seconds" {
		t.Errorf("%v, %q", err, d.Reading().Notes())
	}
	r = stringReader(t, telemetry.INT, "timestamp,enq_qdepth1,deq_timedelta2,enq_qdepth2\n1700000000,3,4,5\n")
	if got, err := readAll(r); err != nil || got != "2@1700000000000: 3 - - 5 4 -\n" {
		t.Errorf("a switch without a column: %q, %v", got, err)
	}
}

// TestCut: of a file that ends within a line all others are read.
func TestCut(t *testing.T) {
	const whole = dashHead + "1700000000000;4;18;639;426x240;10\n1700000001000;4;18;639;426x240;20\n"
	for n := len(whole) - 1; n > len(dashHead); n-- {
		r := stringReader(t, telemetry.DASH, whole[:n])
		text, err := readAll(r)
		lines := strings.Count(text, "\n")
		complete := strings.Count(whole[len(dashHead):n], "\n")
		cut := r.CutError()
		switch {
		case err != nil:
			t.Errorf("%d bytes: %v", n, err)
		case cut == nil && lines == complete: // nothing follows
			if whole[n-1] != '\n' {
				t.Errorf("%d bytes: %d records, and no word of a cut", n, lines)
			}
		case cut == nil && lines != complete+1: // a last line that may be whole
			t.Errorf("%d bytes: %d records of %d", n, lines, complete)
		case cut != nil && (lines != complete || cut.Records != complete || cut.Line != complete+2):
			t.Errorf("%d bytes: %d records of %d, %v", n, lines, complete, cut)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no named pipes here: ", err)
	}
	for path, want := range map[string]string{pipe: "a named pipe: want a regular file", dir: "a folder: want a regular file", "/dev/null": "a device: want a regular file"} {
		if _, err := telemetry.ReadGrid(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if _, err := telemetry.ReadGrid(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestLimitInName(t *testing.T) {
	for name, want := range map[string]int{
		"grid_32.csv": 32, "a/b/grid_v2_64.csv": 64, "real32.csv": 32, "32.csv": 32, "run-1_100.csv": 100, "level5.csv": 5,
		"grid.csv": 0, "grid_v2.csv": 0, "V3.csv": 0, "grid_32_final.csv": 0, "sample_32.0.csv": 0, "sample_32.7.csv": 0, "grid_0.csv": 0, "grid_032.csv": 0,
	} {
		if got, ok := telemetry.LimitInName(name); got != want || ok != (want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, ok, want)
		}
	}
}

// TestLadder: the ladder is the recording's, and of the published one nothing
// changes.
func TestLadder(t *testing.T) {
	const head = "t,ts_ms,fps,rep_kbps,width,height\n"
	row := func(i int, cells string) string {
		return itoa(int64(i)) + "," + itoa(int64(i)*1000) + "," + cells + "\n"
	}
	d := decodeGrid(t, head+row(0, "30,6000,1920,1080")+row(1, "24,300,426,240")+row(2, "30,1500,854,480")+row(3, "30,,,")+row(4, "30,3000,1280,720")+row(5, "24,800,640,360"))
	l := telemetry.LadderOf(d)
	if l.Rungs() != 5 || l.TopKbps() != 6000 {
		t.Fatalf("%v", l)
	}
	for rung, kbps := range []float32{300, 800, 1500, 3000, 6000} {
		q := telemetry.Quality{FPS: 30, Kbps: kbps}
		if rung < 2 {
			q.FPS = 24
		}
		class := min(rung, 1)
		if rung == 4 {
			class = 2
		}
		if l.Rung(q) != rung || l.Class(q) != class {
			t.Errorf("%v is rung %d, class %d; want %d, %d", q, l.Rung(q), l.Class(q), rung, class)
		}
	}
	published := decodeGrid(t, head+row(0, "18,639,426,240")+row(1, "30,3312,1280,720"))
	if l := telemetry.LadderOf(published); l != nil || l.Rungs() != 3 || l.Class(telemetry.Quality{FPS: 24}) != 1 || l.Class(telemetry.Quality{FPS: 27}) != 2 || l.Rung(telemetry.Quality{FPS: 20.9}) != 0 || l.TopKbps() != 3312 {
		t.Errorf("%v", l)
	}
	if l := telemetry.LadderOf(decodeGrid(t, "t,ts_ms,lbo_s\n0,0,3\n")); l != nil {
		t.Errorf("no quality: %v", l)
	}
}
