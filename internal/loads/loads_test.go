package loads_test

import (
	"strings"
	"testing"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/internal/loads"
)

// The bundled pool gives a load its sessions with the load's labels, and no more
// can be asked of it.
func TestBundledPool(t *testing.T) {
	c := testbed.Config{Loads: []testbed.Load{{Kind: "sessions", Model: "bundled-pool", Labels: []string{"port443", "MDNS"}, Arrivals: "5"}}}
	if err := loads.Attach(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	if n := c.Loads[0].Sessions().Len(); n != 384+64 {
		t.Errorf("%d sessions", n)
	}
	for fault, change := range map[string]func(*testbed.Load){
		"pool:": func(l *testbed.Load) { l.Pool = 512 }, `"https"`: func(l *testbed.Load) { l.Labels = []string{"https"} },
	} {
		d := c
		d.Loads = []testbed.Load{c.Loads[0]}
		d.Loads[0].Sessions = nil
		change(&d.Loads[0])
		if err := loads.Attach(t.Context(), &d); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s %v", fault, err)
		}
	}
}
