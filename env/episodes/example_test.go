package episodes_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/telemetry"
)

// Record an episode of two steps, and read it back.
func Example() {
	dir, err := os.MkdirTemp("", "episodes")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "episodes.parquet")

	spaces := episodes.Spaces{Elements: []telemetry.Field{{Name: "enq_qdepth1", Unit: "packets"}}, Actions: env.MultiDiscrete{2}}
	w, err := episodes.Create(path, spaces, "demo", "")
	if err != nil {
		panic(err)
	}
	const row = 0
	for _, err := range []error{
		w.Begin(row, 7, []float32{10}),
		w.Step(row, []int32{1}, 0.5, false, false, []float32{20}),
		w.Step(row, []int32{0}, 2, false, true, []float32{15}),
		w.Close(),
	} {
		if err != nil {
			panic(err)
		}
	}
	err = episodes.Read(path, func(_ episodes.Spaces, e *episodes.Episode) error {
		fmt.Println("seed", e.Seed, "actions", e.Actions, "rewards", e.Reward, "observations", e.Obs)
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output: seed 7 actions [1 0] rewards [0.5 2] observations [10 20 15]
}
