package inventory

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// Election ids are ordered as 128-bit numbers.
func TestElectionCompare(t *testing.T) {
	ascending := []Election{{}, {Low: 1}, {Low: 2}, {Low: math.MaxUint64}, {High: 1}, {High: 1, Low: 1}, {High: 2}, {High: math.MaxUint64, Low: math.MaxUint64}}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v against %v: %d, want %d", a, b, got, want)
			}
		}
	}
}

// The defaults are those of the fields' comments; what is set stays.
func TestSwitchDefaults(t *testing.T) {
	want := Switch{
		Actuator: "p4runtime", Mode: "queue", Election: Election{Low: 65536}, Push: []string{"verify-and-commit"},
		Timeout: time.Second, Backoff: [2]time.Duration{50 * time.Millisecond, 500 * time.Millisecond},
	}
	if got := (Switch{}).WithDefaults(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for name, s := range map[string]Switch{
		"full": {
			Name: "a", Actuator: Thrift, Target: "h:1", DeviceID: 3, Election: Election{High: 1}, Mode: program.Meter, Rate: 5, Safe: 7,
			Push: []string{"reconcile-and-commit"}, Timeout: 2, Backoff: [2]time.Duration{3, 4},
		},
		"never pushed": {
			Actuator: P4Runtime, Election: Election{Low: 1}, Mode: program.Queue, Push: []string{}, Timeout: 1, Backoff: [2]time.Duration{0, 1},
		},
	} {
		if got := s.WithDefaults(); !reflect.DeepEqual(got, s) {
			t.Errorf("%s: %+v, want %+v", name, got, s)
		}
	}
}

// Both sides of each bound, and the key that the error names.
func TestSwitchCheck(t *testing.T) {
	route := program.Entry{Table: program.Routes, Match: map[string]string{"h.ipv4.dst": "10.0.0.0/24"}, Action: "I.drop"}
	for _, c := range []struct {
		edit func(s *Switch)
		want string
	}{
		{func(s *Switch) {}, ""},
		{func(s *Switch) { s.Target = "sw1" }, `target: "sw1" is not host:port`},
		{func(s *Switch) { s.Timeout = 1 }, ""},
		{func(s *Switch) { s.Timeout = -1 }, "timeout: -1ns is negative"},
		{func(s *Switch) { s.Backoff = [2]time.Duration{1, 1} }, ""},
		{func(s *Switch) { s.Backoff = [2]time.Duration{2, 3} }, ""},
		{func(s *Switch) { s.Backoff = [2]time.Duration{0, 1} }, "backoff: [0s 1ns] is not two ascending waits"},
		{func(s *Switch) { s.Backoff = [2]time.Duration{-1, 1} }, "backoff: [-1ns 1ns] is not two ascending waits"},
		{func(s *Switch) { s.Backoff = [2]time.Duration{2, 1} }, "backoff: [2ns 1ns] is not two ascending waits"},
		{func(s *Switch) { s.Queues = []p4.Limit{1, 2, 3, 4, 5, 6, 7, 8} }, ""},
		{func(s *Switch) { s.Queues = []p4.Limit{1, 2, 3, 4, 5, 6, 7, 8, 9} }, "queues: 9 are more than 8"},
		{func(s *Switch) { s.Queues = nil }, "queues: queue mode needs the depths that queues were provisioned with"},
		{func(s *Switch) { s.Queues = []p4.Limit{64} }, ""},
		{func(s *Switch) { s.Queues = []p4.Limit{64, 0} }, "queues: p4: limit 0 is outside 1…524287 packets"},
		{func(s *Switch) { s.Queues = []p4.Limit{64, 32, 64} }, "queues: duplicate 64"},
		{func(s *Switch) { s.Mode, s.Queues, s.Rate = program.Meter, nil, 1 }, ""},
		{func(s *Switch) { s.Mode, s.Rate = program.Meter, 0 }, "rate: meter mode needs the packets/s that the port serves, not 0"},
		{func(s *Switch) { s.Mode, s.Rate = program.Meter, 2 }, ""},
		{func(s *Switch) { s.Mode = "egress" }, `mode: p4/program: mode: "egress" is not one of "queue", "meter"`},
		{func(s *Switch) { s.ServicePPS = 1 }, ""},
		{func(s *Switch) { s.ServicePPS = -1 }, "service_pps: -1 is negative"},
		{func(s *Switch) { s.Safe = 32 }, ""},
		{func(s *Switch) { s.Safe = 1 }, "safe: p4: no queue is provisioned for the limit 1: there are [64 32]"},
		{func(s *Switch) { s.Safe = 48 }, "safe: p4: no queue is provisioned for the limit 48: there are [64 32]"},
		{func(s *Switch) { s.Mode, s.Rate, s.Safe = program.Meter, 1, 48 }, ""},
		{func(s *Switch) { s.Ports = []p4.Port{0, 511} }, ""},
		{func(s *Switch) { s.Ports = []p4.Port{1, 512} }, "ports: 512 has more than 9 bits"},
		{func(s *Switch) { s.Entries = []program.Entry{route} }, ""},
		{func(s *Switch) { s.Entries = []program.Entry{route, {Table: "x"}} }, `entries[1]: the program has no table "x"`},
		{func(s *Switch) { s.Push = []string{"reconcile-and-commit", "verify-and-commit"} }, ""},
		{func(s *Switch) { s.Push = []string{"verify-and-commit", "commit"} }, `push: "commit" is not one of "verify-and-commit", "reconcile-and-commit"`},
		{func(s *Switch) { s.Thrift = "h:9090" }, ""},
		{func(s *Switch) { s.Thrift = "h" }, `thrift: "h" is not host:port`},
		{func(s *Switch) { s.TLS = &TLS{} }, ""},
		{func(s *Switch) { s.TLS = &TLS{Cert: "c", Key: "k"} }, ""},
		{func(s *Switch) { s.TLS = &TLS{Cert: "c"} }, `tls: cert and key go together: cert "c", key ""`},
		{func(s *Switch) { s.TLS = &TLS{Key: "k"} }, `tls: cert and key go together: cert "", key "k"`},
	} {
		s := Switch{Target: "h:1", Queues: []p4.Limit{64, 32}}
		c.edit(&s)
		if err := s.Check(); c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	const (
		device = "device_id is 0: BMv2 accepts it, the specification's targets number from 1"
		tls    = "tls is off: anyone who reaches the port can set the queues"
		first  = "queues[0] is 64, the safe limit 32: a restarted switch begins with queue 0"
	)
	for _, c := range []struct {
		s    Switch
		want []string
	}{
		{Switch{}, []string{device, tls}},
		{Switch{DeviceID: 1, TLS: &TLS{}}, nil},
		{Switch{DeviceID: 1}, []string{tls}},
		{Switch{TLS: &TLS{}}, []string{device}},
		{Switch{DeviceID: 1, TLS: &TLS{}, Queues: []p4.Limit{64, 32}}, nil},
		{Switch{DeviceID: 1, TLS: &TLS{}, Safe: 32}, nil},
		{Switch{DeviceID: 1, TLS: &TLS{}, Queues: []p4.Limit{32}, Safe: 32}, nil},
		{Switch{DeviceID: 1, TLS: &TLS{}, Queues: []p4.Limit{64}, Safe: 1}, []string{strings.Replace(first, "limit 32", "limit 1", 1)}},
		{Switch{DeviceID: 1, TLS: &TLS{}, Queues: []p4.Limit{64, 32}, Safe: 32}, []string{first}},
	} {
		if got := c.s.Warnings(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.s, got, c.want)
		}
	}
}

// An inventory's defaults are a copy's, and an inventory's lists follow the
// order of its switches and their ports.
func TestInventoryLists(t *testing.T) {
	inv := Inventory{
		{Target: "a:1", Ports: []p4.Port{4, 2}},
		{Name: "edge", Actuator: Thrift, Target: "b:1", Ports: []p4.Port{1}, Safe: 8},
		{Target: "a:2"},
	}
	before := fmt.Sprint(inv)
	full := inv.WithDefaults(32)
	if fmt.Sprint(inv) != before {
		t.Errorf("its defaults changed the inventory: %+v", inv)
	}
	var got []string
	for _, s := range full {
		got = append(got, fmt.Sprint(s.Name, " ", s.Actuator, " ", s.Safe))
	}
	if want := []string{"s1 p4runtime 32", "edge thrift 8", "s3 p4runtime 32"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if none := inv.WithDefaults(0); none[0].Safe != 0 || none[1].Safe != 8 {
		t.Errorf("without a safe limit: %d, %d", none[0].Safe, none[1].Safe)
	}
	if got, want := inv.Names(), []string{"s1", "edge", "s3"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if got, want := inv.Queues(), []p4.Queue{{Switch: 0, Port: 4}, {Switch: 0, Port: 2}, {Switch: 1, Port: 1}}; !slices.Equal(got, want) {
		t.Errorf("queues %v, want %v", got, want)
	}
	for i, want := range []int{0, 0, 1} {
		if got := inv.OnHost(i); got != want {
			t.Errorf("%d switches before switch %d are on its host, want %d", got, i+1, want)
		}
	}
	odd := Inventory{{Target: "a"}, {Target: "b:1"}, {Target: "c"}} // hosts that are not known may be one
	for i, want := range []int{0, 1, 2} {
		if got := odd.OnHost(i); got != want {
			t.Errorf("without ports: %d switches before switch %d, want %d", got, i+1, want)
		}
	}
}

func TestUnprovisionedAndWanted(t *testing.T) {
	for _, c := range []struct {
		s                   Switch
		limits              []p4.Limit
		unprovisioned, want []p4.Limit
	}{
		{Switch{Queues: []p4.Limit{32, 64}}, []p4.Limit{64, 32}, nil, []p4.Limit{64, 32}},
		{Switch{Queues: []p4.Limit{32, 64}, Safe: 32}, []p4.Limit{64, 16, 32, 8}, []p4.Limit{16, 8}, []p4.Limit{32, 64, 16, 8}},
		{Switch{Safe: 1}, []p4.Limit{64, 64}, []p4.Limit{64, 64}, []p4.Limit{1, 64}},
		{Switch{Mode: program.Meter}, []p4.Limit{64}, nil, []p4.Limit{64}},
		{Switch{}, nil, nil, nil},
	} {
		if got := c.s.Unprovisioned(c.limits); !slices.Equal(got, c.unprovisioned) {
			t.Errorf("%+v %v: unprovisioned %v, want %v", c.s, c.limits, got, c.unprovisioned)
		}
		if got := c.s.Wanted(c.limits); !slices.Equal(got, c.want) {
			t.Errorf("%+v %v: wanted %v, want %v", c.s, c.limits, got, c.want)
		}
	}
	for limits, want := range map[string]string{"": "[]", "1": "[1]", "1 20 3": "[1, 20, 3]"} {
		var l []p4.Limit
		for f := range strings.FieldsSeq(limits) {
			var x p4.Limit
			if _, err := fmt.Sscan(f, &x); err != nil {
				t.Fatal(err)
			}
			l = append(l, x)
		}
		if got := List(l); got != want {
			t.Errorf("%v is written %s, want %s", l, got, want)
		}
	}
}

// The instructions, whole: of a switch whose Thrift port is not known, of one
// with a port of its own, and of one whose target is a name alone.
func TestProvisionText(t *testing.T) {
	for _, c := range []struct {
		s      Switch
		i      int
		limits []p4.Limit
		want   []string
	}{
		{
			Switch{Target: "10.0.0.7:50051", DeviceID: 4, Ports: []p4.Port{3}, ServicePPS: 1, Safe: 8},
			2, []p4.Limit{64, 8, 32},
			[]string{
				"start it with: simple_switch_grpc --no-p4 --device-id 4 -i PORT@INTERFACE … --thrift-port 9092 -- --grpc-server-addr 10.0.0.7:50051 --priority-queues 3 --cpu-port 255",
				"in the scenario: queues = [8, 64, 32]",
				`in the scenario: thrift = "10.0.0.7:9092" and service_pps, and planegym provisions it; or after every start of the switch, whose --thrift-port is taken for 9092 here:`,
				"echo set_queue_depth 8 3 0 | simple_switch_CLI --thrift-ip 10.0.0.7 --thrift-port 9092",
				"echo set_queue_depth 64 3 1 | simple_switch_CLI --thrift-ip 10.0.0.7 --thrift-port 9092",
				"echo set_queue_depth 32 3 2 | simple_switch_CLI --thrift-ip 10.0.0.7 --thrift-port 9092",
				"echo set_queue_rate 1 3 | simple_switch_CLI --thrift-ip 10.0.0.7 --thrift-port 9092",
				"a BMv2 before 1.15.1 counts these queues from the other end (p4lang/behavioral-model#1264): there queue q of 3 is 2-q",
			},
		},
		{
			Switch{Target: "sw", Ports: []p4.Port{1, 2}},
			0, []p4.Limit{16},
			[]string{
				"start it with: simple_switch_grpc --no-p4 --device-id 0 -i PORT@INTERFACE … --thrift-port 9090 -- --grpc-server-addr sw --priority-queues 2 --cpu-port 255",
				"in the scenario: queues = [16]",
				`in the scenario: thrift = "127.0.0.1:9090" and service_pps, and planegym provisions it; or after every start of the switch, whose --thrift-port is taken for 9090 here:`,
				"echo set_queue_depth 16 1 0 | simple_switch_CLI --thrift-ip 127.0.0.1 --thrift-port 9090",
				"echo set_queue_rate PACKETS_PER_SECOND 1 | simple_switch_CLI --thrift-ip 127.0.0.1 --thrift-port 9090",
				"echo set_queue_depth 16 2 0 | simple_switch_CLI --thrift-ip 127.0.0.1 --thrift-port 9090",
				"echo set_queue_rate PACKETS_PER_SECOND 2 | simple_switch_CLI --thrift-ip 127.0.0.1 --thrift-port 9090",
				"a BMv2 before 1.15.1 counts these queues from the other end (p4lang/behavioral-model#1264): there queue q of 2 is 1-q",
			},
		},
		{
			Switch{Target: "10.0.0.7:50051", Thrift: "10.0.0.8:9999", Ports: []p4.Port{1}, ServicePPS: 1000},
			5, []p4.Limit{16, 8},
			[]string{
				"start it with: simple_switch_grpc --no-p4 --device-id 0 -i PORT@INTERFACE … --thrift-port 9999 -- --grpc-server-addr 10.0.0.7:50051 --priority-queues 2 --cpu-port 255",
				"in the scenario: queues = [16, 8]",
				"then: planegym switches provision --scenario FILE; deploy does it, too",
			},
		},
	} {
		if got := c.s.Provision(c.i, c.limits); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.s.Target, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// 3 % below what is left of the port beside the probes, and never below 0.
func TestMeterRateBounds(t *testing.T) {
	for _, c := range []struct {
		service int64
		bypass  float64
		want    int64
	}{{1000, 0, 970}, {1000, 100, 873}, {100, 100, 0}, {100, 200, 0}, {2, 0, 1}, {1, 0, 0}} {
		if got := MeterRate(c.service, c.bypass); got != c.want {
			t.Errorf("service %d, bypass %v: %d, want %d", c.service, c.bypass, got, c.want)
		}
	}
}
