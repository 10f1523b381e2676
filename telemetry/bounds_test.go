package telemetry_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/planegym/planegym/telemetry"
)

// The limits of a second by hand, for the three ways in which a recording has them.
func TestLimitsAt(t *testing.T) {
	d := decodeGrid(t, "t,ts_ms,lbo_s,fps\n0,0,1,\n1,0,2,\n2,0,3,\n")
	for _, c := range []struct {
		name     string
		r        telemetry.Recording
		switches int
		want     [][]int32
		first    []int
	}{
		{"one", telemetry.Recording{Data: d, Limit: 32}, 1, [][]int32{{32}, {32}, {32}}, []int{32, 32, 32}},
		{"by second", telemetry.Recording{Data: d, Limits: []int{32, 64, 128}}, 1, [][]int32{{32}, {64}, {128}}, []int{32, 64, 128}},
		{"by switch", telemetry.Recording{Data: d, PerSwitch: []int32{1, 2, 3, 4, 5, 6}}, 2, [][]int32{{1, 2}, {3, 4}, {5, 6}}, []int{1, 3, 5}},
	} {
		if got := c.r.Switches(); got != c.switches {
			t.Fatalf("%s: limits of %d switches, want %d", c.name, got, c.switches)
		}
		for second, want := range c.want {
			got := make([]int32, c.switches)
			if c.r.LimitsAt(second, got); !slices.Equal(got, want) {
				t.Errorf("%s, second %d: limits %v, want %v", c.name, second, got, want)
			}
			first := c.r.LimitAt(second)
			if first != c.first[second] {
				t.Errorf("%s, second %d: limit %d, want %d", c.name, second, first, c.first[second])
			}
			more := make([]int32, 3) // one for each of other switches
			if c.r.LimitsAt(second, more); !slices.Equal(more, slices.Repeat([]int32{int32(first)}, 3)) {
				t.Errorf("%s, second %d: limits %v of 3 switches, want %d", c.name, second, more, first)
			}
		}
	}
}

// A line may have as many bytes as is allowed and no more, however it is read, and
// wherever it stands among shorter ones.
func TestLimitLinesBothSides(t *testing.T) {
	const most = 1 << 20
	line := strings.Repeat("x", most)
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"empty", "", true},
		{"as long as may be", line + "\n", true},
		{"as long as may be, without an end", line, true},
		{"many of them", strings.Repeat(line+"\n", 3), true},
		{"empty lines between", "\n\n" + line + "\n\n" + line, true},
		{"one byte more", line + "x\n", false},
		{"one byte more, without an end", line + "x", false},
		{"one byte more, later", "a\n\nb\n" + line + "x\nc\n", false},
		{"one byte more, after the longest", line + "\n" + line + "x", false},
	} {
		for how, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.text), "in halves": iotest.HalfReader(strings.NewReader(c.text)), "end with data": iotest.DataErrReader(strings.NewReader(c.text)),
		} {
			got, err := io.ReadAll(telemetry.LimitLines(r))
			if (err == nil) != c.ok {
				t.Errorf("%s, read %s: %v", c.name, how, err)
			}
			if c.ok && string(got) != c.text {
				t.Errorf("%s, read %s: %d bytes of %d", c.name, how, len(got), len(c.text))
			}
		}
	}
}

// A grid without columns of switches has no int_present, and reads back.
func TestGridOfAPlayerAlone(t *testing.T) {
	d := decodeGrid(t, "t,ts_ms,lbo_s,fps\n0,0,1,24\n1,1000,2,30\n")
	var b bytes.Buffer
	if err := d.EncodeCSV(&b); err != nil {
		t.Fatal(err)
	}
	if head, _, _ := strings.Cut(b.String(), "\n"); head != "t,ts_ms,queue,lbo_s,fps" {
		t.Errorf("header %s", head)
	}
}

// Of two records of one second the later one's values count, the stalls of both,
// and the counter's rise in both; by hand, with cells missing in either.
func TestTwoRecordsOfASecond(t *testing.T) {
	const head = "stall_s;" + dashHead
	for _, c := range []struct{ name, records, want string }{
		{"both stalled", "0.25;1700000000000;4;18;639;426x240;0\n0.5;1700000000400;5;24;639;426x240;8\n", " 5 24 639 8 426 240 0.75"},
		{"more than a second", "0.75;1700000000000;4;18;639;426x240;0\n0.5;1700000000400;5;24;639;426x240;8\n", " 5 24 639 8 426 240 1"},
		{"the first alone", "0.25;1700000000000;4;18;639;426x240;0\n;1700000000400;5;24;639;426x240;8\n", " 5 24 639 8 426 240 0.25"},
		{"the second alone", ";1700000000000;4;18;639;426x240;0\n0.5;1700000000400;5;24;639;426x240;8\n", " 5 24 639 8 426 240 0.5"},
		{"neither", ";1700000000000;4;18;639;426x240;0\n;1700000000400;5;24;639;426x240;8\n", " 5 24 639 8 426 240 -"},
		{"no size in the second", "0.25;1700000000000;4;18;639;426x240;0\n0.5;1700000000400;;;639;;8\n", " 4 18 639 8 426 240 0.75"},
		{"no size at all", "0.25;1700000000000;4;18;639;;0\n0.5;1700000000400;5;24;639;;8\n", " 5 24 639 8 - - 0.75"},
	} {
		d, err := telemetry.Join(nil, stringReader(t, telemetry.DASH, head+c.records), telemetry.Max)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := strings.TrimSuffix(table(d), "\n"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What a join refused is of both its logs.
func TestJoinCountsRefusedOfBothLogs(t *testing.T) {
	d, err := telemetry.Join(
		stringReader(t, telemetry.INT, intHead+"1700000000,1,2,3\n1700000001,-1,2,3\n1700000002,1,2,3\n"),
		stringReader(t, telemetry.DASH, dashHead+"1700000000000;4;18;639;426x240;0\n1700000001000;-4;18;639;426x240;0\n1700000002000;4;18;639;426x240;0\n"), telemetry.Max)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(d.Reading().Notes(), "\n")
	for _, want := range []string{"enq_qdepth1", "Buffer"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note on %s:\n%s", want, notes)
		}
	}
}

// A tally counts by column, keeps the first refusal of each, takes what is at
// either bound and adds what readers refused before.
func TestTallyByHand(t *testing.T) {
	fields := make([]telemetry.Field, 2)
	fields[0], _ = telemetry.Canonical("lbo_s") // 0 to 3600 s
	fields[1], _ = telemetry.Canonical("width") // 1 to 16384 px
	tally := telemetry.NewTally(fields)
	for i, c := range []struct {
		column int
		v      float64
		ok     bool
	}{{0, 0, true}, {0, 3600, true}, {0, -1, false}, {0, 3601, false}, {1, 1, true}, {1, 16384, true}, {1, 0, false}} {
		if got := tally.Take(c.column, c.v, "here", i+1); got != c.ok {
			t.Errorf("%v of %s is taken: %v", c.v, fields[c.column].Name, got)
		}
	}
	before := telemetry.NewTally(fields[:1])
	before.Take(0, -7, "there", 9)
	tally.Add(0, before.Refused()[0]) // the first refusal stays
	tally.Add(1, before.Refused()[0])
	other := telemetry.NewTally(fields)
	other.Add(0, before.Refused()[0]) // or is the reader's
	for _, c := range []struct {
		got       telemetry.Refused
		count, of int
		file      string
		line      int
	}{{tally.Refused()[0], 3, 5, "here", 3}, {tally.Refused()[1], 2, 4, "here", 7}, {other.Refused()[0], 1, 1, "there", 9}} {
		if c.got.Count != c.count || c.got.Of != c.of || c.got.First.File != c.file || c.got.First.Line != c.line {
			t.Errorf("%+v, want %+v", c.got, c)
		}
	}
}

// A player's counter that falls began anew: the rise is not measured there, and
// the restart is counted. Seconds that a recording skips have times of their own.
func TestRestartsAndSkippedSeconds(t *testing.T) {
	d, err := telemetry.Join(nil, stringReader(t, telemetry.DASH, dashHead+
		"1700000000100;4;18;639;426x240;0\n1700000001200;4;18;639;426x240;8\n1700000001900;4;18;639;426x240;3\n"+
		"1700000005100;4;18;639;426x240;7\n1700000006100;4;18;639;426x240;2\n"), telemetry.Max)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Reading().Restarts; got != 2 {
		t.Errorf("%d restarts, want 2", got)
	}
	var b bytes.Buffer
	if err := d.EncodeCSV(&b); err != nil {
		t.Fatal(err)
	}
	want := []string{"1700000000100", "1700000001200", "1700000001900", "1700000002900", "1700000003900", "1700000005100", "1700000006100"}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")[1:]
	for second, line := range lines {
		if ms := strings.Split(line, ",")[1]; second >= len(want) || ms != want[second] {
			t.Errorf("second %d is at %s, want %s", second, ms, want)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d seconds, want %d:\n%s", len(lines), len(want), b.String())
	}
}

// A log of one line with a time and another without is a log of one line; without
// any line, or without a line that has a time, it is an error that says so.
func TestLogsOfOneLine(t *testing.T) {
	good, bad := "1700000000,1,2,3\n", "7,1,2,3\n"
	for _, c := range []struct{ name, lines, err string }{
		{"one line", good, ""}, {"and one without a time", good + bad, ""}, {"two and one", good + good + bad, ""},
		{"no line", "", "a probe within the recording"}, {"no line with a time", bad, "timestamp"},
	} {
		_, err := telemetry.Join(stringReader(t, telemetry.INT, intHead+c.lines), nil, telemetry.Max)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: probes: %v, want %q", c.name, err, c.err)
		}
	}
	good, bad = "1700000000000;4;18;639;426x240;0\n", "7;4;18;639;426x240;0\n"
	for _, c := range []struct{ name, lines, err string }{
		{"one line", good, ""}, {"and one without a time", good + bad, ""},
		{"no line", "", "at least one line after the header"}, {"no line with a time", bad, "timestamp"},
	} {
		_, err := telemetry.Join(nil, stringReader(t, telemetry.DASH, dashHead+c.lines), telemetry.Max)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: player: %v, want %q", c.name, err, c.err)
		}
	}
}

// What a folder's files were read through is closed again, in each of the ways in
// which a folder holds a recording.
func TestOpenFolderClosesFiles(t *testing.T) {
	open := func() int {
		e, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("/proc/self/fd cannot be read: ", err)
		}
		return len(e)
	}
	for name, files := range map[string]map[string]string{
		"grid":      {"grid_32.csv": "t,ts_ms,lbo_s,fps\n0,0,1,\n1,0,2,\n"},
		"published": {"dash_32.csv": dashHead + "1700000000000;4;18;639;426x240;0\n1700000001000;4;18;639;426x240;0\n"},
		"neither":   {"notes.txt": "none"},
	} {
		dir := t.TempDir()
		for f, text := range files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := open()
		for range 8 {
			_, _ = telemetry.OpenFolder(dir)
		}
		if after := open(); after >= before+8 {
			t.Errorf("%s: %d files are open, %d before", name, after, before)
		}
	}
	if dir := os.Getenv("PLANEGYM_DATA"); dir != "" {
		before := open()
		for range 8 {
			if _, err := telemetry.OpenFolder(dir); err != nil {
				t.Fatal(err)
			}
		}
		if after := open(); after >= before+8 {
			t.Errorf("the recordings: %d files are open, %d before", after, before)
		}
	}
}

// What is no regular file is refused by its kind, at once.
func TestOpenNamesTheKind(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip("no unix sockets: ", err)
	}
	defer l.Close()
	for path, want := range map[string]string{dir: "a folder", socket: "a socket", os.DevNull: "a device"} {
		f, err := telemetry.Open(path)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want+": want a regular file") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

// A header without a column names it as its file's format does.
func TestMissingColumnIsNamedAsInTheFile(t *testing.T) {
	for _, c := range []struct {
		format telemetry.Format
		head   string
		want   string
	}{
		{telemetry.DASH, "Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n", "timestamp"},
		{telemetry.DASH, "timestamp;FPS;ReportedBitrate;Resolution;CalcBitrate\n", "Buffer"},
	} {
		_, err := telemetry.NewReader(strings.NewReader(c.head), "f", c.format)
		var bad *telemetry.ValueError
		if !errors.As(err, &bad) || bad.Column != c.want {
			t.Errorf("%q: %v, want %s to be missing", c.head, err, c.want)
		}
	}
}
