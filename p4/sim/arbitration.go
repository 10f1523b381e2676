package sim

import (
	"cmp"
	"slices"
	"sync"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// client is one live stream.
type client struct {
	stream   p4v1.P4Runtime_StreamChannelServer
	device   uint64
	role     string
	election *p4v1.Uint128 // nil: unset, never primary
	gone     bool          // the switch restarted under it

	mu sync.Mutex // sending
}

func (c *client) send(m *p4v1.StreamMessageResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.stream.Send(m) // a broken stream ends in its own Recv
}

func compare(a, b *p4v1.Uint128) int {
	return cmp.Or(cmp.Compare(a.GetHigh(), b.GetHigh()), cmp.Compare(a.GetLow(), b.GetLow()))
}

// primary is the live primary of a role, or nil.
func (s *Server) primary(role string) *client {
	var best *client
	for _, c := range s.clients[role] {
		if c.election == nil {
			continue
		}
		if s.cfg.Personality == BMv2 { // the highest of those that live
			if best == nil || compare(c.election, best.election) > 0 {
				best = c
			}
		} else if p := s.past[role]; p != nil && compare(c.election, p) == 0 {
			return c
		}
	}
	return best
}

func (s *Server) isPrimary(role string, election *p4v1.Uint128) bool {
	p := s.primary(role)
	return p != nil && election != nil && compare(p.election, election) == 0
}

// StreamChannel implements p4v1.P4RuntimeServer.
func (s *Server) StreamChannel(stream p4v1.P4Runtime_StreamChannelServer) error {
	var c *client
	defer func() {
		if c != nil {
			s.leave(c)
		}
	}()
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil
		}
		switch u := m.Update.(type) {
		case *p4v1.StreamMessageRequest_Arbitration:
			if c, err = s.arbitrate(stream, c, u.Arbitration); err != nil {
				return err
			}
		case *p4v1.StreamMessageRequest_Packet:
			if c != nil {
				s.packetOut(c, u.Packet)
			}
		}
	}
}

// arbitrate serves a MasterArbitrationUpdate (specification, sections "Rules
// for Handling MasterArbitrationUpdate Messages" and "Client Arbitration
// Notifications"). c is nil the first time.
func (s *Server) arbitrate(stream p4v1.P4Runtime_StreamChannelServer, c *client, a *p4v1.MasterArbitrationUpdate) (*client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	role, election := a.GetRole().GetName(), a.ElectionId
	bmv2 := s.cfg.Personality == BMv2
	if bmv2 {
		role = s.election(a.DeviceId, "")
		if election == nil {
			election = &p4v1.Uint128{}
		}
	}
	if c == nil {
		if err := s.known(a.DeviceId); err != nil {
			return nil, err
		}
	} else if a.DeviceId != c.device || role != c.role {
		return c, status.Error(codes.FailedPrecondition, "a stream keeps its device id and role")
	}
	for _, other := range s.clients[role] {
		if other != c && election != nil && other.election != nil && compare(other.election, election) == 0 {
			return c, status.Error(codes.InvalidArgument, "Election id already exists")
		}
	}
	before := s.primary(role)
	if c == nil {
		c = &client{stream: stream, device: a.DeviceId, role: role}
		s.clients[role] = append(s.clients[role], c)
	} else if bmv2 && compare(c.election, election) == 0 {
		return c, nil // PI does not answer
	}
	was := before == c
	c.election = election
	if p := s.past[role]; election != nil && (p == nil || compare(election, p) >= 0) {
		s.past[role] = proto.Clone(election).(*p4v1.Uint128)
	}
	// All hear of a new primary, of one that stays and of one that stepped
	// down; else only the one who asked.
	if is := s.primary(role) == c; is || was {
		s.notify(role)
	} else {
		s.tell(c)
	}
	return c, nil
}

func (s *Server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.gone {
		return
	}
	was := s.primary(c.role) == c
	s.clients[c.role] = slices.DeleteFunc(s.clients[c.role], func(o *client) bool { return o == c })
	if was {
		s.notify(c.role)
	}
}

func (s *Server) notify(role string) {
	for _, c := range s.clients[role] {
		s.tell(c)
	}
}

// tell sends c the state of its role's arbitration.
func (s *Server) tell(c *client) {
	a := &p4v1.MasterArbitrationUpdate{DeviceId: c.device, ElectionId: s.past[c.role], Status: &rpcstatus.Status{}}
	if c.role != "" && s.cfg.Personality != BMv2 {
		a.Role = &p4v1.Role{Name: c.role}
	}
	p := s.primary(c.role)
	switch {
	case p == nil:
		a.Status.Code = int32(codes.NotFound)
	case p != c:
		a.Status.Code = int32(codes.AlreadyExists)
	}
	if p != nil {
		a.ElectionId = p.election
	}
	c.send(&p4v1.StreamMessageResponse{Update: &p4v1.StreamMessageResponse_Arbitration{Arbitration: a}})
}
