package scenarios_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

const liveTOML = `plant = 'live'
[env]
limits = [32, 64]
[live]
safe = 32
max_stall_s = 6
time_scale = 100
[live.probes]
udp = ':32766'
tick_ns = 1000
[live.player]
http = ':8087'
[[live.switch]]
name = 'edge'
target = '10.0.0.1:9559'
device_id = 1
ports = [1]
queues = [32, 64]
timeout = '2s'
election = {low = 7}
tls = {ca = '', name = 'edge'}
[[live.switch.entries]]
table = 'I.ipv4_lpm'
match = {'h.ipv4.dst' = '10.0.1.0/24'}
action = 'I.forward'
params = {dmac = '00:00:0a:00:01:01', port = '1'}
[[live.switch]]
actuator = 'thrift'
target = '10.0.0.2:9090'
ports = [1, 2]
`

func TestLive(t *testing.T) {
	s, err := scenarios.Parse([]byte(liveTOML))
	if err != nil {
		t.Fatal(err)
	}
	l := s.Live
	if l.Safe != 32 || l.TimeScale != 100 || l.Probes.TickNS != 1000 || len(l.Switches) != 2 || l.Switches[0].Name != "edge" ||
		l.Switches[0].Timeout != 2e9 || l.Switches[0].Election.Low != 7 || l.Switches[0].TLS.Name != "edge" || l.Switches[1].Ports[1] != p4.Port(2) {
		t.Errorf("%+v", l)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"safe = 32", "", "env: live: safe"},
		{"safe = 32", "safe = 16", "live.safe: 16 is not one of env.limits [32 64]"},
		{"udp = ':32766'", "", "live.probes: say where INT comes in"},
		{"udp = ':32766'", "udp = 'x'", `live.probes.udp: "x" is not host:port`},
		{"http = ':8087'", "", "live.player: say where samples come in"},
		{"tick_ns = 1000", "switch = [1]", "live.probes.switch: 1 ids for 2 switches"},
		{"h.ipv4.dst", "h.ipv4.src", "edge"},
		{"device_id = 1", "device_id = 1\npassword = 'x'", `unknown key "live.switch.password"`},
		{"ports = [1, 2]", "", "s2: ports"},
		// Nothing can be set to 64 yet; `switches check` says what to do.
		{"queues = [32, 64]", "queues = [32]", ""},
	} {
		_, err := scenarios.Parse([]byte(strings.Replace(liveTOML, c.from, c.to, 1)))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q for %q: %v, want it to say %q", c.to, c.from, err, c.want)
		}
	}
}
