package eval

import (
	"math"
	"slices"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/netflow"
)

// netShare adds the distances of flow records that NetShare's dist_metrics
// computes (compute_metrics_netflow_v3 of netsharecmu/NetShare), figure by
// figure as its code does, natural logarithm:
//
//	sa, da       JSD of addresses' counts, sorted from the largest
//	sp, dp, pr   JSD of ports' and protocols' counts
//	v3_*         Wasserstein-1 distances in the CSV's units (µs, s, packets, B)
//
// The published bars rescale each Wasserstein distance to .1….9 over the methods
// of one figure, so that they cannot be compared with another's. The absolute
// form, rel_*, is the distance over that of the real values from their own
// median: 1 is as far as one constant.
//
// binned_* are its JSD of continuous values, bins of the real ones alone. It
// means to count what lies outside of them and throws the result away
// (np.insert and np.append give copies): a value out of range costs nothing.
// Of binned_*_all it has a bin of its own.
func netShare(real, synth []netflow.Record, into map[string]float64) {
	jsdOf := func(name string, key func(*netflow.Record) any, distance func(p, q *histogram[any]) float64) {
		p, q := newHistogram[any](), newHistogram[any]()
		for i := range real {
			p.add(key(&real[i]))
		}
		for i := range synth {
			q.add(key(&synth[i]))
		}
		into[name] = distance(p, q)
	}
	jsdOf("sa", func(r *netflow.Record) any { return r.Src }, rankJSD)
	jsdOf("da", func(r *netflow.Record) any { return r.Dst }, rankJSD)
	jsdOf("sp", func(r *netflow.Record) any { return r.SrcPort }, jsd)
	jsdOf("dp", func(r *netflow.Record) any { return r.DstPort }, jsd)
	jsdOf("pr", func(r *netflow.Record) any { return r.Proto }, jsd)
	for name, of := range map[string]func(*netflow.Record) float64{
		"ts_us": func(r *netflow.Record) float64 { return r.Start * 1e6 },
		"td_s":  func(r *netflow.Record) float64 { return r.Duration },
		"pkt":   func(r *netflow.Record) float64 { return float64(r.Packets) },
		"byt":   func(r *netflow.Record) float64 { return float64(r.Bytes) },
	} {
		var p, q []float64
		for i := range real {
			p = append(p, of(&real[i]))
		}
		for i := range synth {
			q = append(q, of(&synth[i]))
		}
		if name == "ts_us" { // since the first record
			for _, v := range [][]float64{p, q} {
				first := slices.Min(v)
				for i := range v {
					v[i] -= first
				}
			}
		}
		d := emd(p, q)
		into["v3_"+name], into["rel_"+name] = d, d/spread(p)
		into["binned_"+name], into["binned_"+name+"_all"] = binned(p, q)
	}
}

// spread is the mean distance from the median of sorted values.
func spread(v []float64) float64 {
	m, sum := quantile(v, .5), 0.
	for _, x := range v {
		sum += math.Abs(x-m) / float64(len(v))
	}
	return sum
}

// quantile of sorted values, linear between them (numpy.percentile).
func quantile(v []float64, p float64) float64 {
	at := p * float64(len(v)-1)
	i := int(at)
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// binned is the JSD of two sorted samples in equal bins over the range of the
// first, as many as numpy.histogram's "auto" of NumPy 1 (the smaller width of
// Freedman and Diaconis' and of Sturges' rule): without what lies outside of the
// range, and with a bin for it on either side.
func binned(p, q []float64) (published, all float64) {
	low, high := p[0], p[len(p)-1]
	n := 1
	if high > low {
		width := (high - low) / (math.Log2(float64(len(p))) + 1)
		if fd := 2 * (quantile(p, .75) - quantile(p, .25)) / math.Cbrt(float64(len(p))); fd > 0 {
			width = min(width, fd)
		}
		n = int(min(math.Ceil((high-low)/width), 1e7))
	} else {
		low, high = low-.5, high+.5 // as numpy
	}
	count := func(v []float64) (inside, whole *histogram[int]) {
		inside, whole = newHistogram[int](), newHistogram[int]()
		for _, x := range v {
			switch {
			case x < low:
				whole.add(-1)
			case x > high:
				whole.add(n)
			default:
				k := min(int(float64(n)*((x-low)/(high-low))), n-1)
				// A value on an edge is in the bin above it, where edges are low + k·width.
				for k > 0 && x < low+float64(k)*(high-low)/float64(n) {
					k--
				}
				for k < n-1 && x >= low+float64(k+1)*(high-low)/float64(n) {
					k++
				}
				inside.add(k)
				whole.add(k)
			}
		}
		return inside, whole
	}
	p1, p2 := count(p)
	q1, q2 := count(q)
	return jsd(p1, q1), jsd(p2, q2)
}

// records are the flow records of a set; nil where it has none.
func records(s *traffic.Set) []netflow.Record {
	r, err := netflow.Records(s)
	if err != nil {
		return nil
	}
	return r
}
