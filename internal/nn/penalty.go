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
	criticTile
	max  int
	grad []float32
}

// NewGradientPenalty is the penalty of a critic, for up to batch rows.
func NewGradientPenalty(m *MLP, be *Backend, batch int) *GradientPenalty {
	return &GradientPenalty{criticTile: newCriticTile(m, be), max: batch, grad: floats(len(m.params.Data))}
}

// Penalty gives the penalty of x [B,in], with weight lambda, and adds its
// gradient to grad, [params].
func (p *GradientPenalty) Penalty(x []float32, lambda float64, grad []float32) float64 {
	m := p.mlp
	n := len(x) / m.in()
	check("gradient penalty input", len(x), min(n, p.max), m.in())
	check("gradient penalty gradient", len(grad), len(m.params.Data))
	clear(p.grad)
	total := 0.
	for t := range tiles(n) {
		rows := min(lanes, n-t*lanes)
		p.forward(x[t*lanes*m.in():], rows)
		p.down(1, rows, true)
		total += p.up(lambda/float64(n), rows)
		for l := range m.layers() {
			dw, _ := mlpLayer(m, p.grad, l)
			p.k.backWeights(dw, p.delta(l+1), p.tangent(l), m.Sizes[l+1], m.Sizes[l], 1, 0, 0)
		}
	}
	p.k.sum(grad, p.grad)
	return total
}

// criticTile is a critic's passes over one tile of rows, what each layer makes kept.
type criticTile struct {
	mlp          *MLP
	k            *kernels
	at           []int // where a layer's values begin
	vals, d, tan []float32
	zeros        []float32
}

// newCriticTile is of a critic of ReLU layers with one linear output.
func newCriticTile(m *MLP, be *Backend) criticTile {
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
	return criticTile{mlp: m, k: kernelsOf(be), at: at, vals: floats(width), d: floats(width), tan: floats(width), zeros: floats(widest)}
}

func (c *criticTile) layer(of []float32, l int) []float32 { return of[c.at[l]:][:c.mlp.Sizes[l]*lanes] }

// value, delta and tangent are a [l], δ [l] and u [l] of layer l, the input being 0.
func (c *criticTile) value(l int) []float32   { return c.layer(c.vals, l) }
func (c *criticTile) delta(l int) []float32   { return c.layer(c.d, l) }
func (c *criticTile) tangent(l int) []float32 { return c.layer(c.tan, l) }

// forward computes values of the rows of x [rows,in]; their output is value(layers).
func (c *criticTile) forward(x []float32, rows int) {
	m := c.mlp
	c.k.panelIn(c.vals, x, rows, m.in())
	for l := range m.layers() {
		w, b := mlpLayer(m, m.params.Data, l)
		y := c.value(l + 1)
		c.k.affine(y, c.value(l), w, b, m.Sizes[l+1], m.Sizes[l])
		if l < m.layers()-1 {
			c.k.activate(ReLU, y)
		}
	}
}

// down computes δ of all layers from that of the output, and where input is set of
// the input, which is the critic's gradient by it.
func (c *criticTile) down(top float32, rows int, input bool) {
	m := c.mlp
	d := c.delta(m.layers())
	clear(d)
	for i := range rows {
		d[i] = top
	}
	for l := m.layers() - 1; l > 0 || l == 0 && input; l-- {
		w, _ := mlpLayer(m, m.params.Data, l)
		c.k.backData(c.delta(l), c.delta(l+1), w, m.Sizes[l+1], m.Sizes[l], m.Sizes[l], false)
		if l > 0 {
			c.k.activateBack(ReLU, c.delta(l), c.value(l))
		}
	}
}

// up gives the sum over rows of weight·(‖g‖ - 1)², g = delta(0), and computes u of
// all layers but the output.
func (c *criticTile) up(weight float64, rows int) (total float64) {
	m := c.mlp
	g, u := c.delta(0), c.tangent(0)
	clear(u)
	for i := range rows {
		sum := 0.
		for f := range m.in() {
			v := float64(g[f*lanes+i])
			sum += v * v
		}
		norm := math.Sqrt(sum)
		total += weight * (norm - 1) * (norm - 1)
		if norm > 0 {
			scale := float32(2 * weight * (norm - 1) / norm)
			for f := range m.in() {
				u[f*lanes+i] = scale * g[f*lanes+i]
			}
		}
	}
	for l := range m.layers() - 1 {
		w, _ := mlpLayer(m, m.params.Data, l)
		c.k.affine(c.tangent(l+1), c.tangent(l), w, c.zeros, m.Sizes[l+1], m.Sizes[l])
		c.k.activateBack(ReLU, c.tangent(l+1), c.value(l+1))
	}
	return total
}
