// Package seq is a sequence model over rows of categories: embeddings and
// numbers of a step into a GRU, categorical heads out of it, trained by
// likelihood. Causal, it samples step by step; bidirectional, it fills masked
// cells. The closed-loop simulator and the traffic models share it.
package seq

import (
	"fmt"

	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
)

// Embedding is a token of every step, given to the network as a row of a
// learnt table [Size,Dim].
type Embedding struct {
	Name      string
	Size, Dim int
}

// Head is a categorical distribution over Size classes. Given lists earlier
// heads of the same step: the class that one of them has adds a learnt row to
// this head's logits, so the columns of a step agree. The joint probability
// of a step is the product over heads, each given those before it.
type Head struct {
	Name  string
	Size  int
	Given []int
}

// Config is the sizes of a model.
type Config struct {
	Embeddings []Embedding
	Dense      int // numbers of a step, beside the tokens
	Hidden     int
	Layers     int // 0 is 1
	// Bidirectional models see the whole sequence at every step: they are for
	// filling what is masked, not for sampling step by step.
	Bidirectional bool
	HeadHidden    int // > 0: a dense tanh layer between the GRU and the heads
	Heads         []Head
}

// Check reports the first thing that is wrong with c.
func (c Config) Check() error {
	switch {
	case c.Dense < 0 || c.Dense+len(c.Embeddings) == 0:
		return fmt.Errorf("seq: a step has %d numbers and %d tokens; it needs an input", c.Dense, len(c.Embeddings))
	case c.Hidden < 1 || c.Hidden > 4096:
		return fmt.Errorf("seq: hidden: %d is outside 1…4096", c.Hidden)
	case c.Layers < 0 || c.Layers > 16 || c.HeadHidden < 0 || c.HeadHidden > 4096:
		return fmt.Errorf("seq: layers %d or head_hidden %d is out of range", c.Layers, c.HeadHidden)
	case len(c.Heads) == 0:
		return fmt.Errorf("seq: there is no head")
	}
	for _, e := range c.Embeddings {
		if e.Size < 1 || e.Size > 1<<20 || e.Dim < 1 || e.Dim > 4096 {
			return fmt.Errorf("seq: embedding %s of %d×%d", e.Name, e.Size, e.Dim)
		}
	}
	for i, h := range c.Heads {
		if h.Size < 1 || h.Size > 1<<20 {
			return fmt.Errorf("seq: head %s has %d classes", h.Name, h.Size)
		}
		for _, g := range h.Given {
			if g < 0 || g >= i {
				return fmt.Errorf("seq: head %s is given head %d, which does not come before it", h.Name, g)
			}
		}
	}
	return nil
}

// In is the number of features of a step that the GRU reads.
func (c Config) In() int {
	n := c.Dense
	for _, e := range c.Embeddings {
		n += e.Dim
	}
	return n
}

// Width is the number of logits of a step.
func (c Config) Width() int {
	n := 0
	for _, h := range c.Heads {
		n += h.Size
	}
	return n
}

// Model is a network with its parameters. Several Runs and Samplers may share
// one.
type Model struct {
	Config
	gru, back *nn.GRU // back reads from the end; nil unless Bidirectional
	head      *nn.MLP
	tables    []*table // of the embeddings, then of what heads are given
	ends      []int    // of the heads' logits in a row
	width     int      // the last of them
	given     [][]int  // by head: indices of tables, in the order of Given
}

// table is an embedding, or what the classes of one head add to another.
type table struct {
	name      string
	size, dim int
	data      []float32
}

// New is a model with parameters drawn from key's seed.
func New(c Config, seed uint64) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.Layers = max(c.Layers, 1)
	m := &Model{Config: c}
	m.width = c.Width()
	m.gru = nn.NewGRU(nn.GRUConfig{In: c.In(), Hidden: c.Hidden, Layers: c.Layers})
	wide := c.Hidden
	if c.Bidirectional {
		m.back, wide = nn.NewGRU(m.gru.GRUConfig), 2*wide
	}
	sizes := []int{wide, c.Width()}
	if c.HeadHidden > 0 {
		sizes = []int{wide, c.HeadHidden, c.Width()}
	}
	m.head = nn.NewMLP(sizes, nn.Tanh, nn.Linear)
	for _, e := range c.Embeddings {
		m.tables = append(m.tables, &table{"embedding." + e.Name, e.Size, e.Dim, make([]float32, e.Size*e.Dim)})
	}
	end := 0
	for _, h := range c.Heads {
		end += h.Size
		m.ends = append(m.ends, end)
		var of []int
		for _, g := range h.Given {
			of = append(of, len(m.tables))
			from := c.Heads[g]
			m.tables = append(m.tables, &table{"given." + h.Name + "." + from.Name, from.Size, h.Size, make([]float32, from.Size*h.Size)})
		}
		m.given = append(m.given, of)
	}
	// A stream per network: nn uses B of the keys, which begin far apart.
	key := func(a uint32) rng.Key { return rng.Key{Seed: seed, A: 1000 + a, Purpose: rng.Init} }
	m.gru.Init(key(0))
	if m.back != nil {
		m.back.Init(key(1))
	}
	m.head.Init(key(2))
	for i, t := range m.tables[:len(c.Embeddings)] { // what heads are given begins at 0
		nn.InitUniform(key(3+uint32(i)), t.data, 1)
	}
	return m, nil
}

// group is parameters that are one slice, and the parts of it that are
// matrices: weight decay is theirs.
type group struct {
	name     string
	data     []float32
	matrices [][]float32
	views    []nn.View
}

// groups are all parameters, in a fixed order.
func (m *Model) groups() []group {
	var all []group
	add := func(name string, p *nn.Params) {
		g := group{name: name, data: p.Data}
		for _, v := range p.Views {
			if len(v.Shape) == 2 {
				g.matrices = append(g.matrices, v.Data)
			}
			g.views = append(g.views, nn.View{Name: name + v.Name, Shape: v.Shape, Data: v.Data})
		}
		all = append(all, g)
	}
	add("gru.", m.gru.Params())
	if m.back != nil {
		add("back.", m.back.Params())
	}
	add("head.", m.head.Params())
	for _, t := range m.tables {
		all = append(all, group{t.name, t.data, [][]float32{t.data}, []nn.View{{Name: t.name, Shape: []int{t.size, t.dim}, Data: t.data}}})
	}
	return all
}

// headGroup is which of the groups the head is; the tables follow it.
func (m *Model) headGroup() int {
	if m.back != nil {
		return 2
	}
	return 1
}

// Parameters is how many there are.
func (m *Model) Parameters() int {
	n := 0
	for _, g := range m.groups() {
		n += len(g.data)
	}
	return n
}

// Tensors are the parameters by name, for a checkpoint. The data are m's own.
func (m *Model) Tensors(prefix string) []safetensors.Tensor {
	var all []safetensors.Tensor
	for _, g := range m.groups() {
		for _, v := range g.views {
			all = append(all, safetensors.Tensor{Name: prefix + v.Name, Shape: v.Shape, Data: v.Data})
		}
	}
	return all
}

// Load reads the parameters that Tensors wrote. A missing tensor, another
// shape or a number that is not finite is an error that names it.
func (m *Model) Load(f *safetensors.File, prefix string) error {
	return load(f, m.Tensors(prefix))
}

func load(f *safetensors.File, tensors []safetensors.Tensor) error {
	for _, t := range tensors {
		data := t.Data.([]float32)
		if err := safetensors.Read(f, t.Name, data, t.Shape...); err != nil {
			return fmt.Errorf("seq: %w", err)
		}
		for i, v := range data {
			if v-v != 0 {
				return fmt.Errorf("seq: tensor %s: element %d is %v", t.Name, i, v)
			}
		}
	}
	return nil
}

// Clone is a copy of m, parameters included.
func (m *Model) Clone() *Model {
	c, err := New(m.Config, 0)
	if err != nil {
		panic(err) // m's Config has been checked
	}
	to := c.groups()
	for i, g := range m.groups() {
		copy(to[i].data, g.data)
	}
	return c
}

// Parts are what a model is made of, for engines that compute it otherwise.
// Everything is the model's own.
type Parts struct {
	GRU    *nn.GRU
	Back   *nn.GRU // reads from the end; nil of a causal model
	Head   *nn.MLP
	Tables [][]float32 // the embeddings' [Size,Dim], then those of what heads are given
	Given  [][]int     // by head: the tables of what it is given, in order
	Ends   []int       // of the heads' logits in a row
	Groups []Group     // of parameters: GRU, perhaps Back, Head, each table
}

// Group is parameters that are one slice; its views, one after another, are all of
// it. Weight decay is of those views that have two dimensions.
type Group struct {
	Name  string
	Data  []float32
	Views []nn.View
}

// Parts gives those of m.
func (m *Model) Parts() Parts {
	p := Parts{GRU: m.gru, Back: m.back, Head: m.head, Given: m.given, Ends: m.ends}
	for _, g := range m.groups() {
		p.Groups = append(p.Groups, Group{g.name, g.data, g.views})
	}
	for _, t := range m.tables {
		p.Tables = append(p.Tables, t.data)
	}
	return p
}

// Row is what a class of the head that is head's Given[given] adds to head's
// logits, [Size]: the model's own memory, which a caller that knows better may
// set while nothing else uses the model.
func (m *Model) Row(head, given, class int) []float32 {
	t := m.tables[m.given[head][given]]
	return t.data[class*t.dim:][:t.dim]
}
