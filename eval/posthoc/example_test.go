package posthoc_test

import (
	"context"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/eval/posthoc"
)

// A classifier always tells sine waves from a constant: the largest score, 0.5. The protocol has 2000
// updates; 400 are enough here.
func ExampleDiscriminative() {
	const n, length, features = 200, 8, 6
	waves := posthoc.Set{Length: length, Features: features}
	flat := posthoc.Set{Length: length, Features: features}
	for i := range n * length * features {
		waves.X = append(waves.X, float32(0.5+0.5*math.Sin(float64(i))))
		flat.X = append(flat.X, 0.1)
	}
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	ctx, o := context.Background(), posthoc.Options{Updates: 400, Batch: 32}
	score, err := posthoc.Discriminative(ctx, be, waves, flat, o)
	if err != nil {
		panic(err)
	}
	fmt.Println("windows:", waves.Len(), "score:", score)
	// Output: windows: 200 score: 0.5
}
