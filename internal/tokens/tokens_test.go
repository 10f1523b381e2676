package tokens

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// flows is sessions of every kind of field, drawn at random: sizes that are
// common and some that are not, ports that are well known and others.
func flows() *traffic.Set {
	s := &traffic.Set{Of: traffic.Schema{
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}, {Name: "port", Kind: traffic.Port}, {Name: "server", Kind: traffic.Address}},
		Steps: []traffic.Field{{Name: "gap", Kind: traffic.Gap}, {Name: "flags", Kind: traffic.Symbol, Levels: []string{"a", "b", "c"}},
			{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size}, {Name: "load", Kind: traffic.Number}},
		Labels: []string{"x"},
	}}
	for i := range 300 {
		k := rng.Key{Seed: 1, A: uint32(i), Purpose: rng.Start}
		x := traffic.Session{Label: i % 2 * -1, Meta: []float64{float64(i % 2), 443, float64(i / 7)}}
		if i%9 == 0 {
			x.Meta[1] = float64(30000 + i)
		}
		for t := range 4 {
			u := uint32(10 * t)
			size := []float64{0, 52, 1460}[k.Intn(u, 3)]
			if k.Float64(u+1) < .1 {
				size = float64(k.Intn(u+2, 9000))
			}
			x.Steps = append(x.Steps, k.Float64(u+3)*k.Float64(u+4), float64(k.Intn(u+5, 3)), float64(k.Intn(u+6, 2)), size, k.Float64(u+7)-.5)
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

// However often a value has to be seen, steps without a byte have their classes,
// and the others none of their own; the codec takes no memory in proportion.
func TestOften(t *testing.T) {
	for _, often := range []int{1201, 1 << 30, math.MaxInt} {
		c, err := New(flows(), Options{Often: often})
		if err != nil {
			t.Fatal(err)
		}
		if exact := c.Steps[0].Vocabulary.Exact; !slices.Equal(exact, []int64{-1, 1}) { // signed, one more than the size
			t.Errorf("%d times: sizes with a class of their own: %v", often, exact)
		}
	}
}

// A row comes back of its classes as a valid one with the same classes; what is
// common comes back exactly.
func TestRoundTrip(t *testing.T) {
	s := flows()
	c, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if c.Steps[0].Name != "size" || c.Steps[0].Sign != 2 || c.Steps[1].Name != "flags" || c.Steps[2].Bins == nil || len(c.Steps) != 4 {
		t.Fatalf("columns %+v", c.Steps)
	}
	for i := range s.Sessions {
		x := &s.Sessions[i]
		back := traffic.Session{Label: x.Label, Meta: make([]float64, 3), Steps: make([]float64, len(x.Steps))}
		about := make([]int32, 4)
		c.MetaTokens(x.Label, x.Meta, about)
		for k := range c.Meta {
			c.Meta[k].Decode(about[1+k], .37, back.Meta)
		}
		classes := c.Classes(x, nil)
		for step := range s.Of.Len(x) {
			for k := range c.Steps {
				c.Steps[k].Decode(classes[step*4+k], .37, s.Of.Step(&back, step))
			}
			was, is := s.Of.Step(x, step), s.Of.Step(&back, step)
			if was[1] != is[1] || was[2] != is[2] || slices.Contains([]float64{0, 52, 1460}, was[3]) && was[3] != is[3] {
				t.Fatalf("%v comes back as %v", was, is)
			}
		}
		if err := s.Of.Valid(&back); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.Classes(&back, nil), classes) {
			t.Fatalf("session %d has other classes when it comes back", i)
		}
		if x.Meta[1] == 443 && back.Meta[1] != 443 || x.Meta[0] != back.Meta[0] {
			t.Fatalf("meta %v comes back as %v", x.Meta, back.Meta)
		}
	}
}

// The probabilities of all values of a class sum to 1.
func TestShares(t *testing.T) {
	c, err := New(flows(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	size := &c.Steps[0]
	mass := make([]float64, size.Len())
	for x := range 16384 {
		for _, d := range []float64{0, 1} {
			row := []float64{0, 0, d, float64(x), 0}
			k := size.Encode(row)
			mass[k] += math.Exp(size.LogShare(k, row))
		}
	}
	for k, m := range mass {
		if math.Abs(m-1) > .15 { // the cell around 0 has an integer that no size is
			t.Errorf("class %d has mass %v", k, m)
		}
	}
}

// What a damaged file may hold is refused, and says why.
func TestCheck(t *testing.T) {
	for name, change := range map[string]func(*Codec){
		"field 9":     func(c *Codec) { c.Steps[1].Field = 9 },
		"no column":   func(c *Codec) { c.Steps = c.Steps[:3] },
		"is no sign":  func(c *Codec) { c.Steps[0].Sign = 0 },
		"classes":     func(c *Codec) { c.Steps[1].Levels = 7 },
		"bins":        func(c *Codec) { c.Steps[2].Bins = nil },
		"a gap of -1": func(c *Codec) { c.Steps[2].Bins.Knots[0] = -1 },
		"vocabulary":  func(c *Codec) { c.Steps[0].Vocabulary = nil },
		"ascend":      func(c *Codec) { v := c.Steps[0].Vocabulary; v.Cells[1] = v.Cells[0] },
		"values from": func(c *Codec) { v := c.Meta[1].Vocabulary; v.Cells[len(v.Cells)-1] = 70000 },
		"schema":      func(c *Codec) { c.Schema.Steps = nil },
	} {
		c, err := New(flows(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(c)
		var d Codec
		if err := json.Unmarshal(text, &d); err != nil || d.Check() != nil {
			t.Fatal(err, d.Check())
		}
		change(&d)
		if err := d.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Weighed by Share, each step that training has counts alike in a pass, whatever
// the lengths of the sessions beside it in a batch.
func TestStepsCountAlike(t *testing.T) {
	var steps []int
	for i := range 500 {
		n := 1 + i%9
		if i%11 == 0 {
			n = 12 + i
		}
		steps = append(steps, n)
	}
	const window, overlap = 64, 8
	s := NewSchedule(steps, 11, window, 128, overlap, 1)
	if len(s.Shapes) < 3 {
		t.Fatalf("%d shapes", len(s.Shapes))
	}
	weight, count := make([]float64, len(s.Shapes)), make([]map[Piece]bool, len(s.Shapes))
	learnt := func(p Piece) int {
		n := min(steps[p.Session]-int(p.From), window)
		if p.From > 0 {
			n -= overlap
		}
		return n
	}
	for u := range s.Batches() {
		k, piece := s.Batch(u)
		weight[k] += float64(s.Shapes[k].Share) // a batch's loss is a mean: all its steps count Share together
		if count[k] == nil {
			count[k] = map[Piece]bool{}
		}
		for row := range s.Shapes[k].Rows {
			count[k][piece(row)] = true
		}
	}
	var each []float64
	for k := range s.Shapes {
		n := 0
		for p := range count[k] {
			n += learnt(p)
		}
		each = append(each, weight[k]/float64(n))
	}
	for k, x := range each {
		if math.Abs(x/each[0]-1) > .01 {
			t.Errorf("a step in batches of %d steps counts %.3f of one in batches of %d", s.Shapes[k].Steps, x/each[0], s.Shapes[0].Steps)
		}
	}
}
