package nn

import (
	"fmt"
	"math"
)

// GradientPenalty computes the penalty of WGAN-GP (Gulrajani et al. 2017,
// eq. 3) for critics of ReLU layers with one linear output, and its gradient
// for the parameters, without a second-order engine: where the ReLUs do not
// change, the critic is linear in x, so the derivative of ∇ₓD(x) is a pass
// forward through the transposed layers.
//
//	P = λ/B · Σ_rows (‖g‖ - 1)²,  g = ∇ₓD(x)
//
//	δ_L = 1;  δ_l = relu'(v_l) ⊙ W_{l+1}ᵀ δ_{l+1};  g = W₁ᵀ δ₁
//	u₀ = 2λ(‖g‖-1)/(B‖g‖) · g;  u_l = relu'(v_l) ⊙ (W_l u_{l-1})
//	∂P/∂W_l += δ_l u_{l-1}ᵀ;  biases have no part in it
type GradientPenalty struct {
	mlp         *MLP
	at          []int // where a layer's values begin
	be          *Backend
	max         int
	vals, d     []float32 // values and δ of all layers, a tile
	u, uNext    []float32
	grad, zeros []float32
}

// NewGradientPenalty is the penalty of a critic, for up to batch rows.
func NewGradientPenalty(m *MLP, be *Backend, batch int) *GradientPenalty {
	if m.out() != 1 || m.Out != Linear || m.layers() > 1 && m.Hidden != ReLU {
		panic(fmt.Sprintf("nn: a gradient penalty is of ReLU layers and one linear output, not of %v, %v, %v", m.Sizes, m.Hidden, m.Out))
	}
	width, widest := 0, 0
	for _, n := range m.Sizes {
		width, widest = width+n*lanes, max(widest, n*lanes)
	}
	at := make([]int, len(m.Sizes))
	for l := range m.layers() {
		at[l+1] = at[l] + m.Sizes[l]*lanes
	}
	return &GradientPenalty{mlp: m, at: at, be: be, max: batch, vals: floats(width), d: floats(width), u: floats(widest),
		uNext: floats(widest), grad: floats(len(m.params.Data)), zeros: floats(widest)}
}

// Penalty gives the penalty of x [B,in], with weight lambda, and adds its
// gradient to grad, [params].
func (p *GradientPenalty) Penalty(x []float32, lambda float64, grad []float32) float64 {
	m, k, at := p.mlp, kernelsOf(p.be), p.at
	n := len(x) / m.in()
	check("gradient penalty input", len(x), min(n, p.max), m.in())
	check("gradient penalty gradient", len(grad), len(m.params.Data))
	clear(p.grad)
	total := 0.
	var scale [lanes]float32
	for t := range tiles(n) {
		rows := min(lanes, n-t*lanes)
		k.panelIn(p.vals, x[t*lanes*m.in():], rows, m.in())
		for l := range m.layers() - 1 { // the output itself is not needed
			w, b := mlpLayer(m, m.params.Data, l)
			y := p.vals[at[l+1]:][:m.Sizes[l+1]*lanes]
			k.affine(y, p.vals[at[l]:], w, b, m.Sizes[l+1], m.Sizes[l])
			k.activate(ReLU, y)
		}
		top := p.d[at[m.layers()]:][:lanes]
		clear(top)
		for i := range rows {
			top[i] = 1
		}
		for l := m.layers() - 1; l >= 0; l-- {
			w, _ := mlpLayer(m, m.params.Data, l)
			d := p.d[at[l]:][:m.Sizes[l]*lanes]
			k.backData(d, p.d[at[l+1]:], w, m.Sizes[l+1], m.Sizes[l], m.Sizes[l], false)
			if l > 0 {
				k.activateBack(ReLU, d, p.vals[at[l]:][:m.Sizes[l]*lanes])
			}
		}
		g := p.d[:m.in()*lanes]
		for i := range rows {
			sum := 0.
			for f := range m.in() {
				v := float64(g[f*lanes+i])
				sum += v * v
			}
			norm := math.Sqrt(sum)
			total += lambda / float64(n) * (norm - 1) * (norm - 1)
			scale[i] = 0
			if norm > 0 {
				scale[i] = float32(2 * lambda * (norm - 1) / (float64(n) * norm))
			}
		}
		u, next := p.u, p.uNext
		for f := range m.in() {
			for i := range lanes {
				u[f*lanes+i] = 0
				if i < rows {
					u[f*lanes+i] = scale[i] * g[f*lanes+i]
				}
			}
		}
		for l := range m.layers() {
			w, _ := mlpLayer(m, m.params.Data, l)
			dw, _ := mlpLayer(m, p.grad, l)
			k.backWeights(dw, p.d[at[l+1]:], u, m.Sizes[l+1], m.Sizes[l], 1, 0, 0)
			if l == m.layers()-1 {
				break
			}
			k.affine(next, u, w, p.zeros, m.Sizes[l+1], m.Sizes[l])
			k.activateBack(ReLU, next[:m.Sizes[l+1]*lanes], p.vals[at[l+1]:][:m.Sizes[l+1]*lanes])
			u, next = next, u
		}
	}
	k.sum(grad, p.grad)
	return total
}
