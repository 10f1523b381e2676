// Package tokens turns the sessions of traffic into classes for internal/seq,
// and classes into sessions.
//
// A step becomes a class for each Column: direction and size are one signed
// number, other integers and symbols one each, gaps and numbers a quantile bin.
// Values that are common have a class of their own; the others share the cells
// of a fixed grid, so that no rare value can be read out of a codec.
package tokens

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// Column is one category of a step, or of a session.
type Column struct {
	Name  string `json:"name"`
	Field int    `json:"field"` // index in the schema's steps, or meta
	// Sign is the field whose two levels are the number's sign, -1: none. Level
	// 1 is negative, and 0 bytes of either sign differ: a value x is x+1 or -x-1.
	Sign       int             `json:"sign"`
	Levels     int             `json:"levels,omitempty"` // of a symbol
	Vocabulary *seq.Vocabulary `json:"vocabulary,omitempty"`
	Bins       *seq.Bins       `json:"bins,omitempty"`
	Integer    bool            `json:"integer,omitempty"` // of bins: values are whole
}

// Len is the number of classes.
func (c *Column) Len() int {
	switch {
	case c.Vocabulary != nil:
		return c.Vocabulary.Len()
	case c.Bins != nil:
		return c.Bins.Len()
	}
	return c.Levels
}

// number is the integer that a vocabulary sees of a row of fields.
func (c *Column) number(row []float64) int64 {
	x := int64(row[c.Field])
	if c.Sign >= 0 {
		if x++; row[c.Sign] == 1 {
			x = -x
		}
	}
	return x
}

// Encode is the class of a row of fields.
func (c *Column) Encode(row []float64) int32 {
	switch {
	case c.Vocabulary != nil:
		return c.Vocabulary.Encode(c.number(row))
	case c.Bins != nil:
		return c.Bins.Encode(row[c.Field])
	}
	return int32(row[c.Field])
}

// Decode puts the value at share u in [0, 1) of a class into a row of fields.
func (c *Column) Decode(class int32, u float64, row []float64) {
	switch {
	case c.Vocabulary != nil:
		x := c.Vocabulary.Decode(class, u)
		if c.Sign >= 0 {
			row[c.Sign] = 0
			if x < 0 {
				row[c.Sign], x = 1, -x
			}
			x = max(x-1, 0)
		}
		row[c.Field] = float64(max(x, 0))
	case c.Bins != nil:
		row[c.Field] = c.Bins.Decode(class, u)
	default:
		row[c.Field] = float64(class)
	}
}

// LogShare is ln of a value's probability within its class; 0 for bins, whose
// classes are what is counted.
func (c *Column) LogShare(class int32, row []float64) float64 {
	if c.Vocabulary != nil {
		return c.Vocabulary.LogShare(class, c.number(row))
	}
	return 0
}

// Codec is the columns of a schema.
type Codec struct {
	Schema traffic.Schema `json:"schema"`
	Steps  []Column       `json:"steps"` // the first is what a session's end is part of
	Meta   []Column       `json:"meta"`
}

// Options say how values become classes. Zero values are the defaults in the
// comments.
type Options struct {
	Often     int // a value seen as often has a class; 3
	PerOctave int // cells a factor of two, of the others; 4
	Bins      int // of gaps and numbers; 48
}

// New fits a codec to sessions, all of which must be valid.
func New(s *traffic.Set, o Options) (*Codec, error) {
	set := func(x *int, d int) {
		if *x == 0 {
			*x = d
		}
	}
	set(&o.Often, 3)
	set(&o.PerOctave, 4)
	set(&o.Bins, 48)
	if o.Often < 2 || o.PerOctave < 1 || o.Bins < 1 {
		return nil, fmt.Errorf("tokens: values of %d occurrences (2 at least), %d cells an octave, %d bins", o.Often, o.PerOctave, o.Bins)
	}
	c := &Codec{Schema: s.Of}
	var steps, metas [][]float64
	for i := range s.Sessions {
		x := &s.Sessions[i]
		metas = append(metas, x.Meta)
		for t := range s.Of.Len(x) {
			steps = append(steps, s.Of.Step(x, t))
		}
	}
	if len(steps) == 0 {
		return nil, errors.New("tokens: no session has a step")
	}
	sign, size := s.Of.StepIndex("direction"), s.Of.StepIndex("size")
	if sign < 0 || size < 0 || len(s.Of.Steps[sign].Levels) != 2 || s.Of.Steps[size].Kind != traffic.Size {
		sign, size = -1, -1
	}
	var late []int // bins come last: they are given the others
	if size >= 0 {
		col, err := fit(s.Of.Steps[size], size, sign, steps, o)
		if err != nil {
			return nil, err
		}
		c.Steps = append(c.Steps, col)
	}
	for i, f := range s.Of.Steps {
		switch {
		case i == sign || i == size:
		case binned(f.Kind):
			late = append(late, i)
		default:
			col, err := fit(f, i, -1, steps, o)
			if err != nil {
				return nil, err
			}
			c.Steps = append(c.Steps, col)
		}
	}
	for _, i := range late {
		col, err := fit(s.Of.Steps[i], i, -1, steps, o)
		if err != nil {
			return nil, err
		}
		c.Steps = append(c.Steps, col)
	}
	for i, f := range s.Of.Meta {
		o := o
		switch o.Bins = min(o.Bins, 16); f.Kind {
		case traffic.Address:
			o.Often, o.PerOctave = math.MaxInt, 1 // ranks by factors of two
		case traffic.Port:
			o.Often = max(o.Often, 8)
		}
		col, err := fit(f, i, -1, metas, o)
		if err != nil {
			return nil, err
		}
		c.Meta = append(c.Meta, col)
	}
	return c, nil
}

func binned(k traffic.Kind) bool { return k == traffic.Gap || k == traffic.Number }

func fit(f traffic.Field, field, sign int, rows [][]float64, o Options) (Column, error) {
	c := Column{Name: f.Name, Field: field, Sign: sign}
	var err error
	switch {
	case f.Kind == traffic.Symbol:
		c.Levels = len(f.Levels)
	case binned(f.Kind):
		values := make([]float64, len(rows))
		for i, r := range rows {
			values[i] = r[field]
		}
		bins := seq.NewBins
		if f.Kind == traffic.Gap {
			bins = seq.NewTailBins
		}
		c.Bins, err = bins(values, o.Bins)
	default:
		values := make([]int64, len(rows))
		var none [2]bool // a step without bytes is of another kind than one with few: it has a class however rare
		for i, r := range rows {
			values[i] = c.number(r)
			if sign >= 0 && r[field] == 0 {
				none[int(r[sign])] = true
			}
		}
		often := min(o.Often, len(values)+1) // as no value is
		for d, there := range none {
			if there {
				values = append(values, slices.Repeat([]int64{int64(1 - 2*d)}, often)...)
			}
		}
		var edges []int64
		if sign >= 0 { // sizes are one more than they are
			for _, bytes := range traffic.PayloadEdges {
				edges = append(edges, bytes+1)
			}
		}
		c.Vocabulary, err = seq.NewVocabulary(values, often, o.PerOctave, edges...)
	}
	if err != nil {
		return c, fmt.Errorf("tokens: %s: %w", f.Name, err)
	}
	return c, nil
}

// Check reports what is wrong with a codec that was read from a file.
func (c *Codec) Check() error {
	if err := c.Schema.Check(); err != nil {
		return err
	}
	if len(c.Steps) == 0 {
		return errors.New("tokens: there is no column of steps")
	}
	for _, part := range []struct {
		cols   []Column
		fields []traffic.Field
	}{{c.Steps, c.Schema.Steps}, {c.Meta, c.Schema.Meta}} {
		seen := make([]bool, len(part.fields))
		for i := range part.cols {
			if err := part.cols[i].check(part.fields, seen); err != nil {
				return fmt.Errorf("tokens: column %s: %w", part.cols[i].Name, err)
			}
		}
		for i, ok := range seen {
			if !ok {
				return fmt.Errorf("tokens: field %s has no column", part.fields[i].Name)
			}
		}
	}
	return nil
}

func (c *Column) check(fields []traffic.Field, seen []bool) error {
	if c.Field < 0 || c.Field >= len(fields) || seen[c.Field] {
		return fmt.Errorf("field %d of %d", c.Field, len(fields))
	}
	seen[c.Field] = true
	f := fields[c.Field]
	if c.Sign != -1 {
		if c.Sign < 0 || c.Sign >= len(fields) || seen[c.Sign] || len(fields[c.Sign].Levels) != 2 || f.Kind != traffic.Size {
			return fmt.Errorf("field %d is no sign", c.Sign)
		}
		seen[c.Sign] = true
	}
	switch {
	case f.Kind == traffic.Symbol:
		if c.Vocabulary != nil || c.Bins != nil || c.Levels != len(f.Levels) {
			return fmt.Errorf("%d classes for levels %q", c.Levels, f.Levels)
		}
	case binned(f.Kind):
		if c.Bins == nil || c.Vocabulary != nil {
			return errors.New("has no bins")
		}
		if err := c.Bins.Check(); err != nil {
			return err
		}
		if lo, _ := c.Bins.Range(0); f.Kind == traffic.Gap && lo < 0 {
			return fmt.Errorf("a gap of %v s", lo)
		}
	default:
		if c.Vocabulary == nil || c.Bins != nil {
			return errors.New("has no vocabulary")
		}
		if err := c.Vocabulary.Check(); err != nil {
			return err
		}
		return c.reach(f)
	}
	return nil
}

// reach reports a vocabulary whose values a field does not allow.
func (c *Column) reach(f traffic.Field) error {
	v, most := c.Vocabulary, int64(1)<<53
	if f.Kind == traffic.Port {
		most = 65536
	} else if f.Kind == traffic.Address {
		most = 1 << 32
	}
	lo, hi := v.Cells[0], v.Cells[len(v.Cells)-1] // hi and most are excluded
	if n := len(v.Exact); n > 0 {
		lo, hi = min(lo, v.Exact[0]), max(hi, v.Exact[n-1]+1)
	}
	least := int64(0)
	if c.Sign >= 0 {
		least = -most
	}
	if lo < least || hi < lo || hi > most {
		return fmt.Errorf("values from %d to %d", lo, hi)
	}
	return nil
}

// MetaTokens puts the classes of a session's label and meta into dst
// [1+len(Meta)]; no label is -1.
func (c *Codec) MetaTokens(label int, meta []float64, dst []int32) {
	dst[0] = int32(label)
	for i := range c.Meta {
		dst[1+i] = c.Meta[i].Encode(meta)
	}
}

// Classes appends the classes of all steps of a session, [n,len(Steps)].
func (c *Codec) Classes(s *traffic.Session, dst []int32) []int32 {
	for t := range c.Schema.Len(s) {
		row := c.Schema.Step(s, t)
		for k := range c.Steps {
			dst = append(dst, c.Steps[k].Encode(row))
		}
	}
	return dst
}

// Width is the dimension of a column's embedding.
func (c *Column) Width(most int) int { return min(max(c.Len(), 2), most) }
