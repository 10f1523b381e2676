package timegan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/telemetry"
)

// Format names our checkpoints in their metadata.
const Format = "planegym.timegan.v1"

// Model is a trained model, or one on its way: what a checkpoint holds.
type Model struct {
	Config Config   `json:"config"`
	Codec  *Codec   `json:"codec"`
	Data   []string `json:"data"`             // hashes of the recordings
	Engine string   `json:"engine"`           // kernel set: equal bytes are promised per set
	Phase  Phase    `json:"phase"`            // of the next update
	Update int      `json:"update"`           // the next one in Phase
	Losses Losses   `json:"losses"`           // of the last update of each kind
	Credit string   `json:"credit,omitempty"` // whose recordings

	Fidelity []Fidelity `json:"fidelity,omitempty"` // measured after training

	Params Params         `json:"-"`
	State  OptimiserState `json:"-"` // nil in a file of weights alone
}

// Fidelity is how far rollouts are from what was recorded, means over the
// columns that vary, medians over rollouts (see package selection).
type Fidelity struct {
	Of   string  `json:"of"` // which seconds
	W1   float64 `json:"W1"`
	KS   float64 `json:"KS"`
	Corr float64 `json:"corr_error"`
	ACF  float64 `json:"acf_error"`
	// What a limit does, of sessions in which limits take turns: see
	// eval.EffectErrors. Nil where the recordings do not say it.
	Exogeneity *float64 `json:"exogeneity_error,omitempty"`
	Effect     *float64 `json:"effect_error,omitempty"`    // s/s
	Transient  *float64 `json:"transient_error,omitempty"` // s/s
	// Floor is what the recorded system would itself be given by as many sessions.
	Floor *EffectFloor `json:"effect_floor,omitempty"`
}

// EffectFloor are the noise floors of the three errors; nil where too few seconds
// or one session give none.
type EffectFloor struct {
	Exogeneity *float64 `json:"exogeneity,omitempty"`
	Effect     *float64 `json:"effect,omitempty"`    // s/s
	Transient  *float64 `json:"transient,omitempty"` // s/s
}

// Effects are the errors in what a limit does, in words.
func (f Fidelity) Effects() string {
	if f.Effect == nil || f.Exogeneity == nil {
		return "what a limit does is not identifiable"
	}
	floor := f.Floor
	if floor == nil {
		floor = &EffectFloor{}
	}
	one := func(what string, x, floor *float64, unit string) string {
		text := fmt.Sprintf("%s error %.3f%s", what, *x, unit)
		if floor != nil {
			text += fmt.Sprintf(" (floor %.3f)", *floor)
		}
		return text
	}
	text := one("exogeneity", f.Exogeneity, floor.Exogeneity, "") + ", " + one("effect", f.Effect, floor.Effect, " s/s")
	if f.Transient != nil {
		text += ", " + one("transient", f.Transient, floor.Transient, " s/s")
	}
	return text
}

// Done says whether training is.
func (m *Model) Done() bool { return int(m.Phase) >= len(phases) }

// Schema names the columns generated: equal for models whose simulations can
// stand for each other.
func (c *Codec) Schema() string {
	h := sha256.New()
	for _, f := range c.Fields() {
		fmt.Fprintf(h, "%q %q\n", f.Name, f.Unit)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Fields are the columns generated.
func (c *Codec) Fields() []telemetry.Field {
	var f []telemetry.Field
	for _, col := range c.Columns {
		f = append(f, telemetry.Field{Name: col.Name, Unit: col.Unit})
	}
	return f
}

// empty is the codec's windows without data, for engines that only simulate.
func (c *Codec) empty() Windows {
	return Windows{Length: 1, Bit: c.bitOf(), Bits: c.Bits, Median: make([]float32, c.Channels)}
}

// Metadata is what a checkpoint of m says of itself.
func (m *Model) Metadata() (map[string]string, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return map[string]string{"format": Format, "model": string(b), "schema": m.Codec.Schema()}, nil
}

func (m *Model) tensors() []safetensors.Tensor {
	var all []safetensors.Tensor
	for _, t := range slices.Concat(m.Params, Params(m.State)) {
		all = append(all, safetensors.Tensor{Name: t.Name, Shape: t.Shape, Data: t.Data})
	}
	return all
}

// WriteFile writes m's checkpoint; path holds the old one or the new one, whole.
func (m *Model) WriteFile(path string) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	return safetensors.WriteFile(path, meta, m.tensors())
}

// Write writes m's checkpoint to w.
func (m *Model) Write(w io.Writer) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	return safetensors.Write(w, meta, m.tensors())
}

// ReadModel reads a checkpoint file. A file that is truncated, damaged, of
// another program or of other sizes is refused, and the error says why.
func ReadModel(path string) (*Model, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := readModel(f)
	if err != nil {
		err = fmt.Errorf("timegan: %s: %w", path, err)
	}
	return m, err
}

// DecodeModel is ReadModel of size bytes that something else holds.
func DecodeModel(r io.ReaderAt, size int64) (*Model, error) {
	f, err := safetensors.New(r, size)
	if err != nil {
		return nil, err
	}
	return readModel(f)
}

func readModel(f *safetensors.File) (*Model, error) {
	if got := f.Metadata["format"]; got != Format {
		return nil, fmt.Errorf("no TimeGAN checkpoint: format is %q, want %q", got, Format)
	}
	m := &Model{}
	d := json.NewDecoder(strings.NewReader(f.Metadata["model"]))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	if err := m.Config.Check(); err != nil {
		return nil, err
	}
	if m.Codec == nil {
		return nil, errors.New("metadata: no codec")
	}
	if err := m.Codec.check(); err != nil {
		return nil, err
	}
	if got, want := f.Metadata["schema"], m.Codec.Schema(); got != want {
		return nil, fmt.Errorf("metadata: schema %q, its columns give %q", got, want)
	}
	m.Params = Params(emptyParams(m.Config, m.Codec.Channels, m.Codec.Bits))
	want := 0
	read := func(all []Tensor) error {
		for _, t := range all {
			if err := safetensors.Read(f, t.Name, t.Data, t.Shape...); err != nil {
				return err
			}
			if i := slices.IndexFunc(t.Data, func(x float32) bool { return x-x != 0 }); i >= 0 {
				return fmt.Errorf("tensor %s holds %v", t.Name, t.Data[i])
			}
		}
		want += len(all)
		return nil
	}
	if err := read(m.Params); err != nil {
		return nil, err
	}
	names := f.Names()
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "state.") }) {
		m.State = emptyState(m.Config, m.Codec.Channels, m.Codec.Bits)
		if err := read(m.State); err != nil {
			return nil, err
		}
	}
	if len(names) != want {
		return nil, fmt.Errorf("%d tensors, want %d", len(names), want)
	}
	return m, nil
}

// check reports a codec that cannot have been fitted.
func (c *Codec) check() error {
	if !(c.Margin >= 0 && c.Margin <= 1) {
		return fmt.Errorf("codec: margin %v is outside 0…1", c.Margin)
	}
	if c.Channels < 1 || c.Channels > 4096 || c.Bits < 0 || c.Bits > c.Channels || c.Levels < 0 || c.Levels > c.Channels || c.Lo > c.Hi {
		return fmt.Errorf("codec: %d channels, %d bits, %d levels, limits %d…%d", c.Channels, c.Bits, c.Levels, c.Lo, c.Hi)
	}
	for _, col := range c.Columns {
		width := 1
		ok := true
		switch col.Kind {
		case Constant:
			continue
		case Continuous:
			ok = len(col.Knots) >= 2 && slices.IsSorted(col.Knots) && col.Fall <= 0 && col.Rise >= 0 && col.Bit >= -1 && col.Bit < c.Bits
		case Categories:
			width = c.Levels
			ok = len(col.Levels) == c.Levels
		default:
			ok = false
		}
		if !ok || col.Channel < 0 || col.Channel+width > c.Channels {
			return fmt.Errorf("codec: column %s: kind %q, channel %d of %d, %d knots, %d levels, bit %d, changes %v…%v", col.Name, col.Kind, col.Channel, c.Channels, len(col.Knots), len(col.Levels), col.Bit, col.Fall, col.Rise)
		}
	}
	return nil
}
