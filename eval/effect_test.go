package eval

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// turns are seconds in which 32 and 128 take turns, a hundred seconds each; the
// queue is full in so many of a hundred seconds under each limit, and the buffer
// changes by rise, more by kick in the ten seconds after a change.
func turns(seconds int, full map[int]int, rise func(limit int, full bool) float64, kick float64) telemetry.Recording {
	var values []float32
	var valid []bool
	var limits []int
	buffer := 0.
	for t := range seconds {
		limit := []int{32, 128}[t/100%2]
		isFull := t*37%100 < full[limit]
		buffer += rise(limit, isFull)
		if t >= 100 && t%100 < 10 {
			buffer += kick
		}
		depth := .2 * float64(limit)
		if isFull {
			depth = .9 * float64(limit)
		}
		values, valid, limits = append(values, float32(depth), float32(buffer)), append(valid, true, true), append(limits, limit)
	}
	d, err := telemetry.NewDataset([]telemetry.Field{{Name: "enq_qdepth1"}, {Name: "lbo_s"}}, 0, time.Unix(0, 0), values, valid)
	if err != nil {
		panic(err)
	}
	return telemetry.Recording{Data: d, Limits: limits}
}

func drift(limit int, full bool) float64 {
	switch {
	case full && limit == 32:
		return .25
	case full:
		return 0
	case limit == 32:
		return -.125
	}
	return .75
}

func TestEffects(t *testing.T) {
	measure := func(r telemetry.Recording) *Effects {
		e, err := MeasureEffects([]telemetry.Recording{r})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	same := map[int]int{32: 50, 128: 50}
	truth := measure(turns(4000, same, drift, 0))
	for _, limit := range []int{32, 128} {
		if got := truth.Full(1, limit); math.Abs(got-.5) > .02 {
			t.Errorf("full under %d in %v of seconds", limit, got)
		}
		for _, full := range []bool{false, true} {
			if got := truth.Drift(1, limit, full); math.Abs(got-drift(limit, full)) > 1e-4 {
				t.Errorf("drift under %d, full %v: %v, want %v", limit, full, got, drift(limit, full))
			}
		}
	}
	off := func(limit int, full bool) float64 { return drift(limit, full) + .2 }
	for name, c := range map[string]struct {
		model                         telemetry.Recording
		exogeneity, effect, transient float64
	}{
		"itself":                      {turns(4000, same, drift, 0), 0, 0, 0},
		"a load that answers":         {turns(4000, map[int]int{32: 80, 128: 40}, drift, 0), .4, 0, -1},
		"a load that is higher":       {turns(4000, map[int]int{32: 80, 128: 80}, drift, 0), 0, 0, -1},
		"a drift that is off":         {turns(4000, same, off, 0), 0, .2, .2},
		"seconds after a change only": {turns(4000, same, drift, .6), 0, 0, .6 / math.Sqrt(6)},
	} {
		got := truth.Against(measure(c.model))
		if math.Abs(float64(got.Exogeneity)-c.exogeneity) > .03 || math.Abs(float64(got.Effect)-c.effect) > .02 ||
			c.transient >= 0 && math.Abs(float64(got.Transient)-c.transient) > .02 {
			t.Errorf("%s: %+v, want exogeneity %v, effect %v, transient %v", name, got, c.exogeneity, c.effect, c.transient)
		}
	}
	one := turns(4000, same, drift, 0)
	one.Limits, one.Limit = nil, 32
	if _, err := MeasureEffects([]telemetry.Recording{one}); err == nil || !strings.Contains(err.Error(), "not identifiable") {
		t.Errorf("one limit: %v", err)
	}
}
