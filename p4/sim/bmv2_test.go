package sim

import (
	"testing"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// What a BMv2 1.15.5 (PI f96af95) answers, and what the specification says:
// p4/BMV2.md has the table.

// refused is the code of a write's only failed update.
func refused(t *testing.T, err error) codes.Code {
	t.Helper()
	st, _ := status.FromError(err)
	for _, d := range st.Details() {
		if e, ok := d.(*p4v1.Error); ok && codes.Code(e.CanonicalCode) != codes.OK {
			return codes.Code(e.CanonicalCode)
		}
	}
	return st.Code()
}

func table(c *raw, name string) uint32 {
	for _, t := range c.info.Tables {
		if t.Preamble.Name == name {
			return t.Preamble.Id
		}
	}
	return 0
}

func entity(e *p4v1.TableEntry) *p4v1.Entity {
	return &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: e}}
}

func (c *raw) reads(e *p4v1.Entity) ([]*p4v1.Entity, error) {
	s, err := c.Read(c.t.Context(), &p4v1.ReadRequest{DeviceId: device, Entities: []*p4v1.Entity{e}})
	var out []*p4v1.Entity
	for err == nil {
		var m *p4v1.ReadResponse
		if m, err = s.Recv(); err == nil {
			out = append(out, m.Entities...)
		}
	}
	if status.Code(err) == codes.Unknown && err.Error() == "EOF" {
		err = nil
	}
	return out, err
}

func route(c *raw, value []byte, prefix int32) *p4v1.TableEntry {
	var forward uint32
	for _, a := range c.info.Actions {
		if a.Preamble.Name == "I.forward" {
			forward = a.Preamble.Id
		}
	}
	return &p4v1.TableEntry{
		TableId: table(c, program.Routes),
		Match:   []*p4v1.FieldMatch{{FieldId: 1, FieldMatchType: &p4v1.FieldMatch_Lpm{Lpm: &p4v1.FieldMatch_LPM{Value: value, PrefixLen: prefix}}}},
		Action: &p4v1.TableAction{Type: &p4v1.TableAction_Action{Action: &p4v1.Action{ActionId: forward, Params: []*p4v1.Action_Param{
			{ParamId: 1, Value: []byte{2}}, {ParamId: 2, Value: []byte{1}},
		}}}},
	}
}

func replication(e *p4v1.PacketReplicationEngineEntry) *p4v1.Entity {
	return &p4v1.Entity{Entity: &p4v1.Entity_PacketReplicationEngineEntry{PacketReplicationEngineEntry: e}}
}

// group is a multicast group; 0 is all.
func group(id uint32) *p4v1.Entity {
	return replication(&p4v1.PacketReplicationEngineEntry{Type: &p4v1.PacketReplicationEngineEntry_MulticastGroupEntry{MulticastGroupEntry: &p4v1.MulticastGroupEntry{MulticastGroupId: id}}})
}

// pick is what BMv2 answers, or another switch.
func pick(s *Server, bmv2, otherwise codes.Code) codes.Code {
	if s.cfg.Personality == BMv2 {
		return bmv2
	}
	return otherwise
}

func TestHabits(t *testing.T) {
	every(t, Config{Depths: []p4.Limit{64, 32}}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		insert := func(e *p4v1.TableEntry) error {
			return c.write(&p4v1.Update{Type: p4v1.Update_INSERT, Entity: entity(e)})
		}
		wide := limitUpdate(p4v1.Update_INSERT, nil)
		wide.Entity.GetTableEntry().Action.GetAction().Params[0].Value = []byte{0xff, 0xff, 0xff}
		priority := limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) { e.Priority = 7 })
		bare := limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Action = nil })
		if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); err != nil {
			t.Fatal(err)
		}
		for _, k := range []struct {
			name string
			err  error
			want codes.Code
		}{
			{"value too wide", c.write(wide), pick(s, codes.InvalidArgument, codes.OutOfRange)},
			{"unknown table", insert(&p4v1.TableEntry{TableId: 9}), pick(s, codes.InvalidArgument, codes.NotFound)},
			{"bits behind the prefix", insert(route(c, []byte{10, 0, 0, 1}, 24)), codes.InvalidArgument},
			{"no bits behind it", insert(route(c, []byte{10, 0, 0, 0}, 24)), codes.OK},
			{"priority on an exact table", c.write(priority), codes.InvalidArgument},
			{"modify without action", c.write(bare), pick(s, codes.InvalidArgument, codes.OK)},
		} {
			if got := refused(t, k.err); got != k.want {
				t.Errorf("%s: %v, want %v", k.name, got, k.want)
			}
		}
		if _, err := c.reads(entity(&p4v1.TableEntry{TableId: 9})); status.Code(err) != pick(s, codes.InvalidArgument, codes.NotFound) {
			t.Errorf("read of an unknown table: %v", err)
		}
		// The modify without action left it.
		if got, err := c.reads(entity(limitUpdate(p4v1.Update_MODIFY, nil).Entity.GetTableEntry())); err != nil || len(got) != 1 || got[0].GetTableEntry().Action == nil {
			t.Errorf("after a modify without action: %v, %v", got, err)
		}
		// A default entry is always there, and a modify without action resets it.
		def := &p4v1.TableEntry{TableId: table(c, program.Table), IsDefaultAction: true}
		was, err := c.reads(entity(def))
		if err != nil || len(was) != 1 || was[0].GetTableEntry().Action.GetAction().GetActionId() == 0 {
			t.Fatalf("default entry never set: %v, %v", was, err)
		}
		set := proto.Clone(limitUpdate(p4v1.Update_MODIFY, nil).Entity.GetTableEntry()).(*p4v1.TableEntry)
		set.Match, set.IsDefaultAction = nil, true
		if err := c.write(&p4v1.Update{Type: p4v1.Update_MODIFY, Entity: entity(set)}, &p4v1.Update{Type: p4v1.Update_MODIFY, Entity: entity(def)}); err != nil {
			t.Errorf("default entry reset: %v", err)
		}
		if now, err := c.reads(entity(def)); err != nil || len(now) != 1 || !proto.Equal(now[0], was[0]) {
			t.Errorf("default entry after its reset: %v, %v; want %v", now, err, was)
		}
	})
}

func TestResources(t *testing.T) {
	every(t, Config{}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		counter := c.info.Counters[0]
		cell := &p4v1.Entity{Entity: &p4v1.Entity_CounterEntry{CounterEntry: &p4v1.CounterEntry{
			CounterId: counter.Preamble.Id, Index: &p4v1.Index{Index: 7}, Data: &p4v1.CounterData{PacketCount: 5},
		}}}
		if err := c.write(&p4v1.Update{Type: p4v1.Update_MODIFY, Entity: cell}); err != nil {
			t.Fatal(err)
		}
		all, err := c.reads(&p4v1.Entity{Entity: &p4v1.Entity_CounterEntry{CounterEntry: &p4v1.CounterEntry{CounterId: counter.Preamble.Id}}})
		if err != nil || int64(len(all)) != counter.Size || all[7].GetCounterEntry().Data.PacketCount != 5 || all[6].GetCounterEntry().Data.PacketCount != 0 {
			t.Errorf("%d cells of %d, %v", len(all), counter.Size, err)
		}
		if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); err != nil {
			t.Fatal(err)
		}
		direct := &p4v1.DirectCounterEntry{TableEntry: limitUpdate(p4v1.Update_INSERT, nil).Entity.GetTableEntry(), Data: &p4v1.CounterData{PacketCount: 9}}
		e := &p4v1.Entity{Entity: &p4v1.Entity_DirectCounterEntry{DirectCounterEntry: direct}}
		if err := c.write(&p4v1.Update{Type: p4v1.Update_MODIFY, Entity: e}); err != nil {
			t.Fatal(err)
		}
		if got, err := c.reads(e); err != nil || len(got) != 1 || got[0].GetDirectCounterEntry().Data.PacketCount != 9 {
			t.Errorf("direct counter: %v, %v", got, err)
		}
		if err := c.write(&p4v1.Update{Type: p4v1.Update_INSERT, Entity: group(3)}); err != nil {
			t.Fatal(err)
		}
		if got, err := c.reads(group(0)); err != nil || len(got) != 1 {
			t.Errorf("groups: %v, %v", got, err)
		}
		if err := c.write(&p4v1.Update{Type: p4v1.Update_DELETE, Entity: group(3)}); err != nil {
			t.Fatal(err)
		}
	})
}

// BMv2 verifies, refuses what does not compile, and is without a pipeline then.
func TestBMv2Pipeline(t *testing.T) {
	s := open(t, Config{Personality: BMv2})
	c := dial(t, s, program.Queue)
	if _, err := c.arbitrate(id(1)); err != nil {
		t.Fatal(err)
	}
	if err := c.push(id(1), p4v1.SetForwardingPipelineConfigRequest_VERIFY); err != nil || s.Cookie() != 0 {
		t.Errorf("verify: %v, cookie %d", err, s.Cookie())
	}
	good := c.device
	for _, device := range [][]byte{[]byte("garbage"), []byte("{}")} {
		c.device = good
		if err := c.push(id(1), p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT); err != nil {
			t.Fatal(err)
		}
		c.device = device
		if err := c.push(id(1), p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT); status.Code(err) != codes.Unknown {
			t.Errorf("%q: %v", device, err)
		}
		if _, err := c.reads(entity(&p4v1.TableEntry{})); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("read after %q: %v", device, err)
		}
	}
}

// BMv2's restart forgets depths and rates; a queue that does not exist drops.
func TestBMv2Queues(t *testing.T) {
	for _, p := range personalities {
		s := open(t, Config{Personality: p, Depths: []p4.Limit{128, 32}, Rate: 1000})
		c := dial(t, s, program.Queue)
		c.ready()
		if err := c.write(limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) { e.Action.GetAction().Params[1].Value = []byte{2} })); err != nil {
			t.Fatal(err)
		}
		want := p4.Limit(32)
		if p == BMv2 {
			want = 0
		}
		if got := s.InForce(1); got != want {
			t.Errorf("%s: queue 2 of two: limit %d, want %d", p, got, want)
		}
		if err := s.SetDepth(1, 2, 9); err == nil {
			t.Errorf("%s: queue 2 of two was provisioned", p)
		}
		s.Restart()
		depths, rate := s.Depths(1), s.Rate(1)
		if p == BMv2 && (depths[0] != 64 || depths[1] != 64 || rate != 0 || s.InForce(1) != 64) {
			t.Errorf("%s: depths %v, rate %d after a restart", p, depths, rate)
		}
		if p != BMv2 && (depths[0] != 128 || depths[1] != 32 || rate != 1000) {
			t.Errorf("%s: depths %v, rate %d after a restart", p, depths, rate)
		}
	}
}

// Every device id has its own election on BMv2.
func TestBMv2Devices(t *testing.T) {
	s := open(t, Config{Personality: BMv2})
	c := dial(t, s, program.Queue)
	c.ready()
	other := dial(t, s, program.Queue)
	if err := other.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Arbitration{Arbitration: &p4v1.MasterArbitrationUpdate{DeviceId: 99, ElectionId: id(1)}}}); err != nil {
		t.Fatal(err)
	}
	m, err := other.stream.Recv()
	if err != nil || codes.Code(m.GetArbitration().GetStatus().GetCode()) != codes.OK || m.GetArbitration().DeviceId != 99 {
		t.Errorf("device 99: %v, %v", m, err)
	}
	if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); err != nil {
		t.Errorf("the primary of device %d: %v", device, err)
	}
}
