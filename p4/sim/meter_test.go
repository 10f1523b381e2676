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

// A direct meter is changed by its entry's key (specification, "DirectMeterEntry"): what
// may be done, and what is in force then.
func TestDirectMeters(t *testing.T) {
	for _, p := range personalities {
		s := open(t, Config{Personality: p, Depths: []p4.Limit{64}})
		c := dial(t, s, program.Meter)
		c.ready()
		limits := table(c, program.Table)
		metered := func(burst int64) *p4v1.MeterConfig {
			if burst == 0 {
				return nil
			}
			return &p4v1.MeterConfig{Cir: 1000, Cburst: burst, Pir: 1000, Pburst: burst}
		}
		entry := limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) {
			e.TableId, e.MeterConfig = limits, metered(40)
			e.Action.GetAction().Params[1].Value = []byte{0}
		})
		if err := c.write(entry); err != nil {
			t.Fatal(p, err)
		}
		if s.InForce(1) != 40 || s.Refills(1) != 1 {
			t.Errorf("%s: %d in force, %d refills", p, s.InForce(1), s.Refills(1))
		}
		key := func(port byte) *p4v1.TableEntry {
			e := proto.Clone(entry.Entity.GetTableEntry()).(*p4v1.TableEntry)
			e.Action, e.MeterConfig = nil, nil
			e.Match[0].GetExact().Value = []byte{port}
			return e
		}
		for _, x := range []struct {
			what    string
			t       p4v1.Update_Type
			e       *p4v1.TableEntry
			burst   int64
			want    codes.Code
			inForce p4.Limit
			refills int
		}{
			{"another burst", p4v1.Update_MODIFY, key(1), 20, codes.OK, 20, 2},
			{"the same again", p4v1.Update_MODIFY, key(1), 20, codes.OK, 20, 3},
			{"inserted", p4v1.Update_INSERT, key(1), 10, codes.InvalidArgument, 20, 3},
			{"deleted", p4v1.Update_DELETE, key(1), 10, codes.InvalidArgument, 20, 3},
			{"of no table", p4v1.Update_MODIFY, nil, 10, codes.NotFound, 20, 3},
			{"of another table", p4v1.Update_MODIFY, &p4v1.TableEntry{TableId: limits + 1}, 10, codes.NotFound, 20, 3},
			{"of a table without meters", p4v1.Update_MODIFY, &p4v1.TableEntry{TableId: table(c, program.Routes)}, 10, codes.NotFound, 20, 3},
			{"of an entry that is not there", p4v1.Update_MODIFY, key(2), 10, codes.NotFound, 20, 3},
			{"without a key", p4v1.Update_MODIFY, &p4v1.TableEntry{TableId: limits}, 10, codes.InvalidArgument, 20, 3},
			{"taken away", p4v1.Update_MODIFY, key(1), 0, codes.OK, 64, 3},
		} {
			err := c.write(&p4v1.Update{Type: x.t, Entity: &p4v1.Entity{Entity: &p4v1.Entity_DirectMeterEntry{DirectMeterEntry: &p4v1.DirectMeterEntry{TableEntry: x.e, Config: metered(x.burst)}}}})
			if got := refused(t, err); got != x.want || s.InForce(1) != x.inForce || s.Refills(1) != x.refills {
				t.Errorf("%s: a meter %s: %v; %d in force, %d refills; want %v, %d, %d", p, x.what, err, s.InForce(1), s.Refills(1), x.want, x.inForce, x.refills)
			}
		}
	}
}

// In BMv2 the highest of those that are left is promoted, in whatever order they came.
func TestHighestIsPromoted(t *testing.T) {
	for _, order := range [][]uint64{{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}} {
		s := open(t, Config{Personality: BMv2})
		all := map[uint64]*raw{}
		for _, n := range append([]uint64{9}, order...) {
			all[n] = dial(t, s, program.Queue)
			want := codes.AlreadyExists
			if n == 9 {
				want = codes.OK
			}
			if code, err := all[n].arbitrate(id(n)); code != want || err != nil {
				t.Fatalf("%v: %d: %v, %v", order, n, code, err)
			}
		}
		for _, n := range []uint64{9, 3, 2} { // leaves; the next lower one is told
			if err := all[n].stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			next := uint64(3)
			if n < 9 {
				next = n - 1
			}
			m, err := all[next].stream.Recv()
			if a := m.GetArbitration(); err != nil || a.GetElectionId().GetLow() != next || a.GetStatus().GetCode() != 0 {
				t.Fatalf("%v: after %d left, %d hears %v, %v", order, n, next, a, err)
			}
			for other := uint64(1); other < next; other++ {
				m, err := all[other].stream.Recv()
				if a := m.GetArbitration(); err != nil || a.GetElectionId().GetLow() != next || codes.Code(a.GetStatus().GetCode()) != codes.AlreadyExists {
					t.Fatalf("%v: after %d left, %d hears %v, %v", order, n, other, a, err)
				}
			}
		}
	}
}

// What is injected happens, and nothing else: a write is seen before it is done, only the limit is
// lied about, and a default entry takes no match.
func TestInjectedAlone(t *testing.T) {
	every(t, Config{Depths: []p4.Limit{64, 32}}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		seen := 0
		s.Inject(Faults{Before: func(r *p4v1.WriteRequest) { seen += 1 + 10*s.Writes() + 100*len(r.Updates) }})
		if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); err != nil || seen != 101 || s.Writes() != 1 {
			t.Errorf("seen %d, %d writes, %v", seen, s.Writes(), err)
		}
		s.Inject(Faults{Lie: func(l p4.Limit) p4.Limit { return l + 5 }})
		got, err := c.reads(entity(&p4v1.TableEntry{TableId: limitTable}))
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		for _, p := range got[0].GetTableEntry().Action.GetAction().Params {
			if want := map[uint32]uint64{1: 37, 2: 1}[p.ParamId]; number(p.Value) != want {
				t.Errorf("parameter %d is %d, want %d", p.ParamId, number(p.Value), want)
			}
		}
		s.Inject(Faults{})
		one := func(e *p4v1.TableEntry) { e.Action.GetAction().Params[0].Value = []byte{1} } // a limit of 1 in queue 1
		if err := c.write(limitUpdate(p4v1.Update_MODIFY, one)); err != nil {
			t.Fatal(err)
		}
		s.Inject(Faults{Lie: func(l p4.Limit) p4.Limit { return l + 5 }})
		if got, err = c.reads(entity(&p4v1.TableEntry{TableId: limitTable})); err != nil {
			t.Fatal(err)
		}
		for _, p := range got[0].GetTableEntry().Action.GetAction().Params {
			if want := map[uint32]uint64{1: 6, 2: 1}[p.ParamId]; number(p.Value) != want {
				t.Errorf("of 1 and 1, parameter %d is %d, want %d", p.ParamId, number(p.Value), want)
			}
		}
		s.Inject(Faults{})
		err = c.write(limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.IsDefaultAction = true }))
		if refused(t, err) != codes.InvalidArgument {
			t.Errorf("a default entry with a match: %v", err)
		}
		err = c.write(limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.IsDefaultAction, e.Match = true, nil }))
		if err != nil {
			t.Errorf("a default entry: %v", err)
		}
	})
}

// The parts of a pipeline that a read asks for (specification, "GetForwardingPipelineConfig"), and
// no others.
func TestPipelineParts(t *testing.T) {
	every(t, Config{}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		for _, x := range []struct {
			part         p4v1.GetForwardingPipelineConfigRequest_ResponseType
			info, device bool
		}{
			{p4v1.GetForwardingPipelineConfigRequest_ALL, true, true},
			{p4v1.GetForwardingPipelineConfigRequest_COOKIE_ONLY, false, false},
			{p4v1.GetForwardingPipelineConfigRequest_P4INFO_AND_COOKIE, true, false},
			{p4v1.GetForwardingPipelineConfigRequest_DEVICE_CONFIG_AND_COOKIE, false, true},
		} {
			r, err := c.GetForwardingPipelineConfig(t.Context(), &p4v1.GetForwardingPipelineConfigRequest{DeviceId: device, ResponseType: x.part})
			got := r.GetConfig()
			if err != nil || got.GetCookie().GetCookie() != 5 || (got.P4Info != nil) != x.info || (len(got.P4DeviceConfig) > 0) != x.device ||
				x.info && !proto.Equal(got.P4Info, c.info) {
				t.Errorf("%v: %v, %v", x.part, got.GetCookie(), err)
			}
		}
		if r, err := c.Capabilities(t.Context(), &p4v1.CapabilitiesRequest{}); err != nil || r.P4RuntimeApiVersion != "1.5.0" {
			t.Errorf("%v, %v", r, err)
		}
	})
}

// Of what the program has none of, all are none and one is unknown; a read of a meter or a counter
// that cannot be gives the reason.
func TestReadsOfNone(t *testing.T) {
	every(t, Config{}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		unknown := pick(s, codes.InvalidArgument, codes.NotFound)
		for name, of := range map[string]func(id uint32) *p4v1.Entity{
			"member": func(id uint32) *p4v1.Entity {
				return &p4v1.Entity{Entity: &p4v1.Entity_ActionProfileMember{ActionProfileMember: &p4v1.ActionProfileMember{ActionProfileId: id}}}
			},
			"group": func(id uint32) *p4v1.Entity {
				return &p4v1.Entity{Entity: &p4v1.Entity_ActionProfileGroup{ActionProfileGroup: &p4v1.ActionProfileGroup{ActionProfileId: id}}}
			},
			"meter": func(id uint32) *p4v1.Entity {
				return &p4v1.Entity{Entity: &p4v1.Entity_MeterEntry{MeterEntry: &p4v1.MeterEntry{MeterId: id}}}
			},
			"value set": func(id uint32) *p4v1.Entity {
				return &p4v1.Entity{Entity: &p4v1.Entity_ValueSetEntry{ValueSetEntry: &p4v1.ValueSetEntry{ValueSetId: id}}}
			},
			"digest": func(id uint32) *p4v1.Entity {
				return &p4v1.Entity{Entity: &p4v1.Entity_DigestEntry{DigestEntry: &p4v1.DigestEntry{DigestId: id}}}
			},
		} {
			if got, err := c.reads(of(0)); len(got) != 0 || err != nil {
				t.Errorf("all of %s: %v, %v", name, got, err)
			}
			if got, err := c.reads(of(9)); len(got) != 0 || status.Code(err) != unknown {
				t.Errorf("%s 9: %v, %v; want %v", name, got, err, unknown)
			}
		}
		if _, err := c.reads(&p4v1.Entity{Entity: &p4v1.Entity_DirectMeterEntry{DirectMeterEntry: &p4v1.DirectMeterEntry{TableEntry: &p4v1.TableEntry{TableId: 9}}}}); status.Code(err) != unknown {
			t.Errorf("meters of table 9: %v", err)
		}
		if _, err := c.reads(&p4v1.Entity{Entity: &p4v1.Entity_DirectCounterEntry{DirectCounterEntry: &p4v1.DirectCounterEntry{TableEntry: &p4v1.TableEntry{TableId: 9}}}}); status.Code(err) != unknown {
			t.Errorf("counters of table 9: %v", err)
		}
	})
}

// A primary that claims its id again stays primary; a client that takes its id is refused.
func TestSameIDAgain(t *testing.T) {
	for _, p := range []Personality{Strict, PINS} { // PI does not answer
		s := open(t, Config{Personality: p})
		c := dial(t, s, program.Queue)
		for range 3 {
			if got, err := c.arbitrate(id(4)); got != codes.OK || err != nil {
				t.Errorf("%s: %v, %v", p, got, err)
			}
		}
		if got, err := dial(t, s, program.Queue).arbitrate(id(4)); got != codes.InvalidArgument {
			t.Errorf("%s: another with its id: %v, %v", p, got, err)
		}
	}
}

// A direct counter that is set counts on from there.
func TestDirectCounterIsSet(t *testing.T) {
	back := &ports{}
	s := open(t, Config{Queues: back, Depths: []p4.Limit{64, 32}})
	c := dial(t, s, program.Queue)
	c.ready()
	if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); err != nil {
		t.Fatal(err)
	}
	key := &p4v1.TableEntry{TableId: limitTable, Match: limitUpdate(0, nil).Entity.GetTableEntry().Match}
	of := func(data *p4v1.CounterData) *p4v1.Entity {
		return &p4v1.Entity{Entity: &p4v1.Entity_DirectCounterEntry{DirectCounterEntry: &p4v1.DirectCounterEntry{TableEntry: key, Data: data}}}
	}
	for _, set := range []*p4v1.CounterData{{PacketCount: 7, ByteCount: 3}, {PacketCount: 500}, nil} {
		if err := c.write(&p4v1.Update{Type: p4v1.Update_MODIFY, Entity: of(set)}); err != nil {
			t.Fatal(err)
		}
		got, err := c.reads(of(nil))
		if err != nil || len(got) != 1 || got[0].GetDirectCounterEntry().Data.PacketCount != set.GetPacketCount() || got[0].GetDirectCounterEntry().Data.ByteCount != set.GetByteCount() {
			t.Errorf("set to %v: %v, %v", set, got, err)
		}
	}
}
