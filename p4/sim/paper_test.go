package sim

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// P4Runtime 1.4, section "Client Arbitration and Controller Replication": the
// client with the highest election id is primary; ids are 128 bits, of which the
// high word counts first; a backup is answered ALREADY_EXISTS with the primary's id,
// or NOT_FOUND where there is none; only the primary writes, everybody reads.
func TestPaperArbitration(t *testing.T) {
	s := open(t, Config{Personality: Strict, Depths: []p4.Limit{64, 32}})
	a, b := dial(t, s, program.Queue), dial(t, s, program.Queue)
	answer := func(c *raw, want codes.Code, primary *p4v1.Uint128) {
		t.Helper()
		m, err := c.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		u := m.GetArbitration()
		if codes.Code(u.GetStatus().GetCode()) != want || compare(u.ElectionId, primary) != 0 {
			t.Fatalf("answered %v with primary %v, want %v with %v", u.GetStatus(), u.ElectionId, want, primary)
		}
	}
	claim := func(c *raw, high, low uint64) *p4v1.Uint128 {
		t.Helper()
		id := &p4v1.Uint128{High: high, Low: low}
		err := c.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Arbitration{
			Arbitration: &p4v1.MasterArbitrationUpdate{DeviceId: device, ElectionId: id},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	write := func(c *raw, id *p4v1.Uint128) codes.Code {
		_, err := c.Write(t.Context(), &p4v1.WriteRequest{DeviceId: device, ElectionId: id, Updates: []*p4v1.Update{limitUpdate(p4v1.Update_INSERT, nil)}})
		return status.Code(err)
	}
	first := claim(a, 0, 1<<63)
	answer(a, codes.OK, first)
	second := claim(b, 1, 0) // above by its high word alone
	answer(b, codes.OK, second)
	answer(a, codes.AlreadyExists, second) // the old primary is notified
	if err := b.push(second, b.commit()); err != nil {
		t.Fatal(err)
	}
	if got := write(a, first); got != codes.PermissionDenied {
		t.Errorf("a backup's write: %v", got)
	}
	if _, err := a.GetForwardingPipelineConfig(t.Context(), &p4v1.GetForwardingPipelineConfigRequest{DeviceId: device}); err != nil {
		t.Errorf("a backup's read: %v", err)
	}
	if got := write(b, second); got != codes.OK {
		t.Errorf("the primary's write: %v", got)
	}
	third := claim(a, 1, 1)
	answer(a, codes.OK, third)
	answer(b, codes.AlreadyExists, third)
	if err := a.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	answer(b, codes.NotFound, third) // the highest id seen is not b's: no primary until b claims as much
	if got := write(b, second); got != codes.PermissionDenied {
		t.Errorf("a write while there is no primary: %v", got)
	}
}

// P4Runtime 1.4, section "Bytestrings": a value is the shortest byte string that
// holds it, at least one byte; a server accepts leading zeros and reads back the
// canonical form, and refuses a value wider than its field with OUT_OF_RANGE.
func TestPaperBytestrings(t *testing.T) {
	s := open(t, Config{Personality: Strict, Depths: []p4.Limit{64, 32}})
	c := dial(t, s, program.Queue)
	c.ready()
	padded := limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) {
		e.Match[0].GetExact().Value = []byte{0, 1}
		e.Action.GetAction().Params[0].Value = []byte{0, 0, 32}
	})
	if err := c.write(padded); err != nil {
		t.Fatal(err)
	}
	stream, err := c.Read(t.Context(), &p4v1.ReadRequest{DeviceId: device, Entities: []*p4v1.Entity{{Entity: &p4v1.Entity_TableEntry{TableEntry: &p4v1.TableEntry{TableId: limitTable}}}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil || len(m.Entities) != 1 {
		t.Fatalf("%v, %v", m, err)
	}
	e := m.Entities[0].GetTableEntry()
	if got := e.Match[0].GetExact().Value; string(got) != "\x01" {
		t.Errorf("port reads back as %x, want 01", got)
	}
	if got := e.Action.GetAction().Params[0].Value; string(got) != "\x20" {
		t.Errorf("limit reads back as %x, want 20", got)
	}
	for _, v := range []struct {
		value uint64
		width int32
		want  string
	}{{0, 9, "\x00"}, {1, 9, "\x01"}, {255, 9, "\xff"}, {256, 9, "\x01\x00"}, {511, 9, "\x01\xff"}, {32, 19, "\x20"}, {1<<19 - 1, 19, "\x07\xff\xff"}, {1<<64 - 1, 64, "\xff\xff\xff\xff\xff\xff\xff\xff"}} {
		got, err := program.Canonical(v.value, v.width)
		if err != nil || string(got) != v.want {
			t.Errorf("%d in %d bits: %x, %v, want %x", v.value, v.width, got, err, v.want)
		}
	}
	for _, v := range []struct {
		value uint64
		width int32
	}{{512, 9}, {1 << 19, 19}, {2, 1}} {
		if got, err := program.Canonical(v.value, v.width); err == nil {
			t.Errorf("%d fits in %d bits: %x", v.value, v.width, got)
		}
	}
}
