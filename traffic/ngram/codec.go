package ngram

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// A step is one token, the values of all fields that are symbols, sizes, ports
// or addresses together, and one bin for each field that is a gap or a number.
// Token 0 ends a session. Of a size or a port a token has the class where there
// are classes: a common value, or a cell of a grid that others share.
type codec struct {
	schema  traffic.Schema
	exact   []int             // fields of a token
	words   []*seq.Vocabulary // by field of a token; nil: its values as they are
	of      []*seq.Vocabulary // by field of a session, the same
	binned  []int             // fields with bins
	vocab   []float64         // [V, len(exact)], row-major; row 0 is END's zeros
	byValue map[string]int32  // of a row, to its token
	knots   [][]float64       // by binned field: [bins, knotsPerBin], ascending
	uppers  [][]float64       // by binned field: the largest value of each bin
	unseen  float64           // ln of the probability of one token that training had not
}

const (
	end         = 0
	bins        = 48
	knotsPerBin = 9
	unseenShare = 1e-3
)

// isExact reports whether a field is part of the token.
func isExact(k traffic.Kind) bool { return k != traffic.Gap && k != traffic.Number }

func newCodec(c traffic.Schema) *codec {
	d := &codec{schema: c, byValue: map[string]int32{}}
	for i, f := range c.Steps {
		if isExact(f.Kind) {
			d.exact = append(d.exact, i)
		} else {
			d.binned = append(d.binned, i)
		}
	}
	d.vocab = make([]float64, len(d.exact))
	d.words, d.of = make([]*seq.Vocabulary, len(d.exact)), make([]*seq.Vocabulary, len(c.Meta))
	return d
}

// code is what a token has of value x of its field k.
func (d *codec) code(k int, x float64) float64 {
	if w := d.words[k]; w != nil {
		return float64(w.Encode(int64(x)))
	}
	return x
}

// value is the value of a code at a share in [0, 1) of its class, which is only
// asked for where a class has several.
func value(w *seq.Vocabulary, code float64, share func() float64) float64 {
	switch {
	case w == nil:
		return code
	case int(code) < len(w.Exact):
		return float64(w.Exact[int(code)])
	}
	return float64(w.Decode(int32(code), share()))
}

// logShare is ln of the probability that a step's values have in their classes.
func (d *codec) logShare(step []float64) (sum float64) {
	for k, i := range d.exact {
		if w := d.words[k]; w != nil {
			sum += w.LogShare(w.Encode(int64(step[i])), int64(step[i]))
		}
	}
	return sum
}

// appendKey appends the token values of a step as a map's key.
func (d *codec) appendKey(b []byte, step []float64) []byte {
	for k, i := range d.exact {
		b = appendCode(b, d.code(k, step[i]))
	}
	return b
}

func appendCode(b []byte, code float64) []byte {
	v := uint64(code)
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32))
}

// coded reports whether rare values of a kind share cells, since they could give
// away a session: sizes and ports.
func coded(k traffic.Kind) bool { return k == traffic.Size || k == traffic.Port }

// perOctave is how many cells of the grid are a factor of two.
const perOctave = 4

// payload is the field of a token that is a packet's payload, -1 where steps are
// not packets.
func (d *codec) payload() int {
	if d.schema.StepIndex("direction") < 0 {
		return -1
	}
	return slices.Index(d.exact, d.schema.StepIndex("size"))
}

// classes makes the classes of sizes and ports: values that training has often
// times, and cells that rarer ones share.
func (d *codec) classes(src traffic.Source, often int) error {
	steps, meta := make([][]int64, len(d.exact)), make([][]int64, len(d.schema.Meta))
	for n := range src.Len() {
		s, err := src.At(n)
		if err != nil {
			return fmt.Errorf("session %d: %w", n, err)
		}
		if err := d.schema.Valid(&s); err != nil {
			return fmt.Errorf("session %d: %w", n, err)
		}
		for t := range d.schema.Len(&s) {
			for k, i := range d.exact {
				if coded(d.schema.Steps[i].Kind) {
					steps[k] = append(steps[k], int64(d.schema.Step(&s, t)[i]))
				}
			}
		}
		for i, x := range s.Meta {
			if coded(d.schema.Meta[i].Kind) {
				meta[i] = append(meta[i], int64(x))
			}
		}
	}
	for _, part := range []struct {
		values [][]int64
		to     []*seq.Vocabulary
		size   int // the field that is the payload of a packet
	}{{steps, d.words, d.payload()}, {meta, d.of, -1}} {
		for k, v := range part.values {
			if len(v) == 0 {
				continue
			}
			var edges []int64
			if k == part.size {
				edges = traffic.PayloadEdges[:]
			}
			var err error
			if part.to[k], err = seq.NewVocabulary(v, often, perOctave, edges...); err != nil {
				return fmt.Errorf("ngram: %w", err)
			}
		}
	}
	return nil
}

// learn builds the vocabulary and the bins. Above often 1, sizes and ports become
// classes.
func (d *codec) learn(src traffic.Source, often int) error {
	if often > 1 {
		if err := d.classes(src, often); err != nil {
			return err
		}
	}
	values := make([][]float64, len(d.binned))
	var key []byte
	c := &d.schema
	for n := range src.Len() {
		s, err := src.At(n)
		if err != nil {
			return fmt.Errorf("session %d: %w", n, err)
		}
		if err := c.Valid(&s); err != nil {
			return fmt.Errorf("session %d: %w", n, err)
		}
		for t := range c.Len(&s) {
			step := c.Step(&s, t)
			key = d.appendKey(key[:0], step)
			if _, ok := d.byValue[string(key)]; !ok {
				d.byValue[string(key)] = int32(len(d.byValue) + 1)
				for k, i := range d.exact {
					d.vocab = append(d.vocab, d.code(k, step[i]))
				}
			}
			for k, i := range d.binned {
				values[k] = append(values[k], step[i])
			}
		}
	}
	for _, v := range values {
		d.knots = append(d.knots, quantileBins(v))
	}
	d.index()
	return nil
}

// index fills what follows from vocabulary and knots.
func (d *codec) index() {
	w := len(d.exact)
	n := d.tokens()
	d.byValue = make(map[string]int32, n)
	for v := 1; v < n; v++ {
		var key []byte
		for _, code := range d.vocab[v*w:][:w] {
			key = appendCode(key, code)
		}
		d.byValue[string(key)] = int32(v)
	}
	d.uppers = nil
	for _, k := range d.knots {
		var u []float64
		for b := knotsPerBin - 1; b < len(k); b += knotsPerBin {
			u = append(u, k[b])
		}
		d.uppers = append(d.uppers, u)
	}
	// A token that training had not: unseenShare over all that there could be.
	cells := 1.
	for k, i := range d.exact {
		switch f := d.schema.Steps[i]; {
		case d.words[k] != nil:
			cells *= float64(d.words[k].Len())
		case f.Kind == traffic.Symbol:
			cells *= float64(len(f.Levels))
		default:
			cells *= 65536
		}
	}
	d.unseen = math.Log(unseenShare / max(cells-float64(n-1), 1))
}

// tokens counts the vocabulary, END among it.
func (d *codec) tokens() int {
	if len(d.exact) == 0 {
		return 2 // END, and the one token of steps that have bins alone
	}
	return len(d.vocab) / len(d.exact)
}

// token is the token of a step; -1 where training had none such.
func (d *codec) token(key []byte, step []float64) (int32, []byte) {
	if len(d.exact) == 0 {
		return 1, key
	}
	key = d.appendKey(key[:0], step)
	if v, ok := d.byValue[string(key)]; ok {
		return v, key
	}
	return -1, key
}

// bin is the bin of a value of binned field k.
func (d *codec) bin(k int, x float64) int32 {
	u := d.uppers[k]
	return int32(min(sort.SearchFloat64s(u, x), len(u)-1))
}

// inBin is the value at share u of bin b of binned field k, between the
// quantiles of training that the bin holds.
func (d *codec) inBin(k int, b int32, u float64) float64 {
	kn := d.knots[k][int(b)*knotsPerBin:][:knotsPerBin]
	at := u * (knotsPerBin - 1)
	i := min(int(at), knotsPerBin-2)
	return kn[i] + (at-float64(i))*(kn[i+1]-kn[i])
}

// quantileBins cuts values at their quantiles into at most bins bins, equal
// values into one, and keeps knotsPerBin quantiles of each.
func quantileBins(v []float64) []float64 {
	if len(v) == 0 {
		return make([]float64, knotsPerBin)
	}
	slices.Sort(v)
	var out []float64
	from := 0
	for b := 1; b <= bins && from < len(v); b++ {
		to := len(v) * b / bins
		if to <= from {
			continue
		}
		// All values that equal the last one belong to this bin.
		to += sort.Search(len(v)-to, func(i int) bool { return v[to+i] > v[to-1] })
		part := v[from:to]
		for k := range knotsPerBin {
			out = append(out, part[(len(part)-1)*k/(knotsPerBin-1)])
		}
		from = to
	}
	return out
}
