// Package switches is the inventory of live switches: opened as one
// controller, checked before use, and guarded by a second process.
package switches

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/p4rt"
)

// The actuators.
const (
	P4Runtime = "p4runtime"
	Thrift    = "thrift" // BMv2's own interface: no mastership, no program of ours
)

// Config is one switch of an inventory. Its keys are those of p4rt.Config;
// with Thrift only target, ports and timeout count.
type Config struct {
	Name     string `toml:"name"`     // s1, s2, … in the order of the inventory
	Actuator string `toml:"actuator"` // "p4runtime" (default) or "thrift"
	p4rt.Config
}

// Inventory is the switches along the path, the first first.
type Inventory []Config

// withDefaults fills names, actuators and the safe limit.
func (inv Inventory) withDefaults(safe p4.Limit) Inventory {
	inv = slices.Clone(inv)
	for i := range inv {
		c := &inv[i]
		if c.Name == "" {
			c.Name = fmt.Sprint("s", i+1)
		}
		if c.Actuator == "" {
			c.Actuator = P4Runtime
		}
		if c.Safe == 0 {
			c.Safe = safe
		}
		c.Seed = uint64(i)
	}
	return inv
}

// Check reports the first thing wrong with an inventory for the given limits,
// naming switch and key.
func (inv Inventory) Check(limits []p4.Limit, safe p4.Limit) error {
	if len(inv) == 0 {
		return errors.New("switches: the inventory is empty: give a [[live.switch]]")
	}
	inv = inv.withDefaults(safe)
	for i, c := range inv {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("switches: %s: %w", c.Name, fmt.Errorf(format, args...))
		}
		if slices.ContainsFunc(inv[:i], func(o Config) bool { return o.Name == c.Name }) {
			return fail("name: stands twice")
		}
		if len(c.Ports) == 0 {
			return fail("ports: which ports' limits are to be set?")
		}
		switch c.Actuator {
		case P4Runtime:
			if err := c.Config.Check(); err != nil {
				return fail("%w", err)
			}
			if missing := c.unprovisioned(limits); len(missing) > 0 {
				return fail("queues: %w %v: there are %v", p4.ErrNotProvisioned, missing, c.Queues)
			}
		case Thrift:
			if _, err := bmv2.New(bmv2.Config{Addr: c.Target, Timeout: c.Timeout}); err != nil {
				return fail("target: %w", err)
			}
		default:
			return fail("actuator: %q is none of %q, %q", c.Actuator, P4Runtime, Thrift)
		}
	}
	return nil
}

// unprovisioned are the limits that no queue of the switch has.
func (c Config) unprovisioned(limits []p4.Limit) []p4.Limit {
	if c.Mode == "meter" {
		return nil
	}
	var missing []p4.Limit
	for _, l := range limits {
		if !slices.Contains(c.Queues, l) {
			missing = append(missing, l)
		}
	}
	return missing
}

// Names are the names of the switches.
func (inv Inventory) Names() []string {
	var names []string
	for _, c := range inv.withDefaults(0) {
		names = append(names, c.Name)
	}
	return names
}

// Queues are the queues whose limits are set: every port of every switch.
func (inv Inventory) Queues() []p4.Queue {
	var q []p4.Queue
	for i, c := range inv {
		for _, p := range c.Ports {
			q = append(q, p4.Queue{Switch: i, Port: p})
		}
	}
	return q
}

// Event is what became of a switch; see p4rt.Event.
type Event struct {
	Switch string
	p4rt.Event
}

// Open opens every switch; it connects to none yet. notify, which must not
// block, may be nil. The safe limit is put back wherever a switch was out of
// hand.
func (inv Inventory) Open(safe p4.Limit, notify func(Event)) (p4.Group, error) {
	return inv.open(safe, false, notify)
}

// OpenBackup opens every switch for reading: it is claimed by nobody, nothing
// is pushed or put back.
func (inv Inventory) OpenBackup(safe p4.Limit, notify func(Event)) (p4.Group, error) {
	return inv.open(safe, true, notify)
}

func (inv Inventory) open(safe p4.Limit, backup bool, notify func(Event)) (p4.Group, error) {
	var g p4.Group
	for _, c := range inv.withDefaults(safe) {
		var s p4.Switch
		var err error
		if c.Actuator == Thrift {
			s, err = bmv2.New(bmv2.Config{Addr: c.Target, Timeout: c.Timeout, Dial: c.Dial})
		} else {
			if c.Backup = backup; backup {
				c.Election, c.Seed = p4rt.Election{}, c.Seed+1<<32
			}
			if name := c.Name; notify != nil {
				c.Notify = func(e p4rt.Event) { notify(Event{name, e}) }
			}
			s, err = p4rt.Open(c.Config)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("switches: %s: %w", c.Name, err), g.Close())
		}
		g = append(g, s)
	}
	return g, nil
}

// provision is how a BMv2 switch is given the queues that limits need, safe
// first: queue 0 is where a restarted switch begins.
func (c Config) provision(limits []p4.Limit) []string {
	queues := []p4.Limit{c.Safe}
	for _, l := range limits {
		if !slices.Contains(queues, l) {
			queues = append(queues, l)
		}
	}
	host, _, err := net.SplitHostPort(c.Target)
	if err != nil {
		host = "HOST"
	}
	out := []string{fmt.Sprintf("start it with: simple_switch_grpc … -- --priority-queues %d", max(2, len(queues)))}
	for _, port := range c.Ports {
		for q, depth := range queues {
			out = append(out, fmt.Sprintf("simple_switch_CLI --thrift-ip %s: set_queue_depth %d %d %d", host, depth, port, q))
		}
	}
	return append(out, fmt.Sprintf("in the scenario: queues = %v", list(queues)))
}

// list writes limits as TOML does.
func list(limits []p4.Limit) string {
	s := "["
	for i, l := range limits {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprint(l)
	}
	return s + "]"
}

// callTime is how long a check waits for one switch.
const callTime = 3 * time.Second
