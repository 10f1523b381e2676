package tokens

import (
	"math"
	"slices"
)

// trials is how often FitEnd samples at most.
const trials = 6

// FitEnd shifts bias, the logit of a session's end, until sampled sessions have as
// many steps in the mean as training's, want, but for a share of off; mean samples with the bias as it is. A
// network learns each step's chance to be the last, and small errors of it add up
// over a long session; a load is its mean rate first. The chances of what follows
// a step that is not the last do not change by it.
func FitEnd(bias *float32, want, off float64, mean func() (float64, error)) error {
	best, closest := *bias, math.Inf(1)
	for range trials {
		n, err := mean()
		if err != nil {
			return err
		}
		long := math.Log(n / want)
		if math.Abs(long) < closest {
			best, closest = *bias, math.Abs(long)
		}
		if closest < off {
			break
		}
		*bias += float32(min(max(long, -1), 1))
	}
	*bias = best
	return nil
}

// Shares are the logits of a field's classes and how often training has each.
type Shares struct {
	Logits [][]float32 // [places, classes]: a network may draw the field in several places
	Want   []float64   // [classes]: counts, or shares
}

// FitShares shifts the logits of fields until sampled classes are about as often as
// in training, or a shift gains less than a tenth; sample counts the classes of each field with the logits as they are. What
// is rare in training and in samples, below 1/10,000, stays as it is, and no logit
// moves by more than 1: what is off by more is not a small error of the network,
// and shifts multiply what it must not draw as well. What is drawn for a step depends
// on the steps before, so that small errors of a share add up as those of the end do.
func FitShares(fields []Shares, sample func() (got [][]float64, err error)) error {
	const rare, most = 1e-4, 1
	const half = .5 // whole shifts of fields that follow each other overshoot
	var best [][]float32
	closest := math.Inf(1)
	total := make([][]float64, len(fields)) // shifts so far
	for f, x := range fields {
		total[f] = make([]float64, len(x.Want))
	}
	for range trials {
		got, err := sample()
		if err != nil {
			return err
		}
		off := 0.
		shifts := make([][]float32, len(fields))
		for f, x := range fields {
			shifts[f] = make([]float32, len(x.Want))
			want, have := share(x.Want), share(got[f])
			for c := range want {
				off += math.Abs(want[c]-have[c]) / 2
				was := total[f][c]
				total[f][c] = min(max(was+half*math.Log((want[c]+rare)/(have[c]+rare)), -most), most)
				shifts[f][c] = float32(total[f][c] - was)
			}
		}
		if off > .9*closest {
			break // what is left is chance
		}
		closest, best = off, best[:0]
		for _, x := range fields {
			for _, place := range x.Logits {
				best = append(best, slices.Clone(place))
			}
		}
		for f, x := range fields {
			for _, place := range x.Logits {
				for c := range place {
					place[c] += shifts[f][c]
				}
			}
		}
	}
	for _, x := range fields {
		for _, place := range x.Logits {
			copy(place, best[0])
			best = best[1:]
		}
	}
	return nil
}

// share is counts divided by their sum.
func share(counts []float64) []float64 {
	sum := 0.
	for _, n := range counts {
		sum += n
	}
	s := make([]float64, len(counts))
	for i, n := range counts {
		s[i] = n / max(sum, 1e-300)
	}
	return s
}
