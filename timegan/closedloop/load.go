package closedloop

import (
	"cmp"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
)

// The load is exogenous: what others send does not answer to a queue limit. So
// it is a process of its own, a latent regime whose transitions know no limit,
// and the generator takes the regime of each second as input. Regimes are inferred
// from what share of their limits the queues hold: a hidden Markov chain
// (Rabiner, "A Tutorial on Hidden Markov Models and Selected Applications in
// Speech Recognition", Proc. IEEE 1989) whose emission of a second depends on
// the second before, as queues do (an autoregressive chain, section IV.E
// there):
//
//	P(c_1…c_T | limits) = Σ_z Π_t P(z_t | z_{t-1}) · Π_switches P(c_t | c_{t-1}, z_t, limit_t)
//
// with c the class of a queue's share of its limit. It is fitted by expectation
// maximisation. Rollouts draw regimes and how long they last from what was
// inferred.
type load struct {
	K       int       `json:"k"`       // regimes
	Follows []float64 `json:"follows"` // [K,K] which follows which
	Lasts   [][]int   `json:"lasts"`   // by regime: stays that were seen to end, seconds, ascending
	Nats    float64   `json:"nats"`    // log-likelihood gained over one regime, per second, on recordings held out; 0 where K was given
}

const (
	loadClasses = 6
	smoothing   = 31 // seconds, of the first guess
	iterations  = 30
)

// observed is what a recording shows of its load: by second and switch the
// class of the share and the index of the limit; -1 where not measured.
type observed struct {
	n      int
	class  []int32 // [T,D]
	limit  []int32 // [T,D]
	smooth []float64
}

// observe takes what recordings show; d is the number of queues.
func (k *codec) shows(recordings []telemetry.Recording) (all []observed, d int) {
	var of []int
	var bins []*seq.Bins
	for j, c := range k.Columns {
		if c.Kind != shareKind {
			continue
		}
		x, err := k.numbers(j, recordings)
		if err != nil {
			continue
		}
		b, err := seq.NewBins(x, loadClasses)
		if err != nil || b.Len() < 2 {
			continue
		}
		of, bins = append(of, j), append(bins, b)
	}
	d = len(of)
	limits := make([]int32, k.Switches)
	for _, r := range recordings {
		n, f := r.Data.Len(), len(k.Columns)
		o := observed{n: n, class: make([]int32, n*d), limit: make([]int32, n*d)}
		v, ok := make([]float32, f), make([]bool, f)
		for t := range n {
			r.Data.Copy(t, v, ok)
			r.LimitsAt(t, limits)
			for i, j := range of {
				s := 0
				if sw := k.Columns[j].Switch; sw >= 0 && sw < k.Switches {
					s = sw
				}
				o.class[t*d+i], o.limit[t*d+i] = -1, int32(slices.Index(k.Limits[s], limits[s]))
				if ok[j] {
					o.class[t*d+i] = bins[i].Encode(k.number(j, v, v, limits))
				}
			}
		}
		all = append(all, o)
	}
	return all, d
}

// chain is the hidden Markov chain.
type chain struct {
	k, d, limits int
	emit         []float64 // [D,K,limits,classes+1,classes] log-probabilities; the fourth is the class before, 0 where unknown
	trans        []float64 // [K,K] log
	first        []float64 // [K] log
}

const width = loadClasses + 4 // atoms may add classes

func (c *chain) at(i, z int, l, before int32) int {
	return (((i*c.k+z)*c.limits+int(l))*(width+1) + int(before+1)) * width
}

// score is the log-probability of second t of o in each regime.
func (c *chain) score(o *observed, t int, to []float64) {
	clear(to)
	for i := range c.d {
		class := o.class[t*c.d+i]
		if class < 0 {
			continue
		}
		before := int32(-1)
		if t > 0 {
			before = o.class[(t-1)*c.d+i]
		}
		for z := range c.k {
			to[z] += c.emit[c.at(i, z, o.limit[t*c.d+i], before)+int(class)]
		}
	}
}

// posterior fills w [T,K] with P(z_t | all of o), adds the expected numbers of
// transitions to trans unless nil, and gives the log-likelihood.
func (c *chain) posterior(o *observed, w, trans []float64) float64 {
	k := c.k
	e := make([]float64, o.n*k)
	total := 0.
	p := make([]float64, k)
	for t := range o.n { // forward, scaled (Rabiner, V.A)
		s := e[t*k:][:k]
		c.score(o, t, s)
		top := slices.Max(s)
		sum := 0.
		for z := range k {
			p[z] = math.Exp(c.first[z])
			if t > 0 {
				p[z] = 0
				for y := range k {
					p[z] += w[(t-1)*k+y] * math.Exp(c.trans[y*k+z])
				}
			}
			s[z] = math.Exp(s[z] - top)
			p[z] *= s[z]
			sum += p[z]
		}
		for z := range k {
			w[t*k+z] = p[z] / sum
		}
		total += top + math.Log(sum)
	}
	beta, next := make([]float64, k), make([]float64, k)
	for z := range beta {
		beta[z] = 1
	}
	for t := o.n - 2; t >= 0; t-- { // backward
		sum := 0.
		for z := range k {
			next[z] = 0
			for y := range k {
				m := math.Exp(c.trans[z*k+y]) * e[(t+1)*k+y] * beta[y]
				next[z] += m
				p[z] = 0
			}
		}
		if trans != nil {
			norm := 0.
			for z := range k {
				norm += w[t*k+z] * next[z]
			}
			for z := range k {
				for y := range k {
					trans[z*k+y] += w[t*k+z] * math.Exp(c.trans[z*k+y]) * e[(t+1)*k+y] * beta[y] / norm
				}
			}
		}
		for z := range k {
			w[t*k+z] *= next[z]
			sum += w[t*k+z]
		}
		for z := range k {
			w[t*k+z] /= sum
		}
		scale := slices.Max(next)
		for z := range k {
			beta[z] = next[z] / scale
		}
	}
	return total
}

// learn sets the chain from weights w of seconds, and transitions.
func (c *chain) learn(all []observed, w [][]float64, trans []float64) {
	n := make([]float64, len(c.emit))
	first := make([]float64, c.k)
	for s := range all {
		o := &all[s]
		for z := range c.k {
			first[z] += w[s][z]
		}
		for t := range o.n {
			for i := range c.d {
				class, before := o.class[t*c.d+i], int32(-1)
				if class < 0 {
					continue
				}
				if t > 0 {
					before = o.class[(t-1)*c.d+i]
				}
				for z := range c.k {
					n[c.at(i, z, o.limit[t*c.d+i], before)+int(class)] += w[s][t*c.k+z]
				}
			}
		}
	}
	// A row is smoothed by its regime's and limit's classes, whatever came
	// before, and these by all.
	for i := range c.d {
		for z := range c.k {
			for l := range c.limits {
				var all [width]float64
				sum := 0.
				for b := range int32(width + 1) {
					for y, v := range n[c.at(i, z, int32(l), b-1):][:width] {
						all[y] += v
						sum += v
					}
				}
				for y := range all {
					all[y] = (all[y] + 1) / (sum + width)
				}
				for b := range int32(width + 1) {
					row := n[c.at(i, z, int32(l), b-1):][:width]
					to := c.emit[c.at(i, z, int32(l), b-1):][:width]
					sum := 0.
					for _, v := range row {
						sum += v
					}
					for y, v := range row {
						to[y] = math.Log((v + 4*all[y]) / (sum + 4))
					}
				}
			}
		}
	}
	for z := range c.k {
		sum := 0.
		for y := range c.k {
			sum += trans[z*c.k+y] + 1e-3
		}
		for y := range c.k {
			c.trans[z*c.k+y] = math.Log((trans[z*c.k+y] + 1e-3) / sum)
		}
		c.first[z] = math.Log((first[z] + .5) / (float64(len(all)) + .5*float64(c.k)))
	}
}

// fitChain fits a chain of k regimes. It begins with seconds split by the
// share of the limit around them, in k equal parts of each limit's seconds.
func fitChain(all []observed, k, d, limits int) *chain {
	c := &chain{k: k, d: d, limits: limits, emit: make([]float64, d*k*limits*(width+1)*width), trans: make([]float64, k*k), first: make([]float64, k)}
	w := make([][]float64, len(all))
	trans := make([]float64, k*k)
	byLimit := make([][]float64, limits)
	for s := range all {
		o := &all[s]
		o.smooth = make([]float64, o.n)
		for t := range o.n {
			sum, n := 0., 0.
			for u := max(0, t-smoothing/2); u <= min(o.n-1, t+smoothing/2); u++ {
				if x := o.class[u*d]; x >= 0 && o.limit[u*d] == o.limit[t*d] {
					sum, n = sum+float64(x), n+1
				}
			}
			o.smooth[t] = sum / max(n, 1)
			byLimit[o.limit[t*d]] = append(byLimit[o.limit[t*d]], o.smooth[t])
		}
	}
	for l := range byLimit {
		slices.Sort(byLimit[l])
	}
	for s := range all {
		o := &all[s]
		w[s] = make([]float64, o.n*k)
		for t := range o.n {
			sorted := byLimit[o.limit[t*d]]
			rank, _ := slices.BinarySearch(sorted, o.smooth[t])
			w[s][t*k+min(rank*k/len(sorted), k-1)] = 1
		}
		for z := range k {
			for y := range k {
				trans[z*k+y] += float64(o.n) / float64(k) * .001 / float64(k)
				if y == z {
					trans[z*k+y] += float64(o.n) / float64(k)
				}
			}
		}
	}
	c.learn(all, w, trans)
	last := math.Inf(-1)
	for range iterations {
		clear(trans)
		total := 0.
		for s := range all {
			total += c.posterior(&all[s], w[s], trans)
		}
		c.learn(all, w, trans)
		if total-last < 1e-6*math.Abs(total) {
			break
		}
		last = total
	}
	return c
}

// path is the most likely one (Viterbi).
func (c *chain) path(o *observed) []uint8 {
	score, next, e := slices.Clone(c.first), make([]float64, c.k), make([]float64, c.k)
	from := make([]uint8, o.n*c.k)
	for t := range o.n {
		c.score(o, t, e)
		for z := range c.k {
			best := score[z]
			if t > 0 {
				best = math.Inf(-1)
				for y := range c.k {
					if v := score[y] + c.trans[y*c.k+z]; v > best {
						best, from[t*c.k+z] = v, uint8(y)
					}
				}
			}
			next[z] = best + e[z]
		}
		score, next = next, score
	}
	path := make([]uint8, o.n)
	z := slices.Index(score, slices.Max(score))
	for t := o.n - 1; t >= 0; t-- {
		path[t] = uint8(z)
		z = int(from[t*c.k+z])
	}
	return path
}

// paths are the most likely ones of all.
func (c *chain) paths(all []observed) (paths [][]uint8) {
	for i := range all {
		paths = append(paths, c.path(&all[i]))
	}
	return paths
}

// inferLoad gives the load and each recording's path. k is the number of
// regimes; 0 chooses it: more as long as a recording that was held out is
// better known by them.
func inferLoad(k *codec, recordings []telemetry.Recording, regimes int) (*load, [][]uint8) {
	all, d := k.shows(recordings)
	limits := 0
	for _, l := range k.Limits {
		limits = max(limits, len(l))
	}
	l := &load{K: max(regimes, 1)}
	if d == 0 {
		l.K = 1
	} else if regimes == 0 {
		l.K, l.Nats = choose(all, d, limits)
	}
	var paths [][]uint8
	if l.K > 1 {
		paths = fitChain(all, l.K, d, limits).paths(all)
	} else {
		for i := range all {
			paths = append(paths, make([]uint8, all[i].n))
		}
	}
	l.stays(paths)
	return l, paths
}

// maxRegimes is how many are tried.
const maxRegimes = 6

// choose is the number of regimes by recordings held out: every third one, or
// with fewer than three, the last third of each.
func choose(all []observed, d, limits int) (k int, gain float64) {
	var train, test []observed
	for i := range all {
		o := &all[i]
		switch {
		case len(all) < 3:
			cut := o.n * 2 / 3
			train = append(train, observed{n: cut, class: o.class[:cut*d], limit: o.limit[:cut*d]})
			test = append(test, observed{n: o.n - cut, class: o.class[cut*d:], limit: o.limit[cut*d:]})
		case i%3 == 2:
			test = append(test, *o)
		default:
			train = append(train, *o)
		}
	}
	nats := func(k int) []float64 {
		c := fitChain(train, k, d, limits)
		each := make([]float64, len(test))
		for i := range test {
			each[i] = c.posterior(&test[i], make([]float64, test[i].n*k), nil) / float64(test[i].n)
		}
		return each
	}
	base := nats(1)
	k, best := 1, base
	for n := 2; n <= maxRegimes; n++ {
		each := nats(n)
		mean := 0.
		for i := range each {
			mean += (each[i] - best[i]) / float64(len(each))
		}
		// Two regimes are taken where they cost nothing: a load that shows in
		// every second is known without, but then the limit may move it.
		if least := map[bool]float64{true: -.002, false: .01}[n == 2]; mean < least || goWithLimit(all, fitChain(all, n, d, limits).paths(all), n, d, limits) {
			break
		}
		k, best = n, each
	}
	for i := range best {
		gain += (best[i] - base[i]) / float64(len(best))
	}
	return k, gain
}

// skewed is by how much the shares of seconds that a regime has may differ
// between limits.
const skewed = .25

// goWithLimit says whether regimes, by second of each recording, follow the
// limits. Those of a load have about the same share under every limit; where
// recordings are too short for that, regimes at least begin no more often where a
// limit has just changed than elsewhere.
func goWithLimit(all []observed, paths [][]uint8, k, d, limits int) bool {
	if byLimit(all, paths, k, d, limits) <= skewed {
		return false
	}
	var turns, at, near, seconds float64
	for i := range all {
		o := &all[i]
		changed := longAgo
		for t := 1; t < o.n; t++ {
			if changed++; !slices.Equal(o.limit[t*d:][:d], o.limit[(t-1)*d:][:d]) {
				changed = 0
			}
			turned := 0.
			if paths[i][t] != paths[i][t-1] {
				turned = 1
			}
			seconds, turns = seconds+1, turns+turned
			if changed <= 2 { // by then a queue has followed its limit
				near, at = near+1, at+turned
			}
		}
	}
	p := near / max(seconds, 1)
	return at-turns*p > 3*math.Sqrt(turns*p*(1-p))
}

// byLimit is how far regimes go with the limit of the first switch: the largest
// difference, between limits, of the share of seconds that a regime has.
func byLimit(all []observed, paths [][]uint8, k, d, limits int) float64 {
	n := make([]float64, limits*k)
	total := make([]float64, limits)
	for i := range all {
		for t, z := range paths[i] {
			l := int(all[i].limit[t*d])
			n[l*k+int(z)]++
			total[l]++
		}
	}
	worst := 0.
	for z := range k {
		lo, hi := 1., 0.
		for l := range limits {
			if total[l] > 0 {
				lo, hi = min(lo, n[l*k+z]/total[l]), max(hi, n[l*k+z]/total[l])
			}
		}
		worst = max(worst, hi-lo)
	}
	return worst
}

// stays takes from paths how long regimes last and what follows. A recording's
// last stay goes on unseen: by Kaplan and Meier (1958) its share goes to the
// longer ones; its first began unseen and is left out, unless there is no other.
func (l *load) stays(paths [][]uint8) {
	type stay struct {
		seconds int
		whole   bool
	}
	l.Follows, l.Lasts = make([]float64, l.K*l.K), make([][]int, l.K)
	all := make([][]stay, l.K)
	for _, p := range paths {
		from := 0
		for t := 1; t <= len(p); t++ {
			if t < len(p) && p[t] == p[t-1] {
				continue
			}
			z := p[t-1]
			if from > 0 {
				l.Follows[int(p[from-1])*l.K+int(z)]++
				all[z] = append(all[z], stay{t - from, t < len(p)})
			}
			from = t
		}
	}
	const quantiles = 64
	for z := range l.K {
		sum := 0.
		for y := range l.K {
			sum += l.Follows[z*l.K+y]
		}
		for y := range l.K {
			if sum > 0 {
				l.Follows[z*l.K+y] /= sum
			}
		}
		slices.SortFunc(all[z], func(a, b stay) int { return cmp.Compare(a.seconds, b.seconds) })
		left := 1.
		var at []int
		var ended []float64
		for i, s := range all[z] {
			if s.whole {
				left *= 1 - 1/float64(len(all[z])-i)
				at, ended = append(at, s.seconds), append(ended, 1-left)
			}
		}
		if len(at) == 0 {
			continue // it lasts for ever
		}
		for q := range quantiles {
			j, _ := slices.BinarySearch(ended, (float64(q)+.5)/quantiles)
			l.Lasts[z] = append(l.Lasts[z], at[min(j, len(at)-1)])
		}
	}
}

// next draws the regime after z, by a uniform number.
func (l *load) next(z uint8, u float64) uint8 {
	to := z
	for y := range l.K {
		p := l.Follows[int(z)*l.K+y]
		if p > 0 {
			to = uint8(y)
		}
		if u -= p; u < 0 {
			break
		}
	}
	return to
}

// last is how long a regime lasts, by a uniform number.
func (l *load) last(z uint8, u float64) uint32 {
	if len(l.Lasts[z]) == 0 {
		return 1 << 30
	}
	// between quantiles, so that lengths that were not seen come too
	x := u * float64(len(l.Lasts[z])-1)
	i := min(int(x), len(l.Lasts[z])-2)
	if i < 0 {
		return uint32(l.Lasts[z][0])
	}
	a, b := float64(l.Lasts[z][i]), float64(l.Lasts[z][i+1])
	return uint32(max(a+(x-float64(i))*(b-a), 1))
}

// left is how much of a stay in z is left at a moment that falls anywhere into
// it: longer stays are met more often.
func (l *load) left(z uint8, key rng.Key) uint32 {
	sum := 0.
	for _, n := range l.Lasts[z] {
		sum += float64(n)
	}
	if sum == 0 {
		return 1 << 30
	}
	u := key.Float64(0) * sum
	for _, n := range l.Lasts[z] {
		if u < float64(n) {
			return uint32(u) + 1
		}
		u -= float64(n)
	}
	return 1
}

// advance moves a row's load to its next second. What comes after a stay is
// drawn as it begins: the generator sees a change a second ahead, since the
// moment of one is inferred no closer than that. turned says whether the next
// second is of another regime.
func (l *load) advance(r *simRow, restart bool) (turned bool) {
	if r.Left == 0 {
		key := rng.Key{Seed: r.seed, A: r.Stays, B: 1, Purpose: rng.Generated}
		turned = r.Ahead != r.Regime
		r.turn(r.Ahead, restart)
		r.Left = l.last(r.Regime, key.Float64(1))
		r.Ahead = l.next(r.Regime, key.Float64(0))
		r.Stays++
	}
	r.Left--
	return turned
}
