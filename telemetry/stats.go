package telemetry

import "slices"

// Quantile is the p-quantile of values in ascending order, linearly
// interpolated between neighbours as numpy.percentile does it, to the bit.
// There is at least one value, and 0 ≤ p ≤ 1.
func Quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	a, b, w := sorted[i], sorted[i+1], at-float64(i)
	if w >= .5 {
		return b - float64((b-a)*(1-w))
	}
	return a + float64((b-a)*w)
}

// fences are the bounds outside of which a value of v is an outlier: 1.5
// interquartile ranges below the first quartile and above the third (Tukey).
// v is sorted in place.
func fences(v []float64) (low, high float64) {
	slices.Sort(v)
	q1, q3 := Quantile(v, .25), Quantile(v, .75)
	iqr := q3 - q1
	return q1 - float64(1.5*iqr), q3 + float64(1.5*iqr)
}

// Outliers marks the measured values [T,F] outside of their column's fences,
// 1.5 interquartile ranges beyond its quartiles. It marks and drops nothing:
// in a column that is mostly zero every queueing event is an "outlier".
func (d *Dataset) Outliers() []bool {
	f := len(d.fields)
	out := make([]bool, len(d.values))
	for c := range f {
		v := d.measured(c, All)
		if len(v) == 0 {
			continue
		}
		low, high := fences(v)
		for i := c; i < len(out); i += f {
			x := float64(d.values[i])
			out[i] = d.valid[i] && (x < low || x > high)
		}
	}
	return out
}
