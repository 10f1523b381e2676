package envpage_test

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/envpage"
	"github.com/planegym/planegym/scenarios"
)

// Curves are read from rows in any order; a seed that is missing, or there twice,
// is an error that names it.
func TestReadCurves(t *testing.T) {
	const head = "algorithm,seed,transitions,return,settings,command\n"
	file := filepath.Join(t.TempDir(), "curves.csv")
	read := func(text string) ([]scenarios.Curve, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return envpage.ReadCurves([]string{file})
	}
	got, err := read(head + "a,1,10,4,x=1,run\na,1,0,1,x=1,run\na,2,0,3,x=1,run\na,2,10,4,x=1,run\nb,1,5,7,y=2,go\n")
	if err != nil {
		t.Fatal(err)
	}
	// Student's t of one degree of freedom: 12.706; the deviation of 1 and 3 is √2, over √2 trainings.
	want := []scenarios.Curve{
		{Algorithm: "a", Settings: "x=1", Command: "run", Seeds: 2, Points: []scenarios.Point{{Transitions: 0, Mean: 2, CI: 12.706}, {Transitions: 10, Mean: 4}}},
		{Algorithm: "b", Settings: "y=2", Command: "go", Seeds: 1, Points: []scenarios.Point{{Transitions: 5, Mean: 7}}},
	}
	got[0].Points[0].CI = math.Round(got[0].Points[0].CI*1000) / 1000
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for text, says := range map[string]string{
		head: "no rows",
		"algorithm,seed,transitions,return\na,1,0,1\n":         "no column settings",
		head + "a,1,ten,1,x,run\n":                             `row 2: transitions: "ten"`,
		head + "a,1,0,good,x,run\n":                            `row 2: return: "good"`,
		head + "a,1,0,1,x,run\na,1,0,2,x,run\n":                "row 3: a, seed 1 has two returns at 0 transitions",
		head + "a,1,0,1,x,run\na,2,0,1,y,run\n":                `row 3: a has settings and command ["y" "run"], and ["x" "run"] before`,
		head + "a,1,0,1,x,run\na,2,0,1,x,run\na,1,9,1,x,run\n": "a has 1 seeds at 9 transitions, and 2 at the first",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %s", text, err, says)
		}
	}
}
