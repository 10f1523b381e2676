package inventory

import (
	"testing"

	"github.com/planegym/planegym/p4"
)

func TestInventoryErrorsNameTheKey(t *testing.T) {
	good := func() Inventory {
		return Inventory{{Target: "a:1", Ports: []p4.Port{1}, Queues: []p4.Limit{32, 64}}}
	}
	for _, c := range []struct {
		edit func(inv Inventory) Inventory
		want string
	}{
		{func(inv Inventory) Inventory { return inv }, ""},
		{func(inv Inventory) Inventory { return nil }, "inventory: the inventory is empty: give a [[live.switch]]"},
		{func(inv Inventory) Inventory { return append(inv, inv[0], inv[0]) }, ""},
		{func(inv Inventory) Inventory { inv[0].Name = "s2"; return append(inv, good()[0]) }, "inventory: s2: duplicate name"},
		{func(inv Inventory) Inventory { inv[0].Ports = nil; return inv }, "inventory: s1: ports: which ports' limits are to be set?"},
		{func(inv Inventory) Inventory { inv[0].Actuator = "gnmi"; return inv }, `inventory: s1: actuator: "gnmi" is not one of "p4runtime", "thrift"`},
		{func(inv Inventory) Inventory { inv[0].Queues = []p4.Limit{32}; return inv }, "inventory: s1: queues: p4: no queue is provisioned for the limit [64]: there are [32]"},
		{func(inv Inventory) Inventory { inv[0].Target = "a"; return inv }, `inventory: s1: target: "a" is not host:port`},
		{func(inv Inventory) Inventory {
			inv[0].Actuator, inv[0].Target, inv[0].Queues = Thrift, "a", nil
			return inv
		}, `inventory: s1: target: "a" is not host:port`},
	} {
		err := c.edit(good()).Check([]p4.Limit{32, 64}, 32)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
