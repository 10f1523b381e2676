package sim

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// raw is a client that sends requests as given.
type raw struct {
	t *testing.T
	p4v1.P4RuntimeClient
	stream p4v1.P4Runtime_StreamChannelClient
	role   string
	info   *configv1.P4Info
	device []byte // its compiled program
}

const device = 3

func open(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.DeviceID, cfg.Ports = device, []p4.Port{1, 2}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func dial(t *testing.T, s *Server, mode program.Mode) *raw {
	t.Helper()
	conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p, err := program.Load(mode)
	if err != nil {
		t.Fatal(err)
	}
	c := &raw{t: t, P4RuntimeClient: p4v1.NewP4RuntimeClient(conn), info: &configv1.P4Info{}, device: p.Device}
	if err := prototext.Unmarshal(p.P4Info, c.info); err != nil {
		t.Fatal(err)
	}
	if s.cfg.Personality == PINS {
		c.role = PINSRole
	}
	if c.stream, err = c.StreamChannel(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func id(low uint64) *p4v1.Uint128 { return &p4v1.Uint128{Low: low} }

// arbitrate sends an update and gives the status code answered.
func (c *raw) arbitrate(election *p4v1.Uint128) (codes.Code, error) {
	a := &p4v1.MasterArbitrationUpdate{DeviceId: device, ElectionId: election}
	if c.role != "" {
		a.Role = &p4v1.Role{Name: c.role}
	}
	if err := c.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Arbitration{Arbitration: a}}); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	m, err := c.stream.Recv()
	if err != nil {
		return status.Code(err), err
	}
	return codes.Code(m.GetArbitration().GetStatus().GetCode()), nil
}

func (c *raw) push(election *p4v1.Uint128, a p4v1.SetForwardingPipelineConfigRequest_Action) error {
	_, err := c.SetForwardingPipelineConfig(c.t.Context(), &p4v1.SetForwardingPipelineConfigRequest{
		DeviceId: device, Role: c.role, ElectionId: election, Action: a,
		Config: &p4v1.ForwardingPipelineConfig{P4Info: c.info, P4DeviceConfig: c.device, Cookie: &p4v1.ForwardingPipelineConfig_Cookie{Cookie: 5}},
	})
	return err
}

func (c *raw) commit() p4v1.SetForwardingPipelineConfigRequest_Action {
	if c.role == PINSRole {
		return p4v1.SetForwardingPipelineConfigRequest_RECONCILE_AND_COMMIT
	}
	return p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT
}

// ready makes c the primary, 1, of a switch with the pipeline.
func (c *raw) ready() {
	c.t.Helper()
	if code, err := c.arbitrate(id(1)); err != nil || code != codes.OK {
		c.t.Fatalf("arbitration: %v, %v", code, err)
	}
	if err := c.push(id(1), c.commit()); err != nil {
		c.t.Fatalf("push: %v", err)
	}
}

func (c *raw) write(u ...*p4v1.Update) error {
	_, err := c.Write(c.t.Context(), &p4v1.WriteRequest{DeviceId: device, Role: c.role, ElectionId: id(1), Updates: u})
	return err
}

const (
	limitTable = 47965199
	setLimit   = 17527946
	noAction   = 21257015
)

func limitUpdate(t p4v1.Update_Type, edit func(e *p4v1.TableEntry)) *p4v1.Update {
	e := &p4v1.TableEntry{
		TableId: limitTable,
		Match:   []*p4v1.FieldMatch{{FieldId: 1, FieldMatchType: &p4v1.FieldMatch_Exact_{Exact: &p4v1.FieldMatch_Exact{Value: []byte{0, 1}}}}},
		Action: &p4v1.TableAction{Type: &p4v1.TableAction_Action{Action: &p4v1.Action{
			ActionId: setLimit, Params: []*p4v1.Action_Param{{ParamId: 1, Value: []byte{0, 0, 32}}, {ParamId: 2, Value: []byte{1}}},
		}}},
	}
	if edit != nil {
		edit(e)
	}
	return &p4v1.Update{Type: t, Entity: &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: e}}}
}

var personalities = []Personality{Strict, BMv2, PINS}

// every runs a test against a fresh switch of each personality.
func every(t *testing.T, cfg Config, f func(t *testing.T, s *Server, c *raw)) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			cfg.Personality = p
			s := open(t, cfg)
			f(t, s, dial(t, s, program.Queue))
		})
	}
}

func TestErrorsComePerUpdate(t *testing.T) {
	action := func(e *p4v1.TableEntry) *p4v1.Action { return e.Action.GetAction() }
	cases := []struct {
		name string
		u    *p4v1.Update
		want codes.Code
	}{
		{"insert", limitUpdate(p4v1.Update_INSERT, nil), codes.OK},
		{"insert again", limitUpdate(p4v1.Update_INSERT, nil), codes.AlreadyExists},
		{"modify", limitUpdate(p4v1.Update_MODIFY, nil), codes.OK},
		{"modify another", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Match[0].GetExact().Value = []byte{9} }), codes.NotFound},
		{"unspecified", limitUpdate(p4v1.Update_UNSPECIFIED, nil), codes.InvalidArgument},
		{"wide port", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Match[0].GetExact().Value = []byte{2, 0} }), codes.OutOfRange},
		{"widest port", limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) { e.Match[0].GetExact().Value = []byte{1, 255} }), codes.OK},
		{"empty port", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Match[0].GetExact().Value = nil }), codes.InvalidArgument},
		{"no match", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Match = nil }), codes.InvalidArgument},
		{"wide qid", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { action(e).Params[1].Value = []byte{8} }), codes.OutOfRange},
		{"one parameter", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { action(e).Params = action(e).Params[:1] }), codes.InvalidArgument},
		{"strange action", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { action(e).ActionId = 5 }), codes.InvalidArgument},
		{"default-only action", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { action(e).ActionId, action(e).Params = noAction, nil }), codes.PermissionDenied},
		{"strange table", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.TableId = 5 }), codes.NotFound},
		{"meter", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.MeterConfig = &p4v1.MeterConfig{Cir: 1} }), codes.OK},
		{"default entry", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Match, e.IsDefaultAction = nil, true }), codes.OK},
		{"insert default", limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) { e.Match, e.IsDefaultAction = nil, true }), codes.InvalidArgument},
		{"delete", limitUpdate(p4v1.Update_DELETE, nil), codes.OK},
		{"delete again", limitUpdate(p4v1.Update_DELETE, nil), codes.NotFound},
		{"register", &p4v1.Update{Type: p4v1.Update_MODIFY, Entity: &p4v1.Entity{Entity: &p4v1.Entity_RegisterEntry{RegisterEntry: &p4v1.RegisterEntry{}}}}, codes.Unimplemented},
	}
	every(t, Config{Depths: []p4.Limit{64, 32}}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		var all []*p4v1.Update
		for _, k := range cases {
			all = append(all, proto.Clone(k.u).(*p4v1.Update))
		}
		st, _ := status.FromError(c.write(all...))
		if st.Code() != codes.Unknown || st.Message() != "" || len(st.Details()) != len(cases) {
			t.Fatalf("write: %v with %d details, want Unknown, no message, %d", st, len(st.Details()), len(cases))
		}
		for i, k := range cases {
			e, ok := st.Details()[i].(*p4v1.Error)
			want := k.want
			if s.cfg.Personality == BMv2 && (want == codes.OutOfRange || k.name == "strange table") {
				want = codes.InvalidArgument
			}
			if !ok || codes.Code(e.CanonicalCode) != want {
				t.Errorf("%s: %v, want %v", k.name, st.Details()[i], want)
			}
		}
	})
}

func TestLimitInForce(t *testing.T) {
	every(t, Config{Depths: []p4.Limit{64, 32}}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		steps := []struct {
			name string
			u    *p4v1.Update
			want p4.Limit
		}{
			{"the queue picked, whatever the entry says", limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) { e.Action.GetAction().Params[0].Value = []byte{9} }), 32},
			{"queue 0", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Action.GetAction().Params[1].Value = []byte{0} }), 64},
			{"a meter's burst", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) {
				e.Action.GetAction().Params[1].Value, e.MeterConfig = []byte{0}, &p4v1.MeterConfig{Cir: 1000, Cburst: 16}
			}), 16},
			{"a modify without meter resets it", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Action.GetAction().Params[1].Value = []byte{0} }), 64},
			{"no entry", limitUpdate(p4v1.Update_DELETE, nil), 64},
			{"the default entry", limitUpdate(p4v1.Update_MODIFY, func(e *p4v1.TableEntry) { e.Match, e.IsDefaultAction = nil, true }), 32},
		}
		for _, k := range steps {
			if err := c.write(k.u); err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			if got := s.InForce(1); got != k.want {
				t.Errorf("%s: %d in force, want %d", k.name, got, k.want)
			}
		}
		if s.Refills(1) != 1 {
			t.Errorf("%d refills, want 1", s.Refills(1))
		}
		s.Restart()
		if got := s.InForce(1); got != 64 || s.Cookie() != 0 {
			t.Errorf("after a restart: limit %d, cookie %d", got, s.Cookie())
		}
	})
}

func TestPipelineActions(t *testing.T) {
	const (
		verify    = p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT
		reconcile = p4v1.SetForwardingPipelineConfigRequest_RECONCILE_AND_COMMIT
		save      = p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_SAVE
	)
	want := map[Personality]map[p4v1.SetForwardingPipelineConfigRequest_Action]codes.Code{
		Strict: {verify: codes.OK, reconcile: codes.OK, save: codes.Unimplemented},
		BMv2:   {verify: codes.OK, reconcile: codes.Unknown, save: codes.Unimplemented},
		PINS:   {verify: codes.Unimplemented, reconcile: codes.OK, save: codes.Unimplemented},
	}
	every(t, Config{Depths: []p4.Limit{64, 64}}, func(t *testing.T, s *Server, c *raw) {
		if _, err := c.GetForwardingPipelineConfig(t.Context(), &p4v1.GetForwardingPipelineConfigRequest{DeviceId: device}); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("get before set: %v", err)
		}
		c.ready()
		meter := limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) { e.MeterConfig = &p4v1.MeterConfig{Cir: 1, Cburst: 8} })
		for a, code := range want[s.cfg.Personality] {
			_ = c.push(id(1), c.commit())
			_ = c.write(limitUpdate(p4v1.Update_DELETE, nil))
			if err := c.write(meter); err != nil {
				t.Fatal(err)
			}
			if err := c.push(id(1), a); status.Code(err) != code {
				t.Errorf("%v: %v, want %v", a, err, code)
			}
			wantLimit := p4.Limit(8) // reconciled or refused
			if a == verify && code == codes.OK || a == reconcile && s.cfg.Personality == BMv2 {
				wantLimit = 64 // entries lost; or their meters
			}
			if got := s.InForce(1); got != wantLimit {
				t.Errorf("%v: limit %d in force, want %d", a, got, wantLimit)
			}
		}
	})
}

// ports is a backend that remembers.
type ports struct {
	mu   sync.Mutex
	sent []p4.Port
	said []p4.Limit
}

func (p *ports) SetLimit(port p4.Port, l p4.Limit) {
	if port == 1 {
		p.said = append(p.said, l)
	}
}
func (p *ports) Packets(port p4.Port) int64 { return 100 + int64(port) }
func (p *ports) PacketOut(port p4.Port, b []byte) {
	p.mu.Lock()
	p.sent = append(p.sent, port)
	p.mu.Unlock()
}

func TestPacketsAndCounters(t *testing.T) {
	for _, pers := range personalities {
		t.Run(string(pers), func(t *testing.T) {
			back := &ports{}
			s := open(t, Config{Personality: pers, Queues: back, Depths: []p4.Limit{64, 32}})
			c := dial(t, s, program.Queue)
			c.ready()
			if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(back.said, []p4.Limit{64, 32}) {
				t.Errorf("the backend was told %v, want 64 and 32", back.said)
			}
			r, err := c.Read(t.Context(), &p4v1.ReadRequest{DeviceId: device, Entities: []*p4v1.Entity{{Entity: &p4v1.Entity_DirectCounterEntry{
				DirectCounterEntry: &p4v1.DirectCounterEntry{TableEntry: &p4v1.TableEntry{TableId: limitTable}},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
			m, err := r.Recv()
			if err != nil || m.Entities[0].GetDirectCounterEntry().Data.PacketCount != 101 {
				t.Errorf("counter: %v, %v", m, err)
			}
			s.PacketIn(2, []byte("abc"))
			in, err := c.stream.Recv()
			if p := in.GetPacket(); err != nil || string(p.GetPayload()) != "abc" || number(p.Metadata[0].Value) != 2 {
				t.Errorf("packet in: %v, %v", in, err)
			}
			out := &p4v1.PacketOut{Payload: []byte("x"), Metadata: []*p4v1.PacketMetadata{{MetadataId: 1, Value: []byte{2}}, {MetadataId: 2, Value: []byte{0}}}}
			if err := c.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Packet{Packet: out}}); err != nil {
				t.Fatal(err)
			}
			for range 200 { // a stream has no answer to wait for
				back.mu.Lock()
				n := len(back.sent)
				back.mu.Unlock()
				if n == 1 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			back.mu.Lock()
			defer back.mu.Unlock()
			if !slices.Equal(back.sent, []p4.Port{2}) {
				t.Errorf("packets out went to %v", back.sent)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	s := open(t, Config{Depths: []p4.Limit{64, 32}})
	c := dial(t, s, program.Queue)
	c.ready()
	s.Inject(Faults{Refuse: codes.ResourceExhausted})
	st, _ := status.FromError(c.write(limitUpdate(p4v1.Update_INSERT, nil)))
	if e, ok := st.Details()[0].(*p4v1.Error); !ok || codes.Code(e.CanonicalCode) != codes.ResourceExhausted || s.InForce(1) != 64 {
		t.Errorf("refused write: %v, limit %d", st.Details(), s.InForce(1))
	}
	s.Inject(Faults{Stall: true})
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := c.Write(ctx, &p4v1.WriteRequest{DeviceId: device, ElectionId: id(1)}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("stalled write: %v", err)
	}
	s.Inject(Faults{})
	s.Cut()
	if _, err := c.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("stream after a cut: %v", err)
	}
	if err := c.write(); status.Code(err) != codes.Unavailable {
		t.Errorf("write after a cut: %v", err)
	}
	s.Mend()
	if s.Cookie() != 5 {
		t.Errorf("a cut lost the pipeline")
	}
	if _, err := Open(Config{Personality: "x"}); err == nil {
		t.Error("personality x was accepted")
	}
}
