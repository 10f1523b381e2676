package deploy

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
)

// Event is what became of a switch; see p4rt.Event.
type Event struct {
	Switch string
	p4rt.Event
}

// OpenSwitches opens every switch; it connects to none yet. notify, which must not
// block, may be nil. The safe limit is put back wherever a switch was out of
// hand.
func OpenSwitches(inv inventory.Inventory, safe p4.Limit, notify func(Event)) (p4.Group, error) {
	return open(inv, safe, false, notify)
}

// OpenBackup opens every switch for reading: it claims none, and pushes and
// restores nothing.
func OpenBackup(inv inventory.Inventory, safe p4.Limit, notify func(Event)) (p4.Group, error) {
	return open(inv, safe, true, notify)
}

func open(inv inventory.Inventory, safe p4.Limit, backup bool, notify func(Event)) (p4.Group, error) {
	var g p4.Group
	for i, c := range inv.WithDefaults(safe) {
		var s p4.Switch
		var err error
		if c.Actuator == inventory.Thrift {
			var t *bmv2.Client
			t, err = bmv2.New(bmv2.Config{Addr: c.Target, Timeout: c.Timeout, Dial: c.Dial})
			s = rated{t, c.ServicePPS}
		} else {
			cfg := p4rt.Config{Switch: c, Seed: uint64(i), Provision: provisioner(c)}
			if backup {
				cfg = asBackup(cfg)
			}
			if name := c.Name; notify != nil {
				cfg.Notify = func(e p4rt.Event) { notify(Event{name, e}) }
			}
			s, err = p4rt.Open(cfg)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("deploy: %s: %w", c.Name, err), g.Close())
		}
		g = append(g, s)
	}
	return g, nil
}

// asBackup is cfg for a client that only looks, until it arbitrates. Its seed
// differs from that of every other process: BMv2 lets no two clients have the
// same id, and those that have none have the same.
func asBackup(cfg p4rt.Config) p4rt.Config {
	cfg.Backup, cfg.Below = true, cfg.WithDefaults().Election
	cfg.Election = p4rt.Election{}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	cfg.Seed = binary.LittleEndian.Uint64(b[:])
	return cfg
}

// callTime is how long a check waits for one switch.
const callTime = 3 * time.Second
