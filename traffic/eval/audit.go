package eval

import (
	"slices"

	"github.com/planegym/planegym/internal/rng"
)

// membership adds what an attacker learns of who was in training by a threshold on a
// score: NAME_auc, the chance that a training session scores higher than a held-out
// one, NAME_tpr, the share of training sessions found where 1 % of held-out ones are
// taken for such, and NAME_tpr_01 where .1 % are (Carlini et al. 2022: an attack is
// as good as what it finds without false alarms). Intervals are of resamples of both
// sets' sessions (percentiles of the bootstrap).
//
// By the name "member" the score is the likelihood of a session a step (Yeom et al.
// 2018). The floors are audited as well: what memory of its data a model that only
// counts has is the measure of a learned one's.
func membership(train, held []float64, name string, r *Row) {
	r.Figures[name+"_auc"] = resampled(train, held, auc)
	for _, at := range []struct {
		name  string
		share float64
	}{{"_tpr", .01}, {"_tpr_01", .001}} {
		r.Figures[name+at.name] = resampled(train, held, func(in, out []float64) float64 { return found(in, out, at.share) })
	}
}

// resamples of an audit.
const resamples = 400

// resampled is a figure of two samples with the 95 % interval of the bootstrap.
func resampled(in, out []float64, figure func(in, out []float64) float64) Estimate {
	e := Estimate{Mean: Number(figure(in, out))}
	a, b := make([]float64, len(in)), make([]float64, len(out))
	values := make([]float64, resamples)
	for i := range values {
		key, n := rng.Key{Seed: uint64(i), Purpose: rng.Bootstrap}, uint32(0)
		for _, x := range []struct{ from, to []float64 }{{in, a}, {out, b}} {
			for k := range x.to {
				x.to[k] = x.from[key.Intn(n, len(x.from))]
				n++
			}
		}
		values[i] = figure(a, b)
	}
	slices.Sort(values)
	e.Low, e.High = Number(values[resamples/40]), Number(values[resamples-1-resamples/40])
	return e
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
