package denoise

import (
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/rates"
)

// codec puts a series' values on scales that noise can be added to, two
// channels a field: whether something is sent, -1 or 1, and how much, the
// quantile among values above 0 from -1 to 1, 0 where nothing is.
type codec struct {
	Schema traffic.Schema `json:"schema"`
	Ticks  int            `json:"ticks"`
	Labels []int32        `json:"labels"` // series of each, those without a label first
	Fields []rates.Scale  `json:"fields"` // by field
	Active []float64      `json:"active"` // by field: share of its values above 0
}

// channels is how many numbers a tick has.
func (k *codec) channels() int { return 2 * len(k.Fields) }

// newCodec fits a codec to series of one length.
func newCodec(c Config, set *traffic.Set) (*codec, error) {
	k := &codec{Schema: set.Of, Labels: make([]int32, len(set.Of.Labels)+1)}
	if len(set.Of.Meta) > 0 || set.Of.Tick <= 0 {
		return nil, fmt.Errorf("denoise: these are sessions with %d fields of their own and a tick of %v s: expected series, which have a tick and values per tick alone (planegym traffic convert --series makes them)", len(set.Of.Meta), set.Of.Tick)
	}
	for _, f := range set.Of.Steps {
		if f.Kind != traffic.Size && f.Kind != traffic.Number && f.Kind != traffic.Gap {
			return nil, fmt.Errorf("denoise: %s is a %s: expected numbers", f.Name, f.Kind)
		}
	}
	if set.Len() == 0 {
		return nil, fmt.Errorf("denoise: there is no series to learn from")
	}
	values := make([][]float64, len(set.Of.Steps))
	for i := range set.Sessions {
		s := &set.Sessions[i]
		n := set.Of.Len(s)
		if i == 0 {
			k.Ticks = n
		}
		if n != k.Ticks || n == 0 {
			return nil, fmt.Errorf("denoise: session %d has %d steps, session 0 has %d: expected series of one length", i, n, k.Ticks)
		}
		k.Labels[s.Label+1]++
		for j, x := range s.Steps {
			if x < 0 {
				return nil, fmt.Errorf("denoise: session %d: %s: %v is negative", i, set.Of.Steps[j%len(values)].Name, x)
			}
			if x > 0 {
				values[j%len(values)] = append(values[j%len(values)], x)
			}
		}
	}
	for j, v := range values {
		k.Fields = append(k.Fields, rates.NewScale(v, set.Of.Steps[j].Kind, c.Common))
		k.Active = append(k.Active, float64(len(v))/float64(set.Len()*k.Ticks))
	}
	return k, nil
}

// encode is where value x of a field is on the scales.
func (k *codec) encode(field int, x float64) (sent, much float64) {
	if x <= 0 {
		return -1, 0
	}
	return 1, 2*k.Fields[field].Place(x) - 1
}

// decode is encode's way back.
func (k *codec) decode(field int, sent, much float64) float64 {
	if sent < 0 {
		return 0
	}
	return k.Fields[field].Amount((much+1)/2, k.Schema.Steps[field].Kind)
}

func (k *codec) check() error {
	if err := k.Schema.Check(); err != nil {
		return err
	}
	if k.Ticks < 1 || k.Ticks > 1<<16 || len(k.Labels) != len(k.Schema.Labels)+1 || len(k.Fields) != len(k.Schema.Steps) || len(k.Active) != len(k.Fields) || len(k.Schema.Meta) > 0 {
		return fmt.Errorf("codec: %d ticks, %d labels, %d fields", k.Ticks, len(k.Labels)-1, len(k.Fields))
	}
	total := int32(0)
	for _, n := range k.Labels {
		if n < 0 || total > 1<<30 {
			return fmt.Errorf("codec: labels %v", k.Labels)
		}
		total += n
	}
	if total == 0 {
		return fmt.Errorf("codec: no series had a label or none")
	}
	for j, q := range k.Fields {
		if err := q.Check(k.Schema.Steps[j].Kind); err != nil {
			return fmt.Errorf("codec: field %d: %w", j, err)
		}
	}
	return nil
}
