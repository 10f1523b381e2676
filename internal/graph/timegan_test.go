package graph_test

import (
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/graph"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/enginetest"
)

func TestEngine(t *testing.T) {
	auto, err := compute.ParseKernels("auto")
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Check(t, func(*testing.T) timegan.Engine { return graph.NewTimeGAN(auto, 1) })
}
