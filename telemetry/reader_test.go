package telemetry_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry"
)

// data is the folder of the real recordings; a test that needs them is skipped
// where there are none.
func data(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: the real recordings are not here")
	}
	return dir
}

// openReader opens a file of the real recordings.
func openReader(t *testing.T, name string, f telemetry.Format) *telemetry.Reader {
	t.Helper()
	file, err := os.Open(filepath.Join(data(t), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	r, err := telemetry.NewReader(file, name, f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stringReader reads text, which is named after the test.
func stringReader(t *testing.T, f telemetry.Format, text string) *telemetry.Reader {
	t.Helper()
	r, err := telemetry.NewReader(strings.NewReader(text), t.Name(), f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func names(fields []telemetry.Field) string {
	var s []string
	for _, f := range fields {
		s = append(s, f.Name)
	}
	return strings.Join(s, " ")
}

// readAll reads what is left and prints it, one record a line.
func readAll(r *telemetry.Reader) (string, error) {
	var b strings.Builder
	var rec telemetry.Record
	for {
		err := r.Read(&rec)
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%d@%d:", rec.Line, rec.Millis)
		for i, v := range rec.Values {
			if rec.Valid[i] {
				fmt.Fprintf(&b, " %v", v)
			} else {
				b.WriteString(" -")
			}
		}
		b.WriteString("\n")
	}
}

const (
	intHead  = "timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1\n"
	dashHead = "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n"
	rowsHead = "enq_qdepth1,deq_timedelta1,deq_qdepth1,Buffer,ReportedBitrate,FPS,CalcBitrate\n"
	gridHead = "t,ts_ms,queue,enq_qdepth1,deq_timedelta1,deq_qdepth1,lbo_s,fps,rep_kbps,calc_cum,calc_rate,width,height,int_present\n"
)

func TestReader(t *testing.T) {
	for _, c := range []struct {
		name   string
		format telemetry.Format
		text   string
		fields string
		want   string
	}{
		{"blanks in the header, hop 2 first, other columns", telemetry.INT,
			"timestamp,switchID_t2, enq_qdepth2, deq_timedelta2,deq_qdepth2, enq_qdepth1,deq_timedelta1, deq_qdepth1\n1700000007,2,21,22,23,11,12,13\n1700000007,2,0,1,0,0,,0\n",
			"enq_qdepth1 deq_timedelta1 deq_qdepth1 enq_qdepth2 deq_timedelta2 deq_qdepth2",
			"2@1700000007000: 11 12 13 21 22 23\n3@1700000007000: 0 - 0 0 1 0\n"},
		{"byte order mark, CRLF, quotes, blank lines, fraction of a second", telemetry.INT,
			"\ufeff\"timestamp\", \"enq_qdepth1\",deq_timedelta1,deq_qdepth1\r\n\r\n1700000001.5,\"1\",2,3\r\n1700000002,4,5,6",
			"enq_qdepth1 deq_timedelta1 deq_qdepth1", "3@1700000001500: 1 2 3\n4@1700000002000: 4 5 6\n"},
		{"player", telemetry.DASH, dashHead + "1694912784759;3.977;30;3312;1280x720;66\n1694912785761;7.064;24;1867;854x480;464\n",
			"lbo_s fps rep_kbps calc_cum width height",
			"2@1694912784759: 3.977 30 3312 66 1280 720\n3@1694912785761: 7.064 24 1867 464 854 480\n"},
		{"player that counts stalls", telemetry.DASH, "stall_s;" + dashHead + "0.5;1700000000000;0;18;639;426x240;0\n",
			"lbo_s fps rep_kbps calc_cum width height stall_s", "2@1700000000000: 0 18 639 0 426 240 0.5\n"},
		{"published rows", telemetry.Merged, rowsHead + "0.0,2043.0,9.0,7.064,3312.0,30.0,464.0\n",
			"enq_qdepth1 deq_timedelta1 deq_qdepth1 lbo_s fps rep_kbps calc_cum", "2@0: 0 2043 9 7.064 30 3312 464\n"},
		{"grid", telemetry.Grid, gridHead + "0,1000,32,,,,3.977,30,3312,66,66,1280,720,0\n1,2002,32,0,9,1,,,,,,,,1\n",
			"enq_qdepth1 deq_timedelta1 deq_qdepth1 lbo_s fps rep_kbps calc_cum calc_rate width height",
			"2@1000: - - - 3.977 30 3312 66 66 1280 720\n3@2002: 0 9 1 - - - - - - -\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := stringReader(t, c.format, c.text)
			if got := names(r.Fields()); got != c.fields {
				t.Errorf("fields %q, want %q", got, c.fields)
			}
			if got, err := readAll(r); err != nil || got != c.want {
				t.Errorf("got %q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}

func TestReaderErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		format telemetry.Format
		text   string
		want   string
	}{
		{"empty", telemetry.INT, "", `f: "": want a header line: the file is empty`},
		{"blank lines only", telemetry.DASH, "\n \r\n", `f:2: "": want a header line: the file is empty`},
		{"no hop", telemetry.INT, "timestamp,a\n", `f:1: enq_qdepth1: "timestamp,a": want this column in the header of INT files`},
		{"hop 1 missing", telemetry.INT, "timestamp,enq_qdepth2,deq_timedelta2,deq_qdepth2\n", `f:1: enq_qdepth1: "timestamp,enq_qdepth2,deq_timedelta2,deq_qdepth2": want this column in the header of INT files`},
		{"half a hop", telemetry.Merged, strings.Replace(rowsHead, "deq_qdepth1", "x", 1), `f:1: deq_qdepth1: "enq_qdepth1,deq_timedelta1,x,Buffer,ReportedBitrate,FPS,Calc…": want this column in the header of merged files`},
		{"no clock", telemetry.INT, intHead[len("timestamp,"):], `f:1: timestamp: "enq_qdepth1,deq_timedelta1,deq_qdepth1": want this column in the header of INT files`},
		{"no Buffer", telemetry.DASH, strings.Replace(dashHead, "Buffer", "b", 1), `f:1: Buffer: "timestamp;b;FPS;ReportedBitrate;Resolution;CalcBitrate": want this column in the header of DASH files`},
		{"column twice", telemetry.DASH, "lbo_s;" + dashHead, `f:1: Buffer: "lbo_s": want each column once`},
		{"resolution", telemetry.DASH, dashHead + "1700000000001;3;30;3312;720p;66\n", `f:2: Resolution: "720p": want a resolution like 1280x720`},
		{"half a resolution", telemetry.DASH, dashHead + "1700000000001;3;30;3312;1280x;66\n", `f:2: Resolution: "1280x": want a number`},
		{"no number", telemetry.INT, intHead + "1700000001,1,one,1\n", `f:2: deq_timedelta1: "one": want a number`},
		{"cell missing", telemetry.INT, intHead + "1,1,1\n", `f:2: "1,1,1": want 4 cells as in the header, not 3`},
		{"cell too many", telemetry.INT, intHead + "1,1,1,1,\n", `f:2: "1,1,1,1,": want 4 cells as in the header, not 5`},
		{"endless line", telemetry.INT, intHead + strings.Repeat("1", 1<<21), `f:2: "": want a line of at most 1048576 bytes`},
		{"grid skips", telemetry.Grid, gridHead + "0,0,32,,,,3,30,3312,66,66,1280,720,0\n2,2,32,,,,3,30,3312,66,66,1280,720,0\n", `f:3: t: "2": want 1: one line a second from 0`},
		{"grid changes limit", telemetry.Grid, gridHead + "0,0,32,,,,3,30,3312,66,66,1280,720,0\n1,2,64,,,,3,30,3312,66,66,1280,720,0\n", `f:3: queue: "64": want 32 as in the first line: one limit a recording`},
		{"grid says INT is there", telemetry.Grid, gridHead + "0,0,32,,,,3,30,3312,66,66,1280,720,1\n", `f:2: int_present: "1": want 0: whether an INT cell of the line is filled`},
		{"grid says INT is not there", telemetry.Grid, gridHead + "0,0,32,1,1,1,3,30,3312,66,66,1280,720,0\n", `f:2: int_present: "0": want 1: whether an INT cell of the line is filled`},
		{"grid without int_present", telemetry.Grid, "t,ts_ms,enq_qdepth1\n", `f:1: int_present: "t,ts_ms,enq_qdepth1": want this column in the header of grid files`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := telemetry.NewReader(strings.NewReader(c.text), "f", c.format)
			if err == nil {
				_, err = readAll(r)
			}
			var bad *telemetry.ValueError
			if !errors.As(err, &bad) {
				t.Fatalf("%v is no *ValueError", err)
			}
			if err.Error() != c.want {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

// brokenReader ends in an error that is not one of ours.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReaderKeepsCause(t *testing.T) {
	r, err := telemetry.NewReader(io.MultiReader(strings.NewReader(intHead+"1,1,1,1\n"), brokenReader{}), "f", telemetry.INT)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "f after line 2") {
		t.Errorf("%v", err)
	}
}

// endless makes lines of an INT file without holding them.
type endless struct {
	left int
	rest []byte
	line []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		if e.left == 0 {
			return 0, io.EOF
		}
		e.left--
		e.rest = e.line
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// TestReaderStreams reads a file of 60 MB that exists nowhere and counts every
// byte that is allocated meanwhile: less than half a megabyte in all, so a
// file may be larger than memory.
func TestReaderStreams(t *testing.T) {
	line := []byte("1621269691," + strings.Repeat("12345678,", 5) + "1\n")
	const lines = 1_000_000
	r, err := telemetry.NewReader(io.MultiReader(
		strings.NewReader("timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1,a,b,c\n"),
		&endless{left: lines, line: line},
	), "endless", telemetry.INT)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	var rec telemetry.Record
	for {
		err := r.Read(&rec)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; n != lines || bytes > 1<<19 {
		t.Errorf("%d lines of %d bytes each allocated %d bytes", n, len(line), bytes)
	}
}

func TestReaderRealINT(t *testing.T) {
	r := openReader(t, "int_raw_poc.csv", telemetry.INT)
	if got := names(r.Fields()); got != "enq_qdepth1 deq_timedelta1 deq_qdepth1 enq_qdepth2 deq_timedelta2 deq_qdepth2 enq_qdepth3 deq_timedelta3 deq_qdepth3" {
		t.Errorf("fields %s", got)
	}
	var rec telemetry.Record
	n := 0
	top := make([]float64, 9)
	for {
		err := r.Read(&rec)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range rec.Values {
			top[i] = max(top[i], v)
		}
		n++
	}
	// Counted with Python's csv module, independently of this code.
	if want := []float64{63, 480225, 61, 55, 13040, 52, 1, 11654, 1}; n != 17839 || !slices.Equal(top, want) {
		t.Errorf("%d probes, largest %v; want 17839, %v", n, top, want)
	}
}

// TestReaderPeers: the synthetic files of the tutorial's authors have the
// columns of published rows and are read as such.
func TestReaderPeers(t *testing.T) {
	for _, name := range []string{"models3_best_modelsum_32", "models3_best_modelsum_64", "models9_best_modelsum_32", "models9_best_modelsum_64"} {
		text, err := readAll(openReader(t, "peer_"+name+".csv", telemetry.Merged))
		if n := strings.Count(text, "\n"); err != nil || n != 3600 {
			t.Errorf("%s: %d rows, %v; want 3600", name, n, err)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	line := []byte("1621269691,3,0,2,0,357760003134,0,27,0,12,1234,11\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	r, err := telemetry.NewReader(io.MultiReader(
		strings.NewReader("timestamp,a,b,c,d,e,enq_qdepth2,deq_timedelta2,deq_qdepth2,enq_qdepth1,deq_timedelta1,deq_qdepth1\n"),
		&endless{left: b.N, line: line},
	), "endless", telemetry.INT)
	if err != nil {
		b.Fatal(err)
	}
	var rec telemetry.Record
	for range b.N {
		if err := r.Read(&rec); err != nil {
			b.Fatal(err)
		}
	}
}
