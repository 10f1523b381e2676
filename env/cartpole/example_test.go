package cartpole_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// Push two carts to the right once. A row depends on its own seed alone, so
// equal seeds give equal rows.
func Example() {
	v, err := cartpole.New(2, env.NextStep)
	if err != nil {
		panic(err)
	}
	defer v.Close()
	ctx := context.Background()
	var b env.Batch
	if err := v.Reset(ctx, nil, []uint64{42, 42}, &b); err != nil {
		panic(err)
	}
	if err := v.Step(ctx, nil, []int32{1, 1}, &b); err != nil {
		panic(err)
	}
	fmt.Printf("%.4f\n%.4f\n", b.Obs[:4], b.Obs[4:])
	fmt.Println("rewards:", b.Reward)
	// Output:
	// [0.0273 0.1885 0.0363 -0.2614]
	// [0.0273 0.1885 0.0363 -0.2614]
	// rewards: [1 1]
}
