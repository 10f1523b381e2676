package standings

import (
	"strings"
	"testing"
)

func TestNotes(t *testing.T) {
	r := func(name string, returns ...float64) Row {
		sum := 0.
		for _, x := range returns {
			sum += x
		}
		return Row{Policy: name, Returns: returns, Return: Estimate{Mean: sum / float64(len(returns))}}
	}
	for name, c := range map[string]struct {
		results []Row
		want    []string
	}{
		"apart":                {[]Row{r("fixed:32", 1, 2, 3), r("fixed:64", 11, 12, 13)}, nil},
		"a rule is a constant": {[]Row{r("fixed:32", 1, 2, 3), r("fixed:64", 11, 12, 13), r("threshold", 1, 2, 3)}, []string{"threshold earns what fixed:32 earns"}},
		"all alike":            {[]Row{r("fixed:32", 1, 5, 3), r("random", 4, 1, 4)}, []string{"no action matters"}},
		"all constants alike":  {[]Row{r("fixed:32", 1, 5, 3), r("fixed:64", 1, 5, 3), r("random", 1, 5, 3)}, []string{"no action matters"}},
		// Means a tenth of the spread apart, but in every episode the same way.
		"alike but for pairing": {[]Row{r("fixed:32", 1, 50, 100), r("random", 2, 51, 101)}, nil},
		"one episode":           {[]Row{r("fixed:32", 1), r("random", 4)}, nil},
	} {
		got := notes(c.results)
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}
