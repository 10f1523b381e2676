// Package autoregressive is a model of traffic that says each step of a session
// given all steps before it: a gated recurrent unit reads the past, categorical
// heads say direction and size, then flags given these, then the gap given both.
//
// It is the learned counterpart of package ngram: same sessions, same
// likelihood, longer memory.
package autoregressive

import (
	"errors"
	"fmt"
	"sync"

	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// Config says what to fit. Zero values are the defaults in the comments.
type Config struct {
	Hidden  int     `toml:"hidden" json:"hidden"`   // units of the recurrent layer; 128
	Updates int     `toml:"updates" json:"updates"` // of the weights; 48 passes over the sessions, 500 at least, 6000 at most
	Rows    int     `toml:"rows" json:"rows"`       // sessions of up to 11 steps in an update, fewer of longer ones; 128
	Window  int     `toml:"window" json:"window"`   // steps through which gradients go back; longer sessions are cut into such; 64
	Rate    float64 `toml:"rate" json:"rate"`       // of AdamW, at its highest; 2e-3
	Dropout float64 `toml:"dropout" json:"dropout"` // share of the past's values that an update hides; 0: none, of Defaults .1
	Often   int     `toml:"often" json:"often"`     // a size has a class of its own if training has it as often; 3
	// MaxSteps is where sessions were cut when they were recorded: one as long
	// has no end to learn from. 0: the longest length, if 2 % of the sessions
	// have it, else none; -1: none.
	MaxSteps int `toml:"max_steps" json:"max_steps"`
}

func (c Config) withDefaults() Config {
	set := func(x *int, d int) {
		if *x == 0 {
			*x = d
		}
	}
	set(&c.Hidden, 128)
	set(&c.Rows, 128)
	set(&c.Window, 64)
	set(&c.Often, 3)
	if c.Rate == 0 {
		c.Rate = 2e-3
	}
	return c
}

func (c Config) training() seq.Training {
	return seq.Training{Updates: c.Updates, Rate: c.Rate, Average: .995}
}

// Check reports the first setting that is out of its range.
func (c Config) Check() error {
	d := c.withDefaults()
	for _, x := range []struct {
		name       string
		v, lo, hi  int
		zeroIsAuto bool
	}{{"hidden", d.Hidden, 1, 4096, false}, {"updates", d.Updates, 1, 1 << 30, true}, {"rows", d.Rows, 1, 1 << 16, false},
		{"window", d.Window, 2, 1 << 16, false}, {"often", d.Often, 2, 1 << 30, false}, {"max_steps", d.MaxSteps, -1, 1 << 30, false}} {
		if (x.v < x.lo || x.v > x.hi) && !(x.zeroIsAuto && x.v == 0) {
			return fmt.Errorf("autoregressive: %s: %d is outside %d…%d", x.name, x.v, x.lo, x.hi)
		}
	}
	if !(d.Rate > 0 && d.Rate <= 1) {
		return fmt.Errorf("autoregressive: rate: %v is outside 0…1", d.Rate)
	}
	if !(d.Dropout >= 0 && d.Dropout < 1) {
		return fmt.Errorf("autoregressive: dropout: %v is not at least 0 and below 1", d.Dropout)
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
	scorers sync.Pool
}

// ErrResume is wrapped by the error of a checkpoint that Fit cannot go on from.
var ErrResume = errors.New("autoregressive: cannot go on from this checkpoint")

// Settings are what the model was fitted with.
func (m *Model) Settings() Config { return m.Config }

// Defaults are the settings that sessions are well learnt with. Updates, which
// depend on the sessions, are 0.
func Defaults() Config {
	c := Config{Dropout: .1}
	return c.withDefaults()
}

// Schema says what is sampled.
func (m *Model) Schema() *traffic.Schema { return &m.codec.Schema }

// Done reports whether training has ended.
func (m *Model) Done() bool { return m.state == nil }

// Parameters is how many numbers were learnt.
func (m *Model) Parameters() int { return m.net.Parameters() }

// network is the sizes of the model of a codec. A step's tokens are the classes
// of the step before, its position, the session's label and meta; its heads are
// the columns, the first with one class more, the session's end.
func network(k *tokens.Codec, hidden int) seq.Config {
	c := seq.Config{Hidden: hidden}
	for i := range k.Steps {
		col := &k.Steps[i]
		dim, size := col.Width(8), col.Len()
		if i == 0 {
			dim = col.Width(64)
		}
		c.Embeddings = append(c.Embeddings, seq.Embedding{Name: col.Name, Size: size, Dim: dim})
		head := seq.Head{Name: col.Name, Size: size}
		if i == 0 {
			head.Size++
		}
		for g := range i {
			if (k.Steps[g].Len()+1)*size <= 1<<18 {
				head.Given = append(head.Given, g)
			}
		}
		c.Heads = append(c.Heads, head)
	}
	c.Embeddings = append(c.Embeddings,
		seq.Embedding{Name: "position", Size: tokens.Positions, Dim: 8},
		seq.Embedding{Name: "label", Size: max(len(k.Schema.Labels), 1), Dim: 24})
	for i := range k.Meta {
		col := &k.Meta[i]
		c.Embeddings = append(c.Embeddings, seq.Embedding{Name: "meta." + col.Name, Size: col.Len(), Dim: col.Width(8)})
	}
	return c
}

// end is the class of the first head that ends a session.
func (m *Model) end() int32 { return int32(m.codec.Steps[0].Len()) }
