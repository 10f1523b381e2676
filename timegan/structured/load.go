package structured

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/telemetry"
)

// load is the regime of the load, second by second, of every recording: the
// most likely path of a hidden Markov chain whose transitions know no limit
// and whose emissions, what share of the limit the queues hold, are Gaussian
// per regime and limit (Rabiner, "A Tutorial on Hidden Markov Models and
// Selected Applications in Speech Recognition", Proc. IEEE 1989).
type load struct {
	k, d   int
	limits []int
	mean   []float64 // [K,L,D]
	dev    []float64
	trans  []float64 // [K,K]
	first  []float64 // [K]
}

// sequence is what a recording shows of its load.
type sequence struct {
	limit []int     // [T] index into limits
	x     []float64 // [T,D], NaN where not measured
}

const smoothing = 31 // seconds, of the first guess

// sequences are the shares of the limit that queues hold: the depths of
// switches that ever queue.
func sequences(recordings []telemetry.Recording, limits []int, depths []int) []sequence {
	all := make([]sequence, len(recordings))
	for i, r := range recordings {
		for t := range r.Data.Len() {
			l := r.LimitAt(t)
			all[i].limit = append(all[i].limit, slices.Index(limits, l))
			for _, c := range depths {
				v, ok := r.Data.At(t, c)
				x := float64(v) / float64(l)
				if !ok {
					x = math.NaN()
				}
				all[i].x = append(all[i].x, x)
			}
		}
	}
	return all
}

// inferLoad fits the chain and gives each recording's path. Regimes are
// numbered by the share of the limit that they fill, the emptiest first.
func inferLoad(all []sequence, k, d int, limits []int) ([][]uint8, error) {
	h := &load{k: k, d: d, limits: limits,
		mean: make([]float64, k*len(limits)*d), dev: make([]float64, k*len(limits)*d),
		trans: make([]float64, k*k), first: make([]float64, k)}
	paths := guess(all, k, d, len(limits))
	if k == 1 {
		return paths, nil
	}
	h.learn(all, paths)
	for range 30 { // Viterbi training: Rabiner, section V.B
		changed := false
		for i, s := range all {
			next := h.path(s)
			changed = changed || !slices.Equal(next, paths[i])
			paths[i] = next
		}
		if !changed {
			break
		}
		h.learn(all, paths)
	}
	seen := make([]int, k)
	fill := make([]float64, k)
	for i, s := range all {
		for t, z := range paths[i] {
			if v := s.x[t*d]; v == v {
				seen[z]++
				fill[z] += v
			}
		}
	}
	order := make([]int, k)
	for z := range order {
		order[z] = z
		if seen[z] == 0 {
			return nil, fmt.Errorf("structured: regimes: the load shows fewer than %d", k)
		}
		fill[z] /= float64(seen[z])
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(fill[a], fill[b]) })
	for _, p := range paths {
		for t, z := range p {
			p[t] = uint8(slices.Index(order, int(z)))
		}
	}
	return paths, nil
}

// guess splits the seconds under each limit into k equal parts by the share of
// the limit that the first switch held around them.
func guess(all []sequence, k, d, limits int) [][]uint8 {
	paths := make([][]uint8, len(all))
	smooth := make([][]float64, len(all))
	byLimit := make([][]float64, limits)
	for i, s := range all {
		n := len(s.limit)
		paths[i], smooth[i] = make([]uint8, n), make([]float64, n)
		for t := range n {
			sum, of := 0., 0
			for u := max(0, t-smoothing/2); u <= min(n-1, t+smoothing/2); u++ {
				if x := s.x[u*d]; s.limit[u] == s.limit[t] && x == x {
					sum, of = sum+x, of+1
				}
			}
			smooth[i][t] = sum / float64(max(of, 1))
			byLimit[s.limit[t]] = append(byLimit[s.limit[t]], smooth[i][t])
		}
	}
	for l := range byLimit {
		slices.Sort(byLimit[l])
	}
	for i, s := range all {
		for t := range s.limit {
			sorted := byLimit[s.limit[t]]
			rank, _ := slices.BinarySearch(sorted, smooth[i][t])
			paths[i][t] = uint8(min(rank*k/len(sorted), k-1))
		}
	}
	return paths
}

// learn takes emissions and transitions from paths.
func (h *load) learn(all []sequence, paths [][]uint8) {
	n := make([]float64, len(h.mean))
	clear(h.mean)
	clear(h.dev)
	for i := range h.trans { // one second of each that was not seen
		h.trans[i] = 1
	}
	for i := range h.first {
		h.first[i] = 1
	}
	for pass := range 2 {
		for i, s := range all {
			for t, z := range paths[i] {
				if pass == 0 {
					if t == 0 {
						h.first[z]++
					} else {
						h.trans[int(paths[i][t-1])*h.k+int(z)]++
					}
				}
				for j := range h.d {
					x, e := s.x[t*h.d+j], (int(z)*len(h.limits)+s.limit[t])*h.d+j
					switch {
					case x != x:
					case pass == 0:
						n[e]++
						h.mean[e] += x
					default:
						h.dev[e] += (x - h.mean[e]) * (x - h.mean[e])
					}
				}
			}
		}
		for e := range h.mean {
			if pass == 0 {
				h.mean[e] /= max(n[e], 1)
			} else {
				h.dev[e] = math.Sqrt(h.dev[e]/max(n[e], 1)) + .01
			}
		}
	}
	scale := func(p []float64) {
		sum := 0.
		for _, x := range p {
			sum += x
		}
		for i := range p {
			p[i] = math.Log(p[i] / sum)
		}
	}
	scale(h.first)
	for z := range h.k {
		scale(h.trans[z*h.k:][:h.k])
	}
}

// path is the most likely one (Viterbi).
func (h *load) path(s sequence) []uint8 {
	n := len(s.limit)
	score, next := slices.Clone(h.first), make([]float64, h.k)
	from := make([]uint8, n*h.k)
	for t := range n {
		for z := range h.k {
			best := score[z]
			if t > 0 {
				best = math.Inf(-1)
				for y := range h.k {
					if v := score[y] + h.trans[y*h.k+z]; v > best {
						best, from[t*h.k+z] = v, uint8(y)
					}
				}
			}
			for j := range h.d {
				e := (z*len(h.limits)+s.limit[t])*h.d + j
				if x := s.x[t*h.d+j]; x == x {
					r := (x - h.mean[e]) / h.dev[e]
					best -= r*r/2 + math.Log(h.dev[e])
				}
			}
			next[z] = best
		}
		score, next = next, score
	}
	path := make([]uint8, n)
	z := 0
	for y := range h.k {
		if score[y] > score[z] {
			z = y
		}
	}
	for t := n - 1; t >= 0; t-- {
		path[t] = uint8(z)
		z = int(from[t*h.k+z])
	}
	return path
}

// run is a stay in a regime.
type run struct {
	regime  uint8
	seconds int
	whole   bool // its end was seen
}

func runsOf(path []uint8) []run {
	var all []run
	for t, z := range path {
		if t == 0 || z != path[t-1] {
			if t > 0 {
				all[len(all)-1].whole = true
			}
			all = append(all, run{regime: z})
		}
		all[len(all)-1].seconds++
	}
	return all
}

// stays are the quantiles [K,knots] of how long a regime lasts (Kaplan and
// Meier 1958: a recording's last stay is longer than was seen; its first one,
// whose beginning was not, is left out), and the shares [K,K] of what follows.
// A regime whose end was never seen lasts for ever.
func stays(paths [][]uint8, k, knots int) (lasts, follows []float32) {
	lasts, follows = make([]float32, k*knots), make([]float32, k*k)
	all := make([][]run, k)
	for _, p := range paths {
		runs := runsOf(p)
		for i, r := range runs {
			if i > 0 {
				all[r.regime] = append(all[r.regime], r)
				follows[int(runs[i-1].regime)*k+int(r.regime)]++
			}
		}
	}
	for z := range k {
		sum := float32(0)
		for _, n := range follows[z*k:][:k] {
			sum += n
		}
		for y := range k {
			if sum > 0 {
				follows[z*k+y] /= sum
			} else if y == z {
				follows[z*k+y] = 1
			}
		}
		lasting(all[z], lasts[z*knots:][:knots])
	}
	return lasts, follows
}

const forEver = 1 << 24 // seconds

// lasting fills dst with quantiles of stays.
func lasting(runs []run, dst []float32) {
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.seconds, b.seconds) })
	left := 1.
	var at, share []float64 // share of stays that ended by then
	for i, r := range runs {
		if r.whole {
			left *= 1 - 1/float64(len(runs)-i)
			at, share = append(at, float64(r.seconds)), append(share, 1-left)
		}
	}
	for i := range dst {
		p := (float64(i) + .5) / float64(len(dst))
		j, _ := slices.BinarySearch(share, p)
		switch {
		case len(at) == 0:
			dst[i] = forEver
		case j == len(at):
			dst[i] = float32(at[j-1])
		default:
			dst[i] = float32(at[j])
		}
	}
}

var errDepth = errors.New("structured: no depth of a queue ever changes in the recordings: nothing tells of the load")
