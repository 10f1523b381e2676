package denoise

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/planegym/planegym/traffic"
)

// codec puts a series' values on scales that noise can be added to, two
// channels a field: whether something is sent, -1 or 1, and how much, the
// quantile among values above 0 from -1 to 1, 0 where nothing is.
type codec struct {
	Schema traffic.Schema `json:"schema"`
	Ticks  int            `json:"ticks"`
	Labels []int32        `json:"labels"` // series of each, those without a label first
	Fields [][]float64    `json:"fields"` // by field: knots, ascending
	Active []float64      `json:"active"` // by field: share of its values above 0
}

const knots = 64

// channels is how many numbers a tick has.
func (k *codec) channels() int { return 2 * len(k.Fields) }

// coarse is a value that no other series can be known by: eight to a power of
// two.
func coarse(x float64) float64 {
	if x < 8 {
		return math.Round(x)
	}
	f, e := math.Frexp(x)
	return math.Ldexp(math.Round(f*16)/16, e)
}

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
		above := len(v)
		if len(v) == 0 {
			v = []float64{1}
		}
		slices.Sort(v)
		count := map[float64]int{}
		for _, x := range v {
			count[x]++
		}
		var q []float64
		for i := range knots {
			x := v[i*(len(v)-1)/(knots-1)]
			if count[x] < c.Common && set.Of.Steps[j].Kind == traffic.Size {
				x = max(coarse(x), 1)
			}
			q = append(q, x)
		}
		slices.Sort(q)
		k.Fields = append(k.Fields, q)
		k.Active = append(k.Active, float64(above)/float64(set.Len()*k.Ticks))
	}
	return k, nil
}

// encode is where value x of a field is on the scales: the middle of the knots
// that are equal to it.
func (k *codec) encode(field int, x float64) (sent, much float64) {
	if x <= 0 {
		return -1, 0
	}
	q := k.Fields[field]
	a := sort.SearchFloat64s(q, x)
	b := sort.Search(len(q), func(i int) bool { return q[i] > x })
	at := float64(a+b-1) / 2
	if a == b { // between two
		switch {
		case a == 0:
			at = 0
		case a == len(q):
			at = float64(len(q) - 1)
		default:
			at = float64(a-1) + math.Log(x/q[a-1])/math.Log(q[a]/q[a-1])
		}
	}
	return 1, 2*at/float64(len(q)-1) - 1
}

// decode is encode's way back.
func (k *codec) decode(field int, sent, much float64) float64 {
	if sent < 0 {
		return 0
	}
	q := k.Fields[field]
	at := min(max((much+1)/2, 0), 1) * float64(len(q)-1)
	i := min(int(at), len(q)-2)
	if i > 0 && q[i-1] == q[i] || i+2 < len(q) && q[i+1] == q[i+2] {
		at = math.Round(at) // beside a common value there is nothing between
	}
	x := q[i] * math.Pow(q[i+1]/q[i], at-float64(i))
	if k.Schema.Steps[field].Kind == traffic.Size {
		x = max(math.Round(x), 1)
	}
	return x
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
		for i, x := range q {
			if !(x > 0) || math.IsInf(x, 0) || i > 0 && x < q[i-1] {
				return fmt.Errorf("codec: field %d: knot %d is %v", j, i, x)
			}
		}
		if kind := k.Schema.Steps[j].Kind; len(q) < 2 || q[len(q)-1] > 1<<52 || kind != traffic.Size && kind != traffic.Number && kind != traffic.Gap {
			return fmt.Errorf("codec: field %d: %d knots of a %s", j, len(q), kind)
		}
	}
	return nil
}
