package selection

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// csvOf is n rows of columns of noise.
func csvOf(seed uint64, n int, columns string, comma string) string {
	names := strings.Fields(columns)
	var b strings.Builder
	b.WriteString(strings.Join(names, comma) + "\n")
	for i := range n {
		for k := range names {
			if k > 0 {
				b.WriteString(comma)
			}
			fmt.Fprint(&b, rng.Key{Seed: seed, A: uint32(i)}.Intn(uint32(k), 90))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func read(t *testing.T, text string) Table {
	t.Helper()
	table, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestColumnsOfOtherTestbeds: what is there is scored, in the order of the
// path, and what is not is named.
func TestColumnsOfOtherTestbeds(t *testing.T) {
	for _, c := range []struct {
		name, real, synth, comma string
		want, left               string
	}{
		{"one switch", "t enq_qdepth1 deq_timedelta1 deq_qdepth1 lbo_s fps rep_kbps calc_cum calc_rate width", "deq_qdepth1 enq_qdepth1 deq_timedelta1 FPS Buffer ReportedBitrate CalcBitrate", ",",
			"enq_qdepth1 deq_timedelta1 deq_qdepth1 Buffer ReportedBitrate FPS CalcBitrate", "width"},
		{"two of INT alone", "enq_qdepth2 deq_timedelta2 enq_qdepth1 deq_timedelta1", "enq_qdepth2 deq_timedelta2 enq_qdepth1 deq_timedelta1", ",", "enq_qdepth1 deq_timedelta1 enq_qdepth2 deq_timedelta2", ""},
		{"eleven switches", "enq_qdepth11 enq_qdepth2", "enq_qdepth2 enq_qdepth11", ",", "enq_qdepth2 enq_qdepth11", ""},
		{"five against two", "enq_qdepth1 enq_qdepth2 enq_qdepth3 enq_qdepth4 enq_qdepth5", "enq_qdepth1 enq_qdepth2", ",", "enq_qdepth1 enq_qdepth2", "enq_qdepth3 enq_qdepth4 enq_qdepth5"},
		{"a player alone, as logs have it", "timestamp Buffer FPS", "timestamp lbo_s fps stall_s", ";", "Buffer FPS", "stall_s"},
		{"another's CSV", "Open High Volume", "Volume Open Low High", "\t", "Open High Volume", "Low"},
	} {
		real, synth := read(t, csvOf(1, 120, c.real, c.comma)), read(t, csvOf(2, 120, c.synth, c.comma))
		s, err := Compare(real, synth, Options{Draws: 3})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(s.Columns, " "); got != c.want || strings.Join(s.Left, " ") != c.left {
			t.Errorf("%s: scored %s, left out %q; want %s, %q", c.name, got, s.Left, c.want, c.left)
		}
		var features []string
		for _, f := range s.Features {
			features = append(features, f.Name)
		}
		if !slices.Equal(features, s.Columns) || !(s.Mean.MMinmax > 0) {
			t.Errorf("%s: %v, M %v", c.name, features, s.Mean.MMinmax)
		}
	}
	if _, err := Compare(read(t, csvOf(1, 120, "enq_qdepth1", ",")), read(t, csvOf(1, 120, "lbo_s", ",")), Options{}); err == nil || !strings.Contains(err.Error(), "no column is measured in both: [enq_qdepth1] and [Buffer]") {
		t.Errorf("%v", err)
	}
}

// TestEmptyColumn: a column that was never measured is left out, and does not
// take all rows with it.
func TestEmptyColumn(t *testing.T) {
	fields := []telemetry.Field{{Name: "enq_qdepth1", Unit: "packets"}, {Name: "deq_qdepth1", Unit: "packets"}, {Name: "calc_rate", Unit: "1/s"}}
	values, valid := make([]float32, 3*200), make([]bool, 3*200)
	for i := range 200 {
		values[3*i], valid[3*i] = float32(i%7), i%10 > 0
		values[3*i+2], valid[3*i+2] = 5, i > 0
	}
	d, err := telemetry.NewDataset(fields, 32, time.UnixMilli(0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	real, err := FromDataset(d)
	if err != nil {
		t.Fatal(err)
	}
	synth := read(t, csvOf(1, 200, "enq_qdepth1 deq_qdepth1 calc_cum", ","))
	s, err := Compare(real, synth, Options{Like: true, Draws: -1})
	if err != nil || strings.Join(s.Columns, " ") != "enq_qdepth1 CalcBitrate" || strings.Join(s.Left, " ") != "deq_qdepth1" || s.RealRows != 180 || math.IsNaN(s.Mean.W1) {
		t.Errorf("%+v, %v", s, err)
	}
	words := read(t, "when,a,b\nMon,1,NaN\nTue,2,3\n")
	if strings.Join(words.Columns, " ") != "a b" || strings.Join(words.Left, " ") != "when" || !math.IsNaN(words.Values[1]) || words.Values[3] != 3 {
		t.Errorf("%+v", words)
	}
}
