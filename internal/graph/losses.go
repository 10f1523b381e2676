package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/planegym/planegym/timegan"
)

// The losses of Yoon et al. 2019 as timegan computes them (timegan/train.go
// has the same, with gradients by hand).

// encode is e: x ⊕ v ⊕ c → h. passes asks for the gradient at x.
func (b *builder) encode(x, c *G.Node, passes bool) *G.Node {
	return b.apply(&b.Embedder, passes, nil, b.beside(x, b.valid(), c)...)
}

// discriminate is d: h ⊕ v ⊕ c → a logit.
func (b *builder) discriminate(h, c *G.Node, passes bool) *G.Node {
	return b.apply(&b.Discriminator, passes, nil, b.beside(h, b.valid(), c)...)
}

func (b *builder) beside(x *G.Node, v G.Nodes, c *G.Node) G.Nodes {
	return append(append(G.Nodes{x}, v...), c)
}

// reconstructed is eq. 7, the mean square of r(h) against x over measured cells.
func (b *builder) reconstructed(h *G.Node) *G.Node {
	x := b.apply(&b.Recovery, true, nil, h, b.condition())
	return b.report("R", b.meanSquare(x, b.real(), b.input("cells", b.o.cells, b.Steps, b.Rows, b.Channels)))
}

// foreseen is eq. 9, the mean square of s(h) against the next h. passes asks
// for the gradient at h.
func (b *builder) foreseen(h *G.Node, passes bool) *G.Node {
	s := b.apply(&b.Supervisor, passes, nil, h, b.condition())
	codes := b.input("codes", b.o.codes, b.Steps-1, b.Rows, b.Config.Hidden)
	return b.report("S", b.meanSquare(must(Steps(s, 0, b.Steps-1)), must(Steps(h, 1, b.Steps)), codes))
}

// meanSquare weighs squares: weights that sum to 1 make it a mean.
func (b *builder) meanSquare(pred, target, weights *G.Node) *G.Node {
	return must(Squares(must(G.Sub(pred, target)), weights))
}

// root is √loss, with a slope at 0.
func (b *builder) root(loss *G.Node) *G.Node {
	return must(G.Sqrt(must(G.Add(loss, b.number(1e-12)))))
}

func (b *builder) number(x float64) *G.Node { return G.NewConstant(float32(x)) }

func (b *builder) times(k float64, loss *G.Node) *G.Node { return must(G.Mul(b.number(k), loss)) }

func sum(losses ...*G.Node) *G.Node {
	total := losses[0]
	for _, l := range losses[1:] {
		total = must(G.Add(total, l))
	}
	return total
}

// mean is that of all elements of x.
func (b *builder) mean(x *G.Node) *G.Node {
	shape := x.Shape()
	n := shape.TotalSize()
	name := fmt.Sprint("1/n", shape)
	if in, ok := b.inputs[name]; ok {
		return must(Dot(in, x))
	}
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(1 / float64(n))
	}
	return must(Dot(b.input(name, w, shape...), x))
}

// taken is the binary cross-entropy of logits that are to be taken for real,
// or for generated: log(1+e^∓y).
func (b *builder) taken(logits *G.Node, forReal bool) *G.Node {
	if forReal {
		logits = must(G.Neg(logits))
	}
	return b.mean(must(G.Softplus(logits)))
}

// moments is the mean of |mean x - mean x̂| + |σ x - σ x̂| over the batch.
func (b *builder) moments(fake, real *G.Node) *G.Node {
	apart := func(of func(x *G.Node) *G.Node) *G.Node {
		return b.mean(must(G.Abs(must(G.Sub(of(fake), of(real))))))
	}
	return sum(
		apart(func(x *G.Node) *G.Node { return must(BatchMean(x)) }),
		apart(func(x *G.Node) *G.Node {
			variance := must(BatchMean(must(G.Square(must(Centred(x))))))
			return must(G.Sqrt(must(G.Add(variance, b.number(1e-6)))))
		}),
	)
}

// scale is each channel's mean and floored standard deviation over all seconds
// and rows of x, spread over the shape of another node.
func (b *builder) scale(x *G.Node, like tensor.Shape) (mean, sd *G.Node) {
	flat := must(Flat(x))
	variance := must(BatchMean(must(G.Square(must(Centred(flat))))))
	sd = must(G.Add(must(G.Sqrt(variance)), b.number(timegan.FloorSD)))
	return must(Spread(must(BatchMean(flat)), like[0], like[1])), must(Spread(sd, like[0], like[1]))
}

// changes are the moments of x[t+1] - x[t] over all seconds, on the scale of
// real ones.
func (b *builder) changes(x *G.Node) *G.Node {
	fake, real := must(Changes(x)), must(Changes(b.real()))
	_, sd := b.scale(real, real.Shape())
	on := func(d *G.Node) *G.Node { return must(Flat(must(G.HadamardDiv(d, sd)))) }
	return b.moments(on(fake), on(real))
}

// covariances is the mean of |covariance - the real one| over lags and pairs
// of channels, on the scale of the real.
func (b *builder) covariances(x *G.Node) *G.Node {
	mean, sd := b.scale(b.real(), x.Shape())
	on := func(x *G.Node) *G.Node { return must(G.HadamardDiv(must(G.Sub(x, mean)), sd)) }
	fake, real := on(x), on(b.real())
	var losses []*G.Node
	for _, lag := range timegan.CovarianceLags {
		n := b.Steps - lag
		if n <= 0 {
			continue
		}
		products := func(u *G.Node) *G.Node {
			return must(Outer(must(Steps(u, 0, n)), must(Steps(u, lag, b.Steps))))
		}
		apart := b.mean(must(G.Abs(must(G.Sub(products(fake), products(real))))))
		losses = append(losses, b.times(1/float64(n*b.Rows*len(timegan.CovarianceLags)), apart))
	}
	return sum(losses...)
}

// embedding: min over e, r of 10·√L_R.
func (b *builder) embedding() {
	b.learns = []*timegan.Network{&b.Embedder, &b.Recovery}
	b.cost = b.times(10, b.root(b.reconstructed(b.encode(b.real(), b.condition(), false))))
}

// supervised: min over s of L_S.
func (b *builder) supervised() {
	b.learns = []*timegan.Network{&b.Supervisor}
	b.cost = b.foreseen(b.encode(b.real(), b.condition(), false), false)
}

// embedder: min over e, r of 10·√L_R + 0.1·L_S.
func (b *builder) embedder() {
	b.learns = []*timegan.Network{&b.Embedder, &b.Recovery}
	h := b.encode(b.real(), b.condition(), false)
	b.cost = sum(b.times(10, b.root(b.reconstructed(h))), b.times(.1, b.foreseen(h, true)))
}

// fake is a generated batch: its channels with the real one's gaps, and the
// judgements of its code and, where Latent, of the generator's own (else nil).
// passes asks for what a gradient needs to come back to the generator.
func (b *builder) fake(passes bool) (x, judged, own *G.Node) {
	start := func(n *timegan.Network) []float32 {
		if b.Config.Latent {
			return nil
		}
		return n.Carry
	}
	c := b.toldFake()
	code := b.apply(&b.Generator, false, start(&b.Generator), b.noise(), c)
	h := b.apply(&b.Supervisor, passes, start(&b.Supervisor), code, c)
	x = b.apply(&b.Recovery, passes, start(&b.Recovery), h, c)
	if b.Config.Latent {
		return x, b.discriminate(h, c, passes), b.discriminate(code, c, passes)
	}
	x = must(Linear{
		name: "gaps", in: x.Shape().Clone(), out: x.Shape().Clone(),
		apply:   func(dst, src []float32) { copy(dst, src); b.Fill(dst) },
		adjoint: func(dst, src []float32) { copy(dst, src); b.FillBack(dst) },
	}.Apply(x))
	return x, b.discriminate(b.encode(x, c, passes), c, passes), nil
}

// generator: min over g, s of L_U + γ·L_U(ê) + η·√L_S + moments + terms.
func (b *builder) generator(terms []Term) {
	c := &b.Config
	b.learns = []*timegan.Network{&b.Generator, &b.Supervisor}
	foreseen := b.foreseen(b.encode(b.real(), b.condition(), false), false)
	x, judged, own := b.fake(true)
	adversarial := b.taken(judged, true)
	if own != nil {
		adversarial = sum(adversarial, b.times(c.Gamma, b.taken(own, true)))
	}
	losses := []*G.Node{
		b.report("U", adversarial),
		b.times(c.Eta, b.root(foreseen)),
		b.times(c.Moments, b.report("V", b.moments(x, b.real()))),
	}
	if c.Changes > 0 {
		losses = append(losses, b.times(c.Changes, b.report("C", b.changes(x))))
	}
	if c.Covariances > 0 {
		losses = append(losses, b.times(c.Covariances, b.report("K", b.covariances(x))))
	}
	for i, term := range terms {
		losses = append(losses, checked(i, must(term(Windows{Real: b.real(), Generated: x}))))
	}
	b.cost = sum(losses...)
}

// discriminator: max over d of L_U.
func (b *builder) discriminator() {
	b.learns = []*timegan.Network{&b.Discriminator}
	losses := []*G.Node{b.taken(b.discriminate(b.encode(b.real(), b.condition(), false), b.condition(), false), true)}
	_, judged, own := b.fake(false)
	losses = append(losses, b.taken(judged, false))
	if own != nil {
		losses = append(losses, b.times(b.Config.Gamma, b.taken(own, false)))
	}
	b.cost = b.report("D", sum(losses...))
}
