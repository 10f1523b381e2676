package eval_test

import (
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/rates"
)

// dialogue is n sessions of two labels: one sends much down, the other little up.
func dialogue(n int, seed uint64) *traffic.Set {
	s := &traffic.Set{Of: flows.Schema([]string{"video", "sensor"})}
	for i := range n {
		key := rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Start}
		x := traffic.Session{Label: i % 2, Start: float64(i), Meta: make([]float64, len(s.Of.Meta))}
		for t := range 12 {
			step := make([]float64, len(s.Of.Steps))
			step[flows.Direction] = float64(1 - i%2)
			step[flows.Size] = float64(100 + 1000*(1-i%2) + key.Intn(uint32(t), 300))
			if t > 0 {
				step[flows.Gap] = .01 * key.Float64(uint32(100+t))
			}
			x.Steps = append(x.Steps, step...)
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

// Series stand beside packets: what both have is measured of both, alike, and
// what a series has not stays empty.
func TestSeriesBesidePackets(t *testing.T) {
	train, held := dialogue(80, 1), dialogue(60, 2)
	same, _, err := rates.Flows(train, rates.Options{Tick: .01})
	if err != nil {
		t.Fatal(err)
	}
	half := &traffic.Set{Of: same.Of}
	for _, x := range same.Sessions {
		steps := make([]float64, len(x.Steps))
		for i, v := range x.Steps {
			steps[i] = float64(int(v / 40))
		}
		x.Steps = steps
		half.Sessions = append(half.Sessions, x)
	}
	o := eval.Options{Seeds: 1, Trees: 20, NoFloors: true}
	r, err := eval.Compare(t.Context(), train, held, []eval.Candidate{{Name: "same", Set: same}, {Name: "less", Set: half}, {Name: "packets", Set: train}}, o)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]eval.Estimate{}
	for _, row := range r.Rows {
		rows[row.Name] = row.Figures
	}
	for _, f := range []string{"series_bytes", "series_active", "series_acf1", "series_tstr_f1", "series_c2st"} {
		for _, row := range []string{"same", "packets"} {
			if a, b := rows["real"][f].Mean, rows[row][f].Mean; a != b {
				t.Errorf("%s of %s: %v, of the same sessions as the row real %v", f, row, b, a)
			}
		}
		if _, ok := rows["less"][f]; !ok {
			t.Errorf("%s: a series has none", f)
		}
	}
	if rows["less"]["series_bytes"].Mean < 2*rows["real"]["series_bytes"].Mean {
		t.Errorf("a fortieth of the bytes: %v, real %v", rows["less"]["series_bytes"], rows["real"]["series_bytes"])
	}
	for _, f := range []string{"size", "gap", "c2st", "copy"} {
		if _, ok := rows["same"][f]; ok {
			t.Errorf("a series has the figure %s of packets", f)
		}
		if _, ok := rows["packets"][f]; !ok {
			t.Errorf("packets beside a series have no %s", f)
		}
	}
	// As packets by compile's rule both are legal.
	if got := rows["less"]["legal_packets"].Mean; got != 1 {
		t.Errorf("share of legal packets of a series: %v", got)
	}
	// A set that is there is one sample: no interval over seeds.
	o.Seeds = 2
	two, err := eval.Compare(t.Context(), train, held, []eval.Candidate{{Name: "same", Set: same}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if e := two.Rows[1].Figures["series_bytes"]; !math.IsNaN(e.Half()) {
		t.Errorf("one set has the interval %v", e)
	}
	other, _, err := rates.Flows(train, rates.Options{Tick: .02})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eval.Compare(t.Context(), train, held, []eval.Candidate{{Name: "a", Set: same}, {Name: "b", Set: other}}, o); err == nil || !strings.Contains(err.Error(), "b: a tick of 0.02 s") {
		t.Errorf("error %v for two ticks", err)
	}
	alone, err := eval.Compare(t.Context(), same, nil, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := alone.Rows[0].Figures["series_bytes"]; !ok {
		t.Error("real series have no figures of series")
	}
}
