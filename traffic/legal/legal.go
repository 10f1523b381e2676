// Package legal tells which packets of a capture a network would accept and a
// dissector would not complain of.
//
// Its rules are few and its own: it shares nothing with the compiler that makes
// packets but how headers are read.
package legal

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic/packet"
)

// Why a packet is not legal. A checksum may be wrong and another rule be broken too;
// of the others the first counts.
const (
	Malformed  = "malformed"                              // headers that are cut or contradict themselves
	Checksum   = "a checksum is wrong"                    // of IP or of transport
	Flags      = "TCP flags that no segment has together" // none, SYN with FIN or RST, no ACK in an established connection
	SecondOpen = "SYN inside a connection"                // that is neither a repetition nor after its end
	AfterClose = "data after FIN"                         // of the same side
	Missing    = "a segment before it is missing"         // its sequence number lies ahead
	Unsent     = "it acknowledges what was not sent"      // its acknowledgement lies ahead of the other side
)

// Counts are what a Checker found.
type Counts struct {
	Packets int            `json:"packets"` // of TCP, UDP and ICMP, whole
	Legal   int            `json:"legal"`
	Why     map[string]int `json:"why,omitempty"`    // broken rules
	Others  int            `json:"others,omitempty"` // packets that no rule is about: fragments, other protocols
}

// Share is the share of legal packets; 1 of none.
func (c *Counts) Share() float64 {
	if c.Packets == 0 {
		return 1
	}
	return float64(c.Legal) / float64(c.Packets)
}

// Checker checks packets one after another. Its zero value is ready. Memory is
// that of a capture's five-tuples.
type Checker struct {
	Counts Counts
	flows  map[tuple]*flow
}

type tuple struct{ a, b netip.AddrPort }

// flow is a connection; side 0 is that of the smaller address.
type flow struct{ side [2]side }

type side struct {
	known      bool   // next is
	begun      bool   // its SYN was seen
	first      uint32 // sequence number of the SYN
	next       uint32 // after all that it sent
	acked      uint32 // the highest acknowledgement of what it did not send, which is counted once
	ahead      bool   // there is one
	data       bool   // it sent data
	fin, reset bool
}

// Add checks a frame that begins with a header of a link type
// (https://www.tcpdump.org/linktypes.html), and gives a rule
// that it breaks; "" where it is legal.
func (c *Checker) Add(link uint16, frame []byte) string {
	why, more, judged := c.check(pcap.Link(link), frame)
	switch {
	case !judged:
		c.Counts.Others++
		return ""
	case why == "":
		why, more = more, ""
	}
	c.Counts.Packets++
	if why == "" {
		c.Counts.Legal++
		return ""
	}
	if c.Counts.Why == nil {
		c.Counts.Why = map[string]int{}
	}
	c.Counts.Why[why]++
	if more != "" {
		c.Counts.Why[more]++
	}
	return why
}

func (c *Checker) check(link pcap.Link, frame []byte) (why, more string, judged bool) {
	ip, _, err := packet.Strip(uint16(link), frame)
	var p packet.Packet
	if err == nil && ip != nil {
		err = p.Decode(ip)
	}
	switch {
	case err == nil && ip == nil, errors.Is(err, packet.ErrLink), errors.Is(err, packet.ErrProtocol), errors.Is(err, packet.ErrFragment):
		return "", "", false
	case err != nil:
		return Malformed, "", true
	case p.L3 == packet.Bad || p.L4 == packet.Bad:
		why = Checksum
	}
	if p.Proto == packet.TCP {
		more = c.segment(&p)
	}
	return why, more, true
}

// segment checks a TCP segment against its connection, and learns of it.
func (c *Checker) segment(p *packet.Packet) string {
	has := func(f uint8) bool { return p.Flags&f != 0 }
	syn, fin, reset, ack := has(packet.SYN), has(packet.FIN), has(packet.RST), has(packet.ACK)
	if syn && (fin || reset) || !syn && !reset && !ack {
		return Flags
	}
	from, to := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
	k, d := tuple{from, to}, 0
	if to.Compare(from) < 0 {
		k, d = tuple{to, from}, 1
	}
	f := c.flows[k]
	if f == nil {
		if c.flows == nil {
			c.flows = map[tuple]*flow{}
		}
		f = &flow{}
		c.flows[k] = f
	}
	over := f.side[0].reset || f.side[1].reset || f.side[0].fin && f.side[1].fin
	if syn && !ack && over {
		*f = flow{} // the ports are used again
	}
	own, other := &f.side[d], &f.side[1-d]
	n := uint32(p.Length)
	end := p.Seq + n
	if syn {
		end++
	}
	why := ""
	switch {
	case syn && own.known && !(own.begun && p.Seq == own.first) && own.data:
		why = SecondOpen
	case reset: // it may say anything
	case own.fin && n > 0 && int32(end-own.next) > 0:
		why = AfterClose
	case !syn && own.known && int32(p.Seq-own.next) > 0:
		why = Missing
	case ack && other.known && int32(p.Ack-other.next) > 0 && !(other.ahead && int32(p.Ack-other.acked) <= 0):
		why = Unsent
		other.ahead, other.acked = true, p.Ack
	}
	if fin {
		end++
	}
	if syn {
		own.begun, own.first = true, p.Seq
	}
	if !reset && (!own.known || syn || int32(end-own.next) > 0) {
		own.known, own.next = true, end
	}
	own.data = own.data || n > 0
	own.fin, own.reset = own.fin || fin, own.reset || reset
	return why
}

// Read checks a capture, pcap or pcapng. name is for errors.
func Read(in io.Reader, name string) (*Counts, error) {
	r, err := pcap.NewReader(in, name)
	if err != nil {
		return nil, fmt.Errorf("legal: %w", err)
	}
	var c Checker
	for p := (pcap.Packet{}); ; {
		if err := r.Next(&p); errors.Is(err, io.EOF) {
			return &c.Counts, nil
		} else if err != nil {
			return nil, fmt.Errorf("legal: %w", err)
		}
		c.Add(uint16(p.Link), p.Data)
	}
}
