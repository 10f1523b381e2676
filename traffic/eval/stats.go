package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/planegym/planegym/traffic"
)

// Number is a float that JSON writes as null where it is not finite.
type Number float64

// MarshalJSON writes null for what is not finite.
func (n Number) MarshalJSON() ([]byte, error) {
	if x := float64(n); math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// Estimate is a mean and its 95 % interval; Low and High are NaN where there
// was one value, and all three where there was none.
type Estimate struct {
	Mean Number `json:"mean"`
	Low  Number `json:"low"`
	High Number `json:"high"`
}

func (e Estimate) String() string {
	digits := 3
	if m := math.Abs(float64(e.Mean)); m > 0 && m < .1 {
		digits = 4
	}
	return e.Text(digits)
}

// Text is the mean and half of its interval with so many digits behind the point:
// "0.123 ± 0.004". Without an interval it is the mean, without a mean "–".
func (e Estimate) Text(digits int) string {
	if math.IsNaN(float64(e.Mean)) {
		return "–"
	}
	s := fmt.Sprintf("%.*f", digits, float64(e.Mean))
	if half := e.Half(); !math.IsNaN(half) {
		s += fmt.Sprintf(" ± %.*f", digits, half)
	}
	return s
}

// Half is half of the interval; NaN where there was one value.
func (e Estimate) Half() float64 { return float64(e.High-e.Low) / 2 }

// EstimateOf is the mean of values and its interval, by Student's t.
func EstimateOf(v []float64) Estimate {
	n := float64(len(v))
	mean, variance := 0., 0.
	for _, x := range v {
		mean += x / n
	}
	if len(v) == 0 {
		mean = math.NaN()
	}
	if len(v) < 2 {
		return Estimate{Number(mean), Number(math.NaN()), Number(math.NaN())}
	}
	for _, x := range v {
		variance += (x - mean) * (x - mean) / (n - 1)
	}
	half := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(.975) * math.Sqrt(variance/n)
	return Estimate{Number(mean), Number(mean - half), Number(mean + half)}
}

// stats is what distances are taken of.
type stats struct {
	tokens, bigrams             *histogram[any]
	patterns                    *histogram[string]
	gaps, lengths, labels       *histogram[int]
	gap, size, length, duration []float64
	gapACF, sizeACF             float64
	dispersion                  float64
}

type pair struct{ a, b [8]float64 }

func (j *judge) measure(set *traffic.Set) stats {
	c, f := &set.Of, j.f
	s := stats{tokens: newHistogram[any](), bigrams: newHistogram[any](), patterns: newHistogram[string](),
		gaps: newHistogram[int](), lengths: newHistogram[int](), labels: newHistogram[int]()}
	var gapACF, sizeACF []float64
	var seconds []float64
	for i := range set.Sessions {
		x := &set.Sessions[i]
		n := c.Len(x)
		var logs, signed []float64
		duration := 0.
		for t := range n {
			step := c.Step(x, t)
			s.tokens.add(f.token(step))
			if t > 0 {
				s.bigrams.add(pair{f.coarse(c.Step(x, t-1)), f.coarse(step)})
			}
			for _, g := range f.gaps {
				s.gaps.add(bin(j.gapCuts, step[g]))
				s.gap = append(s.gap, step[g])
				duration += step[g]
				if t > 0 {
					logs = append(logs, math.Log(step[g]+1e-6))
				}
			}
			if f.size >= 0 {
				s.size = append(s.size, step[f.size])
				signed = append(signed, f.signed(step))
			}
			seconds = append(seconds, x.Start+duration)
		}
		if f.direction >= 0 {
			s.patterns.add(f.pattern(x))
		}
		s.lengths.add(n)
		s.labels.add(x.Label)
		s.length = append(s.length, float64(n))
		s.duration = append(s.duration, duration)
		if a := autocorrelation(logs, 1); !math.IsNaN(a) {
			gapACF = append(gapACF, a)
		}
		if a := autocorrelation(signed, 1); !math.IsNaN(a) {
			sizeACF = append(sizeACF, a)
		}
	}
	s.gapACF, s.sizeACF = mean(gapACF), mean(sizeACF)
	s.dispersion = Dispersion(seconds, 1)
	return s
}

func mean(v []float64) float64 {
	sum := 0.
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v)) // NaN where there is none
}

func bin(cuts []float64, x float64) int {
	i, _ := slices.BinarySearch(cuts, x)
	return min(i, len(cuts)-1)
}

// Dispersion is the variance over the mean of how many times fall into windows
// of a width (s): 1 for a Poisson process. It sorts the times. NaN below 10 windows. At most 2^20
// windows from the first time on are looked at.
func Dispersion(times []float64, width float64) float64 {
	if len(times) == 0 {
		return math.NaN()
	}
	slices.Sort(times)
	windows := min(int((times[len(times)-1]-times[0])/width), 1<<20)
	if windows < 10 {
		return math.NaN()
	}
	count := make([]float64, windows)
	for _, t := range times {
		if w := int((t - times[0]) / width); w < windows {
			count[w]++
		}
	}
	m, v := mean(count), 0.
	for _, x := range count {
		v += (x - m) * (x - m) / float64(windows-1)
	}
	if m == 0 {
		return math.NaN()
	}
	return v / m
}

// distances are the figures that need no forest. Of the real row, copies are
// held-out sessions found in training.
func (j *judge) distances(set *traffic.Set, real bool) map[string]float64 {
	s, h := j.measure(set), &j.heldStats
	d := map[string]float64{
		"size":           jsd(s.tokens, h.tokens),
		"bigram":         jsd(s.bigrams, h.bigrams),
		"pattern":        jsd(s.patterns, h.patterns),
		"gap":            jsd(s.gaps, h.gaps),
		"length":         jsd(s.lengths, h.lengths),
		"labels":         jsd(s.labels, h.labels),
		"gap_emd_s":      emd(s.gap, slices.Clone(h.gap)),
		"size_emd_b":     emd(s.size, slices.Clone(h.size)),
		"length_emd":     emd(s.length, slices.Clone(h.length)),
		"duration_emd_s": emd(s.duration, slices.Clone(h.duration)),
		"gap_acf1":       s.gapACF - h.gapACF,
		"size_acf1":      s.sizeACF - h.sizeACF,
		"dispersion_1s":  math.Log(s.dispersion) - math.Log(h.dispersion),
	}
	if len(j.heldRecords) > 0 {
		if r := records(set); len(r) > 0 {
			netShare(j.heldRecords, r, d)
		}
	}
	of := set
	if real {
		of = j.held
	}
	copies := 0.
	for i := range of.Sessions {
		if j.known[j.f.content(&of.Sessions[i])] {
			copies++
		}
	}
	d["copy"] = copies / float64(max(of.Len(), 1))
	for name, x := range d {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			delete(d, name)
		}
	}
	if !j.labelled {
		delete(d, "labels")
	}
	return d
}
