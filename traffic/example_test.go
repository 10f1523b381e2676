package traffic_test

import (
	"fmt"

	"github.com/planegym/planegym/traffic"
)

// Say what sessions hold, and check two of them. A session has a row of numbers
// for each of its steps, as many rows as it needs.
func Example() {
	set := traffic.Set{
		Of: traffic.Schema{
			Meta:   []traffic.Field{{Name: "port", Kind: traffic.Port}},
			Steps:  []traffic.Field{{Name: "size", Unit: "B", Kind: traffic.Size}, {Name: "gap", Unit: "s", Kind: traffic.Gap}},
			Labels: []string{"video", "web"},
		},
		Sessions: []traffic.Session{
			{Label: 0, Meta: []float64{443}, Steps: []float64{1200, 0, 1200, 0.01, 800, 0.02}},
			{Label: 1, Meta: []float64{80}, Steps: []float64{300, 0}},
		},
	}
	for i := range set.Sessions {
		s := &set.Sessions[i]
		fmt.Println(set.Of.LabelName(s.Label), "steps:", set.Of.Len(s), "the last:", set.Of.Step(s, set.Of.Len(s)-1))
	}
	fmt.Println("valid:", set.Valid() == nil)
	set.Sessions[1].Steps[0] = -300
	fmt.Println("with a negative size:", set.Valid() == nil)
	// Output:
	// video steps: 3 the last: [800 0.02]
	// web steps: 1 the last: [300 0]
	// valid: true
	// with a negative size: false
}
