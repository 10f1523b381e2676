// Package pcap reads packets from capture files, pcap and pcapng. It is here
// because the library for it links a decoder of every protocol there is, and
// takes a block's own word for how much memory it needs.
package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Link says what a packet begins with.
type Link uint16

// The link types (https://www.tcpdump.org/linktypes.html) that are of use.
const (
	Ethernet Link = 1
	Raw      Link = 101 // IP of either version
	Cooked   Link = 113 // Linux's, of all interfaces
	IPv4     Link = 228
	IPv6     Link = 229
	Cooked2  Link = 276
)

// Packet is one captured packet.
type Packet struct {
	Time time.Time
	Link Link
	Data []byte // as much as was captured; overwritten by the next
}

// Error is what is wrong with a file.
type Error struct {
	File   string
	Offset int64 // in bytes
	Field  string
	Value  uint64
	Want   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: byte %d: %s: %#x: want %s", e.File, e.Offset, e.Field, e.Value, e.Want)
}

// CutError says that a file ends within a packet, or a block of pcapng, as one
// does whose writer was killed. All packets before it were read.
type CutError struct {
	File    string `json:"file"`
	Offset  int64  `json:"offset"`  // in bytes, of what was cut
	Packets int    `json:"packets"` // whole ones
}

func (e *CutError) Error() string {
	return fmt.Sprintf("%s: cut at byte %d, within packet %d: the %d before it were read", e.File, e.Offset, e.Packets+1, e.Packets)
}

const maxPacket = 1 << 20 // bytes of a packet, or of a block of pcapng

// Reader reads a file packet by packet, in memory that does not grow with it.
type Reader struct {
	in     *bufio.Reader
	file   string
	offset int64
	count  int // packets read
	order  binary.ByteOrder
	buf    []byte

	ng         bool
	link       Link
	unit       int64 // ns of a time's fraction, in pcap
	interfaces []port
}

// port is an interface of pcapng: the unit of its times is 1/perSecond s.
type port struct {
	link      Link
	snap      uint32
	perSecond uint64
	offset    int64 // s
}

const (
	magicMicro = 0xa1b2c3d4
	magicNano  = 0xa1b23c4d
	blockHead  = 0x0a0d0d0a // of a section, the same in both orders
	magicOrder = 0x1a2b3c4d
)

// NewReader reads the header of r, whose name is used in errors. What is wrong
// with the content is an *Error; the same holds for Next.
func NewReader(r io.Reader, file string) (*Reader, error) {
	d := &Reader{in: bufio.NewReaderSize(r, 1<<16), file: file, buf: make([]byte, 0, 1<<16), order: binary.LittleEndian}
	head, err := d.in.Peek(4)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("pcap: read %s: %w", file, err)
		}
		return nil, d.bad("magic", 0, "a pcap or pcapng file, not one of less than 4 bytes")
	}
	if binary.LittleEndian.Uint32(head) == blockHead {
		d.ng = true
		return d, nil
	}
	b, err := d.take(24, "file header")
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint16(b) == magicMicro>>16 {
		d.order = binary.BigEndian
	}
	switch magic := d.order.Uint32(b); magic {
	case magicMicro:
		d.unit = 1000
	case magicNano:
		d.unit = 1
	default:
		d.offset = 0
		return nil, d.bad("magic", uint64(magic), "the magic number of a pcap or pcapng file")
	}
	d.link = Link(d.order.Uint32(b[20:]))
	return d, nil
}

func (d *Reader) bad(field string, value uint64, want string) error {
	return &Error{d.file, d.offset, field, value, want}
}

// take reads n bytes, which the next call overwrites. io.EOF if none is left.
func (d *Reader) take(n int, what string) ([]byte, error) {
	if cap(d.buf) < n {
		d.buf = make([]byte, n)
	}
	b := d.buf[:n]
	got, err := io.ReadFull(d.in, b)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		if d.offset == 0 {
			return nil, d.bad(what, uint64(got), fmt.Sprintf("%d bytes: the file was cut", n))
		}
		return nil, &CutError{d.file, d.offset, d.count}
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil:
		return nil, fmt.Errorf("pcap: read %s at byte %d: %w", d.file, d.offset, err)
	}
	d.offset += int64(n)
	return b, nil
}

// rest is take of what must not be missing.
func (d *Reader) rest(n int, what string) ([]byte, error) {
	b, err := d.take(n, what)
	if errors.Is(err, io.EOF) {
		return nil, &CutError{d.file, d.offset, d.count}
	}
	return b, err
}

// Next reads the next packet. It returns io.EOF after the last, a *CutError
// where the file ends within one.
func (d *Reader) Next(p *Packet) error {
	err := d.next(p)
	if err == nil {
		d.count++
	}
	return err
}

func (d *Reader) next(p *Packet) error {
	if d.ng {
		return d.block(p)
	}
	b, err := d.take(16, "packet header")
	if err != nil {
		return err
	}
	s, fraction, size := d.order.Uint32(b), d.order.Uint32(b[4:]), d.order.Uint32(b[8:])
	if size > maxPacket {
		return d.bad("captured length", uint64(size), fmt.Sprintf("at most %d bytes", maxPacket))
	}
	p.Time, p.Link = time.Unix(int64(s), int64(fraction)*d.unit).UTC(), d.link
	p.Data, err = d.rest(int(size), "packet")
	return err
}

// Blocks of pcapng.
const (
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6
)

// block reads blocks up to the next packet.
func (d *Reader) block(p *Packet) error {
	for {
		head, err := d.take(8, "block header")
		if err != nil {
			return err
		}
		kind := d.order.Uint32(head)
		if kind == blockHead { // tells its own byte order
			size := [4]byte(head[4:])
			b, err := d.rest(4, "section header")
			if err != nil {
				return err
			}
			switch {
			case binary.LittleEndian.Uint32(b) == magicOrder:
				d.order = binary.LittleEndian
			case binary.BigEndian.Uint32(b) == magicOrder:
				d.order = binary.BigEndian
			default:
				return d.bad("byte-order magic", uint64(binary.BigEndian.Uint32(b)), "0x1a2b3c4d in either order")
			}
			d.interfaces = d.interfaces[:0]
			if _, err := d.body(d.order.Uint32(size[:]), 16, "section header"); err != nil {
				return err
			}
			continue
		}
		b, err := d.body(d.order.Uint32(head[4:]), 12, "block")
		if err != nil {
			return err
		}
		switch kind {
		case blockInterface:
			err = d.describe(b)
		case blockEnhanced, blockPacket:
			return d.packet(b, kind, p)
		case blockSimple:
			return d.simple(b, p)
		}
		if err != nil {
			return err
		}
	}
}

// body reads what is left of a block of a length, of which head bytes with the
// trailing length are none of it.
func (d *Reader) body(length uint32, head int, what string) ([]byte, error) {
	if length%4 != 0 || length < uint32(head) || length > maxPacket {
		return nil, d.bad(what+" length", uint64(length), fmt.Sprintf("a multiple of 4 from %d to %d", head, maxPacket))
	}
	n := int(length) - head
	b, err := d.rest(n+4, what)
	if err != nil {
		return nil, err
	}
	if again := d.order.Uint32(b[n:]); again != length {
		return nil, d.bad(what+" length", uint64(again), fmt.Sprintf("%#x as at its beginning", length))
	}
	return b[:n], nil
}

// describe reads an interface's description: link type, snap length, options.
func (d *Reader) describe(b []byte) error {
	if len(b) < 8 {
		return d.bad("interface block", uint64(len(b)), "8 bytes")
	}
	p := port{link: Link(d.order.Uint16(b)), snap: d.order.Uint32(b[4:]), perSecond: 1e6}
	for b = b[8:]; len(b) >= 4; {
		code, size := d.order.Uint16(b), int(d.order.Uint16(b[2:]))
		if code == 0 || size > len(b)-4 {
			break
		}
		v := b[4 : 4+size]
		switch {
		case code == 9 && size == 1: // if_tsresol: a power of ten, or of two
			e := int(v[0] & 0x7f)
			switch {
			case v[0]&0x80 != 0 && e < 64:
				p.perSecond = 1 << e
			case v[0]&0x80 == 0 && e < 20:
				p.perSecond = uint64(math.Pow10(e))
			default:
				return d.bad("if_tsresol", uint64(v[0]), "at most 10^-19 or 2^-63 s")
			}
		case code == 14 && size == 8: // if_tsoffset
			p.offset = int64(d.order.Uint64(v))
		}
		b = b[min(4+(size+3)&^3, len(b)):]
	}
	if len(d.interfaces) == 1<<12 {
		return d.bad("interface block", 1<<12, "at most 4096 interfaces")
	}
	d.interfaces = append(d.interfaces, p)
	return nil
}

// packet reads an enhanced packet block: interface, time, lengths, data.
func (d *Reader) packet(b []byte, kind uint32, p *Packet) error {
	if len(b) < 20 {
		return d.bad("packet block", uint64(len(b)), "20 bytes")
	}
	n := d.order.Uint32(b)
	if kind == blockPacket {
		n = uint32(d.order.Uint16(b))
	}
	if n >= uint32(len(d.interfaces)) {
		return d.bad("interface", uint64(n), fmt.Sprintf("one of the %d described", len(d.interfaces)))
	}
	i := &d.interfaces[n]
	ticks := uint64(d.order.Uint32(b[4:]))<<32 | uint64(d.order.Uint32(b[8:]))
	size := d.order.Uint32(b[12:])
	if int64(size) > int64(len(b)-20) {
		return d.bad("captured length", uint64(size), fmt.Sprintf("at most the block's %d bytes", len(b)-20))
	}
	fraction := float64(ticks%i.perSecond) / float64(i.perSecond) * 1e9
	if 1e9%i.perSecond == 0 {
		fraction = float64(ticks % i.perSecond * (1e9 / i.perSecond))
	}
	p.Time = time.Unix(int64(ticks/i.perSecond)+i.offset, int64(fraction)).UTC()
	p.Link, p.Data = i.link, b[20:20+size]
	return nil
}

// simple reads a simple packet block, which has no time and is of the first
// interface.
func (d *Reader) simple(b []byte, p *Packet) error {
	if len(b) < 4 || len(d.interfaces) == 0 {
		return d.bad("simple packet block", uint64(len(b)), "4 bytes after the description of an interface")
	}
	size := d.order.Uint32(b)
	if snap := d.interfaces[0].snap; snap > 0 {
		size = min(size, snap)
	}
	size = min(size, uint32(len(b)-4))
	*p = Packet{Link: d.interfaces[0].link, Data: b[4 : 4+size]}
	return nil
}
