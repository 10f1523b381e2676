package telemetry_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry"
)

// table prints a dataset, a line a second, "-" for a gap.
func table(d *telemetry.Dataset) string {
	var b strings.Builder
	for t := range d.Len() {
		for c := range d.Fields() {
			if v, ok := d.At(t, c); ok {
				fmt.Fprintf(&b, " %v", v)
			} else {
				b.WriteString(" -")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

const joinINT = "timestamp,enq_qdepth2,deq_timedelta2,deq_qdepth2,enq_qdepth1,deq_timedelta1,deq_qdepth1\n" +
	"1700000099,9,9,9,9,9,9\n" + // before the player
	"1700000100,0,21,0,1,10,1\n" +
	"1700000100,8,29,8,2,50,0\n" +
	"1700000100,0,,0,3,50,0\n" + // as long at switch 1, later
	"1700000102,1,1,1,,,\n" + // switch 1 not measured
	"1700000103.9,4,4,4,4,4,4\n" +
	"1700000105,9,9,9,9,9,9\n" // after the player

const joinDASH = dashHead +
	"1700000100900;4;18;639;426x240;10\n" +
	"1700000101895;3;18;639;426x240;10\n" + // jitter into second 101, as is the next
	"1700000102905;0;18;639;426x240;\n" +
	"1700000103890;0;18;639;426x240;40\n" +
	"1700000103999;1;24;1867;854x480;45\n" // the later of a second counts

func TestJoin(t *testing.T) {
	// The counter rises by 35 in two seconds.
	player := []string{" 4 18 639 - 426 240", " 3 18 639 0 426 240", " 0 18 639 - 426 240", " 1 24 1867 17.5 854 480"}
	for _, c := range []struct {
		how  telemetry.Aggregation
		want [4]string
	}{
		{telemetry.MaxTimedelta1, [4]string{" 2 50 0 8 29 8", " - - - - - -", " - - - 1 1 1", " 4 4 4 4 4 4"}},
		{telemetry.Max, [4]string{" 3 50 1 8 29 8", " - - - - - -", " - - - 1 1 1", " 4 4 4 4 4 4"}},
		{telemetry.Mean, [4]string{" 2 36.666668 0.33333334 2.6666667 25 2.6666667", " - - - - - -", " - - - 1 1 1", " 4 4 4 4 4 4"}},
		{telemetry.P95, [4]string{" 2.9 50 0.9 7.2 28.6 7.2", " - - - - - -", " - - - 1 1 1", " 4 4 4 4 4 4"}},
		{telemetry.Count, [4]string{" 3 2", " - -", " 0 1", " 1 1"}},
	} {
		t.Run(string(c.how), func(t *testing.T) {
			d, err := telemetry.Join(stringReader(t, telemetry.INT, joinINT), stringReader(t, telemetry.DASH, joinDASH), c.how)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			for i := range player {
				want += c.want[i] + player[i] + "\n"
			}
			if got := table(d); got != want {
				t.Errorf("%v\n%swant\n%s", names(d.Fields()), got, want)
			}
			if ms := d.Start().UnixMilli(); ms != 1700000100900 {
				t.Errorf("start %d", ms)
			}
			var b strings.Builder
			if err := d.EncodeCSV(&b); err != nil {
				t.Fatal(err)
			}
			if again := decodeGrid(t, b.String()); again.Hash() != d.Hash() {
				t.Errorf("written and read again it is another:\n%s", b.String())
			}
		})
	}
}

func TestJoinOne(t *testing.T) {
	d, err := telemetry.Join(stringReader(t, telemetry.INT, joinINT), nil, telemetry.Max)
	if err != nil {
		t.Fatal(err)
	}
	if want := " 9 9 9 9 9 9\n 3 50 1 8 29 8\n - - - - - -\n - - - 1 1 1\n 4 4 4 4 4 4\n - - - - - -\n 9 9 9 9 9 9\n"; table(d) != want || d.Start().UnixMilli() != 1700000099000 {
		t.Errorf("from %v\n%s", d.Start(), table(d))
	}
	d, err = telemetry.Join(nil, stringReader(t, telemetry.DASH, joinDASH), telemetry.Max)
	if err != nil {
		t.Fatal(err)
	}
	if want := " 4 18 639 - 426 240\n 3 18 639 0 426 240\n 0 18 639 - 426 240\n 1 24 1867 17.5 854 480\n"; table(d) != want {
		t.Errorf("\n%s", table(d))
	}
}

func TestJoinErrors(t *testing.T) {
	probes := func() *telemetry.Reader { return stringReader(t, telemetry.INT, joinINT) }
	dash := func(text string) *telemetry.Reader { return stringReader(t, telemetry.DASH, dashHead+text) }
	for _, c := range []struct {
		name           string
		probes, player *telemetry.Reader
		how            telemetry.Aggregation
		want           string
	}{
		{"nothing", nil, nil, telemetry.Max, "neither probes nor player"},
		{"aggregation", probes(), nil, "median", `"median" is none of "max-timedelta1"`},
		{"exchanged", dash("1700000000001;4;18;639;426x240;10\n"), probes(), telemetry.Max, "is a INT file, not DASH"},
		{"player twice", dash("1700000000001;4;18;639;426x240;10\n"), nil, telemetry.Max, "is a DASH file, not INT"},
		{"another day", probes(), dash("1700086400000;4;18;639;426x240;10\n"), telemetry.Max, "want a probe within the recording"},
		{"no probe", stringReader(t, telemetry.INT, intHead), nil, telemetry.Max, "want a probe within the recording"},
		{"clock of probes jumps", stringReader(t, telemetry.INT, intHead+"1700000001,1,1,1\n1700604801,1,1,1\n1700604802,1,1,1\n"), nil, telemetry.Max, ":4: timestamp: \"1700604802\": want a time within an hour of the lines before"},
		{"bad probe", stringReader(t, telemetry.INT, intHead+"1700000001,1,1,1\n1700000001,1,x,1\n"), nil, telemetry.Max, `:3: deq_timedelta1: "x"`},
	} {
		if _, err := telemetry.Join(c.probes, c.player, c.how); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// The numbers of the next two tests are what testdata/tutorial.py prints:
// numpy 2.4.6, none of this code.

func TestJoinReal(t *testing.T) {
	for how, want := range map[telemetry.Aggregation][]float64{
		telemetry.MaxTimedelta1: {10010, 10650163, 8527, 1261, 369968, 1444, 3, 336701, 2},
		telemetry.Max:           {14317, 10650163, 11992, 7291, 1479489, 6218, 12, 920048, 11},
		telemetry.Mean:          {3410.142857142861, 2849906.6126984158, 2740.0392857142897, 1624.3075396825416, 419936.6488095243, 1400.3976190476176, 1.9944444444444445, 314496.86904761894, 1.827777777777778},
		telemetry.P95:           {11725.800000000028, 9171754.599999996, 9719.00000000001, 5874.649999999989, 1206912.15, 5032.399999999989, 8.849999999999996, 764253.8999999999, 8.099999999999994},
		telemetry.Count:         {17839, 17839, 17839},
	} {
		d, err := telemetry.Join(openReader(t, "int_raw_poc.csv", telemetry.INT), nil, how)
		if err != nil {
			t.Fatal(err)
		}
		if d.Len() != 2881 {
			t.Errorf("%s: %d seconds, want 2881", how, d.Len())
		}
		for c, want := range want {
			var sum float64
			measured := 0
			for s := range d.Len() {
				if v, ok := d.At(s, c); ok {
					sum += float64(v)
					measured++
				}
			}
			// float32 rounds means and percentiles.
			if measured != 2879 || math.Abs(sum-want) > 1e-7*want {
				t.Errorf("%s: %s: %v in %d seconds, want %v in 2879", how, d.Fields()[c].Name, sum, measured, want)
			}
		}
	}
}

func TestTutorialReal(t *testing.T) {
	rows, err := telemetry.Tutorial(openReader(t, "int_raw_poc.csv", telemetry.INT), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := len(rows.Fields)
	sums, top := make([]float64, f), make([]float64, f)
	for i, v := range rows.Values {
		sums[i%f] += v
		top[i%f] = max(top[i%f], v)
	}
	for what, c := range map[string]struct{ got, want []float64 }{
		"sums":    {sums, []float64{360, 247446, 0, 0, 72067, 0, 0, 78954, 0}},
		"largest": {top, []float64{7, 1221, 0, 0, 178, 0, 0, 172, 0}},
		"first":   {rows.Values[:f], []float64{0, 135, 0, 0, 42, 0, 0, 37, 0}},
		"last":    {rows.Values[len(rows.Values)-f:], []float64{0, 835, 0, 0, 25, 0, 0, 61, 0}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s %v, want %v", what, c.got, c.want)
		}
	}
	if len(rows.Seconds) != 1240 {
		t.Errorf("%d rows are left of 2879, want 1240", len(rows.Seconds))
	}
}

// TestTutorial has quartiles that can be seen: deq_timedelta1 is 1…9 and 30,
// quartiles 3.25 and 7.75, fences -3.5 and 14.5. lbo_s of the nine rows left is
// 10…14, 14…16 and 20: quartiles 12 and 15, fences 7.5 and 19.5, and 20 goes
// too. With the row of 30, whose lbo_s is 100, the upper one would be 21: rows
// are dropped column by column.
func TestTutorial(t *testing.T) {
	probes, player := intHead, dashHead
	for i, v := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "30"} {
		probes += fmt.Sprintf("%d,0,%s,%d\n%d,7,0,7\n", 1700001000+i, v, i, 1700001000+i)
	}
	probes += "1700001010,0,5,0\n" // no record
	for i, v := range []string{"10", "11", "12", "13", "14", "14", "15", "16", "20", "100"} {
		player += fmt.Sprintf("%d999;%s;18;639;426x240;%d\n", 1700001000+i, v, i)
	}
	player += "1700001011000;5;18;639;426x240;10\n" // no probe
	rows, err := telemetry.Tutorial(stringReader(t, telemetry.INT, probes), stringReader(t, telemetry.DASH, player))
	if err != nil {
		t.Fatal(err)
	}
	if got := names(rows.Fields); got != "enq_qdepth1 deq_timedelta1 deq_qdepth1 lbo_s rep_kbps fps calc_cum" {
		t.Errorf("columns %s", got)
	}
	want := []float64{
		0, 1, 0, 10, 639, 18, 0,
		0, 2, 1, 11, 639, 18, 1,
		0, 3, 2, 12, 639, 18, 2,
		0, 4, 3, 13, 639, 18, 3,
		0, 5, 4, 14, 639, 18, 4,
		0, 6, 5, 14, 639, 18, 5,
		0, 7, 6, 15, 639, 18, 6,
		0, 8, 7, 16, 639, 18, 7,
	}
	if !slices.Equal(rows.Values, want) || !slices.Equal(rows.Seconds, []int64{1700001000, 1700001001, 1700001002, 1700001003, 1700001004, 1700001005, 1700001006, 1700001007}) {
		t.Errorf("%v\n%v\nwant %v", rows.Seconds, rows.Values, want)
	}
	rows.Reverse()
	if rows.Seconds[0] != 1700001007 || rows.Seconds[7] != 1700001000 || !slices.Equal(rows.Values[:7], want[49:]) || !slices.Equal(rows.Values[49:], want[:7]) {
		t.Errorf("reversed: %v\n%v", rows.Seconds, rows.Values)
	}
}

func TestTutorialFills(t *testing.T) {
	rows, err := telemetry.Tutorial(
		stringReader(t, telemetry.INT, intHead+"1700000001,0,1,\n1700000001,0,,9\n1700000002,0,,\n1700000003,0,1,2\n1700000004,0,1,4\n"),
		stringReader(t, telemetry.DASH, dashHead+"1700000001000;1;18;639;426x240;0\n1700000002000;1;18;639;426x240;0\n1700000003000;;18;639;426x240;0\n1700000004000;3;18;639;426x240;0\n1700000004500;5;18;639;426x240;0\n"))
	if err != nil {
		t.Fatal(err)
	}
	// Second 2 has no probe that measured switch 1; second 4 has two records.
	want := []float64{
		0, 1, 10. / 3, 1, 639, 18, 0,
		0, 1, 2, 3, 639, 18, 0,
		0, 1, 4, 3, 639, 18, 0,
		0, 1, 4, 5, 639, 18, 0,
	}
	if !slices.Equal(rows.Values, want) || !slices.Equal(rows.Seconds, []int64{1700000001, 1700000003, 1700000004, 1700000004}) {
		t.Errorf("%v\n%v\nwant %v", rows.Seconds, rows.Values, want)
	}
	_, err = telemetry.Tutorial(stringReader(t, telemetry.INT, intHead+"1700000001,,1,1\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "enq_qdepth1 was never measured") {
		t.Errorf("an empty column: %v", err)
	}
	_, err = telemetry.Tutorial(stringReader(t, telemetry.INT, intHead+"1700000001,1,1,1\n"), stringReader(t, telemetry.DASH, dashHead+"1700000009000;1;18;639;426x240;0\n"))
	if err == nil || !strings.Contains(err.Error(), "want a second with a probe and a player record") {
		t.Errorf("no common second: %v", err)
	}
}

// TestQuantile compares with numpy 2.4.6, numpy.percentile, to the bit.
func TestQuantile(t *testing.T) {
	p := []float64{0, .05, .25, .5, .75, .95, 1}
	for _, c := range []struct{ values, want []float64 }{
		{[]float64{1, 2, 3, 4}, []float64{1, 1.15, 1.75, 2.5, 3.25, 3.8499999999999996, 4}},
		{[]float64{0, 0, 0, 1, 5, 9}, []float64{0, 0, 0, .5, 4, 8, 9}},
		{[]float64{.1, .2, .7}, []float64{.1, .11000000000000001, .15000000000000002, .2, .44999999999999996, .6499999999999999, .7}},
		{[]float64{7}, []float64{7, 7, 7, 7, 7, 7, 7}},
		{[]float64{3.977, 6.272, 7.064, 11.089, 59.988}, []float64{3.977, 4.436, 6.272, 7.064, 11.089, 50.20819999999999, 59.988}},
	} {
		for i, want := range c.want {
			if got := telemetry.Quantile(c.values, p[i]); got != want {
				t.Errorf("%v of %v: %v, want %v", p[i], c.values, got, want)
			}
		}
	}
}

func TestOutliers(t *testing.T) {
	// Quartiles 2 and 4, fences -1 and 7; 7 lies on one, the gap beyond.
	d := decodeGrid(t, "t,ts_ms,lbo_s,fps\n0,0,1,\n1,0,2,\n2,0,3,\n3,0,4,\n4,0,7,\n5,0,2,\n6,0,3,\n7,0,,\n8,0,9,\n9,0,2,\n")
	var marked []int
	for i, out := range d.Outliers() {
		if out {
			marked = append(marked, i)
		}
	}
	if !slices.Equal(marked, []int{16}) {
		t.Errorf("marked %v, want the 9 of second 8", marked)
	}
}

func TestLevel(t *testing.T) {
	for _, c := range []struct {
		q    telemetry.Quality
		want int
	}{
		{telemetry.Quality{}, 0},
		{telemetry.Quality{FPS: 20.9}, 0},
		{telemetry.Quality{FPS: 21}, 1},
		{telemetry.Quality{FPS: 26.9}, 1},
		{telemetry.Quality{FPS: 27}, 2},
		{telemetry.Quality{Kbps: 1252}, 0},
		{telemetry.Quality{Kbps: 1254}, 1},
		{telemetry.Quality{Width: 1280, Height: 720}, 2},
		{telemetry.Quality{FPS: 30, Kbps: 639, Width: 426, Height: 240}, 0},
		{telemetry.Quality{FPS: 29.99, Kbps: 3311.7}, 2},
	} {
		if got := c.q.Level(); got != c.want {
			t.Errorf("%+v: level %d, want %d", c.q, got, c.want)
		}
	}
	for level, q := range telemetry.Published() {
		if q.Level() != level {
			t.Errorf("level %d is taken for %d", level, q.Level())
		}
	}
}

// TestLevelsReal: every second of the recordings has a level, and the level
// has its four columns again.
func TestLevelsReal(t *testing.T) {
	recs, err := telemetry.OpenFolder(data(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		levels, valid := r.Data.Levels()
		seen := [3]int{}
		for s, level := range levels {
			q := telemetry.Published()[level]
			for name, want := range map[string]float32{"fps": q.FPS, "rep_kbps": q.Kbps, "width": q.Width, "height": q.Height} {
				if v, _ := r.Data.At(s, r.Data.Column(name)); !valid[s] || v != want {
					t.Fatalf("limit %d, %d s: %s is %v, its level's %v", r.Limit, s, name, v, want)
				}
			}
			seen[level]++
		}
		// Counted with Python, independently of this code.
		if want := map[int][3]int{32: {1753, 155, 1692}, 64: {1701, 392, 1507}}[r.Limit]; seen != want {
			t.Errorf("limit %d: %v seconds of each level, want %v", r.Limit, seen, want)
		}
	}
}
