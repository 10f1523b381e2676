// Package masked is a model of traffic that fills sessions in: every step of a
// session begins masked, and a bidirectional network unmasks them a few at a
// time, in random order, until none is left (discrete absorbing diffusion, Austin
// et al. 2021, §3; Sahoo et al. 2024).
//
// It is a class-conditional diffusion over header fields, as NetDiffusion's is
// over pictures of header bits (Jiang et al. 2024); see traffic/DESIGN.md.
package masked

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// Config says what to fit. Zero values are the defaults in the comments.
type Config struct {
	Hidden  int     `toml:"hidden" json:"hidden"`   // units of each direction; 96
	Updates int     `toml:"updates" json:"updates"` // of the weights; 48 passes over the sessions, 500 at least, 6000 at most
	Rows    int     `toml:"rows" json:"rows"`       // sessions of up to 10 steps in an update, fewer of longer ones; 128
	Window  int     `toml:"window" json:"window"`   // steps that an update sees of a session; longer ones are cut into such; 128
	Rate    float64 `toml:"rate" json:"rate"`       // of AdamW, at its highest; 2e-3
	Often   int     `toml:"often" json:"often"`     // a size has a class of its own if training has it as often; 3
	Passes  int     `toml:"passes" json:"passes"`   // in which a session is unmasked; 16
	// Free is the share of sessions that an update sees without their label: what
	// guidance moves away from; 0: none, of Defaults .1.
	Free float64 `toml:"free" json:"free"`
	// Guidance above 0 draws from logits that are further from those without the
	// label (Ho and Salimans 2022); it doubles the cost. 0: none.
	Guidance float64 `toml:"guidance" json:"guidance"`
	// MaxSteps ends sampled sessions; 0: as long as training's, up to 1024.
	MaxSteps int `toml:"max_steps" json:"max_steps"`
}

// longest is the most steps of a session that is sampled.
const longest = 1024

func (c Config) withDefaults() Config {
	set := func(x *int, d int) {
		if *x == 0 {
			*x = d
		}
	}
	set(&c.Hidden, 96)
	set(&c.Rows, 128)
	set(&c.Window, 128)
	set(&c.Often, 3)
	set(&c.Passes, 16)
	if c.Rate == 0 {
		c.Rate = 2e-3
	}
	return c
}

// Defaults are the settings that sessions are well learnt with. Updates, which
// depend on the sessions, are 0.
func Defaults() Config {
	c := Config{Free: .1}
	return c.withDefaults()
}

func (c Config) training() seq.Training {
	return seq.Training{Updates: c.Updates, Rate: c.Rate, Average: .995}
}

// Check reports the first setting that is out of its range.
func (c Config) Check() error {
	d := c.withDefaults()
	for _, x := range []struct {
		name      string
		v, lo, hi int
	}{{"hidden", d.Hidden, 1, 4096}, {"updates", max(d.Updates, min(d.Updates+1, 1)), 1, 1 << 30}, {"rows", d.Rows, 1, 1 << 16}, {"window", d.Window, 2, 1 << 16},
		{"often", d.Often, 2, 1 << 30}, {"passes", d.Passes, 1, 1 << 10}, {"max_steps", d.MaxSteps, 0, longest}} {
		if x.v < x.lo || x.v > x.hi {
			return fmt.Errorf("masked: %s: %d is outside %d…%d", x.name, x.v, x.lo, x.hi)
		}
	}
	switch {
	case !(d.Rate > 0 && d.Rate <= 1):
		return fmt.Errorf("masked: rate: %v is outside 0…1", d.Rate)
	case !(d.Free >= 0 && d.Free < 1):
		return fmt.Errorf("masked: free: %v is not at least 0 and below 1", d.Free)
	case !(d.Guidance >= 0 && d.Guidance <= 100):
		return fmt.Errorf("masked: guidance: %v is outside 0…100", d.Guidance)
	case d.Guidance > 0 && d.Free == 0:
		return errors.New("masked: guidance: without free the model has never seen a session without its label")
	}
	return nil
}

// Model is a fitted model.
type Model struct {
	Config  Config
	Seed    uint64
	Data    string // traffic.Hash of what it was fitted to
	Engine  string // kernels it was fitted with
	Updates int    // done
	Loss    float64

	codec   *tokens.Codec
	net     *seq.Model   // averaged weights, once training has ended
	state   *seq.Trainer // of net; nil once training has ended
	census  *tokens.Census
	lengths [][]int32  // by label+1: steps of training sessions, at most 256, ascending
	allowed [][][]bool // by label+1, column: the classes that training had; nil of a label that it had not
	sides   [][][]bool // the same by 2·(label+1) + direction: one end's identifications are random, the other's count up
	first   [][][]bool // as allowed, of first steps alone: a connection begins with its SYN, without a gap before it
	scorers sync.Pool
}

// ErrResume is wrapped by the error of a checkpoint that Fit cannot go on from.
var ErrResume = errors.New("masked: cannot go on from this checkpoint")

// Schema says what is sampled.
func (m *Model) Schema() *traffic.Schema { return &m.codec.Schema }

// Settings are what the model was fitted with.
func (m *Model) Settings() Config { return m.Config }

// Done reports whether training has ended.
func (m *Model) Done() bool { return m.state == nil }

// Parameters is how many numbers were learnt.
func (m *Model) Parameters() int { return m.net.Parameters() }

// network is the sizes of the model of a codec: a step's tokens are its own
// classes, one more for a mask, its places from both ends, label and meta.
func network(k *tokens.Codec, hidden int) seq.Config {
	c := seq.Config{Hidden: hidden, Bidirectional: true}
	for i := range k.Steps {
		col := &k.Steps[i]
		dim := col.Width(8)
		if i == 0 {
			dim = col.Width(48)
		}
		c.Embeddings = append(c.Embeddings, seq.Embedding{Name: col.Name, Size: col.Len() + 1, Dim: dim})
		head := seq.Head{Name: col.Name, Size: col.Len()}
		for g := range i {
			if k.Steps[g].Len()*col.Len() <= 1<<18 {
				head.Given = append(head.Given, g)
			}
		}
		c.Heads = append(c.Heads, head)
	}
	c.Embeddings = append(c.Embeddings,
		seq.Embedding{Name: "position", Size: tokens.Positions, Dim: 8},
		seq.Embedding{Name: "left", Size: tokens.Positions, Dim: 8},
		seq.Embedding{Name: "label", Size: max(len(k.Schema.Labels), 1), Dim: 24})
	for i := range k.Meta {
		col := &k.Meta[i]
		c.Embeddings = append(c.Embeddings, seq.Embedding{Name: "meta." + col.Name, Size: col.Len(), Dim: col.Width(8)})
	}
	return c
}

// learn counts what of sessions is not the network's.
func (m *Model) learn(s *traffic.Set) {
	labels := len(m.codec.Schema.Labels) + 1
	m.lengths, m.allowed, m.sides, m.first = make([][]int32, labels), make([][][]bool, labels), make([][][]bool, 2*labels), make([][][]bool, labels)
	var all = make([][]int32, labels)
	for i := range s.Sessions {
		x := &s.Sessions[i]
		l := x.Label + 1
		all[l] = append(all[l], int32(s.Of.Len(x)))
		if m.allowed[l] == nil {
			m.allowed[l], m.first[l] = m.nothing(), m.nothing()
		}
		for t, step := range slices.Collect(slices.Chunk(m.codec.Classes(x, nil), len(m.codec.Steps))) {
			side := 2*l + m.codec.Side(step[0])
			if m.sides[side] == nil {
				m.sides[side] = m.nothing()
			}
			for k, v := range step {
				m.allowed[l][k][v], m.sides[side][k][v] = true, true
				if t == 0 {
					m.first[l][k][v] = true
				}
			}
		}
	}
	for l := range all {
		m.lengths[l] = quantiles(all[l], 256)
	}
}

// nothing is no class of any column.
func (m *Model) nothing() [][]bool {
	var all [][]bool
	for k := range m.codec.Steps {
		all = append(all, make([]bool, m.codec.Steps[k].Len()))
	}
	return all
}

// inputs are the tokens of step i of n, whose own are classes (-1: masked),
// given those of label and meta.
func (m *Model) inputs(dst, classes []int32, i, n int, about []int32) {
	cols := len(m.codec.Steps)
	for k, v := range classes {
		if v < 0 {
			v = int32(m.codec.Steps[k].Len())
		}
		dst[k] = v
	}
	dst[cols], dst[cols+1] = tokens.Position(i), tokens.Position(n-1-i)
	copy(dst[cols+2:], about)
}
