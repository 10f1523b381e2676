package timegan

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
)

// EpisodeSeconds is how long a generated sequence lasts in training, on
// average, before it starts anew: an hour, as the recordings.
const EpisodeSeconds = 3600

// trainer does the updates of the three phases (section 4.3 and algorithm 1
// of the paper's supplement), in the order of the authors' code.
type trainer struct {
	be    *compute.Backend
	c     Config
	data  Windows
	nets  [networkCount]*network
	batch batch
	cells []bool                  // [T,B,F], was measured
	codes []bool                  // [T,B,H], of a second in which something was
	z     []float32               // [T,B,Z]
	cond  []float32               // [T,B,C], conditions of generated windows
	clock []float32               // [B], their next second, carried
	carry [networkCount][]float32 // [L,B,H], hidden states carried by generated windows
	phase Phase

	objective Objective

	// One application each: real data, and generated ones.
	embed, recover, super, discReal         *pass
	generate, next, render, again, discFake *pass
	discOwn                                 *pass     // of the generator's own code, where Latent
	filled                                  []float32 // [T,B,F] generated channels with the real batch's gaps
	dH, dX, dS, dY                          []float32
	deltaX, deltaReal, dDelta               []float32 // [T-1,B,F], changes
	unit, unitReal, dUnit                   []float32 // [T,B,F], on the scale of the real
	mean, sd                                []float32 // [F]
	products, realProducts                  []float32 // [F,F]
}

func newTrainer(be *compute.Backend, c Config, d Windows) *trainer {
	t := &trainer{c: c, data: d, be: be}
	f, v, T, B, h := d.Channels(), d.Bits, d.Length, c.Batch, c.Hidden
	for i, s := range c.sizes(f, v) {
		t.nets[i] = newNetwork(s, c.LearningRate)
		t.carry[i] = make([]float32, s.Layers*B*h)
	}
	k := c.conditions()
	t.batch = batch{make([]float32, T*B*f), make([]float32, T*B*v), make([]float32, T*B*k)}
	t.cells, t.codes = make([]bool, T*B*f), make([]bool, T*B*h)
	t.z, t.cond, t.clock = make([]float32, T*B*c.Noise), make([]float32, T*B*k), make([]float32, B)
	t.filled = make([]float32, T*B*f)
	t.dH, t.dX, t.dS, t.dY = make([]float32, T*B*h), make([]float32, T*B*f), make([]float32, T*B*h), make([]float32, T*B)
	n := (T - 1) * B * f
	t.deltaX, t.deltaReal, t.dDelta = make([]float32, n), make([]float32, n), make([]float32, n)
	pass := func(n int) *pass { return newPass(be, t.nets[n], T, B) }
	t.embed, t.recover, t.super, t.discReal = pass(embedder), pass(recovery), pass(supervisor), pass(discriminator)
	t.generate, t.next, t.render, t.again, t.discFake = pass(generator), pass(supervisor), pass(recovery), pass(embedder), pass(discriminator)
	t.unit, t.unitReal, t.dUnit = make([]float32, T*B*f), make([]float32, T*B*f), make([]float32, T*B*f)
	t.mean, t.sd = make([]float32, f), make([]float32, f)
	t.products, t.realProducts = make([]float32, f*f), make([]float32, f*f)
	if c.Latent {
		t.discOwn = pass(discriminator)
	} else {
		t.generate.h0, t.next.h0, t.render.h0 = t.carry[generator], t.carry[supervisor], t.carry[recovery]
	}
	t.objective = &fused{trainer: t}
	return t
}

// join writes the rows of parts, of the widths given, beside each other.
func join(dst []float32, rows int, parts ...part) {
	width := 0
	for _, p := range parts {
		width += p.width
	}
	at := 0
	for _, p := range parts {
		for row := range rows {
			copy(dst[row*width+at:row*width+at+p.width], p.x[row*p.width:])
		}
		at += p.width
	}
}

type part struct {
	x     []float32
	width int
}

// take adds the first width columns of src, rows of stride, to dst.
func take(dst, src []float32, width, stride int) {
	for row := range len(dst) / width {
		for i, v := range src[row*stride : row*stride+width] {
			dst[row*width+i] += v
		}
	}
}

func (t *trainer) rows() int { return t.data.Length * t.c.Batch }

func (t *trainer) valid() part { return part{t.batch.valid, t.data.Bits} }

// condition is the condition of a second as a network's input: that of the batch, or of the generated
// windows beside it.
func (t *trainer) condition(cond []float32) part { return part{cond, t.c.conditions()} }

// draw gets a batch of real windows. pick separates the batches of one update.
func (t *trainer) draw(update, pick int, seed uint64) {
	t.data.draw(&t.batch, t.c, seed, uint32(update), uint32(int(t.phase)*4+pick))
	f, v, h := t.data.Channels(), t.data.Bits, t.c.Hidden
	for row := range t.rows() {
		some := false
		for k, b := range t.data.Bit {
			ok := b < 0 || t.batch.valid[row*v+b] == 1
			t.cells[row*f+k] = ok
			some = some || ok
		}
		for k := range h {
			t.codes[row*h+k] = some
		}
	}
}

// encode is H = e(X), the latent codes of the batch.
func (t *trainer) encode() []float32 {
	join(t.embed.x, t.rows(), part{t.batch.x, t.data.Channels()}, t.valid(), t.condition(t.batch.cond))
	return t.embed.forward()
}

// latent runs a network from latent codes and the condition.
func (t *trainer) latent(p *pass, h, cond []float32) []float32 {
	join(p.x, t.rows(), part{h, t.c.Hidden}, t.condition(cond))
	return p.forward()
}

// discriminate runs the discriminator.
func (t *trainer) discriminate(p *pass, h, cond []float32) []float32 {
	join(p.x, t.rows(), part{h, t.c.Hidden}, t.valid(), t.condition(cond))
	return p.forward()
}

// supervised is eq. 9, the mean square of the supervisor's codes s against the
// next ones of h, over seconds in which something was measured. dS and dH, of
// the target, may be nil.
func (t *trainer) supervised(s, h []float32, weight float32, dS, dH []float32) float64 {
	b := t.c.Batch * t.c.Hidden
	n := len(s) - b
	if dS != nil {
		dS = dS[:n]
	}
	if dH != nil {
		dH = dH[b:]
	}
	return nn.MSE(s[:n], h[b:], t.codes[b:], weight, dS, dH)
}

// root makes d, the gradient of loss alone, that of weight·√loss.
func root(weight, loss float64, d []float32) {
	k := float32(weight * .5 / math.Sqrt(max(loss, 1e-12)))
	for i := range d {
		d[i] *= k
	}
}

// autoencode is eq. 7 on the codes h, over measured cells: its loss, and the
// gradient of 10·√loss into the recovery and into dH.
func (t *trainer) autoencode(h []float32) float64 {
	x := t.latent(t.recover, h, t.batch.cond)
	clear(t.dX)
	loss := nn.MSE(x, t.batch.x, t.cells, 1, t.dX, nil)
	root(10, loss, t.dX)
	take(t.dH, t.recover.learnAndPass(t.dX), t.c.Hidden, t.c.Hidden+t.c.conditions())
	return loss
}

// embedding is the gradient of the first phase: min over e, r of 10·√L_R.
func (t *trainer) embedding(l *Losses) {
	h := t.encode()
	clear(t.dH)
	l.R = float32(t.autoencode(h))
	t.embed.learn(t.dH)
}

// supervise is the gradient of the second phase: min over s of L_S.
func (t *trainer) supervise(l *Losses) {
	h := t.encode()
	s := t.latent(t.super, h, t.batch.cond)
	clear(t.dS)
	l.S = float32(t.supervised(s, h, 1, t.dS, nil))
	t.super.learn(t.dS)
}

// joint is an update of the third phase: twice the generator (eq. 11) and the
// embedder (eq. 10), then the discriminator unless it is good already.
func (t *trainer) joint(update int, seed uint64, l *Losses) error {
	for _, n := range t.nets {
		n.adam.LR = t.c.LearningRate * (1 - (1-t.c.FinalRate)*float64(update)/float64(max(t.c.Joint, 1)))
	}
	for k := range 2 {
		t.draw(update, k, seed)
		t.noise(update, k, seed)
		if err := t.objective.Generator(l); err != nil {
			return err
		}
		t.learn(l, generator, supervisor)
		t.objective.GoOn()
		if err := t.objective.Embedder(l); err != nil {
			return err
		}
		t.learn(l, embedder, recovery)
	}
	t.draw(update, 2, seed)
	t.noise(update, 2, seed)
	learns, err := t.objective.Discriminator(l)
	if err != nil {
		return err
	}
	if learns {
		t.learn(l, discriminator)
	}
	t.objective.GoOn()
	return nil
}

// generator is the gradient of min over g, s of L_U + γ·L_U(ê) + η·√L_S +
// moments, on the codes h of real data and the noise in z.
func (t *trainer) generator(h []float32, l *Losses) {
	s := t.latent(t.super, h, t.batch.cond)
	clear(t.dS)
	loss := t.supervised(s, h, 1, t.dS, nil)
	root(t.c.Eta, loss, t.dS)
	t.super.learn(t.dS)

	x := t.fake()
	H, f, v, k := t.c.Hidden, t.data.Channels(), t.data.Bits, t.c.conditions()
	clear(t.dX)
	clear(t.dH)
	clear(t.dY)
	l.S = float32(loss)
	l.V = float32(nn.Moments(x, t.batch.x, t.data.Length, t.c.Batch, f, float32(t.c.Moments), t.dX))
	l.C = float32(t.changes(x))
	l.K = float32(t.covariances(x))
	l.U = float32(nn.BCEWithLogits(t.discFake.y, 1, 1, t.dY))
	take(t.dH, t.discFake.passOn(t.dY), H, H+v+k)
	if !t.c.Latent { // the discriminator saw the codes of x
		take(t.dX, t.again.passOn(t.dH), f, f+v+k)
		t.data.fillGrad(t.dX, t.batch.valid, t.c.Batch)
		clear(t.dH)
	}
	take(t.dH, t.render.passOn(t.dX), H, H+k)
	dOwn := t.dS // free by now
	clear(dOwn)
	take(dOwn, t.next.learnAndPass(t.dH), H, H+k)
	if t.c.Latent {
		clear(t.dY)
		l.U += float32(t.c.Gamma * nn.BCEWithLogits(t.discOwn.y, 1, float32(t.c.Gamma), t.dY))
		take(dOwn, t.discOwn.passOn(t.dY), H, H+v+k)
	}
	t.generate.learn(dOwn)
}

// embedder is the gradient of min over e, r of 10·√L_R + 0.1·L_S.
func (t *trainer) embedder(h []float32, l *Losses) {
	clear(t.dH)
	clear(t.dS)
	l.R = float32(t.autoencode(h))
	s := t.latent(t.super, h, t.batch.cond)
	t.supervised(s, h, .1, t.dS, t.dH)
	take(t.dH, t.super.passOn(t.dS), t.c.Hidden, t.c.Hidden+t.c.conditions())
	t.embed.learn(t.dH)
}

// discriminator is the gradient of max over d of L_U, unless its loss is below
// the threshold: then it reports false.
func (t *trainer) discriminator(h []float32, l *Losses) bool {
	t.fake()
	one := func(p *pass, label float32, weight float64, learn bool) float64 {
		if !learn {
			return weight * nn.BCEWithLogits(p.y, label, 0, nil)
		}
		clear(t.dY)
		loss := nn.BCEWithLogits(p.y, label, float32(weight), t.dY)
		p.learn(t.dY)
		return loss
	}
	t.discriminate(t.discReal, h, t.batch.cond)
	all := func(learn bool) float64 {
		loss := one(t.discReal, 1, 1, learn) + one(t.discFake, 0, 1, learn)
		if t.c.Latent {
			loss += one(t.discOwn, 0, t.c.Gamma, learn)
		}
		return loss
	}
	loss := all(false)
	l.D = float32(loss)
	if loss < t.c.Threshold {
		return false
	}
	all(true)
	return true
}

// noise fills z and cond for an update: example i draws from (seed, update,
// i). Where windows go on, clock and hidden states do, until, on average after
// an hour, a sequence starts anew.
func (t *trainer) noise(update, k int, seed uint64) {
	c, B, T := &t.c, t.c.Batch, t.data.Length
	C := c.conditions()
	for i := range B {
		key := rng.Key{Seed: seed, A: uint32(3*update + k), B: uint32(i), Purpose: rng.Noise}
		fresh := c.Latent || update == 0 && k == 0 || key.Float64(0) < float64(T)/EpisodeSeconds
		if fresh && !c.Latent {
			for n := range t.nets {
				for l := range t.nets[n].Layers {
					clear(t.carry[n][(l*B+i)*c.Hidden:][:c.Hidden])
				}
			}
		}
		if fresh {
			t.clock[i] = float32(key.Intn(math.MaxUint32, max(c.Clock, 1)))
		}
		for s := range T {
			c.noiseAt(t.z[(s*B+i)*c.Noise:][:c.Noise], key, uint32(1+s))
			c.condition(t.cond[(s*B+i)*C:][:C], t.batch.cond[(s*B+i)*C], int(t.clock[i])+s)
		}
		t.clock[i] = float32((int(t.clock[i]) + T) % max(c.Clock, 1))
	}
}

// noiseAt fills one second's numbers from the second-th group of a stream.
func (c *Config) noiseAt(z []float32, key rng.Key, second uint32) {
	pairs := uint32(len(z)+1) / 2
	for j := 0; j < len(z); j += 2 {
		a, b := key.Normal(second*pairs + uint32(j/2))
		z[j] = float32(a)
		if j+1 < len(z) {
			z[j+1] = float32(b)
		}
	}
}

// fake generates a batch, gives it the real one's gaps, and runs the discriminator on it. It
// gives the channels.
func (t *trainer) fake() []float32 {
	join(t.generate.x, t.rows(), part{t.z, t.c.Noise}, t.condition(t.cond))
	own := t.generate.forward()
	h := t.latent(t.next, own, t.cond)
	x := t.latent(t.render, h, t.cond)
	if t.c.Latent {
		t.discriminate(t.discOwn, own, t.cond)
		t.discriminate(t.discFake, h, t.cond)
		return x
	}
	copy(t.filled, x)
	t.data.fill(t.filled, t.batch.valid, t.c.Batch)
	join(t.again.x, t.rows(), part{t.filled, t.data.Channels()}, t.valid(), t.condition(t.cond))
	t.discriminate(t.discFake, t.again.forward(), t.cond)
	return t.filled
}

// goOn keeps the hidden states that the next generated windows begin with.
func (t *trainer) goOn() {
	if t.c.Latent {
		return
	}
	for _, p := range []*pass{t.generate, t.next, t.render} {
		p.run.Last(p.h0)
	}
}

// learn makes a step of Adam (Kingma and Ba 2015, β 0.9 and 0.999, ε 10⁻⁸) for
// networks, and clears their gradients. If any gradient is NaN or Inf, no network
// is updated; Losses.At names the tensor.
func (t *trainer) learn(l *Losses, networks ...int) {
	for _, i := range networks {
		if at := slices.IndexFunc(t.nets[i].grad, func(g float32) bool { return g-g != 0 }); at >= 0 && l.At == "" {
			l.At = t.tensorAt(i, at)
		}
	}
	for _, i := range networks {
		if l.At == "" {
			t.nets[i].adam.Step(t.be, t.nets[i].Params().Data, t.nets[i].grad)
		}
		clear(t.nets[i].grad)
	}
}

// tensorAt names the tensor that a number of a network belongs to.
func (t *trainer) tensorAt(network, at int) string {
	for _, x := range tensors(network, t.nets[network].Params()) {
		if at < len(x.Data) {
			return x.Name
		}
		at -= len(x.Data)
	}
	panic("timegan: no tensor there")
}

// run does updates from…from+steps-1 of a phase.
func (t *trainer) run(ctx context.Context, ph Phase, from, steps int, seed uint64, losses []Losses) (int, error) {
	if int(ph) >= len(phases) || from < 0 || steps < 0 || len(losses) < steps {
		return 0, fmt.Errorf("timegan: run of phase %v, updates %d+%d, %d losses", ph, from, steps, len(losses))
	}
	if from == 0 { // each phase has an optimiser of its own
		for _, n := range t.nets {
			n.adam.T, n.adam.LR = 0, t.c.LearningRate
			clear(n.adam.M)
			clear(n.adam.V)
		}
	}
	t.phase = ph
	for i := range steps {
		if err := ctx.Err(); err != nil {
			return i, err
		}
		l := &losses[i]
		*l = Losses{}
		var err error
		switch ph {
		case Embedding:
			t.draw(from+i, 0, seed)
			err = t.objective.Embedding(l)
			t.learn(l, embedder, recovery)
		case Supervised:
			t.draw(from+i, 0, seed)
			err = t.objective.Supervised(l)
			t.learn(l, supervisor)
		case Joint:
			err = t.joint(from+i, seed, l)
		}
		if err != nil {
			return i, fmt.Errorf("timegan: %v phase, update %d: %w", ph, from+i, err)
		}
		if l.At != "" {
			return i, &DivergedError{ph, from + i, l.At}
		}
	}
	return steps, nil
}

// DivergedError says that training met NaN or Inf, and where first.
type DivergedError struct {
	Phase  Phase
	Update int
	Tensor string // whose gradient
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("timegan: %v phase, update %d: the gradient of %s is not finite", e.Phase, e.Update, e.Tensor)
}
