package ngram

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/planegym/planegym/traffic"
)

// A step is one token, the values of all fields that are symbols, sizes, ports
// or addresses together, and one bin for each field that is a gap or a number.
// Token 0 ends a session.
type codec struct {
	schema  traffic.Schema
	exact   []int            // fields of a token
	binned  []int            // fields with bins
	vocab   []float64        // [V, len(exact)], row-major; row 0 is END's zeros
	byValue map[string]int32 // of a row, to its token
	knots   [][]float64      // by binned field: [bins, knotsPerBin], ascending
	uppers  [][]float64      // by binned field: the largest value of each bin
	unseen  float64          // ln of the probability of one token that training had not
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
	return d
}

// appendKey appends the token values of a step as a map's key.
func (d *codec) appendKey(b []byte, step []float64) []byte {
	for _, i := range d.exact {
		v := uint64(step[i])
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32))
	}
	return b
}

// learn builds the vocabulary and the bins.
func (d *codec) learn(src traffic.Source) error {
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
				for _, i := range d.exact {
					d.vocab = append(d.vocab, step[i])
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
	full := make([]float64, len(d.schema.Steps))
	for v := 1; v < n; v++ {
		for k, i := range d.exact {
			full[i] = d.vocab[v*w+k]
		}
		d.byValue[string(d.appendKey(nil, full))] = int32(v)
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
	for _, i := range d.exact {
		switch f := d.schema.Steps[i]; f.Kind {
		case traffic.Symbol:
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
