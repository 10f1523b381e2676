package report

import (
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry"
)

func TestConstantColumnsAreALine(t *testing.T) {
	set := func(name string, still, other float64) Set {
		s := Set{Name: name, Fields: []telemetry.Field{{Name: "still"}, {Name: "moves"}, {Name: "other"}}}
		for i := range 60 {
			x := still
			if i == 7 {
				x = math.NaN() // not measured is no other value
			}
			s.Values = append(s.Values, x, math.Sin(float64(i)), other)
		}
		return s
	}
	sections, err := Data([]Set{set("real", 3, 1), set("model", 3, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(sections[0].Text, "Constant in every set, and not drawn: still = 3.") {
		t.Error(sections[0].Text)
	}
	var names []string
	for _, f := range sections[0].Figures {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "series-moves series-other" {
		t.Errorf("figures: %s", got)
	}
}
