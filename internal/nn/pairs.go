package nn

import "math"

// PairGradients computes sums of clipped gradients of a critic: DP-SGD (Abadi et al.
// 2016, algorithm 1) of WGAN-GP. An example is a pair of a real and a generated row
// with a row between them:
//
//	L_i = D(generated_i) - D(real_i) + λ (‖∇D(x̂_i)‖ - 1)²
//	Σ_i ∇L_i · min(1, C/‖∇L_i‖)
//
// No example's gradient is ever formed. That of a layer's weights is a sum of three
// outer products, δ aᵀ of both rows and δ uᵀ of the penalty (GradientPenalty), that of
// its bias of two δ, so that its norm follows from inner products of the factors:
//
//	‖∇L_i‖² = Σ_layers Σ_{p,q} (δ_p·δ_q) (a_p·a_q + [neither is the penalty's])
//
// (Goodfellow 2015, "Efficient per-example gradient computations", is the case of one
// product). Then the factors are scaled and multiplied for all pairs at once.
type PairGradients struct {
	real, fake, hat criticTile
	max             int
	norms           []float64
}

// NewPairGradients is of a critic of ReLU layers and one linear output, for up to
// batch pairs.
func NewPairGradients(m *MLP, be *Backend, batch int) *PairGradients {
	return &PairGradients{real: newCriticTile(m, be), fake: newCriticTile(m, be), hat: newCriticTile(m, be), max: batch, norms: make([]float64, batch)}
}

// Sum adds the sum of the clipped gradients of pairs to grad [params]; real, fake and
// hat are [pairs,in]. It gives the norms that the gradients had, [pairs], which are
// valid until the next call.
func (p *PairGradients) Sum(real, fake, hat []float32, lambda, clip float64, grad []float32) []float64 {
	m, k := p.real.mlp, p.real.k
	n := len(real) / m.in()
	check("pairs, real", len(real), min(n, p.max), m.in())
	check("pairs, generated", len(fake), n, m.in())
	check("pairs, between", len(hat), n, m.in())
	check("pairs, gradient", len(grad), len(m.params.Data))
	for t := range tiles(n) {
		rows, from := min(lanes, n-t*lanes), t*lanes*m.in()
		p.real.forward(real[from:], rows)
		p.real.down(-1, rows, false)
		p.fake.forward(fake[from:], rows)
		p.fake.down(1, rows, false)
		p.hat.forward(hat[from:], rows)
		p.hat.down(1, rows, true)
		p.hat.up(lambda, rows)
		var squares [lanes]float64
		for l := range m.layers() {
			p.squares(&squares, l, rows)
		}
		var scale [lanes]float32
		for i := range rows {
			norm := math.Sqrt(squares[i])
			p.norms[t*lanes+i] = norm
			scale[i] = 1
			if norm > clip {
				scale[i] = float32(clip / norm * (1 - 1e-6)) // float32 rounds: never above clip
			}
		}
		for l := range m.layers() {
			dw, db := mlpLayer(m, grad, l)
			out, in := m.Sizes[l+1], m.Sizes[l]
			for _, f := range []*criticTile{&p.real, &p.fake, &p.hat} {
				d, a := f.delta(l+1), f.value(l)
				for x := 0; x < len(d); x += lanes {
					for i := range scale {
						d[x+i] *= scale[i]
					}
				}
				if f == &p.hat {
					k.backWeights(dw, d, f.tangent(l), out, in, 1, 0, 0)
					continue
				}
				k.backWeights(dw, d, a, out, in, 1, 0, 0)
				k.backBias(db, d, out, 1, 0)
			}
		}
	}
	return p.norms[:n]
}

// squares adds the squared norms of a layer's gradients, by row.
func (p *PairGradients) squares(into *[lanes]float64, l, rows int) {
	d := [3][]float32{p.real.delta(l + 1), p.fake.delta(l + 1), p.hat.delta(l + 1)}
	a := [3][]float32{p.real.value(l), p.fake.value(l), p.hat.tangent(l)}
	for i := range 3 {
		for j := range i + 1 {
			var dd, aa [lanes]float64
			dots(&dd, d[i], d[j])
			dots(&aa, a[i], a[j])
			times := 2.
			if i == j {
				times = 1
			}
			for r := range rows {
				x := aa[r]
				if i < 2 { // the penalty has no part in biases
					x++
				}
				into[r] += times * dd[r] * x
			}
		}
	}
}

// dots adds the inner products of two panels, by row.
func dots(into *[lanes]float64, x, y []float32) {
	for f := 0; f < len(x); f += lanes {
		a, b := (*[lanes]float32)(x[f:]), (*[lanes]float32)(y[f:])
		for i := range into {
			into[i] += float64(a[i]) * float64(b[i])
		}
	}
}
