package testbed

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math"
	"slices"
	"strconv"

	"github.com/planegym/planegym/traffic"
)

// A load of sessions is played from a library, sessions of a file or drawn of
// a model before any run. TCP sessions are reactive by default: what the server
// sends without a packet of the client between is a message, written to a
// connection of the testbed's own TCP, and the gap before it a pause that
// begins when the message before is acknowledged. All else is open loop:
// packets at their own times, down on the load's path, up on its way back.

// Arrivals is how a load's packets or sessions come: a name, or sessions a
// second.
type Arrivals string

// UnmarshalTOML takes a string or a number.
func (a *Arrivals) UnmarshalTOML(v any) error {
	switch x := v.(type) {
	case string:
		*a = Arrivals(x)
	case int64:
		*a = Arrivals(strconv.FormatInt(x, 10))
	case float64:
		*a = Arrivals(strconv.FormatFloat(x, 'g', -1, 64))
	default:
		return fmt.Errorf("arrivals: a %T is neither a name nor sessions a second", v)
	}
	return nil
}

// library is what a load's sessions come to: shared by all runs, never written.
type library struct {
	open, reactive part
	perSecond      float64 // 0: at their own times
	period         int64   // ns after which own times begin anew
	hash           uint64
}

// part is the sessions that are played in one of the two ways.
type part struct {
	start []int64 // ns, ascending: own times
	first []int32 // [sessions+1] into the rest
	gap   []int64 // ns: before a packet, or the pause before a message
	size  []uint32
	down  []bool
	share float64 // of all sessions
}

func (p *part) sessions() int { return len(p.start) }

// maxGap of a session: longer silences are cut to it.
const maxGap = int64(3600e9)

// maxStart is when the last session starts at the latest, s: three years.
const maxStart = 1e8

// maxMore bounds the packets of a session in open loop beyond one a step.
const maxMore = 1 << 20

// newLibrary compiles a set of sessions. Fields it looks for: direction, size
// and gap of a step, protocol of a session.
func newLibrary(set *traffic.Set, reactive bool, speed float64, perSecond float64, maxSteps int) (*library, error) {
	c := &set.Of
	direction, size, gap, err := c.Packets()
	if err != nil {
		return nil, err
	}
	protocol := c.MetaIndex("protocol")
	if set.Len() == 0 {
		return nil, fmt.Errorf("there is no session")
	}
	l := &library{perSecond: perSecond}
	order := make([]int, set.Len())
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := set.Sessions[a].Start, set.Sessions[b].Start; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	hash := crc64.New(crcTable)
	number := func(x int64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(x))
		_, _ = hash.Write(b[:]) // never fails
	}
	first := math.Inf(1)
	for _, i := range order {
		first = min(first, set.Sessions[i].Start)
	}
	nanoseconds := func(s float64) int64 { return int64(min(s/speed*1e9, float64(maxGap))) }
	header := 28.
	for _, i := range order {
		s := &set.Sessions[i]
		tcp := protocol < 0 || s.Meta[protocol] == 0
		if header = 28; tcp {
			header = 40
		}
		p := &l.open
		if tcp && reactive {
			p = &l.reactive
		}
		from := len(p.gap)
		if len(p.first) == 0 {
			p.first = append(p.first, 0)
		}
		pause, message := int64(0), 0.
		flush := func() {
			if message > 0 {
				p.gap, p.size, p.down = append(p.gap, pause), append(p.size, uint32(min(message, 1<<31))), append(p.down, true)
				pause, message = 0, 0
			}
		}
		duration := int64(0)
		n := c.Len(s)
		if maxSteps > 0 {
			n = min(n, maxSteps)
		}
		more := 0.
		for t := range n {
			step := c.Step(s, t)
			g, n := nanoseconds(step[gap]), step[size]
			duration += g
			if p == &l.open {
				if more += math.Ceil((n+header)/1500) - 1; more > maxMore {
					return nil, fmt.Errorf("session %d: step %d: %.0f bytes: steps are cut into more than %d packets", i, t, n, maxMore)
				}
				// A frame that a network card cut is sent as the wire's packets.
				for left := n + header; left > 0; left -= 1500 {
					p.gap, p.size, p.down = append(p.gap, g), append(p.size, uint32(max(min(left, 1500), ackBytes))), append(p.down, step[direction] == 1)
					g = 0
				}
				continue
			}
			up := step[direction] == 0
			switch {
			case up && n > 0: // a request: what the server sends after it is another message
				flush()
				pause += g
			case up || n == 0: // an acknowledgement: the testbed's own TCP has its own
				if message == 0 {
					pause += g
				}
			default:
				if message == 0 {
					pause += g
				}
				message += n
			}
		}
		flush()
		if len(p.gap) == from {
			continue // nothing to send
		}
		start := int64(min((s.Start-first)/speed, maxStart) * 1e9)
		p.start = append(p.start, start)
		p.first = append(p.first, int32(len(p.gap)))
		l.period = max(l.period, start+duration)
		number(start)
		for k := from; k < len(p.gap); k++ {
			number(p.gap[k])
			number(int64(p.size[k]))
			if p.down[k] {
				number(1)
			}
		}
	}
	n := l.open.sessions() + l.reactive.sessions()
	if n == 0 {
		return nil, fmt.Errorf("no session sends anything")
	}
	if n > 1 {
		l.period += l.period / int64(n)
	} else {
		l.period += l.period / int64(len(l.open.gap)+len(l.reactive.gap))
	}
	l.period = max(l.period, 1e6)
	l.open.share, l.reactive.share = float64(l.open.sessions())/float64(n), float64(l.reactive.sessions())/float64(n)
	l.hash = hash.Sum64()
	return l, nil
}

// replay is what a slot plays.
type replay struct {
	session int32  // index in its part
	at      int32  // index of the next packet or message in the part
	seq     uint32 // of packets
	_       uint32
}

// cursor is where a group of sessions at their own times has come to.
type cursor struct {
	next  int32 // session
	begun bool
	_     [3]byte
	base  int64 // ns: own times count from there
}

func (s *sim) part(g *group) *part {
	l := s.libraries[g.load]
	if g.udp {
		return &l.open
	}
	return &l.reactive
}

// replayOf is what slot j of a group plays.
func (s *sim) replayOf(g *group, j uint32) *replay {
	if g.udp {
		return &s.replays[uint32(len(s.flows))+g.first+j]
	}
	return &s.replays[g.first+j]
}

// playSessions lets the sessions of the second that begins come.
func (s *sim) playSessions(g *group) {
	for j := uint32(0); j < g.n; j++ {
		if e := s.slot(g, j).at; e > 0 && e <= s.now {
			s.leave(g, j)
		}
	}
	l, p := s.libraries[g.load], s.part(g)
	n := int32(p.sessions())
	if l.perSecond > 0 {
		// Poisson arrivals, thinned between the two ways of playing.
		rate := l.perSecond * p.share * float64(1-s.stage.spared)
		if !(rate > 0) {
			return
		}
		for t := g.draw.exponential() / rate; t < 1; t += g.draw.exponential() / rate {
			k := int32(g.draw.below(int64(n)))
			s.play(g, p, k, p.first[k], int64(t*1e9))
		}
		return
	}
	c := &g.cursor
	if !c.begun || g.began > c.base { // also where its phase begins
		*c = cursor{begun: true, base: s.now}
		if s.cfg.Loads[g.load].Pattern.RandomStart || !s.cfg.Loads[g.load].fromStart() {
			c.base -= g.draw.below(l.period)
		}
		g.began = c.base
		for ; c.next < n && c.base+p.start[c.next] < s.now; c.next++ {
			s.enter(g, p, c.next, s.now-c.base-p.start[c.next])
		}
	}
	for {
		if c.next == n {
			if c.base+l.period >= s.now+1e9 {
				return
			}
			c.next, c.base = 0, c.base+l.period
			g.began = c.base
		}
		at := c.base + p.start[c.next]
		if at >= s.now+1e9 {
			return
		}
		s.play(g, p, c.next, p.first[c.next], max(at-s.now, 0))
		c.next++
	}
}

// enter plays session k from where it is after a time, open loop alone.
func (s *sim) enter(g *group, p *part, k int32, after int64) {
	if !g.udp {
		return
	}
	for at := p.first[k]; at < p.first[k+1]; at++ {
		if after -= p.gap[at]; after < 0 {
			s.play(g, p, k, at, -after-p.gap[at])
			return
		}
	}
}

// play puts session k into a slot, from packet or message at on, wait ns from
// now.
func (s *sim) play(g *group, p *part, k, at int32, wait int64) {
	rtt := g.draw.uniform() // drawn also where there is no slot: later ones stay the same
	j := uint32(0)
	for j < g.n && s.slot(g, j).at > 0 {
		j++
	}
	if j == g.n {
		g.blocked++
		return
	}
	s.slot(g, j).at = never
	g.active++
	*s.replayOf(g, j) = replay{session: k, at: at}
	i := int(g.first + j)
	if g.udp {
		s.sources[i].on = true
		s.calendar.set(s.firstUDP+i, s.now+max(wait+p.gap[at], 0))
		return
	}
	t := &s.flows[i].state
	c := &s.cfg.Loads[g.load].Flow
	t.delay = max(ms(c.RTTMS[0]+(c.RTTMS[1]-c.RTTMS[0])*rtt)-s.pathDelay[t.path]-s.pathDelay[t.back], 0)
	s.start(i, wait+max(p.gap[at]-s.baseRTT(t), 0))
}

// sendMessage is flow i's application at its next message.
func (s *sim) sendMessage(i int) {
	g, j := s.groupOf(i)
	p, r := s.part(g), s.replayOf(g, j)
	bytes := float64(p.size[r.at])
	r.at++
	n := uint32(math.Ceil(bytes / payload))
	s.write(i, n, uint16(max(bytes-float64(n-1)*payload, 1))+segmentBytes-payload)
}

// pauseMessage is all of a message being acknowledged: the next one follows
// after its pause, or the session is over.
func (s *sim) pauseMessage(i int) {
	g, j := s.groupOf(i)
	p, r := s.part(g), s.replayOf(g, j)
	t := &s.flows[i].state
	if r.at == p.first[r.session+1] {
		s.slot(g, j).at = s.now // it leaves when the second is over
		return
	}
	t.wakeAt = s.now + max(p.gap[r.at], s.baseRTT(t))
	s.arm(i, t.wakeAt)
}

// groupOf is the group of sessions that flow i belongs to, and its slot there.
func (s *sim) groupOf(i int) (*group, uint32) {
	for k := range s.groups {
		if g := &s.groups[k]; !g.udp && uint32(i) >= g.first && uint32(i) < g.first+g.n {
			return g, uint32(i) - g.first
		}
	}
	panic("testbed: a flow of no group")
}

// sendPacket is source i of a load of sessions at its next packet.
func (s *sim) sendPacket(i int) {
	u := &s.sources[i]
	g := &s.groups[u.owner]
	p, r := s.part(g), s.replayOf(g, uint32(i)-g.first)
	path := u.path
	if !p.down[r.at] {
		path = u.back
	}
	size := p.size[r.at]
	r.at++
	r.seq++
	if r.at < p.first[r.session+1] {
		s.calendar.set(s.firstUDP+i, s.now+p.gap[r.at])
	} else {
		s.calendar.set(s.firstUDP+i, never)
		u.on = false
		s.slot(g, uint32(i)-g.first).at = max(s.now, 1)
	}
	if next := s.route[path][0]; next >= 0 {
		s.arrive(int(next), packet{seq: r.seq, size: uint16(size), path: path, kind: udpPacket})
	}
}

// completeSessions checks a load of sessions. Without Sessions it is checked,
// and not ready to run.
func (l *Load) completeSessions(key string, p *plan) error {
	if l.Speed == 0 {
		l.Speed = 1
	}
	if l.Pattern.Max == 0 {
		l.Pattern.Max = 256
	}
	if l.Model != "" && l.File != "" {
		return fault(key+".model", "there is a file too: give one of them")
	}
	if l.Model == "" && l.File == "" && l.Sessions == nil {
		return fault(key+".model", "is missing: give a model, or a file of sessions")
	}
	if l.MaxSteps < 0 {
		return fault(key+".max_steps", "%d is negative", l.MaxSteps)
	}
	if l.Pool < 0 || l.Pool > 1<<18 {
		return fault(key+".pool", "%d is outside 0…262144", l.Pool)
	}
	if _, err := l.rate(); err != nil {
		return fault(key+".arrivals", "%v", err)
	}
	return first(
		within(key+".speed", l.Speed, 1e-6, 1e6),
		within(key+".pattern.max", l.Pattern.Max, 1, maxFlows))
}

// fromStart reports whether sessions at their own times begin with the first.
func (l *Load) fromStart() bool { return l.Arrivals == "start" }

// rate is sessions a second; 0: at their own times.
func (l *Load) rate() (float64, error) {
	switch l.Arrivals {
	case "", "recorded", "start":
		return 0, nil
	}
	x, err := strconv.ParseFloat(string(l.Arrivals), 64)
	if err != nil || !(x > 0 && x <= 1e5) {
		return 0, fmt.Errorf(`%q is neither "recorded", "start" nor a number of sessions a second up to 1e5`, l.Arrivals)
	}
	return x, nil
}

// compileSessions makes the library of a load whose sessions are there.
func (l *Load) compileSessions(key string) (*library, error) {
	perSecond, err := l.rate()
	if err != nil {
		return nil, fault(key+".arrivals", "%v", err)
	}
	set := l.Sessions()
	if err := set.Valid(); err != nil {
		return nil, fault(key+".sessions", "%v", err)
	}
	lib, err := newLibrary(set, l.Reactive == nil || *l.Reactive, l.Speed, perSecond, l.MaxSteps)
	if err != nil {
		return nil, fault(key+".sessions", "%v", err)
	}
	return lib, nil
}

// PacketsPerSecond is what a load of sessions that were read offers in the mean,
// up and down: every packet at its own time; 0 of other loads.
func (l *Load) PacketsPerSecond() float64 {
	if l.Sessions == nil {
		return 0
	}
	perSecond, err := l.rate()
	if err != nil {
		return 0
	}
	lib, err := newLibrary(l.Sessions(), false, cmp.Or(l.Speed, 1), perSecond, l.MaxSteps)
	if err != nil {
		return 0
	}
	n := float64(len(lib.open.gap))
	if perSecond > 0 {
		return perSecond * n / float64(lib.open.sessions())
	}
	return n / (float64(lib.period) / 1e9)
}
