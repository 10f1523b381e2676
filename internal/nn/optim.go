package nn

import "math"

// Adam is the optimiser of Kingma and Ba 2015, algorithm 1. M, V and T are
// all its state: a checkpoint keeps them.
type Adam struct {
	LR, Beta1, Beta2, Eps float64
	M, V                  []float32 // first and second moments, [params]
	T                     int64     // updates done

	scalars adamScalars
}

// NewAdam is Adam for n parameters with the paper's β₁ = 0.9, β₂ = 0.999,
// ε = 1e-8.
func NewAdam(n int, lr float64) *Adam {
	return &Adam{LR: lr, Beta1: .9, Beta2: .999, Eps: 1e-8, M: floats(n), V: floats(n)}
}

// Step updates params by the gradient grad:
//
//	m = β₁m + (1-β₁)g;  v = β₂v + (1-β₂)g²
//	p -= lr · m/(1-β₁ᵗ) / (√(v/(1-β₂ᵗ)) + ε)
func (a *Adam) Step(be *Backend, params, grad []float32) {
	check("adam parameters", len(params), len(a.M))
	check("adam gradient", len(grad), len(a.M))
	check("adam second moments", len(a.V), len(a.M))
	a.T++
	t := float64(a.T)
	a.scalars = adamScalars{
		beta1: float32(a.Beta1), oneMinusBeta1: float32(1 - a.Beta1),
		beta2: float32(a.Beta2), oneMinusBeta2: float32(1 - a.Beta2),
		step: float32(a.LR / (1 - math.Pow(a.Beta1, t))),
		root: float32(1 / math.Sqrt(1-math.Pow(a.Beta2, t))),
		eps:  float32(a.Eps),
	}
	kernelsOf(be).adam(params, grad, a.M, a.V, &a.scalars)
}

// SGD is gradient descent with Nesterov momentum in the form of Sutskever et
// al. 2013 that deep-learning frameworks use. Velocity is all its state.
type SGD struct {
	LR, Momentum float64
	Velocity     []float32 // [params]
}

// NewSGD is SGD for n parameters.
func NewSGD(n int, lr, momentum float64) *SGD {
	return &SGD{LR: lr, Momentum: momentum, Velocity: floats(n)}
}

// Step updates params by the gradient grad:
//
//	v = μv + g;  p -= lr·(g + μv)
func (s *SGD) Step(params, grad []float32) {
	check("sgd parameters", len(params), len(s.Velocity))
	check("sgd gradient", len(grad), len(s.Velocity))
	lr, mu := float32(s.LR), float32(s.Momentum)
	for i, g := range grad {
		v := float32(mu*s.Velocity[i]) + g
		s.Velocity[i] = v
		params[i] -= float32(lr * (g + float32(mu*v)))
	}
}

// Norm is the Euclidean norm of grad. It is NaN or Inf where an element is.
func Norm(grad []float32) float64 {
	var a, b, c, d float64 // four sums, or each addition waits for the one before
	i := 0
	for ; i+4 <= len(grad); i += 4 {
		g := (*[4]float32)(grad[i:])
		a += float64(g[0]) * float64(g[0])
		b += float64(g[1]) * float64(g[1])
		c += float64(g[2]) * float64(g[2])
		d += float64(g[3]) * float64(g[3])
	}
	for _, g := range grad[i:] {
		a += float64(g) * float64(g)
	}
	return math.Sqrt(a + b + c + d)
}

// ClipNorm scales grad down to Euclidean norm limit where it exceeds it, and
// gives the norm it had.
func ClipNorm(grad []float32, limit float64) float64 {
	norm := Norm(grad)
	if norm > limit {
		scale := float32(limit / norm)
		for i := range grad {
			grad[i] *= scale
		}
	}
	return norm
}

// ClipNorms is ClipNorm of several gradients taken as one.
func ClipNorms(limit float64, grads ...[]float32) float64 {
	sum := 0.
	for _, g := range grads {
		n := Norm(g)
		sum += n * n
	}
	norm := math.Sqrt(sum)
	if norm > limit {
		scale := float32(limit / norm)
		for _, g := range grads {
			for i := range g {
				g[i] *= scale
			}
		}
	}
	return norm
}

// Decay is the decoupled weight decay of AdamW (Loshchilov and Hutter 2019,
// algorithm 2, line 12), p -= rate·p, done beside an Adam step; rate is the
// learning rate times the decay.
func Decay(p []float32, rate float64) {
	keep := float32(1 - rate)
	for i := range p {
		p[i] *= keep
	}
}

// Average moves avg towards p: avg = keep·avg + (1-keep)·p, the exponential
// moving average of weights.
func Average(avg, p []float32, keep float64) {
	check("average", len(avg), len(p))
	k := float32(1 - keep)
	for i, v := range p {
		avg[i] += k * (v - avg[i])
	}
}

// WarmUpCosine is the share of the full learning rate in an update (from 0) of
// total: it rises linearly over warm updates, then falls as half a cosine to
// floor (Loshchilov and Hutter 2017, eq. 5).
func WarmUpCosine(update, warm, total int, floor float64) float64 {
	if update < warm {
		return float64(update+1) / float64(warm)
	}
	if total <= warm {
		return 1
	}
	x := float64(update-warm) / float64(total-warm)
	return floor + (1-floor)*(1+math.Cos(math.Pi*min(x, 1)))/2
}
