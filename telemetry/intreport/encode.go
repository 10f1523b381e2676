package intreport

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
)

// Append appends r in its format to dst, as an emulated switch sends it: for a
// report the payload of the UDP datagram, for a probe what follows the IP
// header. A Decoder with the same cfg gives r back. Of a report, the hop of
// its own Node that comes last goes into the report's metadata, the others
// into an INT-MD stack in a truncated packet; a postcard has one hop. An error
// names what the format cannot hold.
func Append(dst []byte, cfg Config, r *Report) ([]byte, error) {
	if err := cfg.Check(); err != nil {
		return dst, err
	}
	e := &encoder{b: dst, cfg: cfg, r: r}
	switch r.Format {
	case Probe:
		e.probe()
	case V05:
		e.v05()
	case V10:
		e.v10()
	case V20:
		e.v20()
	default:
		e.fail("format: %d is unknown", r.Format)
	}
	if e.err != nil {
		return dst, e.err
	}
	return e.b, nil
}

// AppendProbeFrame appends a probe as an Ethernet frame between two IPv4
// hosts: what a switch hands to its controller.
func AppendProbeFrame(dst []byte, src, to netip.Addr, r *Report) ([]byte, error) {
	if !src.Is4() || !to.Is4() {
		return dst, fmt.Errorf("intreport: probe: %v to %v: want IPv4 addresses", src, to)
	}
	at := len(dst)
	head := [14]byte{12: etherIPv4 >> 8, 13: etherIPv4 & 0xff}
	b := appendIPv4(append(dst, head[:]...), protoProbe, 0, src.As4(), to.As4())
	b, err := Append(b, Config{}, r)
	if err != nil {
		return dst, err
	}
	setIPv4Length(b[at+len(head):])
	return b, nil
}

type encoder struct {
	b   []byte
	cfg Config
	r   *Report
	err error
}

func (e *encoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("intreport: %v: "+format, append([]any{e.r.Format}, args...)...)
	}
}

// fit is v, which has a number of bits.
func (e *encoder) fit(name string, v uint64, bits int) uint64 {
	if v>>bits != 0 {
		e.fail("%s: %d does not fit %d bits", name, v, bits)
	}
	return v
}

// ticks is ns in ticks of a number of bits.
func (e *encoder) ticks(name string, ns, tick uint64, bits int) uint64 {
	if ns%tick != 0 {
		e.fail("%s: %d ns is not a multiple of %d ns", name, ns, tick)
	}
	return e.fit(name, ns/tick, bits)
}

func (e *encoder) u32(v uint32) { e.b = binary.BigEndian.AppendUint32(e.b, v) }

// only fails where a hop tells what the format cannot hold, or not what it must.
func (e *encoder) only(h *Hop, may, must Field) {
	if more := h.Has &^ may; more != 0 {
		e.fail("hops: there is no place for %v", more)
	}
	if less := must &^ h.Has; less != 0 {
		e.fail("hops: %v is missing", less)
	}
}

func (e *encoder) probe() {
	e.b = binary.BigEndian.AppendUint16(e.b, uint16(e.fit("hops", uint64(len(e.r.Hops)), 16)))
	for i := len(e.r.Hops) - 1; i >= 0; i-- {
		h := &e.r.Hops[i]
		all := HasSwitch | HasPorts | HasQueue | HasIngressTime | HasEgressTime | HasWait
		e.only(h, all, all)
		in, out := e.ticks("ingress_ts", h.IngressTime, 1000, 48), e.ticks("egress_ts", h.EgressTime, 1000, 48)
		enq, wait := e.ticks("enq_ts", h.EnqTime, 1000, 32), e.ticks("deq_timedelta", h.Wait, 1000, 32)
		depth, deq := e.fit("enq_qdepth", uint64(h.Depth), 19), e.fit("deq_qdepth", uint64(h.DeqDepth), 19)
		for _, w := range [4]uint64{
			e.fit("swid", uint64(h.Switch), 31)<<33 | e.fit("ingress_port", uint64(h.Ingress), 9)<<24 |
				e.fit("egress_port", uint64(h.Egress), 9)<<15 | e.fit("egress_spec", uint64(h.EgressSpec), 9)<<6 | in>>42,
			in<<22 | out>>26,
			out<<38 | enq<<6 | depth>>13,
			depth<<51 | wait<<19 | deq,
		} {
			e.b = binary.BigEndian.AppendUint64(e.b, w)
		}
	}
}

// flags are bits from the highest, the last of them at bit 0.
func flags(f ...bool) uint32 {
	var v uint32
	for _, set := range f {
		v <<= 1
		if set {
			v |= 1
		}
	}
	return v
}

func (e *encoder) v05() {
	r := e.r
	if len(r.Hops) != 1 {
		e.fail("hops: %d: a postcard has one", len(r.Hops))
		return
	}
	h := &r.Hops[0]
	proto, all := uint32(2), HasSwitch|HasPorts|HasQueue|HasIngressTime|HasEgressTime
	if h.Has&HasDrop != 0 {
		proto, all = 1, HasSwitch|HasPorts|HasIngressTime|HasDrop
	}
	e.only(h, all, all)
	if h.Switch != r.Node {
		e.fail("node: %d is not its hop's %d", r.Node, h.Switch)
	}
	tick := e.cfg.tick()
	e.u32(proto<<24 | flags(r.Dropped, r.Congested, r.Tracked)<<21 | uint32(e.fit("hw_id", uint64(r.Hardware), 6)))
	e.u32(r.Seq)
	e.u32(uint32(e.ticks("ingress_time", h.IngressTime, tick, 32)))
	e.u32(r.Node)
	e.field(h, HasPorts, layout{})
	if proto == 1 {
		e.u32(uint32(h.Queue)<<24 | uint32(h.Drop)<<16)
		return
	}
	e.field(h, HasQueue, layout{})
	e.field(h, HasEgressTime, layout{})
}

// split is the hop that goes into the report's metadata, or nil, and those of
// the stack.
func (r *Report) split() (*Hop, []Hop) {
	if n := len(r.Hops); n > 0 {
		if h := &r.Hops[n-1]; h.Has&HasSwitch != 0 && h.Switch == r.Node && h.Has != HasSwitch {
			return h, r.Hops[:n-1]
		}
	}
	return nil, r.Hops
}

func (e *encoder) v10() {
	r := e.r
	local, stack := r.split()
	if local == nil {
		e.fail("hops: the last is not the node's own: the header holds its ingress time")
		return
	}
	var mask uint32
	for i, f := range v10Fields {
		if local.Has&f != 0 {
			mask |= 0x20 >> i
		}
	}
	e.only(local, HasSwitch|HasIngressTime|HasPorts|HasLatency|HasQueue|HasEgressTime|HasDrop|HasUtil, HasIngressTime)
	if mask == 0 && len(stack) > 0 {
		e.fail("hops: the node tells nothing but its ingress time")
	}
	e.u32(1<<28 | uint32(4+bits.OnesCount32(mask))<<24 | inIPv4<<21 | mask<<15 |
		flags(r.Dropped, r.Congested, r.Tracked)<<6 | uint32(e.fit("hw_id", uint64(r.Hardware), 6)))
	e.u32(r.Node)
	e.u32(r.Seq)
	e.u32(uint32(e.ticks("ingress_time", local.IngressTime, e.cfg.tick(), 32)))
	for i, f := range v10Fields {
		if mask&(0x20>>i) != 0 {
			e.field(local, f, layout{})
		}
	}
	e.truncated(stack, 1)
}

func (e *encoder) v20() {
	r := e.r
	local, stack := r.split()
	e.u32(2<<28 | uint32(e.fit("hw_id", uint64(r.Hardware), 6))<<22 | uint32(e.fit("seq", uint64(r.Seq), 22)))
	e.u32(r.Node)
	var mask Field
	kind := uint32(0) // inner only
	at := len(e.b)
	e.u32(0)
	if local != nil {
		e.only(local, hasINT|HasDrop, 0)
		kind, mask = 1, local.Has&^HasSwitch
		e.u32(uint32(mask) << 16)
		e.u32(0)
		for m := mask; m != 0; {
			f := Field(1) << (bits.Len16(uint16(m)) - 1)
			e.field(local, f, v2)
			m &^= f
		}
	}
	in := uint32(0)
	if len(stack) > 0 {
		in = 3 + inIPv4
		e.truncated(stack, 2)
	}
	size := (len(e.b) - at - 4) / 4
	if size > 0xfe {
		size = 0xff // to the end
	}
	binary.BigEndian.PutUint32(e.b[at:], kind<<28|in<<24|uint32(size)<<16|uint32(v2.words(mask))<<8|
		flags(r.Dropped, r.Congested, r.Tracked, r.Intermediate)<<4)
}

// field appends one field of metadata; all ones where the hop does not tell.
func (e *encoder) field(h *Hop, f Field, l layout) {
	size := 32 * l.words(f)
	ones := uint64(1<<size - 1)
	tick := e.cfg.tick()
	var v uint64
	switch f {
	case HasSwitch:
		v = uint64(h.Switch)
	case HasPorts:
		v = e.fit("ingress", uint64(h.Ingress), 16)<<16 | e.fit("egress", uint64(h.Egress), 16)
	case HasLatency:
		v = e.ticks("latency", h.Latency, tick, 31) // the upper bit says that it is below 0
	case HasQueue:
		v = uint64(h.Queue)<<24 | e.fit("depth", uint64(h.Depth), 24)
	case HasIngressTime:
		v = e.ticks("ingress_time", h.IngressTime, tick, size)
	case HasEgressTime:
		v = e.ticks("egress_time", h.EgressTime, tick, size)
	case HasPorts2:
		v = uint64(h.Ingress2)<<32 | uint64(h.Egress2)
	case HasUtil:
		v = uint64(h.Util)
	case HasBuffer:
		v = uint64(h.Buffer)<<24 | e.fit("buffer", uint64(h.BufferUse), 24)
	case HasDrop:
		v = uint64(h.Queue)<<24 | uint64(h.Drop)<<16
	}
	if h.Has&f == 0 {
		v = ones
	} else if v == ones {
		e.fail("hops: %v: %#x says that it is not known", f, v)
	}
	if size == 64 {
		e.b = binary.BigEndian.AppendUint64(e.b, v)
	} else {
		e.u32(uint32(v))
	}
}

// truncated appends the beginning of a UDP packet that carries an INT-MD stack
// of a version.
func (e *encoder) truncated(stack []Hop, version uint32) {
	if len(stack) == 0 {
		return
	}
	var mask Field
	for i := range stack {
		e.only(&stack[i], hasINT, 0)
		mask |= stack[i].Has
	}
	if mask == 0 {
		e.fail("hops: they tell nothing")
		return
	}
	l := layout{wide: version == 2}
	size := len(stack) * l.words(mask)
	next, port := uint32(0), uint16(0)
	if e.cfg.INTPort != 0 {
		next, port = 1, e.cfg.INTPort
	}
	at := len(e.b)
	e.b = appendIPv4(e.b, protoUDP, e.cfg.DSCP, [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2})
	udp := len(e.b)
	e.u32(uint32(port))
	e.u32(0)
	if e.cfg.Marker != 0 {
		e.b = binary.BigEndian.AppendUint64(e.b, e.cfg.Marker)
	}
	fixed := uint64(3)
	if version == 1 { // counts the shim, and its header is a word shorter
		e.u32(typeMD<<24 | uint32(e.fit("hops", fixed+uint64(size), 8))<<8)
		e.u32(1<<28 | flags(e.r.HopsExceeded, e.r.MTUExceeded)<<23 | uint32(l.words(mask))<<8)
		e.u32(uint32(mask) << 16)
	} else {
		e.u32(typeMD<<28 | next<<26 | uint32(e.fit("hops", fixed+uint64(size), 8))<<16)
		e.u32(2<<28 | flags(e.r.HopsExceeded, e.r.MTUExceeded)<<25 | uint32(l.words(mask))<<8)
		e.u32(uint32(mask) << 16)
		e.u32(0)
	}
	for i := len(stack) - 1; i >= 0; i-- {
		for m := mask; m != 0; {
			f := Field(1) << (bits.Len16(uint16(m)) - 1)
			e.field(&stack[i], f, l)
			m &^= f
		}
	}
	binary.BigEndian.PutUint16(e.b[udp+4:], uint16(len(e.b)-udp))
	setIPv4Length(e.b[at:])
}

// appendIPv4 appends an IPv4 header, its length and checksum yet to be set.
func appendIPv4(b []byte, proto, dscp uint8, src, dst [4]byte) []byte {
	b = append(b, 0x45, dscp<<2, 0, 0, 0, 0, 0x40, 0, 64, proto, 0, 0)
	return append(append(b, src[:]...), dst[:]...)
}

// setIPv4Length sets the length and checksum of the IPv4 packet p.
func setIPv4Length(p []byte) {
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(be16(p, i))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
}
