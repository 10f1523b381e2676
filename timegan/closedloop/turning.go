package closedloop

import (
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
)

// What happens in the seconds in which one load goes and another comes is
// neither's: as bulk traffic ends and bursts have not begun, a download that took
// seconds is complete at once, and a policy that watches the buffer is at the end
// of it where it never was. Ten hours have some forty changes of load, and a
// recurrent network that is given them learns each by heart. So these seconds
// have no weight in its training, and what they add to the logits of each head,
// whatever else is the case, is fitted when it ends:
//
//	max over b  Σ_t log softmax(z_t + b)[y_t] - λ/2·|b|²
//
// over the seconds t of one change and age (see turning), z the logits of the
// network as it is, y the class that was recorded.
const (
	ridge  = .1  // λ, of rows b
	climbs = 200 // steps of gradient ascent
)

// tempered says whether rows of a head add to half of the network's logits. It
// learns nothing of the buffer's change in those seconds, and is surer of it than
// it has reason to be.
func (k *codec) tempered(h int) bool {
	return k.Restart && k.Columns[k.Heads[h].Column].Kind == changeKind
}

// fitTurning sets net's rows of the head that is given.
func (t *tracks) fitTurning(net *seq.Model, be *compute.Backend) {
	k := t.k
	if k.lead() == 0 {
		return
	}
	type event struct {
		p []float32 // probabilities of the classes
		y int32
	}
	d, e, h := k.numbersIn(), len(k.heads), 1+len(k.Heads)
	events := map[[2]int][]event{} // class of the turning, head
	s := net.NewSampler(be, 1)
	for _, tr := range t.all {
		s.Reset(nil)
		for at := 1; at < tr.seconds; at++ {
			if _, turned := slices.BinarySearch(tr.turns, at); turned && k.Restart {
				s.Reset(nil)
			}
			s.Step(nil, tr.tokens[at*e:][:e], tr.x[at*d:][:d])
			classes := tr.classes[at*h:][:h]
			turn := classes[0]
			if turn == 0 {
				continue
			}
			classes[0] = -1
			for j := range k.Heads {
				y := classes[1+j]
				if y < 0 {
					continue
				}
				p := append([]float32(nil), s.Weights(0, 1+j, classes)...)
				sum := float32(0)
				for _, w := range p {
					sum += w
				}
				for i := range p {
					if p[i] /= sum; k.tempered(j) {
						p[i] = float32(math.Sqrt(float64(p[i])))
					}
				}
				key := [2]int{int(turn), j}
				events[key] = append(events[key], event{p, y})
			}
			classes[0] = turn
		}
	}
	for j := range k.Heads {
		size := k.size(j)
		b, slope, q := make([]float64, size), make([]float64, size), make([]float64, size)
		var flat [2][]float64
		if k.dense(j) {
			flat = plane(size)
		}
		for turn := range net.Heads[0].Size {
			clear(b)
			all := events[[2]int{turn, j}]
			for range climbs {
				for i := range slope {
					slope[i] = -ridge * b[i]
				}
				for _, ev := range all {
					sum := 0.
					for i, p := range ev.p {
						q[i] = float64(p) * math.Exp(b[i])
						sum += q[i]
					}
					for i := range q {
						slope[i] -= q[i] / sum
					}
					slope[ev.y]++
				}
				for i := range b {
					b[i] += slope[i] / (ridge + float64(len(all))/2)
				}
				if k.dense(j) {
					onPlane(flat, b, 1)
				}
			}
			row := net.Row(1+j, 0, turn)
			for i := range row {
				row[i] = float32(b[i])
			}
		}
	}
}
