package structured

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// recorded is a recording under a limit of 64 of named columns; NaN is not measured.
func recorded(names string, rows ...[]float32) telemetry.Recording {
	var f []telemetry.Field
	for _, name := range strings.Fields(names) {
		f = append(f, telemetry.Field{Name: name})
	}
	var values []float32
	var valid []bool
	for _, row := range rows {
		for _, v := range row {
			valid = append(valid, v == v)
			if v != v {
				v = 0
			}
			values = append(values, v)
		}
	}
	d, err := telemetry.NewDataset(f, 64, time.Unix(0, 0), values, valid)
	if err != nil {
		panic(err)
	}
	return telemetry.Recording{Limit: 64, Data: d}
}

// Columns by hand: kinds, ranges, levels in the order of bitrates whatever column comes first,
// and what is decoded of each level: as measured where a level fills the buffer, else as much a
// kilobit as of the lowest level that does.
func TestDescribeByHand(t *testing.T) {
	gone := float32(nan)
	var rows [][]float32
	for s := range 40 {
		width, kbps, rate := float32(900), float32(500), float32(50)
		if s >= 15 {
			width, kbps, rate = 300, 2000, 180
		}
		if s == 39 { // a level of one second
			width, kbps, rate = 300, 1000, 77
		}
		lbo := float32(3)
		if s == 30 {
			lbo = 1 // nearly empty: does not say what is decoded
			rate = 7
		}
		depth := float32(s)
		if s == 1 {
			depth = gone
		}
		rows = append(rows, []float32{width, depth, depth * 10, 5 + float32(s)/2, .5, lbo, kbps, rate, 3, 1000})
	}
	m := &Model{Config: Config{SegmentS: 4}}
	if err := m.describe([]telemetry.Recording{recorded("width enq_qdepth1 deq_timedelta1 deq_timedelta2 other1 lbo_s rep_kbps calc_rate deq_qdepth3 stall_s", rows...)}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m.Columns)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"width","kind":"quality","channel":-1,"depth":-1,"integer":true,"levels":[900,300,300],"lo":300,"hi":900},` +
		`{"name":"enq_qdepth1","kind":"depth","channel":0,"depth":-1,"integer":true,"lo":0,"hi":39},` +
		`{"name":"deq_timedelta1","kind":"wait","channel":1,"depth":1,"integer":true,"lo":0,"hi":390},` +
		`{"name":"deq_timedelta2","kind":"wait","channel":2,"depth":-1,"lo":5,"hi":24.5},` +
		`{"name":"other1","kind":"constant","value":0.5,"channel":-1,"depth":-1,"lo":0.5,"hi":0.5},` +
		`{"name":"lbo_s","kind":"buffer","channel":-1,"depth":-1,"integer":true,"lo":1,"hi":3},` +
		`{"name":"rep_kbps","kind":"quality","channel":-1,"depth":-1,"integer":true,"levels":[500,1000,2000],"lo":500,"hi":2000},` +
		`{"name":"calc_rate","kind":"rate","channel":-1,"depth":-1,"integer":true,"levels":[50,100,180],"lo":7,"hi":180},` +
		`{"name":"deq_qdepth3","kind":"constant","value":3,"channel":-1,"depth":-1,"integer":true,"lo":3,"hi":3},` +
		`{"name":"stall_s","kind":"stall","channel":-1,"depth":-1,"integer":true,"lo":1000,"hi":1000}]`
	if string(text) != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	if !slices.Equal(m.Kbps, []float64{500, 1000, 2000}) || !slices.Equal(m.Limits, []int32{64}) || len(m.Data) != 1 || m.channels() != 3 {
		t.Errorf("%v kbit/s under %v, %d channels", m.Kbps, m.Limits, m.channels())
	}
	// Where no level fills the buffer, nothing is known of what is decoded.
	only := &Model{Config: Config{SegmentS: 4}}
	if err := only.describe([]telemetry.Recording{recorded("enq_qdepth1 lbo_s rep_kbps calc_rate", []float32{1, 3, 500, 9}, []float32{2, 3, 900, 8})}); err != nil || !slices.Equal(only.Columns[3].Levels, []float32{0, 0}) {
		t.Errorf("%+v, %v", only.Columns, err)
	}
}

// What recordings must hold, said with the recording, the second and the column.
func TestDescribeRefuses(t *testing.T) {
	gone := float32(nan)
	good := recorded("enq_qdepth1 lbo_s rep_kbps", []float32{1, 3, 500}, []float32{2, 3, 900})
	each := good
	each.Limit, each.PerSwitch = 0, []int32{32, 64, 32, 64}
	many := make([][]float32, 18)
	for i := range many {
		many[i] = []float32{1, 3, float32(100 + i)}
	}
	for want, all := range map[string][]telemetry.Recording{
		"recording 2 has a limit for each switch":                                 {good, each},
		"recording 2, second 1: lbo_s was not measured: a player always shows it": {good, recorded("enq_qdepth1 lbo_s rep_kbps", []float32{1, 3, 500}, []float32{2, gone, 900})},
		"recording 1, second 0: rep_kbps was not measured":                        {recorded("enq_qdepth1 lbo_s rep_kbps", []float32{1, 3, gone}, []float32{2, 4, 900})},
		"enq_qdepth1 was never measured":                                          {recorded("enq_qdepth1 lbo_s rep_kbps", []float32{gone, 3, 500})},
		"speed: no rule is known for it":                                          {recorded("speed lbo_s rep_kbps", []float32{1, 3, 500}, []float32{2, 3, 500})},
		"quality has 18 combinations":                                             {recorded("enq_qdepth1 lbo_s rep_kbps", many...)},
		"rep_kbps: 0 does not tell the quality levels apart":                      {recorded("enq_qdepth1 lbo_s rep_kbps", []float32{1, 3, 0})},
		"rep_kbps: 500 does not tell the quality levels apart":                    {recorded("enq_qdepth1 lbo_s fps rep_kbps", []float32{1, 3, 18, 500}, []float32{2, 3, 24, 500})},
		"recordings 1 and 3 have different fields":                                {good, good, recorded("enq_qdepth2 lbo_s rep_kbps", []float32{1, 3, 500})},
	} {
		if err := (&Model{}).describe(all); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	most := &Model{}
	if err := most.describe([]telemetry.Recording{recorded("enq_qdepth1 lbo_s rep_kbps", many[:16]...)}); err != nil || len(most.Kbps) != 16 {
		t.Errorf("sixteen levels: %v", err)
	}
}

var nan = func() float64 { var zero float64; return zero / zero }()

// The regimes of a load that is plain to see are those, whatever number of them, under either
// limit, and numbered from the emptiest; more than there are is an error.
func TestInferLoadByHand(t *testing.T) {
	for k := 1; k <= 3; k++ {
		var all []sequence
		var truth []string
		for r := range 3 {
			s, path := sequence{}, ""
			for i := range 900 {
				z := (i/150 + r) % k
				s.limit = append(s.limit, (i/40+r)%2)
				x := .1 + .3*float64(z) + .02*float64(i%5)
				if i%11 == 0 {
					x = nan
				}
				s.x = append(s.x, x)
				path += fmt.Sprint(z)
			}
			all, truth = append(all, s), append(truth, path)
		}
		paths, err := inferLoad(all, k, 1, []int{32, 64})
		if err != nil {
			t.Fatal(err)
		}
		for r, p := range paths {
			got := ""
			for _, z := range p {
				got += fmt.Sprint(z)
			}
			if got != truth[r] {
				t.Errorf("%d regimes, recording %d: %s\nwant %s", k, r, got, truth[r])
			}
		}
	}
	one := sequence{limit: make([]int, 50), x: slices.Repeat([]float64{.5}, 50)}
	if _, err := inferLoad([]sequence{one}, 3, 1, []int{32}); err == nil || !strings.Contains(err.Error(), "the load shows fewer than 3") {
		t.Errorf("three regimes of one: %v", err)
	}
}
