package closedloop

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
)

// stage is recordings as a discriminator needs them: what it sees of them, and
// the moments from which rollouts go on in their place.
type stage struct {
	k          *codec // the generator's
	eye        *codec // the discriminator's: it sees the last second, whatever the generator does
	recordings []telemetry.Recording
	regimes    [][]uint8
	steps      int           // seconds of a window
	seen       [][]float32   // by recording, [T,sight]: what is seen before each second
	tokens     [][]int32     // by recording, [T,eye.heads]
	moments    [][][]byte    // by recording, of every stride-th second
	train      []windowStart // of windows that the discriminator is trained on
	held       []windowStart // and of those, one after another, that it is judged by
}

// windowStart is where a window begins: a recording and a second of it.
type windowStart struct{ recording, second int }

// stride is how many seconds lie between the starts of windows.
const stride = 8

// bareStage is one without recordings.
func bareStage(k *codec, steps int) *stage {
	eye := *k
	eye.Open = false
	eye.index()
	return &stage{k: k, eye: &eye, steps: steps}
}

// leastHeld is the fewest recordings of which some are held out whole.
const leastHeld = 3

// heldOut reports whether a recording is one of those that the discriminator does
// not see, where there are leastHeld or more.
func heldOut(recording int) bool { return recording%3 == 2 }

// newStage is of windows of so many steps. Of three recordings or more every third
// is held out, of fewer the last third of each.
func newStage(k *codec, recordings []telemetry.Recording, regimes [][]uint8, steps int) (*stage, error) {
	s := bareStage(k, steps)
	s.recordings, s.regimes = recordings, regimes
	d, e := s.sight(), len(s.eye.heads)
	for i, r := range recordings {
		n := r.Data.Len()
		seen, tokens := make([]float32, n*d), make([]int32, n*e)
		var moments [][]byte
		s.eye.walk(r, regimes[i], func(t int, m *moment, limits []int32) {
			s.look(m, limits, t, seen[t*d:][:d], tokens[t*e:][:e])
			if t%stride == 0 {
				moments = append(moments, k.snapshot(m, nil))
			}
		}, nil)
		s.seen, s.tokens, s.moments = append(s.seen, seen), append(s.tokens, tokens), append(s.moments, moments)
		to := n // of what is trained on
		switch {
		case len(recordings) < leastHeld:
			to = n * 2 / 3
		case heldOut(i):
			to = 0
		}
		for t := stride; t+steps < n; t += stride {
			if t+steps < to {
				s.train = append(s.train, windowStart{i, t})
			}
		}
		for t := (max(to, 1) + stride - 1) / stride * stride; t+steps < n; t += (steps + stride - 1) / stride * stride {
			s.held = append(s.held, windowStart{i, t})
		}
	}
	if len(s.train) == 0 || len(s.held) == 0 {
		return nil, fmt.Errorf("closedloop: adversarial_window: %d windows of %d s are left to train a discriminator on and %d to judge it by: recordings are too short", len(s.train), steps, len(s.held))
	}
	return s, nil
}

// sight is how many numbers a discriminator sees before a second: what a closed
// loop reads, and which heads were measured in the last second.
func (s *stage) sight() int { return s.eye.numbersIn() + len(s.k.Heads) }

// look writes what a discriminator sees before a second of a recording.
func (s *stage) look(m *moment, limits []int32, second int, x []float32, tokens []int32) {
	n := s.eye.numbersIn()
	s.eye.input(m, limits, second, false, x[:n], tokens)
	for h, class := range m.Class {
		if x[n+h] = 0; class >= 0 {
			x[n+h] = 1
		}
	}
}

// recorded puts what is seen of the seconds of windows into the first rows of b.
func (s *stage) recorded(at []windowStart, b *seq.Batch) {
	d, e := s.sight(), len(s.eye.heads)
	for row, w := range at {
		for t := range s.steps {
			i, from := t*b.Rows+row, w.second+t+1
			copy(b.Dense[i*d:][:d], s.seen[w.recording][from*d:])
			copy(b.Tokens[i*e:][:e], s.tokens[w.recording][from*e:])
		}
	}
}

// roll draws the seconds of windows anew: from the moment at which each begins,
// under the limits and the load that were recorded, row i with seeds[i]. What is
// seen of them, with the recording's gaps, goes into b's rows from len(at) on.
// Into g, unless nil, go what the generator read and the classes that it drew, row
// i into row first+i.
func (s *stage) roll(net *seq.Model, be *compute.Backend, at []windowStart, seeds []uint64, b, g *seq.Batch, first int) error {
	k, n := s.k, len(at)
	sim, err := NewSimulator(n, &Model{codec: k, net: net}, be)
	if err != nil {
		return err
	}
	views := make([]*moment, n) // what is known of the rollouts with the recording's gaps
	for i, w := range at {
		r := &sim.rows[i]
		start := s.moments[w.recording][w.second/stride]
		if err := k.restore(&r.moment, start); err != nil {
			return err
		}
		views[i] = k.newMoment()
		if err := k.restore(views[i], start); err != nil {
			return err
		}
		r.seed, r.begun = seeds[i], true
	}
	d, e, h := k.numbersIn(), len(k.heads), k.lead()+len(k.Heads)
	see, saw := s.sight(), len(s.eye.heads)
	x, tokens, limits := make([]float32, n*d), make([]int32, n*e), make([]int32, n*k.Switches)
	values, ok, next := make([]float32, len(k.Columns)), make([]bool, len(k.Columns)), make([]int32, k.Switches)
	for t := range s.steps {
		for i, w := range at {
			r, second, under := &sim.rows[i], w.second+t, limits[i*k.Switches:][:k.Switches]
			regimes := s.regimes[w.recording]
			if k.enter(&r.moment, regimes, second); t > 0 && k.Restart && regimes[second] != regimes[second-1] {
				sim.sampler.Reset([]int{i})
			}
			s.recordings[w.recording].LimitsAt(second, under)
			k.input(&r.moment, under, second, false, x[i*d:][:d], tokens[i*e:][:e])
		}
		sim.sampler.Step(nil, tokens, x)
		for i, w := range at {
			second, under := w.second+t, limits[i*k.Switches:][:k.Switches]
			sim.draw(i, &sim.rows[i], under)
			if g != nil {
				to := t*g.Rows + first + i
				copy(g.Dense[to*d:][:d], x[i*d:])
				copy(g.Tokens[to*e:][:e], tokens[i*e:])
				copy(g.Values[to*h:][:h], sim.classes)
			}
			s.recordings[w.recording].Data.Copy(second, values, ok)
			s.eye.observe(views[i], sim.values, ok, under)
			s.eye.enter(views[i], s.regimes[w.recording], second+1)
			s.recordings[w.recording].LimitsAt(second+1, next)
			to := t*b.Rows + n + i
			s.look(views[i], next, second+1, b.Dense[to*see:][:see], b.Tokens[to*saw:][:saw])
		}
	}
	return nil
}

// undivided is the longest part of a window that no change of the load divides.
func (s *stage) undivided(w windowStart) (from, end int) {
	regimes := s.regimes[w.recording][w.second:][:s.steps]
	for a := 0; a < s.steps; {
		b := a + 1
		for b < s.steps && (!s.k.Restart || regimes[b] == regimes[b-1]) {
			b++
		}
		if b-a > end-from {
			from, end = a, b
		}
		a = b
	}
	return from, end
}

// credit makes a row of g, a rollout of window w, what a generator learns of it by
//
//	Σ_t a_t·(-log p(class_t | what it read))
//
// with a [steps] the advantages: those of the longest part that no change of load
// divides, for the network's memory begins with one, without the seconds about a
// change, whose rows are fitted afterwards (see fitTurning). It returns how many
// seconds count.
func (s *stage) credit(w windowStart, a []float32, g *seq.Batch, row int) (seconds int) {
	d, e, lead := s.k.numbersIn(), len(s.k.heads), s.k.lead()
	h := lead + len(s.k.Heads)
	from, end := s.undivided(w)
	for t := range s.steps {
		to := t*g.Rows + row
		values, weight := g.Values[to*h:][:h], g.Weight[to*h:][:h]
		clear(weight)
		if from+t >= end {
			for j := range values {
				values[j] = -1
			}
			continue
		}
		at := (from+t)*g.Rows + row
		copy(g.Dense[to*d:][:d], g.Dense[at*d:][:d])
		copy(g.Tokens[to*e:][:e], g.Tokens[at*e:][:e])
		copy(values, g.Values[at*h:][:h])
		if lead > 0 {
			turns := values[0] > 0
			if values[0] = -1; turns {
				continue
			}
		}
		for j := lead; j < h; j++ {
			weight[j] = a[from+t]
		}
		seconds++
	}
	return seconds
}

// drifts are, by limit of the first switch and regime, seconds, and what the
// buffer changed in them in recordings and in rollouts.
type drifts map[[2]int]*[3]float64

// add takes the windows that recorded and roll left in b.
func (d drifts) add(s *stage, at []windowStart, b *seq.Batch) {
	k := s.eye
	j := slices.IndexFunc(k.Heads, func(h head) bool { return k.Columns[h.Column].Kind == changeKind })
	if j < 0 {
		return
	}
	c, wide, limits := &k.Columns[k.Heads[j].Column], s.sight(), make([]int32, k.Switches)
	for row, w := range at {
		for t := range s.steps {
			x, y := b.Dense[(t*b.Rows+row)*wide:][:wide], b.Dense[(t*b.Rows+len(at)+row)*wide:][:wide]
			if x[k.numbersIn()+j] == 0 || y[k.numbersIn()+j] == 0 {
				continue
			}
			s.recordings[w.recording].LimitsAt(w.second+t, limits)
			key := [2]int{int(limits[0]), int(s.regimes[w.recording][w.second+t])}
			if d[key] == nil {
				d[key] = new([3]float64)
			}
			d[key][0]++
			for i, v := range []float32{x[k.given()+j], y[k.given()+j]} {
				d[key][1+i] += c.Mean + c.SD*float64(v)
			}
		}
	}
}

// leastDrift is how many seconds a cell of drifts has that counts.
const leastDrift = 100

// error is the root mean square of the differences of the two means, s/s; 0 where
// nothing was measured.
func (d drifts) error() float64 {
	sum, n := 0., 0.
	for _, key := range slices.SortedFunc(maps.Keys(d), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
		if c := d[key]; c[0] >= leastDrift {
			e := (c[2] - c[1]) / c[0]
			sum, n = sum+e*e, n+1
		}
	}
	return math.Sqrt(sum / max(n, 1))
}
