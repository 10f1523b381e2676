// Package traffic defines sessions of network traffic, their schema, and the
// interface of models that sample them.
//
// Captures and flow records become sessions of actions (package flows,
// netflow), a model learns them and samples new ones, and package compile
// makes legal packets of what was sampled.
package traffic

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
)

// Session is one thing that traffic is made of: a flow, an application's
// session, a window of telemetry. Nothing is padded.
type Session struct {
	Label int       // index in Schema.Labels; -1: none
	Start float64   // s since the trace began
	Meta  []float64 // [len(Schema.Meta)]
	Steps []float64 // [n, len(Schema.Steps)], row-major
}

// Kind says how a field behaves, so that a codec can be fitted to it.
type Kind uint8

// The kinds of fields. A value is always a float64; Symbol, Port and Address
// hold whole numbers.
const (
	Symbol  Kind = iota // index in Levels, no order
	Number              // continuous
	Size                // bytes: whole, not negative; exact values that are common matter
	Gap                 // s since the step before, heavy-tailed, not negative
	Port                // 0…65535: exact where well known, else ephemeral
	Address             // popularity rank within the trace from 0, never the address itself
)

// PayloadEdges are the sizes from which payload does not fit a packet of
// Ethernet's 1,500 bytes any more: of TCP and of UDP over IPv4 without options.
// Models that draw a rare size from a range of sizes let ranges end there, so
// that none is drawn too large because another is.
var PayloadEdges = [...]int64{1500 - 40 + 1, 1500 - 28 + 1}

var kindNames = []string{"symbol", "number", "size", "gap", "port", "address"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText writes a kind's name.
func (k Kind) MarshalText() ([]byte, error) {
	if int(k) >= len(kindNames) {
		return nil, fmt.Errorf("traffic: kind %d is unknown", uint8(k))
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kindNames, string(text))
	if i < 0 {
		return fmt.Errorf("traffic: kind %q is not one of %q", text, kindNames)
	}
	*k = Kind(i)
	return nil
}

// Field is one number of a session or of a step.
type Field struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit,omitempty"`
	Kind   Kind     `json:"kind"`
	Levels []string `json:"levels,omitempty"` // of a Symbol
}

// Schema says what the numbers of sessions are.
type Schema struct {
	Meta   []Field  `json:"meta"`
	Steps  []Field  `json:"steps"`
	Labels []string `json:"labels,omitempty"`
	Tick   float64  `json:"tick,omitempty"` // s between steps; > 0: a series
}

// Len counts the steps of s.
func (c *Schema) Len(s *Session) int {
	if len(c.Steps) == 0 {
		return 0
	}
	return len(s.Steps) / len(c.Steps)
}

// Step is a view of step i of s, [len(Steps)].
func (c *Schema) Step(s *Session, i int) []float64 {
	w := len(c.Steps)
	return s.Steps[i*w : (i+1)*w : (i+1)*w]
}

// StepIndex is the index of the step field of a name, -1 where there is none.
func (c *Schema) StepIndex(name string) int { return index(c.Steps, name) }

// MetaIndex is the index of the session's field of a name, -1 where there is none.
func (c *Schema) MetaIndex(name string) int { return index(c.Meta, name) }

// Packets are the indices of the step fields of packets: direction, "up" or "down",
// size and gap. An error names the field that a schema lacks or has as another kind.
func (c *Schema) Packets() (direction, size, gap int, err error) {
	for _, f := range []struct {
		name string
		kind Kind
		at   *int
	}{{"direction", Symbol, &direction}, {"size", Size, &size}, {"gap", Gap, &gap}} {
		*f.at = c.StepIndex(f.name)
		switch i := *f.at; {
		case i < 0:
			return 0, 0, 0, fmt.Errorf("steps have no field %q: they are not packets", f.name)
		case c.Steps[i].Kind != f.kind:
			return 0, 0, 0, fmt.Errorf("%s is a %s, not a %s: steps are not packets", f.name, c.Steps[i].Kind, f.kind)
		}
	}
	if levels := c.Steps[direction].Levels; !slices.Equal(levels, []string{"up", "down"}) {
		return 0, 0, 0, fmt.Errorf("direction has the levels %q, not \"up\" and \"down\": steps are not packets", levels)
	}
	return direction, size, gap, nil
}

func index(f []Field, name string) int {
	return slices.IndexFunc(f, func(f Field) bool { return f.Name == name })
}

// LabelName is the name of a session's label, "" for -1.
func (c *Schema) LabelName(label int) string {
	if label < 0 || label >= len(c.Labels) {
		return ""
	}
	return c.Labels[label]
}

// Equal reports whether two schemas say the same.
func (c *Schema) Equal(o *Schema) bool { return c.Difference(o) == "" }

// Difference is the first difference of c from o, as a phrase; "" where they are equal.
func (c *Schema) Difference(o *Schema) string {
	for _, part := range []struct {
		of   string
		a, b []Field
	}{{"meta", c.Meta, o.Meta}, {"steps", c.Steps, o.Steps}} {
		for i := range max(len(part.a), len(part.b)) {
			switch {
			case i >= len(part.b):
				return fmt.Sprintf("%s: field %s is new", part.of, part.a[i].Name)
			case i >= len(part.a):
				return fmt.Sprintf("%s: field %s is missing", part.of, part.b[i].Name)
			}
			switch a, b := part.a[i], part.b[i]; {
			case a.Name != b.Name:
				return fmt.Sprintf("%s: field %d is %s, not %s", part.of, i, a.Name, b.Name)
			case a.Kind != b.Kind:
				return fmt.Sprintf("%s: %s is a %s, not a %s", part.of, a.Name, a.Kind, b.Kind)
			case a.Unit != b.Unit:
				return fmt.Sprintf("%s: the unit of %s is %q, not %q", part.of, a.Name, a.Unit, b.Unit)
			case !slices.Equal(a.Levels, b.Levels):
				return fmt.Sprintf("%s: the levels of %s are %q, not %q", part.of, a.Name, a.Levels, b.Levels)
			}
		}
	}
	switch {
	case !slices.Equal(c.Labels, o.Labels):
		return fmt.Sprintf("the labels are %q, not %q", c.Labels, o.Labels)
	case c.Tick != o.Tick:
		return fmt.Sprintf("a tick is %v s, not %v s", c.Tick, o.Tick)
	}
	return ""
}

// Check reports the first thing wrong with a schema, naming the field.
func (c *Schema) Check() error {
	for _, part := range []struct {
		of string
		f  []Field
	}{{"meta", c.Meta}, {"steps", c.Steps}} {
		for i, f := range part.f {
			at := fmt.Sprintf("traffic: schema: %s[%d]", part.of, i)
			switch {
			case f.Name == "":
				return fmt.Errorf("%s has no name", at)
			case index(part.f[:i], f.Name) >= 0:
				return fmt.Errorf("%s: there are two fields %q", at, f.Name)
			case int(f.Kind) >= len(kindNames):
				return fmt.Errorf("%s: %s: kind %d is unknown", at, f.Name, f.Kind)
			case (f.Kind == Symbol) != (len(f.Levels) > 0):
				return fmt.Errorf("%s: %s: a %s with %d levels: symbols have levels, others have none", at, f.Name, f.Kind, len(f.Levels))
			}
			if name, ok := twice(f.Levels); ok {
				return fmt.Errorf("%s: %s: there are two levels %q", at, f.Name, name)
			}
		}
	}
	name, two := twice(c.Labels)
	switch {
	case two:
		return fmt.Errorf("traffic: schema: there are two labels %q", name)
	case len(c.Steps) == 0:
		return errors.New("traffic: schema: steps have no field")
	case !(c.Tick >= 0) || math.IsInf(c.Tick, 0):
		return fmt.Errorf("traffic: schema: tick: %v s is not finite and at least 0", c.Tick)
	}
	return nil
}

// twice is the first name that is there already.
func twice(names []string) (string, bool) {
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		if seen[n] {
			return n, true
		}
		seen[n] = true
	}
	return "", false
}

// Valid reports the first value of s that its schema does not allow, naming
// field and step.
func (c *Schema) Valid(s *Session) error {
	switch {
	case s.Label < -1 || s.Label >= len(c.Labels):
		return fmt.Errorf("traffic: label %d: the schema has %d", s.Label, len(c.Labels))
	case !(s.Start >= 0) || math.IsInf(s.Start, 0):
		return fmt.Errorf("traffic: start: %v s is not finite and at least 0", s.Start)
	case len(s.Meta) != len(c.Meta):
		return fmt.Errorf("traffic: %d meta values for %d fields", len(s.Meta), len(c.Meta))
	case len(c.Steps) == 0 || len(s.Steps)%len(c.Steps) != 0:
		return fmt.Errorf("traffic: %d step values are not a multiple of %d fields", len(s.Steps), len(c.Steps))
	}
	for i := range c.Meta {
		if what := c.Meta[i].fault(s.Meta[i]); what != "" {
			return fmt.Errorf("traffic: meta %s: %v %s", c.Meta[i].Name, s.Meta[i], what)
		}
	}
	for i, x := range s.Steps {
		f := &c.Steps[i%len(c.Steps)]
		if what := f.fault(x); what != "" {
			return fmt.Errorf("traffic: step %d: %s: %v %s", i/len(c.Steps), f.Name, x, what)
		}
	}
	return nil
}

// fault is what is wrong with a value, "" for nothing.
func (f *Field) fault(x float64) string {
	whole := func(low, high float64) string {
		if x >= low && x <= high && x == math.Trunc(x) {
			return ""
		}
		return fmt.Sprintf("is not a whole number from %v to %v", low, high)
	}
	switch f.Kind {
	case Symbol:
		if what := whole(0, float64(len(f.Levels)-1)); what != "" {
			return what + fmt.Sprintf(": levels are %q", f.Levels)
		}
	case Size:
		return whole(0, 1<<53)
	case Port:
		return whole(0, 65535)
	case Address:
		return whole(0, 1<<32)
	case Gap:
		if !(x >= 0) || math.IsInf(x, 0) {
			return "is not finite and at least 0"
		}
	default:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return "is not finite"
		}
	}
	return ""
}

// Source is sessions to learn from or to compare with. At may read a file; it
// is safe for concurrent use. A caller does not write to what At returns.
type Source interface {
	Schema() *Schema
	Len() int
	At(i int) (Session, error)
}

// Set is a Source in memory.
type Set struct {
	Of       Schema
	Sessions []Session
}

// Schema says what the sessions' numbers are.
func (s *Set) Schema() *Schema { return &s.Of }

// Len counts the sessions.
func (s *Set) Len() int { return len(s.Sessions) }

// At is session i.
func (s *Set) At(i int) (Session, error) {
	if i < 0 || i >= len(s.Sessions) {
		return Session{}, fmt.Errorf("traffic: session %d of %d", i, len(s.Sessions))
	}
	return s.Sessions[i], nil
}

// Halves are every second session, from the first on, and the others.
func (s *Set) Halves() (a, b *Set) {
	a, b = &Set{Of: s.Of}, &Set{Of: s.Of}
	for i, x := range s.Sessions {
		if i%2 == 0 {
			a.Sessions = append(a.Sessions, x)
		} else {
			b.Sessions = append(b.Sessions, x)
		}
	}
	return a, b
}

// Valid reports the first session that its schema does not allow.
func (s *Set) Valid() error {
	if err := s.Of.Check(); err != nil {
		return err
	}
	for i := range s.Sessions {
		if err := s.Of.Valid(&s.Sessions[i]); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	return nil
}

// Load is all of a source in memory, each session valid.
func Load(src Source) (*Set, error) {
	if s, ok := src.(*Set); ok {
		return s, s.Valid()
	}
	s := &Set{Of: *src.Schema(), Sessions: make([]Session, src.Len())}
	for i := range s.Sessions {
		var err error
		if s.Sessions[i], err = src.At(i); err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
	}
	return s, s.Valid()
}

// Merge is several sets of the same fields as one, labels united by name, the
// sessions of each starting where the last session of the one before ended to
// start, later by pause seconds.
func Merge(pause float64, sets ...*Set) (*Set, error) {
	return merge(sets, func(last float64) float64 { return last + pause })
}

// Interleave is several sets of the same fields as one, labels united by name, each
// session at its own time, in the order of starts.
func Interleave(sets ...*Set) (*Set, error) {
	out, err := merge(sets, func(float64) float64 { return 0 })
	if err == nil {
		slices.SortStableFunc(out.Sessions, func(a, b Session) int { return cmp.Compare(a.Start, b.Start) })
	}
	return out, err
}

// merge puts sets one after another, each later than the one before by what later
// gives for the last start of that.
func merge(sets []*Set, later func(last float64) float64) (*Set, error) {
	out := &Set{}
	start := 0.
	for k, s := range sets {
		if k == 0 {
			out.Of = s.Of
			out.Of.Labels = nil
		}
		a, b := out.Of, s.Of
		a.Labels, b.Labels = nil, nil
		if !a.Equal(&b) {
			return nil, fmt.Errorf("traffic: sets 1 and %d have different fields", k+1)
		}
		to := make([]int, len(s.Of.Labels))
		for i, name := range s.Of.Labels {
			if to[i] = slices.Index(out.Of.Labels, name); to[i] < 0 {
				to[i] = len(out.Of.Labels)
				out.Of.Labels = append(out.Of.Labels, name)
			}
		}
		last := 0.
		for _, x := range s.Sessions {
			if x.Label >= 0 {
				x.Label = to[x.Label]
			}
			last = max(last, x.Start)
			x.Start += start
			out.Sessions = append(out.Sessions, x)
		}
		if len(s.Sessions) > 0 {
			start += later(last)
		}
	}
	return out, nil
}

// Collect is what a model samples, in memory.
func Collect(of *Schema, sessions iter.Seq2[Session, error]) (*Set, error) {
	s := &Set{Of: *of}
	for x, err := range sessions {
		if err != nil {
			return nil, err
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s, nil
}

// Hash is the SHA-256 of a source's schema and sessions, in hex: a checkpoint
// of training on one source is refused for another.
func Hash(src Source) (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(src.Schema()); err != nil {
		return "", fmt.Errorf("traffic: %w", err)
	}
	var b []byte
	for i := range src.Len() {
		s, err := src.At(i)
		if err != nil {
			return "", fmt.Errorf("session %d: %w", i, err)
		}
		b = binary.LittleEndian.AppendUint64(b[:0], uint64(s.Label))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s.Steps)))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.Start))
		for _, x := range s.Meta {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		for _, x := range s.Steps {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Model is a fitted generator. Session i of a request depends on the weights,
// the seed, the request's labels, prefix and MaxSteps, and i alone: not on N,
// batch size or threads. A Model is safe for concurrent use.
type Model interface {
	Schema() *Schema
	// Sample yields r.N sessions in order. It ends after the first error, which
	// is ctx's where that is done; an impossible request is an error that wraps
	// ErrRequest, before any session.
	Sample(ctx context.Context, r Request) iter.Seq2[Session, error]
}

// Request is what a model is asked for. Zero values are the defaults in the
// comments.
type Request struct {
	N      int
	Labels []int    // session i has Labels[i mod len]; nil: as often as in training
	Seed   uint64   //
	Prefix *Session // each session begins with its steps, label (where Labels is nil) and meta; nil: none
	// MaxSteps ends a session that is as long; 0: as the model was fitted.
	MaxSteps int
}

// ErrRequest is wrapped by the error of a request that a model cannot serve.
var ErrRequest = errors.New("traffic: impossible request")

// Check reports the first thing of r that no model of a schema can serve.
func (r *Request) Check(c *Schema) error {
	switch {
	case r.N < 0:
		return fmt.Errorf("%w: %d sessions", ErrRequest, r.N)
	case r.MaxSteps < 0:
		return fmt.Errorf("%w: at most %d steps", ErrRequest, r.MaxSteps)
	}
	for _, l := range r.Labels {
		if l < -1 || l >= len(c.Labels) {
			return fmt.Errorf("%w: label %d: the model has %d: %q", ErrRequest, l, len(c.Labels), c.Labels)
		}
	}
	if r.Prefix == nil {
		return nil
	}
	if err := c.Valid(r.Prefix); err != nil {
		return fmt.Errorf("%w: prefix: %w", ErrRequest, err)
	}
	if n := c.Len(r.Prefix); r.MaxSteps > 0 && n > r.MaxSteps {
		return fmt.Errorf("%w: a prefix of %d steps, sessions of at most %d", ErrRequest, n, r.MaxSteps)
	}
	return nil
}
