package deploy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
	collect "github.com/planegym/planegym/telemetry/live"
)

// liveOptions say what to open of a scenario's switches.
type liveOptions struct {
	shadow    bool // decide, but set no limit
	scaler    func(columns []telemetry.Field) (queues.Normaliser, error)
	endless   bool // episodes end for no number of steps
	autoreset env.Autoreset
	act       func(live.Act)
	event     func(Event)
	busy      func(time.Duration) // how long what comes next may take
	tap       *collect.Tap
	wrap      func(env.Plant) env.Plant
}

// liveRun is a scenario's switches, opened, with their telemetry coming in.
type liveRun struct {
	vector    env.Vector
	plant     *live.Plant
	collector *collect.Collector
	window    time.Duration // ours
	second    time.Duration // ours, of one of the switches'
}

// reachTime is how long opening waits for the switches.
const reachTime = 10 * time.Second

// openLive opens the switches of a scenario and where their telemetry comes in.
func openLive(ctx context.Context, s scenarios.Scenario, o liveOptions) (*liveRun, error) {
	l := s.Live
	if err := l.Switches.Check(ActionLimits(s), l.Safe); err != nil {
		return nil, fmt.Errorf("%w: planegym switches check says more", err)
	}
	open := OpenSwitches
	if o.shadow {
		open = OpenBackup
	}
	group, err := open(l.Switches, l.Safe, o.event)
	if err != nil {
		return nil, err
	}
	if err := reach(ctx, group); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: planegym switches check says more", err), group.Close())
	}
	source, err := openTelemetry(l, group, o.tap)
	if err != nil {
		return nil, errors.Join(err, group.Close())
	}
	source.busy = o.busy
	var control p4.QueueController = group
	if o.shadow {
		control = NewShadow(group)
	}
	plant, err := live.New(l.Config, control, l.Switches.Queues(), source, o.act)
	if err != nil {
		return nil, errors.Join(err, group.Close(), source.Close())
	}
	scaler, err := scalerOf(ctx, s, o.scaler, plant.Columns())
	if err != nil {
		return nil, errors.Join(err, plant.Close())
	}
	s.Env.Autoreset = o.autoreset
	if o.endless {
		s.Env.MaxSteps = 1 << 30
	}
	var acting env.Plant = plant
	if o.wrap != nil {
		acting = o.wrap(plant)
	}
	v, err := queues.New(s.Env, acting, 1, scaler)
	if err != nil {
		return nil, errors.Join(err, plant.Close())
	}
	return &liveRun{vector: v, plant: plant, collector: source.Collector, second: source.second, window: time.Duration(v.Spec().StepSeconds * float64(source.second))}, nil
}

// reach waits until every switch is in hand.
func reach(ctx context.Context, group p4.Group) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	var errs []error
	for _, s := range group {
		if c, ok := s.(*p4rt.Client); ok {
			errs = append(errs, c.Ready(ctx))
		}
	}
	return errors.Join(errs...)
}

// collected is a collector with its sources: an live.Telemetry.
type collected struct {
	*collect.Collector
	busy    func(time.Duration)
	second  time.Duration
	cancel  context.CancelFunc
	sources sync.WaitGroup
	mu      sync.Mutex
	errs    []error // of sources that ended before they should
	names   []string
	paced   []bool // by switch: its clock was found to go as ours
}

// settleTime is how long after a window what was measured in it may come in.
const settleTime = 250 * time.Millisecond

func openTelemetry(l scenarios.Live, group p4.Group, tap *collect.Tap) (*collected, error) {
	scale := l.TimeScale
	if scale == 0 {
		scale = 1
	}
	var ids []uint32
	for i := range l.Switches {
		ids = append(ids, l.Probes.ID(i))
	}
	c := &collected{second: time.Duration(float64(time.Second) / scale), names: l.Switches.Names(), paced: make([]bool, len(l.Switches))}
	probes, err := collect.ParseFrom(l.Probes.From)
	if err != nil {
		return nil, fmt.Errorf("live.probes.%w", err)
	}
	player, err := collect.ParseFrom(l.Player.From)
	if err != nil {
		return nil, fmt.Errorf("live.player.%w", err)
	}
	c.Collector, err = collect.New(collect.Config{
		Probes: collect.Access{From: probes}, PlayerAccess: collect.Access{Token: l.Player.Token, From: player, Origins: l.Player.Origins},
		Switches: ids, Stalls: !l.Player.NoStalls, Aggregate: l.Probes.Aggregation, Second: c.second, Tap: tap,
		Settle: max(time.Duration(float64(settleTime)/scale), 5*time.Millisecond),
		Decode: intreport.Config{Tick: time.Duration(l.Probes.TickNS), NoTimes: l.Probes.NoTimes},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	if err := c.listen(ctx, l, group); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// listen starts the sources. Each ends with ctx.
func (c *collected) listen(ctx context.Context, l scenarios.Live, group p4.Group) error {
	if l.Probes.UDP != "" {
		conn, err := net.ListenPacket("udp", l.Probes.UDP)
		if err != nil {
			return fmt.Errorf("live.probes.udp: %w", err)
		}
		c.source(func() error { return c.ServeUDP(ctx, conn) })
	}
	if l.Probes.SendPerSecond > 0 && len(group) > 0 {
		send, err := sender(l, group)
		if err != nil {
			return err
		}
		c.source(func() error { return Prober(ctx, l.Probes.SendPerSecond, send, nil) })
	}
	for _, s := range group {
		if r, ok := s.(*p4rt.Client); ok && l.Probes.PacketIn {
			c.source(func() error {
				for {
					select {
					case p := <-r.Packets():
						c.Frame(time.Now(), p.Payload)
					case <-ctx.Done():
						return nil
					}
				}
			})
		}
	}
	if l.Player.Log != "" {
		c.source(func() error { return c.Tail(ctx, l.Player.Log) })
		return nil
	}
	at, err := net.Listen("tcp", l.Player.HTTP)
	if err != nil {
		return fmt.Errorf("live.player.http: %w", err)
	}
	c.source(func() error { return collect.ServeHTTP(ctx, at, c.Player()) })
	return nil
}

// source runs f until the end. Where it fails before, telemetry grows old.
func (c *collected) source(f func() error) {
	c.sources.Go(func() {
		if err := f(); err != nil {
			c.mu.Lock()
			c.errs = append(c.errs, err)
			c.mu.Unlock()
		}
	})
}

// Window is the collector's; it says how long it takes.
func (c *collected) Window(ctx context.Context, start time.Time, values []float32, valid []bool) (live.Ages, error) {
	if c.busy != nil {
		c.busy(time.Until(start) + time.Duration(len(values)/len(c.Columns()))*c.second)
		defer c.busy(0)
	}
	age, err := c.Collector.Window(ctx, start, values, valid)
	if err == nil {
		err = c.clocks()
	}
	return live.Ages{Switches: age.Switches, Player: age.Player}, err
}

// clocks is an error if a switch's clock goes at another pace than ours in the
// first seconds: its reports would be put where they do not belong.
func (c *collected) clocks() error {
	paces := c.Stats().Paces
	for i, p := range paces {
		if c.paced[i] || math.IsNaN(float64(p)) {
			continue
		}
		if fault := c.ClockFault(i); fault != "" {
			return fmt.Errorf("live.probes: %s: %s", c.names[i], fault)
		}
		c.paced[i] = true
	}
	return nil
}

// Close ends the sources and tells what went wrong with them.
func (c *collected) Close() error {
	c.cancel()
	c.sources.Wait()
	return errors.Join(c.errs...)
}

// scalerOf is what normalises observations of live switches: given, or, where
// it is not, fitted to the emulated testbed of the scenario.
func scalerOf(ctx context.Context, s scenarios.Scenario, given func([]telemetry.Field) (queues.Normaliser, error), columns []telemetry.Field) (queues.Normaliser, error) {
	switch n := s.Env.Observation.Normalise; {
	case n == "none" || n == "l2":
		return nil, nil
	case given != nil:
		return given(columns)
	}
	scaler, err := testbed.FitScaler(ctx, s.Testbed, ActionLimits(s))
	if err != nil {
		return nil, err
	}
	return ScalerByName(scaler, scaler.Fields(), columns)
}

// named is a scaler whose columns are found by their names.
type named struct {
	queues.Normaliser
	at []int
}

func (n named) Scale(column int, x float32) float32 { return n.Normaliser.Scale(n.at[column], x) }

// ScalerByName is s, a scaler of the columns of, for other columns.
func ScalerByName(s queues.Normaliser, of, columns []telemetry.Field) (queues.Normaliser, error) {
	n := named{Normaliser: s}
	for _, f := range columns {
		at := slices.IndexFunc(of, func(g telemetry.Field) bool { return g.Name == f.Name })
		if at < 0 && f.Name != "stall_s" { // recordings have none, observations but "window" neither
			return nil, fmt.Errorf("env.observation: the data that it is scaled by has no %s", f.Name)
		}
		n.at = append(n.at, max(at, 0))
	}
	return n, nil
}

// ActionLimits are the limits that the actions of a scenario set.
func ActionLimits(s scenarios.Scenario) []p4.Limit {
	if s.Env.Limits == nil {
		return queues.DefaultLimits()
	}
	return s.Env.Limits
}
