package eval

import "slices"

// audit adds what an attacker learns of who was in training by a threshold on
// the likelihood of a session a step (Yeom et al. 2018): member_auc, the chance
// that a training session is more likely than a held-out one, and member_tpr,
// the share of training sessions found where 1 % of held-out ones are taken for
// such (Carlini et al. 2022). The floors are audited as well: what memory of its
// data a model that only counts has is the measure of a learned one's.
func audit(train, held []float64, r *Row) {
	r.Figures["member_auc"] = EstimateOf([]float64{auc(train, held)})
	r.Figures["member_tpr"] = EstimateOf([]float64{found(train, held, .01)})
}

// auc is the chance that one of in is above one of out, ties half: the rank sum
// of Mann and Whitney.
func auc(in, out []float64) float64 {
	sorted := slices.Sorted(slices.Values(out))
	sum := 0.
	for _, x := range in {
		below, _ := slices.BinarySearch(sorted, x)
		upTo := below
		for upTo < len(sorted) && sorted[upTo] == x {
			upTo++
		}
		sum += float64(below) + float64(upTo-below)/2
	}
	return sum / float64(len(in)) / float64(len(out))
}

// found is the share of in above a threshold that at most a share of out is above.
func found(in, out []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(out))
	at := len(sorted) - 1 - int(share*float64(len(sorted)))
	n := 0
	for _, x := range in {
		if x > sorted[at] {
			n++
		}
	}
	return float64(n) / float64(len(in))
}
