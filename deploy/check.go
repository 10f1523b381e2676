package deploy

import (
	"context"
	"errors"
	"fmt"
	"sync"

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
// election but BMv2's, which lets a lone reader be primary.
func Examine(ctx context.Context, inv inventory.Inventory, limits []p4.Limit, safe p4.Limit) []Finding {
	inv = inv.WithDefaults(safe)
	each := make([][]Finding, len(inv))
	var wg sync.WaitGroup
	for i, c := range inv {
		wg.Go(func() {
			e := examiner{Switch: c, limits: limits}
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
	limits []p4.Limit
	found  []Finding
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
			mend = e.Provision(e.limits)
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
		e.say("limits", Failed, e.Provision(e.limits), "no queue has %s packets: queues are %s", inventory.List(missing), inventory.List(e.Queues))
	} else if e.Mode == "meter" {
		e.say("limits", OK, nil, "a meter of %d packets/s enforces them: it must not exceed what the port really serves", e.Rate)
	} else {
		e.say("limits", OK, nil, "queues %s, as the scenario says: P4Runtime cannot read depths", inventory.List(e.Queues))
	}
	cfg := p4rt.Config{Switch: e.Switch, Backup: true}
	cfg.Election = p4rt.Election{}
	c, err := p4rt.Open(cfg)
	if err != nil {
		e.say("config", Failed, nil, "%v", err)
		return
	}
	defer c.Close()
	if err := c.Ready(ctx); err != nil {
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

func (e *examiner) mastership(st p4rt.State) {
	ours := e.Election
	if ours == (p4rt.Election{}) {
		ours.Low = 1
	}
	is := func(x p4rt.Election) string { return fmt.Sprintf("%d:%d", x.High, x.Low) }
	switch {
	case st.Status != codes.AlreadyExists:
		e.say("mastership", OK, nil, "nobody is primary")
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
	case err == nil:
		e.say("in force", OK, nil, "port %d: limit %d", port, l)
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
	e.say("mastership", Warning, nil, "Thrift has none: whoever reaches the port sets the queues, and a guard cannot keep a hung agent out")
	for _, p := range e.Ports {
		e.inForce(p, func() (p4.Limit, error) { return c.Limit(ctx, p) })
	}
}
