package bmv2_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/sim"
)

// Set the depth of a port's queues over BMv2's Thrift interface. Here an
// emulated switch answers; of a real one Addr is its host and --thrift-port.
func Example() {
	s, err := sim.Serve(sim.Config{Personality: sim.BMv2, Ports: []p4.Port{1}}, sim.NewPipe())
	if err != nil {
		panic(err)
	}
	defer s.Close()
	thrift := sim.NewPipe()
	s.ServeThrift(thrift)

	c, err := bmv2.New(bmv2.Config{Addr: "switch:9090", Dial: thrift.Dial})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	ctx := context.Background()
	if err := c.SetLimit(ctx, 1, 32); err != nil {
		panic(err)
	}
	limit, err := c.Limit(ctx, 1)
	fmt.Println("acknowledged:", limit, err)
	fmt.Println("depths on the switch:", s.Depths(1))
	// Output:
	// acknowledged: 32 <nil>
	// depths on the switch: [32]
}
