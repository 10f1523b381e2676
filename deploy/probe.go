package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry/intreport"
)

// DefaultDestination is where probes go unless live.probes.destination says
// otherwise.
const DefaultDestination = "10.0.9.9"

// ProbeFrame is an empty probe as an Ethernet frame: the tutorial's, IPv4
// protocol 253, to which every switch adds what it knows.
func ProbeFrame(destination string) ([]byte, error) {
	if destination == "" {
		destination = DefaultDestination
	}
	to, err := netip.ParseAddr(destination)
	if err != nil || !to.Is4() {
		return nil, fmt.Errorf("deploy: probes: destination: %q is no IPv4 address", destination)
	}
	return intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), to, &intreport.Report{Format: intreport.Probe})
}

// Prober sends probes at a rate until ctx ends; count, which may be nil, is
// called for each. send's error ends it, but for p4.ErrNotPrimary and
// p4.ErrUnreachable: the next one may get through.
func Prober(ctx context.Context, perSecond float64, send func(ctx context.Context) error, count func()) error {
	t := time.NewTicker(max(time.Duration(float64(time.Second)/perSecond), 2*time.Millisecond))
	defer t.Stop()
	begin, sent := time.Now(), 0
	for {
		// As many as are due by the clock, so that a busy machine keeps the rate;
		// what it owes for longer than a tenth of a second is not made up for.
		due := 1 + int(time.Since(begin).Seconds()*perSecond)
		for sent = max(sent, due-1-int(perSecond/10)); sent < due; sent++ {
			switch err := send(ctx); {
			case ctx.Err() != nil:
				return nil
			case err == nil:
				if count != nil {
					count()
				}
			case !errors.Is(err, p4.ErrNotPrimary) && !errors.Is(err, p4.ErrUnreachable):
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// packetOut is a switch that sends a controller's packets.
type packetOut interface {
	PacketOut(ctx context.Context, port p4.Port, payload []byte) error
}

// sender sends a probe out of the first switch's first port. It meets that
// port's first queue, whatever limit is in force: the program picks queues for
// packets that come in by a port.
func sender(l scenarios.Live, group p4.Group) (func(context.Context) error, error) {
	frame, err := ProbeFrame(l.Probes.Destination)
	if err != nil {
		return nil, err
	}
	first, ok := group[0].(packetOut)
	if !ok {
		return nil, errors.New("live.probes.send_per_second: probes leave by packet out, which the first switch's actuator, thrift, does not have")
	}
	return func(ctx context.Context) error { return first.PacketOut(ctx, l.Switches[0].Ports[0], frame) }, nil
}

// Probe sends probes of a scenario by packet out until ctx ends. It must be
// primary of the first switch, so no deploy may run.
func Probe(ctx context.Context, s scenarios.Scenario, perSecond float64, count func()) (err error) {
	inv := s.Live.Switches[:1]
	group, err := OpenSwitches(inv, s.Live.Safe, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	if err := reach(ctx, group); err != nil {
		return err
	}
	send, err := sender(s.Live, group)
	if err != nil {
		return err
	}
	return Prober(ctx, perSecond, send, count)
}
