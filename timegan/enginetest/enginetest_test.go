package enginetest_test

import (
	"testing"

	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/enginetest"
)

func TestReference(t *testing.T) {
	enginetest.Check(t, func(*testing.T) timegan.Engine { return timegan.NewCPU(nn.Reference, 1) })
}

func TestFused(t *testing.T) {
	auto, err := nn.ParseKernels("auto")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []nn.Kernels{nn.Go, auto} {
		for _, threads := range []int{1, 2} {
			enginetest.Check(t, func(*testing.T) timegan.Engine { return timegan.NewCPU(k, threads) })
		}
	}
}
