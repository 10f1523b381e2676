// Package headers makes sessions whose steps are the header fields of packets, as
// a model can learn them, and of such sessions the header bits again: nPrint's
// rows, unrepaired.
//
// Fields that count up (IP identification, sequence and acknowledgement
// numbers, timestamps) become their distance from what is expected; addresses
// and payload are left out; lengths and checksums are computed.
package headers

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/packet"
)

// The fields of a step beside those of flows.Schema.
const (
	TOS      = flows.StepFields + iota // IPv4's type of service, IPv6's traffic class
	DF                                 // IPv4: don't fragment
	TTL                                // as seen, or the hop limit
	IDStep                             // IPv4 identification less what is expected, one more than the highest of the direction so far (modulo 65,536; at first 0): 0, -1, 1, -2, … are 0, 1, 2, 3, …
	TCPFlags                           // the byte
	Window                             // of TCP
	SeqStep                            // sequence number less what is expected after the packet before; first 0
	AckLag                             // what the other side has sent less the acknowledgement; 0 where that is not known
	TimeStep                           // timestamp (RFC 7323) less that of the packet before in the direction; first and without 0
	Options                            // of TCP: which, with the values of MSS and window scale
	Fields
)

// layout names TCP options: kinds in order, values of those that do not change.
func layout(opt []byte) string {
	var names []string
	for i := 0; i < len(opt); {
		switch kind := opt[i]; {
		case kind == 0:
			return strings.Join(append(names, "end"), ",")
		case kind == 1:
			names = append(names, "nop")
			i++
		default:
			if i+1 >= len(opt) || opt[i+1] < 2 || i+int(opt[i+1]) > len(opt) {
				return strings.Join(append(names, "end"), ",")
			}
			n := int(opt[i+1])
			switch body := opt[i+2 : i+n]; {
			case kind == 2 && n == 4:
				names = append(names, "mss"+strconv.Itoa(int(body[0])<<8|int(body[1])))
			case kind == 3 && n == 3:
				names = append(names, "ws"+strconv.Itoa(int(body[0])))
			case kind == 4 && n == 2:
				names = append(names, "sackok")
			case kind == 5 && n%8 == 2:
				names = append(names, "sack"+strconv.Itoa(n/8))
			case kind == 8 && n == 10:
				names = append(names, "ts")
			default:
				names = append(names, fmt.Sprintf("k%d/%d", kind, n))
			}
			i += n
		}
	}
	return strings.Join(names, ",")
}

// timestamp is the value and echo of the option, false without.
func timestamp(opt []byte) (value, echo uint32, ok bool) {
	for kind, of := range packet.Options(opt) {
		if kind == packet.Timestamps && len(of) == 8 {
			return be32(of), be32(of[4:]), true
		}
	}
	return 0, 0, false
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// rare is the layout of options that fewer than three packets have.
const rare = "other"

// Builder makes sessions of header fields of packets as they come.
type Builder struct {
	flows *flows.Builder
	extra map[int][][]float64 // by session: of each step, the fields from TOS on; options are indices of names
	state map[int]*[2]side
	start []time.Time // by session
	first time.Time   // of the capture
	now   time.Time
	names []string
	index map[string]int
	count []int
}

// side is one direction of a session, as far as it is known.
type side struct {
	known, timed bool
	id           uint16 // expected
	next, time   uint32
}

// fold writes small differences of either sign as small numbers: 0, -1, 1, -2, …
// are 0, 1, 2, 3, …
func fold(d int16) float64 {
	if d < 0 {
		return float64(-2*int(d) - 1)
	}
	return float64(2 * int(d))
}

func unfold(x float64) int16 {
	v := int(min(x, 65535))
	if v%2 == 1 {
		return int16(-(v + 1) / 2)
	}
	return int16(v / 2)
}

// expect takes an identification in. A packet that was overtaken does not lower
// what is expected, so that one reordering is one difference, not three.
func (s *side) expect(id uint16) {
	if int16(id-s.id) >= 0 {
		s.id = id + 1
	}
}

// NewBuilder begins a capture. Frames of segmentation offload stay whole: their
// headers are those of one packet.
func NewBuilder(o flows.Options) *Builder {
	b := &Builder{extra: map[int][][]float64{}, state: map[int]*[2]side{}, index: map[string]int{}}
	o.Each, o.Whole = b.take, true
	b.flows = flows.NewBuilder(o)
	return b
}

// Add takes a packet in, as flows.Builder does.
func (b *Builder) Add(at time.Time, link uint16, data []byte) error {
	if b.first.IsZero() {
		b.first = at
	}
	b.now = at
	return b.flows.Add(at, link, data)
}

// Counts says what became of the packets.
func (b *Builder) Counts() flows.Counts { return b.flows.Counts() }

func (b *Builder) take(session, _ int, down bool, p *packet.Packet) {
	x := make([]float64, Fields-TOS)
	set := func(field int, v float64) { x[field-TOS] = v }
	st := b.state[session]
	if st == nil {
		st = &[2]side{}
		b.state[session] = st
		b.start = append(b.start, b.now)
	}
	d := 0
	if down {
		d = 1
	}
	own, other := &st[d], &st[1-d]
	set(TOS, float64(p.TOS))
	set(TTL, float64(p.TTL))
	if p.DF {
		set(DF, 1)
	}
	if p.Src.Is4() {
		set(IDStep, fold(int16(p.ID-own.id)))
		own.expect(p.ID)
	}
	name := ""
	if p.Proto == packet.TCP {
		set(TCPFlags, float64(p.Flags))
		set(Window, float64(p.Window))
		if own.known {
			set(SeqStep, float64(int32(p.Seq-own.next)))
		}
		if other.known && p.Flags&packet.ACK != 0 {
			set(AckLag, float64(int32(other.next-p.Ack)))
		}
		after := p.Seq + uint32(p.Length)
		if p.Flags&packet.SYN != 0 {
			after++
		}
		if p.Flags&packet.FIN != 0 {
			after++
		}
		if !own.known || int32(after-own.next) > 0 {
			own.known, own.next = true, after
		}
		if v, _, ok := timestamp(p.TCPOptions); ok {
			if own.timed {
				set(TimeStep, float64(int32(v-own.time)))
			}
			own.timed, own.time = true, v
		}
		name = layout(p.TCPOptions)
	}
	k, ok := b.index[name]
	if !ok {
		k = len(b.names)
		b.index[name] = k
		b.names, b.count = append(b.names, name), append(b.count, 0)
	}
	b.count[k]++
	set(Options, float64(k))
	b.extra[session] = append(b.extra[session], x)
}

// Set is the sessions of the packets so far. Layouts of options that fewer than
// three packets have are "other".
func (b *Builder) Set() *traffic.Set {
	from := b.flows.Set()
	levels := []string{rare}
	to := make([]int, len(b.names))
	for k, name := range b.names {
		if b.count[k] >= 3 {
			to[k] = len(levels)
			levels = append(levels, "options:"+name)
		}
	}
	out := &traffic.Set{Of: Schema(from.Of.Labels, levels)}
	order := make([]int, len(b.start)) // sessions of from are in the order of their starts
	base := b.first
	for i := range order {
		order[i] = i
		if b.start[i].Before(base) {
			base = b.start[i]
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Compare(b.start[i].Sub(base).Seconds(), b.start[j].Sub(base).Seconds())
	})
	for i, s := range from.Sessions {
		steps := make([]float64, 0, from.Of.Len(&s)*Fields)
		for t, x := range b.extra[order[i]] {
			steps = append(append(steps, from.Of.Step(&s, t)...), x...)
			steps[len(steps)-1] = float64(to[int(x[len(x)-1])])
		}
		s.Steps = steps
		out.Sessions = append(out.Sessions, s)
	}
	return out
}

// Schema is that of flows with header fields, for layouts of TCP options.
func Schema(labels, layouts []string) traffic.Schema {
	c := flows.Schema(labels)
	size := func(name string) traffic.Field { return traffic.Field{Name: name, Kind: traffic.Size} }
	number := func(name string) traffic.Field { return traffic.Field{Name: name, Kind: traffic.Number} }
	c.Steps = append(c.Steps, size("tos"), traffic.Field{Name: "df", Kind: traffic.Symbol, Levels: []string{"no", "yes"}}, size("ttl"), size("id_off"),
		size("tcp_flags"), size("window"), number("seq_step"), number("ack_lag"), number("time_step"), traffic.Field{Name: "options", Kind: traffic.Symbol, Levels: layouts})
	return c
}

// ReadFile reads a capture (pcap, pcapng) or a table of nPrint, whose packets
// have no times: they are 1 ms apart.
func ReadFile(path string, o flows.Options) (*traffic.Set, flows.Counts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, flows.Counts{}, err
	}
	defer f.Close()
	return Read(f, path, o)
}

// Read is ReadFile of what a file of a name, which is for errors, holds.
func Read(in io.Reader, name string, o flows.Options) (*traffic.Set, flows.Counts, error) {
	f := bufio.NewReaderSize(in, 1<<17)
	head, _ := f.Peek(4096)
	b := NewBuilder(o)
	if nprint.Is(head) {
		at := time.Unix(0, 0)
		err := nprint.Read(f, name, func(r *nprint.Row) error {
			ip, err := r.Decode()
			if err != nil {
				return err
			}
			at = at.Add(time.Millisecond)
			return b.Add(at, uint16(pcap.Raw), ip)
		})
		if err != nil {
			return nil, b.Counts(), err
		}
		return b.Set(), b.Counts(), nil
	}
	r, err := pcap.NewReader(f, name)
	if err != nil {
		return nil, flows.Counts{}, err
	}
	for p := (pcap.Packet{}); ; {
		if err := r.Next(&p); errors.Is(err, io.EOF) {
			return b.Set(), b.Counts(), nil
		} else if err != nil {
			return nil, flows.Counts{}, err
		}
		if err := b.Add(p.Time, uint16(p.Link), p.Data); err != nil {
			return nil, flows.Counts{}, fmt.Errorf("%s: packet %d: %w", name, b.Counts().Packets, err)
		}
	}
}

// Unite gives sets of header fields one list of layouts of options.
func Unite(sets ...*traffic.Set) {
	levels := []string{rare}
	for _, s := range sets {
		of := s.Of.Steps[Options].Levels
		to := make([]float64, len(of))
		for i, name := range of {
			k := slices.Index(levels, name)
			if k < 0 {
				k = len(levels)
				levels = append(levels, name)
			}
			to[i] = float64(k)
		}
		for i := range s.Sessions {
			steps := slices.Clone(s.Sessions[i].Steps)
			for at := Options; at < len(steps); at += Fields {
				steps[at] = to[int(steps[at])]
			}
			s.Sessions[i].Steps = steps
		}
	}
	for _, s := range sets {
		s.Of.Steps = slices.Clone(s.Of.Steps)
		s.Of.Steps[Options].Levels = levels
	}
}

// Windows cuts sessions into ones of n steps; the rest of a session that is
// shorter is left out, but for a session that is shorter as a whole. The first
// gap of a window is 0, as that of a session is: it starts later instead.
func Windows(s *traffic.Set, n int) *traffic.Set {
	out := &traffic.Set{Of: s.Of}
	w := len(s.Of.Steps)
	for _, x := range s.Sessions {
		all := x.Steps
		if len(all) < n*w {
			out.Sessions = append(out.Sessions, x)
			continue
		}
		at := x.Start
		for part := range slices.Chunk(all, n*w) {
			x.Start = at + part[flows.Gap]
			for i := flows.Gap; i < len(part); i += w {
				at += part[i]
			}
			if len(part) == n*w {
				x.Steps = slices.Clone(part)
				x.Steps[flows.Gap] = 0
				out.Sessions = append(out.Sessions, x)
			}
		}
	}
	slices.SortStableFunc(out.Sessions, func(a, b traffic.Session) int { return cmp.Compare(a.Start, b.Start) })
	return out
}
