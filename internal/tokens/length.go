package tokens

import "math"

// trials is how often FitEnd samples at most.
const trials = 6

// FitEnd shifts bias, the logit of a session's end, until sampled sessions have as
// many steps in the mean as training's, want; mean samples with the bias as it is. A
// network learns each step's chance to be the last, and small errors of it add up
// over a long session; a load is its mean rate first. The chances of what follows
// a step that is not the last do not change by it.
func FitEnd(bias *float32, want float64, mean func() (float64, error)) error {
	best, closest := *bias, math.Inf(1)
	for range trials {
		n, err := mean()
		if err != nil {
			return err
		}
		off := math.Log(n / want)
		if math.Abs(off) < closest {
			best, closest = *bias, math.Abs(off)
		}
		if closest < .005 {
			break
		}
		*bias += float32(min(max(off, -1), 1))
	}
	*bias = best
	return nil
}
