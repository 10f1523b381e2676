// Package program is the P4_16 program that enforces queue limits, with its
// P4Info and BMv2 JSON, embedded.
//
// The table queue_limit, keyed on the egress port, runs set_limit(limit, qid);
// a direct meter and a direct counter hang on it. In Queue mode the entry's
// qid picks one of several queues whose depths were provisioned; in Meter mode
// the meter's burst is the limit and its rate the port's service rate.
//
// The JSON (format 2.23) and P4Info were made by p4c, on p4src/qlimit_v1.p4: the
// same text under another name, comments aside. To change
// the program, edit queue_limit.p4 and run, for each mode,
//
//	p4c-bm2-ss --arch v1model -DVARIANT=4 --p4runtime-files queue_limit.queue.p4info.txt -o queue_limit.queue.json queue_limit.p4
//	p4c-bm2-ss --arch v1model -DVARIANT=1 --p4runtime-files queue_limit.meter.p4info.txt -o queue_limit.meter.json queue_limit.p4
package program

import (
	"embed"
	"fmt"
	"hash/fnv"
)

// Mode is how the program enforces a limit.
type Mode string

// The two modes. Queue is the default everywhere; Meter is for targets whose
// queues cannot be provisioned.
const (
	Queue Mode = "queue"
	Meter Mode = "meter"
)

// Names of the program's objects, as P4Info has them.
const (
	Table      = "I.queue_limit"
	KeyPort    = "egress_port"
	Action     = "I.set_limit"
	ParamLimit = "limit"
	ParamQueue = "qid"

	Routes     = "I.ipv4_lpm" // forwarding: h.ipv4.dst → I.forward(dmac, port)
	Trace      = "E.swtrace"  // its default action E.int_hop(swid) writes probes
	PacketIn   = "packet_in"
	PacketOut  = "packet_out"
	CPUPort    = 255 // simple_switch_grpc --cpu-port
	MaxQueues  = 8   // qid has 3 bits
	ProbeProto = 253 // IPv4 protocol of probes
)

// Program is one mode's compiled program.
type Program struct {
	Mode   Mode
	P4Info []byte // text format of p4.config.v1.P4Info
	Device []byte // BMv2 JSON: p4_device_config
	Cookie uint64 // equal exactly where P4Info and Device are
}

//go:embed queue_limit.*
var files embed.FS

// Source is the program's P4_16 text.
func Source() []byte { return read("queue_limit.p4") }

func read(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // embedded: the names are constants
	}
	return b
}

// Load gives the program of a mode.
func Load(m Mode) (Program, error) {
	switch m {
	case Queue, Meter:
	default:
		return Program{}, fmt.Errorf(`p4/program: mode: %q is not one of "queue", "meter"`, m)
	}
	p := Program{Mode: m, P4Info: read(fmt.Sprintf("queue_limit.%s.p4info.txt", m)), Device: read(fmt.Sprintf("queue_limit.%s.json", m))}
	h := fnv.New64a()
	h.Write(p.P4Info)
	h.Write(p.Device)
	p.Cookie = h.Sum64()
	return p, nil
}
