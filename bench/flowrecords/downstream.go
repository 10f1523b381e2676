package main

import (
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
)

func uniform(seed uint64, which uint32, i, n int) int {
	return rng.Key{Seed: seed, A: 1<<21 + which, Purpose: rng.Judging}.Intn(uint32(i), n)
}

// hitters is, by sketch, the mean relative error of its estimate of the packets
// of heavy hitters: servers with at least 1 % of all. The sketches are count-min
// (Cormode and Muthukrishnan 2005) and count sketch (Charikar et al. 2002), two
// depths and three widths each, so small that they err.
func hitters(r []record) []float64 {
	truth := map[uint32]float64{}
	total := 0.
	for i := range r {
		truth[uint32(r[i].server)] += r[i].packets
		total += r[i].packets
	}
	var heavy []uint32
	for k, n := range truth {
		if n >= total/100 {
			heavy = append(heavy, k)
		}
	}
	slices.Sort(heavy)
	var errors []float64
	for _, signed := range []bool{false, true} {
		for _, depth := range []int{1, 3} {
			for _, width := range []int{8, 16, 32} {
				const trials = 20 // of hash functions
				sum := 0.
				for trial := range trials {
					hash := func(row int, key uint32) uint64 {
						return rng.Key{Seed: uint64(trial), A: uint32(row), B: key, Purpose: rng.Judging}.Uint64(0)
					}
					sign := func(h uint64) float64 {
						if signed && h>>63 == 1 {
							return -1
						}
						return 1
					}
					cells := make([]float64, depth*width)
					for key, n := range truth {
						for row := range depth {
							h := hash(row, key)
							cells[row*width+int(h%uint64(width))] += sign(h) * n
						}
					}
					for _, key := range heavy {
						var est []float64
						for row := range depth {
							h := hash(row, key)
							est = append(est, sign(h)*cells[row*width+int(h%uint64(width))])
						}
						slices.Sort(est)
						e := est[0] // count-min: the smallest; count sketch: the median
						if signed {
							e = est[len(est)/2]
						}
						sum += math.Abs(e-truth[key]) / truth[key] / float64(len(heavy)) / trials
					}
				}
				errors = append(errors, sum)
			}
		}
	}
	return errors
}

// anomalies is, by detector, the share of records that it flags in a data set
// that it is fitted to itself, as NetML's are in NetShare's evaluation: here a
// record's distance to its fifth neighbour in the features of a mode, flagged
// beyond the upper quartile plus 1.5 interquartile ranges.
func anomalies(r []record) []float64 {
	log := math.Log1p
	modes := []func(r *record) []float64{
		func(r *record) []float64 { return []float64{log(r.duration)} },
		func(r *record) []float64 { return []float64{log(r.packets)} },
		func(r *record) []float64 { return []float64{log(r.bytes)} },
		func(r *record) []float64 { return []float64{log(r.bytes / max(r.packets, 1))} },
		func(r *record) []float64 { return []float64{log(r.packets), log(r.bytes)} },
		func(r *record) []float64 { return []float64{log(r.duration), log(r.packets), log(r.bytes)} },
		func(r *record) []float64 { return []float64{log(r.serverPort), log(r.bytes)} },
		func(r *record) []float64 { return []float64{log(r.clientPort), log(r.serverPort)} },
	}
	var shares []float64
	for _, mode := range modes {
		x := column(r, mode)
		score := make([]float64, len(x))
		for i := range x {
			var d []float64
			for k := range x {
				s := 0.
				for f := range x[i] {
					s += (x[i][f] - x[k][f]) * (x[i][f] - x[k][f])
				}
				d = append(d, s)
			}
			slices.Sort(d)
			score[i] = math.Sqrt(d[min(5, len(d)-1)])
		}
		v := slices.Sorted(slices.Values(score))
		q1, q3 := v[len(v)/4], v[3*len(v)/4]
		n := 0.
		for _, s := range score {
			if s > q3+1.5*(q3-q1) {
				n++
			}
		}
		shares = append(shares, n/float64(len(x)))
	}
	return shares
}
