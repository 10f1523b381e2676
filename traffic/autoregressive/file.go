package autoregressive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	meta, err := safetensors.ModelMetadata(about, Format, "model", settings{m.Config, m.Seed, m.codec, m.census.MaxSteps, m.census.Longest, m.Data, m.Engine, m.Updates, m.Loss, m.Done()})
	if err != nil {
		return nil, nil, fmt.Errorf("autoregressive: %w", err)
	}
	all := m.net.Tensors("network.")
	if m.state != nil {
		all = append(all, m.state.State("state.")...)
	}
	return meta, append(all, m.census.Tensors()...), nil
}

// Open reads what Save wrote. An error that wraps ErrFormat says that the file
// holds no such model.
func Open(path string) (*Model, error) { return safetensors.OpenModel("autoregressive", path, read) }

// Parse is Open of what a file holds.
func Parse(b []byte) (*Model, error) { return safetensors.ParseModel("autoregressive", b, read) }

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
	m := &Model{Config: c.Config, Seed: c.Seed, Data: c.Data, Engine: c.Engine, Updates: c.Updates, Loss: c.Loss, codec: c.Codec}
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
	if m.census, err = m.codec.ReadCensus(f, c.MaxSteps, c.Longest); err != nil {
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
