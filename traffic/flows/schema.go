// Package flows turns captured packets into sessions of actions, and counts what
// actions cannot express.
package flows

import (
	"fmt"
	"slices"

	"github.com/planegym/planegym/traffic"
)

// Flag says what a TCP segment is for. UDP and ICMP packets are all Data.
type Flag uint8

// The flags of an action, the first that holds of Reset, Syn, Fin, KeepAlive,
// Retransmission, Push, Data and Ack.
const (
	Data           Flag = iota // bytes without PSH
	Ack                        // no bytes
	Push                       // bytes with PSH
	Syn                        // of either side, first or again
	Fin                        // first or again, with bytes or without
	Reset                      //
	Retransmission             // bytes that begin below what was sent already
	KeepAlive                  // at most one byte, the last that was sent already
)

// FlagNames are the levels of the field "flags".
var FlagNames = []string{"data", "ack", "push", "syn", "fin", "rst", "retransmission", "keep-alive"}

func (f Flag) String() string {
	if int(f) < len(FlagNames) {
		return FlagNames[f]
	}
	return fmt.Sprintf("Flag(%d)", uint8(f))
}

// Protocols are the levels of the field "protocol". The message of ICMP is in
// the field "server_port", its type times 256 plus its code.
var Protocols = []string{"tcp", "udp", "icmp"}

// The indices of Protocols.
const (
	TCP = iota
	UDP
	ICMP
)

// Profiles are the levels of the field "options": which TCP options the
// handshake carries.
var Profiles = []string{"none", "mss", "mss,sack", "mss,ws", "mss,ts", "mss,sack,ws", "mss,sack,ts", "mss,ws,ts", "mss,sack,ws,ts"}

// TTLs are the levels of "ttl_up" and "ttl_down": the initial TTL that the
// observed one was counted down from.
var TTLs = []string{"32", "64", "128", "255"}

// The fields of a step. Direction and size are two fields because a packet
// without payload has a direction too, which the sign of 0 would lose.
const (
	Direction = iota // "up": from who opened the flow; "down"
	Size             // payload of the transport layer, bytes
	Flags
	Gap // s since the packet before, of either direction; of the first 0
	StepFields
)

// The meta fields of a session.
const (
	Protocol = iota
	Version  // "ipv4", "ipv6"
	ServerPort
	Client // popularity rank of its address
	Server
	OptionProfile
	TTLUp
	TTLDown
	MetaFields
)

// Schema is the schema of actions, with labels.
func Schema(labels []string) traffic.Schema {
	symbol := func(name string, levels []string) traffic.Field {
		return traffic.Field{Name: name, Kind: traffic.Symbol, Levels: levels}
	}
	return traffic.Schema{
		Labels: labels,
		Meta: []traffic.Field{
			Protocol:      symbol("protocol", Protocols),
			Version:       symbol("version", []string{"ipv4", "ipv6"}),
			ServerPort:    {Name: "server_port", Kind: traffic.Port},
			Client:        {Name: "client", Kind: traffic.Address},
			Server:        {Name: "server", Kind: traffic.Address},
			OptionProfile: symbol("options", Profiles),
			TTLUp:         symbol("ttl_up", TTLs),
			TTLDown:       symbol("ttl_down", TTLs),
		},
		Steps: []traffic.Field{
			Direction: symbol("direction", []string{"up", "down"}),
			Size:      {Name: "size", Unit: "B", Kind: traffic.Size},
			Flags:     symbol("flags", FlagNames),
			Gap:       {Name: "gap", Unit: "s", Kind: traffic.Gap},
		},
	}
}

// Action is one packet as a model says it.
type Action struct {
	Down  bool
	Size  int // payload bytes
	Flags Flag
	Gap   float64 // s since the one before
}

// Append appends a as a step to steps.
func (a Action) Append(steps []float64) []float64 {
	d := 0.
	if a.Down {
		d = 1
	}
	return append(steps, d, float64(a.Size), float64(a.Flags), a.Gap)
}

// Reader reads the steps of sessions of a schema as actions.
type Reader struct{ direction, size, flags, gap, width int }

// NewReader finds the fields direction, size, flags and gap by name. Without
// flags (MIRAGE has none) every action is Data, or Ack where it has no bytes;
// HasFlags tells.
func NewReader(c *traffic.Schema) (Reader, error) {
	direction, size, gap, err := c.Packets()
	if err != nil {
		return Reader{}, fmt.Errorf("flows: %w", err)
	}
	flags := c.StepIndex("flags")
	if flags >= 0 && !slices.Equal(c.Steps[flags].Levels, FlagNames) {
		return Reader{}, fmt.Errorf("flows: flags have the levels %q, not %q", c.Steps[flags].Levels, FlagNames)
	}
	return Reader{direction, size, flags, gap, len(c.Steps)}, nil
}

// HasFlags reports whether the schema has a field of flags.
func (r Reader) HasFlags() bool { return r.flags >= 0 }

// At is step i of s.
func (r Reader) At(s *traffic.Session, i int) Action {
	x := s.Steps[i*r.width : (i+1)*r.width]
	a := Action{Down: x[r.direction] == 1, Size: int(x[r.size]), Gap: x[r.gap]}
	switch {
	case r.flags >= 0:
		a.Flags = Flag(x[r.flags])
	case a.Size == 0:
		a.Flags = Ack
	}
	return a
}

// Len counts the actions of s.
func (r Reader) Len(s *traffic.Session) int { return len(s.Steps) / r.width }
