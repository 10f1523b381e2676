package testbed

import (
	"math"

	"github.com/planegym/planegym/p4"
)

// sim is one run: everything that happens is in here, as plain data in a few
// slices, and nothing else is needed to go on from it.
type sim struct {
	*plan
	now      int64  // ns
	hops     uint64 // packets that ended a port's wire
	ended    uint64 // packets that ended their path
	calendar calendar
	ports    []port
	flows    []flow
	sources  []source
	groups   []group
	players  []player
	sacks    pool[sackBlocks]
	probes   pool[probe]
	int      intState
	stage    stage
	slots    []sessionEnd // by flow and source: when a session leaves
	replays  []replay     // by flow and source: what a load of sessions plays there

	foreign bool // was restored: see each

	log *Log // where not nil, it records every probe
}

// plan is what a configuration comes to: shared by all runs, never written.
type plan struct {
	cfg        Config
	switches   int
	route      [][]int8 // by path: ports, then -1
	pathDelay  []int64  // by path: ns through empty queues
	switchOf   []int    // by port: 1…, 0 none
	hopOf      []int8   // by switch - 1: hop on the probes' path
	minRTO     int64
	firstCodel int
	firstFlow  int
	firstUDP   int
	probeAt    int
	entries    int
	libraries  []*library  // by load: of sessions, else nil
	video      []videoPlan // of the measured player, then of the groups with players
	hash       uint64      // of cfg: a snapshot fits one configuration
}

func (s *sim) timerSource(i int) int { return s.firstFlow + 2*i }
func (s *sim) wireSource(i int) int  { return s.firstFlow + 2*i + 1 }

// newSim begins a run at time 0 under limits, one per switch.
func newSim(p *plan, seed uint64, limits []p4.Limit, load float64, phase int) *sim {
	s := &sim{plan: p, calendar: newCalendar(p.entries)}
	who := uint32(0)
	stream := func() draw {
		who++
		return draw{seed: seed, who: who}
	}
	for _, c := range p.cfg.Ports {
		q := port{portState: portState{
			limit: int32(c.Limit), gap: perSecond(c.PPS), prop: ms(c.DelayMS), jitter: ms(c.JitterMS), loss: c.Loss, draw: stream(),
			late: 1e3 * c.LateUS, spread: c.LateSigma,
		}}
		if c.BPS > 0 {
			q.perByte = 8e9 / c.BPS
		}
		if c.Service == "exponential" {
			q.service = exponentialService
		}
		q.aqm = c.AQM.state()
		s.ports = append(s.ports, q)
	}
	s.setLimits(limits)
	s.stage = stage{spared: float32(1 - load), draw: stream()}
	s.addFlow(0, &p.cfg.Video.Flow, stream())
	s.addPlayer(0, stream())
	for g := range p.cfg.Loads {
		s.addGroup(g, stream)
	}
	s.slots = make([]sessionEnd, len(s.flows)+len(s.sources))
	s.replays = make([]replay, len(s.slots))
	s.int.draw = stream()
	s.int.next = s.int.draw.below(1e9)
	s.calendar.set(p.probeAt, s.int.next)
	s.start(0, s.players[0].draw.below(ms(1000)))
	s.stage.begin(s, phase)
	s.everySecond()
	return s
}

// setLimits puts limits, one per switch, in force.
func (s *sim) setLimits(limits []p4.Limit) {
	for i := range s.ports {
		if n := s.switchOf[i]; n > 0 {
			s.ports[i].limit = int32(limits[n-1])
		}
	}
}

// run goes on until just before a time; what is due then comes next.
func (s *sim) run(until int64) {
	ports, codels, flows, udp := len(s.ports), s.firstFlow, s.firstUDP, s.probeAt
	for {
		at, src := s.calendar.next()
		if at >= until {
			break
		}
		s.now = at
		switch {
		case src < ports:
			s.landed(src)
		case src < codels:
			s.codelRelease(src - s.firstCodel)
		case src < flows:
			if i := src - s.firstFlow; i&1 == 1 {
				s.onAck(i >> 1)
			} else {
				s.timer(i >> 1)
			}
		case src < udp:
			s.emit(src - s.firstUDP)
		default:
			s.sendProbe()
		}
	}
	s.now = until
}

// deliver ends a packet's path.
func (s *sim) deliver(p packet) {
	s.ended++
	switch p.kind {
	case dataPacket:
		s.onData(int(p.flow), &p)
	case ackPacket:
		s.echo(&p)
	case probePacket:
		s.onProbe(&p)
	}
}

// second runs one second and writes what was measured in it: a value and a
// validity per column.
func (s *sim) second(values []float32, valid []bool) {
	s.int.clear()
	s.players[0].clear()
	s.run(s.now/1e9*1e9 + 1e9)
	s.measure(values, valid)
	s.everySecond()
}

// everySecond is what has the second for its clock: loads and phases.
func (s *sim) everySecond() {
	s.stage.step(s)
	for g := range s.groups {
		s.populate(g)
	}
	for i := range s.players {
		s.abandon(i)
	}
}

func ms(x float64) int64 { return int64(math.Round(x * 1e6)) }
