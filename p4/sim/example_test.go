package sim_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/p4/sim"
)

// Start a switch in memory and set a queue limit on it over P4Runtime, as on a
// real one.
func Example() {
	s, err := sim.Open(sim.Config{Ports: []p4.Port{1}, Depths: []p4.Limit{32, 64}, DeviceID: 1})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	c, err := p4rt.Open(p4rt.Config{Switch: inventory.Switch{
		Target: s.Addr(), DeviceID: 1, Ports: []p4.Port{1}, Queues: []p4.Limit{32, 64}, Safe: 32,
	}})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	ctx := context.Background()
	if err := c.Ready(ctx); err != nil {
		panic(err)
	}
	if err := c.SetLimit(ctx, 1, 64); err != nil {
		panic(err)
	}
	fmt.Println("in force:", s.InForce(1))
	// Output: in force: 64
}
