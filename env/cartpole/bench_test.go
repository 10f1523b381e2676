package cartpole_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

func BenchmarkStep(b *testing.B) {
	for _, n := range []int{1, 256, 1024} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			v, err := cartpole.New(n, env.NextStep)
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			var out env.Batch
			actions := make([]int32, n)
			for i := range actions {
				actions[i] = int32(i % 2)
			}
			if err := v.Reset(context.Background(), nil, nil, &out); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := v.Step(context.Background(), nil, actions, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}
