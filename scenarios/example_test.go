package scenarios_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/scenarios"
)

// Load a bundled scenario and change one setting, as a client of the server
// may. The original stays as it is.
func Example() {
	s, err := scenarios.Load("tutorial")
	if err != nil {
		panic(err)
	}
	changed, err := s.With(context.Background(), []byte(`{"env": {"reward": {"name": "qoe-lin"}}}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Name, "has plant", s.Plant, "and reward", s.Env.Reward.Name)
	fmt.Println("changed reward:", changed.Env.Reward.Name)
	// Output:
	// tutorial has plant replay and reward tutorial
	// changed reward: qoe-lin
}

// A key that does not exist is an error that names it.
func ExampleParse() {
	_, err := scenarios.Parse([]byte("plant = \"testbed\"\n[env]\nstep_second = 4\n"))
	fmt.Println(err)
	// Output: scenarios: line 3: unknown key "env.step_second": did you mean "env.step_seconds"?
}
