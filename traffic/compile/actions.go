package compile

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
)

// Payload bytes of a packet that a series or a record asks for, at most.
const payload = 1448

// Actions gives the schema of packets that sessions of a schema become, and how
// one does. Sessions of packets stay as they are. For the others the rule is:
// bytes are sent in packets of equal size at equal distances.
//
//   - Of a series (bytes up and down a tick), the bytes of a tick and direction
//     are as few packets as hold 1,448 bytes of payload at most, packet i of n
//     (i + ½)/n of the tick after it began. The session is UDP: nothing is added.
//   - Of flow records (packets, bytes and duration), a record is as many packets
//     as it says, more where they would be larger than that, packet i of n
//     i/(n - 1) of its duration after it began, from client to server. Its bytes
//     less 40 of headers a packet of TCP, 28 of others, are payload. Protocols
//     other than TCP, UDP and ICMP become UDP.
//
// A session without a byte or packet has no step. An error says what sessions
// are neither of the three.
func Actions(c *traffic.Schema) (*traffic.Schema, func(s *traffic.Session) (traffic.Session, error), error) {
	_, no := flows.NewReader(c)
	if no == nil {
		return c, func(s *traffic.Session) (traffic.Session, error) { return *s, nil }, nil
	}
	sized := func(i int) bool { return i >= 0 && c.Steps[i].Kind == traffic.Size }
	of := flows.Schema(c.Labels)
	of.Steps = slices.Delete(slices.Clone(of.Steps), flows.Flags, flows.Flags+1)
	if up, down := c.StepIndex("up"), c.StepIndex("down"); sized(up) && sized(down) && c.Tick > 0 {
		return &of, func(s *traffic.Session) (traffic.Session, error) {
			p := plainPackets{limit: maxPackets}
			for t := range c.Len(s) {
				x := c.Step(s, t)
				p.spread(float64(t)*c.Tick, c.Tick, x[up], 0, false)
				p.spread(float64(t)*c.Tick, c.Tick, x[down], 0, true)
			}
			return p.session(s, flows.UDP, 0, 0, 4433), p.fault()
		}, nil
	}
	at := map[string]int{}
	for _, name := range []string{"gap", "duration", "packets", "size"} {
		at[name] = c.StepIndex(name)
	}
	for _, name := range []string{"protocol", "client", "server", "server_port"} {
		at["meta "+name] = c.MetaIndex(name)
	}
	for _, name := range slices.Sorted(maps.Keys(at)) {
		if at[name] < 0 {
			return nil, nil, fmt.Errorf("compile: sessions are no packets (%w), no series (up and down a tick) and no flow records, which would have %q", no, name)
		}
	}
	for _, x := range []struct {
		field traffic.Field
		kind  traffic.Kind
	}{{c.Steps[at["gap"]], traffic.Gap}, {c.Steps[at["packets"]], traffic.Size}, {c.Steps[at["size"]], traffic.Size}, {c.Meta[at["meta protocol"]], traffic.Symbol},
		{c.Meta[at["meta client"]], traffic.Address}, {c.Meta[at["meta server"]], traffic.Address}, {c.Meta[at["meta server_port"]], traffic.Port}} {
		if x.field.Kind != x.kind {
			return nil, nil, fmt.Errorf("compile: flow records: %s is a %s, not a %s", x.field.Name, x.field.Kind, x.kind)
		}
	}
	return &of, func(s *traffic.Session) (traffic.Session, error) {
		proto, header := flows.UDP, 28.
		switch name := c.Meta[at["meta protocol"]].Levels[int(s.Meta[at["meta protocol"]])]; strings.ToLower(name) {
		case "tcp":
			proto, header = flows.TCP, 40
		case "icmp":
			proto = flows.ICMP
		}
		p := plainPackets{limit: maxPackets}
		begin := 0.
		for t := range c.Len(s) {
			x := c.Step(s, t)
			begin += x[at["gap"]]
			n := x[at["packets"]]
			p.spread(begin, max(x[at["duration"]], 0), max(x[at["size"]]-header*n, 0), n, false)
		}
		port := s.Meta[at["meta server_port"]]
		if proto == flows.ICMP {
			port = 8 << 8 // echo request
		}
		return p.session(s, proto, s.Meta[at["meta client"]], s.Meta[at["meta server"]], port), p.fault()
	}, nil
}

// maxPackets bounds what one session may become.
const maxPackets = 1 << 20

// plainPackets collects packets of one session.
type plainPackets struct {
	all   []plainPacket
	limit int
	asked float64
}

type plainPacket struct {
	at, size float64
	down     bool
}

// spread adds bytes in n packets, 0: as few as hold them, more where they would
// be too large, over a time.
func (p *plainPackets) spread(begin, time, bytes, n float64, down bool) {
	record := n > 0
	n = max(n, math.Ceil(bytes/payload))
	if p.asked += n; p.asked > float64(p.limit) {
		return
	}
	for i := range int(n) {
		at := (float64(i) + .5) / n
		if record {
			at = float64(i) / max(n-1, 1)
		}
		// Whole bytes that add up.
		size := math.Floor(bytes*float64(i+1)/n) - math.Floor(bytes*float64(i)/n)
		p.all = append(p.all, plainPacket{begin + at*time, size, down})
	}
}

func (p *plainPackets) fault() error {
	if p.asked > float64(p.limit) {
		return fmt.Errorf("compile: it asks for %.0f packets, more than %d", p.asked, p.limit)
	}
	return nil
}

// session is the packets in the order of time.
func (p *plainPackets) session(of *traffic.Session, proto int, client, server, port float64) traffic.Session {
	slices.SortStableFunc(p.all, func(a, b plainPacket) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	s := traffic.Session{Label: of.Label, Start: of.Start, Meta: make([]float64, flows.MetaFields)}
	s.Meta[flows.Protocol], s.Meta[flows.Client], s.Meta[flows.Server], s.Meta[flows.ServerPort] = float64(proto), client, server, port
	s.Meta[flows.TTLUp], s.Meta[flows.TTLDown] = 1, 1
	if proto == flows.TCP {
		s.Meta[flows.OptionProfile] = float64(slices.Index(flows.Profiles, "mss,sack,ws,ts"))
	}
	last := 0.
	for i, x := range p.all {
		down := 0.
		if x.down {
			down = 1
		}
		if i == 0 {
			s.Start += x.at
			last = x.at
		}
		s.Steps = append(s.Steps, down, x.size, x.at-last)
		last = x.at
	}
	return s
}

// ActionSet is a set of sessions as Actions makes them, those without a packet
// left out, in the order of their starts.
func ActionSet(set *traffic.Set) (*traffic.Set, error) {
	c, one, err := Actions(&set.Of)
	if err != nil {
		return nil, err
	}
	if c == &set.Of {
		return set, nil
	}
	out := &traffic.Set{Of: *c}
	for i := range set.Sessions {
		s, err := one(&set.Sessions[i])
		if err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
		if len(s.Steps) > 0 {
			out.Sessions = append(out.Sessions, s)
		}
	}
	slices.SortStableFunc(out.Sessions, func(a, b traffic.Session) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	return out, nil
}

// asActions is sessions as Actions makes them, and their schema. Sessions of
// packets pass through.
func asActions(c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (*traffic.Schema, iter.Seq2[traffic.Session, error], error) {
	of, one, err := Actions(c)
	if err != nil || of == c {
		return of, sessions, err
	}
	return of, func(yield func(traffic.Session, error) bool) {
		for s, err := range sessions {
			if err == nil {
				err = c.Valid(&s)
			}
			if err == nil {
				s, err = one(&s)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}, nil
}
