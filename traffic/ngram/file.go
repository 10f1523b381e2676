package ngram

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// Format is the metadata "format" of a file with a model.
const Format = "planegym.ngram.v1"

// ErrFormat is wrapped by the error of a file that holds no such model.
var ErrFormat = errors.New("ngram: no model of traffic by counts")

type settings struct {
	Mode      string         `json:"mode"`
	Order     int            `json:"order"`
	MaxSteps  int            `json:"max_steps"`
	Longest   int            `json:"longest"`
	Condition []int          `json:"condition"`
	Schema    traffic.Schema `json:"schema"`
	// Words and Of are the classes of a token's fields and of a session's, by
	// field; null where values are as they are, missing where all are.
	Words []*seq.Vocabulary `json:"words,omitempty"`
	Of    []*seq.Vocabulary `json:"of,omitempty"`
	Often int               `json:"often,omitempty"` // above 1; missing in files of earlier versions
	// Private says how private the counts are; missing where they are not.
	Private *Private `json:"private,omitempty"`
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
	c := settings{Mode: m.mode, Order: m.order, MaxSteps: m.maxSteps, Longest: m.longest, Condition: m.condition, Schema: m.schema, Often: m.often, Private: m.private}
	if is := func(w *seq.Vocabulary) bool { return w != nil }; slices.ContainsFunc(m.words, is) || slices.ContainsFunc(m.of, is) {
		c.Words, c.Of = m.words, m.of
	}
	meta, err := safetensors.ModelMetadata(about, Format, "config", c)
	if err != nil {
		return nil, nil, fmt.Errorf("ngram: %w", err)
	}
	var tensors []safetensors.Tensor
	add := func(name string, shape []int, data any) {
		tensors = append(tensors, safetensors.Tensor{Name: name, Shape: shape, Data: data})
	}
	ints := func(name string, v []int32) { add(name, []int{len(v)}, v) }
	counts := func(name string, t *table) {
		parent, symbol := t.edges()
		ints(name+".parent", parent)
		ints(name+".edge", symbol)
		ints(name+".first", t.first)
		ints(name+".symbol", t.symbol)
		ints(name+".count", t.count)
	}
	add("vocabulary", []int{len(m.vocab)}, m.vocab)
	counts("steps", m.steps)
	for k, t := range m.bins {
		add("knots."+strconv.Itoa(k), []int{len(m.knots[k])}, m.knots[k])
		counts("bins."+strconv.Itoa(k), t)
	}
	ints("labels", m.labels)
	flat := make([]float64, 0, len(m.metas)*len(m.schema.Meta))
	for _, x := range m.metas {
		flat = append(flat, x...)
	}
	add("meta", []int{len(m.metas), len(m.schema.Meta)}, flat)
	add("starts", []int{len(m.starts)}, m.starts)
	return meta, tensors, nil
}

// Open reads what Save wrote. An error that wraps ErrFormat says that the file
// holds no such model.
func Open(path string) (*Model, error) { return safetensors.OpenModel("ngram", path, read) }

// Parse is Open of what a file holds.
func Parse(b []byte) (*Model, error) { return safetensors.ParseModel("ngram", b, read) }

func read(f *safetensors.File) (*Model, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
	}
	if got := f.Metadata["format"]; got != Format {
		return nil, bad("format is %q, not %q", got, Format)
	}
	var c settings
	if err := json.Unmarshal([]byte(f.Metadata["config"]), &c); err != nil {
		return nil, bad("config: %w", err)
	}
	if err := c.Schema.Check(); err != nil {
		return nil, bad("%w", err)
	}
	if !slices.Contains(Modes, c.Mode) || c.Order < 1 || c.Order > 16 || c.MaxSteps < 0 || c.Longest < 1 {
		return nil, bad("mode %q, order %d, max_steps %d, longest %d", c.Mode, c.Order, c.MaxSteps, c.Longest)
	}
	m := &Model{codec: newCodec(c.Schema), mode: c.Mode, order: c.Order, maxSteps: c.MaxSteps, longest: c.Longest, condition: c.Condition, private: c.Private, often: c.Often}
	if m.often == 0 && c.Words != nil && c.Private == nil {
		m.often = Defaults(c.Mode)().Often
	}
	for _, i := range m.condition {
		if i < 0 || i >= len(c.Schema.Meta) || c.Schema.Meta[i].Kind != traffic.Symbol {
			return nil, bad("condition %d is not a symbol of a session", i)
		}
	}
	if err := m.setClasses(c.Words, c.Of); err != nil {
		return nil, bad("%w", err)
	}
	var fault error
	keep := func(err error) {
		if fault == nil && err != nil {
			fault = bad("%w", err)
		}
	}
	ints := func(name string) []int32 {
		return numbers[int32](f, name, keep)
	}
	floats := func(name string) []float64 {
		v := numbers[float64](f, name, keep)
		for i, x := range v {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				keep(fmt.Errorf("%s[%d] is %v", name, i, x))
			}
		}
		return v
	}
	counts := func(name string, symbols int) *table {
		parent, edge, first, symbol, count := ints(name+".parent"), ints(name+".edge"), ints(name+".first"), ints(name+".symbol"), ints(name+".count")
		if fault != nil {
			return nil
		}
		t, err := restore(symbols, parent, edge, first, symbol, count)
		keep(err)
		return t
	}
	m.vocab = floats("vocabulary")
	if w := len(m.exact); fault == nil && (w > 0 && (len(m.vocab)%w != 0 || len(m.vocab) < 2*w) || w == 0 && len(m.vocab) > 0) {
		keep(fmt.Errorf("a vocabulary of %d values for %d fields", len(m.vocab), w))
	}
	if fault != nil {
		return nil, fault
	}
	for v := 1; len(m.exact) > 0 && v < m.tokens(); v++ {
		s := traffic.Session{Label: -1, Meta: make([]float64, len(c.Schema.Meta)), Steps: make([]float64, len(c.Schema.Steps))}
		for k, i := range m.exact {
			code := m.vocab[v*len(m.exact)+k]
			if w := m.words[k]; w != nil && !(code >= 0 && int(code) < w.Len()) {
				keep(fmt.Errorf("token %d: class %v of %s, which has %d", v, code, c.Schema.Steps[i].Name, w.Len()))
				code = 0
			}
			s.Steps[i] = value(m.words[k], code, none)
		}
		if err := c.Schema.Valid(&s); err != nil {
			keep(fmt.Errorf("token %d: %w", v, err))
		}
	}
	m.steps = counts("steps", m.tokens())
	for k, i := range m.binned {
		v := floats("knots." + strconv.Itoa(k))
		if len(v) == 0 || len(v)%knotsPerBin != 0 || !slices.IsSorted(v) || c.Schema.Steps[i].Kind == traffic.Gap && v[0] < 0 {
			keep(fmt.Errorf("%d knots of %s are no ascending multiple of %d", len(v), c.Schema.Steps[i].Name, knotsPerBin))
		}
		m.knots = append(m.knots, v)
		m.bins = append(m.bins, counts("bins."+strconv.Itoa(k), len(v)/knotsPerBin))
	}
	m.labels = ints("labels")
	flat, w := floats("meta"), len(c.Schema.Meta)
	m.starts = floats("starts")
	if fault == nil && (len(m.labels) == 0 || len(flat) != len(m.labels)*w || len(m.starts) == 0 || slices.Min(m.starts) < 0) {
		keep(fmt.Errorf("%d labels, %d meta values, %d starts", len(m.labels), len(flat), len(m.starts)))
	}
	if fault != nil {
		return nil, fault
	}
	for i, l := range m.labels {
		codes := flat[i*w : (i+1)*w : (i+1)*w]
		s := traffic.Session{Label: int(l), Meta: slices.Clone(codes)}
		for k, of := range m.of {
			if of != nil && !(codes[k] >= 0 && int(codes[k]) < of.Len()) {
				return nil, bad("session %d: class %v of %s, which has %d", i, codes[k], c.Schema.Meta[k].Name, of.Len())
			}
			s.Meta[k] = value(of, codes[k], none)
		}
		if err := c.Schema.Valid(&s); err != nil {
			return nil, bad("session %d: %w", i, err)
		}
		m.metas = append(m.metas, codes)
	}
	m.codec.index()
	m.sort()
	return m, nil
}

// none is the first value of a class.
func none() float64 { return 0 }

// setClasses takes over the classes of a file; a class may hold what its field
// may.
func (d *codec) setClasses(words, of []*seq.Vocabulary) error {
	if words == nil && of == nil {
		return nil
	}
	if len(words) != len(d.words) || len(of) != len(d.of) {
		return fmt.Errorf("classes of %d and %d fields, of %d and %d", len(words), len(of), len(d.words), len(d.of))
	}
	check := func(w *seq.Vocabulary, f *traffic.Field) error {
		if w == nil {
			return nil
		}
		if err := w.Check(); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		most := int64(1) << 53
		if f.Kind == traffic.Port {
			most = 1 << 16
		}
		lo, hi := w.Cells[0], w.Cells[len(w.Cells)-1]
		if n := len(w.Exact); n > 0 {
			lo, hi = min(lo, w.Exact[0]), max(hi, w.Exact[n-1]+1)
		}
		if !coded(f.Kind) && f.Kind != traffic.Address || lo < 0 || hi > most {
			return fmt.Errorf("%s: classes of values from %d to %d", f.Name, lo, hi)
		}
		return nil
	}
	for k, i := range d.exact {
		if err := check(words[k], &d.schema.Steps[i]); err != nil {
			return err
		}
	}
	for i := range d.of {
		if err := check(of[i], &d.schema.Meta[i]); err != nil {
			return err
		}
	}
	d.words, d.of = words, of
	return nil
}

// numbers is a tensor of one or two dimensions.
func numbers[T safetensors.Number](f *safetensors.File, name string, keep func(error)) []T {
	info, ok := f.Info(name)
	if !ok {
		keep(fmt.Errorf("there is no tensor %q", name))
		return nil
	}
	n := 1
	for _, d := range info.Shape {
		n *= d
	}
	v := make([]T, n)
	keep(safetensors.Read(f, name, v, info.Shape...))
	return v
}
