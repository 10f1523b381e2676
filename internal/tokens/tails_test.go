package tokens

import (
	"math"
	"testing"

	"github.com/planegym/planegym/traffic"
)

// Gaps above all that a label has are together as likely as the largest of n+1
// draws is the last; what is less likely already, and gaps of other labels, stay.
func TestTails(t *testing.T) {
	s := &traffic.Set{Of: traffic.Schema{
		Labels: []string{"short", "long", "none"},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size},
			{Name: "gap", Kind: traffic.Gap}},
	}}
	const n = 50
	for i := range n {
		gap := .001 * float64(1+i%4)
		s.Sessions = append(s.Sessions,
			traffic.Session{Label: 0, Steps: []float64{0, 100, gap}},
			traffic.Session{Label: 1, Steps: []float64{0, 100, 1000 * gap}})
	}
	c, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	census := c.NewCensus(s, -1)
	for _, census := range []*Census{census, reread(t, c, census)} {
		past := census.Past(c)
		bins := c.Steps[1].Len()
		largest := int(c.Steps[1].Encode([]float64{0, 100, .004}))
		weigh := func(label int32, tail float32) (above float64) {
			past.Begin([]int32{label})
			w := make([]float32, bins)
			for i := range w {
				if w[i] = 1; i > largest {
					w[i] = tail
				}
			}
			past.Weigh(w, 1, []int32{0, -1})
			sum := 0.
			for i, x := range w {
				if sum += float64(x); i > largest {
					above += float64(x)
				}
			}
			return above / sum
		}
		if got := weigh(0, 1); math.Abs(got-1./(n+1)) > 1e-6 {
			t.Errorf("gaps above the largest of %d have probability %v, want 1/%d", n, got, n+1)
		}
		few := float32(1e-6)
		others := float64(bins - largest - 1)
		if got, want := weigh(0, few), others*float64(few)/(float64(largest+1)+others*float64(few)); math.Abs(got-want) > 1e-9 {
			t.Errorf("gaps that were unlikely, %v, have probability %v", want, got)
		}
		for _, label := range []int32{1, 2, -1} {
			if got, want := weigh(label, 1), others/float64(bins); math.Abs(got-want) > 1e-6 {
				t.Errorf("label %d: large gaps have probability %v, want %v", label, got, want)
			}
		}
	}
}
