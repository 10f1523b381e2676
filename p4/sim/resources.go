package sim

import (
	"fmt"
	"maps"
	"slices"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// resources are what a pipeline holds beside its tables: the cells of indirect
// counters and the packet replication engine's groups and sessions. Nothing
// counts or replicates here; what is written is read back.
type resources struct {
	counters map[uint32]map[int64]*p4v1.CounterData
	direct   map[string]*p4v1.CounterData // offsets of direct counters, by table and key
	groups   map[uint32]*p4v1.MulticastGroupEntry
	sessions map[uint32]*p4v1.CloneSessionEntry
}

func newResources() resources {
	return resources{
		counters: map[uint32]map[int64]*p4v1.CounterData{}, direct: map[string]*p4v1.CounterData{},
		groups: map[uint32]*p4v1.MulticastGroupEntry{}, sessions: map[uint32]*p4v1.CloneSessionEntry{},
	}
}

func counterByID(info *configv1.P4Info, id uint32) *configv1.Counter {
	for _, c := range info.GetCounters() {
		if c.Preamble.Id == id {
			return c
		}
	}
	return nil
}

// updateCounter sets a cell of an indirect counter, or, without an index, all.
func (s *Server) updateCounter(t p4v1.Update_Type, e *p4v1.CounterEntry) *p4v1.Error {
	c := counterByID(s.pipeline.P4Info, e.CounterId)
	switch {
	case t != p4v1.Update_MODIFY:
		return bad(codes.InvalidArgument, "a counter can only be modified")
	case c == nil:
		return bad(s.unknown(), "there is no counter %d", e.CounterId)
	case e.Index != nil && (e.Index.Index < 0 || e.Index.Index >= c.Size):
		return bad(codes.OutOfRange, "index %d is outside 0…%d", e.Index.Index, c.Size-1)
	}
	cells := s.resources.counters[e.CounterId]
	if cells == nil {
		cells = map[int64]*p4v1.CounterData{}
		s.resources.counters[e.CounterId] = cells
	}
	data := e.Data
	if data == nil {
		data = &p4v1.CounterData{}
	}
	if e.Index != nil {
		cells[e.Index.Index] = proto.Clone(data).(*p4v1.CounterData)
		return nil
	}
	for i := range c.Size {
		cells[i] = proto.Clone(data).(*p4v1.CounterData)
	}
	return nil
}

// updateDirectCounter sets the direct counter of an entry.
func (s *Server) updateDirectCounter(t p4v1.Update_Type, e *p4v1.DirectCounterEntry) *p4v1.Error {
	tb := tableByID(s.pipeline.P4Info, e.GetTableEntry().GetTableId())
	switch {
	case t != p4v1.Update_MODIFY:
		return bad(codes.InvalidArgument, "a counter can only be modified")
	case tb == nil:
		return bad(s.unknown(), "there is no table %d", e.GetTableEntry().GetTableId())
	}
	key, err := s.matchKey(tb, e.TableEntry)
	if err != nil {
		return err
	}
	found := s.tables[tb.Preamble.Id][key]
	if found == nil && key != defaultKey {
		return bad(codes.NotFound, "there is no such entry")
	}
	want := &p4v1.CounterData{}
	if e.Data != nil {
		want = proto.Clone(e.Data).(*p4v1.CounterData)
	}
	if found != nil { // counting goes on from there
		delete(s.resources.direct, directKey(tb, key))
		want.PacketCount -= s.count(found).PacketCount
	}
	s.resources.direct[directKey(tb, key)] = want
	return nil
}

func directKey(t *configv1.Table, key string) string { return fmt.Sprint(t.Preamble.Id, " ", key) }

// updatePRE changes the packet replication engine.
func (s *Server) updatePRE(t p4v1.Update_Type, e *p4v1.PacketReplicationEngineEntry) *p4v1.Error {
	switch x := e.Type.(type) {
	case *p4v1.PacketReplicationEngineEntry_MulticastGroupEntry:
		return change(t, s.resources.groups, x.MulticastGroupEntry.MulticastGroupId, x.MulticastGroupEntry)
	case *p4v1.PacketReplicationEngineEntry_CloneSessionEntry:
		return change(t, s.resources.sessions, x.CloneSessionEntry.SessionId, x.CloneSessionEntry)
	}
	return bad(codes.InvalidArgument, "the packet replication engine has groups and sessions")
}

func change[E any](t p4v1.Update_Type, in map[uint32]E, id uint32, e E) *p4v1.Error {
	_, there := in[id]
	switch {
	case id == 0:
		return bad(codes.InvalidArgument, "id 0 is reserved")
	case t == p4v1.Update_INSERT && there:
		return bad(codes.AlreadyExists, "%d exists", id)
	case (t == p4v1.Update_MODIFY || t == p4v1.Update_DELETE) && !there:
		return bad(codes.NotFound, "there is no %d", id)
	case t == p4v1.Update_DELETE:
		delete(in, id)
	case t == p4v1.Update_INSERT, t == p4v1.Update_MODIFY:
		in[id] = e
	default:
		return bad(codes.InvalidArgument, "update type is unspecified")
	}
	return nil
}

// readCounters gives the cells that a read names: counter 0 is all of them.
func (s *Server) readCounters(q *p4v1.CounterEntry) ([]*p4v1.Entity, error) {
	var out []*p4v1.Entity
	found := false
	for _, c := range s.pipeline.P4Info.Counters {
		if q.CounterId != 0 && q.CounterId != c.Preamble.Id {
			continue
		}
		found = true
		for i := range c.Size {
			if q.Index != nil && q.Index.Index != i {
				continue
			}
			data := s.resources.counters[c.Preamble.Id][i]
			if data == nil {
				data = &p4v1.CounterData{}
			}
			out = append(out, &p4v1.Entity{Entity: &p4v1.Entity_CounterEntry{CounterEntry: &p4v1.CounterEntry{
				CounterId: c.Preamble.Id, Index: &p4v1.Index{Index: i}, Data: data,
			}}})
		}
	}
	if !found && q.CounterId != 0 {
		return nil, status.Errorf(s.unknown(), "there is no counter %d", q.CounterId)
	}
	return out, nil
}

// readPRE gives the groups or sessions that a read names: id 0 is all.
func (s *Server) readPRE(q *p4v1.PacketReplicationEngineEntry) []*p4v1.Entity {
	var out []*p4v1.Entity
	entity := func(e *p4v1.PacketReplicationEngineEntry) {
		out = append(out, &p4v1.Entity{Entity: &p4v1.Entity_PacketReplicationEngineEntry{PacketReplicationEngineEntry: e}})
	}
	if g := q.GetMulticastGroupEntry(); g != nil || q.Type == nil {
		for _, id := range slices.Sorted(maps.Keys(s.resources.groups)) {
			if g.GetMulticastGroupId() == 0 || g.GetMulticastGroupId() == id {
				entity(&p4v1.PacketReplicationEngineEntry{Type: &p4v1.PacketReplicationEngineEntry_MulticastGroupEntry{MulticastGroupEntry: s.resources.groups[id]}})
			}
		}
	}
	if c := q.GetCloneSessionEntry(); c != nil || q.Type == nil {
		for _, id := range slices.Sorted(maps.Keys(s.resources.sessions)) {
			if c.GetSessionId() == 0 || c.GetSessionId() == id {
				entity(&p4v1.PacketReplicationEngineEntry{Type: &p4v1.PacketReplicationEngineEntry_CloneSessionEntry{CloneSessionEntry: s.resources.sessions[id]}})
			}
		}
	}
	return out
}
