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

// The bootstrap's interval of the AUC is as wide as DeLong, DeLong and Clarke-Pearson's
// (1988), which is computed of the placements of each value among the others.
func TestMembershipInterval(t *testing.T) {
	key := rng.Key{Seed: 5, Purpose: rng.Start}
	var in, out []float64
	for i := range 400 {
		in = append(in, key.Float64(uint32(i))+.3)
		out = append(out, key.Float64(uint32(1000+i)))
	}
	place := func(x float64, others []float64) (p float64) {
		for _, y := range others {
			if x > y {
				p += 1 / float64(len(others))
			}
		}
		return p
	}
	variance := func(of, others []float64) (v float64) {
		var p []float64
		mean := 0.
		for _, x := range of {
			p = append(p, place(x, others))
			mean += p[len(p)-1] / float64(len(of))
		}
		for _, x := range p {
			v += (x - mean) * (x - mean) / float64(len(p)-1) / float64(len(p))
		}
		return v
	}
	want := 1.96 * math.Sqrt(variance(in, out)+variance(out, in))
	e := resampled(in, out, auc)
	if got := e.Half(); math.Abs(got/want-1) > .15 || !(e.Low < e.Mean && e.Mean < e.High) {
		t.Errorf("%v, half an interval of %.4f; DeLong's is %.4f", e, got, want)
	}
	if again := resampled(in, out, auc); again != e {
		t.Errorf("the second time it is %v, not %v", again, e)
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
