package telemetry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry"
)

// Tavares et al. 2024, "Data Merging and Filtering": the published notebook's rows
// for the published probes, as pandas computed them (sums, largest, first and last
// row): filtered by the quartiles' fences, column by column.
func TestPaperTutorialReal(t *testing.T) {
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

// The same preprocessing by hand: merged by the second, mean-filled, then filtered
// with fences 1.5 times the range of the quartiles outside of them (Tukey 1977),
// column by column on the rows that the column before left; and the reversal of rows
// by which the published code's TimeGAN library loads them (Yoon et al. 2019, code).
// TestPaperTutorial has quartiles that can be seen: deq_timedelta1 is 1…9 and 30,
// quartiles 3.25 and 7.75, fences -3.5 and 14.5. lbo_s of the nine rows left is
// 10…14, 14…16 and 20: quartiles 12 and 15, fences 7.5 and 19.5, and 20 goes
// too. With the row of 30, whose lbo_s is 100, the upper one would be 21: rows
// are dropped column by column.
func TestPaperTutorial(t *testing.T) {
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

// "Address missing data": an empty cell becomes the mean of its column over all
// probes, before the join.
func TestPaperTutorialFills(t *testing.T) {
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

// TestPaperQuantile compares with numpy 2.4.6, numpy.percentile, to the bit.
func TestPaperQuantile(t *testing.T) {
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

// The same fences as a mask on the time grid, where no row is dropped.
func TestPaperOutliers(t *testing.T) {
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
