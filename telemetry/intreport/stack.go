package intreport

import "encoding/binary"

// Numbers of the packets that reports hold a part of.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherMPLS = 0x8847
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	etherIPv6 = 0x86dd

	protoTCP   = 6
	protoUDP   = 17
	protoProbe = 253

	portVXLAN    = 4789
	portVXLANGPE = 4790
	portGeneve   = 6081

	geneveINT = 0x0103 // option class
)

// ethernet returns the EtherType behind the Ethernet header at offset at, and
// the offset of that payload.
func ethernet(b []byte, at, end int) (uint16, int, bool) {
	at += 12
	for range 3 { // at most two VLAN tags
		if end-at < 2 {
			return 0, 0, false
		}
		t := be16(b, at)
		at += 2
		if t != etherVLAN && t != etherQinQ {
			return t, at, true
		}
		at += 2
	}
	return 0, 0, false
}

// ipHead is what the headers of an IP packet say.
type ipHead struct {
	proto   uint8
	dscp    uint8
	at, end int // payload; end is no later than the packet's
	total   int // where it ends by its own length
}

// network reads IP headers; false where there are none, or only a fragment's.
func network(b []byte, etype uint16, at, end int) (ipHead, bool) {
	switch {
	case etype == etherIPv4 && end-at >= 20 && b[at]>>4 == 4 && b[at]&15 >= 5:
		head := int(b[at]&15) * 4
		if end-at < head || be16(b, at+6)&0x1fff != 0 {
			return ipHead{}, false
		}
		total := end
		if size := int(be16(b, at+2)); size >= head {
			total = at + size
			end = min(end, total)
		}
		return ipHead{b[at+9], b[at+1] >> 2, at + head, end, total}, true
	case etype == etherIPv6 && end-at >= 40 && b[at]>>4 == 6:
		total := at + 40 + int(be16(b, at+4))
		ip := ipHead{b[at+6], uint8(be16(b, at) >> 6 & 63), at + 40, min(end, total), total}
		for range 4 { // extensions: hop-by-hop, routing, destination options
			if ip.proto != 0 && ip.proto != 43 && ip.proto != 60 {
				return ip, true
			}
			if ip.end-ip.at < 8 {
				return ipHead{}, false
			}
			ip.proto, ip.at = b[ip.at], ip.at+8+int(b[ip.at+1])*8
		}
	}
	return ipHead{}, false
}

// inner finds INT in the truncated packet that a report holds and decodes it.
// A packet that was cut before INT could begin has none.
func (d *Decoder) inner(kind, at, end int) error {
	etype := uint16(etherIPv4)
	if kind == inIPv6 {
		etype = etherIPv6
	}
	ok := true
	if kind == inEthernet {
		etype, at, ok = ethernet(d.b, at, end)
	} else if _, is := network(d.b, etype, at, end); !is {
		// Announced as IP, yet perhaps an Ethernet frame.
		t, next, framed := ethernet(d.b, at, end)
		if _, is := network(d.b, t, next, end); framed && is {
			d.r.Quirks |= EtherAsIP
			etype, at = t, next
		}
	}
	if !ok {
		return nil
	}
	// The packet's own length is not heeded: what was inserted may not be
	// counted, and what was truncated is.
	ip, ok := network(d.b, etype, at, end)
	if !ok {
		return nil
	}
	d.more = ip.total > end
	ip.end = end
	return d.transport(ip)
}

// packetAt reports whether the truncated packet of a report can be one: a frame
// of a known type or an IP packet, whose header, as far as it is there, says
// nothing impossible. Nothing tells a report from other datagrams as well.
func (d *Decoder) packetAt(kind, at, end int) bool {
	etype := uint16(etherIPv4)
	switch kind {
	case inIPv6:
		etype = etherIPv6
	case inEthernet:
		t, next, ok := ethernet(d.b, at, end)
		if !ok {
			return false
		}
		etype, at = t, next
	}
	if d.ipAt(etype, at, end) {
		return true
	}
	if kind == inEthernet {
		return etype == etherARP || etype == etherMPLS
	}
	t, next, framed := ethernet(d.b, at, end) // announced as IP, and a frame
	return framed && d.ipAt(t, next, end) && end > next
}

// ipAt reports whether what is there of an IP packet can be one.
func (d *Decoder) ipAt(etype uint16, at, end int) bool {
	n := end - at
	switch etype {
	case etherIPv4:
		switch {
		case n == 0: // cut after the frame's header
			return true
		case d.b[at]>>4 != 4 || d.b[at]&15 < 5:
			return false
		case n >= 20:
			return be16(d.b, at+2) >= 20 && d.b[at+6]&0x80 == 0 && d.b[at+8] > 0
		}
		return true
	case etherIPv6:
		return n == 0 || d.b[at]>>4 == 6
	}
	return false
}

// transport looks for INT behind a TCP or UDP header.
func (d *Decoder) transport(ip ipHead) error {
	b := d.b
	var at [2]int // where INT may begin
	n := 0
	switch ip.proto {
	case protoTCP:
		if ip.end-ip.at < 20 {
			return nil
		}
		if head := int(b[ip.at+12]>>4) * 4; head > 20 && ip.end-ip.at >= head {
			at[n] = ip.at + head
			n++
		}
		at[n] = ip.at + 20 // before the options
		n++
	case protoUDP:
		if ip.end-ip.at < 8 {
			return nil
		}
		at[0], n = ip.at+8, 1
		switch port := be16(b, ip.at+2); {
		case port == d.cfg.INTPort:
		case port == portVXLAN, port == portVXLANGPE:
			return d.vxlan(ip.at+8, ip.end)
		case port == portGeneve:
			return d.geneve(ip.at+8, ip.end)
		}
	default:
		return nil
	}
	c := &d.cfg
	if c.DSCP == 0 && c.INTPort == 0 && c.Marker == 0 {
		d.guess = true
		for _, at := range at[:n] {
			if d.shim(at, ip.end) == nil {
				break
			}
		}
		d.guess = false
		return nil
	}
	var first error
	for _, at := range at[:n] {
		var err error
		switch {
		case c.Marker != 0 && ip.end-at >= 8 && binary.BigEndian.Uint64(b[at:]) == c.Marker:
			err = d.shim(at+8, ip.end)
		case c.DSCP != 0 && ip.dscp == c.DSCP, c.INTPort != 0 && ip.proto == protoUDP && be16(b, ip.at+2) == c.INTPort:
			err = d.shim(at, ip.end)
		default:
			continue
		}
		if err == nil {
			return nil
		}
		first = firstOf(first, err)
	}
	return first
}

// vxlan decodes INT that follows a VXLAN-GPE header.
func (d *Decoder) vxlan(at, end int) error {
	if end-at < 8 {
		return nil
	}
	if next := d.b[at+3]; d.b[at]&4 != 0 && (next == 0x82 || next == 0x08) {
		return d.shim(at+8, end)
	}
	return nil
}

// geneve decodes INT in an option of a Geneve header.
func (d *Decoder) geneve(at, end int) error {
	if end-at < 8 {
		return nil
	}
	options := at + 8 + int(d.b[at]&0x3f)*4
	for at += 8; at+4 <= min(options, end); {
		size := int(d.b[at+3]&0x1f) * 4
		if be16(d.b, at) == geneveINT {
			if end-at-4 < size {
				return d.short(at, end, "Geneve option Length", size)
			}
			return d.header(d.b[at+2], at+4, at+4+size)
		}
		at += 4 + size
	}
	return nil
}

const (
	typeMD = 1 // also hop-by-hop of v1.0
	typeMX = 3
)

// shim decodes the INT shim header at and what follows it. While d guesses, it
// is not known to be one and must look like one in every bit.
//
//	v1.0: Type 8, reserved 8, Length 8 (words, with the shim's), DSCP 6, reserved 2
//	v2.1: Type 4, NPT 2, reserved 2, Length 8 (words, without the shim's), 16
func (d *Decoder) shim(at, end int) error {
	if end-at < 8 {
		return d.short(at, end, "INT shim header", 8)
	}
	w := be32(d.b, at)
	kind, size := w>>28, int(w>>16&0xff)*4
	if w>>24 == typeMD { // v1.0; in v2.1 the upper half is not 0
		kind, size = typeMD, int(w>>8&0xff)*4-4
		if d.guess && w>>16&0xff != 0 {
			return errGuess
		}
	} else if d.guess && w>>24&3 != 0 {
		return errGuess
	}
	if kind != typeMD && kind != typeMX {
		return d.bad(at, "Type", kind, "1 (MD) or 3 (MX)")
	}
	cut := end-at-4 < size
	if cut && (!d.more || kind != typeMD) {
		return d.short(at+4, end, "Length", size)
	}
	if version := d.b[at+4] >> 4; (w>>24 == typeMD) != (version == 1) {
		return d.bad(at+4, "Ver", uint32(version), "1 after a shim of v1.0, 2 after one of v2.1")
	}
	if d.guess && kind == typeMX && be32(d.b, at+4)&0x07ffffff != 0 {
		return errGuess
	}
	if cut { // the packet that is reported was truncated within the stack
		return d.cutHeader(at+4, at+4+size, end)
	}
	return d.header(uint8(kind), at+4, at+4+size)
}

// cutHeader is header of INT-MD of which there is a beginning only, up to cut:
// the newest hops. They are returned where the whole would be valid.
func (d *Decoder) cutHeader(at, end, cut int) error {
	if cut-at < 12 {
		if d.guess {
			return errGuess
		}
		d.r.Cut = true
		return nil
	}
	length, body := int(be32(d.b, at)>>8&31)*4, at+8
	if d.b[at]>>4 == 2 {
		body += 4
	}
	if length == 0 || end < body || (end-body)%length != 0 {
		return d.bad(at, "Length", uint32(end-at), "hops of %d bytes after the header's", length)
	}
	if err := d.header(typeMD, at, body+max(cut-body, 0)/length*length); err != nil {
		return err
	}
	d.r.Cut = true
	return nil
}

// header decodes the INT header at and its metadata, up to end.
//
//	v1.0: Ver 4, Rep 2, C, E, M, reserved 10, Hop ML 5, Remaining Hop Count 8;
//	      Instruction Bitmap 16, reserved 16
//	v2.1: Ver 4, D, E, M, reserved 12, Hop ML 5, Remaining Hop Count 8;
//	      Instruction Bitmap 16, Domain Specific ID 16; DS Instruction 16, DS Flags 16
//	MX:   Ver 4, D, reserved 27; as v2.1
func (d *Decoder) header(kind uint8, at, end int) error {
	r := &d.r
	if end-at < 8 {
		return d.short(at, end, "INT metadata header", 8)
	}
	w, mask := be32(d.b, at), Field(be16(d.b, at+4))
	version := w >> 28
	body := at + 8
	if version == 2 {
		body += 4
	}
	switch {
	case version != 1 && version != 2:
		return d.bad(at, "Ver", version, "1 or 2")
	case end < body:
		return d.short(at, end, "INT metadata header", body-at)
	case kind == typeMX:
		// Nodes report their metadata; what follows the header was inserted by
		// the source for a domain, and there is nothing to insert without one.
		if be32(d.b, body-4)>>16 == 0 && end > body && end-body == 4*v2.words(mask) {
			r.Quirks |= StackInMX
			var h Hop
			d.read(&h, mask, HasDrop, body, v2)
			r.Hops = append(r.Hops, h)
		}
		return nil
	case kind != typeMD:
		return nil
	}
	length := int(w >> 8 & 31)
	l, flags := v2, w>>25
	domain := version == 2 && be16(d.b, body-4) != 0
	if version == 1 {
		l, flags = layout{}, w>>23
		for _, quirk := range [...]layout{{wide: true}, {wide: true, narrow2: true}} {
			if length != l.words(mask) && length == quirk.words(mask) {
				l = quirk
			}
		}
	}
	need := l.words(mask)
	if length != need && !(domain && length > need) || length == 0 {
		return d.bad(at, "Hop ML", uint32(length), "%d, as the Instruction Bitmap says", need)
	}
	n, rest := (end-body)/(4*length), (end-body)%(4*length)
	if rest != 0 && !domain {
		return d.bad(at, "Length", uint32(end-at), "hops of %d bytes after the %d of the header", 4*length, body-at)
	}
	r.HopsExceeded, r.MTUExceeded = flags&2 != 0, flags&1 != 0
	if version == 1 && n > 0 {
		if l.wide {
			r.Quirks |= WideTimes
		}
		if l.narrow2 {
			r.Quirks |= NarrowPorts2
		}
	}
	r.Hops = grow(r.Hops, n)
	for i := range n { // newest first; the source's own may be longer
		h := &r.Hops[n-1-i]
		*h = Hop{}
		if !l.wide {
			h.Wrap = 1 << 32 * d.cfg.tick()
		}
		d.read(h, mask, HasDrop, body+i*4*length, l)
	}
	return nil
}
