package eval

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/traffic"
)

// features turns sessions into what forests look at: of each of the first
// steps steps every field, direction and size as they are, gaps and numbers as
// their logarithm; -1 where the session has ended.
type features struct {
	schema    *traffic.Schema
	steps     int
	direction int // field, -1: none
	size      int
	gaps      []int // fields
}

func newFeatures(c *traffic.Schema, steps int) *features {
	f := &features{schema: c, steps: steps, direction: c.StepIndex("direction"), size: c.StepIndex("size")}
	for i, fd := range c.Steps {
		if fd.Kind == traffic.Gap {
			f.gaps = append(f.gaps, i)
		}
	}
	return f
}

func (f *features) of(s *traffic.Session) []float32 {
	w := len(f.schema.Steps)
	x := make([]float32, f.steps*w)
	n := min(f.schema.Len(s), f.steps)
	for t := range f.steps {
		for i, fd := range f.schema.Steps {
			v := -1.
			if t < n {
				v = s.Steps[t*w+i]
				switch fd.Kind {
				case traffic.Gap:
					v = math.Log(v + 1e-6)
				case traffic.Number:
					v = math.Copysign(math.Log1p(math.Abs(v)), v)
				}
			} else if fd.Kind == traffic.Gap || fd.Kind == traffic.Number {
				v = -99
			}
			x[t*w+i] = float32(v)
		}
	}
	return x
}

// token is what of a step is not continuous.
func (f *features) token(step []float64) (key [8]float64) {
	k := 0
	for i, fd := range f.schema.Steps {
		if fd.Kind != traffic.Gap && fd.Kind != traffic.Number && k < len(key) {
			key[k] = step[i]
			k++
		}
	}
	return key
}

// coarse is a token with its sizes by powers of two.
func (f *features) coarse(step []float64) (key [8]float64) {
	k := 0
	for i, fd := range f.schema.Steps {
		if fd.Kind != traffic.Gap && fd.Kind != traffic.Number && k < len(key) {
			key[k] = step[i]
			if fd.Kind == traffic.Size {
				key[k] = math.Floor(math.Log2(step[i] + 1))
			}
			k++
		}
	}
	return key
}

// signed is direction and size as one number: down is negative, and no bytes
// keep their direction.
func (f *features) signed(step []float64) float64 {
	x := step[f.size] + 1
	if f.direction >= 0 && step[f.direction] == 1 {
		x = -x
	}
	return x
}

// pattern is the directions of the first steps.
func (f *features) pattern(s *traffic.Session) string {
	b := make([]byte, 0, f.steps)
	for t := range min(f.schema.Len(s), f.steps) {
		b = append(b, '0'+byte(f.schema.Step(s, t)[f.direction]))
	}
	return string(b)
}

// content is label and tokens of a session: what a copy has in common.
func (f *features) content(s *traffic.Session) string {
	b := fmt.Appendf(nil, "%d", s.Label)
	for t := range f.schema.Len(s) {
		for i, fd := range f.schema.Steps {
			if fd.Kind != traffic.Gap && fd.Kind != traffic.Number {
				b = fmt.Appendf(b, " %d", int64(f.schema.Step(s, t)[i]))
			}
		}
	}
	return string(b)
}
