// Package sim is a P4Runtime switch in memory: a server over real gRPC,
// with the arbitration, pipeline, tables, meters, counters and packets of a
// switch, the habits of three families of them, and faults to inject. What
// its queues do is up to a backend.
package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/planegym/planegym/p4"
)

// Personality is whose habits a switch has where targets differ.
type Personality string

// The personalities.
//
//   - Strict does what the P4Runtime specification 1.5 says.
//   - BMv2 does as p4lang/PI's server in simple_switch_grpc 1.15.5: the next
//     client is promoted when the primary leaves, an unset election id is 0, an
//     arbitration that changes nothing is not answered, roles are not checked,
//     every device id has its own election, RECONCILE_AND_COMMIT fails and
//     loses the meters, there is no atomic write mode and no register write. A
//     restart forgets depths and rates; packets for a queue that does not exist
//     are dropped.
//   - PINS does as SONiC's P4RT: writes need the role sdn_controller, and the
//     pipeline is set by RECONCILE_AND_COMMIT alone.
const (
	Strict Personality = "strict"
	BMv2   Personality = "bmv2"
	PINS   Personality = "pins"
)

// PINSRole is the role that PINS lets write.
const PINSRole = "sdn_controller"

// Queues is the packets' side of a switch. Its methods are called one at a
// time.
type Queues interface {
	// SetLimit puts a limit in force on a port's queue.
	SetLimit(port p4.Port, l p4.Limit)
	// Packets counts those that matched the port's entry: its direct counter.
	Packets(port p4.Port) int64
	// PacketOut sends a controller's packet out of a port.
	PacketOut(port p4.Port, payload []byte)
}

// Config describes a switch.
type Config struct {
	Personality Personality                      // Strict
	Addr        string                           // where to listen; 127.0.0.1:0
	Credentials credentials.TransportCredentials // nil: no TLS
	DeviceID    uint64
	// Ports are those whose queues are modelled.
	Ports []p4.Port
	// Depths are the depths that the ports' queues were provisioned with after
	// the start, by queue id; {64}. A BMv2 that restarts has as many queues, all
	// 64 deep, at an unlimited rate.
	Depths []p4.Limit
	Rate   int64  // packets/s that a port serves; 0: unlimited
	Queues Queues // nil: a backend that only remembers
}

// Server is a running switch.
type Server struct {
	p4v1.UnimplementedP4RuntimeServer
	cfg  Config
	gate *gate
	grpc *grpc.Server
	done chan struct{}

	mu       sync.Mutex
	clients  map[string][]*client     // by role, every live one
	past     map[string]*p4v1.Uint128 // by role, the highest election id seen
	pipeline *p4v1.ForwardingPipelineConfig
	tables   tables
	inForce  map[p4.Port]p4.Limit // 0: packets are dropped
	bank     bank
	thrift   *gate // nil: none
	serving  sync.WaitGroup
	resources
	faults  Faults
	writes  int
	refills map[p4.Port]int
}

// Faults are what goes wrong until they are taken back.
type Faults struct {
	Delay  time.Duration                  // before every unary call is served
	Refuse codes.Code                     // every update is refused with it
	Lie    func(l p4.Limit) p4.Limit      // what reads return for a limit
	Stall  bool                           // calls are taken and never answered
	Before func(*p4v1.WriteRequest)       // called before a write is looked at, unlocked
	Result func(*p4v1.WriteRequest) error // after a write was done: its answer
	Found  func()                         // called when a read was done, before it is answered, unlocked
}

// Open starts a switch.
func Open(cfg Config) (*Server, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	return Serve(cfg, l)
}

// Serve starts a switch on a listener, which it owns.
func Serve(cfg Config, l net.Listener) (*Server, error) {
	if cfg.Personality == "" {
		cfg.Personality = Strict
	}
	switch cfg.Personality {
	case Strict, BMv2, PINS:
	default:
		return nil, fmt.Errorf(`sim: personality: %q is not one of "strict", "bmv2", "pins"`, cfg.Personality)
	}
	if len(cfg.Depths) == 0 {
		cfg.Depths = []p4.Limit{64}
	}
	if cfg.Queues == nil {
		cfg.Queues = nowhere{}
	}
	if cfg.Rate < 0 {
		return nil, fmt.Errorf("sim: rate: %d is negative", cfg.Rate)
	}
	s := &Server{bank: newBank(cfg.Ports, cfg.Depths, cfg.Rate), cfg: cfg, gate: &gate{Listener: l, conns: map[net.Conn]bool{}}, done: make(chan struct{})}
	s.reset()
	var o []grpc.ServerOption
	if cfg.Credentials != nil {
		o = append(o, grpc.Creds(cfg.Credentials))
	}
	s.grpc = grpc.NewServer(append(o, grpc.WaitForHandlers(true))...)
	p4v1.RegisterP4RuntimeServer(s.grpc, s)
	go func() {
		defer close(s.done)
		_ = s.grpc.Serve(s.gate)
	}()
	return s, nil
}

// reset makes s a switch just started; s.mu is held, or s is not shared yet.
func (s *Server) reset() {
	s.clients, s.past = map[string][]*client{}, map[string]*p4v1.Uint128{}
	s.pipeline, s.tables, s.resources = nil, tables{}, newResources()
	s.inForce, s.refills = map[p4.Port]p4.Limit{}, map[p4.Port]int{}
	s.enforce()
}

// Addr is where the switch listens.
func (s *Server) Addr() string { return s.gate.Addr().String() }

// Close ends the switch and waits for its goroutines.
func (s *Server) Close() error {
	s.Inject(Faults{})
	s.gate.cut()
	s.grpc.Stop()
	<-s.done
	s.mu.Lock()
	thrift := s.thrift
	s.mu.Unlock()
	if thrift != nil {
		thrift.cut()
		thrift.Close()
	}
	s.serving.Wait()
	return nil
}

// InForce is the limit in force on a port's queue.
func (s *Server) InForce(port p4.Port) p4.Limit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inForce[port]
}

// Writes counts the updates done.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Refills counts how often a port's meter was configured: each fills its
// bucket again, also where nothing changed.
func (s *Server) Refills(port p4.Port) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refills[port]
}

// Cookie is the pipeline's, 0 where there is none.
func (s *Server) Cookie() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pipeline.GetCookie().GetCookie()
}

// Clients counts the live streams of a role.
func (s *Server) Clients(role string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients[role])
}

// Inject replaces the faults in force.
func (s *Server) Inject(f Faults) {
	s.mu.Lock()
	s.faults = f
	s.mu.Unlock()
}

// Cut breaks every connection and refuses new ones until Mend.
func (s *Server) Cut() {
	s.gate.cut()
	if s.thrift != nil {
		s.thrift.cut()
	}
}

// Mend lets connections in again.
func (s *Server) Mend() {
	s.gate.mend()
	if s.thrift != nil {
		s.thrift.mend()
	}
}

// Restart breaks every connection and forgets all state, election ids too. A
// BMv2 forgets how its queues were provisioned as well.
func (s *Server) Restart() {
	s.Cut()
	s.mu.Lock()
	for _, clients := range s.clients {
		for _, c := range clients {
			c.gone = true
		}
	}
	if s.cfg.Personality == BMv2 {
		s.bank.reboot()
	}
	s.bank.booted = time.Now()
	s.reset()
	s.mu.Unlock()
	s.Mend()
}

// ReplacePipeline puts another program on the switch behind everybody's back.
func (s *Server) ReplacePipeline(info *configv1.P4Info, cookie uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setPipeline(&p4v1.ForwardingPipelineConfig{P4Info: info, Cookie: &p4v1.ForwardingPipelineConfig_Cookie{Cookie: cookie}})
}

// PacketIn sends a packet that came in by a port to the primary of every
// role.
func (s *Server) PacketIn(port p4.Port, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipeline == nil {
		return
	}
	md := packetMetadata(s.pipeline.P4Info, "packet_in", uint64(port))
	for role, clients := range s.clients {
		for _, c := range clients {
			if s.isPrimary(role, c.election) {
				c.send(&p4v1.StreamMessageResponse{Update: &p4v1.StreamMessageResponse_Packet{
					Packet: &p4v1.PacketIn{Payload: slices.Clone(payload), Metadata: md},
				}})
			}
		}
	}
}

// packetMetadata fills a packet header's first field, the port.
func packetMetadata(info *configv1.P4Info, header string, port uint64) []*p4v1.PacketMetadata {
	var md []*p4v1.PacketMetadata
	for _, h := range info.GetControllerPacketMetadata() {
		if h.Preamble.Name != header {
			continue
		}
		for i, f := range h.Metadata {
			v := uint64(0)
			if i == 0 {
				v = port
			}
			md = append(md, &p4v1.PacketMetadata{MetadataId: f.Id, Value: bytesOf(v)})
		}
	}
	return md
}

// bytesOf is the canonical byte string of a number: the shortest, at least one byte.
func bytesOf(v uint64) []byte {
	n := 1
	for v>>(8*n) != 0 && n < 8 {
		n++
	}
	b := make([]byte, n)
	for i := range b {
		b[n-1-i] = byte(v >> (8 * i))
	}
	return b
}

// enter applies the faults that every unary call meets.
func (s *Server) enter(ctx context.Context) error {
	s.mu.Lock()
	f := s.faults
	s.mu.Unlock()
	if f.Stall {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	return nil
}

// known refuses a device that is not this one; PI makes one up for any id.
func (s *Server) known(device uint64) error {
	if device != s.cfg.DeviceID && s.cfg.Personality != BMv2 {
		return status.Errorf(codes.NotFound, "there is no device %d", device)
	}
	return nil
}

// unknown is the code for an object that the program does not have.
func (s *Server) unknown() codes.Code {
	if s.cfg.Personality == BMv2 {
		return codes.InvalidArgument
	}
	return codes.NotFound
}

// ready refuses what needs a pipeline: PI makes up devices, without one.
func (s *Server) ready(device uint64) error {
	if s.pipeline == nil || device != s.cfg.DeviceID {
		return status.Error(codes.FailedPrecondition, "No forwarding pipeline config set for this device")
	}
	return nil
}

// election is how s.clients and s.past call a device's role.
func (s *Server) election(device uint64, role string) string {
	if device == s.cfg.DeviceID {
		return role
	}
	return fmt.Sprintf("%s of device %d", role, device)
}

// mayWrite refuses a write of a client that is not primary.
func (s *Server) mayWrite(device uint64, role string, election *p4v1.Uint128) error {
	if err := s.known(device); err != nil {
		return err
	}
	if s.cfg.Personality == PINS && role != PINSRole {
		return status.Errorf(codes.PermissionDenied, "role %q may not write: %s does", role, PINSRole)
	}
	if s.cfg.Personality == BMv2 {
		role = s.election(device, "")
		if election == nil {
			election = &p4v1.Uint128{}
		}
	}
	if election == nil || !s.isPrimary(role, election) {
		return status.Error(codes.PermissionDenied, "Not primary")
	}
	return nil
}

// SetForwardingPipelineConfig implements p4v1.P4RuntimeServer.
func (s *Server) SetForwardingPipelineConfig(ctx context.Context, r *p4v1.SetForwardingPipelineConfigRequest) (*p4v1.SetForwardingPipelineConfigResponse, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayWrite(r.DeviceId, r.Role, r.ElectionId); err != nil {
		return nil, err
	}
	if r.Action == p4v1.SetForwardingPipelineConfigRequest_UNSPECIFIED {
		return nil, status.Error(codes.InvalidArgument, "action is unspecified")
	}
	if r.Config.GetP4Info() == nil {
		return nil, status.Error(codes.InvalidArgument, "P4Info is missing")
	}
	if r.Action == p4v1.SetForwardingPipelineConfigRequest_VERIFY && s.cfg.Personality != PINS {
		if err := s.compiles(r); err != nil {
			return nil, err
		}
		return &p4v1.SetForwardingPipelineConfigResponse{}, nil
	}
	verify := r.Action == p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT
	reconcile := r.Action == p4v1.SetForwardingPipelineConfigRequest_RECONCILE_AND_COMMIT
	switch {
	case s.cfg.Personality == PINS && !reconcile:
		return nil, status.Errorf(codes.Unimplemented, "%v is not supported", r.Action)
	case s.cfg.Personality == BMv2 && reconcile:
		for _, t := range s.tables {
			for _, e := range t {
				e.MeterConfig = nil
			}
		}
		s.enforce()
		return nil, status.Error(codes.Unknown, "")
	case !verify && !reconcile:
		return nil, status.Errorf(codes.Unimplemented, "%v is not supported", r.Action)
	}
	if reconcile && s.pipeline != nil && proto.Equal(s.pipeline.P4Info, r.Config.P4Info) {
		s.pipeline = r.Config // entries stay
		return &p4v1.SetForwardingPipelineConfigResponse{}, nil
	}
	if err := s.compiles(r); err != nil {
		s.setPipeline(nil) // until a good push nothing is left
		return nil, err
	}
	s.setPipeline(r.Config)
	return &p4v1.SetForwardingPipelineConfigResponse{}, nil
}

// compiles refuses what BMv2 does: a device config that is no JSON, or lacks a
// table of the P4Info.
func (s *Server) compiles(r *p4v1.SetForwardingPipelineConfigRequest) error {
	if s.cfg.Personality != BMv2 {
		return nil
	}
	if r.DeviceId != s.cfg.DeviceID {
		return status.Error(codes.Unknown, "")
	}
	var device struct {
		Pipelines []struct {
			Tables []struct {
				Name string `json:"name"`
			} `json:"tables"`
		} `json:"pipelines"`
	}
	if json.Unmarshal(r.Config.P4DeviceConfig, &device) != nil {
		return status.Error(codes.Unknown, "")
	}
	names := map[string]bool{}
	for _, p := range device.Pipelines {
		for _, t := range p.Tables {
			names[t.Name] = true
		}
	}
	for _, t := range r.Config.P4Info.Tables {
		if !names[t.Preamble.Name] {
			return status.Error(codes.Unknown, "")
		}
	}
	return nil
}

func (s *Server) setPipeline(c *p4v1.ForwardingPipelineConfig) {
	s.pipeline, s.tables, s.resources = c, tables{}, newResources()
	s.enforce()
}

// GetForwardingPipelineConfig implements p4v1.P4RuntimeServer.
func (s *Server) GetForwardingPipelineConfig(ctx context.Context, r *p4v1.GetForwardingPipelineConfigRequest) (*p4v1.GetForwardingPipelineConfigResponse, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(r.DeviceId); err != nil {
		return nil, err
	}
	if err := s.ready(r.DeviceId); err != nil {
		return nil, err
	}
	c := &p4v1.ForwardingPipelineConfig{Cookie: s.pipeline.Cookie}
	if t := r.ResponseType; t == p4v1.GetForwardingPipelineConfigRequest_ALL || t == p4v1.GetForwardingPipelineConfigRequest_P4INFO_AND_COOKIE {
		c.P4Info = s.pipeline.P4Info
	}
	if t := r.ResponseType; t == p4v1.GetForwardingPipelineConfigRequest_ALL || t == p4v1.GetForwardingPipelineConfigRequest_DEVICE_CONFIG_AND_COOKIE {
		c.P4DeviceConfig = s.pipeline.P4DeviceConfig
	}
	return &p4v1.GetForwardingPipelineConfigResponse{Config: c}, nil
}

// Capabilities implements p4v1.P4RuntimeServer.
func (s *Server) Capabilities(context.Context, *p4v1.CapabilitiesRequest) (*p4v1.CapabilitiesResponse, error) {
	return &p4v1.CapabilitiesResponse{P4RuntimeApiVersion: "1.5.0"}, nil
}

// nowhere is the backend of a switch that drops its packets.
type nowhere struct{}

func (nowhere) SetLimit(p4.Port, p4.Limit) {}
func (nowhere) Packets(p4.Port) int64      { return 0 }
func (nowhere) PacketOut(p4.Port, []byte)  {}

// gate is a listener whose connections can be cut.
type gate struct {
	net.Listener
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if g.shut {
			g.mu.Unlock()
			c.Close()
			continue
		}
		t := &gated{Conn: c, gate: g}
		g.conns[t] = true
		g.mu.Unlock()
		return t, nil
	}
}

func (g *gate) cut() {
	g.mu.Lock()
	g.shut = true
	conns := g.conns
	g.conns = map[net.Conn]bool{}
	g.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

func (g *gate) mend() {
	g.mu.Lock()
	g.shut = false
	g.mu.Unlock()
}

type gated struct {
	net.Conn
	gate *gate
}

func (c *gated) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
