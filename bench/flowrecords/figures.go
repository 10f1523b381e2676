package main

import (
	"math"
	"slices"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
)

// figureNames in the order they are shown. SA … PR are NetShare's: the
// Jensen-Shannon divergence (natural logarithm) of addresses by rank of their
// popularity, of ports, of protocols; EMDs are of ln(1+x).
var figureNames = []string{"SA", "DA", "SP", "DP", "PR", "duration EMD", "packets EMD", "bytes EMD", "pairs", "C2ST", "copy", "hitters error", "hitters ρ", "anomalies error", "anomalies ρ"}

// record is one flow record: what the figures look at.
type record struct {
	client, server, clientPort, serverPort, proto float64
	duration, packets, bytes                      float64
}

func flat(s *traffic.Set) []record {
	c := &s.Of
	m := func(name string) int { return c.MetaIndex(name) }
	t := func(name string) int { return c.StepIndex(name) }
	var all []record
	for i := range s.Sessions {
		x := &s.Sessions[i]
		for k := range c.Len(x) {
			y := c.Step(x, k)
			all = append(all, record{x.Meta[m("client")], x.Meta[m("server")], x.Meta[m("client_port")], x.Meta[m("server_port")], x.Meta[m("protocol")],
				y[t("duration")], y[t("packets")], y[t("size")]})
		}
	}
	return all
}

type judge struct {
	seed        uint64
	train, held []record
	known       map[record]bool
}

func newJudge(train, held *traffic.Set, seed uint64) *judge {
	j := &judge{seed: seed, train: flat(train), held: flat(held), known: map[record]bool{}}
	for _, r := range j.train {
		r.duration = 0
		j.known[r] = true
	}
	return j
}

func column[T any](r []record, f func(r *record) T) []T {
	v := make([]T, len(r))
	for i := range r {
		v[i] = f(&r[i])
	}
	return v
}

func (j *judge) figures(set *traffic.Set) map[string]float64 {
	r := flat(set)
	fig := map[string]float64{}
	for name, f := range map[string]func(r *record) float64{
		"SP": func(r *record) float64 { return r.clientPort }, "DP": func(r *record) float64 { return r.serverPort }, "PR": func(r *record) float64 { return r.proto },
	} {
		fig[name] = eval.JSD(column(r, f), column(j.held, f))
	}
	for name, f := range map[string]func(r *record) float64{
		"SA": func(r *record) float64 { return r.client }, "DA": func(r *record) float64 { return r.server },
	} {
		fig[name] = eval.RankJSD(column(r, f), column(j.held, f))
	}
	for name, f := range map[string]func(r *record) float64{
		"duration EMD": func(r *record) float64 { return math.Log1p(r.duration) }, "packets EMD": func(r *record) float64 { return math.Log1p(r.packets) },
		"bytes EMD": func(r *record) float64 { return math.Log1p(r.bytes) },
	} {
		fig[name] = emd(column(r, f), column(j.held, f))
	}
	fig["pairs"] = pairs(r, j.held)
	fig["C2ST"] = j.c2st(r)
	copies := 0
	for _, x := range r {
		if x.duration = 0; j.known[x] {
			copies++
		}
	}
	fig["copy"] = float64(copies) / float64(len(r))
	real, fake := hitters(j.held), hitters(r)
	fig["hitters ρ"], fig["hitters error"] = spearman(real, fake), meanDifference(real, fake)
	real, fake = anomalies(j.held), anomalies(r)
	fig["anomalies ρ"], fig["anomalies error"] = spearman(real, fake), meanDifference(real, fake)
	return fig
}

func emd(p, q []float64) float64 {
	slices.Sort(p)
	slices.Sort(q)
	const n = 2000
	sum := 0.
	for i := range n {
		u := (float64(i) + .5) / n
		sum += math.Abs(p[int(u*float64(len(p)))]-q[int(u*float64(len(q)))]) / n
	}
	return sum
}

// coarse are a record's fields in classes that fill: exact where few, ports and
// addresses beyond the common ones together, numbers by powers of two.
func coarse(r *record) [8]int {
	port := func(p float64) int {
		switch {
		case p < 1024:
			return int(p)
		case slices.Contains([]float64{4444, 5938, 8000, 8291, 50084, 50244, 63061}, p):
			return int(p)
		}
		return 1024 + int(p/16384)
	}
	rank := func(a float64) int {
		if a < 16 {
			return int(a)
		}
		return 16 + int(math.Log2(a/16))
	}
	log := func(x float64) int { return int(math.Log2(x + 1)) }
	return [8]int{rank(r.client), rank(r.server), port(r.clientPort), port(r.serverPort), int(r.proto), log(r.duration), log(r.packets), log(r.bytes)}
}

// pairs is the mean over all pairs of fields of the divergence of their joint
// distribution.
func pairs(p, q []record) float64 {
	a, b := column(p, coarse), column(q, coarse)
	sum, n := 0., 0
	for i := range 8 {
		for k := range i {
			two := func(v [][8]int) [][2]int {
				out := make([][2]int, len(v))
				for n, x := range v {
					out[n] = [2]int{x[i], x[k]}
				}
				return out
			}
			sum += eval.JSD(two(a), two(b))
			n++
		}
	}
	return sum / float64(n)
}

// c2st is the accuracy of forests that tell generated from held-out records:
// .5 where they cannot. The mean of four forests.
func (j *judge) c2st(r []record) float64 {
	features := func(r *record) []float32 {
		return []float32{float32(r.client), float32(r.server), float32(r.clientPort), float32(r.serverPort), float32(r.proto),
			float32(math.Log1p(r.duration)), float32(r.packets), float32(r.bytes), float32(math.Log((r.bytes + 1) / (r.packets + 1)))}
	}
	x := [2][][]float32{column(j.held, features), column(r, features)}
	n := min(len(x[0]), len(x[1])) &^ 1
	sum := 0.
	const forests = 4
	for k := range forests {
		var trainX, testX [][]float32
		var trainY, testY []int
		for side := range x {
			order := shuffled(len(x[side]), j.seed*forests+uint64(k), uint32(side))[:n]
			for i, o := range order {
				if i < n/2 {
					trainX, trainY = append(trainX, x[side][o]), append(trainY, side)
				} else {
					testX, testY = append(testX, x[side][o]), append(testY, side)
				}
			}
		}
		_, acc := eval.Grow(trainX, trainY, 2, 100, j.seed*forests+uint64(k)).Score(testX, testY)
		sum += acc / forests
	}
	return sum
}

func shuffled(n int, seed uint64, which uint32) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	for i := range order {
		o := i + uniform(seed, which, i, n-i)
		order[i], order[o] = order[o], order[i]
	}
	return order
}

func meanDifference(a, b []float64) float64 {
	sum := 0.
	for i := range a {
		sum += math.Abs(a[i]-b[i]) / float64(len(a))
	}
	return sum
}

// spearman is the correlation of ranks, ties sharing theirs; NaN where one side
// has no order.
func spearman(a, b []float64) float64 {
	rank := func(v []float64) []float64 {
		r := make([]float64, len(v))
		for i := range v {
			for k := range v {
				switch {
				case v[k] < v[i]:
					r[i]++
				case v[k] == v[i] && k != i:
					r[i] += .5
				}
			}
		}
		return r
	}
	x, y := rank(a), rank(b)
	m := float64(len(a)-1) / 2
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - m) * (y[i] - m)
		xx += (x[i] - m) * (x[i] - m)
		yy += (y[i] - m) * (y[i] - m)
	}
	return xy / math.Sqrt(xx*yy)
}
