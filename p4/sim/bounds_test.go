package sim

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// All that a test may ask of a switch it may ask while clients write, read and push: the race
// detector has the last word.
func TestObservedWhileServing(t *testing.T) {
	back := &ports{}
	s := open(t, Config{Personality: BMv2, Depths: []p4.Limit{64, 32}, Queues: back})
	c := dial(t, s, program.Queue)
	c.ready()
	var all sync.WaitGroup
	often := func(ask func()) {
		all.Go(func() {
			for range 30 {
				ask()
			}
		})
	}
	all.Go(func() { // a client that does not read blocks the switch
		for {
			if _, err := c.stream.Recv(); err != nil {
				return
			}
		}
	})
	for _, ask := range []func(){
		func() { s.InForce(1) },
		func() { s.Writes() },
		func() { s.Refills(1) },
		func() { s.Cookie() },
		func() { s.Clients("") },
		func() { s.Inject(Faults{}) },
		func() { s.Depths(1) },
		func() { s.Depths(9) },
		func() { s.Rate(1) },
		func() { s.Uptime() },
		func() { _ = s.SetDepth(1, 1, 32) },
		func() { s.SetDepths(1, 32) },
		func() { s.SetRate(1, 5) },
		func() { s.PacketIn(1, []byte{1}) },
		func() { s.ReplacePipeline(c.info, 5) },
	} {
		often(ask)
	}
	meter := func(e *p4v1.TableEntry) { e.MeterConfig = &p4v1.MeterConfig{Cir: 1, Cburst: 8} }
	for _, ask := range []func(){
		func() { _ = c.push(id(1), c.commit()) },
		func() {
			_ = c.write(limitUpdate(p4v1.Update_INSERT, meter), limitUpdate(p4v1.Update_MODIFY, meter))
		},
		func() { _, _ = c.reads(entity(&p4v1.TableEntry{TableId: limitTable})) },
		func() {
			_, _ = c.GetForwardingPipelineConfig(t.Context(), &p4v1.GetForwardingPipelineConfigRequest{DeviceId: device})
		},
		func() { // a client comes and goes
			if other, err := c.StreamChannel(t.Context()); err == nil {
				_ = other.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Arbitration{Arbitration: &p4v1.MasterArbitrationUpdate{DeviceId: device, ElectionId: id(0)}}})
				_ = other.CloseSend()
				for err == nil {
					_, err = other.Recv()
				}
			}
		},
	} {
		often(ask)
	}
	for range 30 {
		if err := c.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Packet{Packet: &p4v1.PacketOut{}}}); err != nil {
			t.Error(err)
		}
	}
	if err := c.stream.CloseSend(); err != nil {
		t.Error(err)
	}
	all.Wait()
	s.Restart()
}

// Close does not wait for a connection that never says anything.
func TestCloseWithASilentConnection(t *testing.T) {
	s := open(t, Config{})
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for seen := false; !seen; time.Sleep(time.Millisecond) { // until it is accepted
		s.gate.mu.Lock()
		seen = len(s.gate.conns) > 0
		s.gate.mu.Unlock()
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second): // gRPC's own limit is two minutes
		t.Fatal("Close waits")
	}
}

// A restart breaks the streams, and its clients are gone: the next one may have any id.
func TestRestartBreaksStreams(t *testing.T) {
	every(t, Config{}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); err != nil {
			t.Fatal(err)
		}
		s.Restart()
		if _, err := c.stream.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("a stream after a restart: %v", err)
		}
		if s.Clients(c.role) != 0 || s.Cookie() != 0 {
			t.Errorf("%d clients, cookie %d", s.Clients(c.role), s.Cookie())
		}
		next := dial(t, s, program.Queue)
		if code, err := next.arbitrate(id(1)); code != codes.OK || err != nil {
			t.Errorf("the first client afterwards: %v, %v", code, err)
		}
		if err := next.push(id(1), next.commit()); err != nil {
			t.Error(err)
		}
		if got, err := next.reads(entity(&p4v1.TableEntry{TableId: limitTable})); len(got) != 0 || err != nil {
			t.Errorf("entries: %v, %v", got, err)
		}
	})
}

// A number is the shortest byte string that holds it (specification, "Bytestrings").
func TestBytesOf(t *testing.T) {
	for v, want := range map[uint64]string{
		0: "\x00", 1: "\x01", 255: "\xff", 256: "\x01\x00", 511: "\x01\xff", 65535: "\xff\xff", 65536: "\x01\x00\x00",
		1<<56 - 1: "\xff\xff\xff\xff\xff\xff\xff", 1 << 56: "\x01\x00\x00\x00\x00\x00\x00\x00", 1<<64 - 1: "\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		if got := string(bytesOf(v)); got != want {
			t.Errorf("%d: %x, want %x", v, got, want)
		}
	}
}

// Without depths a port has one queue of 64 packets at an unlimited rate, without a backend its packets are dropped.
func TestDefaults(t *testing.T) {
	s := open(t, Config{})
	if d := s.Depths(1); len(d) != 1 || d[0] != 64 || s.InForce(1) != 64 || s.Rate(1) != 0 || s.InForce(9) != 0 {
		t.Errorf("depths %v, %d in force, rate %d", d, s.InForce(1), s.Rate(1))
	}
	for rate, ok := range map[int64]bool{-1: false, 0: true, 1: true} {
		s, err := Open(Config{Rate: rate})
		if (err == nil) != ok {
			t.Errorf("rate %d: %v", rate, err)
		}
		if s != nil {
			s.Close()
		}
	}
}

// No bit behind its prefix may be set in a prefix's value, every bit in front may (specification,
// "Match Format"), and a prefix has 1 to 32 bits.
func TestPrefixBits(t *testing.T) {
	s := open(t, Config{})
	c := dial(t, s, program.Queue)
	c.ready()
	for _, prefix := range []int32{1, 8, 9, 24, 31, 32} {
		for bit := range int32(32) { // from the highest
			value := []byte{0, 0, 0, 0}
			value[bit/8] = 0x80 >> (bit % 8)
			want := codes.OK
			if bit >= prefix {
				want = codes.InvalidArgument
			}
			err := c.write(&p4v1.Update{Type: p4v1.Update_INSERT, Entity: entity(route(c, value, prefix))})
			if got := refused(t, err); got != want {
				t.Errorf("bit %d of a prefix of %d: %v, want %v", bit, prefix, got, want)
			}
		}
	}
	for _, prefix := range []int32{-1, 0, 33} {
		if got := refused(t, c.write(&p4v1.Update{Type: p4v1.Update_INSERT, Entity: entity(route(c, []byte{0}, prefix))})); got != codes.InvalidArgument {
			t.Errorf("a prefix of %d: %v", prefix, got)
		}
	}
}

// A read gives an entry's meter and counter where it asks for them (specification, "TableEntry": "direct resources").
func TestDirectResourcesOfReads(t *testing.T) {
	s := open(t, Config{Queues: &ports{}})
	c := dial(t, s, program.Queue)
	c.ready()
	if err := c.write(limitUpdate(p4v1.Update_INSERT, func(e *p4v1.TableEntry) { e.MeterConfig = &p4v1.MeterConfig{Cir: 3} })); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ meter, counter bool }{{}, {meter: true}, {counter: true}, {true, true}} {
		want := &p4v1.TableEntry{TableId: limitTable}
		if x.meter {
			want.MeterConfig = &p4v1.MeterConfig{}
		}
		if x.counter {
			want.CounterData = &p4v1.CounterData{}
		}
		got, err := c.reads(entity(want))
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		e := got[0].GetTableEntry()
		if (e.MeterConfig != nil) != x.meter || x.meter && e.MeterConfig.Cir != 3 || (e.CounterData != nil) != x.counter || x.counter && e.CounterData.PacketCount != 101 {
			t.Errorf("%+v: %v", x, e)
		}
	}
}

// The direct counter of a default entry is there without the entry; that of another one is not.
func TestDirectCounterOfNoEntry(t *testing.T) {
	every(t, Config{}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		key := limitUpdate(0, nil).Entity.GetTableEntry()
		for what, x := range map[string]struct {
			t    p4v1.Update_Type
			e    *p4v1.TableEntry
			want codes.Code
		}{
			"default":         {p4v1.Update_MODIFY, &p4v1.TableEntry{TableId: limitTable, IsDefaultAction: true}, codes.OK},
			"not there":       {p4v1.Update_MODIFY, &p4v1.TableEntry{TableId: limitTable, Match: key.Match}, codes.NotFound},
			"without a key":   {p4v1.Update_MODIFY, &p4v1.TableEntry{TableId: limitTable}, codes.InvalidArgument},
			"of no table":     {p4v1.Update_MODIFY, nil, pick(s, codes.InvalidArgument, codes.NotFound)},
			"inserted":        {p4v1.Update_INSERT, &p4v1.TableEntry{TableId: limitTable, IsDefaultAction: true}, codes.InvalidArgument},
			"of type nothing": {p4v1.Update_UNSPECIFIED, &p4v1.TableEntry{TableId: limitTable, IsDefaultAction: true}, codes.InvalidArgument},
		} {
			u := &p4v1.Update{Type: x.t, Entity: &p4v1.Entity{Entity: &p4v1.Entity_DirectCounterEntry{DirectCounterEntry: &p4v1.DirectCounterEntry{TableEntry: x.e, Data: &p4v1.CounterData{PacketCount: 4}}}}}
			if got := refused(t, c.write(u)); got != x.want {
				t.Errorf("%s: %v, want %v", what, got, x.want)
			}
		}
	})
}

// A packet out goes by the first field of the header of that name, whatever other headers there are.
func TestPacketOutHeader(t *testing.T) {
	back := &ports{}
	s := open(t, Config{Queues: back})
	c := dial(t, s, program.Queue)
	c.ready()
	info := proto.Clone(c.info).(*configv1.P4Info)
	for _, h := range info.ControllerPacketMetadata {
		if h.Preamble.Name != program.PacketOut {
			h.Metadata[0].Id = 77
		}
	}
	s.ReplacePipeline(info, 6)
	s.PacketIn(2, []byte("in")) // by the other header
	if m, err := c.stream.Recv(); err != nil || len(m.GetPacket().GetMetadata()) == 0 || m.GetPacket().Metadata[0].MetadataId != 77 || number(m.GetPacket().Metadata[0].Value) != 2 {
		t.Errorf("packet in: %v, %v", m, err)
	}
	for _, m := range []*p4v1.PacketMetadata{{MetadataId: 77, Value: []byte{1}}, {MetadataId: 1, Value: []byte{2}}} {
		out := &p4v1.PacketOut{Metadata: []*p4v1.PacketMetadata{m}}
		if err := c.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Packet{Packet: out}}); err != nil {
			t.Fatal(err)
		}
	}
	c.claim(device, c.role, id(1)) // answered after the packets
	c.hears(codes.OK, 1)
	back.mu.Lock()
	defer back.mu.Unlock()
	if len(back.sent) != 1 || back.sent[0] != 2 {
		t.Errorf("sent to %v, want 2", back.sent)
	}
}

// BMv2 refuses to verify what does not compile, and what is in force stays.
func TestVerifyAlone(t *testing.T) {
	s := open(t, Config{Personality: BMv2})
	c := dial(t, s, program.Queue)
	c.ready()
	for text, want := range map[string]codes.Code{"garbage": codes.Unknown, "{}": codes.Unknown, string(c.device): codes.OK} {
		c.device = []byte(text)
		if err := c.push(id(1), p4v1.SetForwardingPipelineConfigRequest_VERIFY); status.Code(err) != want || s.Cookie() != 5 {
			t.Errorf("%.8q: %v, want %v; cookie %d", text, err, want, s.Cookie())
		}
	}
}

// counted counts the handshakes that a switch's credentials make.
type counted struct {
	credentials.TransportCredentials
	n *atomic.Int32
}

func (c counted) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c.n.Add(1)
	return c.TransportCredentials.ServerHandshake(conn)
}

// A switch with credentials takes no connection without them.
func TestCredentialsAreUsed(t *testing.T) {
	n := new(atomic.Int32)
	s := open(t, Config{Credentials: counted{insecure.NewCredentials(), n}})
	dial(t, s, program.Queue).ready()
	if n.Load() != 1 {
		t.Errorf("%d handshakes", n.Load())
	}
}

// A write that was done is answered as the fault says; one that was not done gives its own error.
func TestResultsOfWrites(t *testing.T) {
	s := open(t, Config{Depths: []p4.Limit{64, 32}})
	c := dial(t, s, program.Queue)
	c.ready()
	asked := 0
	s.Inject(Faults{Result: func(r *p4v1.WriteRequest) error {
		asked += len(r.Updates)
		return status.Error(codes.Aborted, "seeded")
	}})
	if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); status.Code(err) != codes.Aborted || s.Writes() != 1 || s.InForce(1) != 32 {
		t.Errorf("%v; %d writes, %d in force", err, s.Writes(), s.InForce(1))
	}
	if err := c.write(limitUpdate(p4v1.Update_INSERT, nil)); refused(t, err) != codes.AlreadyExists || asked != 1 {
		t.Errorf("%v; asked %d times", err, asked)
	}
	s.Inject(Faults{})
	counter := c.info.Counters[0]
	err := c.write(&p4v1.Update{Type: p4v1.Update_MODIFY, Entity: &p4v1.Entity{Entity: &p4v1.Entity_CounterEntry{CounterEntry: &p4v1.CounterEntry{CounterId: counter.Preamble.Id, Index: &p4v1.Index{Index: counter.Size}}}}})
	st, _ := status.FromError(err)
	if e, ok := st.Details()[0].(*p4v1.Error); !ok || e.Message != fmt.Sprintf("index %d is outside 0…%d", counter.Size, counter.Size-1) {
		t.Errorf("%v", st.Details())
	}
}

// A switch that is cut off closes every new connection, until it is mended.
func TestCutHangsUp(t *testing.T) {
	s := open(t, Config{})
	s.Cut()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("a connection while it is cut off: %v", err)
	}
	s.Mend()
	dial(t, s, program.Queue).ready()
}
