package sim

import (
	"testing"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
)

// A packet out of a backup, or before there is a pipeline, is refused with its payload
// (specification, "Packet I/O"); PI drops it without a word.
func TestPacketOutOfABackup(t *testing.T) {
	every(t, Config{}, func(t *testing.T, s *Server, c *raw) {
		send := func(what string) {
			t.Helper()
			if err := c.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Packet{Packet: &p4v1.PacketOut{Payload: []byte(what)}}}); err != nil {
				t.Fatal(err)
			}
			if s.cfg.Personality == BMv2 {
				return // the next answer is the next arbitration's: arbitrate sees that
			}
			m, err := c.stream.Recv()
			if e := m.GetError(); err != nil || codes.Code(e.GetCanonicalCode()) != codes.PermissionDenied || string(e.GetPacketOut().GetPacketOut().GetPayload()) != what {
				t.Errorf("%s: %v, %v", what, m, err)
			}
		}
		if code, err := c.arbitrate(id(1)); code != codes.OK || err != nil {
			t.Fatal(code, err)
		}
		send("no pipeline")
		if code, err := c.arbitrate(id(2)); code != codes.OK || err != nil {
			t.Fatal(code, err)
		}
		rival := *c
		var err error
		if rival.stream, err = c.StreamChannel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if code, err := rival.arbitrate(id(7)); code != codes.OK || err != nil {
			t.Fatal(code, err)
		}
		if m, err := c.stream.Recv(); err != nil || codes.Code(m.GetArbitration().GetStatus().GetCode()) != codes.AlreadyExists {
			t.Fatal(m, err)
		}
		send("a backup")
	})
}

// A byte string is a number, most significant byte first.
func TestNumber(t *testing.T) {
	for in, want := range map[string]uint64{"": 0, "\x00": 0, "\x07": 7, "\x01\x02": 258, "\x00\x01\x00\x00": 65536, "\xff\xff\xff\xff\xff\xff\xff\xff": 1<<64 - 1} {
		if got := number([]byte(in)); got != want {
			t.Errorf("%x: %d, want %d", in, got, want)
		}
	}
}
