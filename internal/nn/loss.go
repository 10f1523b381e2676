package nn

import "math"

// Losses give the mean over elements, summed in float64, and add weight times
// the gradient of that mean to grad, which may be nil. So the gradient of a
// sum of weighted losses collects in one slice that starts as zeros.

// BCEWithLogits is binary cross-entropy of σ(logits) against one label for
// all, 0 or 1 (or between):
//
//	mean(max(x,0) - x·label + log(1+e^-|x|))
func BCEWithLogits(logits []float32, label, weight float32, grad []float32) float64 {
	checkGrad("bce gradient", grad, len(logits))
	w, y := float64(weight)/float64(len(logits)), float64(label)
	sum := 0.
	for i, x := range logits {
		x := float64(x)
		e := math.Exp(-math.Abs(x))
		sum += max(x, 0) - x*y + math.Log1p(e)
		if grad != nil {
			p := 1 / (1 + e)
			if x < 0 {
				p = e / (1 + e)
			}
			grad[i] += float32(w * (p - y))
		}
	}
	return sum / float64(len(logits))
}

// MSE is mean((pred-target)²) over the elements where mask is set; nil sets
// all; 0 where none is set. dTarget is the gradient for target, for where that
// is computed too.
func MSE(pred, target []float32, mask []bool, weight float32, grad, dTarget []float32) float64 {
	check("mse target", len(target), len(pred))
	checkGrad("mse gradient", grad, len(pred))
	checkGrad("mse target gradient", dTarget, len(pred))
	n := count(mask, len(pred))
	if n == 0 {
		return 0
	}
	w := 2 * float64(weight) / float64(n)
	sum := 0.
	for i, p := range pred {
		if mask != nil && !mask[i] {
			continue
		}
		d := float64(p) - float64(target[i])
		sum += d * d
		if grad != nil {
			grad[i] += float32(w * d)
		}
		if dTarget != nil {
			dTarget[i] -= float32(w * d)
		}
	}
	return sum / float64(n)
}

// Huber is mean(l(pred-target)) over the elements where mask is set, as MSE,
// with l(d) = d²/2 for |d| ≤ delta, delta·(|d|-delta/2) beyond (Huber 1964).
func Huber(pred, target []float32, mask []bool, delta, weight float32, grad []float32) float64 {
	check("huber target", len(target), len(pred))
	checkGrad("huber gradient", grad, len(pred))
	n := count(mask, len(pred))
	if n == 0 {
		return 0
	}
	w, limit := float64(weight)/float64(n), float64(delta)
	sum := 0.
	for i, p := range pred {
		if mask != nil && !mask[i] {
			continue
		}
		d := float64(p) - float64(target[i])
		slope := max(-limit, min(limit, d))
		sum += slope * (d - slope/2) // both branches: the slope is d, or ±delta
		if grad != nil {
			grad[i] += float32(w * slope)
		}
	}
	return sum / float64(n)
}

// Moments is the moment-matching loss of TimeGAN's published code (G_loss_V):
// the mean over time and features of
//
//	|√(var fake + 1e-6) - √(var real + 1e-6)| + |mean fake - mean real|
//
// with mean and population variance over the rows of a [T,B,F] batch. The
// slope of |·| at 0 is 0.
func Moments(fake, real []float32, steps, rows, features int, weight float32, grad []float32) float64 {
	check("moments fake", len(fake), steps, rows, features)
	check("moments real", len(real), steps, rows, features)
	checkGrad("moments gradient", grad, len(fake))
	n := rows * features
	w := float64(weight) / float64(steps*features)
	sum := 0.
	for t := range steps {
		fake, real := fake[t*n:][:n], real[t*n:][:n]
		for f := range features {
			mf, sf := moments(fake, rows, features, f)
			mr, sr := moments(real, rows, features, f)
			sum += math.Abs(sf-sr) + math.Abs(mf-mr)
			if grad == nil {
				continue
			}
			// ∂mean/∂x = 1/B; ∂√(var+ε)/∂x = (x-mean)/(B·√(var+ε))
			slope, shift := sign(sf-sr)*w/(float64(rows)*sf), sign(mf-mr)*w/float64(rows)
			g := grad[t*n:][:n]
			for i := f; i < n; i += features {
				g[i] += float32(slope*(float64(fake[i])-mf) + shift)
			}
		}
	}
	return sum / float64(steps*features)
}

// moments gives mean and √(variance + 1e-6) of feature f of x [B,F].
func moments(x []float32, rows, features, f int) (mean, std float64) {
	for i := f; i < len(x); i += features {
		mean += float64(x[i])
	}
	mean /= float64(rows)
	for i := f; i < len(x); i += features {
		d := float64(x[i]) - mean
		std += d * d
	}
	return mean, math.Sqrt(std/float64(rows) + 1e-6)
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // 0 or NaN
}

func checkGrad(what string, grad []float32, n int) {
	if grad != nil {
		check(what, len(grad), n)
	}
}

// count is the number of set elements of mask, n for nil.
func count(mask []bool, n int) int {
	if mask == nil {
		return n
	}
	check("mask", len(mask), n)
	c := 0
	for _, m := range mask {
		if m {
			c++
		}
	}
	return c
}
