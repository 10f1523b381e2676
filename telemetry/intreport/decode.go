package intreport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// ErrForeign says that a frame is neither a probe nor a report.
var ErrForeign = errors.New("intreport: neither a probe nor a report")

// Decoder decodes reports. It keeps the memory of one, so that a report costs
// no allocation; it must not be used by two goroutines at once.
type Decoder struct {
	cfg  Config
	r    Report
	b    []byte // all of what was given
	each func(*Report)
	// guess is set while INT is looked for where nothing says that it is.
	guess bool
	// strict is set where nothing says that a datagram is a report: it must be
	// one in every bit.
	strict bool
	// more says of the packet that a report holds that its own length goes on
	// after what is there.
	more bool
}

// NewDecoder makes a decoder. An error names the field of cfg.
func NewDecoder(cfg Config) (*Decoder, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return &Decoder{cfg: cfg, r: Report{Hops: []Hop{}}}, nil
}

// Report decodes a telemetry report, the payload of a UDP datagram, and calls
// each for every packet in it; the Report is overwritten by the next. A v2.0
// report may hold several packets: one that is wrong does not
// stop the others. What is wrong is an *Error, the first one if several.
func (d *Decoder) Report(b []byte, each func(*Report)) error {
	d.b, d.each, d.guess, d.strict = b, each, false, false
	return d.report(0, len(b))
}

// Frame decodes an Ethernet frame that holds a probe or a telemetry report,
// as Report does. Error: ErrForeign.
func (d *Decoder) Frame(b []byte, each func(*Report)) error {
	d.b, d.each, d.guess, d.strict = b, each, false, false
	etype, at, ok := ethernet(b, 0, len(b))
	if !ok {
		return ErrForeign
	}
	return d.packet(etype, at, len(b))
}

// Packet is Frame of an IP packet, v4 or v6.
func (d *Decoder) Packet(b []byte, each func(*Report)) error {
	d.b, d.each, d.guess, d.strict = b, each, false, false
	if len(b) == 0 {
		return ErrForeign
	}
	etype := uint16(etherIPv4)
	if b[0]>>4 == 6 {
		etype = etherIPv6
	}
	return d.packet(etype, 0, len(b))
}

func (d *Decoder) packet(etype uint16, at, end int) error {
	ip, ok := network(d.b, etype, at, end)
	if !ok {
		return ErrForeign
	}
	switch {
	case ip.proto == protoProbe:
		return d.probe(ip.at, ip.end)
	case ip.proto == protoUDP && ip.end-ip.at >= 8:
		port, size := be16(d.b, ip.at+2), int(be16(d.b, ip.at+4))
		if d.cfg.Port == 0 || d.cfg.Port == port {
			if size >= 8 {
				ip.end = min(ip.end, ip.at+size)
			}
			if d.cfg.Port == 0 && !d.certain(ip.at+8, ip.end) {
				return ErrForeign
			}
			return d.report(ip.at+8, ip.end)
		}
	}
	return ErrForeign
}

// tell hands a report out.
func (d *Decoder) tell(r *Report) {
	if d.cfg.NoTimes {
		for i := range r.Hops {
			h := &r.Hops[i]
			h.Has &^= HasIngressTime | HasEgressTime | HasLatency
			h.IngressTime, h.EgressTime, h.Latency, h.Wrap = 0, 0, 0, 0
		}
	}
	d.each(r)
}

// certain reports whether a datagram to any port is a report to its last byte.
func (d *Decoder) certain(at, end int) bool {
	each := d.each
	d.each, d.strict = func(*Report) {}, true
	err := d.report(at, end)
	d.each, d.strict = each, false
	return err == nil
}

const (
	probeHead = 2
	probeHop  = 32
)

// probe decodes the bytes after the IP header of a probe.
func (d *Decoder) probe(at, end int) error {
	r := d.start(Probe)
	if end-at < probeHead {
		return d.short(at, end, "count", probeHead)
	}
	n := int(be16(d.b, at))
	if n == 0 && end-at > probeHead {
		return ErrForeign // a packet of another experiment: protocol 253 is everyone's
	}
	if need := probeHead + n*probeHop; end-at < need {
		return d.bad(at, "count", uint32(n), "at most %d, the hops that are there", (end-at-probeHead)/probeHop)
	}
	r.Hops = grow(r.Hops, n)
	for i := range n {
		readProbeHop(d.b[at+probeHead+i*probeHop:][:probeHop], &r.Hops[n-1-i])
	}
	d.tell(r)
	return nil
}

// readProbeHop reads 256 bits in four words.
//
//	word 0: swid 31, ingress 9, egress 9, spec 9, ingress time 6 of 48
//	word 1: ingress time 42, egress time 22 of 48
//	word 2: egress time 26, enqueue time 32, enq_qdepth 6 of 19
//	word 3: enq_qdepth 13, deq_timedelta 32, deq_qdepth 19
func readProbeHop(b []byte, h *Hop) {
	w0, w1 := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	w2, w3 := binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	*h = Hop{
		Has:         HasSwitch | HasPorts | HasQueue | HasIngressTime | HasEgressTime | HasWait,
		Switch:      uint32(w0 >> 33),
		Ingress:     uint32(w0 >> 24 & 0x1ff),
		Egress:      uint32(w0 >> 15 & 0x1ff),
		EgressSpec:  uint16(w0 >> 6 & 0x1ff),
		IngressTime: (w0&0x3f<<42 | w1>>22) * 1000,
		EgressTime:  (w1&0x3fffff<<26 | w2>>38) * 1000,
		Wrap:        1 << 48 * 1000,
		EnqTime:     w2 >> 6 & 0xffffffff * 1000,
		Depth:       uint32(w2&0x3f<<13 | w3>>51),
		Wait:        w3 >> 19 & 0xffffffff * 1000,
		DeqDepth:    uint32(w3 & 0x7ffff),
	}
}

// start empties the report.
func (d *Decoder) start(f Format) *Report {
	d.r = Report{Format: f, Hops: d.r.Hops[:0]}
	return &d.r
}

// short is the error of bytes that are not there.
func (d *Decoder) short(at, end int, field string, need int) error {
	return d.bad(at, field, uint32(max(end-at, 0)), "%d bytes", need)
}

var errGuess = errors.New("no INT")

// bad is the error of a value; want may print numbers. It costs nothing while
// d guesses.
func (d *Decoder) bad(at int, field string, value uint32, want string, numbers ...int) error {
	if d.guess || d.strict {
		return errGuess
	}
	var args []any
	for _, n := range numbers {
		args = append(args, n)
	}
	return &Error{d.r.Format, at, field, uint64(value), fmt.Sprintf(want, args...)}
}

// report decodes a telemetry report by its version. Some v2.0 reports call
// themselves version 1; a v1.0 header gives its own length, which follows from
// its bitmap and never equals the v2.0 field at that place.
func (d *Decoder) report(at, end int) error {
	if end-at < 4 {
		d.start(0)
		return d.short(at, end, "Telemetry Report header", 4)
	}
	w := be32(d.b, at)
	switch w >> 28 {
	case 0:
		return d.v05(at, end)
	case 1:
		length := int(w >> 24 & 15)
		if length == 4+bits.OnesCount32(w>>15&0x3f) {
			return d.v10(at, end)
		}
		if length >= 4 && w>>21&7 <= 2 && end-at >= 12 && !plausibleV20(be32(d.b, at+8)) {
			d.start(V10)
			return d.bad(at, "Length", uint32(length), "%d, as RepMdBits say", 4+bits.OnesCount32(w>>15&0x3f))
		}
		return d.v20(at, end, VersionOne)
	case 2:
		return d.v20(at, end, 0)
	}
	d.start(0)
	return d.bad(at, "Ver", w>>28, "0, 1 or 2")
}

// plausibleV20 says whether w could begin an individual report.
func plausibleV20(w uint32) bool { return w>>28 <= 2 && w>>24&15 <= 5 && w&15 == 0 }

// v05 decodes a postcard:
//
//	Ver 4, NProto 4, D, Q, F, reserved 15, hw_id 6; Sequence Number; Ingress Timestamp
func (d *Decoder) v05(at, end int) error {
	r := d.start(V05)
	if end-at < 12 {
		return d.short(at, end, "Telemetry Report Fixed Header", 12)
	}
	w := be32(d.b, at)
	r.Dropped, r.Congested, r.Tracked = w>>23&1 != 0, w>>22&1 != 0, w>>21&1 != 0
	r.Hardware, r.Seq, r.SeqBits = uint8(w&63), be32(d.b, at+4), 32
	tick := d.cfg.tick()
	h := Hop{Has: HasIngressTime, IngressTime: uint64(be32(d.b, at+8)) * tick, Wrap: 1 << 32 * tick}
	proto, head := w>>24&15, at+12
	switch proto {
	case 0:
	case 1, 2:
		name, size := "Telemetry Drop Report Header", 12
		if proto == 2 {
			name, size = "Telemetry Switch Local Report Header", 16
		}
		if end-head < size {
			return d.short(head, end, name, size)
		}
		h.Has |= HasSwitch | HasPorts
		h.Switch, h.Ingress, h.Egress = be32(d.b, head), uint32(be16(d.b, head+4)), uint32(be16(d.b, head+6))
		h.Queue = d.b[head+8]
		r.Node = h.Switch
		if proto == 1 {
			h.Has |= HasDrop
			h.Drop = d.b[head+9]
		} else {
			h.Has |= HasQueue | HasEgressTime
			h.Depth, h.EgressTime = be32(d.b, head+8)&0xffffff, uint64(be32(d.b, head+12))*tick
		}
		head += size
	default:
		return d.bad(at, "NProto", proto, "0, 1 or 2")
	}
	if d.strict && (w&0x1fffc0 != 0 || h.Has&HasDrop != 0 && be16(d.b, head-2) != 0 || !d.packetAt(inEthernet, head, end)) {
		return errGuess
	}
	if err := d.inner(inEthernet, head, end); err != nil {
		return err
	}
	if proto != 0 || len(r.Hops) == 0 {
		r.Hops = append(r.Hops, h)
	}
	d.tell(r)
	return nil
}

// What a truncated packet begins with.
const (
	inEthernet = iota
	inIPv4
	inIPv6
)

// v10Fields are RepMdBits, from the most significant.
var v10Fields = [6]Field{HasPorts, HasLatency, HasQueue, HasEgressTime, HasDrop, HasUtil}

// v10 decodes
//
//	Ver 4, Length 4, NProt 3, RepMdBits 6, reserved 6, D, Q, F, hw_id 6;
//	Switch id; Sequence Number; Ingress Timestamp; metadata
func (d *Decoder) v10(at, end int) error {
	r := d.start(V10)
	w := be32(d.b, at)
	length := int(w >> 24 & 15 * 4)
	if end-at < length {
		return d.short(at, end, "Telemetry Report Header", length)
	}
	r.Dropped, r.Congested, r.Tracked = w>>8&1 != 0, w>>7&1 != 0, w>>6&1 != 0
	r.Hardware, r.Node, r.Seq, r.SeqBits = uint8(w&63), be32(d.b, at+4), be32(d.b, at+8), 32
	nprot, mask := w>>21&7, w>>15&0x3f
	if nprot > inIPv6 {
		return d.bad(at, "NProt", nprot, "0, 1 or 2")
	}
	if d.strict && (w&0x7e00 != 0 || !d.packetAt(int(nprot), at+length, end)) {
		return errGuess
	}
	tick := d.cfg.tick()
	h := Hop{Has: HasSwitch | HasIngressTime, Switch: r.Node, IngressTime: uint64(be32(d.b, at+12)) * tick, Wrap: 1 << 32 * tick}
	m := at + 16
	for i, f := range v10Fields {
		if mask&(0x20>>i) != 0 {
			d.read(&h, f, 0, m, layout{})
			m += 4
		}
	}
	if err := d.inner(int(nprot), at+length, end); err != nil {
		return err
	}
	if mask != 0 || len(r.Hops) == 0 {
		r.Hops = append(r.Hops, h)
	}
	d.tell(r)
	return nil
}

// v20 decodes the group header and its individual reports:
//
//	Ver 4, hw_id 6, Sequence Number 22; Node ID
//	RepType 4, InType 4, Report Length 8, MD Length 8, D, Q, F, I, reserved 4; contents
func (d *Decoder) v20(at, end int, quirk Quirk) error {
	d.start(V20)
	if end-at < 12 {
		return d.short(at, end, "Telemetry Report Group Header", 12)
	}
	group, node := be32(d.b, at), be32(d.b, at+4)
	var first error
	part := 0
	for at += 8; at < end; {
		r := d.start(V20)
		if end-at < 4 {
			return firstOf(first, d.short(at, end, "Individual Report Header", 4))
		}
		w := be32(d.b, at)
		next := at + 4 + int(w>>16&0xff)*4
		r.Quirks = quirk
		switch {
		case w>>16&0xff == 0xff:
			next = end
		case w>>16&0xff == 0 && (w>>28 == 1 || w>>24&15 != 0):
			r.Quirks |= NoLength
			next = end
		case next > end:
			return firstOf(first, d.short(at, end, "Report Length", next-at))
		}
		r.Node, r.Hardware, r.Seq, r.SeqBits = node, uint8(group>>22&63), group&0x3fffff, 22
		r.Dropped, r.Congested, r.Tracked, r.Intermediate = w&0x80 != 0, w&0x40 != 0, w&0x20 != 0, w&0x10 != 0
		err := d.individual(w, at, next)
		if err == nil && d.strict && (w&15 != 0 || len(r.Hops) == 0 && !r.Cut && r.Quirks&NoLength != 0) {
			err = errGuess
		}
		if err != nil {
			first = firstOf(first, err)
		} else {
			r.Part = part
			part++
			d.tell(r)
		}
		at = next
	}
	return first
}

// firstOf is the first error of two.
func firstOf(first, then error) error {
	if first != nil {
		return first
	}
	return then
}

// individual decodes the contents of an individual report whose first word is
// w, at offset at.
//
//	RepMdBits 16, Domain Specific ID 16; DSMdBits 16, DSMdstatus 16;
//	baseline metadata; domain specific metadata; inner contents
func (d *Decoder) individual(w uint32, at, end int) error {
	r := &d.r
	body := at + 4
	local := Hop{Has: HasSwitch, Switch: r.Node}
	var mask Field
	in := w >> 24 & 15
	if d.strict && w>>28 == 0 && in == 0 {
		return errGuess // it says nothing
	}
	switch w >> 28 {
	case 0:
	case 1:
		if end-body < 8 {
			return d.short(body, end, "Individual Report Main Contents", 8)
		}
		mask = Field(be16(d.b, body))
		body += 8
		length := int(w>>8&0xff) * 4
		switch need := 4 * v2.words(mask); {
		case length < need:
			return d.bad(at, "MD Length", uint32(length/4), "at least %d, as RepMdBits say", need/4)
		case end-body < length:
			return d.short(body, end, "MD Length", length)
		case d.strict && (mask&^(hasINT|HasDrop) != 0 || mask&HasSwitch != 0 ||
			be16(d.b, body-6) == 0 && length != need || in == 0 && (length == 0 || body+length != end)):
			return errGuess
		}
		d.read(&local, mask, HasSwitch, body, v2)
		body += length
	default:
		return d.bad(at, "RepType", w>>28, "0 or 1: IOAM is not decoded")
	}
	var err error
	switch in {
	case 0, 2:
	case 1:
		err = d.tlvs(body, end)
	case 3, 4, 5:
		if d.strict && !d.packetAt(int(in-3), body, end) {
			return errGuess
		}
		err = d.inner(int(in-3), body, end)
	default:
		err = d.bad(at, "InType", in, "0 to 5")
	}
	if err != nil {
		return err
	}
	if mask != 0 || w>>28 == 1 && len(r.Hops) == 0 {
		r.Hops = append(r.Hops, local)
	}
	return nil
}

// tlvs decodes inner contents in TLVs: TLVType 4, reserved 4, TLVLength 8,
// TLV Data Template 16; data.
func (d *Decoder) tlvs(at, end int) error {
	for at < end {
		if end-at < 4 {
			return d.short(at, end, "TLV", 4)
		}
		w := be32(d.b, at)
		next := at + 4 + int(w>>16&0xff)*4
		if next > end {
			return d.short(at, end, "TLVLength", next-at)
		}
		if kind := w >> 28; kind >= 1 && kind <= 3 {
			if err := d.inner(int(kind-1), at+4, next); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

var v2 = layout{wide: true}

// layout is how long the fields of metadata are; v1.0 and v2.0 differ.
type layout struct {
	wide    bool // timestamps of 64 bits, not 32
	narrow2 bool // level 2 port ids of 16 bits, not 32
}

// words is how many words of 4 bytes the metadata of a bitmap takes.
func (l layout) words(mask Field) int {
	n := bits.OnesCount16(uint16(mask))
	if l.wide {
		n += bits.OnesCount16(uint16(mask & (HasIngressTime | HasEgressTime)))
	}
	if !l.narrow2 {
		n += bits.OnesCount16(uint16(mask & HasPorts2))
	}
	return n
}

// read reads the metadata of a bitmap that begins at m into h, less the fields
// of skip. A field of all ones is one that the switch could not tell; reserved
// ones are passed over.
func (d *Decoder) read(h *Hop, mask, skip Field, m int, l layout) {
	tick := d.cfg.tick()
	for mask != 0 {
		f := Field(1) << (bits.Len16(uint16(mask)) - 1)
		mask &^= f
		v := uint64(be32(d.b, m))
		known := v != 1<<32-1
		size := 4 * l.words(f)
		if size == 8 {
			v = binary.BigEndian.Uint64(d.b[m:])
			known = v != 1<<64-1
		}
		m += size
		if !known || f&skip != 0 {
			continue
		}
		switch f {
		case HasSwitch:
			h.Switch = uint32(v)
		case HasPorts:
			h.Ingress, h.Egress = uint32(v>>16), uint32(v&0xffff)
		case HasLatency:
			if v >= 1<<31 { // negative: the switch took the ingress time of another clock
				continue
			}
			h.Latency = v * tick
		case HasQueue:
			h.Queue, h.Depth = uint8(v>>24), uint32(v&0xffffff)
		case HasIngressTime:
			h.IngressTime = v * tick
		case HasEgressTime:
			h.EgressTime = v * tick
		case HasPorts2:
			half := uint(size * 4)
			h.Ingress2, h.Egress2 = uint32(v>>half), uint32(v&(1<<half-1))
		case HasUtil:
			h.Util = uint32(v)
		case HasBuffer:
			h.Buffer, h.BufferUse = uint8(v>>24), uint32(v&0xffffff)
		case HasDrop:
			h.Queue, h.Drop = uint8(v>>24), uint8(v>>16)
		default:
			continue
		}
		h.Has |= f
	}
}

func be16(b []byte, at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }
func be32(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }

// grow is s with length n; what its elements hold is undefined.
func grow(s []Hop, n int) []Hop {
	if cap(s) < n {
		return make([]Hop, n)
	}
	return s[:n]
}
