package telemetry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// A grid's seconds are counted by t; its times may be two seconds off, and
// five per cent more with every line, before they are refused.
func TestGridTimes(t *testing.T) {
	const first = 1_700_000_000_000
	grid := func(at int, ms int64) string {
		var b strings.Builder
		b.WriteString("t,ts_ms,queue,lbo_s\n")
		for i := range 60 {
			v := first + int64(i)*1000
			if i == at {
				v = ms
			}
			fmt.Fprintf(&b, "%d,%d,32,%d\n", i, v, i)
		}
		return b.String()
	}
	for _, c := range []struct {
		at   int
		off  int64 // ms from what is due, at line at
		want string
	}{
		{30, 0, ""},
		{59, 2000 + 50*59, ""},
		{59, 2000 + 50*59 + 1, "f:61: ts_ms: \"1700000063951\": want about 1700000059000 ms: a second after the line above (1 of 60, 1.7 %)"},
		{1, -1000, ""},
		{1, -1001, "error f:3: ts_ms: \"1699999999999\": want a time not before the line above, 1700000000000"},
	} {
		d, err := telemetry.DecodeGrid(strings.NewReader(grid(c.at, first+int64(c.at)*1000+c.off)), "f")
		got := ""
		if err != nil {
			got = "error " + err.Error()
		} else {
			for _, r := range d.Reading().Refused {
				got += r.String()
			}
			if at := d.Start(); !at.Equal(time.UnixMilli(first)) || d.Len() != 60 {
				t.Errorf("%d seconds from %v", d.Len(), at)
			}
		}
		if got != c.want {
			t.Errorf("line %d is %d ms off: %s, want %s", c.at, c.off, got, c.want)
		}
	}
	// The first line may have any time since 1970, and queue may be the first column.
	d, err := telemetry.DecodeGrid(strings.NewReader("queue,t,ts_ms,lbo_s\n32,0,0,3\n32,1,1000,4\n"), "f")
	if err != nil || d.Len() != 2 || d.Limit() != 32 || len(d.Reading().Refused) != 0 {
		t.Errorf("from 1970: %v, %v", d, err)
	}
	for text, want := range map[string]string{
		"queue,t,ts_ms,lbo_s\n32,0,0,3\n64,1,1000,4\n": `f:3: queue: "64": want 32 as in the first line: one limit a recording`,
		"queue,t,ts_ms,lbo_s\nx,0,0,3\n":               `f:2: queue: "x": want a queue limit in packets`,
		"queue,t,ts_ms,lbo_s\n-1,0,0,3\n":              `f:2: queue: "-1": want a queue limit in packets`,
		"t,ts_ms,lbo_s\n0,-1,3\n":                      `f:2: ts_ms: "-1": want milliseconds since 1970`,
		"t,ts_ms,lbo_s\n1,0,3\n":                       `f:2: t: "1": want 0: one line a second from 0`,
	} {
		if _, err := telemetry.DecodeGrid(strings.NewReader(text), "f"); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The share of what was refused, in words.
func TestRefusedTexts(t *testing.T) {
	first := &telemetry.ValueError{File: "f", Line: 2, Column: "lbo_s", Value: "-1", Want: "0…100 s"}
	for _, c := range []struct {
		n, of        int
		text, refuse string // as a note, and as the error of more than 5 %
	}{
		{1, 50, `f:2: lbo_s: "-1": want 0…100 s (1 of 50, 2 %)`, ""},
		{1, 20, `f:2: lbo_s: "-1": want 0…100 s (1 of 20, 5 %)`, ""},
		{3, 40, `f:2: lbo_s: "-1": want 0…100 s (3 of 40, 7.5 %)`, `f:2: lbo_s: "-1": want 0…100 s; so are 3 of 40, 7.5 %, and 5 % may be`},
		{1, 1, `f:2: lbo_s: "-1": want 0…100 s (1 of 1, 1e+02 %)`, `f:2: lbo_s: "-1": want 0…100 s`},
		{0, 0, `f:2: lbo_s: "-1": want 0…100 s (0 of 0, 0 %)`, ""},
	} {
		r := telemetry.Refused{Column: "lbo_s", Count: c.n, Of: c.of, First: first}
		if got := r.String(); got != c.text {
			t.Errorf("%s, want %s", got, c.text)
		}
		err := telemetry.Reading{Refused: []telemetry.Refused{{Column: "fps", Count: 1, Of: 1000, First: first}, r}}.Check(telemetry.MaxRefused)
		if c.refuse == "" && err != nil || c.refuse != "" && (err == nil || err.Error() != c.refuse) {
			t.Errorf("%v, want %s", err, c.refuse)
		}
	}
	reading := telemetry.Reading{
		Clocks: []telemetry.Clock{{File: "f", Unit: "s"}}, Refused: []telemetry.Refused{{Column: "lbo_s", Count: 1, Of: 2, First: first}}, Restarts: 1,
	}
	if got, want := reading.Notes(), []string{"f: times are taken for s", `not measured: f:2: lbo_s: "-1": want 0…100 s (1 of 2, 50 %)`, "the player's counter began anew 1 times"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (telemetry.Reading{}).Notes(); got != nil {
		t.Errorf("of nothing: %q", got)
	}
}

// A resolution is two numbers with an x between them.
func TestResolutionCells(t *testing.T) {
	for cell, want := range map[string]string{
		"1280x720": "1280 720", "1280X720": "1280 720", "1280×720": "1280 720",
		"1280": "a resolution like 1280x720", "x720": "a resolution like 1280x720", "1280x": "a number", "ax1": "a number",
	} {
		text := "Timestamp,Buffer,FPS,ReportedBitrate,CalcBitrate,Resolution\n1700000000,3,30,1000,1," + cell + "\n"
		r, err := telemetry.NewReader(strings.NewReader(text), "f", telemetry.DASH)
		if err != nil {
			t.Fatal(err)
		}
		var rec telemetry.Record
		got := ""
		if err := r.Read(&rec); err != nil {
			got = err.Error()
			got = got[strings.LastIndex(got, "want ")+len("want "):]
		} else {
			for i, f := range r.Fields() {
				if f.Name == "width" || f.Name == "height" {
					got = strings.TrimSpace(got + fmt.Sprint(" ", rec.Values[i]))
				}
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", cell, got, want)
		}
	}
}

// A ladder's rungs are told apart by each of their four values, whatever
// column holds it, and are in order of bitrate.
func TestLadders(t *testing.T) {
	field := func(name string) telemetry.Field {
		f, ok := telemetry.Canonical(name)
		if !ok {
			t.Fatal(name)
		}
		return f
	}
	fields := []telemetry.Field{field("fps"), field("rep_kbps"), field("width"), field("height")}
	data := func(rungs ...[4]float32) *telemetry.Dataset {
		var v []float32
		var ok []bool
		for _, r := range rungs {
			v, ok = append(v, r[:]...), append(ok, true, true, true, true)
		}
		d, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), v, ok)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	show := func(l telemetry.Ladder) string {
		var s []string
		for _, q := range l {
			s = append(s, fmt.Sprint(q.FPS, "/", q.Kbps, "/", q.Width, "x", q.Height))
		}
		return strings.Join(s, " ")
	}
	for _, c := range []struct {
		name string
		got  telemetry.Ladder
		want string
	}{
		{"frames a second alone", telemetry.LadderOf(data([4]float32{25, 100, 320, 180}, [4]float32{24, 100, 320, 180}, [4]float32{25, 100, 320, 180})), "24/100/320x180 25/100/320x180"},
		{"width alone", telemetry.LadderOf(data([4]float32{24, 100, 321, 180}, [4]float32{24, 100, 320, 180})), "24/100/320x180 24/100/321x180"},
		{"height before width", telemetry.LadderOf(data([4]float32{24, 100, 321, 180}, [4]float32{24, 100, 320, 181})), "24/100/321x180 24/100/320x181"},
		{"bitrate first", telemetry.LadderOf(data([4]float32{24, 200, 1, 1}), data([4]float32{24, 100, 9, 9})), "24/100/9x9 24/200/1x1"},
		{"levels by column", telemetry.LadderOfLevels(map[string][]float32{"fps": {25, 24}, "rep_kbps": {900, 100}, "width": {640, 320}, "height": {360, 180}}), "24/100/320x180 25/900/640x360"},
		{"one column longer", telemetry.LadderOfLevels(map[string][]float32{"rep_kbps": {900}, "height": {360, 181}}), "0/0/0x181 0/900/0x360"},
	} {
		if got := show(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Halfway between two values the larger is the one that is interpolated from,
// as in numpy (function_base.py, _lerp): b - (b-a)(1-w) for w of .5 and above.
func TestQuantileHalfway(t *testing.T) {
	for _, c := range []struct{ a, b, p float64 }{{.1, .7, .5}, {1, 1e17, .5}, {-1e16, 3, .5}, {1. / 3, 2. / 3, .5}, {.1, .3, .25}, {.1, .3, .75}} {
		want := c.a + float64((c.b-c.a)*c.p)
		if c.p >= .5 {
			want = c.b - float64((c.b-c.a)*(1-c.p))
		}
		if got := telemetry.Quantile([]float64{c.a, c.b}, c.p); got != want {
			t.Errorf("%v between %v and %v: %v, want %v", c.p, c.a, c.b, got, want)
		}
	}
}

// A version's number is not a limit; what ends in a letter before the v is none
// of a version.
func TestVersionsInNames(t *testing.T) {
	for name, want := range map[string]int{
		"v2.csv": 0, "V2.csv": 0, "grid_v2.csv": 0, "grid_V2.csv": 0, "grid-v2": 0, "1v2.csv": 0, "{v2.csv": 0, "`v2.csv": 0,
		"av2.csv": 2, "zv2.csv": 2, "ZV2.csv": 2, "rev2.csv": 2, "x2.csv": 2, "2.csv": 2, "grid_64.csv": 64, "grid_064.csv": 64, "grid_0.csv": 0, "grid_1.csv": 1,
	} {
		if name == "grid_064.csv" {
			want = 0 // begins with 0
		}
		if got, ok := telemetry.LimitInName(name); got != want || ok != (want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, ok, want)
		}
	}
}

// The formats have names; what is none has its number for one.
func TestFormatNames(t *testing.T) {
	var named []string
	for f := range 256 {
		if got := telemetry.Format(f).String(); got != fmt.Sprintf("Format(%d)", f) {
			named = append(named, fmt.Sprint(f, " ", got))
		}
	}
	want := []string{fmt.Sprint(int(telemetry.DASH), " DASH"), fmt.Sprint(int(telemetry.INT), " INT"), fmt.Sprint(int(telemetry.Grid), " grid")}
	for _, w := range want {
		if !slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, w) }) {
			t.Errorf("%q lacks %s", named, w)
		}
	}
	if last := len(named) - 1; !strings.HasPrefix(named[last], fmt.Sprint(last, " ")) {
		t.Errorf("%q: the names are not those of the first formats", named)
	}
}

// A counter that rises faster than a player can play has no rise there; it is
// counted, and the rise after it is measured again.
func TestRiseOfACounterRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("t,ts_ms,queue,lbo_s,calc_cum\n")
	cum := 0
	for i := range 40 {
		switch i {
		case 0:
		case 20:
			cum += 1_000_001
		case 21:
			cum += 1_000_000
		default:
			cum += 10
		}
		fmt.Fprintf(&b, "%d,%d,32,3,%d\n", i, 1000*i, cum)
	}
	d, err := telemetry.DecodeGrid(strings.NewReader(b.String()), "f")
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, r := range d.Reading().Refused {
		notes = append(notes, fmt.Sprint(r.Column, " ", r.Count, " of ", r.Of, " ", r.First.Line, " ", r.First.Value))
	}
	if want := []string{"calc_cum 1 of 40 22 1.000001e+06"}; !slices.Equal(notes, want) {
		t.Errorf("refused %q, want %q", notes, want)
	}
	c := d.Column("calc_rate")
	for i, want := range map[int]float32{0: 0, 19: 10, 21: 1e6, 22: 10} {
		if v, ok := d.At(i, c); v != want || !ok {
			t.Errorf("rise in second %d: %v, %v; want %v", i, v, ok, want)
		}
	}
	if _, ok := d.At(20, c); ok {
		t.Error("a rise of 1,000,001 was measured")
	}
}
