package enginetest_test

import (
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/enginetest"
)

func TestReference(t *testing.T) {
	enginetest.Check(t, func(*testing.T) timegan.Engine { return timegan.NewCPU(compute.Reference, 1) })
}

func TestFused(t *testing.T) {
	auto, err := compute.ParseKernels("auto")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []compute.Kernels{compute.Go, auto} {
		for _, threads := range []int{1, 2} {
			enginetest.Check(t, func(*testing.T) timegan.Engine { return timegan.NewCPU(k, threads) })
		}
	}
}
