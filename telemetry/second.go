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
	// met at other switches in that second is lost.
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
}

// NewSecond makes a Second of probes with the fields given: three of each
// switch, named and ordered as Reader.Fields of an INT file.
func NewSecond(probe []Field, how Aggregation) (*Second, error) {
	s := &Second{how: how, worst: -1}
	switch how {
	case MaxTimedelta1, Max, Mean, P95, Count:
	default:
		return nil, fmt.Errorf("telemetry: aggregation: %q is none of %q, %q, %q, %q, %q", how, MaxTimedelta1, Max, Mean, P95, Count)
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
	return s, nil
}

// Fields are the columns of the row.
func (s *Second) Fields() []Field { return slices.Clone(s.out) }

// Reset begins another second.
func (s *Second) Reset() {
	for i := range s.samples {
		s.samples[i] = s.samples[i][:0]
	}
}

// Add adds a probe: values by field, and which of them were measured.
func (s *Second) Add(values []float64, valid []bool) {
	if s.how == MaxTimedelta1 {
		w := s.of[s.worst]
		held := s.samples[s.worst]
		if !valid[w] || len(held) > 0 && values[w] <= held[0] {
			return
		}
		s.Reset()
	}
	for i, f := range s.of {
		if valid[f] {
			s.samples[i] = append(s.samples[i], values[f])
		}
	}
}

// Value is column i of the row, and whether it was measured.
func (s *Second) Value(i int) (float64, bool) {
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
	return v[0], true
}
