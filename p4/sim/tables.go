package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// tables holds entries by table id and match; the default entry's match is "default".
type tables map[uint32]map[string]*p4v1.TableEntry

const defaultKey = "default"

// Write implements p4v1.P4RuntimeServer.
func (s *Server) Write(ctx context.Context, r *p4v1.WriteRequest) (*p4v1.WriteResponse, error) {
	s.mu.Lock()
	f := s.faults
	s.mu.Unlock()
	if f.Before != nil {
		f.Before(r)
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	err := s.write(r, f)
	if err == nil && f.Result != nil {
		err = f.Result(r)
	}
	if err != nil {
		return nil, err
	}
	return &p4v1.WriteResponse{}, nil
}

func (s *Server) write(r *p4v1.WriteRequest, f Faults) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayWrite(r.DeviceId, r.Role, r.ElectionId); err != nil {
		return err
	}
	if err := s.ready(r.DeviceId); err != nil {
		return err
	}
	if r.Atomicity != p4v1.WriteRequest_CONTINUE_ON_ERROR {
		return status.Errorf(codes.Unimplemented, "atomicity %v is not supported", r.Atomicity)
	}
	results := make([]protoadapt.MessageV1, len(r.Updates))
	failed := false
	for i, u := range r.Updates {
		err := s.update(u)
		if f.Refuse != codes.OK {
			err = &p4v1.Error{CanonicalCode: int32(f.Refuse), Message: "refused", Space: "sim", Code: 7}
		}
		if err == nil {
			err = &p4v1.Error{}
			s.writes++
		} else {
			failed = true
		}
		results[i] = protoadapt.MessageV1Of(err)
	}
	s.enforce()
	if !failed {
		return nil
	}
	// One Error per update in the details; the message stays empty, as in PI.
	st, err := status.New(codes.Unknown, "").WithDetails(results...)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return st.Err()
}

func bad(code codes.Code, format string, args ...any) *p4v1.Error {
	return &p4v1.Error{CanonicalCode: int32(code), Message: fmt.Sprintf(format, args...), Space: "ALL-sswitch-p4org"}
}

func (s *Server) update(u *p4v1.Update) *p4v1.Error {
	if s.faults.Refuse != codes.OK {
		return nil // not done; write puts the error
	}
	switch e := u.Entity.GetEntity().(type) {
	case *p4v1.Entity_TableEntry:
		return s.updateEntry(u.Type, e.TableEntry)
	case *p4v1.Entity_DirectMeterEntry:
		return s.updateMeter(u.Type, e.DirectMeterEntry)
	case *p4v1.Entity_CounterEntry:
		return s.updateCounter(u.Type, e.CounterEntry)
	case *p4v1.Entity_DirectCounterEntry:
		return s.updateDirectCounter(u.Type, e.DirectCounterEntry)
	case *p4v1.Entity_PacketReplicationEngineEntry:
		return s.updatePRE(u.Type, e.PacketReplicationEngineEntry)
	default:
		return bad(codes.Unimplemented, "%T is not supported", e)
	}
}

// updateEntry does one update of a table entry (specification, section "TableEntry").
func (s *Server) updateEntry(t p4v1.Update_Type, e *p4v1.TableEntry) *p4v1.Error {
	info := s.pipeline.P4Info
	tb := tableByID(info, e.TableId)
	if tb == nil {
		return bad(s.unknown(), "there is no table %d", e.TableId)
	}
	key, err := s.matchKey(tb, e)
	if err != nil {
		return err
	}
	if e.MeterConfig != nil && !hasMeter(info, tb) {
		return bad(codes.InvalidArgument, "table %s has no direct meter", tb.Preamble.Name)
	}
	entries := s.tables[e.TableId]
	old := entries[key]
	if e.IsDefaultAction && t == p4v1.Update_MODIFY && e.Action == nil {
		delete(entries, key) // the program's default is back
		return nil
	}
	if old != nil && t == p4v1.Update_MODIFY && e.Action == nil && s.cfg.Personality != BMv2 {
		e = proto.Clone(e).(*p4v1.TableEntry)
		e.Action = old.Action // "the action is left as it is"
	}
	if t != p4v1.Update_DELETE {
		if err := s.checkAction(info, tb, e); err != nil {
			return err
		}
	}
	switch t {
	case p4v1.Update_INSERT:
		if e.IsDefaultAction {
			return bad(codes.InvalidArgument, "a default entry can only be modified")
		}
		if old != nil {
			return bad(codes.AlreadyExists, "the entry exists")
		}
		if len(entries) >= int(tb.Size) {
			return bad(codes.ResourceExhausted, "table %s is full", tb.Preamble.Name)
		}
	case p4v1.Update_MODIFY:
		if old == nil && !e.IsDefaultAction {
			return bad(codes.NotFound, "there is no such entry")
		}
	case p4v1.Update_DELETE:
		if e.IsDefaultAction {
			return bad(codes.InvalidArgument, "a default entry can only be modified")
		}
		if old == nil {
			return bad(codes.NotFound, "there is no such entry")
		}
		delete(entries, key)
		return nil
	default:
		return bad(codes.InvalidArgument, "update type is unspecified")
	}
	if entries == nil {
		entries = map[string]*p4v1.TableEntry{}
		s.tables[e.TableId] = entries
	}
	entries[key] = canonical(e)
	if e.MeterConfig != nil && tb.Preamble.Name == program.Table {
		s.refills[portOf(e)]++
	}
	return nil
}

func (s *Server) updateMeter(t p4v1.Update_Type, m *p4v1.DirectMeterEntry) *p4v1.Error {
	if t != p4v1.Update_MODIFY {
		return bad(codes.InvalidArgument, "a meter can only be modified")
	}
	tb := tableByID(s.pipeline.P4Info, m.GetTableEntry().GetTableId())
	if tb == nil || !hasMeter(s.pipeline.P4Info, tb) {
		return bad(codes.NotFound, "there is no direct meter on table %d", m.GetTableEntry().GetTableId())
	}
	key, err := s.matchKey(tb, m.TableEntry)
	if err != nil {
		return err
	}
	e := s.tables[tb.Preamble.Id][key]
	if e == nil {
		return bad(codes.NotFound, "there is no such entry")
	}
	e.MeterConfig = nil
	if m.Config != nil {
		e.MeterConfig = proto.Clone(m.Config).(*p4v1.MeterConfig)
		s.refills[portOf(e)]++
	}
	return nil
}

func tableByID(info *configv1.P4Info, id uint32) *configv1.Table {
	for _, t := range info.GetTables() {
		if t.Preamble.Id == id {
			return t
		}
	}
	return nil
}

func hasMeter(info *configv1.P4Info, t *configv1.Table) bool {
	return slices.ContainsFunc(info.DirectMeters, func(m *configv1.DirectMeter) bool { return m.DirectTableId == t.Preamble.Id })
}

// trim takes the leading zeros off a byte string: its canonical form.
func trim(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

// fits reports a value that does not fit bit<width>.
func (s *Server) fits(what string, b []byte, width int32) *p4v1.Error {
	if len(b) == 0 {
		return bad(codes.InvalidArgument, "%s is empty", what)
	}
	b = trim(b)
	if n := 8*(len(b)-1) + bits.Len8(b[0]); n > int(width) {
		code := codes.OutOfRange
		if s.cfg.Personality == BMv2 {
			code = codes.InvalidArgument
		}
		return bad(code, "%s has %d bits, its type %d", what, n, width)
	}
	return nil
}

// matchKey names an entry in its table. Bits behind a prefix, and a priority
// where no field needs one, are refused (specification, "Match Format").
func (s *Server) matchKey(t *configv1.Table, e *p4v1.TableEntry) (string, *p4v1.Error) {
	if e.IsDefaultAction {
		if len(e.Match) > 0 {
			return "", bad(codes.InvalidArgument, "a default entry has no match")
		}
		return defaultKey, nil
	}
	if len(t.MatchFields) == 0 {
		return "", bad(codes.InvalidArgument, "table %s has no key: only its default entry can be set", t.Preamble.Name)
	}
	if e.Priority != 0 {
		return "", bad(codes.InvalidArgument, "table %s has no ternary, range or optional field: a priority makes no sense", t.Preamble.Name)
	}
	var parts []string
	for _, f := range t.MatchFields {
		i := slices.IndexFunc(e.Match, func(m *p4v1.FieldMatch) bool { return m.FieldId == f.Id })
		if i < 0 {
			if f.GetMatchType() == configv1.MatchField_EXACT {
				return "", bad(codes.InvalidArgument, "%s is missing", f.Name)
			}
			parts = append(parts, "*")
			continue
		}
		switch m := e.Match[i].FieldMatchType.(type) {
		case *p4v1.FieldMatch_Exact_:
			if f.GetMatchType() != configv1.MatchField_EXACT {
				return "", bad(codes.InvalidArgument, "%s is not an exact match", f.Name)
			}
			if err := s.fits(f.Name, m.Exact.Value, f.Bitwidth); err != nil {
				return "", err
			}
			parts = append(parts, fmt.Sprintf("%x", trim(m.Exact.Value)))
		case *p4v1.FieldMatch_Lpm:
			if f.GetMatchType() != configv1.MatchField_LPM || m.Lpm.PrefixLen < 1 || m.Lpm.PrefixLen > f.Bitwidth {
				return "", bad(codes.InvalidArgument, "%s: prefix length %d", f.Name, m.Lpm.PrefixLen)
			}
			if err := s.fits(f.Name, m.Lpm.Value, f.Bitwidth); err != nil {
				return "", err
			}
			if number(m.Lpm.Value)&(1<<(f.Bitwidth-m.Lpm.PrefixLen)-1) != 0 {
				return "", bad(codes.InvalidArgument, "%s has bits behind its prefix of %d", f.Name, m.Lpm.PrefixLen)
			}
			parts = append(parts, fmt.Sprintf("%x/%d", trim(m.Lpm.Value), m.Lpm.PrefixLen))
		default:
			return "", bad(codes.Unimplemented, "%s: %T is not supported", f.Name, m)
		}
	}
	if len(e.Match) > len(t.MatchFields) {
		return "", bad(codes.InvalidArgument, "%d match fields for a key of %d", len(e.Match), len(t.MatchFields))
	}
	return strings.Join(parts, " "), nil
}

// checkAction holds an entry's action to the table's.
func (s *Server) checkAction(info *configv1.P4Info, t *configv1.Table, e *p4v1.TableEntry) *p4v1.Error {
	a := e.GetAction().GetAction()
	if a == nil {
		return bad(codes.InvalidArgument, "the action is missing")
	}
	i := slices.IndexFunc(t.ActionRefs, func(r *configv1.ActionRef) bool { return r.Id == a.ActionId })
	if i < 0 {
		return bad(codes.InvalidArgument, "table %s has no action %d", t.Preamble.Name, a.ActionId)
	}
	switch scope := t.ActionRefs[i].Scope; {
	case scope == configv1.ActionRef_DEFAULT_ONLY && !e.IsDefaultAction:
		return bad(codes.PermissionDenied, "the action is for the default entry only")
	case scope == configv1.ActionRef_TABLE_ONLY && e.IsDefaultAction:
		return bad(codes.PermissionDenied, "the action is not for the default entry")
	}
	for _, d := range info.Actions {
		if d.Preamble.Id != a.ActionId {
			continue
		}
		if len(a.Params) != len(d.Params) {
			return bad(codes.InvalidArgument, "%s takes %d parameters, not %d", d.Preamble.Name, len(d.Params), len(a.Params))
		}
		for _, p := range d.Params {
			i := slices.IndexFunc(a.Params, func(x *p4v1.Action_Param) bool { return x.ParamId == p.Id })
			if i < 0 {
				return bad(codes.InvalidArgument, "%s is missing", p.Name)
			}
			if err := s.fits(p.Name, a.Params[i].Value, p.Bitwidth); err != nil {
				return err
			}
		}
	}
	return nil
}

// canonical is a copy of an entry with canonical byte strings, which reads give.
func canonical(e *p4v1.TableEntry) *p4v1.TableEntry {
	e = proto.Clone(e).(*p4v1.TableEntry)
	e.CounterData = nil
	for _, m := range e.Match {
		switch m := m.FieldMatchType.(type) {
		case *p4v1.FieldMatch_Exact_:
			m.Exact.Value = trim(m.Exact.Value)
		case *p4v1.FieldMatch_Lpm:
			m.Lpm.Value = trim(m.Lpm.Value)
		}
	}
	for _, p := range e.GetAction().GetAction().GetParams() {
		p.Value = trim(p.Value)
	}
	return e
}

// portOf is the first exact match value of an entry.
func portOf(e *p4v1.TableEntry) p4.Port {
	for _, m := range e.Match {
		return p4.Port(number(m.GetExact().GetValue()))
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

// enforce computes the limit in force on every port and tells the backend of
// changes: in queue mode that of the queue which the entry picks, in meter
// mode the meter's burst. Which mode it is the entry shows: one with a meter
// is metered.
func (s *Server) enforce() {
	for _, port := range s.cfg.Ports {
		depths := s.bank.depths[port]
		l := depths[0]
		if e := s.limitEntry(port); e != nil {
			if p := param(s.pipeline.P4Info, e, program.ParamQueue); p != nil {
				if qid := int(number(p.Value)); qid < len(depths) {
					l = depths[qid]
				} else if s.cfg.Personality == BMv2 {
					l = 0 // "Priority out of range": the packet is dropped
				} else {
					l = depths[len(depths)-1]
				}
			}
			if e.MeterConfig != nil {
				l = min(l, p4.Limit(e.MeterConfig.Cburst))
			}
		}
		if s.inForce[port] != l {
			s.inForce[port] = l
			s.cfg.Queues.SetLimit(port, l)
		}
	}
}

// limitEntry is the entry that packets to a port hit: its own, or the default's.
func (s *Server) limitEntry(port p4.Port) *p4v1.TableEntry {
	for _, t := range s.pipeline.GetP4Info().GetTables() {
		if t.Preamble.Name != program.Table {
			continue
		}
		entries := s.tables[t.Preamble.Id]
		if e := entries[fmt.Sprintf("%x", bytesOf(uint64(port)))]; e != nil {
			return e
		}
		return entries[defaultKey]
	}
	return nil
}

// param is an entry's action parameter by name; nil where it has none.
func param(info *configv1.P4Info, e *p4v1.TableEntry, name string) *p4v1.Action_Param {
	a := e.GetAction().GetAction()
	for _, d := range info.Actions {
		if d.Preamble.Id != a.GetActionId() {
			continue
		}
		for _, p := range d.Params {
			for _, v := range a.Params {
				if p.Name == name && v.ParamId == p.Id {
					return v
				}
			}
		}
	}
	return nil
}

// Read implements p4v1.P4RuntimeServer. It sends an entity a message, so that
// a client which reads one message only is found out.
func (s *Server) Read(r *p4v1.ReadRequest, stream p4v1.P4Runtime_ReadServer) error {
	if err := s.enter(stream.Context()); err != nil {
		return err
	}
	found, err := s.read(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	f := s.faults.Found
	s.mu.Unlock()
	if f != nil {
		f()
	}
	for _, e := range found {
		if err := stream.Send(&p4v1.ReadResponse{Entities: []*p4v1.Entity{e}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) read(r *p4v1.ReadRequest) ([]*p4v1.Entity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(r.DeviceId); err != nil {
		return nil, err
	}
	if err := s.ready(r.DeviceId); err != nil {
		return nil, err
	}
	var out []*p4v1.Entity
	for _, want := range r.Entities {
		switch q := want.Entity.(type) {
		case *p4v1.Entity_TableEntry:
			found, err := s.find(q.TableEntry)
			if err != nil {
				return nil, err
			}
			for _, e := range found {
				e = s.tell1(e, q.TableEntry)
				out = append(out, &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: e}})
			}
		case *p4v1.Entity_DirectMeterEntry:
			found, err := s.find(q.DirectMeterEntry.GetTableEntry())
			if err != nil {
				return nil, err
			}
			for _, e := range found {
				out = append(out, &p4v1.Entity{Entity: &p4v1.Entity_DirectMeterEntry{DirectMeterEntry: &p4v1.DirectMeterEntry{
					TableEntry: &p4v1.TableEntry{TableId: e.TableId, Match: e.Match, IsDefaultAction: e.IsDefaultAction}, Config: e.MeterConfig,
				}}})
			}
		case *p4v1.Entity_CounterEntry:
			found, err := s.readCounters(q.CounterEntry)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		case *p4v1.Entity_ActionProfileMember, *p4v1.Entity_ActionProfileGroup, *p4v1.Entity_MeterEntry, *p4v1.Entity_ValueSetEntry, *p4v1.Entity_DigestEntry:
			// The program has none: all of them are none, one is unknown.
			if id := cmp.Or(want.GetActionProfileMember().GetActionProfileId(), want.GetActionProfileGroup().GetActionProfileId(),
				want.GetMeterEntry().GetMeterId(), want.GetValueSetEntry().GetValueSetId(), want.GetDigestEntry().GetDigestId()); id != 0 {
				return nil, status.Errorf(s.unknown(), "there is no %T %d", q, id)
			}
		case *p4v1.Entity_PacketReplicationEngineEntry:
			out = append(out, s.readPRE(q.PacketReplicationEngineEntry)...)
		case *p4v1.Entity_DirectCounterEntry:
			found, err := s.find(q.DirectCounterEntry.GetTableEntry())
			if err != nil {
				return nil, err
			}
			for _, e := range found {
				out = append(out, &p4v1.Entity{Entity: &p4v1.Entity_DirectCounterEntry{DirectCounterEntry: &p4v1.DirectCounterEntry{
					TableEntry: &p4v1.TableEntry{TableId: e.TableId, Match: e.Match, IsDefaultAction: e.IsDefaultAction}, Data: s.count(e),
				}}})
			}
		default:
			return nil, status.Errorf(codes.Unimplemented, "%T is not supported", q)
		}
	}
	return out, nil
}

// find gives the entries that a read names: one by its key, those of a table
// (no match), or all (table 0), ordered by table and key.
func (s *Server) find(q *p4v1.TableEntry) ([]*p4v1.TableEntry, error) {
	if q.GetTableId() == 0 {
		var all []*p4v1.TableEntry
		for _, t := range s.pipeline.P4Info.Tables {
			all = append(all, s.sorted(t.Preamble.Id)...)
		}
		return all, nil
	}
	t := tableByID(s.pipeline.P4Info, q.TableId)
	if t == nil {
		return nil, status.Errorf(s.unknown(), "there is no table %d", q.TableId)
	}
	if q.IsDefaultAction {
		if e := s.tables[q.TableId][defaultKey]; e != nil {
			return []*p4v1.TableEntry{e}, nil
		}
		// Never set, it is the program's.
		e := &p4v1.TableEntry{TableId: q.TableId, IsDefaultAction: true}
		if a := t.GetInitialDefaultAction(); a != nil {
			e.Action = &p4v1.TableAction{Type: &p4v1.TableAction_Action{Action: &p4v1.Action{ActionId: a.ActionId}}}
			for _, p := range a.Arguments {
				e.Action.GetAction().Params = append(e.Action.GetAction().Params, &p4v1.Action_Param{ParamId: p.ParamId, Value: p.Value})
			}
		}
		return []*p4v1.TableEntry{e}, nil
	}
	if len(q.Match) == 0 {
		return s.sorted(q.TableId), nil
	}
	key, err := s.matchKey(t, q)
	if err != nil {
		return nil, status.Error(codes.Code(err.CanonicalCode), err.Message)
	}
	if e := s.tables[q.TableId][key]; e != nil {
		return []*p4v1.TableEntry{e}, nil
	}
	return nil, nil
}

func (s *Server) sorted(table uint32) []*p4v1.TableEntry {
	var keys []string
	for k := range s.tables[table] {
		if k != defaultKey {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var out []*p4v1.TableEntry
	for _, k := range keys {
		out = append(out, s.tables[table][k])
	}
	return out
}

// tell1 is an entry as a read tells it, with the direct resources asked for.
func (s *Server) tell1(e, q *p4v1.TableEntry) *p4v1.TableEntry {
	e = proto.Clone(e).(*p4v1.TableEntry)
	if q.GetMeterConfig() == nil {
		e.MeterConfig = nil
	}
	if q.GetCounterData() != nil {
		e.CounterData = s.count(e)
	}
	if s.faults.Lie != nil {
		if p := param(s.pipeline.P4Info, e, program.ParamLimit); p != nil {
			p.Value = bytesOf(uint64(s.faults.Lie(p4.Limit(number(p.Value)))))
		}
	}
	return e
}

func (s *Server) count(e *p4v1.TableEntry) *p4v1.CounterData {
	t := tableByID(s.pipeline.P4Info, e.TableId)
	data := &p4v1.CounterData{}
	key, err := s.matchKey(t, e)
	if set := s.resources.direct[directKey(t, key)]; err == nil && set != nil {
		data = proto.Clone(set).(*p4v1.CounterData)
	}
	if t.Preamble.Name == program.Table && !e.IsDefaultAction {
		data.PacketCount += s.cfg.Queues.Packets(portOf(e))
	}
	return data
}

// packetOut hands a packet of the primary to the backend.
func (s *Server) packetOut(c *client, p *p4v1.PacketOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipeline == nil || !s.isPrimary(c.role, c.election) {
		if s.cfg.Personality != BMv2 { // PI drops it silently
			c.send(&p4v1.StreamMessageResponse{Update: &p4v1.StreamMessageResponse_Error{Error: &p4v1.StreamError{
				CanonicalCode: int32(codes.PermissionDenied), Message: "Not primary",
				Details: &p4v1.StreamError_PacketOut{PacketOut: &p4v1.PacketOutError{PacketOut: p}},
			}}})
		}
		return
	}
	for _, h := range s.pipeline.P4Info.ControllerPacketMetadata {
		if h.Preamble.Name != program.PacketOut {
			continue
		}
		for _, m := range p.Metadata {
			if m.MetadataId == h.Metadata[0].Id {
				s.cfg.Queues.PacketOut(p4.Port(number(m.Value)), p.Payload)
				return
			}
		}
	}
}
