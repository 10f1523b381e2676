package branches

import (
	"math"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// recording is of a buffer, and of a queue that holds share of its limit.
func recording(t *testing.T, limits []int, buffer []float32, share float32) telemetry.Recording {
	t.Helper()
	fields := []telemetry.Field{{Name: "enq_qdepth1", Unit: "packets"}, {Name: "lbo_s", Unit: "s"}}
	var values []float32
	var valid []bool
	for i, b := range buffer {
		values = append(values, share*float32(limits[i]), b)
		valid = append(valid, true, true)
	}
	d, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry.Recording{Data: d, Limits: limits}
}

// branch is 20 s at level under limit 32, then 60 s at slope under limit; lost seconds
// of it are different.
func branch(t *testing.T, level, slope float32, limit int, share float32) telemetry.Recording {
	var limits []int
	var buffer []float32
	for s := range 80 {
		l, b := 32, level+float32(s%3)
		if s >= 20 {
			l, b = limit, level+slope*float32(s-19)
		}
		limits, buffer = append(limits, l), append(buffer, b)
	}
	return recording(t, limits, buffer, share)
}

// Four moments, two limits each; under 64 the buffer gains .1 s a second that it does
// not gain under 128, twice that with full queues. A model that says .1 everywhere is
// right in half of the states and off by 6 s after 60 s in the others.
func TestCompare(t *testing.T) {
	var all []telemetry.Recording
	for _, m := range []struct{ level, share float32 }{{10, .1}, {12, .1}, {30, .9}, {32, .9}, {31, .1}, {11, .9}, {33, .1}, {13, .9}} {
		gain := float32(.1)
		if m.share > .5 {
			gain = .2
		}
		all = append(all, branch(t, m.level, gain, 64, m.share), branch(t, m.level, 0, 128, m.share))
	}
	points, err := Points(all)
	if err != nil || len(points) != 8 {
		t.Fatalf("%d points (%v)", len(points), err)
	}
	if p := points[2]; p.From != 20 || p.First != 4 || !p.Full || p.Buffer != 31 || p.Limits[0] != 64 || p.Limits[1] != 128 {
		t.Errorf("the third moment is %+v", p)
	}
	// A branch under the limit that was in force all the while is read as a recording
	// under one limit.
	stays := branch(t, 10, 0, 32, .1)
	values, valid := make([]float32, 2*80), make([]bool, 2*80)
	for s := range 80 {
		stays.Data.Copy(s, values[2*s:][:2], valid[2*s:][:2])
	}
	d, err := telemetry.NewDataset(stays.Data.Fields(), 32, time.Unix(0, 0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	one := telemetry.Recording{Data: d, Limit: 32}
	if p, err := Points([]telemetry.Recording{branch(t, 10, 0, 64, .1), one, branch(t, 10, 0, 128, .1)}); err != nil || len(p) != 1 || len(p[0].Limits) != 3 || p[0].From != 20 {
		t.Errorf("with a branch under its history's limit: %+v (%v)", p, err)
	}
	const n, f, T = 2, 2, 60
	var model [][]float32
	for i, r := range all {
		level, _ := r.Data.At(18, 1)
		x := make([]float32, n*T*f)
		for k := range n {
			for s := range T {
				b := level
				if i%2 == 0 {
					b += .1 * float32(s+1)
				}
				x[(k*T+s)*f+1] = b + []float32{-1, 1}[k] // rollouts differ, their mean does not
			}
		}
		model = append(model, x)
	}
	effects, err := Compare(all, points, model, n)
	if err != nil {
		t.Fatal(err)
	}
	if len(effects) != len(Horizons) {
		t.Fatalf("%d effects", len(effects))
	}
	for _, e := range effects {
		if e.Lower != 64 || e.Higher != 128 || e.All.N != 8 || len(e.States) != 4 {
			t.Fatalf("%+v", e)
		}
		h := float64(e.After)
		if math.Abs(e.All.Testbed+.15*h) > 1e-4 || math.Abs(e.All.Model+.1*h) > 1e-4 {
			t.Errorf("after %v s: %+v, want %v on the testbed and %v in the model", h, e.All, -.15*h, -.1*h)
		}
		rms, floor := RMS(effects, e.After)
		if want := .1 * h / math.Sqrt2; math.Abs(rms-want) > 1e-4 || floor > 1e-4 {
			t.Errorf("after %v s: rms %v of %v, want %v of 0", h, rms, floor, want)
		}
	}
	if _, err := Points(all[1:2]); err == nil {
		t.Error("one recording has a pair")
	}
	if _, err := Points([]telemetry.Recording{all[0], all[2]}); err == nil {
		t.Error("recordings that begin differently are a pair")
	}
}
