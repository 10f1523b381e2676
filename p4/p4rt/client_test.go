package p4rt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/program"
	"github.com/planegym/planegym/p4/sim"
)

var personalities = []sim.Personality{sim.Strict, sim.BMv2, sim.PINS}

const device = 7

func serve(t testing.TB, cfg sim.Config) *sim.Server {
	t.Helper()
	cfg.DeviceID = device
	if cfg.Ports == nil {
		cfg.Ports = []p4.Port{1, 2}
	}
	if cfg.Depths == nil {
		cfg.Depths = []p4.Limit{64, 32}
	}
	s, err := sim.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// config suits a switch of serve's.
func config(s *sim.Server, p sim.Personality) Config {
	c := Config{Switch: inventory.Switch{Target: s.Addr(), DeviceID: device, Ports: []p4.Port{1, 2}, Queues: []p4.Limit{64, 32}, Timeout: 30 * time.Second}}
	if p == sim.PINS {
		c.Role, c.Push = sim.PINSRole, []string{"verify-and-commit", "reconcile-and-commit"}
	}
	return c
}

// log collects events.
type log struct {
	mu     sync.Mutex
	events []Event
}

func (l *log) add(e Event) {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
}

func (l *log) has(ok func(Event) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.events, ok)
}

func start(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func soon(t testing.TB) context.Context {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(stop)
	return ctx
}

func ready(t testing.TB, c *Client) {
	t.Helper()
	if err := c.Ready(soon(t)); err != nil {
		t.Fatal(err)
	}
}

func TestSetLimit(t *testing.T) {
	for _, p := range personalities {
		for _, mode := range []program.Mode{program.Queue, program.Meter} {
			t.Run(fmt.Sprintf("%s/%s", p, mode), func(t *testing.T) {
				s := serve(t, sim.Config{Personality: p})
				cfg := config(s, p)
				cfg.Mode, cfg.Rate, cfg.Safe = mode, 1000, 64
				cfg.Entries = []program.Entry{
					{Table: program.Routes, Match: map[string]string{"h.ipv4.dst": "10.0.0.0/24"}, Action: "I.forward", Params: map[string]string{"dmac": "00:00:0a:00:00:01", "port": "1"}},
					{Table: program.Trace, Action: "int_hop", Params: map[string]string{"swid": "1"}, Default: true},
				}
				c := start(t, cfg)
				ready(t, c)
				for _, l := range []p4.Limit{32, 64, 32} {
					for _, port := range cfg.Ports {
						if err := c.SetLimit(t.Context(), port, l); err != nil {
							t.Fatal(err)
						}
						got, err := c.Limit(t.Context(), port)
						if err != nil || got != l || s.InForce(port) != l {
							t.Errorf("port %d: read %d, %v; in force %d; want %d", port, got, err, s.InForce(port), l)
						}
					}
				}
				err := c.SetLimit(t.Context(), 1, 48)
				switch {
				case mode == program.Queue && !errors.Is(err, p4.ErrNotProvisioned):
					t.Errorf("limit 48: %v, want %v", err, p4.ErrNotProvisioned)
				case mode == program.Meter && err != nil:
					t.Errorf("limit 48: %v", err)
				}
				if err := c.SetLimit(t.Context(), 9, 64); err == nil {
					t.Error("port 9 was accepted")
				}
				if n, err := c.Count(t.Context(), 1); err != nil || n != 0 {
					t.Errorf("count: %d, %v", n, err)
				}
			})
		}
	}
}

// A write that changes nothing refills a meter's bucket: it must not be made.
func TestNoOpMeterWriteIsSkipped(t *testing.T) {
	s := serve(t, sim.Config{Depths: []p4.Limit{1000}})
	cfg := config(s, sim.Strict)
	cfg.Mode, cfg.Rate = program.Meter, 1000
	c := start(t, cfg)
	for _, l := range []p4.Limit{32, 32, 32, 64, 64} {
		if err := c.SetLimit(soon(t), 1, l); err != nil {
			t.Fatal(err)
		}
	}
	if s.Refills(1) != 2 || s.InForce(1) != 64 {
		t.Errorf("%d refills, limit %d; want 2 and 64", s.Refills(1), s.InForce(1))
	}
}

// The safe limit is the default action of the table: a port without an entry
// has it.
func TestSafeLimitIsTheDefault(t *testing.T) {
	s := serve(t, sim.Config{})
	cfg := config(s, sim.Strict)
	cfg.Safe = 32
	ready(t, start(t, cfg))
	if s.InForce(1) != 32 {
		t.Errorf("limit %d before any was set, want the safe 32", s.InForce(1))
	}
}

func TestWriteErrorsAreDecoded(t *testing.T) {
	s := serve(t, sim.Config{})
	c := start(t, config(s, sim.Strict))
	ready(t, c)
	s.Inject(sim.Faults{Refuse: codes.ResourceExhausted})
	err := c.SetLimit(t.Context(), 1, 32)
	var w *WriteError
	if !errors.As(err, &w) || len(w.Updates) != 1 || w.only() != codes.ResourceExhausted || w.Updates[0].Vendor != 7 {
		t.Fatalf("%#v", err)
	}
	if want := s.Addr() + ": write refused: update 0: ResourceExhausted: refused (sim 7)"; err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	// Of a batch, only those that failed are named.
	s.Inject(sim.Faults{})
	good, _ := c.cfg.entry(1, 32)
	bad, _ := c.cfg.entry(2, 32)
	bad.Action.GetAction().Params = nil
	for range 2 { // inserted, then modified
		err = c.put(t.Context(), []*p4v1.TableEntry{good, bad})
		if !errors.As(err, &w) || len(w.Updates) != 1 || w.Updates[0].Index != 1 || w.only() != codes.InvalidArgument || s.InForce(1) != 32 {
			t.Errorf("batch: %v, limit %d", err, s.InForce(1))
		}
	}
}

func TestReadsAreDrained(t *testing.T) {
	s := serve(t, sim.Config{})
	c := start(t, config(s, sim.Strict))
	ready(t, c)
	for _, port := range []p4.Port{1, 2} {
		if err := c.SetLimit(t.Context(), port, 32); err != nil {
			t.Fatal(err)
		}
	}
	key, _ := c.key(1)
	found, err := c.read(t.Context(), &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: &p4v1.TableEntry{TableId: key.TableId}}})
	if err != nil || len(found) != 2 {
		t.Errorf("%d entries in two messages, %v", len(found), err)
	}
}

func TestPackets(t *testing.T) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			out := make(chan p4.Port, 1)
			s := serve(t, sim.Config{Personality: p, Queues: packets{out}})
			c := start(t, config(s, p))
			ready(t, c)
			if err := c.PacketOut(t.Context(), 2, []byte("probe")); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-out:
				if got != 2 {
					t.Errorf("packet out left by port %d", got)
				}
			case <-soon(t).Done():
				t.Fatal("the packet did not arrive")
			}
			s.PacketIn(1, []byte("report"))
			if got := <-c.Packets(); got.Port != 1 || string(got.Payload) != "report" {
				t.Errorf("packet in: %+v", got)
			}
			for i := range packetQueue + 10 {
				s.PacketIn(1, []byte(fmt.Sprint(i)))
			}
			for ctx := soon(t); c.State().PacketIns != packetQueue+11 && ctx.Err() == nil; {
				time.Sleep(time.Millisecond)
			}
			if d := c.State().Dropped; d != 10 {
				t.Errorf("%d dropped, want the 10 oldest", d)
			}
			if got := <-c.Packets(); string(got.Payload) != "10" {
				t.Errorf("the oldest kept is %s, want 10", got.Payload)
			}
		})
	}
}

type packets struct{ out chan p4.Port }

func (packets) SetLimit(p4.Port, p4.Limit)         {}
func (packets) Packets(p4.Port) int64              { return 0 }
func (p packets) PacketOut(port p4.Port, _ []byte) { p.out <- port }

func TestNeverPushed(t *testing.T) {
	s := serve(t, sim.Config{})
	cfg := config(s, sim.Strict)
	cfg.Push = []string{}
	c := start(t, cfg)
	if err := c.SetLimit(soon(t), 1, 32); !errors.Is(err, p4.ErrPipeline) {
		t.Errorf("%v, want %v", err, p4.ErrPipeline)
	}
	if s.Cookie() != 0 {
		t.Error("a pipeline was pushed")
	}
}

// A pipeline that already exists is not pushed: a push loses entries and
// interrupts traffic.
func TestPipelineIsPushedOnlyWhereDifferent(t *testing.T) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			s := serve(t, sim.Config{Personality: p})
			var first, second log
			cfg := config(s, p)
			cfg.Notify = first.add
			c := start(t, cfg)
			if err := c.SetLimit(soon(t), 1, 32); err != nil {
				t.Fatal(err)
			}
			c.Close()
			cfg.Notify, cfg.Election = second.add, Election{Low: 9}
			d := start(t, cfg)
			ready(t, d)
			pushed := func(e Event) bool { return e.Kind == Up && e.Pushed }
			if !first.has(pushed) || second.has(pushed) {
				t.Errorf("pushed first %v, second %v; want true, false", first.has(pushed), second.has(pushed))
			}
			if l, err := d.Limit(t.Context(), 1); err != nil || l != 32 {
				t.Errorf("the limit was lost: %d, %v", l, err)
			}
		})
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	ok := Config{Switch: inventory.Switch{Target: "sw1:9559", Queues: []p4.Limit{64, 32}, Ports: []p4.Port{1}}}
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) {}, ""},
		{func(c *Config) { c.Target = "sw1" }, `p4rt: target: "sw1" is not host:port`},
		{func(c *Config) { c.Queues = nil }, "p4rt: queues: queue mode needs the depths that queues were provisioned with"},
		{func(c *Config) { c.Queues = []p4.Limit{1, 2, 3, 4, 5, 6, 7, 8, 9} }, "p4rt: queues: 9 are more than 8"},
		{func(c *Config) { c.Queues = []p4.Limit{64, 64} }, "p4rt: queues: duplicate 64"},
		{func(c *Config) { c.Queues = []p4.Limit{0} }, "p4rt: queues: p4: limit 0 is outside 1…524287 packets"},
		{func(c *Config) { c.Mode = "egress" }, `p4rt: mode: p4/program: mode: "egress" is not one of "queue", "meter"`},
		{func(c *Config) { c.Mode = program.Meter }, "p4rt: rate: meter mode needs the packets/s that the port serves, not 0"},
		{func(c *Config) { c.Safe = 16 }, "p4rt: safe: p4: no queue is provisioned for the limit 16: there are [64 32]"},
		{func(c *Config) { c.Ports = []p4.Port{512} }, "p4rt: ports: 512 has more than 9 bits"},
		{func(c *Config) { c.Push = []string{"x"} }, `p4rt: push: "x" is not one of "verify-and-commit", "reconcile-and-commit"`},
		{func(c *Config) { c.Timeout = -1 }, "p4rt: timeout: -1ns is negative"},
		{func(c *Config) { c.TLS = &inventory.TLS{Cert: "a"} }, `p4rt: tls: cert and key go together: cert "a", key ""`},
		{func(c *Config) { c.TLS = &inventory.TLS{CA: "/nowhere.pem"} }, "p4rt: tls.ca: open /nowhere.pem: no such file or directory"},
		{func(c *Config) { c.Entries = []program.Entry{{Table: "x", Default: true}} }, `p4rt: entries[0]: the program has no table "x"`},
		{func(c *Config) {
			c.Entries = []program.Entry{{Table: "ipv4_lpm", Match: map[string]string{"h.ipv4.dst": "10.0.0.1"}}}
		},
			`p4rt: entries[0]: match h.ipv4.dst: "10.0.0.1" does not suit a LPM match`},
		{func(c *Config) {
			c.Entries = []program.Entry{{Table: "swtrace", Default: true, Action: "int_hop", Params: map[string]string{"swid": "0x80000000"}}}
		},
			"p4rt: entries[0]: action int_hop: swid: 2147483648 has 32 bits, its type bit<31>"},
		{func(c *Config) { c.Entries = []program.Entry{{Table: "swtrace", Default: true, Action: "forward"}} }, "p4rt: entries[0]: table swtrace has no action forward"},
	} {
		cfg := ok
		c.edit(&cfg)
		if err := cfg.Check(); c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if w := ok.Warnings(); len(w) != 2 || !strings.HasPrefix(w[0], "device_id is 0") {
		t.Errorf("warnings: %q", w)
	}
}

func TestBackoff(t *testing.T) {
	bounds := [2]time.Duration{50 * time.Millisecond, 500 * time.Millisecond}
	for attempt, full := range []time.Duration{50, 100, 200, 400, 500, 500, 500} {
		full *= time.Millisecond
		if lo, hi := backoff(bounds, attempt, .999999), backoff(bounds, attempt, 0); hi != full || lo < full/2 || lo > full/2+time.Microsecond {
			t.Errorf("attempt %d: %v…%v, want %v…%v", attempt, lo, hi, full/2, full)
		}
	}
}

// preset puts our pipeline on a switch without any client.
func preset(t *testing.T, s *sim.Server) {
	t.Helper()
	p, err := program.Load(program.Queue)
	if err != nil {
		t.Fatal(err)
	}
	info := &configv1.P4Info{}
	if err := prototext.Unmarshal(p.P4Info, info); err != nil {
		t.Fatal(err)
	}
	s.ReplacePipeline(info, p.Cookie)
}

// contest is one case of the election matrix.
type contest struct {
	*testing.T
	p    sim.Personality
	s    *sim.Server
	logs map[*Client]*log
}

// join opens a client that takes no action of its own; low 0 leaves its id unset.
func (m *contest) join(low uint64, edit ...func(*Config)) *Client {
	m.Helper()
	cfg := config(m.s, m.p)
	l := &log{}
	cfg.Backup, cfg.Election, cfg.Notify, cfg.Seed = true, Election{Low: low}, l.add, low
	for _, e := range edit {
		e(&cfg)
	}
	c := start(m.T, cfg)
	m.logs[c] = l
	return c
}

// is waits for an arbitration answer, and holds the client to what may be done
// with it: everybody reads, the primary writes.
func (m *contest) is(c *Client, want codes.Code, highest uint64) {
	m.Helper()
	err := c.await(soon(m.T), func() (bool, error) {
		return c.state.Connected && c.state.Status == want && c.state.Primary == (want == codes.OK) && c.state.Election.Low == highest, nil
	})
	if err != nil {
		m.Fatalf("client of id %v: state %+v, want %v and highest %d", c.cfg.Election.Low, c.State(), want, highest)
	}
	if _, err := c.Limit(soon(m.T), 1); err != nil && !errors.Is(err, p4.ErrNoLimit) {
		m.Errorf("read as %v: %v", want, err)
	}
	e, _ := c.cfg.entry(1, 32)
	err = c.put(soon(m.T), []*p4v1.TableEntry{e})
	if want == codes.OK && err != nil {
		m.Errorf("write as primary: %v", err)
	}
	if want != codes.OK && !errors.Is(err, p4.ErrNotPrimary) {
		m.Errorf("write as %v: %v, want %v", want, err, p4.ErrNotPrimary)
	}
	if err := c.SetLimit(soon(m.T), 1, 32); (err == nil) != (want == codes.OK) || err != nil && !errors.Is(err, p4.ErrNotPrimary) {
		m.Errorf("SetLimit as %v: %v", want, err)
	}
}

// ended waits for a stream to end with a code.
func (m *contest) ended(c *Client, want codes.Code) {
	m.Helper()
	m.hears(c, func(e Event) bool { return e.Kind == Down && status.Code(e.Err) == want })
}

// hears waits for an event, which comes right after the state.
func (m *contest) hears(c *Client, ok func(Event) bool) {
	m.Helper()
	ctx := soon(m.T)
	for !m.logs[c].has(ok) {
		select {
		case <-ctx.Done():
			m.Fatalf("the client of id %v heard only %+v", c.cfg.Election.Low, m.logs[c].events)
		case <-time.After(time.Millisecond):
		}
	}
}

func (m *contest) claims(c *Client, low uint64) {
	m.Helper()
	if err := c.Arbitrate(soon(m.T), Election{Low: low}); err != nil {
		m.Fatalf("claim with %d: %v", low, err)
	}
}

// TestElectionMatrix plays the scenarios of OpenConfig featureprofiles
// P4RT-2.1 "P4RT Election" and four beside them against each personality.
func TestElectionMatrix(t *testing.T) {
	const ok, exists, none, invalid = codes.OK, codes.AlreadyExists, codes.NotFound, codes.InvalidArgument
	cases := []struct {
		name string
		play func(m *contest)
	}{
		{"become primary", func(m *contest) {
			m.is(m.join(90), ok, 90)
			m.is(m.join(100), ok, 100)
		}},
		{"fail to become primary", func(m *contest) {
			m.is(m.join(100), ok, 100)
			m.is(m.join(90), exists, 100)
		}},
		{"replace primary", func(m *contest) {
			m.is(m.join(100), ok, 100)
			b := m.join(90)
			m.is(b, exists, 100)
			m.claims(b, 110)
			m.is(b, ok, 110)
		}},
		{"the old primary is told and demoted", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			m.claims(m.join(90), 110)
			m.is(a, exists, 110)
			m.hears(a, func(e Event) bool { return e.Kind == Demoted })
		}},
		{"replace primary after failure, equal id", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			b := m.join(90)
			m.is(b, exists, 100)
			a.Close()
			if m.p == sim.BMv2 {
				m.is(b, ok, 90) // promoted
			} else {
				m.is(b, none, 100)
			}
			m.claims(b, 100)
			m.is(b, ok, 100)
		}},
		{"backup after the primary left", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			b := m.join(90)
			m.is(b, exists, 100)
			a.Close()
			if m.p == sim.BMv2 {
				m.is(b, ok, 90) // promoted
			} else {
				m.is(b, none, 100)
			}
		}},
		{"reconnect primary, higher id", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			a.Close()
			m.is(m.join(110), ok, 110)
		}},
		{"reconnect primary, equal id", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			a.Close()
			m.is(m.join(100), ok, 100)
		}},
		{"double primary by a claim", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			b := m.join(90)
			m.is(b, exists, 100)
			if err := b.Arbitrate(soon(m.T), Election{Low: 100}); err == nil {
				m.Error("the id of the live primary was granted")
			}
			m.ended(b, invalid)
			m.is(a, ok, 100)
		}},
		{"double primary by a new client", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			m.ended(m.join(100), invalid)
			m.is(a, ok, 100)
		}},
		{"unset election id", func(m *contest) {
			a := m.join(0)
			if m.p == sim.BMv2 { // 0, and none higher
				m.is(a, ok, 0)
				m.ended(m.join(0), invalid)
				return
			}
			m.is(a, none, 0)
			m.is(m.join(0), none, 0)
			if err := a.pushPipeline(soon(m.T)); !errors.Is(err, p4.ErrNotPrimary) {
				m.Errorf("push with an unset id: %v", err)
			}
		}},
		{"zero is set", func(m *contest) {
			a := m.join(0)
			m.claims(a, 0)
			m.is(a, ok, 0)
		}},
		{"long evolution", func(m *contest) {
			var c []*Client
			for i := uint64(1); i <= 5; i++ {
				c = append(c, m.join(i))
				m.is(c[i-1], ok, i)
			}
			for i := uint64(6); i <= 10; i++ {
				before, now := c[(i-2)%5], c[(i-1)%5]
				m.claims(now, i)
				m.is(now, ok, i)
				m.is(before, exists, i)
			}
		}},
		{"roles elect apart", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			b := m.join(90, func(c *Config) { c.Role = "other" })
			switch m.p {
			case sim.BMv2: // knows no roles
				m.is(b, exists, 100)
			case sim.PINS: // elects it, lets it not write
				if err := b.SetLimit(soon(m.T), 1, 32); !errors.Is(err, p4.ErrNotPrimary) || !b.State().Primary {
					m.Errorf("write in another role: %v, %+v", err, b.State())
				}
			default:
				m.is(b, ok, 90)
				m.is(a, ok, 100)
			}
		}},
		{"wrong device id", func(m *contest) {
			a := m.join(100, func(c *Config) { c.DeviceID = device + 1 })
			if m.p == sim.BMv2 { // makes devices up, each with its election and without a pipeline
				if err := a.await(soon(m.T), func() (bool, error) { return a.state.Primary, nil }); err != nil {
					m.Error(err)
				}
				return
			}
			m.ended(a, codes.NotFound)
		}},
		{"a holder claims what is free", func(m *contest) {
			a := m.join(100)
			m.is(a, ok, 100)
			b := m.join(90, func(c *Config) { c.Backup = false })
			m.is(b, exists, 100)
			a.Close()
			if m.p == sim.BMv2 {
				m.is(b, ok, 90)
			} else {
				m.is(b, ok, 100) // with the highest id seen
			}
		}},
	}
	if len(cases) != 16 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, p := range personalities {
		for _, c := range cases {
			t.Run(string(p)+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				s := serve(t, sim.Config{Personality: p})
				preset(t, s)
				c.play(&contest{T: t, p: p, s: s, logs: map[*Client]*log{}})
			})
		}
	}
}
