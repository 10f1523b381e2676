package program

import (
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	"google.golang.org/protobuf/encoding/prototext"
)

// Entry is a table entry by names, as P4Info has them. Values are decimal,
// 0x…, an IPv4 address or a MAC address; a longest-prefix match ends in /n.
type Entry struct {
	Table   string            `toml:"table"`   // name in the program
	Match   map[string]string `toml:"match"`   // key field to value, as P4 writes it: "10.0.0.1/32"
	Action  string            `toml:"action"`  // name in the program
	Params  map[string]string `toml:"params"`  // parameter to value
	Default bool              `toml:"default"` // the table's default entry: no match
}

// Names turns names into the ids of a program's P4Info, so that no id is
// written in code. It needs P4Info alone: no gRPC.
type Names struct{ Info *configv1.P4Info }

// ParseNames reads a P4Info in protobuf's text format.
func ParseNames(p4info []byte) (*Names, error) {
	info := &configv1.P4Info{}
	if err := prototext.Unmarshal(p4info, info); err != nil {
		return nil, fmt.Errorf("p4/program: P4Info: %w", err)
	}
	return &Names{info}, nil
}

// Resolved is an Entry by the ids of a P4Info; values are canonical byte
// strings.
type Resolved struct {
	Table   uint32
	Match   []Match
	Action  uint32
	Params  []Param
	Default bool
}

// Match is one field of a key.
type Match struct {
	Field  uint32
	Value  []byte
	LPM    bool
	Prefix int32 // length, of an LPM match
}

// Param is one parameter of an action.
type Param struct {
	ID    uint32
	Value []byte
}

func (n *Names) Table(name string) (*configv1.Table, error) {
	for _, t := range n.Info.Tables {
		if t.Preamble.Name == name || t.Preamble.Alias == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("the program has no table %q", name)
}

func (n *Names) action(name string) (*configv1.Action, error) {
	for _, a := range n.Info.Actions {
		if a.Preamble.Name == name || a.Preamble.Alias == name {
			return a, nil
		}
	}
	return nil, fmt.Errorf("the program has no action %q", name)
}

// Entry is e in ids. An error names what the program does not have, or the
// value that does not fit.
func (n *Names) Entry(e Entry) (Resolved, error) {
	var none Resolved
	t, err := n.Table(e.Table)
	if err != nil {
		return none, err
	}
	out := Resolved{Table: t.Preamble.Id, Default: e.Default}
	if e.Default != (len(e.Match) == 0) {
		return none, fmt.Errorf("table %s: either default or a match", e.Table)
	}
	left := len(e.Match)
	for _, f := range t.MatchFields {
		text, ok := e.Match[f.Name]
		if !ok {
			continue
		}
		left--
		m, err := parseMatch(f, text)
		if err != nil {
			return none, fmt.Errorf("match %s: %w", f.Name, err)
		}
		out.Match = append(out.Match, m)
	}
	if left != 0 {
		return none, fmt.Errorf("table %s: a match names no key of it: %v", e.Table, e.Match)
	}
	a, err := n.action(e.Action)
	if err != nil {
		return none, err
	}
	if !slices.ContainsFunc(t.ActionRefs, func(r *configv1.ActionRef) bool { return r.Id == a.Preamble.Id }) {
		return none, fmt.Errorf("table %s has no action %s", e.Table, e.Action)
	}
	out.Action = a.Preamble.Id
	for _, p := range a.Params {
		text, ok := e.Params[p.Name]
		if !ok {
			return none, fmt.Errorf("action %s: parameter %s is missing", e.Action, p.Name)
		}
		v, err := parseValue(text, p.Bitwidth)
		if err != nil {
			return none, fmt.Errorf("action %s: %s: %w", e.Action, p.Name, err)
		}
		out.Params = append(out.Params, Param{p.Id, v})
	}
	if len(e.Params) != len(a.Params) {
		return none, fmt.Errorf("action %s takes %d parameters, not %d", e.Action, len(a.Params), len(e.Params))
	}
	return out, nil
}

// parseMatch reads the match of a field; a longest-prefix match ends in /n.
func parseMatch(f *configv1.MatchField, text string) (Match, error) {
	value, length, lpm := strings.Cut(text, "/")
	v, err := parseValue(value, f.Bitwidth)
	if err != nil {
		return Match{}, err
	}
	switch {
	case f.GetMatchType() == configv1.MatchField_EXACT && !lpm:
		return Match{Field: f.Id, Value: v}, nil
	case f.GetMatchType() == configv1.MatchField_LPM && lpm:
		l, err := strconv.Atoi(length)
		if err != nil || l < 1 || l > int(f.Bitwidth) {
			return Match{}, fmt.Errorf("prefix length %q is outside 1…%d", length, f.Bitwidth)
		}
		return Match{Field: f.Id, Value: v, LPM: true, Prefix: int32(l)}, nil
	}
	return Match{}, fmt.Errorf("%q does not suit a %v match", text, f.GetMatchType())
}

// Canonical is the shortest byte string of v, at least one byte, as
// P4Runtime's read-write symmetry demands; v must fit bit<width>.
func Canonical(v uint64, width int32) ([]byte, error) {
	if n := bits.Len64(v); n > int(width) {
		return nil, fmt.Errorf("%d has %d bits, its type bit<%d>", v, n, width)
	}
	b := make([]byte, max(1, (bits.Len64(v)+7)/8))
	for i := range b {
		b[len(b)-1-i] = byte(v >> (8 * i))
	}
	return b, nil
}

func number(b []byte) uint64 {
	var v uint64
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

// parseValue reads a number, an IPv4 address or a MAC address of at most
// width bits.
func parseValue(text string, width int32) ([]byte, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() && width >= 32 {
		b := a.As4()
		return Canonical(number(b[:]), width)
	}
	if m, err := net.ParseMAC(text); err == nil && len(m) == 6 && width >= 48 {
		return Canonical(number(m), width)
	}
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a number, IPv4 or MAC address of %d bits", text, width)
	}
	return Canonical(v, width)
}
