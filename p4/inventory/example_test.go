package inventory_test

import (
	"fmt"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
)

// Describe two switches, fill in defaults, and check them for the limits that
// an agent will set. Nothing is dialled.
func Example() {
	inv := inventory.Inventory{
		{Target: "10.0.0.1:9559", DeviceID: 1, Ports: []p4.Port{1}, Queues: []p4.Limit{32, 64}},
		{Target: "10.0.0.2:9559", DeviceID: 1, Ports: []p4.Port{1, 2}, Queues: []p4.Limit{32}},
	}.WithDefaults(32)
	fmt.Println(inv.Names(), "queues:", len(inv.Queues()))
	fmt.Println("limits that s2 has no queue for:", inv[1].Unprovisioned([]p4.Limit{32, 64}))
	fmt.Println("an error:", inv.Check([]p4.Limit{32, 64}, 32) != nil)
	// Output:
	// [s1 s2] queues: 3
	// limits that s2 has no queue for: [64]
	// an error: true
}

// The meter's rate stays below the port's service rate, less what the probes
// take.
func ExampleMeterRate() {
	fmt.Println(inventory.MeterRate(1000, 20), "packets/s")
	// Output: 950 packets/s
}
