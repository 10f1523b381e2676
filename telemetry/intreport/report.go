// Package intreport decodes the telemetry that switches send about the packets
// they forward, and encodes it for emulated switches: the probes of the
// tutorial's testbed and the telemetry reports of the P4.org specifications, all
// as one hop record with explicit units.
//
// What is decoded:
//
//   - the probe of Tavares et al. (IPv4 protocol 253), see Probe;
//   - Telemetry Report v0.5: postcards, one hop each;
//   - Telemetry Report v1.0 with INT v1.0 stacks;
//   - Telemetry Report v2.0: INT-XD and INT-MX hops, INT-MD stacks of v2.1.
//
// INT is found behind TCP and UDP, VXLAN-GPE and Geneve. IOAM, and INT behind
// GRE, whose protocol number was never assigned, are not decoded. Where reports
// in the field depart from the specification and are still unambiguous, they
// are decoded and the departure is a Quirk.
package intreport

import (
	"fmt"
	"strings"
	"time"
)

// Format is a report's wire format.
type Format uint8

// The formats.
const (
	// Probe is a packet of IPv4 protocol 253 that every switch of its path
	// prepends 32 bytes to: u16 count, then the hops, newest first, in bits:
	// swid 31, ingress port 9, egress port 9, egress spec 9, ingress time 48,
	// egress time 48, enqueue time 32, depth at enqueue 19, time in queue 32,
	// depth at dequeue 19. Times are in µs.
	Probe Format = 1 + iota
	V05          // Telemetry Report v0.5
	V10          // Telemetry Report v1.0
	V20          // Telemetry Report v2.0
)

// MarshalText is String.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f Format) String() string {
	switch f {
	case Probe:
		return "probe"
	case V05:
		return "report v0.5"
	case V10:
		return "report v1.0"
	case V20:
		return "report v2.0"
	}
	return "frame"
}

// Field is a set of what a hop tells.
type Field uint16

// What a hop can tell. The upper nine are the instruction bits of INT.
const (
	HasSwitch      Field = 1 << 15
	HasPorts       Field = 1 << 14 // Ingress, Egress
	HasLatency     Field = 1 << 13
	HasQueue       Field = 1 << 12 // Queue, Depth
	HasIngressTime Field = 1 << 11
	HasEgressTime  Field = 1 << 10
	HasPorts2      Field = 1 << 9 // Ingress2, Egress2
	HasUtil        Field = 1 << 8
	HasBuffer      Field = 1 << 7 // Buffer, BufferUse
	HasWait        Field = 1 << 1 // Wait, DeqDepth, EnqTime, EgressSpec: probes only
	HasDrop        Field = 1 << 0 // Drop, Queue: reports of dropped packets

	hasINT = HasSwitch | HasPorts | HasLatency | HasQueue | HasIngressTime | HasEgressTime | HasPorts2 | HasUtil | HasBuffer
)

var fieldNames = [16]string{
	15: "switch", 14: "ports", 13: "latency", 12: "queue", 11: "ingress_time", 10: "egress_time",
	9: "ports2", 8: "util", 7: "buffer", 1: "wait", 0: "drop",
}

// MarshalText is String.
func (f Field) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f Field) String() string {
	var s []string
	for i := 15; i >= 0; i-- {
		if f&(1<<i) != 0 {
			s = append(s, fieldNames[i])
		}
	}
	return strings.Join(s, "+")
}

// Hop is what one switch reports of one packet. A member that Has does not name
// is 0.
type Hop struct {
	Has    Field  `json:"has"`
	Switch uint32 `json:"switch"`

	Ingress    uint32 `json:"ingress,omitempty"` // port ids, level 1
	Egress     uint32 `json:"egress,omitempty"`
	Ingress2   uint32 `json:"ingress2,omitempty"` // port ids, level 2
	Egress2    uint32 `json:"egress2,omitempty"`
	EgressSpec uint16 `json:"egress_spec,omitempty"` // port that the program asked for

	Queue     uint8  `json:"queue,omitempty"`
	Depth     uint32 `json:"depth"`               // of the queue as the packet came, in the target's unit: packets in BMv2
	DeqDepth  uint32 `json:"deq_depth,omitempty"` // of the queue as the packet left, packets
	Buffer    uint8  `json:"buffer,omitempty"`
	BufferUse uint32 `json:"buffer_use,omitempty"` // in the target's unit

	Latency uint64 `json:"latency_ns,omitempty"` // from ingress to egress
	Wait    uint64 `json:"wait_ns,omitempty"`    // in the queue

	// Times are ns of the switch's own clock, modulo Wrap (0: modulo 2^64).
	IngressTime uint64 `json:"ingress_time_ns,omitempty"`
	EgressTime  uint64 `json:"egress_time_ns,omitempty"`
	Wrap        uint64 `json:"wrap_ns,omitempty"`
	EnqTime     uint64 `json:"enq_time_ns,omitempty"` // modulo 2^32 µs

	Util uint32 `json:"util,omitempty"` // of the egress port, in the target's unit
	Drop uint8  `json:"drop,omitempty"` // reason
}

// Queueing is what a hop reports of its queue, in the columns of recordings:
// enq_qdepth, deq_timedelta in µs, deq_qdepth, and which of them are known.
// Where the time in the queue is not, it is the latency from ingress to egress,
// as reported or as the difference of the two times. A difference below 0, as the clocks
// of two pipes give, is not known: it would be nearly a whole turn of the clock.
func (h *Hop) Queueing() (values [3]float64, valid [3]bool) {
	wait, waited := h.Wait, h.Has&HasWait != 0
	switch times := HasIngressTime | HasEgressTime; {
	case waited:
	case h.Has&HasLatency != 0:
		wait, waited = h.Latency, true
	case h.Has&times == times:
		wait, waited = h.EgressTime-h.IngressTime, true
		if h.Wrap != 0 {
			wait = (h.EgressTime + h.Wrap - h.IngressTime) % h.Wrap
			waited = wait <= h.Wrap/2
		} else if h.EgressTime < h.IngressTime {
			waited = false
		}
	}
	if h.Has&HasQueue != 0 {
		values[0], valid[0] = float64(h.Depth), true
	}
	if waited {
		values[1], valid[1] = float64(wait)/1000, true
	}
	if h.Has&HasWait != 0 {
		values[2], valid[2] = float64(h.DeqDepth), true
	}
	return values, valid
}

// Quirk is a set of departures from the specification.
type Quirk uint8

// The departures that are understood.
const (
	WideTimes    Quirk = 1 << iota // 64-bit timestamps in an INT v1.0 stack
	NarrowPorts2                   // level 2 port ids of 16 bits in an INT v1.0 stack
	VersionOne                     // a v2.0 report that calls itself version 1
	NoLength                       // a v2.0 report without its length
	EtherAsIP                      // an Ethernet frame announced as an IP packet
	StackInMX                      // metadata of the node within the INT-MX header
)

var quirkNames = []string{"wide_times", "narrow_ports2", "version_one", "no_length", "ether_as_ip", "stack_in_mx"}

// MarshalText is String.
func (q Quirk) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

func (q Quirk) String() string {
	var s []string
	for i, name := range quirkNames {
		if q&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, "+")
}

// Report is what the hops of its path reported of one packet.
type Report struct {
	Format   Format `json:"format"`
	Node     uint32 `json:"node"`               // that sent the report; 0 for a probe
	Hardware uint8  `json:"hardware,omitempty"` // part of the node
	Seq      uint32 `json:"seq"`                // counts the reports of (Node, Hardware)
	SeqBits  uint8  `json:"seq_bits,omitempty"` // of Seq, which then wraps; 0: the report has no number
	Part     int    `json:"part,omitempty"`     // among the reports under one Seq, from 0

	Dropped      bool `json:"dropped,omitempty"`
	Congested    bool `json:"congested,omitempty"`
	Tracked      bool `json:"tracked,omitempty"`
	Intermediate bool `json:"intermediate,omitempty"`
	HopsExceeded bool `json:"hops_exceeded,omitempty"` // some hop could not add itself
	MTUExceeded  bool `json:"mtu_exceeded,omitempty"`  // the same
	Cut          bool `json:"cut,omitempty"`           // the reported packet ends within the stack: Hops are those before

	Hops   []Hop `json:"hops"` // in order of the path; empty, never nil
	Quirks Quirk `json:"quirks,omitempty"`
}

// Config says how reports are read and written.
type Config struct {
	// Tick is the unit of the timestamps and latencies of reports. 0 is 1 ns,
	// as specified; programs for BMv2 mostly write its 1 µs. Probes are in µs
	// whatever it says.
	Tick time.Duration
	// NoTimes says that the switches' clocks are of no use, as of programs that
	// write 0: hops are read without times and latencies.
	NoTimes bool
	// Port is the UDP port that reports are sent to, where they are to be
	// found among other frames. 0: every port, and a datagram is then taken
	// for a report only if it is one to its last byte, and says something.
	Port uint16
	// What says that INT follows a TCP or UDP header in a reported packet: the
	// value of IP's DSCP, the UDP destination port or the 64 bits after the
	// header. Where none is set it is looked for behind all of them, and taken
	// if all of its lengths agree.
	DSCP    uint8
	INTPort uint16
	Marker  uint64
}

// Check reports what is wrong with c, naming the field.
func (c Config) Check() error {
	switch {
	case c.Tick < 0 || c.Tick > time.Second:
		return fmt.Errorf("intreport: tick: %v is not between 1ns and 1s", c.Tick)
	case c.DSCP > 63:
		return fmt.Errorf("intreport: dscp: %d is more than 63", c.DSCP)
	}
	return nil
}

// tick is Tick in ns.
func (c *Config) tick() uint64 {
	if c.Tick == 0 {
		return 1
	}
	return uint64(c.Tick)
}

// Error is a packet that is not a report: what is wrong, at which byte.
type Error struct {
	Format Format
	Offset int    // in the bytes given, from 0
	Field  string // as the specification names it
	Value  uint64
	Want   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("intreport: %v: byte %d: %s: %d: want %s", e.Format, e.Offset, e.Field, e.Value, e.Want)
}
