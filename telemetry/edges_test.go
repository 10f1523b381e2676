package telemetry

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// A record holds 0 where nothing was measured, whatever its memory held before and for whatever reason.
func TestRecordOfNothing(t *testing.T) {
	text := "timestamp,Buffer,FPS,ReportedBitrate,Resolution,CalcBitrate\n1700000000,7,8,9,5x6,1\n"
	for _, cells := range []string{",,,,", "null,NaN,-,undefinedxundefined,", "1e9,1e9,1e300,1e300x1e300,-5", `"","","","",""`, "1e999,-1e999,1e999,1e999x1e999,1e999"} {
		text += "1700000001," + cells + "\n"
	}
	r, err := NewReader(strings.NewReader(text), "f", DASH)
	if err != nil {
		t.Fatal(err)
	}
	var rec Record
	for n := 0; ; n++ {
		err := r.Read(&rec)
		if errors.Is(err, io.EOF) {
			if n != 6 {
				t.Errorf("%d lines", n)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(rec.Values) != 6 || len(rec.Valid) != 6 {
			t.Fatalf("%+v", rec)
		}
		for i, f := range r.Fields() {
			if rec.Valid[i] != (n == 0) || n > 0 && rec.Values[i] != 0 {
				t.Errorf("line %d: %s is %v, %v", rec.Line, f.Name, rec.Values[i], rec.Valid[i])
			}
		}
	}
}

// A decimal comma may come anywhere in a number, once.
func TestDecimalComma(t *testing.T) {
	for cell, want := range map[string]string{",5": "0.5", "1,5": "1.5", "15,": "15", "1,5,0": "error", ",": "error", "1.5,0": "error"} {
		r, err := NewReader(strings.NewReader("timestamp;Buffer\n1700000000;"+cell+"\n"), "f", DASH)
		if err != nil {
			t.Fatal(err)
		}
		var rec Record
		got := "error"
		if err := r.Read(&rec); err == nil {
			got = fmt.Sprint(rec.Values[0])
		}
		if got != want {
			t.Errorf("%s: %s, want %s", cell, got, want)
		}
	}
}

// A reader is of a format that there is.
func TestNoSuchFormat(t *testing.T) {
	for _, f := range []Format{Grid + 1, Grid + 2, 255} {
		if _, err := NewReader(strings.NewReader("timestamp\n"), "f", f); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("%d: %v", f, err)
		}
	}
}

// A player's second is the nearest to its record, half a second counting as the next; of two records of a
// second whose counter rises too far in the second one, nothing of the rise is left.
func TestSecondsOfThePlayer(t *testing.T) {
	const origin = 1_700_000_000_250
	read := func(lines ...string) *Dataset {
		t.Helper()
		text := "timestamp,Buffer,CalcBitrate\n"
		for _, l := range lines {
			text += l + "\n"
		}
		r, err := NewReader(strings.NewReader(text), "f", DASH)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Join(nil, r, Max)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for after, want := range map[int64]int{0: 1, 499: 1, 500: 2, 1499: 2, 1500: 3, 59_499: 60, 59_500: 61, 99_499: 100, 99_500: 101} {
		d := read(fmt.Sprintf("%d,3,0", origin), fmt.Sprintf("%d,4,0", origin+after))
		if d.Len() != want {
			t.Errorf("%d ms later: %d seconds, want %d", after, d.Len(), want)
		}
	}
	line := func(s float64, cum int) string { return fmt.Sprintf("%d,3,%d", origin+int64(1000*s), cum) }
	rises := func(d *Dataset) string {
		var s []string
		for i := range d.Len() {
			if v, ok := d.At(i, d.Column("calc_rate")); ok {
				s = append(s, fmt.Sprint(v))
			} else {
				s = append(s, "-")
			}
		}
		return strings.Join(s, " ")
	}
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{line(0, 0), line(1, 10), line(1.2, 30), line(2, 35)}, "0 30 5"},
		{[]string{line(0, 0), line(1, 10), line(1.2, 2_000_000_000), line(2, 2_000_000_005)}, "0 - 5"},
		{[]string{line(0, 0), line(1, 10), line(1.2, 2), line(2, 5)}, "0 - 3"}, // it began anew
		{[]string{line(0, 7), line(1, 10), line(3, 20)}, "- 3 - 5"},
		{[]string{line(0, 0), line(0.2, 4), line(1, 5)}, "4 1"},
		{[]string{line(0, 7), line(0.2, 9), line(1, 10)}, "- 1"},
	} {
		if got := rises(read(c.lines...)); got != c.want {
			t.Errorf("%q: %s, want %s", c.lines, got, c.want)
		}
	}
}

// Fits of a value or two, and ranks of equal ones: the mean of their places among the others, of 0…1.
func TestSmallFits(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{{nil, "[] []"}, {[]float64{3}, "[3] [0]"}, {[]float64{3, 5}, "[3 5] [0 1]"}, {[]float64{3, 3}, "[3] [0.5]"}, {[]float64{3, 4, 4}, "[3 4] [0 0.75]"}, {[]float64{3, 3, 4, 9, 9}, "[3 4 9] [0.125 0.5 0.875]"}} {
		s, err := fitStep("quantile", c.values)
		if got := fmt.Sprint(s.Values, s.Ranks); err != nil || got != c.want {
			t.Errorf("%v: %s, %v; want %s", c.values, got, err, c.want)
		}
	}
	s, err := fitStep("minmax", []float64{3})
	if err != nil || s.Low != 3 || s.High != 3 || s.forward(3) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	wide := scaleStep{Kind: "quantile", Values: []float64{-1e308, 0, 1e308}, Ranks: []float64{0, .5, 1}}
	if err := wide.check(); err == nil || err.Error() != "values -1e+308 to 1e+308 span too much" {
		t.Errorf("%v", err)
	}
}

// A row outside of one column's fences goes with all of its values, the others stay together.
func TestOutliersGoWhole(t *testing.T) {
	tab := &Table{Fields: []Field{{"a", ""}, {"b", ""}}, Seconds: []int64{1, 2, 3, 4, 5, 6, 7}, Values: []float64{1, 10, 2, 20, 900, 30, 3, 40, 4, -900, 5, 50, 6, 60}}
	tab.dropOutliers()
	if got := fmt.Sprint(tab.Seconds, tab.Values); got != "[1 2 4 6 7] [1 10 2 20 3 40 5 50 6 60]" {
		t.Error(got)
	}
}

// Which sides a recording measured: a column that is there and empty is not measured.
func TestSidesOfEmptyColumns(t *testing.T) {
	fields := []Field{{"enq_qdepth1", "packets"}, {"deq_qdepth2", "packets"}, {"lbo_s", "s"}, {"fps", "1/s"}}
	for mask := range 16 {
		valid := make([]bool, 4)
		for i := range valid {
			valid[i] = mask>>i&1 == 1
		}
		d, err := NewDataset(fields, 0, time.Unix(0, 0), make([]float32, 4), valid)
		if err != nil {
			t.Fatal(err)
		}
		if switches, player := d.Sides(); switches != (mask&3 != 0) || player != (mask&12 != 0) {
			t.Errorf("measured %v: switches %v, player %v", valid, switches, player)
		}
	}
	for name, want := range map[string]int{"enq_qdepth1": 1, "deq_timedelta12": 12, "enq_qdepth": 0, "enq_qdepth0": 0, "lbo_s": 0, "other3": 0, "": 0} {
		if got := (Field{Name: name}).Hop(); got != want {
			t.Errorf("%q: hop %d, want %d", name, got, want)
		}
	}
}

// A log's times go forwards, with an hour between at most: one that is further is passed over, and two of
// them that agree say that the log starts over.
func TestStrayTimes(t *testing.T) {
	const start, hour = 1_700_000_000, 3600
	for _, c := range []struct {
		name  string
		times []int64
		kept  int
		fails bool
	}{
		{"every second", []int64{start, start + 1, start + 2}, 3, false},
		{"an hour later", []int64{start, start + hour}, 2, false},
		{"more than an hour later", []int64{start, start + hour + 1}, 1, false},
		{"before the first", []int64{start, start - 1, start + 1}, 2, false},
		{"one stray", []int64{start, start + 2*hour, start + 1, start + 2}, 3, false},
		{"two strays apart", []int64{start, start + 2*hour, start + 9*hour, start + 1}, 2, false},
		{"two strays the other way", []int64{start, start + 9*hour, start + 2*hour, start + 1}, 2, false},
		{"it starts over", []int64{start, start + 2*hour, start + 2*hour}, 1, true},
		{"it starts over, an hour on", []int64{start, start + 2*hour, start + 3*hour}, 1, true},
		{"a stray, one good line, a stray", []int64{start, start + 2*hour, start + 1, start + 2*hour, start + 2}, 3, false},
	} {
		text := "timestamp,Buffer\n"
		for _, s := range c.times {
			text += fmt.Sprintf("%d,3\n", s)
		}
		r, err := NewReader(strings.NewReader(text), "f", DASH)
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		var rec Record
		for err = r.Read(&rec); err == nil; err = r.Read(&rec) {
			kept++
		}
		if kept != c.kept || errors.Is(err, io.EOF) == c.fails || c.fails && !strings.Contains(err.Error(), "cut the log in two") {
			t.Errorf("%s: %d lines of %d, %v", c.name, kept, c.kept, err)
		}
	}
}

// Of quantiles, the largest float32 is a value and what is above it is none.
func TestLargestValues(t *testing.T) {
	for v, ok := range map[float32]bool{math.MaxFloat32: true, -math.MaxFloat32: true, float32(math.Inf(1)): false, float32(math.Inf(-1)): false, float32(math.NaN()): false} {
		if _, err := NewDataset([]Field{{"a", ""}}, 0, time.Unix(0, 0), []float32{v}, []bool{true}); (err == nil) != ok {
			t.Errorf("%v: %v", v, err)
		}
		if _, err := NewDataset([]Field{{"a", ""}}, 0, time.Unix(0, 0), []float32{v}, []bool{false}); err != nil {
			t.Errorf("%v, not measured: %v", v, err)
		}
	}
}

// A ladder has sixteen rungs at most: a recording of more qualities has none of its own. A line that is too long
// gives no bytes of it.
func TestMostRungsAndBytes(t *testing.T) {
	for n, want := range map[int]int{1: 1, 15: 15, 16: 16, 17: 0} {
		var values []float32
		for i := range n {
			values = append(values, float32(100+i))
		}
		d, err := NewDataset([]Field{{"rep_kbps", "kbit/s"}}, 0, time.Unix(0, 0), values, slices.Repeat([]bool{true}, n))
		if err != nil {
			t.Fatal(err)
		}
		if got := LadderOf(d); len(got) != want {
			t.Errorf("%d qualities: a ladder of %d rungs, want %d", n, len(got), want)
		}
	}
	r := LimitLines(strings.NewReader(strings.Repeat("x", maxLine+1)))
	b := make([]byte, 2*maxLine)
	for {
		n, err := r.Read(b)
		if err != nil {
			if n != 0 || errors.Is(err, io.EOF) {
				t.Errorf("%d bytes, %v", n, err)
			}
			break
		}
	}
}

// A recording says that its file has no end, and has what was read of it.
func TestCutIsTold(t *testing.T) {
	for tail, want := range map[string]int{"": 0, "1,1000,3\n": 0, "1,1000,3": 0, "1,100": 1} {
		d, err := DecodeGrid(strings.NewReader("t,ts_ms,lbo_s\n0,0,3\n"+tail), "f")
		if err != nil {
			t.Fatal(tail, err)
		}
		cut := d.Reading().Cut
		if len(cut) != want || want == 1 && (d.Len() != 1 || !strings.Contains(cut[0].Error(), "f")) {
			t.Errorf("%q: %v, %d seconds", tail, cut, d.Len())
		}
	}
}
