package eval

import (
	"context"
	"math"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// The rank sum is the share of pairs, counted one by one; the threshold's share
// is counted over all thresholds.
func TestMembership(t *testing.T) {
	key := rng.Key{Seed: 3, Purpose: rng.Start}
	var in, out []float64
	for i := range 150 {
		in = append(in, float64(key.Intn(uint32(i), 40))) // with ties
		out = append(out, float64(key.Intn(uint32(1000+i), 30)))
	}
	pairs := 0.
	for _, a := range in {
		for _, b := range out {
			switch {
			case a > b:
				pairs++
			case a == b:
				pairs += .5
			}
		}
	}
	if got, want := auc(in, out), pairs/150/150; math.Abs(got-want) > 1e-12 {
		t.Errorf("AUC %v, counted %v", got, want)
	}
	best := 0.
	for _, at := range append(in, out...) {
		wrong, right := 0., 0.
		for i := range in {
			if out[i] > at {
				wrong++
			}
			if in[i] > at {
				right++
			}
		}
		if wrong/150 <= .1 {
			best = max(best, right/150)
		}
	}
	if got := found(in, out, .1); got != best {
		t.Errorf("%v of the members are found, %v by the best of all thresholds", got, best)
	}
}

// Sessions of a size of their own are known by it to a model that counts, and
// not where rare sizes share cells: the audit says both.
func TestAudit(t *testing.T) {
	set := func(seed uint64) *traffic.Set {
		s := &traffic.Set{Of: traffic.Schema{Steps: []traffic.Field{{Name: "size", Kind: traffic.Size}}}}
		for i := range 200 {
			x := traffic.Session{Label: -1, Start: float64(i)}
			for k := range 3 {
				x.Steps = append(x.Steps, float64(rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Start}.Intn(uint32(k), 60000)))
			}
			s.Sessions = append(s.Sessions, x)
		}
		return s
	}
	r, err := Compare(context.Background(), set(1), set(2), nil, Options{NoForest: true, Seeds: 1, Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		a, ok := row.Figures["member_auc"]
		if row.Kind == "real" {
			if ok {
				t.Error("sessions without a model are audited")
			}
			continue
		}
		if a.Mean < .99 || row.Figures["member_tpr"].Mean < .99 {
			t.Errorf("%s keeps every size, AUC %v", row.Name, a.Mean)
		}
	}
}
