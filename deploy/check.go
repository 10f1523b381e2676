package deploy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
)

// Level is how bad a finding is.
type Level string

// The levels: fine, worth a thought, and no deployment.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Failed  Level = "failed"
)

// Finding is one thing looked at, what was found, and how to mend it.
type Finding struct {
	Switch string   `json:"switch"`
	Check  string   `json:"check"` // "config", "reach", "mastership", "pipeline", "p4info", "limits", "in force", …
	Level  Level    `json:"level"`
	Says   string   `json:"says"`
	Mend   []string `json:"mend,omitempty"`
}

// Examine looks at every switch and changes nothing on it: it takes part in no
// election but BMv2's, which lets a lone reader be primary. probes is how many
// a second pass by a meter.
func Examine(ctx context.Context, inv inventory.Inventory, limits []p4.Limit, safe p4.Limit, probes float64) []Finding {
	inv = inv.WithDefaults(safe)
	each := make([][]Finding, len(inv))
	var wg sync.WaitGroup
	for i, c := range inv {
		wg.Go(func() {
			e := examiner{Switch: c, index: inv.OnHost(i), limits: limits, probes: probes}
			e.run(ctx)
			each[i] = e.found
		})
	}
	wg.Wait()
	var all []Finding
	for _, f := range each {
		all = append(all, f...)
	}
	return all
}

type examiner struct {
	inventory.Switch
	index  int // among the switches of its host
	limits []p4.Limit
	probes float64
	found  []Finding

	primary bool // somebody is
}

func (e *examiner) say(check string, level Level, mend []string, format string, args ...any) {
	e.found = append(e.found, Finding{e.Name, check, level, fmt.Sprintf(format, args...), mend})
}

func (e *examiner) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := (inventory.Inventory{e.Switch}).Check(nil, e.Safe); err != nil {
		var mend []string
		if errors.Is(err, p4.ErrNotProvisioned) {
			mend = e.Provision(e.index, e.limits)
		}
		e.say("config", Failed, mend, "%v", err)
		return
	}
	if e.Actuator == inventory.Thrift {
		e.thrift(ctx)
		return
	}
	for _, w := range e.Warnings() {
		e.say("config", Warning, nil, "%s", w)
	}
	if missing := e.Unprovisioned(e.limits); len(missing) > 0 {
		e.say("limits", Failed, e.Provision(e.index, e.limits), "no queue has %s packets: queues are %s", inventory.List(missing), inventory.List(e.Queues))
	} else if e.Mode == "meter" {
		e.meter()
	} else {
		e.queues(ctx)
	}
	c, err := p4rt.Open(asBackup(p4rt.Config{Switch: e.Switch}))
	if err != nil {
		e.say("config", Failed, nil, "%v", err)
		return
	}
	defer c.Close()
	if err := c.Ready(ctx); errors.Is(err, p4.ErrElection) {
		e.say("reach", Failed, []string{"the switch answers; try again"}, "%v", err)
		return
	} else if err != nil {
		e.say("reach", Failed, []string{
			"is the switch's gRPC server up, and its address right? target = \"" + e.Target + "\"",
			"TLS on one side only, a certificate of another name, and a wrong device_id look like this, too",
		}, "%v", err)
		return
	}
	st := c.State()
	e.say("reach", OK, nil, "%s, device %d", e.Target, e.DeviceID)
	e.mastership(st)
	e.program(ctx, c)
}

// queues says whether the queues exist, and what is known of their depths.
func (e *examiner) queues(ctx context.Context) {
	said := fmt.Sprintf("queues %s", inventory.List(e.Queues))
	if e.Thrift == "" {
		e.say("limits", Warning, []string{"of a BMv2: thrift = \"HOST:9090\", its --thrift-port, lets planegym provision the queues and look for them"},
			"%s, as the scenario says: P4Runtime cannot read depths, and nothing here can set them; after a restart of the switch they are unknown", said)
		return
	}
	t, err := thriftOf(e.Switch)
	if err != nil {
		e.say("limits", Failed, nil, "thrift: %v", err)
		return
	}
	defer t.Close()
	for q := range e.Queues {
		if err := t.HasQueue(ctx, q); errors.Is(err, p4.ErrNotProvisioned) {
			e.say("limits", Failed, e.Provision(e.index, e.limits), "the switch has no queue %d: packets that a limit of %d sends there are dropped, all of them", q, e.Queues[q])
			return
		} else if err != nil {
			e.say("limits", Failed, []string{"is thrift its --thrift-port, and reached from here?"}, "%v", err)
			return
		}
	}
	up, err := t.Uptime(ctx)
	if err != nil {
		e.say("limits", Failed, nil, "%v", err)
		return
	}
	e.say("limits", OK, nil, "queues %s: the switch has them, and they are given their depths after every start; it is up for %v", inventory.List(e.Queues), up.Round(time.Second))
	if e.ServicePPS == 0 {
		e.say("rate", Warning, []string{"service_pps = PACKETS_PER_SECOND: planegym sets it by set_egress_queue_rate"},
			"service_pps is not set: unless a rate is set, a BMv2 serves as fast as it can, its queues stay empty, and no limit matters")
	}
}

// meter says whether the meter's rate holds the limits.
func (e *examiner) meter() {
	if e.ServicePPS == 0 {
		e.say("limits", Warning, []string{"service_pps = PACKETS_PER_SECOND that the port serves"}, "a meter of %d packets/s enforces them; whether it holds depends on what the port serves, which service_pps does not say", e.Rate)
		return
	}
	holds := inventory.MeterRate(e.ServicePPS, e.probes)
	if e.Rate > holds {
		e.say("limits", Failed, []string{fmt.Sprintf("in the scenario: rate = %d", holds)},
			"a meter of %d packets/s does not hold them: the port serves %d, %g probes a second pass by the meter, and the queue creeps up to its depth", e.Rate, e.ServicePPS, e.probes)
		return
	}
	e.say("limits", OK, nil, "a meter of %d packets/s enforces them; up to %d holds on a port that serves %d with %g probes a second", e.Rate, holds, e.ServicePPS, e.probes)
}

func (e *examiner) mastership(st p4rt.State) {
	ours := e.Election
	if ours == (p4rt.Election{}) {
		ours = inventory.DefaultElection
	}
	is := func(x p4rt.Election) string { return fmt.Sprintf("%d:%d", x.High, x.Low) }
	e.primary = st.Status == codes.AlreadyExists
	switch {
	case !e.primary:
		e.say("mastership", OK, nil, "no client is primary")
	case ours.Compare(st.Election) > 0:
		e.say("mastership", Warning, nil, "a client with election id %s is primary; ours, %s, will take its place", is(st.Election), is(ours))
	default:
		e.say("mastership", Failed, []string{
			"end that controller (a running deploy, or its guard), or",
			fmt.Sprintf("in the scenario: election = {high = %d, low = %d}", st.Election.High, st.Election.Low+1),
		}, "a client with election id %s is primary, ours is %s", is(st.Election), is(ours))
	}
}

func (e *examiner) program(ctx context.Context, c *p4rt.Client) {
	err := c.Pipeline(ctx)
	pushes := len(e.Push) > 0 || e.Push == nil
	switch {
	case err == nil:
		e.say("pipeline", OK, nil, "runs our program")
	case errors.Is(err, p4.ErrPipeline) && pushes:
		e.say("pipeline", Warning, []string{"nothing to do: the first command that sets limits pushes it, which interrupts traffic once"}, "%v", err)
		return
	case errors.Is(err, p4.ErrPipeline):
		e.say("pipeline", Failed, []string{"in the scenario: push = [\"verify-and-commit\"], or load the program by other means"}, "%v", err)
		return
	default:
		e.say("pipeline", Failed, nil, "%v", err)
		return
	}
	if err := c.P4Info(ctx); err != nil {
		e.say("p4info", Failed, []string{"the cookie is ours and the P4Info is not: push the pipeline anew"}, "%v", err)
	} else {
		e.say("p4info", OK, nil, "is ours")
	}
	for _, p := range e.Ports {
		e.inForce(p, func() (p4.Limit, error) { return c.Limit(ctx, p) })
	}
}

func (e *examiner) inForce(port p4.Port, limit func() (p4.Limit, error)) {
	switch l, err := limit(); {
	case err == nil && l != e.Safe && !e.primary:
		e.say("in force", Warning, []string{fmt.Sprintf("planegym deploy fixed:%d --scenario FILE --for 1s puts the safe limit back", e.Safe)},
			"port %d: limit %d, and no client is primary: neither an agent nor a guard watches over it; the safe limit is %d", port, l, e.Safe)
	case err == nil:
		e.say("in force", OK, nil, "port %d: limit %d", port, l)
	case errors.Is(err, p4.ErrNoLimit) && e.Actuator == inventory.Thrift:
		e.say("in force", Warning, nil, "port %d: not known: Thrift cannot read depths; a BMv2 starts with 64", port)
	case errors.Is(err, p4.ErrNoLimit):
		e.say("in force", OK, nil, "port %d: none was set, the default of %d holds", port, e.Safe)
	default:
		e.say("in force", Failed, nil, "port %d: %v", port, err)
	}
}

func (e *examiner) thrift(ctx context.Context) {
	c, err := bmv2.New(bmv2.Config{Addr: e.Target, Timeout: e.Timeout, Dial: e.Dial})
	if err != nil {
		e.say("config", Failed, nil, "%v", err)
		return
	}
	defer c.Close()
	up, err := c.Uptime(ctx)
	if err != nil {
		e.say("reach", Failed, []string{"is the switch up, and target its --thrift-port?"}, "%v", err)
		return
	}
	e.say("reach", OK, nil, "%s, up for %v", e.Target, up.Round(callTime/3))
	e.say("mastership", Warning, nil, "Thrift has none: anyone who reaches the port sets the queues, and a guard cannot keep a hung agent out")
	for _, p := range e.Ports {
		e.inForce(p, func() (p4.Limit, error) { return c.Limit(ctx, p) })
	}
}
