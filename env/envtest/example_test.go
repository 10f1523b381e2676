package envtest_test

import (
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/envtest"
)

var t *testing.T // the argument of your test

// The test of a vector of your own is one call of Check, which runs a subtest
// for each clause of the contract. The vectors need at least 3 rows.
func ExampleCheck() {
	envtest.Check(t, func(t *testing.T) env.Vector {
		v, err := cartpole.New(3, env.NextStep) // your vector here
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}
