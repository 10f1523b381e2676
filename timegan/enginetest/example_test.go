package enginetest_test

import (
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/enginetest"
)

var t *testing.T // the argument of your test

// The test of an engine of your own is one call of Check, which runs a subtest
// for each clause of the contract and closes the engines.
func ExampleCheck() {
	enginetest.Check(t, func(t *testing.T) timegan.Engine {
		return timegan.NewCPU(compute.Go, 1) // your engine here
	})
}
