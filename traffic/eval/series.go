package eval

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/rates"
)

// series judges all rows as series of rates, which is what models of packets and
// models of series have in common: a session's bytes up and down a tick, from
// its first packet on (rates.Flows).
type series struct {
	o          rates.Options
	schema     traffic.Schema // of series with training's labels
	held       *traffic.Set
	heldX      [][]float32
	heldY      []int
	heldTotals *histogram[int]
	heldActive *histogram[int]
	heldACF    float64
}

// isSeries reports whether sessions of a schema are series of rates.
func isSeries(c *traffic.Schema) bool {
	return c.Tick > 0 && c.StepIndex("up") == 0 && c.StepIndex("down") == 1 && len(c.Steps) == 2
}

// newSeries is the judge of series where Options.Tick asks for it, or the real
// sessions or a candidate's are such; else nil. All of them must have one tick.
func (j *judge) newSeries(candidates []Candidate) (*series, error) {
	tick := j.Tick
	if isSeries(&j.train.Of) {
		tick = j.train.Of.Tick
	}
	for _, c := range candidates {
		of := c.schema()
		if !isSeries(of) {
			continue
		}
		if tick != 0 && of.Tick != tick {
			return nil, fmt.Errorf("eval: %s: a tick of %v s, of another row %v s: series are compared with one tick", c.Name, of.Tick, tick)
		}
		tick = of.Tick
	}
	if tick == 0 {
		return nil, nil
	}
	s := &series{o: rates.Options{Tick: tick, Ticks: j.Ticks}, schema: rates.Schema(j.train.Of.Labels, tick)}
	var err error
	if s.held, err = s.of(j.held); err != nil {
		return nil, fmt.Errorf("eval: a candidate is a series of rates, which the real sessions cannot become: %w", err)
	}
	s.heldX, s.heldY = examples(s.held, SeriesFeatures)
	s.heldTotals, s.heldActive, s.heldACF = measureSeries(s.held)
	return s, nil
}

// of is a set as series.
func (s *series) of(set *traffic.Set) (*traffic.Set, error) {
	if isSeries(&set.Of) {
		return set, nil
	}
	out, _, err := rates.Flows(set, s.o)
	return out, err
}

// schema is that of what a candidate gives.
func (c *Candidate) schema() *traffic.Schema {
	if c.Model != nil {
		return c.Model.Schema()
	}
	return &c.Set.Of
}

// judge adds the figures of a set, of series or of packets; those that need no
// forest where the set is a new one.
func (s *series) judge(j *judge, set *traffic.Set, fresh bool, seed uint64, into map[string][]float64) error {
	add := func(name string, x float64) { into[name] = append(into[name], x) }
	set, err := s.of(set)
	if err != nil {
		return err
	}
	if fresh {
		totals, active, acf := measureSeries(set)
		add("series_bytes", jsd(totals, s.heldTotals))
		add("series_active", jsd(active, s.heldActive))
		if d := acf - s.heldACF; !math.IsNaN(d) {
			add("series_acf1", d)
		}
	}
	if j.NoForest {
		return nil
	}
	if j.labelled {
		if x, y := examples(set, SeriesFeatures); len(x) > 0 {
			f1, _ := Grow(x, y, j.classes(), j.Trees, seed).Score(s.heldX, s.heldY)
			add("series_tstr_f1", f1)
		}
	}
	add("series_c2st", j.c2st(s.held, set, SeriesFeatures, seed, 4))
	return nil
}

// measureSeries gives the histograms of a set's series over powers of two of
// their bytes up and down, and over the number of ticks with a byte, and the
// mean autocorrelation at lag 1 of the logarithm of a tick's bytes.
func measureSeries(set *traffic.Set) (totals, active *histogram[int], acf float64) {
	totals, active = newHistogram[int](), newHistogram[int]()
	var all []float64
	for i := range set.Sessions {
		x := set.Sessions[i].Steps
		sum := [2]float64{}
		ticks := 0
		logs := make([]float64, len(x)/2)
		for t := range logs {
			up, down := x[2*t], x[2*t+1]
			sum[0], sum[1] = sum[0]+up, sum[1]+down
			logs[t] = math.Log1p(up + down)
			if up+down > 0 {
				ticks++
			}
		}
		totals.add(64*int(math.Log2(sum[0]+1)) + int(math.Log2(sum[1]+1)))
		active.add(ticks)
		if r := autocorrelation(logs, 1); !math.IsNaN(r) {
			all = append(all, r)
		}
	}
	return totals, active, mean(all)
}

// SeriesFeatures is what forests see of a series of rates: of each direction the
// logarithms of its sum and its largest tick, how many ticks have a byte, the
// first and the last of them, and the logarithms of its sums over sixteenths of
// the time: 42 numbers.
func SeriesFeatures(s *traffic.Session) []float32 {
	var x []float32
	ticks := len(s.Steps) / 2
	for ch := range 2 {
		sum, top, active, first, last := 0., 0., 0., -1., -1.
		parts := make([]float64, 16)
		for t := range ticks {
			v := s.Steps[2*t+ch]
			sum, top = sum+v, max(top, v)
			parts[t*16/ticks] += v
			if v > 0 {
				if active++; first < 0 {
					first = float64(t)
				}
				last = float64(t)
			}
		}
		x = append(x, float32(math.Log1p(sum)), float32(math.Log1p(top)), float32(active), float32(first), float32(last))
		for _, p := range parts {
			x = append(x, float32(math.Log1p(p)))
		}
	}
	return x
}
