package doppelganger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
)

// trainer is generators, critics and their optimisers.
type trainer struct {
	c      Config
	k      *codec
	be     *compute.Backend
	t      *table
	n      *networks
	d1, d2 *nn.MLP // of attributes, of a window with its attributes
	adam   []*nn.Adam
	avg    *networks // moving average of n
	done   int       // updates
	alone  int       // updates, of the first, that train critics alone

	a1, a2   *attributeRun
	series   *seriesRun
	state    *nn.GRUState
	run1     *nn.MLPRun
	run2     *nn.MLPRun
	gp1, gp2 *nn.GradientPenalty
	x1, x2   []float32 // critics' inputs: real, then generated
	hat      []float32
	y, dy    []float32
	dx       []float32
	dhot     []float32
	grads    [4][]float32 // attributes, series, d1, d2
	real     []int32
	refs     []*windowRef
	live     []int

	private *mechanism // of a private fit: what real sessions are seen through
}

// Losses are of an update.
type Losses struct {
	Attributes, Series float64 // E[D(real)] - E[D(generated)], the distance that each critic sees
	Penalty            float64 // of both
}

func newTrainer(c Config, k *codec, t *table, be *compute.Backend) *trainer {
	r := &trainer{c: c, k: k, be: be, t: t, n: newNetworks(k, c)}
	r.d1 = nn.NewMLP([]int{c.Packing * k.width, c.Critic, c.Critic, 1}, nn.ReLU, nn.Linear)
	r.d2 = nn.NewMLP([]int{r.n.windowWidth(), c.Critic, c.Critic, 1}, nn.ReLU, nn.Linear)
	r.d1.Init(rng.Key{Seed: c.seed, A: 3, Purpose: rng.Init})
	r.d2.Init(rng.Key{Seed: c.seed, A: 4, Purpose: rng.Init})
	for i, p := range r.params() {
		a := nn.NewAdam(len(p.Data), c.Rate)
		a.Beta1, a.Beta2 = .5, .9
		r.adam = append(r.adam, a)
		r.grads[i] = make([]float32, len(p.Data))
	}
	r.avg = r.n.clone()
	b := c.Batch
	r.a1, r.a2 = r.n.newAttributeRun(be, b), r.n.newAttributeRun(be, b)
	r.series = r.n.newSeriesRun(be, b)
	r.state = r.n.series.NewState(be, b)
	r.run1, r.run2 = r.d1.NewRun(be, 2*b), r.d2.NewRun(be, 2*b)
	r.gp1, r.gp2 = nn.NewGradientPenalty(r.d1, be, b), nn.NewGradientPenalty(r.d2, be, b)
	wide := r.n.windowWidth()
	r.x1, r.x2 = make([]float32, 2*b*k.width), make([]float32, 2*b*wide)
	r.hat = make([]float32, b*max(wide, k.width))
	r.dx = make([]float32, b*max(wide, k.width))
	r.dhot = make([]float32, b*k.width)
	r.y, r.dy = make([]float32, 2*b), make([]float32, 2*b)
	r.real, r.refs = make([]int32, b), make([]*windowRef, b)
	return r
}

func (r *trainer) params() []*nn.Params {
	return []*nn.Params{r.n.attributes.Params(), r.n.series.Params(), r.d1.Params(), r.d2.Params()}
}

var trained = []string{"attributes.", "series.", "attribute_critic.", "series_critic."}

// key is of stream s of an update: one of its batches, and what it is for.
func (r *trainer) key(update, s, row int, p rng.Purpose) rng.Key {
	return rng.Key{Seed: r.c.seed, A: uint32(update), B: uint32(s)<<16 | uint32(row), Purpose: p}
}

// The streams of an update's rounds.
const (
	streamAttributes = iota
	streamWindows
	streamMix
	streamWindowIndex
	streams
)

// hot writes a session's attributes as a one-hot vector.
func (k *codec) hot(into []float32, class []int32) {
	clear(into[:k.width])
	at := 0
	for b, n := range k.blocks {
		into[at+int(class[b])] = 1
		at += n
	}
}

// sessions puts a batch of real attributes in front of x1 and draws generated
// ones of the same labels and chunks behind them.
func (r *trainer) sessions(update, stream int) {
	k, b := r.k, r.c.Batch
	for i := range b {
		if r.private != nil {
			k.give(r.a1.class[i*len(k.blocks):], r.private.label(r.key(update, stream, i, rng.BatchOrder)), 0)
			continue
		}
		s := r.key(update, stream, i, rng.BatchOrder).Intn(0, len(r.t.attributes))
		k.hot(r.x1[i*k.width:], r.t.attributes[s])
		copy(r.a1.class[i*len(k.blocks):][:k.given], r.t.attributes[s])
	}
	r.a1.forward(b, func(row int) rng.Key { return r.key(update, stream, row, rng.Noise) })
	copy(r.x1[b*k.width:], r.a1.hot)
}

// windows puts a batch of real windows with their attributes in front of x2
// and generated ones behind them, all at one place of their chunk. Rows whose
// generated session ended before are left out of both; it gives how many are
// in.
func (r *trainer) windows(update, stream int) int {
	k, b, n := r.k, r.c.Batch, r.n
	wide := n.windowWidth()
	index := r.choose(update, stream)
	key := func(row int) rng.Key { return r.key(update, stream, row, rng.Noise) }
	r.a2.forward(b, key)
	for i, w := range r.refs {
		r.a2.force(i, int(w.chunk))
	}
	for call := range r.series.calls {
		for i, w := range r.refs {
			step := int(index)*r.c.Window + call*r.c.Emit
			ck := key(i)
			ck.A ^= uint32(1+call) << 24
			n.input(r.series.x[(call*b+i)*n.series.In:][:n.series.In], r.a2.hot[i*k.width:], w.first, int(w.chunk), step, ck)
		}
	}
	r.live = r.live[:0]
	for i := range b {
		r.live = append(r.live, i)
	}
	var h0 []float32
	if index > 0 {
		h0 = r.roll(int(index), key)
	}
	for i, w := range r.refs {
		r.series.with[i], r.series.order[i] = k.with(r.a2.class[i*len(k.blocks):]), w.first && index == 0
	}
	r.series.forward(h0, key, r.zero)
	for j, i := range r.live {
		if r.private == nil {
			r.window(r.x2[j*wide:][:wide], r.refs[i])
		}
	}
	m := len(r.live)
	for j, i := range r.live {
		row, w := r.x2[(m+j)*wide:][:wide], r.refs[i]
		copy(row, r.a2.hot[i*k.width:][:k.width])
		setPlace(row[k.width:], w.first, int(w.chunk), k.Chunks, int(index)*r.c.Window)
		copy(row[k.width+place:], r.series.out[i*r.c.Window*k.row:][:r.c.Window*k.row])
	}
	return m
}

// choose fills r.refs with a batch of windows at one place of their chunk, which it
// gives, and r.a2 with their labels and chunks. Of a private fit no window is of a
// session: the place and labels are drawn of what is public.
func (r *trainer) choose(update, stream int) (index int32) {
	k := r.k
	first := r.key(update, stream, 0, rng.BatchOrder)
	if r.private != nil {
		index = r.private.index(first)
		for i := range r.refs {
			r.refs[i] = &windowRef{session: -1, first: true, index: index}
			k.give(r.a2.class[i*len(k.blocks):], r.private.label(r.key(update, stream, i, rng.BatchOrder)), 0)
		}
		return index
	}
	index = r.t.windows[first.Intn(1, len(r.t.windows))].index
	of := r.t.byIndex[index]
	for i := range r.refs {
		w := &r.t.windows[of[r.key(update, stream, i, rng.BatchOrder).Intn(0, len(of))]]
		r.refs[i] = w
		copy(r.a2.class[i*len(k.blocks):][:k.given], r.t.attributes[w.session])
	}
	return index
}

// window is what the critic sees of a window.
func (r *trainer) window(row []float32, w *windowRef) {
	k := r.k
	k.hot(row, r.t.attributes[w.session])
	setPlace(row[k.width:], w.first, int(w.chunk), k.Chunks, int(w.index)*r.c.Window)
	row = row[k.width+place:]
	m := copy(row, r.t.steps[w.session][int(w.from)*k.row:int(w.from+w.n)*k.row])
	clear(row[m:])
}

// zero reports whether the range of a generated row's numeric field is 0.
func (r *trainer) zero(row, field int) bool {
	return r.n.flat(r.a2.class[row*len(r.k.blocks):], field)
}

func (n *networks) flat(class []int32, field int) bool {
	c := &n.k.Range[field]
	v := class[n.k.norms+2*field+1]
	return int(v) < len(c.Exact) && c.Exact[v] == 0
}

// roll advances the series generator to a window, without gradients, and
// leaves in r.live the rows whose session has not ended by then.
func (r *trainer) roll(index int, key func(row int) rng.Key) []float32 {
	n, b := r.n, r.c.Batch
	r.state.Reset(nil)
	in, out := make([]float32, b*n.series.In), make([]float32, pad(b*n.series.Out))
	ended := make([]bool, b)
	emit, sizes := n.emitWidth(), r.series.sizes
	for call := range index * r.series.calls {
		for i, w := range r.refs {
			ck := key(i)
			ck.A ^= uint32(128+call%127) << 24
			ck.B ^= uint32(call/127) << 28
			n.input(in[i*n.series.In:][:n.series.In], r.a2.hot[i*r.k.width:], w.first, int(w.chunk), call*r.c.Emit, ck)
		}
		y := out[:b*n.series.Out]
		r.state.Step(nil, in, y)
		n.squash(r.be, y)
		for i := range b {
			ck := key(i)
			ck.A ^= uint32(128+call%127) << 24
			for t := range r.c.Emit {
				p := y[i*n.series.Out+(t+1)*emit-2:][:2]
				ended[i] = ended[i] || draw(p, ck.Float64(uint32(2000+t*len(sizes)+len(sizes)-1))) == 0
			}
		}
	}
	r.live = r.live[:0]
	for i := range b {
		if !ended[i] {
			r.live = append(r.live, i)
		}
		r.state.Hidden(i, r.series.h[i*r.c.Hidden:][:r.c.Hidden])
	}
	return r.series.h
}

// critic updates a critic: real rows in front of x, generated ones behind.
//
//	L = E[D(generated)] - E[D(real)] + P(x̂),  x̂ on the line between the two
func (r *trainer) critic(which, rows int, x []float32, run *nn.MLPRun, gp *nn.GradientPenalty, m *nn.MLP, mix func(row int) rng.Key) (distance, penalty float64) {
	wide := m.Sizes[0]
	y, dy := r.y[:2*rows], r.dy[:2*rows]
	run.Forward(x[:2*rows*wide], y)
	for i := range rows {
		distance += float64(y[i]-y[rows+i]) / float64(rows)
		dy[i], dy[rows+i] = -1/float32(rows), 1/float32(rows)
	}
	grad := r.grads[which]
	clear(grad)
	run.Backward(dy, nil, grad)
	for i := range rows {
		u := float32(mix(i).Float64(0))
		a, b := x[i*wide:][:wide], x[(rows+i)*wide:][:wide]
		for j, h := 0, r.hat[i*wide:][:wide]; j < wide; j++ {
			h[j] = b[j] + u*(a[j]-b[j])
		}
	}
	penalty = gp.Penalty(r.hat[:rows*wide], r.c.Penalty, grad)
	r.step(which)
	return distance, penalty
}

func (r *trainer) step(which int) {
	p := r.params()[which]
	r.adam[which].Step(r.be, p.Data, r.grads[which])
}

// update trains the critics some rounds and the generators once.
func (r *trainer) update() (l Losses, err error) {
	k, b, c := r.k, r.c.Batch, r.c
	u := r.done
	for round := range c.Rounds {
		s := (round + 1) * streams
		if r.private != nil {
			r.private.round(r, u, s)
			continue
		}
		mix := func(stream int) func(row int) rng.Key {
			return func(row int) rng.Key { return r.key(u, s+stream, row, rng.BatchOrder) }
		}
		r.sessions(u, s+streamAttributes)
		var p, q float64
		l.Attributes, p = r.critic(2, b/c.Packing, r.x1, r.run1, r.gp1, r.d1, mix(streamMix))
		if n := r.windows(u, s+streamWindows); n > 0 {
			l.Series, q = r.critic(3, n, r.x2, r.run2, r.gp2, r.d2, mix(streamWindowIndex))
		}
		l.Penalty = p + q
	}
	if r.done < r.alone {
		r.done++
		return l, nil
	}
	// Generators: -E[D1] - E[D2].
	clear(r.grads[0])
	clear(r.grads[1])
	r.sessions(u, streamAttributes)
	rows := b / c.Packing
	ascend := func(m *nn.MLP, run *nn.MLPRun, x []float32, rows int) []float32 {
		wide := m.Sizes[0]
		run.Forward(x[:rows*wide], r.y[:rows])
		for i := range rows {
			r.dy[i] = -1 / float32(rows)
		}
		run.Backward(r.dy[:rows], r.dx[:rows*wide], nil)
		return r.dx[:rows*wide]
	}
	r.a1.backward(ascend(r.d1, r.run1, r.x1[b*k.width:], rows), r.grads[0])
	if n := r.windows(u, streamWindows); n > 0 {
		wide := r.n.windowWidth()
		dx := ascend(r.d2, r.run2, r.x2[n*wide:], n)
		clear(r.dhot)
		dout := r.hat[:b*c.Window*k.row] // spent
		clear(dout)
		for j, i := range r.live {
			copy(r.dhot[i*k.width:][:k.width], dx[j*wide:])
			copy(dout[i*c.Window*k.row:][:c.Window*k.row], dx[j*wide+k.width+place:])
		}
		r.series.backward(dout, r.grads[1], r.zero)
		in := r.n.series.In
		for call := range r.series.calls {
			for i := range b {
				d := r.dhot[i*k.width:][:k.width]
				for j, v := range r.series.dx[(call*b+i)*in:][:k.width] {
					d[j] += v
				}
			}
		}
		r.a2.backward(r.dhot, r.grads[0])
	}
	for i, g := range r.grads {
		if n := nn.Norm(g); n-n != 0 {
			return l, fmt.Errorf("doppelganger: update %d: the gradient of %s is not finite", u, trained[i][:len(trained[i])-1])
		}
	}
	r.step(0)
	r.step(1)
	r.done++
	keep := min(c.Average, float64(r.done)/float64(r.done+9))
	nn.Average(r.avg.attributes.Params().Data, r.n.attributes.Params().Data, keep)
	nn.Average(r.avg.series.Params().Data, r.n.series.Params().Data, keep)
	return l, nil
}

// tensors are all that training goes on from.
func (r *trainer) tensors() []safetensors.Tensor {
	all := append(r.n.tensors("state."), r.avg.tensors("state.average.")...)
	all = append(all, safetensors.Tensor{Name: "state.update", Shape: []int{1}, Data: []int64{int64(r.done)}},
		safetensors.Tensor{Name: "state.attribute_critic", Shape: []int{len(r.d1.Params().Data)}, Data: r.d1.Params().Data},
		safetensors.Tensor{Name: "state.series_critic", Shape: []int{len(r.d2.Params().Data)}, Data: r.d2.Params().Data})
	for i, a := range r.adam {
		all = append(all, safetensors.Tensor{Name: "state.m." + trained[i], Shape: []int{len(a.M)}, Data: a.M},
			safetensors.Tensor{Name: "state.v." + trained[i], Shape: []int{len(a.V)}, Data: a.V},
			safetensors.Tensor{Name: "state.t." + trained[i], Shape: []int{1}, Data: []int64{a.T}})
	}
	return all
}

// restore reads what tensors gave.
func (r *trainer) restore(f *safetensors.File) error {
	for _, t := range r.tensors() {
		var err error
		switch d := t.Data.(type) {
		case []float32:
			err = safetensors.Read(f, t.Name, d, t.Shape...)
		case []int64:
			if err = safetensors.Read(f, t.Name, d, t.Shape...); err == nil {
				switch {
				case d[0] < 0 || t.Name == "state.update" && d[0] > int64(r.c.Updates):
					err = fmt.Errorf("%s is %d", t.Name, d[0])
				case t.Name == "state.update":
					r.done = int(d[0])
				default:
					i := slices.Index(trained, t.Name[len("state.t."):])
					r.adam[i].T = d[0]
				}
			}
		}
		if err != nil {
			return fmt.Errorf("doppelganger: %w", err)
		}
	}
	return nil
}

// ErrResume is wrapped by errors that say why a fit cannot continue a checkpoint.
var ErrResume = errors.New("doppelganger: cannot resume")
