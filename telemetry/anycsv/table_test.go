package anycsv

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Numbers as they are written, where commas lie between the cells and where semicolons do; "-" is none.
func TestNumbers(t *testing.T) {
	for cell, want := range map[string][2]string{
		"1.5": {"1.5", "1.5"}, "-2": {"-2", "-2"}, "1e3": {"1000", "1000"}, ".5": {"0.5", "0.5"},
		"Inf": {"-", "-"}, "-inf": {"-", "-"}, "NaN": {"-", "-"}, "0x10": {"-", "-"}, "0X1p4": {"-", "-"}, "1_000": {"-", "-"}, "1e400": {"-", "-"}, "": {"-", "-"}, "x": {"-", "-"},
		"1,234.5": {"1234.5", "1234.5"}, "-1,234.5": {"-1234.5", "-1234.5"}, "+12,345.25": {"12345.25", "12345.25"}, "1,234.5e3": {"1.2345e+06", "1.2345e+06"},
		"1,234,567": {"1.234567e+06", "1.234567e+06"}, "1,234": {"1234", "1.234"}, "123,456": {"123456", "123.456"},
		"12,34": {"-", "12.34"}, "1,5": {"-", "1.5"}, "+1,5": {"-", "1.5"}, "1234,567": {"-", "1234.567"}, ",5": {"-", "0.5"}, "5,": {"-", "5"}, "1,5e2": {"-", "150"},
		"1.234,5": {"-", "1234.5"}, "1.234.567,5": {"-", "1.2345675e+06"}, "-1.234,5": {"-", "-1234.5"},
		"1.23,5": {"-", "-"}, "1234.567,5": {"-", "-"}, ".234,5": {"-", "-"}, "1..234,5": {"-", "-"}, "1,5.5": {"-", "-"}, "1,2,3": {"-", "-"}, "1,234,56": {"-", "-"}, "1,234.5,6": {"-", "-"},
		",234.5": {"-", "-"}, "1234,567.5": {"-", "-"}, "1,,234": {"-", "-"}, "1,23x": {"-", "-"}, "1,2x4.5": {"-", "-"}, "1,234.x": {"-", "-"}, "1,1e400": {"-", "-"}, "1,234.5e400": {"-", "-"}, "1,": {"-", "1"}, ",": {"-", "-"},
	} {
		for i, separator := range []byte{',', ';'} {
			got := "-"
			if v, ok := parseNumber(cell, separator); ok {
				got = fmt.Sprint(v)
			}
			if got != want[i] {
				t.Errorf("%q between %c: %s, want %s", cell, separator, got, want[i])
			}
		}
	}
}

// Dates as they are written: the same moment in each form, and what is no date.
func TestDates(t *testing.T) {
	for cell, want := range map[string]string{
		"2020-03": "2020-03-01T00:00:00Z", "2020-03-04": "2020-03-04T00:00:00Z", "2020/3/4": "2020-03-04T00:00:00Z", "3/4/2020": "2020-03-04T00:00:00Z", "13/4/2020": "2020-04-13T00:00:00Z",
		"4.3.2020": "2020-03-04T00:00:00Z", "04-Mar-2020": "2020-03-04T00:00:00Z", "Mar 4, 2020": "2020-03-04T00:00:00Z", "2020-03-04T05:06:07.25Z": "2020-03-04T05:06:07.25Z", "2020-03-04 05:06": "2020-03-04T05:06:00Z",
		"3/4/2020 5:06 PM": "2020-03-04T17:06:00Z", "2020-03-04 05:06:07+01:00": "2020-03-04T04:06:07Z",
		"2020": "", "202003": "", "2020-13-01": "", "30/30/2020": "", "March": "", "01:02:03": "", "": "",
	} {
		at, ok := parseDate(cell)
		if got := at.UTC().Format(time.RFC3339Nano); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s, %v; want %q", cell, got, ok, want)
		}
	}
	f := read(t, "t,a\n2020-03-04T00:00:00.25Z,1\n2020-03-04T00:00:00.75Z,2\n2020-03-04T00:00:01.25Z,4\n", Options{})
	if f.Clock.Step != .5 || !f.Clock.First.Equal(time.Date(2020, 3, 4, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", f.Clock)
	}
}

// The step of a clock is the middle one, others are whole multiples of it within one in a hundred, gaps come
// in a fifth of places at most, and twice as many rows as there are may be missing.
func TestSteps(t *testing.T) {
	tens := func(n int, more ...float64) []float64 { return append(slices.Repeat([]float64{10}, n), more...) }
	for _, c := range []struct {
		steps   []float64
		step    float64
		missing int
	}{
		{[]float64{10}, 10, 0}, {[]float64{0}, 0, 0}, {tens(3), 10, 0}, {[]float64{9.95, 10}, 10, 0}, {[]float64{9.95, 9.96, 10}, 9.96, 0},
		{[]float64{100, 101, 99, 100}, 100, 0}, {[]float64{100, 101.01, 99, 100}, 0, 0}, {[]float64{100, 98.99, 99, 100}, 0, 0}, {[]float64{100, 150, 100}, 0, 0}, {[]float64{100, 0, 100}, 0, 0}, {[]float64{100, 100, 40}, 0, 0},
		{tens(4, 20), 10, 1}, {tens(3, 20), 0, 0}, {tens(8, 20, 30), 10, 3}, {tens(7, 20, 20, 20), 0, 0}, {tens(4, 20.05), 10, 1}, {tens(4, 20.2), 0, 0}, {tens(4, 15), 0, 0},
		{tens(4, 110), 10, 10}, {tens(4, 120), 0, 0}, {tens(9, 210), 10, 20}, {tens(9, 220), 0, 0}, {tens(4, 1e300), 0, 0},
	} {
		if step, missing := stepOf(c.steps); step != c.step || missing != c.missing {
			t.Errorf("%v: %v, %d missing; want %v, %d", c.steps, step, missing, c.step, c.missing)
		}
	}
}

// What a column holds, cell by cell.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		first bool // column of the file
		cells string
		kind  Kind
		odd   string // at this line, "" of numbers
	}{
		{false, "1 2.5", Real, ""}, {false, "1 3", Whole, ""}, {false, "1 ? 3", Whole, ""}, {false, "-1 3", Whole, ""}, {false, "2 2 ?", Constant, ""}, {false, "? na", Empty, ""},
		{true, "0 1 2", Counter, ""}, {true, "1 2 3", Counter, ""}, {true, "2 3 4", Whole, ""}, {true, "-1 0 1", Whole, ""}, {true, "1 2 4", Whole, ""}, {true, "1 2 ?", Whole, ""}, {true, "0 2 3", Whole, ""}, {false, "1 2 3", Whole, ""}, {true, "0 1 1.5", Real, ""},
		{false, "2020-01-01 2020-01-02", Dates, `line 2 holds "2020-01-01"`}, {false, "? 2020-01-01 2020-01-02", Dates, `line 3 holds "2020-01-01"`},
		{false, "1 2020-01-01 2020-01-02", Words, `line 3 holds "2020-01-01"`}, {false, "2020-01-01 1 2", Words, `line 2 holds "2020-01-01"`},
		{false, "1 x y", Words, `line 3 holds "x"`}, {false, "1 x 2020-01-01", Words, `line 3 holds "x"`}, {false, "1 2020-01-01 x", Words, `line 4 holds "x"`}, {false, "2020-01-01 x 2020-01-02", Words, `line 3 holds "x"`},
	} {
		text := "i|b\n"
		for cell := range strings.FieldsSeq(c.cells) {
			if c.first {
				text += cell + "|z\n"
			} else {
				text += "7|" + cell + "\n"
			}
		}
		cells, err := readCells(strings.NewReader(text))
		if err != nil {
			t.Fatal(c.cells, err)
		}
		at := 1
		if c.first {
			at = 0
		}
		got := cells.columns[at]
		if got.kind != c.kind || c.odd != "" && got.odd != c.odd || got.missing != strings.Count(c.cells, "?")+strings.Count(c.cells, "na") {
			t.Errorf("%s: %s, %d missing, %s; want %s, %s", c.cells, got.kind, got.missing, got.odd, c.kind, c.odd)
		}
	}
}

// Which first line is none of names: one of numbers, beside which there may be dates and nothing.
func TestFirstLines(t *testing.T) {
	for head, want := range map[string]string{
		"1,2": "column1 column2", "1,": "column1 column2", "1,2020-01-01": "column1 column2", "2020-01-01,": "2020-01-01 column2", "a,1": "a 1", "1,a": "1 a", "a,": "a column2", ",b": "column1 b", " a , b ": "a b", "na,null": "na null", "\ufeffa,b": "a b", "\ufeff1,2": "column1 column2",
	} {
		cells, err := readCells(strings.NewReader(head + "\n3, 4 \n5,6\n"))
		if err != nil {
			t.Fatal(head, err)
		}
		headless := strings.HasPrefix(want, "column1 column2")
		rows := 2
		if headless {
			rows = 3
		}
		if got := strings.Join(cells.head, " "); got != want || cells.noHeader != headless || len(cells.rows) != rows || cells.rows[rows-2][1] != "4" || cells.lines[rows-1] != 3 {
			t.Errorf("%q: %s, %d rows at lines %v, no header %v", head, got, len(cells.rows), cells.lines, cells.noHeader)
		}
	}
	for n, want := range map[int]string{1: "n1", 12: "n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12", 13: "n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12 and 1 more", 20: "n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12 and 8 more"} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("n", i+1))
		}
		if got := few(names); got != want {
			t.Errorf("%d names: %s", n, got)
		}
	}
}

// What was found, in full.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		text string
		o    Options
		want string
	}{
		{"a,b\n1.5,2\n2,4\n", Options{}, "2 rows, cells between commas\n  no column of time: a row is a time step\n  a: real numbers, 1.5 to 2, 0 of 2 missing\n  b: whole numbers, 2 to 4, 0 of 2 missing\n"},
		{"a\tb\tc\n1.5\t2\t?\n2\t4\tx\n", Options{}, "2 rows, cells between tabs\n  no column of time: a row is a time step\n  a: real numbers, 1.5 to 2, 0 of 2 missing\n  b: whole numbers, 2 to 4, 0 of 2 missing\n" +
			"  left out: c, words: line 3 holds \"x\"\n"},
		{"s|w|a\n10|x|1\n20|y|2\n30|x|4\n", Options{Time: "s", Condition: "w"}, "3 rows, cells between bars\n  time: s, every 10; 0 rows missing\n  condition: w: 1 is x, 2 is y\n  a: whole numbers, 1 to 4, 0 of 3 missing\n"},
		{"s;k;a;b\n10;3;1;5\n20;4;2;5\n45;3;4;5\n", Options{Time: "s", Condition: "k", Columns: []string{"a"}}, "3 rows, cells between semicolons\n  time: s, at irregular steps: a row is a time step\n  condition: k\n" +
			"  a: whole numbers, 1 to 4, 0 of 3 missing\n  left out: b, one number: not asked for\n"},
		{"2,9.5\n3,8\n", Options{}, "2 rows, cells between commas; the first line holds numbers, so columns are numbered\n  no column of time: a row is a time step\n" +
			"  column1: whole numbers, 2 to 3, 0 of 2 missing\n  column2: real numbers, 8 to 9.5, 0 of 2 missing\n"},
		{"d,e,a\n2020-01-02,2020-05-05,1\n2020-01-01,2020-05-06,2\n", Options{}, "2 rows, cells between commas; the last row came first: turned round\n  time: d, every 24h0m0s from 2020-01-01 00:00:00; 0 rows missing\n" +
			"  a: whole numbers, 1 to 2, 0 of 2 missing\n  left out: e, dates: no numbers\n"},
	} {
		if got := read(t, c.text, c.o).String(); got != c.want {
			t.Errorf("%q:\n%swant\n%s", c.text, got, c.want)
		}
	}
}

// Of each column, what it is for.
func TestPurposes(t *testing.T) {
	for _, c := range []struct {
		text string
		o    Options
		want string
		left string
	}{
		{"n,d,k,a,w\n1,2020-01-01,5,1.5,x\n2,2020-01-02,5,2,y\n", Options{Condition: "k"}, "n: it counts the rows; d: time; k: the condition; a: modelled; w: line 2 holds \"x\"", "n k w"},
		{"n,a\n1,5\n2,7\n", Options{}, "n: time; a: modelled", ""},
		{"n,a\n1,x\n2,y\n", Options{}, "n: modelled; a: line 2 holds \"x\"", "a"},
		{"n,a\n1,5\n2,7\n", Options{Columns: []string{"n"}}, "n: modelled; a: not asked for", "a"},
		{"n,a\n1,5\n2,7\n", Options{Columns: []string{"a", "a"}}, "n: time; a: modelled", ""},
		{"n,a\n1,5\n2,7\n", Options{Condition: "n"}, "n: the condition; a: modelled", "n"},
		{"n,k\n1,5\n2,7\n", Options{Condition: "k"}, "n: modelled; k: the condition", "k"},
		{"d,a\n2020-01-01,5\n,7\n2020-01-03,7\n", Options{}, "d: no numbers; a: modelled", "d"},
		{"d,e,a\n2020-01-01,2020-01-01,5\n2020-01-02,2020-01-05,7\n", Options{Time: "e"}, "d: no numbers; e: time; a: modelled", "d"},
	} {
		f := read(t, c.text, c.o)
		var got []string
		for _, col := range f.Columns {
			why := col.Why
			if col.Modelled {
				why = strings.TrimSpace("modelled " + why)
			}
			got = append(got, col.Name+": "+why)
		}
		if s := strings.Join(got, "; "); s != c.want || strings.Join(f.Left(), " ") != c.left {
			t.Errorf("%q: %s, left %v; want %s, %s", c.text, s, f.Left(), c.want, c.left)
		}
	}
	// A word in twenty cells is worth a look, two are not numbers.
	for words, want := range map[int]string{1: `line 2 holds "x" (1 of 40 cells are no numbers)`, 2: `line 2 holds "x" (2 of 40 cells are no numbers)`, 3: `line 2 holds "x"`} {
		f := read(t, "a|w\n"+strings.Repeat("1|x\n", words)+strings.Repeat("2|7\n", 40-words), Options{})
		if f.Columns[1].Why != want {
			t.Errorf("%d of 40: %s", words, f.Columns[1].Why)
		}
	}
}

// What goes into the recording: missing rows in their place, under the limit of the row before them.
func TestRecordings(t *testing.T) {
	nan := math.NaN()
	f := read(t, "s,k,a\n0,2,1\n20,3,2\n30,3,3\n40,4,4\n50,4,5\n60,4,6\n70,5,7\n90,6,8\n100,6,8\n110,6,9\n120,6,9\n", Options{Time: "s", Condition: "k"})
	if want := []int{2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 6}; !slices.Equal(f.Recording.Limits, want) || f.Recording.Limit != 0 || f.Clock.Inserted != 2 {
		t.Errorf("limits %v, %d; %+v", f.Recording.Limits, f.Recording.Limit, f.Clock)
	}
	if want := []float64{1, nan, 2, 3, 4, 5, 6, 7, nan, 8, 8, 9, 9}; !same(f.values("a"), want) {
		t.Errorf("%v", f.values("a"))
	}
	if !f.Recording.Data.Start().Equal(time.Unix(0, 0)) {
		t.Errorf("a clock without dates starts at %v", f.Recording.Data.Start())
	}
	// Without a condition there is one limit; irregular rows follow each other.
	f = read(t, "d,a\n2020-01-01,1\n2020-01-02,1e39\n2020-02-09,3.4028234663852886e38\n2020-05-09,-3.4028234663852886e38\n2020-05-11,-4e38\n", Options{})
	if want := []float64{1, nan, math.MaxFloat32, -math.MaxFloat32, nan}; f.Recording.Limit != 1 || f.Recording.Limits != nil || f.Clock.Step != 0 || f.Clock.Inserted != 0 || !same(f.values("a"), want) {
		t.Errorf("%+v, %+v, %v", f.Recording, f.Clock, f.values("a"))
	}
	if first := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC); f.Clock.First != first || !f.Recording.Data.Start().Equal(first) {
		t.Errorf("first %v, start %v", f.Clock.First, f.Recording.Data.Start())
	}
	// Equal times are irregular, and so is a clock that stands.
	for _, text := range []string{"s,a\n1,1\n1,2\n2,3\n3,4\n", "s,a\n1,1\n1,2\n"} {
		if f := read(t, text, Options{Time: "s"}); f.Clock.Step != 0 || f.Clock.Inserted != 0 || f.Recording.Data.Len() != f.Rows {
			t.Errorf("%q: %+v", text, f.Clock)
		}
	}
}

// Conditions are words, 64 of them at most, or whole numbers up to the largest limit.
func TestConditionsBothSides(t *testing.T) {
	for n, ok := range map[int]bool{1: true, 63: true, 64: true, 65: false} {
		text := "w,a\n"
		for i := range max(n, 2) {
			text += fmt.Sprintf("w%d,%d\n", i%n, i%7)
		}
		f, err := Read(strings.NewReader(text), Options{Condition: "w"})
		if (err == nil) != ok || ok && len(f.Condition.Words) != n {
			t.Errorf("%d words: %v", n, err)
		}
	}
	for cell, ok := range map[string]bool{"1": true, "0": false, "-1": false, "1.5": false, "524288": true, "524289": false} {
		_, err := Read(strings.NewReader("k,a\n2,1\n"+cell+",3\n"), Options{Condition: "k"})
		var named *NameError
		if (err == nil) != ok || !ok && (!errors.As(err, &named) || named.Option != "condition" || !strings.Contains(err.Error(), "line 3: k is "+cell)) {
			t.Errorf("%s: %v", cell, err)
		}
	}
}

// Rows that run backwards and are not sorted are named by their lines in the file.
func TestUnsortedBackwards(t *testing.T) {
	for text, want := range map[string]string{
		"t,a\n9,1\n5,2\n7,3\n1,4\n":      "line 4: t 7 comes after line 3's 5: sort the rows by time",
		"t,a\n1,1\n7,2\n5,3\n9,4\n":      "line 4: t 5 comes after line 3's 7: sort the rows by time",
		"t,a\n9,1\n5,2\n3,2\n4,3\n1,4\n": "line 5: t 4 comes after line 4's 3: sort the rows by time",
	} {
		if _, err := Read(strings.NewReader(text), Options{Time: "t"}); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// A file's errors name it; so does that of none.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"good.csv": "a,b\n1,2\n2,4\n", "bad.csv": "a\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := ReadFile(filepath.Join(dir, "good.csv"), Options{}); err != nil || f.Rows != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := ReadFile(filepath.Join(dir, "bad.csv"), Options{}); f != nil || err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, "bad.csv")+": 0 rows") {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := ReadFile(filepath.Join(dir, "none.csv"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
