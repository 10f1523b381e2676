package doppelganger

import (
	"cmp"
	"math"
	"slices"

	"github.com/planegym/planegym/traffic"
)

// marginals compares sessions with those of training, field by field: the
// Jensen-Shannon divergence of symbols, ports, popularity ranks and lengths,
// the Wasserstein-1 distance of numbers on their logarithmic scale.
func marginals(of *traffic.Schema, train, drawn []traffic.Session) []float64 {
	var all []float64
	for j, f := range of.Meta {
		column := func(s []traffic.Session) (v []float64) {
			for i := range s {
				v = append(v, s[i].Meta[j])
			}
			return v
		}
		all = append(all, distance(f.Kind, column(train), column(drawn)))
	}
	for j, f := range of.Steps {
		column := func(s []traffic.Session) (v []float64) {
			for i := range s {
				for t := range of.Len(&s[i]) {
					v = append(v, of.Step(&s[i], t)[j])
				}
			}
			return v
		}
		all = append(all, distance(f.Kind, column(train), column(drawn)))
	}
	lengths := func(s []traffic.Session) (v []float64) {
		for i := range s {
			v = append(v, float64(of.Len(&s[i])))
		}
		return v
	}
	return append(all, distance(traffic.Symbol, lengths(train), lengths(drawn)))
}

func distance(k traffic.Kind, p, q []float64) float64 {
	if isNumeric(k) {
		for _, v := range [][]float64{p, q} {
			for i := range v {
				v[i] = scale(k, v[i])
			}
		}
		slices.Sort(p)
		slices.Sort(q)
		const points = 512
		sum := 0.
		for i := range points {
			u := (float64(i) + .5) / points
			sum += math.Abs(p[int(u*float64(len(p)))] - q[int(u*float64(len(q)))])
		}
		return sum / points
	}
	shares := func(v []float64) map[float64]float64 {
		m := map[float64]float64{}
		for _, x := range v {
			m[x] += 1 / float64(len(v))
		}
		if k != traffic.Address {
			return m
		}
		byRank := slices.SortedFunc(func(yield func(float64) bool) {
			for _, c := range m {
				if !yield(c) {
					return
				}
			}
		}, func(a, b float64) int { return cmp.Compare(b, a) })
		r := map[float64]float64{}
		for i, c := range byRank {
			r[float64(i)] = c
		}
		return r
	}
	a, b := shares(p), shares(q)
	var terms []float64 // in an order of their own: maps have none
	for x, u := range a {
		v := b[x]
		t := u / 2 * math.Log(2*u/(u+v))
		if v > 0 {
			t += v / 2 * math.Log(2*v/(u+v))
		}
		terms = append(terms, t)
	}
	for x, v := range b {
		if _, both := a[x]; !both {
			terms = append(terms, v/2*math.Ln2)
		}
	}
	slices.Sort(terms)
	sum := 0.
	for _, t := range terms {
		sum += t
	}
	return sum
}

// rankSums is, for candidates with distances [candidate][field], the sum over
// fields of the candidate's rank, from 0 for the smallest (NetShare's choice
// among its saved epochs). Equal distances share the mean of their ranks.
func rankSums(d [][]float64) []float64 {
	sums := make([]float64, len(d))
	if len(d) == 0 {
		return sums
	}
	for f := range d[0] {
		for i := range d {
			for j := range d {
				switch {
				case d[j][f] < d[i][f]:
					sums[i]++
				case d[j][f] == d[i][f] && i != j:
					sums[i] += .5
				}
			}
		}
	}
	return sums
}
