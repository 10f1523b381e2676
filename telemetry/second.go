package telemetry

import (
	"fmt"
	"slices"
)

// Aggregation makes one value a second of the probes that came in it.
type Aggregation string

// The aggregations. All but MaxTimedelta1 take each column by itself, of the
// probes that measured it.
const (
	// MaxTimedelta1 keeps the one probe that waited longest at switch 1, the
	// first of several: what the published pipeline does. What other probes
	// met at other switches in that second is lost. A switch of which that probe
	// says nothing, as each switch reports on its own where reports are
	// postcards, has the report that waited longest there; where no time in the
	// queue is reported, the one that met the deepest.
	MaxTimedelta1 Aggregation = "max-timedelta1"
	Max           Aggregation = "max"
	Mean          Aggregation = "mean"
	P95           Aggregation = "p95" // linearly interpolated
	// Count is, in place of the three columns of each switch, probesN: how
	// many of the second's probes measured its delay.
	Count Aggregation = "count"
)

// Second makes one row of the probes of one second, as Join does of a log.
type Second struct {
	how     Aggregation
	out     []Field
	of      []int // fields of a probe, by out
	samples [][]float64
	worst   int // deq_timedelta1 among out

	// Of MaxTimedelta1, by switch: the report that waited longest, and over all
	// fields [S,F] which probe it was.
	hops  []hopFields
	hop   []int // of hops, by out
	keeps []kept
}

// hopFields are the fields of one switch, -1 for one that is not there.
type hopFields struct{ depth, delay, out int }

// kept is a report that was chosen for its second, with all of its values.
type kept struct {
	values []float64
	valid  []bool
	some   bool
}

// NewSecond makes a Second of probes with the fields given: three of each
// switch, named and ordered as Reader.Fields of an INT file.
func NewSecond(probe []Field, how Aggregation) (*Second, error) {
	s := &Second{how: how, worst: -1}
	switch how {
	case MaxTimedelta1, Max, Mean, P95, Count:
	default:
		return nil, fmt.Errorf("telemetry: aggregation: %q is not one of %q, %q, %q, %q, %q", how, MaxTimedelta1, Max, Mean, P95, Count)
	}
	for i, f := range probe {
		if how == Count {
			if stem, hop := splitHop(f.Name); stem != "deq_timedelta" {
				continue
			} else {
				f, _ = Canonical(fmt.Sprint("probes", hop))
			}
		}
		if f.Name == "deq_timedelta1" {
			s.worst = len(s.out)
		}
		s.out, s.of = append(s.out, f), append(s.of, i)
	}
	if s.worst < 0 && how == MaxTimedelta1 {
		return nil, fmt.Errorf("telemetry: aggregation: %q needs deq_timedelta1", how)
	}
	s.samples = make([][]float64, len(s.out))
	if how == MaxTimedelta1 {
		s.byHop()
	}
	return s, nil
}

// byHop finds the switches among the fields.
func (s *Second) byHop() {
	at := map[int]int{}
	s.hop = make([]int, len(s.out))
	for i, f := range s.out {
		stem, hop := splitHop(f.Name)
		k, ok := at[hop]
		if !ok {
			k = len(s.hops)
			at[hop] = k
			s.hops = append(s.hops, hopFields{-1, -1, -1})
		}
		s.hop[i] = k
		switch stem {
		case "enq_qdepth":
			s.hops[k].depth = s.of[i]
		case "deq_timedelta":
			s.hops[k].delay = s.of[i]
		case "deq_qdepth":
			s.hops[k].out = s.of[i]
		}
	}
	s.keeps = make([]kept, len(s.hops))
}

// tells reports whether a probe says anything of a switch.
func (h hopFields) tells(valid []bool) bool {
	for _, i := range [...]int{h.depth, h.delay, h.out} {
		if i >= 0 && valid[i] {
			return true
		}
	}
	return false
}

// worse reports whether a probe waited longer at a switch than the one kept: a
// delay before none, then the longer; without delays the deeper queue.
func (h hopFields) worse(values []float64, valid []bool, k *kept) bool {
	for _, i := range [...]int{h.delay, h.depth} {
		if i < 0 {
			continue
		}
		if valid[i] != k.valid[i] {
			return valid[i]
		}
		if valid[i] {
			return values[i] > k.values[i]
		}
	}
	return false
}

// Fields are the columns of the row.
func (s *Second) Fields() []Field { return slices.Clone(s.out) }

// Reset begins another second.
func (s *Second) Reset() {
	for i := range s.samples {
		s.samples[i] = s.samples[i][:0]
	}
	for i := range s.keeps {
		s.keeps[i].some = false
	}
}

// Add adds a probe: values by field, and which of them were measured.
func (s *Second) Add(values []float64, valid []bool) {
	if s.how == MaxTimedelta1 {
		for i, h := range s.hops {
			if k := &s.keeps[i]; h.tells(valid) && (!k.some || h.worse(values, valid, k)) {
				k.values, k.valid = append(k.values[:0], values...), append(k.valid[:0], valid...)
				k.some = true
			}
		}
		return
	}
	for i, f := range s.of {
		if valid[f] {
			s.samples[i] = append(s.samples[i], values[f])
		}
	}
}

// Value is column i of the row, and whether it was measured.
func (s *Second) Value(i int) (float64, bool) {
	if s.how == MaxTimedelta1 {
		return s.kept(i)
	}
	v := s.samples[i]
	if s.how == Count {
		return float64(len(v)), true
	}
	if len(v) == 0 {
		return 0, false
	}
	switch s.how {
	case Max:
		return slices.Max(v), true
	case Mean:
		var sum float64
		for _, x := range v {
			sum += x
		}
		return sum / float64(len(v)), true
	case P95:
		slices.Sort(v)
		return Quantile(v, .95), true
	}
	panic("telemetry: aggregation: " + string(s.how))
}

// kept is column i of the probe that waited longest at switch 1 or, where that
// says nothing of the column's switch, of the one that waited longest there.
func (s *Second) kept(i int) (float64, bool) {
	hop, f := s.hop[i], s.of[i]
	k := &s.keeps[s.hop[s.worst]]
	if !k.some || !s.hops[hop].tells(k.valid) {
		k = &s.keeps[hop]
	}
	if !k.some || !k.valid[f] {
		return 0, false
	}
	return k.values[f], true
}
