package anycsv

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, text string, o Options) *File {
	t.Helper()
	f, err := Read(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// column is the values of a modelled column, NaN where nothing was measured.
func (f *File) values(name string) (out []float64) {
	d := f.Recording.Data
	for i := range d.Len() {
		v, ok := d.At(i, d.Column(name))
		if !ok {
			out = append(out, math.NaN())
			continue
		}
		out = append(out, float64(v))
	}
	return out
}

func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || x != x && y != y })
}

// Files as spreadsheets, loggers and Germans write them.
func TestOddFiles(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		text string
		o    Options
		want map[string][]float64 // the modelled columns, all of them
		says string
	}{
		"semicolons and decimal commas":  {"a;b\n1,5;2\n-2,25;3\n", Options{}, map[string][]float64{"a": {1.5, -2.25}, "b": {2, 3}}, "between semicolons"},
		"thousands, quoted":              {"a,b\n\"1,234.5\",\"2\"\n\"12,000\",\"3.5\"\n", Options{}, map[string][]float64{"a": {1234.5, 12000}, "b": {2, 3.5}}, ""},
		"thousands with points":          {"a;b\n1.234,5;1\n1.000.000,25;2,0\n", Options{}, map[string][]float64{"a": {1234.5, 1000000.25}, "b": {1, 2}}, ""},
		"byte order mark and CRLF":       {"\ufeffa,b\r\n1,2\r\n3,4\r\n", Options{}, map[string][]float64{"a": {1, 3}, "b": {2, 4}}, ""},
		"tabs and question marks":        {"a\tb\n1\t?\n?\t4\n3\t5\n", Options{}, map[string][]float64{"a": {1, nan, 3}, "b": {nan, 4, 5}}, "a: whole numbers, 1 to 3, 1 of 3 missing"},
		"no header":                      {"0.5,1\n0.25,4\n", Options{}, map[string][]float64{"column1": {.5, .25}, "column2": {1, 4}}, "first line holds numbers"},
		"a row counter":                  {",a\n0,5\n1,7\n2,6\n", Options{}, map[string][]float64{"a": {5, 7, 6}}, "time: column1, every 1"},
		"a constant":                     {"a,b\n5,1\n5,2\n", Options{}, map[string][]float64{"a": {5, 5}, "b": {1, 2}}, "a: one number, 5 to 5"},
		"words":                          {"a,w\n1.5,x\n2,y\n", Options{}, map[string][]float64{"a": {1.5, 2}}, `left out: w, words: line 2 holds "x"`},
		"a few words among numbers":      {"a,b\n" + strings.Repeat("1,2\n", 30) + "3,n.a.x\n", Options{}, map[string][]float64{"a": append(slices.Repeat([]float64{1}, 30), 3)}, `line 32 holds "n.a.x" (1 of 31 cells are no numbers)`},
		"an empty column":                {"a,b\n1,\n2,\n", Options{}, map[string][]float64{"a": {1, 2}}, "left out: b, nothing"},
		"dates, a row missing":           {"date,a\n2020-01-01 00:00:00,1\n2020-01-01 01:00:00,2\n2020-01-01 02:00:00,2\n2020-01-01 04:00:00,4\n2020-01-01 05:00:00,5\n2020-01-01 06:00:00,6\n", Options{}, map[string][]float64{"a": {1, 2, 2, nan, 4, 5, 6}}, "every 1h0m0s from 2020-01-01 00:00:00; 1 rows missing"},
		"dates backwards":                {"d,a\n2020-01-03,3\n2020-01-02,2\n2020-01-01,1\n", Options{}, map[string][]float64{"a": {1, 2, 3}}, "turned round"},
		"words, backwards":               {"d,a,w\n2020-01-03,3,1\n2020-01-02,2,x\n2020-01-01,1,3\n2019-12-31,0,4\n", Options{}, map[string][]float64{"a": {0, 1, 2, 3}}, `left out: w, words: line 3 holds "x"`},
		"working days":                   {"d,a\n2024-01-04,1\n2024-01-05,2\n2024-01-08,3\n2024-01-09,4\n", Options{}, map[string][]float64{"a": {1, 2, 3, 4}}, "irregular steps"},
		"day before month":               {"d,a\n13/01/2020,1\n14/01/2020,2\n15/01/2020,9\n", Options{}, map[string][]float64{"a": {1, 2, 9}}, "every 24h0m0s from 2020-01-13"},
		"time in numbers, a row missing": {"s,a\n10,1\n20,2\n30,2\n50,3\n60,4\n70,4\n", Options{Time: "s"}, map[string][]float64{"a": {1, 2, 2, nan, 3, 4, 4}}, "time: s, every 10; 1 rows missing"},
		"asked for":                      {"a,b,c\n1,2,3\n4,5,7\n", Options{Columns: []string{"c", "a"}}, map[string][]float64{"c": {3, 7}, "a": {1, 4}}, "left out: b, whole numbers: not asked for"},
		"wider than long":                {"a,b,c\n1,2,3\n4,5,7\n", Options{}, map[string][]float64{"a": {1, 4}, "b": {2, 5}, "c": {3, 7}}, "3 columns and only 2 rows"},
		"Inf and hexadecimal":            {"a,b\nInf,1\n0x10,2\n", Options{}, map[string][]float64{"b": {1, 2}}, ""},
	} {
		f, err := Read(strings.NewReader(c.text), c.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(f.Names()) != len(c.want) {
			t.Errorf("%s: modelled %v, want %v", name, f.Names(), c.want)
		}
		for column, want := range c.want {
			if slices.Contains(f.Names(), column) && !same(f.values(column), want) {
				t.Errorf("%s: %s is %v, want %v", name, column, f.values(column), want)
			}
		}
		if !strings.Contains(f.String(), c.says) {
			t.Errorf("%s: %q is missing in\n%s", name, c.says, f)
		}
	}
}

// A bad file is refused by an error that says where.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		o    Options
		want string
	}{
		{"", Options{}, "the file is empty"},
		{"a,b\n", Options{}, "0 rows: a row is a time step"},
		{"a,b\n1,2\n", Options{}, "1 rows"},
		{"a,b,a\n1,2,3\n4,5,6\n", Options{}, "columns 1 and 3 are both named a: rename one"},
		{"a,b\n1,2\n3\n", Options{}, "line 3: 1 cells, expected 2"},
		{"a,b\nx,y\nz,y\n", Options{}, "no column of numbers to model: found a (words), b (words)"},
		{"d,a\n2020-01-01,1\n2020-01-03,2\n2020-01-02,3\n2020-01-05,3\n", Options{}, "line 4: d 2020-01-02 comes after line 3's 2020-01-03: sort the rows by time"},
		{"t,a\n1,1\n9,2\n3,3\n10,4\n", Options{Time: "t"}, "line 4: t 3 comes after line 3's 9"},
		{"t,a\n1,1\n,2\n", Options{Time: "t"}, "time: line 3 has no t"},
		{"t,a\nx,1\ny,2\n", Options{Time: "t"}, `time: t holds words: line 2 holds "x"`},
		{"a,b\n1,2\n2,4\n", Options{Time: "when"}, `time: there is no column "when": found a, b`},
		{"a,b\n1,2\n2,x\n", Options{Columns: []string{"b"}}, `columns: b holds words, not numbers: line 3 holds "x"`},
		{"a,b\n1,\n2,\n", Options{Columns: []string{"b"}}, "columns: b holds nothing in 2 rows"},
		{"a,b\n1,2\n2,4\n", Options{Columns: []string{"c"}}, `columns: there is no column "c"`},
		{"a,b\n1,2\n2.5,4\n", Options{Condition: "a"}, "condition: line 3: a is 2.5: want a whole number from 1, or words"},
		{"a,b\n1,2\n,4\n", Options{Condition: "a"}, "condition: line 3 has no a: every row needs one"},
		{"a,b\n1,\"2\n", Options{}, "extraneous or missing"},
	} {
		if _, err := Read(strings.NewReader(c.text), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// A condition of words is numbered in the order in which they come, and holds in
// rows that are missing too.
func TestCondition(t *testing.T) {
	f := read(t, "h,day,a\n1,sun,1\n2,mon,2\n3,mon,3\n5,sun,4\n6,sun,5\n7,sun,7\n", Options{Time: "h", Condition: "day"})
	if got := f.Recording.Limits; !slices.Equal(got, []int{1, 2, 2, 2, 1, 1, 1}) {
		t.Errorf("%v", got)
	}
	if !strings.Contains(f.String(), "condition: day: 1 is sun, 2 is mon") || !slices.Equal(f.Names(), []string{"a"}) {
		t.Error(f)
	}
	if f := read(t, "a,c\n1,7\n2,7\n", Options{Condition: "c"}); f.Recording.Limit != 7 || f.Recording.Limits != nil {
		t.Errorf("%+v", f.Recording)
	}
	var long strings.Builder
	long.WriteString("w,a\n")
	for i := range 80 {
		fmt.Fprintf(&long, "word%d,%d\n", i, i%5)
	}
	if _, err := Read(strings.NewReader(long.String()), Options{Condition: "w"}); err == nil || !strings.Contains(err.Error(), "more than 64 different words") {
		t.Error(err)
	}
}

func TestDatesAreTimes(t *testing.T) {
	f := read(t, "when;x\n2021-03-01T10:00:00Z;1\n2021-03-01T10:00:05Z;2\n2021-03-01T10:00:10Z;4\n", Options{})
	if !f.Recording.Data.Start().Equal(time.Date(2021, 3, 1, 10, 0, 0, 0, time.UTC)) || f.Clock.Step != 5 {
		t.Errorf("%v %+v", f.Recording.Data.Start(), f.Clock)
	}
}

// FuzzRead: whatever the bytes are, there is a recording of finite numbers or an
// error.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n3,4\n", "d;x\n1.1.2020;1,5\n2.1.2020;2\n", "1,2\n3,4\n", "\ufeffa\n1\n2\n", "a,a\n1,2\n", "\"", "a\tb\n?\t1\n2\t3"} {
		f.Add(s, "", "")
	}
	f.Fuzz(func(t *testing.T, text, clock, condition string) {
		file, err := Read(strings.NewReader(text), Options{Time: clock, Condition: condition})
		if err != nil {
			return
		}
		d := file.Recording.Data
		if d.Len() < file.Rows || len(d.Fields()) == 0 {
			t.Fatalf("%d rows read, %d in the recording", file.Rows, d.Len())
		}
		if file.Recording.Limits != nil && len(file.Recording.Limits) != d.Len() {
			t.Fatal("a row has no condition")
		}
		_ = file.String()
	})
}
