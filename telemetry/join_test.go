package telemetry_test

import (
	"fmt"
	"math"
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
		{"aggregation", probes(), nil, "median", `"median" is not one of "max-timedelta1"`},
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
