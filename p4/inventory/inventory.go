// Package inventory describes live switches as plain data, as a scenario lists them,
// and checks them without dialling any. It links no gRPC.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// The actuators.
const (
	P4Runtime = "p4runtime"
	Thrift    = "thrift" // BMv2's own interface: no mastership, no program of ours
)

// Election is a 128-bit election id: of the clients that a switch has ever
// seen, the one with the highest is primary.
type Election struct {
	High uint64 `toml:"high"` // upper 64 bits; 0
	Low  uint64 `toml:"low"`  // lower 64 bits
}

// DefaultElection is the id that a client claims by default.
var DefaultElection = Election{Low: 1 << 16}

// Compare is -1, 0 or 1.
func (e Election) Compare(o Election) int {
	switch {
	case e == o:
		return 0
	case e.High < o.High || e.High == o.High && e.Low < o.Low:
		return -1
	}
	return 1
}

// TLS names the PEM files of a connection.
type TLS struct {
	CA   string `toml:"ca" path:"file"`   // who signed the switch's certificate; "": the system's authorities
	Cert string `toml:"cert" path:"file"` // ours, for mutual TLS, with Key; "": none
	Key  string `toml:"key" path:"file"`  // file of the client's private key, PEM
	Name string `toml:"name"`             // the switch's name in its certificate; "": the target's host
}

// Switch says which switch is spoken to and how. Zero values are the defaults
// in the comments. With actuator "thrift" only target, ports and timeout count.
type Switch struct {
	Name     string `toml:"name"`     // s1, s2, … in the order of the inventory
	Actuator string `toml:"actuator"` // "p4runtime" (default) or "thrift"

	Target   string `toml:"target"`    // host:port
	DeviceID uint64 `toml:"device_id"` // 0 works, but many targets start at 1: see Warnings
	// Election is the id claimed; two clients of a switch cannot have the same.
	// Where no client is primary, this one claims again, with the highest id
	// seen. Those that only read take random ids below it.
	Election Election `toml:"election"` // {0, 65536}
	Role     string   `toml:"role"`     // "": the default role; PINS wants "sdn_controller"
	TLS      *TLS     `toml:"tls"`      // nil: none

	Mode  program.Mode `toml:"mode"`  // "queue"
	Ports []p4.Port    `toml:"ports"` // whose limits are set
	// Queues are the depths that queues were provisioned with, by queue id;
	// in queue mode these are the limits that can be set. Packets that no
	// entry matches take queue 0, so its depth should be the safe one.
	Queues []p4.Limit `toml:"queues"`
	// Rate is the packets/s that a meter lets through, in meter mode. It must
	// stay below what the port serves: see MeterRate.
	Rate int64 `toml:"rate"`
	// Thrift is where a BMv2 listens for Thrift calls, its --thrift-port. Its
	// queues are given the depths Queues and the rate ServicePPS there after
	// every start of the switch, which forgets them. "": they are provisioned by
	// other means, and after a restart the limit in force is unknown.
	Thrift string `toml:"thrift"` // host:port
	// ServicePPS is the packets/s that a port serves. A BMv2 whose rate is not
	// set serves as fast as it can: its queues stay empty, and no limit matters.
	ServicePPS int64 `toml:"service_pps"` // 0: not known
	// Safe is put in force on every port whose limit was set once, whenever
	// the switch was out of our hands: contact, mastership or state lost.
	// 0: the last limit asked for.
	Safe    p4.Limit        `toml:"safe"`
	Entries []program.Entry `toml:"entries"` // kept on the switch beside the limits: routes, switch ids
	// Push are the ways to set a pipeline, tried in order where the switch
	// has another one: "verify-and-commit" (default; BMv2), or
	// "reconcile-and-commit" (PINS). Empty and not nil: never.
	Push []string `toml:"push"`

	Timeout time.Duration `toml:"timeout"` // of a call; 1 s
	// Backoff is the wait before the first and before every late reconnect; a
	// random half is taken off. {50 ms, 500 ms}
	Backoff [2]time.Duration `toml:"backoff"`

	Dial       func(ctx context.Context, addr string) (net.Conn, error) `toml:"-" json:"-"` // nil: TCP
	DialThrift func(ctx context.Context, addr string) (net.Conn, error) `toml:"-" json:"-"` // nil: TCP
}

// MeterRate is the largest Rate at which a meter holds its limit on a port
// that serves service packets/s, where bypass packets/s, the probes, pass by
// the meter: what comes to the queue must stay below what leaves it, with a
// margin of 3 % for clocks that differ. On a BMv2 that served 1,000 packets/s
// 950 held, 985 drained slowly, and at 1,000 the queue crept up to its depth.
func MeterRate(service int64, bypass float64) int64 {
	return max(int64(.97*(float64(service)-bypass)), 0)
}

// WithDefaults is s with its zero values filled in.
func (s Switch) WithDefaults() Switch {
	if s.Actuator == "" {
		s.Actuator = P4Runtime
	}
	if s.Mode == "" {
		s.Mode = program.Queue
	}
	if s.Election == (Election{}) {
		s.Election = DefaultElection
	}
	if s.Push == nil {
		s.Push = []string{"verify-and-commit"}
	}
	if s.Timeout == 0 {
		s.Timeout = time.Second
	}
	if s.Backoff == [2]time.Duration{} {
		s.Backoff = [2]time.Duration{50 * time.Millisecond, 500 * time.Millisecond}
	}
	return s
}

// Check reports the first thing wrong with a P4Runtime switch, naming the key.
func (s Switch) Check() error {
	c := s.WithDefaults()
	fail := fmt.Errorf
	if _, _, err := net.SplitHostPort(c.Target); err != nil && c.Dial == nil {
		return fail("target: %q is not host:port", c.Target)
	}
	switch {
	case s.Timeout < 0:
		return fail("timeout: %v is negative", c.Timeout)
	case c.Backoff[0] <= 0 || c.Backoff[1] < c.Backoff[0]:
		return fail("backoff: %v is not two ascending waits", c.Backoff)
	case len(c.Queues) > program.MaxQueues:
		return fail("queues: %d are more than %d", len(c.Queues), program.MaxQueues)
	case c.Mode == program.Queue && len(c.Queues) == 0:
		return fail("queues: queue mode needs the depths that queues were provisioned with")
	case c.Mode == program.Meter && c.Rate < 1:
		return fail("rate: meter mode needs the packets/s that the port serves, not %d", c.Rate)
	case c.ServicePPS < 0:
		return fail("service_pps: %d is negative", c.ServicePPS)
	}
	for i, l := range c.Queues {
		if err := l.Check(); err != nil {
			return fail("queues: %w", err)
		}
		if slices.Contains(c.Queues[:i], l) {
			return fail("queues: duplicate %d", l)
		}
	}
	p, err := program.Load(c.Mode)
	if err != nil {
		return fail("mode: %w", err)
	}
	if c.Mode == program.Queue && c.Safe != 0 && !slices.Contains(c.Queues, c.Safe) {
		return fail("safe: %w %d: there are %v", p4.ErrNotProvisioned, c.Safe, c.Queues)
	}
	for _, p := range c.Ports {
		if p > 1<<9-1 {
			return fail("ports: %d has more than 9 bits", p)
		}
	}
	names, err := program.ParseNames(p.P4Info)
	if err != nil {
		return err
	}
	for i, e := range c.Entries {
		if _, err := names.Entry(e); err != nil {
			return fail("entries[%d]: %w", i, err)
		}
	}
	for _, p := range c.Push {
		if p != "verify-and-commit" && p != "reconcile-and-commit" {
			return fail(`push: %q is not one of "verify-and-commit", "reconcile-and-commit"`, p)
		}
	}
	if _, _, err := net.SplitHostPort(c.Thrift); c.Thrift != "" && err != nil {
		return fail("thrift: %q is not host:port", c.Thrift)
	}
	if t := c.TLS; t != nil && (t.Cert == "") != (t.Key == "") {
		return fail("tls: cert and key go together: cert %q, key %q", t.Cert, t.Key)
	}
	return nil
}

// Warnings tells what is allowed but often a mistake.
func (c Switch) Warnings() []string {
	var w []string
	if c.DeviceID == 0 {
		w = append(w, "device_id is 0: BMv2 accepts it, the specification's targets number from 1")
	}
	if c.TLS == nil {
		w = append(w, "tls is off: anyone who reaches the port can set the queues")
	}
	if len(c.Queues) > 0 && c.Safe != 0 && c.Queues[0] != c.Safe {
		w = append(w, fmt.Sprintf("queues[0] is %d, the safe limit %d: a restarted switch begins with queue 0", c.Queues[0], c.Safe))
	}
	return w
}

// Inventory is the switches along the path, the first first.
type Inventory []Switch

// WithDefaults fills names, actuators and the safe limit.
func (inv Inventory) WithDefaults(safe p4.Limit) Inventory {
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
	}
	return inv
}

// Check reports the first thing wrong with an inventory for the given limits,
// naming switch and key.
func (inv Inventory) Check(limits []p4.Limit, safe p4.Limit) error {
	if len(inv) == 0 {
		return errors.New("inventory: the inventory is empty: give a [[live.switch]]")
	}
	inv = inv.WithDefaults(safe)
	for i, c := range inv {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("inventory: %s: %w", c.Name, fmt.Errorf(format, args...))
		}
		if slices.ContainsFunc(inv[:i], func(o Switch) bool { return o.Name == c.Name }) {
			return fail("duplicate name")
		}
		if len(c.Ports) == 0 {
			return fail("ports: which ports' limits are to be set?")
		}
		switch c.Actuator {
		case P4Runtime:
			if err := c.Check(); err != nil {
				return fail("%w", err)
			}
			if missing := c.Unprovisioned(limits); len(missing) > 0 {
				return fail("queues: %w %v: there are %v", p4.ErrNotProvisioned, missing, c.Queues)
			}
		case Thrift:
			if _, _, err := net.SplitHostPort(c.Target); err != nil {
				return fail("target: %q is not host:port", c.Target)
			}
		default:
			return fail("actuator: %q is not one of %q, %q", c.Actuator, P4Runtime, Thrift)
		}
	}
	return nil
}

// Unprovisioned are the limits that no queue of the switch has.
func (c Switch) Unprovisioned(limits []p4.Limit) []p4.Limit {
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
	for _, c := range inv.WithDefaults(0) {
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

// Wanted are the depths that the queues need for limits, by queue id, the safe
// one first: queue 0 is where packets go that no entry matches.
func (c Switch) Wanted(limits []p4.Limit) []p4.Limit {
	queues := []p4.Limit{c.Safe}
	if c.Safe == 0 {
		queues = nil
	}
	for _, l := range limits {
		if !slices.Contains(queues, l) {
			queues = append(queues, l)
		}
	}
	return queues
}

// ThriftPort is the port on which BMv2 listens for Thrift calls by default.
// Several switches on one host need a port each.
const ThriftPort = 9090

// OnHost is how many switches before switch i are on its host.
func (inv Inventory) OnHost(i int) int {
	n := 0
	for _, s := range inv[:i] {
		a, _, errA := net.SplitHostPort(s.Target)
		b, _, errB := net.SplitHostPort(inv[i].Target)
		if errA != nil || errB != nil || a == b {
			n++
		}
	}
	return n
}

// Provision says how a BMv2, switch i of its host, is given the queues that
// limits need: settings, and commands that run as they are printed once their
// switch does. Of a switch whose Thrift port is not known it is taken for
// ThriftPort+i, as the first command has it.
func (c Switch) Provision(i int, limits []p4.Limit) []string {
	queues := c.Wanted(limits)
	host, _, err := net.SplitHostPort(c.Target)
	if err != nil {
		host = "127.0.0.1"
	}
	port := fmt.Sprint(ThriftPort + i)
	if h, p, err := net.SplitHostPort(c.Thrift); err == nil {
		host, port = h, p
	}
	out := []string{
		fmt.Sprintf("start it with: simple_switch_grpc --no-p4 --device-id %d -i PORT@INTERFACE … --thrift-port %s -- --grpc-server-addr %s --priority-queues %d --cpu-port %d", c.DeviceID, port, c.Target, max(2, len(queues)), program.CPUPort),
		fmt.Sprintf("in the scenario: queues = %v", List(queues)),
	}
	if c.Thrift != "" {
		return append(out, "then: planegym switches provision --scenario FILE; deploy does it, too")
	}
	rate := "PACKETS_PER_SECOND"
	if c.ServicePPS > 0 {
		rate = fmt.Sprint(c.ServicePPS)
	}
	out = append(out, fmt.Sprintf("in the scenario: thrift = %q and service_pps, and planegym provisions it; or after every start of the switch, whose --thrift-port is taken for %s here:", net.JoinHostPort(host, port), port))
	cli := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("echo %s | simple_switch_CLI --thrift-ip %s --thrift-port %s", fmt.Sprintf(format, args...), host, port))
	}
	for _, egress := range c.Ports {
		for q, depth := range queues {
			cli("set_queue_depth %d %d %d", depth, egress, q)
		}
		cli("set_queue_rate %s %d", rate, egress)
	}
	return append(out, fmt.Sprintf("a BMv2 before 1.15.1 counts these queues from the other end (p4lang/behavioral-model#1264): there queue q of %d is %d-q", max(2, len(queues)), max(2, len(queues))-1))
}

// List writes limits as TOML does.
func List(limits []p4.Limit) string {
	s := "["
	for i, l := range limits {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprint(l)
	}
	return s + "]"
}
