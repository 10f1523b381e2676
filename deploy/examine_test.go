package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/sim"
)

// withThrift is an emulated BMv2, up for a minute and not provisioned, with the
// key thrift.
func withThrift(t *testing.T) (*sim.Server, inventory.Switch) {
	t.Helper()
	rpc, thrift := sim.NewPipe(), sim.NewPipe()
	s, err := sim.Serve(sim.Config{Personality: sim.BMv2, DeviceID: 1, Ports: []p4.Port{1, 2}, Depths: []p4.Limit{64, 64}}, rpc)
	if err != nil {
		t.Fatal(err)
	}
	s.ServeThrift(thrift)
	t.Cleanup(func() { s.Close() })
	time.Sleep(time.Minute)
	return s, inventory.Switch{
		Target: "pipe:1", DeviceID: 1, Dial: rpc.Dial, Ports: []p4.Port{1, 2}, Queues: []p4.Limit{safe, usual},
		Thrift: "pipe:2", DialThrift: thrift.Dial,
	}
}

// said is what was found, a line each, without what config warns of.
func said(found []Finding) (lines []string) {
	for _, f := range found {
		if f.Check != "config" || f.Level != Warning {
			lines = append(lines, fmt.Sprintf("%s: %s: %s", f.Check, f.Level, f.Says))
		}
	}
	return lines
}

// What a check says of one switch, by how it is reached and what holds the limits.
// Nothing is set by it.
func TestExamineEachKind(t *testing.T) {
	const reached, alone = "reach: ok: pipe:1, device 1", "mastership: ok: no client is primary"
	const none = "pipeline: warning: pipe:1: p4: the switch runs no pipeline"
	const up = "queues [32, 64]: the switch has them, and they are given their depths after every start; it is up for 1m0s"
	for _, c := range []struct {
		name   string
		edit   func(*inventory.Switch)
		limits []p4.Limit
		probes float64
		want   []string
	}{
		{"no rate", func(*inventory.Switch) {}, nil, 0, []string{
			"limits: ok: " + up, "rate: warning: service_pps is not set: unless a rate is set, a BMv2 serves as fast as it can, its queues stay empty, and no limit matters", reached, alone, none}},
		{"a rate", func(s *inventory.Switch) { s.ServicePPS = 1000 }, nil, 0, []string{"limits: ok: " + up, reached, alone, none}},
		{"a limit without a queue", func(*inventory.Switch) {}, []p4.Limit{32, 48}, 0, []string{"limits: failed: no queue has [48] packets: queues are [32, 64]", reached, alone, none}},
		{"Thrift does not answer", func(s *inventory.Switch) { s.DialThrift = sim.NewPipe().Dial }, nil, 0, []string{
			"limits: failed: bmv2: pipe:2: set_egress_priority_queue_depth: p4: switch is unreachable: context deadline exceeded", reached, alone, none}},
		{"a meter, no rate", func(s *inventory.Switch) { s.Mode, s.Rate = "meter", 900 }, nil, 0, []string{
			"limits: warning: a meter of 900 packets/s enforces them; whether it holds depends on what the port serves, which service_pps does not say", reached, alone, none}},
		// .97 · (1000 - 20) = 950.6
		{"a meter that holds", func(s *inventory.Switch) { s.Mode, s.Rate, s.ServicePPS = "meter", 950, 1000 }, nil, 20, []string{
			"limits: ok: a meter of 950 packets/s enforces them; up to 950 holds on a port that serves 1000 with 20 probes a second", reached, alone, none}},
		{"a meter that does not", func(s *inventory.Switch) { s.Mode, s.Rate, s.ServicePPS = "meter", 951, 1000 }, nil, 20, []string{
			"limits: failed: a meter of 951 packets/s does not hold them: the port serves 1000, 20 probes a second pass by the meter, and the queue creeps up to its depth", reached, alone, none}},
		{"never pushed", func(s *inventory.Switch) { s.Push, s.ServicePPS = []string{}, 1000 }, nil, 0, []string{
			"limits: ok: " + up, reached, alone, "pipeline: failed: pipe:1: p4: the switch runs no pipeline"}},
		{"a key that is wrong", func(s *inventory.Switch) { s.ServicePPS = -1 }, nil, 0, []string{"config: failed: inventory: s1: service_pps: -1 is negative"}},
		{"not there", func(s *inventory.Switch) { s.Dial, s.ServicePPS = sim.NewPipe().Dial, 1 }, nil, 0, []string{
			"limits: ok: " + up, "reach: failed: pipe:1: p4: switch is unreachable: context deadline exceeded"}},
		{"over Thrift alone", func(s *inventory.Switch) {
			s.Actuator, s.Target, s.Dial, s.Thrift = inventory.Thrift, "pipe:2", s.DialThrift, ""
		}, nil, 0, []string{
			"reach: ok: pipe:2, up for 1m0s", "mastership: warning: Thrift has none: anyone who reaches the port sets the queues, and a guard cannot keep a hung agent out",
			"in force: warning: port 1: not known: Thrift cannot read depths; a BMv2 starts with 64", "in force: warning: port 2: not known: Thrift cannot read depths; a BMv2 starts with 64"}},
		{"over Thrift, not there", func(s *inventory.Switch) {
			s.Actuator, s.Target, s.Dial, s.Thrift = inventory.Thrift, "pipe:2", sim.NewPipe().Dial, ""
		}, nil, 0, []string{"reach: failed: bmv2: pipe:2: get_time_elapsed_us: p4: switch is unreachable: context deadline exceeded"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, sw := withThrift(t)
				c.edit(&sw)
				if c.limits == nil {
					c.limits = []p4.Limit{safe, usual}
				}
				began := time.Now()
				got := said(Examine(t.Context(), inventory.Inventory{sw}, c.limits, safe, c.probes))
				if !slices.Equal(got, c.want) {
					t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
				if took := time.Since(began); took > callTime {
					t.Errorf("it took %v", took)
				}
				if d := s.Depths(1); s.Writes() != 0 || s.Rate(1) != 0 || s.Cookie() != 0 || !slices.Equal(d, []p4.Limit{64, 64}) {
					t.Errorf("a check has set something: %d writes, rate %d, depths %v", s.Writes(), s.Rate(1), d)
				}
			})
		})
	}
}

// Depths and rates are set on every port of the switches that have the key thrift;
// what others are provisioned by is said.
func TestProvision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, a := withThrift(t)
		second, b := withThrift(t)
		_, other := withThrift(t)
		_, direct := withThrift(t)
		_, away := withThrift(t)
		a.ServicePPS, b.Queues = 1500, []p4.Limit{16, 128}
		other.Thrift = ""
		direct.Actuator, direct.Target, direct.Thrift = inventory.Thrift, "pipe:2", ""
		away.DialThrift = sim.NewPipe().Dial
		got, err := Provision(t.Context(), inventory.Inventory{a, b, other, direct, away}, 0)
		for _, want := range []string{
			"deploy: provision s3: it has no key thrift: its queues are provisioned by other means",
			"deploy: provision s4: actuator thrift sets the depths themselves: there is nothing to provision",
			"deploy: provision s5: bmv2: pipe:2: set_egress_priority_queue_depth: p4: switch is unreachable",
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
		for port := p4.Port(1); port <= 2; port++ {
			if d := first.Depths(port); !slices.Equal(d, []p4.Limit{32, 64}) || first.Rate(port) != 1500 {
				t.Errorf("s1 port %d: depths %v, rate %d", port, d, first.Rate(port))
			}
			if d := second.Depths(port); !slices.Equal(d, []p4.Limit{16, 128}) || second.Rate(port) != 0 {
				t.Errorf("s2 port %d: depths %v, rate %d", port, d, second.Rate(port))
			}
		}
		for i, p := range got {
			ok := i < 2
			if p.Switch != fmt.Sprint("s", i+1) || (p.Err == "") != ok || !ok && !strings.Contains(err.Error(), p.Err) || !slices.Equal(p.Ports, []p4.Port{1, 2}) {
				t.Errorf("%+v", p)
			}
		}
		// The first is up since before the other four were started, a minute each.
		if got[0].UpS != 300 || got[1].UpS != 240 || got[4].UpS != 0 || got[0].Rate != 1500 || got[1].Rate != 0 || !slices.Equal(got[1].Depths, b.Queues) {
			t.Errorf("%+v", got)
		}
	})
}

// A switch that is reached over Thrift gets its rate with its first limit, and
// again after a restart; where the rate is not known, none.
func TestRateOverThrift(t *testing.T) {
	for _, pps := range []int64{0, 700} {
		synctest.Test(t, func(t *testing.T) {
			s, sw := withThrift(t)
			sw.Actuator, sw.Target, sw.Dial, sw.Thrift, sw.ServicePPS = inventory.Thrift, "pipe:2", sw.DialThrift, "", pps
			g, err := OpenSwitches(inventory.Inventory{sw}, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			set := func(l p4.Limit, rate int64) {
				t.Helper()
				if err := g[0].SetLimit(t.Context(), 1, l); err != nil {
					t.Fatal(err)
				}
				if d := s.Depths(1); d[0] != l || s.Rate(1) != rate {
					t.Errorf("depths %v, rate %d; want %d and %d", d, s.Rate(1), l, rate)
				}
			}
			set(32, pps)
			s.SetRate(1, 5) // by another: it stays, the limit is not the first
			set(48, 5)
			s.Restart()
			_ = g[0].SetLimit(t.Context(), 1, 16) // the connection is cut
			time.Sleep(time.Second)
			set(64, pps)
		})
	}
}

// What switches say of themselves: who is primary, the limits, the packets that met
// them, and since when they are up.
func TestShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, sim.BMv2)
		s, sw := withThrift(t)
		_, direct := withThrift(t)
		direct.Actuator, direct.Target, direct.Thrift = inventory.Thrift, "pipe:2", ""
		r.inv[0].Ports = []p4.Port{1}
		r.open()
		r.mustSet(usual)
		meter := sw
		meter.Mode, meter.Rate = "meter", 900
		gone := sw
		gone.Dial, gone.DialThrift = sim.NewPipe().Dial, sim.NewPipe().Dial
		none := "none was set: the default holds"
		for _, c := range []struct {
			name string
			sw   inventory.Switch
			want Shown
		}{
			{"an agent's", r.inv[0], Shown{Primary: "0:65536", Ports: []ShownPort{{Port: 1, Limit: usual, Queue: 1, Packets: 0}}}},
			{"never used", sw, Shown{Primary: "none", UpS: 120}}, // and without a pipeline, which the ports say
			{"over Thrift", direct, Shown{Primary: "not known", Err: "actuator thrift: Thrift cannot read depths"}},
			{"not there", gone, Shown{Primary: "not known", Err: "pipe:1: p4: switch is unreachable: context deadline exceeded"}},
		} {
			got := Show(t.Context(), inventory.Inventory{c.sw}, safe)[0]
			if c.name == "never used" {
				for _, p := range got.Ports {
					if p.Limit != 0 || p.Queue != -1 || p.Packets != -1 || !strings.Contains(p.Err, "p4: the switch runs another pipeline") {
						t.Errorf("%s: %+v", c.name, p)
					}
				}
				got.Ports = nil
			}
			if c.want.Switch = "s1"; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
				t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
			}
		}
		// Queues by meters are no queues that a limit picks; a port without an entry has the default.
		g, err := OpenSwitches(inventory.Inventory{meter}, safe, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if err := g[0].SetLimit(t.Context(), 2, 40); err != nil {
			t.Fatal(err)
		}
		got := Show(t.Context(), inventory.Inventory{meter}, safe)[0].Ports
		if want := []ShownPort{{1, safe, -1, -1, none}, {2, 40, -1, 0, ""}}; !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if s.InForce(2) != 40 {
			t.Errorf("limit %d in force afterwards", s.InForce(2))
		}
	})
}
