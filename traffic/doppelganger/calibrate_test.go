package doppelganger

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// A heavy tail keeps its mean: classes as often as in training, and values drawn
// inside of them. Values are of a Pareto distribution, most below a minute,
// a few up to an hour.
func TestClassesKeepTheMean(t *testing.T) {
	key := rng.Key{Seed: 3, Purpose: rng.Bootstrap}
	var values []float64
	for i := range 2000 {
		values = append(values, min(.001/math.Pow(1-key.Float64(uint32(i)), 1/.7), 3600))
	}
	f := traffic.Field{Name: "gap", Kind: traffic.Gap}
	c := newClasses(&f, values, 24, 5)
	mean, drawn := 0., 0.
	const draws = 50
	for i, x := range values {
		mean += x
		for d := range draws {
			drawn += c.decode(c.encode(x), rng.Key{Seed: 4, A: uint32(i), Purpose: rng.Bootstrap}.Float64(uint32(d))) / draws
		}
	}
	if math.Abs(drawn/mean-1) > .15 {
		t.Errorf("mean %.4f s becomes %.4f", mean/2000, drawn/2000)
	}
}

// After a short fit sampled sessions are as long in the mean as training's, and go
// up and down as often: what a queue gets of them.
func TestRates(t *testing.T) {
	train := exchanges(200)
	measure := func(set *traffic.Set) (steps, down float64) {
		for i := range set.Sessions {
			for s := range set.Of.Len(&set.Sessions[i]) {
				steps++
				down += set.Of.Step(&set.Sessions[i], s)[0]
			}
		}
		return steps / float64(set.Len()), down / steps
	}
	wantSteps, wantDown := measure(train)
	for _, mode := range Modes {
		c := tiny(mode)
		c.Updates, c.Batch, c.Hidden, c.Rate = 400, 32, 16, 3e-3
		m, err := Fit(t.Context(), train, c, traffic.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		set, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 4000, Seed: 7}))
		if err != nil {
			t.Fatal(err)
		}
		steps, down := measure(set)
		t.Logf("%s: %.2f steps (%.2f), down %.3f (%.3f)", mode, steps, wantSteps, down, wantDown)
		if math.Abs(steps/wantSteps-1) > .1 || math.Abs(down-wantDown) > .05 {
			t.Errorf("%s: %.2f steps, %.3f down; training has %.2f and %.3f", mode, steps, down, wantSteps, wantDown)
		}
	}
}

// A session that goes on in a later chunk does so within its largest gap.
func TestChunksWithinGaps(t *testing.T) {
	m := fitted(t, tiny(Adversarial), traffic.FitOptions{})
	longest := 0.
	for s, err := range m.Sample(t.Context(), traffic.Request{N: 2000, Seed: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Schema().Len(&s) {
			longest = max(longest, m.Schema().Step(&s, i)[0])
		}
	}
	if longest > 1.01 { // training's are below 1 s, its chunks 16 s apart
		t.Errorf("a gap of %.2f s", longest)
	}
}

// Most packets of a session are as large as its largest, as those of a download are:
// sampled ones too, and gaps are as long in the middle.
func TestPlaces(t *testing.T) {
	train := &traffic.Set{Of: exchanges(1).Of}
	for i := range 200 {
		key := rng.Key{Seed: 7, A: uint32(i), Purpose: rng.Bootstrap}
		s := traffic.Session{Label: -1, Start: float64(i), Meta: []float64{1}}
		most := 1000 + key.Intn(1000, 400)
		for step := range 8 + key.Intn(1001, 8) {
			size, gap := most, .001*math.Exp(3*key.Float64(uint32(3*step+1)))
			if key.Float64(uint32(3*step)) < .4 {
				size = 60 + key.Intn(uint32(3*step+2), 200)
			}
			if step == 0 {
				gap = 0
			}
			s.Steps = append(s.Steps, float64(step%2), float64(size), 0, gap)
		}
		train.Sessions = append(train.Sessions, s)
	}
	measure := func(set *traffic.Set) (top, gap float64) {
		var at, n float64
		var gaps []float64
		for i := range set.Sessions {
			s, most := &set.Sessions[i], 0.
			for t := range set.Of.Len(s) {
				most = max(most, set.Of.Step(s, t)[1])
			}
			for t := range set.Of.Len(s) {
				n++
				if set.Of.Step(s, t)[1] == most {
					at++
				}
				if t > 0 {
					gaps = append(gaps, set.Of.Step(s, t)[3])
				}
			}
		}
		slices.Sort(gaps)
		return at / n, gaps[len(gaps)/2]
	}
	c := tiny(Adversarial)
	c.Updates, c.Batch, c.Hidden, c.Rate = 200, 32, 16, 3e-3
	m, err := Fit(t.Context(), train, c, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sampled := func() (top, gap float64) {
		set, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 1000, Seed: 7}))
		if err != nil {
			t.Fatal(err)
		}
		return measure(set)
	}
	wantTop, wantGap := measure(train)
	top, gap := sampled()
	m.codec.Places = nil
	was, wasGap := sampled()
	t.Logf("%.2f of steps are as large as the largest (training %.2f, uncalibrated %.2f), median gap %.4f s (%.4f, %.4f)", top, wantTop, was, gap, wantGap, wasGap)
	if math.Abs(top-wantTop) > .1 || math.Abs(math.Log(gap/wantGap)) > .5 {
		t.Errorf("%.2f of steps are as large as the largest, median gap %.4f s; training has %.2f and %.4f s", top, gap, wantTop, wantGap)
	}
	if was > .3 {
		t.Errorf("%.2f are without calibration: this set shows nothing", was)
	}
}

// A line between knots: below the first, in the middle, at a jump and above the last.
func TestPlacesLine(t *testing.T) {
	p := places{From: []float32{-2, 0, 0, 4}, To: []float32{0, .5, .75, 1}}
	for y, want := range map[float32]float64{-3: 0, -2: 0, -1: .25, 0: .75, 2: .875, 4: 1, 9: 1} {
		if got := p.at(y); math.Abs(got-want) > 1e-7 {
			t.Errorf("at %v: %v, want %v", y, got, want)
		}
	}
	for _, bad := range []places{{From: []float32{1}}, {Below: math.Inf(1)}, {From: []float32{1, 0}, To: []float32{0, 1}}, {From: []float32{0, 1}, To: []float32{1, 0}},
		{From: []float32{0}, To: []float32{1.5}}, {From: []float32{float32(math.NaN())}, To: []float32{0}}} {
		if bad.check() == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
