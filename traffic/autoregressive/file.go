package autoregressive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
)

// Format is the metadata "format" of a file with a model.
const Format = "planegym.autoregressive.v1"

// ErrFormat is wrapped by the error of a file that holds no such model.
var ErrFormat = errors.New("autoregressive: no autoregressive model of traffic")

type settings struct {
	Config   Config        `json:"config"`
	Seed     uint64        `json:"seed"`
	Codec    *tokens.Codec `json:"codec"`
	MaxSteps int           `json:"max_steps"`
	Longest  int           `json:"longest"`
	Data     string        `json:"data"`
	Engine   string        `json:"engine"`
	Updates  int           `json:"updates"`
	Loss     float64       `json:"loss"`
	Done     bool          `json:"done"`
}

// Save writes the model, with the state of its training where that has not
// ended, to a file that appears whole or not at all. about is added to its
// metadata, for where the data come from.
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
	text, err := json.Marshal(settings{m.Config, m.Seed, m.codec, m.maxSteps, m.longest, m.Data, m.Engine, m.Updates, m.Loss, m.Done()})
	if err != nil {
		return nil, nil, fmt.Errorf("autoregressive: %w", err)
	}
	meta := map[string]string{}
	for k, v := range about {
		meta[k] = v
	}
	meta["format"], meta["model"] = Format, string(text)
	all := m.net.Tensors("network.")
	if m.state != nil {
		all = append(all, m.state.State("state.")...)
	}
	w := 2 + len(m.codec.Meta)
	kinds := make([]int32, 0, len(m.kinds)*w)
	for _, k := range m.kinds {
		kinds = append(append(kinds, k.count), k.tokens...)
	}
	return meta, append(all,
		safetensors.Tensor{Name: "kinds", Shape: []int{len(m.kinds), w}, Data: kinds},
		safetensors.Tensor{Name: "starts", Shape: []int{len(m.starts)}, Data: m.starts}), nil
}

// Open reads what Save wrote. An error that wraps ErrFormat says that the file
// holds no such model.
func Open(path string) (*Model, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, fmt.Errorf("autoregressive: %w", err)
	}
	defer f.Close()
	m, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Parse is Open of what a file holds.
func Parse(b []byte) (*Model, error) {
	f, err := safetensors.New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("autoregressive: %w", err)
	}
	return read(f)
}

func read(f *safetensors.File) (*Model, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
	}
	if got := f.Metadata["format"]; got != Format {
		return nil, bad("format is %q, not %q", got, Format)
	}
	var c settings
	d := json.NewDecoder(strings.NewReader(f.Metadata["model"]))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, bad("model: %w", err)
	}
	if err := c.Config.Check(); err != nil {
		return nil, bad("%w", err)
	}
	if c.Codec == nil {
		return nil, bad("there is no codec")
	}
	if err := c.Codec.Check(); err != nil {
		return nil, bad("%w", err)
	}
	if c.MaxSteps < 0 || c.Longest < 1 || c.Longest > 1<<30 || c.MaxSteps > 1<<30 {
		return nil, bad("max_steps %d, longest %d", c.MaxSteps, c.Longest)
	}
	m := &Model{Config: c.Config, Seed: c.Seed, Data: c.Data, Engine: c.Engine, Updates: c.Updates, Loss: c.Loss,
		codec: c.Codec, maxSteps: c.MaxSteps, longest: c.Longest}
	sizes := network(m.codec, c.Config.Hidden)
	if err := sizes.Check(); err != nil {
		return nil, bad("%w", err)
	}
	if info, ok := f.Info("network.embedding.position"); !ok || len(info.Shape) != 2 {
		return nil, bad("there is no network")
	}
	var err error
	if m.net, err = seq.New(sizes, 0); err != nil {
		return nil, bad("%w", err)
	}
	if err := m.net.Load(f, "network."); err != nil {
		return nil, bad("%w", err)
	}
	if err := m.readKinds(f); err != nil {
		return nil, bad("%w", err)
	}
	if !c.Done {
		be := compute.NewBackend(compute.Go, 1)
		if m.state, err = seq.NewTrainer(m.net, be, m.Config.training()); err != nil {
			return nil, bad("%w", err)
		}
		if err := m.state.Restore(f, "state."); err != nil {
			return nil, bad("%w", err)
		}
	}
	return m, nil
}

func (m *Model) readKinds(f *safetensors.File) error {
	info, ok := f.Info("kinds")
	w := 2 + len(m.codec.Meta)
	if !ok || len(info.Shape) != 2 || info.Shape[0] < 1 || info.Shape[1] != w {
		return fmt.Errorf("tensor kinds is missing or of shape %v", info.Shape)
	}
	flat := make([]int32, info.Shape[0]*w)
	if err := safetensors.Read(f, "kinds", flat, info.Shape...); err != nil {
		return err
	}
	for row := range slices.Chunk(flat, w) {
		k := kind{row[1:], row[0]}
		if k.count < 1 || k.tokens[0] < -1 || int(k.tokens[0]) >= len(m.codec.Schema.Labels) {
			return fmt.Errorf("kinds: %d sessions of label %d", k.count, k.tokens[0])
		}
		for i, t := range k.tokens[1:] {
			if col := &m.codec.Meta[i]; t < 0 || int(t) >= col.Len() {
				return fmt.Errorf("kinds: class %d of %s, which has %d", t, col.Name, col.Len())
			}
		}
		m.kinds = append(m.kinds, k)
	}
	m.sort()
	if info, ok = f.Info("starts"); !ok || len(info.Shape) != 1 || info.Shape[0] < 1 {
		return fmt.Errorf("tensor starts is missing or of shape %v", info.Shape)
	}
	m.starts = make([]float64, info.Shape[0])
	if err := safetensors.Read(f, "starts", m.starts, info.Shape...); err != nil {
		return err
	}
	for i, x := range m.starts {
		if !(x >= 0) || x > 1e12 {
			return fmt.Errorf("starts[%d] is %v s", i, x)
		}
	}
	return nil
}
