package sim

import (
	"testing"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/planegym/planegym/p4/program"
)

// claim sends an arbitration without waiting for its answer.
func (c *raw) claim(deviceID uint64, role string, election *p4v1.Uint128) {
	c.t.Helper()
	a := &p4v1.MasterArbitrationUpdate{DeviceId: deviceID, ElectionId: election}
	if role != "" {
		a.Role = &p4v1.Role{Name: role}
	}
	if err := c.stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Arbitration{Arbitration: a}}); err != nil {
		c.t.Fatal(err)
	}
}

// hears receives the state of the arbitration.
func (c *raw) hears(want codes.Code, primary uint64) *p4v1.MasterArbitrationUpdate {
	c.t.Helper()
	m, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	a := m.GetArbitration()
	if codes.Code(a.GetStatus().GetCode()) != want || a.GetElectionId().GetLow() != primary {
		c.t.Fatalf("heard %v of primary %v, want %v of %d", codes.Code(a.GetStatus().GetCode()), a.GetElectionId(), want, primary)
	}
	return a
}

// primaryAndBackup are two clients of a switch: a is primary by id 5, b its backup by 3.
func primaryAndBackup(t *testing.T, p Personality) (s *Server, a, b *raw) {
	t.Helper()
	s = open(t, Config{Personality: p})
	a, b = dial(t, s, program.Queue), dial(t, s, program.Queue)
	a.claim(device, a.role, id(5))
	a.hears(codes.OK, 5)
	b.claim(device, b.role, id(3))
	b.hears(codes.AlreadyExists, 5)
	return s, a, b
}

// A primary that claims a lower id, or none, steps down, and its backup hears of it (specification,
// "Client Arbitration Notifications"): without a primary, or, in BMv2, as the next one.
func TestStepsDown(t *testing.T) {
	for _, p := range personalities {
		for _, lower := range []*p4v1.Uint128{id(2), nil} {
			_, a, b := primaryAndBackup(t, p)
			a.claim(device, a.role, lower)
			if p == BMv2 {
				a.hears(codes.AlreadyExists, 3)
				b.hears(codes.OK, 3)
				continue
			}
			a.hears(codes.NotFound, 5)
			b.hears(codes.NotFound, 5)
		}
	}
}

// What does not change the primary only its sender hears of: a backup that comes, that claims
// another low id, or that leaves. A client without an id is a backup.
func TestBackupsAreQuiet(t *testing.T) {
	for _, p := range personalities {
		s, a, b := primaryAndBackup(t, p)
		b.claim(device, b.role, nil)
		b.hears(codes.AlreadyExists, 5)
		b.claim(device, b.role, id(4))
		b.hears(codes.AlreadyExists, 5)
		if err := b.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.stream.Recv(); err == nil || s.Clients(a.role) != 1 {
			t.Errorf("%s: %d clients after a backup left, %v", p, s.Clients(a.role), err)
		}
		a.claim(device, a.role, id(6))
		a.hears(codes.OK, 6) // and nothing was sent to it before
	}
}

// A role's answers name it and its elections are its own; PI knows no roles.
func TestRolesAreApart(t *testing.T) {
	for _, p := range personalities {
		s := open(t, Config{Personality: p})
		a, b, c := dial(t, s, program.Queue), dial(t, s, program.Queue), dial(t, s, program.Queue)
		a.claim(device, "", id(5))
		if r := a.hears(codes.OK, 5).Role; r != nil {
			t.Errorf("%s: role %v of a client without one", p, r)
		}
		b.claim(device, "other", id(3))
		if p == BMv2 {
			if r := b.hears(codes.AlreadyExists, 5).Role; r != nil {
				t.Errorf("%s: role %v", p, r)
			}
			continue
		}
		if r := b.hears(codes.OK, 3).Role; r.GetName() != "other" {
			t.Errorf("%s: role %v", p, r)
		}
		c.claim(device, "other", id(2))
		if r := c.hears(codes.AlreadyExists, 3).Role; r.GetName() != "other" {
			t.Errorf("%s: role %v", p, r)
		}
	}
}

// A stream keeps its device id and role; a device that is not there has none, but on BMv2, which
// makes one up.
func TestStreamsThatEnd(t *testing.T) {
	for _, p := range personalities {
		for _, x := range []struct {
			what   string
			device uint64
			role   string
			want   map[Personality]codes.Code
		}{
			{"another device id", device + 1, "r", map[Personality]codes.Code{Strict: codes.FailedPrecondition, BMv2: codes.FailedPrecondition, PINS: codes.FailedPrecondition}},
			{"another role", device, "s", map[Personality]codes.Code{Strict: codes.FailedPrecondition, PINS: codes.FailedPrecondition}},
			{"no role", device, "", map[Personality]codes.Code{Strict: codes.FailedPrecondition, PINS: codes.FailedPrecondition}},
			{"both as they were", device, "r", nil},
		} {
			s := open(t, Config{Personality: p})
			c := dial(t, s, program.Queue)
			c.claim(device, "r", id(5))
			c.hears(codes.OK, 5)
			c.claim(x.device, x.role, id(6))
			if _, err := c.stream.Recv(); status.Code(err) != x.want[p] {
				t.Errorf("%s: %s: %v, want %v", p, x.what, err, x.want[p])
			}
		}
		s := open(t, Config{Personality: p})
		c := dial(t, s, program.Queue)
		c.claim(device+1, "", id(5))
		if _, err := c.stream.Recv(); status.Code(err) != pick(s, codes.OK, codes.NotFound) {
			t.Errorf("%s: device %d: %v", p, device+1, err)
		}
	}
}

// PI looks at no role when it is written to, and takes a write without an election id for one of id 0.
func TestWhoMayWrite(t *testing.T) {
	every(t, Config{}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		for _, x := range []struct {
			what     string
			role     string
			election *p4v1.Uint128
			device   uint64
			want     map[Personality]codes.Code
		}{
			{"the primary", c.role, id(1), device, nil},
			{"another role", "x", id(1), device, map[Personality]codes.Code{Strict: codes.PermissionDenied, PINS: codes.PermissionDenied}},
			{"another id", c.role, id(2), device, map[Personality]codes.Code{Strict: codes.PermissionDenied, BMv2: codes.PermissionDenied, PINS: codes.PermissionDenied}},
			{"no id", c.role, nil, device, map[Personality]codes.Code{Strict: codes.PermissionDenied, BMv2: codes.PermissionDenied, PINS: codes.PermissionDenied}},
			{"another device", c.role, id(1), device + 1, map[Personality]codes.Code{Strict: codes.NotFound, BMv2: codes.PermissionDenied, PINS: codes.NotFound}},
		} {
			_, err := c.Write(t.Context(), &p4v1.WriteRequest{DeviceId: x.device, Role: x.role, ElectionId: x.election})
			if status.Code(err) != x.want[s.cfg.Personality] {
				t.Errorf("%s: %v, want %v", x.what, err, x.want[s.cfg.Personality])
			}
		}
		if s.cfg.Personality != BMv2 {
			return
		}
		c.claim(device, "", nil)
		c.hears(codes.OK, 0)
		if _, err := c.Write(t.Context(), &p4v1.WriteRequest{DeviceId: device}); err != nil {
			t.Errorf("id 0: %v", err)
		}
	})
}
