package testbed

import (
	"math"
	"slices"
)

// A group is one load of the configuration: slots for sessions, of which a
// pattern says how many are on. It is looked at once a second; a session
// begins at a random moment of the second in which its slot is filled.
type group struct {
	load        uint32 // its index in the configuration
	plan        uint32 // its players' videoPlan
	first, n    uint32 // its slots among flows, or among sources where udp
	firstPlayer uint32
	active      uint32
	blocked     uint32 // sessions that found no slot
	udp         bool
	in          bool // its phase is on
	sessions    bool // a load of sessions
	_           [1]byte
	walk        float64
	began       int64 // ns, where its pattern counts from
	cursor      cursor
	draw        draw
}

// sessionEnd is when the session in a slot leaves; 0: the slot is free.
type sessionEnd struct{ at int64 }

// source sends UDP.
type source struct {
	group   uint32
	owner   uint32 // its group's index
	on      bool
	path    uint8
	back    uint8 // of sessions: the path of what goes up
	replays bool  // plays sessions
	random  bool  // the gaps between bursts are exponential
	poisson bool
	size    uint32
	burst   uint32 // packets in a burst; 0: no bursts
	left    uint32
	seq     uint32
	gap     int64 // ns
	off     int64 // ns, mean
	draw    draw
}

func (s *sim) addFlow(group int, c *Flow, d draw) int {
	t := flowState{
		group: uint16(group), path: c.path, back: c.back, sack: !c.NoSACK, rwnd: uint32(c.Window),
		jitter: ms(c.JitterMS), draw: d, rtoAt: never, probeAt: never, wakeAt: never, delackAt: never,
	}
	if c.CC == "cubic" {
		t.cc = cubic
	}
	s.flows = append(s.flows, flow{state: t})
	s.drawRTT(len(s.flows)-1, c)
	return len(s.flows) - 1
}

// drawRTT gives a flow its round trip.
func (s *sim) drawRTT(i int, c *Flow) {
	t := &s.flows[i].state
	rtt := c.RTTMS[0] + (c.RTTMS[1]-c.RTTMS[0])*t.draw.uniform()
	t.delay = max(ms(rtt)-s.pathDelay[t.path]-s.pathDelay[t.back], 0)
}

func (s *sim) addPlayer(flow int, d draw) {
	s.players = append(s.players, player{flow: uint32(flow), draw: d})
	s.flows[flow].state.player = uint32(len(s.players))
}

func (s *sim) addGroup(k int, stream func() draw) {
	c := &s.cfg.Loads[k]
	if c.Kind == "sessions" {
		s.addSessions(k, stream)
		return
	}
	g := group{load: uint32(k), n: uint32(c.Pattern.slots()), udp: c.Kind == "udp", draw: stream(), walk: c.Pattern.N}
	for v, p := range s.cfg.Loads[:k] {
		if p.Kind == "video" {
			g.plan++
		}
		_ = v
	}
	g.plan++
	if c.Pattern.RandomStart {
		g.began = -g.draw.below(int64(c.Pattern.period() * 1e9))
	}
	if g.udp {
		g.first = uint32(len(s.sources))
		for range g.n {
			u := source{group: uint32(k), path: c.path, size: uint32(c.Bytes), gap: perSecond(c.PPS), random: c.RandomOff, poisson: c.Arrivals == "poisson", draw: stream()}
			if c.Arrivals == "onoff" {
				u.burst, u.off = uint32(math.Round(c.PPS*c.OnMS/1e3)), ms(c.OffMS)
			}
			s.sources = append(s.sources, u)
		}
	} else {
		g.first, g.firstPlayer = uint32(len(s.flows)), uint32(len(s.players))
		for range g.n {
			i := s.addFlow(k+1, &c.Flow, stream())
			if c.Kind == "video" {
				s.addPlayer(i, stream())
			}
		}
	}
	s.groups = append(s.groups, g)
}

// addSessions adds the two groups of a load of sessions: what reacts, on
// flows, and what does not, on sources.
func (s *sim) addSessions(k int, stream func() draw) {
	c := &s.cfg.Loads[k]
	// One stream of chance says when own times begin, for both alike.
	d := stream()
	for _, udp := range []bool{false, true} {
		g := group{load: uint32(k), n: uint32(c.Pattern.Max), udp: udp, sessions: true, draw: d}
		if s.libraries[k].perSecond > 0 {
			g.draw = stream()
		}
		if udp {
			g.first = uint32(len(s.sources))
			for range g.n {
				s.sources = append(s.sources, source{group: uint32(k), owner: uint32(len(s.groups)), path: c.path, back: c.back, replays: true})
			}
		} else {
			g.first = uint32(len(s.flows))
			for range g.n {
				s.addFlow(k+1, &c.Flow, stream())
			}
		}
		s.groups = append(s.groups, g)
	}
}

// slot is the index of a group's j-th slot in s.slots.
func (s *sim) slot(g *group, j uint32) *sessionEnd {
	if g.udp {
		return &s.slots[uint32(len(s.flows))+g.first+j]
	}
	return &s.slots[g.first+j]
}

// populate brings a group to what its pattern says for the second that begins.
func (s *sim) populate(k int) {
	g := &s.groups[k]
	c := &s.cfg.Loads[g.load]
	in := c.Phase == "" || c.Phase == s.cfg.Phases[s.stage.current].Name
	if in && !g.in && c.Phase != "" {
		g.began = s.now
	}
	g.in = in
	if g.sessions && in && s.part(g).sessions() == 0 {
		return
	}
	if !in {
		for j := uint32(0); g.active > 0 && j < g.n; j++ {
			s.leave(g, j)
		}
		return
	}
	if g.sessions {
		s.playSessions(g)
		return
	}
	t := float64(s.now-g.began) / 1e9
	if c.Pattern.Kind == "sessions" {
		s.visit(g, c.Pattern)
		return
	}
	want := uint32(min(max(s.level(g, c.Pattern, t), 0), float64(g.n))*float64(1-s.stage.spared) + .5)
	for j := uint32(0); j < g.n; j++ {
		if j < want {
			s.join(g, j, never)
		} else {
			s.leave(g, j)
		}
	}
}

// visit lets sessions end and new ones come: Poisson arrivals, exponential
// stays.
func (s *sim) visit(g *group, p Pattern) {
	for j := uint32(0); j < g.n; j++ {
		if e := s.slot(g, j).at; e > 0 && e <= s.now {
			s.leave(g, j)
		}
	}
	rate := p.PerSecond * float64(1-s.stage.spared)
	for t := g.draw.exponential() / rate; t < 1; t += g.draw.exponential() / rate {
		stay := int64(g.draw.exponential() * p.StayS * 1e9)
		j := uint32(0)
		for j < g.n && s.slot(g, j).at > 0 {
			j++
		}
		if j == g.n {
			g.blocked++
			continue
		}
		s.join(g, j, s.now+stay)
	}
}

// level is how many sessions a pattern wants at t seconds.
//
// "sinusoid" and "flash" are the WAVE load generator's: λ + A·sin(2πt/(60·P)),
// and a ramp to R·S over 1/log10(1+S) minutes, log10(1+S) minutes there, and
// a ramp down over n·log10(1+S) minutes.
func (s *sim) level(g *group, p Pattern, t float64) float64 {
	switch p.Kind {
	case "sinusoid":
		return p.N + p.Amplitude*math.Sin(2*math.Pi*t/p.PeriodS)
	case "flash":
		l := math.Log10(1 + p.Shock)
		up, hold, down := 60/l, 60*l, 60*p.Decay*l
		t -= p.AtS
		top := p.Shock * p.N
		switch {
		case t < 0 || t >= up+hold+down:
			return p.N
		case t < up:
			return p.N + (top-p.N)*t/up
		case t < up+hold:
			return top
		}
		return top + (p.N-top)*(t-up-hold)/down
	case "step":
		if t < p.AtS {
			return p.N
		}
		return p.To
	case "walk":
		if math.Mod(math.Floor(t), max(p.EveryS, 1)) == 0 {
			g.walk += p.Amplitude * g.draw.normal()
			if g.walk > p.Max {
				g.walk = max(2*p.Max-g.walk, p.Min)
			}
			if g.walk < p.Min {
				g.walk = min(2*p.Min-g.walk, p.Max)
			}
		}
		return g.walk
	case "series":
		return p.Series[int(t/p.EveryS)%len(p.Series)]
	}
	return p.N
}

func (s *sim) join(g *group, j uint32, until int64) {
	e := s.slot(g, j)
	if e.at > 0 {
		return
	}
	e.at = until
	g.active++
	wait := g.draw.below(1e9)
	i := int(g.first + j)
	if g.udp {
		u := &s.sources[i]
		u.on, u.left = true, u.burst
		s.calendar.set(s.firstUDP+i, s.now+wait)
		return
	}
	c := &s.cfg.Loads[g.load]
	s.drawRTT(i, &c.Flow)
	if k := s.flows[i].state.player; k > 0 {
		d := s.players[k-1].draw
		d.n++
		s.players[k-1] = player{flow: uint32(i), draw: d, last: s.now, segment: 1000 * d.n}
	}
	s.start(i, wait)
}

func (s *sim) leave(g *group, j uint32) {
	e := s.slot(g, j)
	if e.at == 0 {
		return
	}
	e.at = 0
	g.active--
	i := int(g.first + j)
	if g.udp {
		s.sources[i].on = false
		s.calendar.set(s.firstUDP+i, never)
		return
	}
	if k := s.flows[i].state.player; k > 0 {
		s.players[k-1].loading = false
	}
	s.stop(i)
}

// wake is flow i's application at the server: the connection is there, a
// request came, or the pause is over.
func (s *sim) wake(i int) {
	t := &s.flows[i].state
	if t.player > 0 {
		s.request(int(t.player - 1))
		return
	}
	c := &s.cfg.Loads[t.group-1]
	if c.Kind == "sessions" {
		s.sendMessage(i)
		return
	}
	if c.ObjectKB == 0 {
		s.write(i, 1<<30, segmentBytes)
		return
	}
	bytes := c.ObjectKB * 1e3
	switch {
	case c.ObjectShape > 1: // Pareto, cut at a hundred times the mean
		a := c.ObjectShape
		bytes = min(bytes*(a-1)/a*math.Pow(t.draw.uniform(), -1/a), 100*bytes)
	case c.ObjectShape == 1:
		bytes *= t.draw.exponential()
	}
	n := uint32(max(math.Ceil(bytes/payload), 1))
	s.write(i, n, uint16(max(bytes-float64(n-1)*payload, 1))+segmentBytes-payload)
}

// drained is all that flow i's application wrote being acknowledged.
func (s *sim) drained(i int) {
	t := &s.flows[i].state
	if t.player > 0 || t.wakeAt != never {
		return
	}
	if s.cfg.Loads[t.group-1].Kind == "sessions" {
		s.pauseMessage(i)
		return
	}
	think := s.cfg.Loads[t.group-1].ThinkS
	t.wakeAt = s.now + int64(think*1e9*t.draw.exponential()) + s.baseRTT(t)
	s.arm(i, t.wakeAt)
}

// emit is source i sending a packet.
func (s *sim) emit(i int) {
	u := &s.sources[i]
	if u.replays {
		s.sendPacket(i)
		return
	}
	next := u.gap
	if u.poisson {
		next = int64(float64(u.gap) * u.draw.exponential())
	}
	if u.burst > 0 {
		if u.left--; u.left == 0 {
			u.left = u.burst
			off := u.off
			if u.random {
				off = int64(float64(off) * u.draw.exponential())
			}
			next += off
		}
	}
	s.calendar.set(s.firstUDP+i, s.now+next)
	u.seq++
	s.arrive(int(s.route[u.path][0]), packet{seq: u.seq, size: uint16(u.size), path: u.path, kind: udpPacket})
}

// stage is which phase is on: they take turns.
type stage struct {
	current uint32
	spared  float32 // share of each load's sessions that stays away, 0…1
	until   int64
	draw    draw
}

// begin begins in a phase, or, where it is negative, in one that is drawn.
func (g *stage) begin(s *sim, phase int) {
	g.until = never
	if n := len(s.cfg.Phases); n > 0 {
		g.current = uint32(g.draw.below(int64(n))) // drawn in any case: what follows is the same
		if phase >= 0 {
			g.current = uint32(phase)
		}
		g.until = int64(g.draw.uniform() * float64(g.length(s)))
	}
}

func (g *stage) length(s *sim) int64 {
	p := s.cfg.Phases[g.current]
	return int64(p.MeanS * (1 + p.Spread*(2*g.draw.uniform()-1)) * 1e9)
}

func (g *stage) step(s *sim) {
	for g.until <= s.now {
		g.current = (g.current + 1) % uint32(len(s.cfg.Phases))
		g.until += g.length(s)
	}
}

// slots is how many sessions a pattern may have at once.
func (p Pattern) slots() int {
	n := p.N
	switch p.Kind {
	case "sinusoid":
		n += math.Abs(p.Amplitude)
	case "flash":
		n = max(n, p.N*p.Shock)
	case "step":
		n = max(n, p.To)
	case "walk":
		n = p.Max
	case "series":
		n = slices.Max(p.Series)
	case "sessions":
		n = p.Max
	}
	return int(math.Ceil(n))
}

// period is what RandomStart draws from, in seconds.
func (p Pattern) period() float64 {
	switch p.Kind {
	case "sinusoid":
		return p.PeriodS
	case "series":
		return p.EveryS * float64(len(p.Series))
	}
	return 3600
}
