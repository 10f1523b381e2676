package testbed

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/p4"
)

// bench is a port "q" under test, apart from the player's port "v".
func bench(q Port, loads ...Load) Config {
	q.Name = "q"
	zero := 0
	for i := range loads {
		if loads[i].Path == nil {
			loads[i].Path = []string{"q"}
		}
		if loads[i].Back == nil {
			loads[i].Back = []string{"-"}
		}
	}
	return Config{
		WarmupS: &zero,
		Ports:   []Port{{Name: "v", Switch: 1, PPS: 5000}, q},
		Video:   Video{Flow: Flow{Path: []string{"v"}, Back: []string{"-"}}},
		Loads:   loads,
	}
}

// emulation marks a test that runs long in one goroutine: the race detector
// would find nothing and take twelve times as long.
func emulation(t *testing.T) {
	t.Helper()
	if raceDetector || testing.Short() {
		t.Skip("long, one goroutine: runs without -race and -short")
	}
	t.Parallel()
}

func simulate(t testing.TB, c Config, seed uint64, seconds int) *sim {
	t.Helper()
	p, err := c.compile()
	if err != nil {
		t.Fatal(err)
	}
	s := newSim(p, seed, limitsOf(p, 64), 1, -1)
	s.seconds(seconds)
	return s
}

func limitsOf(p *plan, l p4.Limit) []p4.Limit { return slices.Repeat([]p4.Limit{l}, p.switches) }

func (s *sim) seconds(n int) {
	values, valid := make([]float32, len(s.columns())), make([]bool, len(s.columns()))
	for range n {
		s.second(values, valid)
	}
}

func near(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*math.Abs(want) {
		t.Errorf("%s: %.5g, want %.5g within %.3g %%", what, got, want, share*100)
	} else {
		t.Logf("%s: %.5g, want %.5g", what, got, want)
	}
}

// Mean wait of M/D/1 is ρ / (2μ(1-ρ)): Pollaczek-Khinchine with constant
// service (Kleinrock, Queueing Systems I, eq. 5.73).
func TestMD1(t *testing.T) {
	emulation(t)
	const mu = 10000.0
	for _, rho := range []float64{.5, .8, .9} {
		s := simulate(t, bench(Port{PPS: mu, Limit: 1 << 18}, Load{Kind: "udp", Arrivals: "poisson", PPS: rho * mu, Pattern: Pattern{N: 1}}), 1, 400)
		c := s.ports[1].count
		near(t, fmt.Sprintf("wait in ms at ρ %v", rho), float64(c.WaitSum)/float64(c.Arrived)/1e6, 1e3*rho/(2*mu*(1-rho)), .02)
		near(t, fmt.Sprintf("depth that arrivals find at ρ %v", rho), float64(c.DepthSum)/float64(c.Arrived), rho*rho/(2*(1-rho)), .02)
	}
}

// M/M/1/K loses (1-ρ)ρ^K / (1-ρ^(K+1)) of its packets (Kleinrock I, eq.
// 3.44). BMv2's limit counts who waits, so K is limit + 1.
func TestMM1K(t *testing.T) {
	emulation(t)
	const mu = 10000.0
	for _, c := range []struct {
		rho   float64
		limit int
	}{{.8, 4}, {.95, 16}, {1.2, 8}} {
		s := simulate(t, bench(Port{PPS: mu, Limit: p4.Limit(c.limit), Service: "exponential"},
			Load{Kind: "udp", Arrivals: "poisson", PPS: c.rho * mu, Pattern: Pattern{N: 1}}), 1, 400)
		n, k := s.ports[1].count, float64(c.limit+1)
		loss := (1 - c.rho) * math.Pow(c.rho, k) / (1 - math.Pow(c.rho, k+1))
		near(t, fmt.Sprintf("loss at ρ %v, limit %d", c.rho, c.limit), float64(n.Refused)/float64(n.Arrived), loss, .02)
		// Mean number in system L; Little's law over accepted packets.
		l := c.rho/(1-c.rho) - (k+1)*math.Pow(c.rho, k+1)/(1-math.Pow(c.rho, k+1))
		wait := l/(c.rho*mu*(1-loss)) - 1/mu
		near(t, fmt.Sprintf("wait in ms at ρ %v, limit %d", c.rho, c.limit),
			float64(n.WaitSum)/float64(n.Arrived-n.Refused)/1e6, wait*1e3, .02)
	}
}

// A thread that oversleeps by L lets go together what came meanwhile: of the
// 1 + λL packets of a sleep the first waits L, the others L/2 in the mean.
func TestLate(t *testing.T) {
	emulation(t)
	const lambda, late = 2000.0, 1e-3
	s := simulate(t, bench(Port{PPS: 1e9, Limit: 64, LateUS: 1e6 * late}, Load{Kind: "udp", Arrivals: "poisson", PPS: lambda, Pattern: Pattern{N: 1}}), 1, 400)
	c := s.ports[1].count
	near(t, "wait in ms", float64(c.WaitSum)/float64(c.Arrived)/1e6, 1e3*(late+lambda*late*late/2)/(1+lambda*late), .02)
	near(t, "depth that arrivals find", float64(c.DepthSum)/float64(c.Arrived), (lambda*late+lambda*lambda*late*late/2)/(1+lambda*late), .02)
}

// As BMv2 1.15.5 was measured with native depths: 2,000 packets/s on 100 of
// every 250 ms, 1,000 packets/s served. The mean depth is over time, as
// regular probes sample it, which by Little's law is the waits' sum over time.
func TestBMv2OnOff(t *testing.T) {
	for _, c := range []struct {
		limit       p4.Limit
		loss, depth float64 // %, packets
	}{{64, 19.3, 24.8}, {32, 35.4, 12.4}} {
		s := simulate(t, bench(Port{PPS: 1000, Limit: c.limit}, Load{Kind: "udp", Arrivals: "onoff", PPS: 2000, OnMS: 100, OffMS: 150, Pattern: Pattern{N: 1}}), 1, 100)
		n := s.ports[1].count
		loss := 100 * float64(n.Refused) / float64(n.Arrived)
		depth := float64(n.WaitSum) / float64(s.now)
		t.Logf("limit %d: loss %.1f %%, enq_qdepth %.1f, largest %d", c.limit, loss, depth, n.DepthMax)
		if math.Abs(loss-c.loss) > 2 || math.Abs(depth-c.depth) > 2 || int64(n.DepthMax) != int64(c.limit)-1 {
			t.Errorf("limit %d: loss %.1f %%, mean enq_qdepth %.1f, largest %d; want %.1f, %.1f, %d", c.limit, loss, depth, n.DepthMax, c.loss, c.depth, c.limit-1)
		}
	}
}

// A limit that shrinks drops nothing that waits: BMv2 refuses arrivals until
// there is room. Metadata are BMv2's: depth before the push, after the pop.
func TestShrinkingLimit(t *testing.T) {
	s := simulate(t, bench(Port{PPS: 1000, Limit: 64}, Load{Kind: "udp", PPS: 1}), 1, 1) // no load sends
	send := func(n int) {
		for range n {
			s.arrive(1, packet{kind: udpPacket, size: 1500, path: 2})
		}
	}
	at := s.now
	send(60)
	s.ports[1].limit = 8
	send(5)
	if n := s.ports[1].count; n.Refused != 5 || n.Arrived != 65 || n.DepthMax != 58 { // the first leaves at once
		t.Errorf("%+v", n)
	}
	s.run(at + 52e6) // 53 released
	send(1)
	if n := s.ports[1].count; n.Refused != 5 {
		t.Errorf("7 wait under limit 8, and an arrival is refused")
	}
	send(1)
	if n := s.ports[1].count; n.Refused != 6 {
		t.Errorf("8 wait under limit 8, and an arrival is taken")
	}
	s.run(at + 1e9)
	if n := s.ports[1].count; n.Delivered != 61 {
		t.Errorf("%d delivered, want 61", n.Delivered)
	}
}

// busy is a testbed that does everything at once.
func busy() Config {
	path, back := []string{"s1", "s2", "s3"}, []string{"r2", "r1"}
	two := 2
	return Config{
		WarmupS: &two,
		Ports: []Port{
			{Name: "s1", Switch: 1, PPS: 2500, DelayMS: 1, JitterMS: .3, LateUS: 300, LateSigma: 1},
			{Name: "s2", Switch: 2, BPS: 40e6, DelayMS: 1, Loss: .001, AQM: AQM{Name: "codel"}},
			{Name: "s3", Switch: 3, PPS: 2200, DelayMS: 1, Service: "exponential", AQM: AQM{Name: "pi2"}},
			{Name: "r2", PPS: 1000, Limit: 10, AQM: AQM{Name: "red"}},
			{Name: "r1", PPS: 1000, Limit: 10, Loss: .01},
		},
		Video:  Video{Flow: Flow{Path: path, Back: back}, SizeCV: .3},
		Probe:  Probe{PerSecond: 50},
		Phases: []Phase{{Name: "a", MeanS: 7, Spread: .5}, {Name: "b", MeanS: 5}},
		Loads: []Load{
			{Kind: "tcp", Pattern: Pattern{Kind: "walk", N: 3, Max: 6, Amplitude: 1}, Flow: Flow{RTTMS: [2]float64{10, 80}, JitterMS: 2}},
			{Kind: "tcp", Phase: "a", Pattern: Pattern{N: 4}, Flow: Flow{CC: "reno", NoSACK: true, Path: path[1:], Window: 40}},
			{Kind: "tcp", Pattern: Pattern{Kind: "sessions", PerSecond: 3, StayS: 2, Max: 12}, ObjectKB: 80, ObjectShape: 1.3, ThinkS: .2},
			{Kind: "udp", Phase: "b", Pattern: Pattern{N: 2}, Arrivals: "onoff", PPS: 9000, OnMS: 3, OffMS: 30, RandomOff: true},
			{Kind: "udp", Pattern: Pattern{Kind: "sinusoid", N: 2, Amplitude: 1, PeriodS: 20}, Arrivals: "poisson", PPS: 100, Flow: Flow{Path: path[2:]}},
			{Kind: "video", Pattern: Pattern{Kind: "step", N: 1, To: 2, AtS: 9}, Player: Video{ABR: "bola"}},
		},
	}
}

// Nothing is lost but what is counted as lost, and a sender's counts are
// those of its segments.
func TestConservation(t *testing.T) {
	seeds := uint64(6)
	if raceDetector {
		seeds = 1
	}
	for seed := range seeds {
		s := simulate(t, busy(), seed, 0)
		for sec := range 40 {
			s.seconds(1)
			if sec%7 == 3 {
				s.setLimits([]p4.Limit{p4.Limit(4 + sec), 64, p4.Limit(80 - sec)})
			}
			conserved(t, s)
			if !s.sound(s.settings()) {
				t.Fatalf("seed %d, %d s: a run is taken for no run", seed, sec)
			}
		}
		var c flowCount
		for i := range s.flows {
			f := s.flows[i].state.count
			c.Timeouts, c.Recoveries, c.Undone = c.Timeouts+f.Timeouts, c.Recoveries+f.Recoveries, c.Undone+f.Undone
		}
		if c.Timeouts == 0 || c.Recoveries == 0 || s.players[0].total.Segments == 0 {
			t.Errorf("seed %d: %+v and %+v: the test tries too little", seed, c, s.players[0].total)
		}
	}
}

func conserved(t *testing.T, s *sim) {
	t.Helper()
	var arrived, delivered, sent, aux uint64
	for i := range s.ports {
		q := &s.ports[i]
		c := q.count
		var here uint64
		for j := q.slots.head; j != q.slots.tail; j++ {
			if e := q.slots.at(j); e.kind != noPacket {
				here++
				if e.kind == ackPacket && e.aux > 0 {
					aux++
				}
			}
		}
		if c.Arrived != c.Refused+c.Dropped+c.Lost+c.Delivered+here {
			t.Fatalf("%.1f s, port %d: %+v and %d present", float64(s.now)/1e9, i, c, here)
		}
		arrived += c.Arrived
		delivered += c.Delivered
	}
	for i := range s.flows {
		f := &s.flows[i]
		c := &f.state
		sent += c.count.Sent + c.count.Acks
		for j := f.wire.head; j != f.wire.tail; j++ {
			if f.wire.at(j).aux > 0 {
				aux++
			}
		}
		if !c.on {
			continue
		}
		var pipe, lost, sacked int32
		for q := c.una; q != c.nxt; q++ {
			g := f.segs.at(q)
			switch {
			case g.flags&segSacked != 0:
				sacked++
			case g.flags&segLost != 0:
				lost++
			default:
				pipe++
			}
			if g.flags&segResent != 0 {
				pipe++
			}
		}
		if pipe != c.pipe || lost != c.lost || c.sack && sacked != c.sacked {
			t.Fatalf("%.1f s, flow %d: pipe %d lost %d sacked %d, counted %d %d %d", float64(s.now)/1e9, i, c.pipe, c.lost, c.sacked, pipe, lost, sacked)
		}
		if after(c.una, c.rcvNxt) || after(c.rcvNxt, c.nxt) || after(c.nxt, c.end) || c.nxt-c.una > c.rwnd || f.segs.head != c.una || f.segs.tail != c.nxt {
			t.Fatalf("%.1f s, flow %d: una %d rcvNxt %d nxt %d end %d", float64(s.now)/1e9, i, c.una, c.rcvNxt, c.nxt, c.end)
		}
		for k, b := range f.ooo {
			if !after(b.to, b.from) || !after(b.from, c.rcvNxt) || k > 0 && !after(b.from, f.ooo[k-1].to) {
				t.Fatalf("flow %d: blocks %v past %d", i, f.ooo, c.rcvNxt)
			}
		}
		if c.una != c.nxt && min(c.rtoAt, c.probeAt) < s.calendar.at(s.timerSource(i)) {
			t.Fatalf("flow %d: its timer is not in the calendar", i)
		}
		if c.una != c.nxt && c.rtoAt == never {
			t.Fatalf("flow %d: data are out and no timer runs", i)
		}
	}
	for i := range s.sources {
		sent += uint64(s.sources[i].seq)
	}
	sent += uint64(s.int.sent)
	if arrived != sent+delivered-s.ended {
		t.Fatalf("%.1f s: %d arrivals, %d sent, %d delivered, %d of them at their end", float64(s.now)/1e9, arrived, sent, delivered, s.ended)
	}
	if used := uint64(len(s.sacks.items) - len(s.sacks.free)); used != aux {
		t.Fatalf("%.1f s: %d SACK records are held, %d travel", float64(s.now)/1e9, used, aux)
	}
}

// Once warm a second allocates nothing, whatever happens in it.
func TestNothingIsAllocated(t *testing.T) {
	p, err := busy().compile()
	if err != nil {
		t.Fatal(err)
	}
	s := newSim(p, 1, limitsOf(p, 64), 1, -1)
	s.seconds(120)
	values, valid := make([]float32, len(p.columns())), make([]bool, len(p.columns()))
	if n := testing.AllocsPerRun(60, func() { s.second(values, valid) }); n > .5 {
		t.Errorf("%v allocations a second", n)
	}
}
