package traffictest_test

import (
	"fmt"

	"github.com/planegym/planegym/traffic/bundled"
	"github.com/planegym/planegym/traffic/traffictest"
)

// failures counts what a clause objects to; a *testing.T does in tests.
type failures int

func (f *failures) Helper()                   {}
func (f *failures) Errorf(string, ...any)     { *f++ }
func (f *failures) Fatalf(s string, a ...any) { panic(fmt.Sprintf(s, a...)) }
func (f *failures) Skipf(s string, a ...any)  { panic(fmt.Sprintf(s, a...)) }

// Hold the bundled model to three clauses of the contract. In the tests of a
// model of your own, one call of Check holds it to all of them.
func Example() {
	m, err := bundled.Open()
	if err != nil {
		panic(err)
	}
	for _, c := range traffictest.Clauses[:3] {
		var f failures
		c.Check(&f, m)
		fmt.Printf("%s: %d failures\n", c.Name, f)
	}
	// Output:
	// schema: 0 failures
	// valid: 0 failures
	// repeat: 0 failures
}
