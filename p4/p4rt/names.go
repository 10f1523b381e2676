package p4rt

import (
	"bytes"
	"fmt"
	"slices"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/planegym/planegym/p4/program"
)

// names turns names into the ids of a P4Info, and ids into messages.
type names struct{ *program.Names }

// entry is e in ids.
func (n *names) entry(e program.Entry) (*p4v1.TableEntry, error) {
	r, err := n.Entry(e)
	if err != nil {
		return nil, err
	}
	out := &p4v1.TableEntry{TableId: r.Table, IsDefaultAction: r.Default}
	for _, m := range r.Match {
		f := &p4v1.FieldMatch{FieldId: m.Field}
		if m.LPM {
			f.FieldMatchType = &p4v1.FieldMatch_Lpm{Lpm: &p4v1.FieldMatch_LPM{Value: m.Value, PrefixLen: m.Prefix}}
		} else {
			f.FieldMatchType = &p4v1.FieldMatch_Exact_{Exact: &p4v1.FieldMatch_Exact{Value: m.Value}}
		}
		out.Match = append(out.Match, f)
	}
	act := &p4v1.Action{ActionId: r.Action}
	for _, p := range r.Params {
		act.Params = append(act.Params, &p4v1.Action_Param{ParamId: p.ID, Value: p.Value})
	}
	out.Action = &p4v1.TableAction{Type: &p4v1.TableAction_Action{Action: act}}
	return out, nil
}

// param is the value of an entry's action parameter by name.
func (n *names) param(e *p4v1.TableEntry, name string) (uint64, bool) {
	a := e.GetAction().GetAction()
	for _, d := range n.Info.Actions {
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
	for _, h := range n.Info.ControllerPacketMetadata {
		if h.Preamble.Name != header {
			continue
		}
		for _, f := range h.Metadata {
			x := uint64(0)
			if f.Name == name {
				x = v
			}
			b, err := program.Canonical(x, f.Bitwidth)
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
	for _, h := range n.Info.ControllerPacketMetadata {
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

func number(b []byte) uint64 {
	var v uint64
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

// same reports whether a switch holds e as wanted: keys are equal already.
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
