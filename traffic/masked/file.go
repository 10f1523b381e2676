package masked

import (
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
const Format = "planegym.masked.v1"

// ErrFormat is wrapped by the error of a file that holds no such model.
var ErrFormat = errors.New("masked: no masked model of traffic")

type settings struct {
	Config  Config        `json:"config"`
	Seed    uint64        `json:"seed"`
	Codec   *tokens.Codec `json:"codec"`
	Longest int           `json:"longest"`
	Lengths [][]int32     `json:"lengths"`
	Data    string        `json:"data"`
	Engine  string        `json:"engine"`
	Updates int           `json:"updates"`
	Loss    float64       `json:"loss"`
	Done    bool          `json:"done"`
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
	meta, err := safetensors.ModelMetadata(about, Format, "model", settings{m.Config, m.Seed, m.codec, m.census.Longest, m.lengths, m.Data, m.Engine, m.Updates, m.Loss, m.Done()})
	if err != nil {
		return nil, nil, fmt.Errorf("masked: %w", err)
	}
	all := append(m.net.Tensors("network."), m.census.Tensors()...)
	if m.state != nil {
		all = append(all, m.state.State("state.")...)
	}
	return meta, append(all, masks("allowed", m.allowed), masks("sides", m.sides), masks("first", m.first)), nil
}

// masks are the classes of labels and columns as a tensor of label, column and
// class.
func masks(name string, of [][][]bool) safetensors.Tensor {
	var flat []int32
	for l := range of {
		for k := range of[l] {
			for c, ok := range of[l][k] {
				if ok {
					flat = append(flat, int32(l), int32(k), int32(c))
				}
			}
		}
	}
	return safetensors.Tensor{Name: name, Shape: []int{len(flat) / 3, 3}, Data: flat}
}

// Open reads what Save wrote. An error that wraps ErrFormat says that the file
// holds no such model.
func Open(path string) (*Model, error) { return safetensors.OpenModel("masked", path, read) }

// Parse is Open of what a file holds.
func Parse(b []byte) (*Model, error) { return safetensors.ParseModel("masked", b, read) }

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
	m := &Model{Config: c.Config, Seed: c.Seed, Data: c.Data, Engine: c.Engine, Updates: c.Updates, Loss: c.Loss, codec: c.Codec, lengths: c.Lengths}
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
	if m.census, err = m.codec.ReadCensus(f, 0, c.Longest); err != nil {
		return nil, bad("%w", err)
	}
	if err := m.checkLengths(); err != nil {
		return nil, bad("%w", err)
	}
	labels := len(m.codec.Schema.Labels) + 1
	if m.allowed, err = m.readMasks(f, "allowed", labels); err != nil {
		return nil, bad("%w", err)
	}
	for _, x := range []struct {
		name   string
		into   *[][][]bool
		labels int
	}{{"sides", &m.sides, 2 * labels}, {"first", &m.first, labels}} { // files of an earlier version have neither
		if _, ok := f.Info(x.name); ok {
			if *x.into, err = m.readMasks(f, x.name, x.labels); err != nil {
				return nil, bad("%w", err)
			}
		}
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

func (m *Model) checkLengths() error {
	if labels := len(m.codec.Schema.Labels) + 1; len(m.lengths) != labels {
		return fmt.Errorf("lengths of %d labels, not %d", len(m.lengths), labels)
	}
	for l, of := range m.lengths {
		if !slices.IsSorted(of) || len(of) > 0 && of[0] < 0 || len(of) > 256 {
			return fmt.Errorf("lengths of label %d: %v", l-1, of)
		}
	}
	return nil
}

// readMasks reads what masks wrote: of every label that has one, a class of each
// column at least.
func (m *Model) readMasks(f *safetensors.File, name string, labels int) ([][][]bool, error) {
	info, ok := f.Info(name)
	if !ok || len(info.Shape) != 2 || info.Shape[1] != 3 {
		return nil, fmt.Errorf("tensor %s is missing or of shape %v", name, info.Shape)
	}
	flat := make([]int32, 3*info.Shape[0])
	if err := safetensors.Read(f, name, flat, info.Shape...); err != nil {
		return nil, err
	}
	of := make([][][]bool, labels)
	for x := range slices.Chunk(flat, 3) {
		if x[0] < 0 || int(x[0]) >= labels || x[1] < 0 || int(x[1]) >= len(m.codec.Steps) || x[2] < 0 || int(x[2]) >= m.codec.Steps[x[1]].Len() {
			return nil, fmt.Errorf("%s: row %d, column %d, class %d", name, x[0], x[1], x[2])
		}
		if of[x[0]] == nil {
			of[x[0]] = m.nothing()
		}
		of[x[0]][x[1]][x[2]] = true
	}
	for l, cols := range of {
		for k := range cols {
			if !slices.Contains(cols[k], true) {
				return nil, fmt.Errorf("%s: row %d has no class of column %d", name, l, k)
			}
		}
	}
	return of, nil
}
