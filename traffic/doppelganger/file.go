package doppelganger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// Format is the metadata "format" of a file with a model.
const Format = "planegym.doppelganger.v2"

// ErrFormat is wrapped by the error of a file that holds no such model.
var ErrFormat = errors.New("doppelganger: no model of traffic by attributes and series")

// metadata is the part of a file that is not a tensor.
type metadata struct {
	Config    Config      `json:"config"`
	Seed      uint64      `json:"seed"`
	Data      string      `json:"data_sha256"`
	Engine    string      `json:"engine"`
	Updates   int         `json:"updates"`
	Account   Account     `json:"account"`
	Distances [][]float64 `json:"distances,omitempty"`
	Chosen    int         `json:"chosen"`
	Parent    string      `json:"parent_sha256,omitempty"`
	Strange   []Strange   `json:"strange,omitempty"`
	Codec     *codec      `json:"codec"`
	Private   *Private    `json:"private,omitempty"`
}

// Save writes the model to a file that appears whole or not at all. about is
// added to its metadata, for where the data come from.
func (m *Model) Save(path string, about map[string]string) error {
	meta, tensors, err := m.tensors(about)
	if err != nil {
		return err
	}
	return safetensors.WriteFile(path, meta, tensors)
}

// Write is Save to a writer.
func (m *Model) Write(w io.Writer, about map[string]string) error {
	meta, tensors, err := m.tensors(about)
	if err != nil {
		return err
	}
	return safetensors.Write(w, meta, tensors)
}

func (m *Model) tensors(about map[string]string) (map[string]string, []safetensors.Tensor, error) {
	meta, err := safetensors.ModelMetadata(about, Format, "model", metadata{m.Config, m.Seed, m.Data, m.Engine, m.Updates, m.Account, m.Distances, m.Chosen, m.Parent, m.Strange, m.codec, m.private})
	if err != nil {
		return nil, nil, fmt.Errorf("doppelganger: %w", err)
	}
	if m.lm != nil {
		all := m.lm.tensors()
		if m.training != nil {
			all = append(all, m.training()...)
		}
		return meta, all, nil
	}
	tensors := m.nets.tensors("generator.")
	if m.trainer != nil {
		tensors = append(tensors, m.trainer.tensors()...)
		for i, n := range m.candidates {
			tensors = append(tensors, n.tensors("candidate."+strconv.Itoa(i)+".")...)
		}
	}
	return meta, tensors, nil
}

// Open reads what Save wrote. An error that wraps ErrFormat says that the file
// holds no such model.
func Open(path string) (*Model, error) { return safetensors.OpenModel("doppelganger", path, read) }

// Parse is Open of what a file holds.
func Parse(b []byte) (*Model, error) { return safetensors.ParseModel("doppelganger", b, read) }

func read(f *safetensors.File) (*Model, error) {
	var err error
	bad := func(err error) error { return fmt.Errorf("%w: %w", ErrFormat, err) }
	if got := f.Metadata["format"]; got != Format {
		return nil, bad(fmt.Errorf("format is %q, not %q", got, Format))
	}
	var c metadata
	if err := json.Unmarshal([]byte(f.Metadata["model"]), &c); err != nil {
		return nil, bad(err)
	}
	if err := c.Config.Check(); err != nil {
		return nil, bad(err)
	}
	if c.Codec == nil {
		return nil, bad(errors.New("the codec is missing"))
	}
	if err := c.Codec.check(c.Config.Mode); err != nil {
		return nil, bad(err)
	}
	c.Codec.index()
	c.Config.seed = c.Seed
	m := &Model{Config: c.Config, Seed: c.Seed, Data: c.Data, Engine: c.Engine, Updates: c.Updates, Account: c.Account, Distances: c.Distances, Chosen: c.Chosen, Parent: c.Parent, Strange: c.Strange, codec: c.Codec, private: c.Private}
	if c.Updates < 0 || c.Updates > c.Config.Updates {
		return nil, bad(fmt.Errorf("updates: %d of %d", c.Updates, c.Config.Updates))
	}
	if c.Config.Mode == Likelihood {
		if m.lm, err = readLikelihood(m, f); err != nil {
			return nil, bad(err)
		}
		if !m.Done() {
			m.state = f
		}
		return m, nil
	}
	read := func(prefix string) (*networks, error) {
		n := newNetworks(m.codec, m.Config)
		for _, t := range n.tensors(prefix) {
			d := t.Data.([]float32)
			if err := safetensors.Read(f, t.Name, d, t.Shape...); err != nil {
				return nil, bad(err)
			}
			for i, v := range d {
				if v-v != 0 {
					return nil, bad(fmt.Errorf("%s[%d] is %v", t.Name, i, v))
				}
			}
		}
		return n, nil
	}
	if m.nets, err = read("generator."); err != nil {
		return nil, err
	}
	if !m.Done() {
		m.state = f
		for i := range c.Distances {
			n, err := read("candidate." + strconv.Itoa(i) + ".")
			if err != nil {
				return nil, err
			}
			m.candidates = append(m.candidates, n)
		}
	}
	return m, nil
}

// check reports what is wrong with a codec that was read from a file.
func (k *codec) check(mode string) error {
	if err := k.Schema.Check(); err != nil {
		return err
	}
	if k.Series != (mode == Adversarial) {
		return fmt.Errorf("codec: series is %v in mode %s", k.Series, mode)
	}
	if k.Kinds != nil {
		if err := k.Kinds.check(&k.Schema); err != nil {
			return err
		}
	}
	if packets, _ := meanFields(&k.Schema); k.Means && (k.Kinds != nil || packets < 0) {
		return errors.New("codec: means of bytes, of steps that do not have packets and bytes alone")
	}
	k.index0()
	low, steps := len(k.numeric), len(k.other)
	if mode == Likelihood {
		low, steps = 0, len(k.in.Steps)
	}
	switch {
	case k.Chunks < 1 || k.Chunks > 64 || k.Span-k.Span != 0 || k.Chunks > 1 && k.Span <= 0 || k.Longest < 1:
		return fmt.Errorf("codec: %d chunks of %v s, at most %d steps", k.Chunks, k.Span, k.Longest)
	case len(k.Labels) != len(k.Schema.Labels)+1 || len(k.Starts) == 0:
		return fmt.Errorf("codec: %d labels, %d starts", len(k.Labels)-1, len(k.Starts))
	case len(k.Outline) != 0 && (mode != Likelihood || len(k.Outline) != 1+len(k.numeric)):
		return fmt.Errorf("codec: outlines of %d classes in mode %s", len(k.Outline), mode)
	case len(k.Meta) != len(k.Schema.Meta) || len(k.Low) != low || len(k.Range) != low || len(k.Steps) != steps:
		return fmt.Errorf("codec: classes of %d, %d, %d and %d fields", len(k.Meta), len(k.Low), len(k.Range), len(k.Steps))
	}
	total := 0
	for _, n := range k.Labels {
		if n < 0 {
			return fmt.Errorf("codec: a label is in %d sessions", n)
		}
		total += int(n)
	}
	if total == 0 || total > math.MaxInt32 {
		return fmt.Errorf("codec: %d sessions", total)
	}
	if len(k.Places) > len(k.numeric) {
		return fmt.Errorf("codec: places of %d fields", len(k.Places))
	}
	for _, all := range k.Places {
		for i := range all {
			if err := all[i].check(); err != nil {
				return err
			}
		}
	}
	for o, x := range k.Ends {
		if o == 63 || len(x) != 2 || x[0]-x[0] != 0 || x[1]-x[1] != 0 {
			return fmt.Errorf("codec: ends of octave %d are %v", o, x)
		}
	}
	last := 0.
	for i, x := range k.Starts {
		last += x
		if !(x >= 0) || math.IsInf(x, 0) || k.Chunks > 1 && last >= k.Span*float64(k.Chunks) {
			return fmt.Errorf("codec: start %d is %v, of %d chunks of %v s", i, x, k.Chunks, k.Span)
		}
	}
	for _, all := range [][]classes{k.Meta, k.Low, k.Range, k.Outline, k.Steps} {
		for i := range all {
			if err := all[i].check(); err != nil {
				return fmt.Errorf("codec: %w", err)
			}
		}
	}
	// What is drawn must be valid: try the ends of every class.
	for j := range k.Meta {
		if err := k.Meta[j].valid(&k.Schema.Meta[j]); err != nil {
			return err
		}
	}
	for j, f := range k.numeric {
		if k.Series {
			if err := errors.Join(k.Low[j].valid(&k.in.Steps[f]), k.Range[j].valid(&k.in.Steps[f])); err != nil {
				return err
			}
		}
	}
	for j := range k.Outline {
		if err := k.Outline[j].valid(k.outlineField(j)); err != nil {
			return err
		}
	}
	for j := range k.Steps {
		f := j
		if mode != Likelihood {
			f = k.other[j]
		}
		if err := k.Steps[j].valid(&k.in.Steps[f]); err != nil {
			return err
		}
	}
	return nil
}

// valid reports a class whose values the field does not allow.
func (c *classes) valid(f *traffic.Field) error {
	if c.Kind != f.Kind {
		return fmt.Errorf("codec: %s is a %s, its classes are of a %s", f.Name, f.Kind, c.Kind)
	}
	of := traffic.Schema{Steps: []traffic.Field{*f}}
	for class := range c.len() {
		for _, u := range []float64{0, 1 - 0x1p-53} {
			if err := of.Valid(&traffic.Session{Label: -1, Steps: []float64{c.decode(int32(class), u)}}); err != nil {
				return fmt.Errorf("codec: %s: class %d: %w", f.Name, class, err)
			}
		}
	}
	return nil
}
