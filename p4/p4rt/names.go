package p4rt

import (
	"bytes"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
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

// names turns names into the ids of a P4Info. No id stands in code.
type names struct{ info *configv1.P4Info }

func (n *names) table(name string) (*configv1.Table, error) {
	for _, t := range n.info.Tables {
		if t.Preamble.Name == name || t.Preamble.Alias == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("the program has no table %q", name)
}

func (n *names) action(name string) (*configv1.Action, error) {
	for _, a := range n.info.Actions {
		if a.Preamble.Name == name || a.Preamble.Alias == name {
			return a, nil
		}
	}
	return nil, fmt.Errorf("the program has no action %q", name)
}

// entry is e in ids.
func (n *names) entry(e Entry) (*p4v1.TableEntry, error) {
	t, err := n.table(e.Table)
	if err != nil {
		return nil, err
	}
	out := &p4v1.TableEntry{TableId: t.Preamble.Id, IsDefaultAction: e.Default}
	if e.Default != (len(e.Match) == 0) {
		return nil, fmt.Errorf("table %s: either default or a match", e.Table)
	}
	left := len(e.Match)
	for _, f := range t.MatchFields {
		text, ok := e.Match[f.Name]
		if !ok {
			continue
		}
		left--
		m := &p4v1.FieldMatch{FieldId: f.Id}
		text, length, lpm := strings.Cut(text, "/")
		v, err := parseValue(text, f.Bitwidth)
		if err != nil {
			return nil, fmt.Errorf("match %s: %w", f.Name, err)
		}
		switch {
		case f.GetMatchType() == configv1.MatchField_EXACT && !lpm:
			m.FieldMatchType = &p4v1.FieldMatch_Exact_{Exact: &p4v1.FieldMatch_Exact{Value: v}}
		case f.GetMatchType() == configv1.MatchField_LPM && lpm:
			l, err := strconv.Atoi(length)
			if err != nil || l < 1 || l > int(f.Bitwidth) {
				return nil, fmt.Errorf("match %s: prefix length %q is outside 1…%d", f.Name, length, f.Bitwidth)
			}
			m.FieldMatchType = &p4v1.FieldMatch_Lpm{Lpm: &p4v1.FieldMatch_LPM{Value: v, PrefixLen: int32(l)}}
		default:
			return nil, fmt.Errorf("match %s: %q does not suit a %v match", f.Name, e.Match[f.Name], f.GetMatchType())
		}
		out.Match = append(out.Match, m)
	}
	if left > 0 {
		return nil, fmt.Errorf("table %s: a match names no key of it: %v", e.Table, e.Match)
	}
	a, err := n.action(e.Action)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(t.ActionRefs, func(r *configv1.ActionRef) bool { return r.Id == a.Preamble.Id }) {
		return nil, fmt.Errorf("table %s has no action %s", e.Table, e.Action)
	}
	act := &p4v1.Action{ActionId: a.Preamble.Id}
	for _, p := range a.Params {
		text, ok := e.Params[p.Name]
		if !ok {
			return nil, fmt.Errorf("action %s: parameter %s is missing", e.Action, p.Name)
		}
		v, err := parseValue(text, p.Bitwidth)
		if err != nil {
			return nil, fmt.Errorf("action %s: %s: %w", e.Action, p.Name, err)
		}
		act.Params = append(act.Params, &p4v1.Action_Param{ParamId: p.Id, Value: v})
	}
	if len(e.Params) != len(a.Params) {
		return nil, fmt.Errorf("action %s takes %d parameters, not %d", e.Action, len(a.Params), len(e.Params))
	}
	out.Action = &p4v1.TableAction{Type: &p4v1.TableAction_Action{Action: act}}
	return out, nil
}

// param is the value of an entry's action parameter by name.
func (n *names) param(e *p4v1.TableEntry, name string) (uint64, bool) {
	a := e.GetAction().GetAction()
	for _, d := range n.info.Actions {
		if d.Preamble.Id != a.GetActionId() {
			continue
		}
		for _, p := range d.Params {
			for _, v := range a.Params {
				if p.Name == name && v.ParamId == p.Id {
					return number(v.Value), true
				}
			}
		}
	}
	return 0, false
}

// metadata fills the named controller header: the field called name gets v,
// the others 0.
func (n *names) metadata(header, name string, v uint64) ([]*p4v1.PacketMetadata, error) {
	var out []*p4v1.PacketMetadata
	for _, h := range n.info.ControllerPacketMetadata {
		if h.Preamble.Name != header {
			continue
		}
		for _, f := range h.Metadata {
			x := uint64(0)
			if f.Name == name {
				x = v
			}
			b, err := canonical(x, f.Bitwidth)
			if err != nil {
				return nil, fmt.Errorf("%s.%s: %w", header, f.Name, err)
			}
			out = append(out, &p4v1.PacketMetadata{MetadataId: f.Id, Value: b})
		}
		return out, nil
	}
	return nil, fmt.Errorf("the program has no controller header %q", header)
}

// metadatum is the value of a field of the named controller header.
func (n *names) metadatum(header, name string, md []*p4v1.PacketMetadata) uint64 {
	for _, h := range n.info.ControllerPacketMetadata {
		for _, f := range h.Metadata {
			for _, m := range md {
				if h.Preamble.Name == header && f.Name == name && m.MetadataId == f.Id {
					return number(m.Value)
				}
			}
		}
	}
	return 0
}

// canonical is the shortest byte string of v, at least one byte, as
// P4Runtime's read-write symmetry demands; v must fit bit<width>.
func canonical(v uint64, width int32) ([]byte, error) {
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
		return canonical(number(b[:]), width)
	}
	if m, err := net.ParseMAC(text); err == nil && len(m) == 6 && width >= 48 {
		return canonical(number(m), width)
	}
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no number, IPv4 or MAC address of %d bits", text, width)
	}
	return canonical(v, width)
}

// same tells whether a switch holds e as wanted: keys are equal already.
func same(have, want *p4v1.TableEntry) bool {
	a, b := have.GetAction().GetAction(), want.GetAction().GetAction()
	if a.GetActionId() != b.GetActionId() || len(a.GetParams()) != len(b.GetParams()) {
		return false
	}
	for _, p := range a.GetParams() {
		i := slices.IndexFunc(b.Params, func(o *p4v1.Action_Param) bool { return o.ParamId == p.ParamId })
		if i < 0 || !bytes.Equal(trim(p.Value), trim(b.Params[i].Value)) {
			return false
		}
	}
	m, w := have.MeterConfig, want.MeterConfig
	return m.GetCir() == w.GetCir() && m.GetCburst() == w.GetCburst() && m.GetPir() == w.GetPir() && m.GetPburst() == w.GetPburst()
}

// keyOf names an entry on a switch.
func keyOf(e *p4v1.TableEntry) string {
	if e.IsDefaultAction {
		return fmt.Sprintf("%d default", e.TableId)
	}
	parts := make([]string, 0, len(e.Match))
	for _, m := range e.Match {
		switch v := m.FieldMatchType.(type) {
		case *p4v1.FieldMatch_Exact_:
			parts = append(parts, fmt.Sprintf("%d=%x", m.FieldId, trim(v.Exact.Value)))
		case *p4v1.FieldMatch_Lpm:
			parts = append(parts, fmt.Sprintf("%d=%x/%d", m.FieldId, trim(v.Lpm.Value), v.Lpm.PrefixLen))
		default:
			parts = append(parts, m.String())
		}
	}
	slices.Sort(parts)
	return fmt.Sprintf("%d %v", e.TableId, parts)
}

// trim takes off leading zeros: some targets pad.
func trim(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}
