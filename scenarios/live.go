package scenarios

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/telemetry"
)

// Live is real switches: which, and where their telemetry comes in.
type Live struct {
	live.Config
	Probes Probes `toml:"probes"` // where INT comes in
	Player Player `toml:"player"` // where the player's samples come in: http or log
	// GuardPatienceS is how long the guard of a killed agent tries to reach a
	// switch, in seconds of ours; 3600.
	GuardPatienceS float64             `toml:"guard_patience_s"`
	Switches       inventory.Inventory `toml:"switch"` // along the path, the first first
}

// Probes says where INT comes in. Zero values are the defaults in the comments.
type Probes struct {
	UDP      string `toml:"udp"`       // host:port that reports are sent to
	PacketIn bool   `toml:"packet_in"` // the switches send probes up to their controller
	// SendPerSecond is how many probes a second deploy and collect send
	// themselves, out of the first switch by packet out; 0: something else does.
	SendPerSecond float64 `toml:"send_per_second"`
	// Destination is the IPv4 address that those probes go to: the switches'
	// routes lead it along the path, on the last one to port 255, the controller.
	Destination string   `toml:"destination"` // "10.0.9.9"
	TickNS      int      `toml:"tick_ns"`     // unit of the reports' times; 1, programs for BMv2 mostly write 1000
	NoTimes     bool     `toml:"no_times"`    // the switches' clocks stand still: reports are put where they come in
	Switch      []uint32 `toml:"switch"`      // the ids that switches report under, in the order of the inventory; 1, 2, …
	From        []string `toml:"from"`        // addresses or prefixes that reports are taken from; all
	// Aggregation makes one value of the reports of a second;
	// "max-timedelta1", as published, for reports that cover the whole path.
	Aggregation telemetry.Aggregation `toml:"aggregation"`
}

// Player says where the player's samples come in: one of the two.
type Player struct {
	HTTP string `toml:"http"` // host:port that samples are POSTed to
	// Token is the secret that a POST carries; "": none is wanted. A web page
	// that Origins does not name needs it.
	Token   string   `toml:"token"`
	From    []string `toml:"from"`            // addresses or prefixes that may post; all
	Origins []string `toml:"origins"`         // pages, "https://host", that may post without a token; none
	Log     string   `toml:"log" path:"file"` // a DASH log that grows
	// NoStalls says that the player does not report stalls: an empty buffer counts as one.
	NoStalls bool `toml:"no_stalls"`
}

// ID is what switch i of the inventory reports under.
func (p Probes) ID(i int) uint32 {
	if len(p.Switch) > 0 {
		return p.Switch[i]
	}
	return uint32(i + 1)
}

func (l Live) check(c queues.Config) error {
	if err := l.Config.Check(); err != nil {
		return err
	}
	limits := c.Limits
	if limits == nil {
		limits = queues.DefaultLimits()
	}
	if !slices.Contains(limits, l.Safe) {
		return fmt.Errorf("scenarios: live.safe: %d is not one of env.limits %v", l.Safe, limits)
	}
	// Queues that are not provisioned yet are what `switches check` is for.
	if err := l.Switches.Check(limits, l.Safe); err != nil && !errors.Is(err, p4.ErrNotProvisioned) {
		return fmt.Errorf("scenarios: live: %w", err)
	}
	p := l.Probes
	switch {
	case p.UDP == "" && !slices.ContainsFunc(l.Switches, func(s inventory.Switch) bool { return s.Actuator != inventory.Thrift }):
		return fmt.Errorf("scenarios: live.probes: the switches are spoken to over Thrift alone, which hands no probes up: say where INT comes in by udp = \"host:port\"")
	case p.UDP == "" && !p.PacketIn:
		return fmt.Errorf("scenarios: live.probes: say where INT comes in: udp = \"host:port\" or packet_in = true")
	case !(l.GuardPatienceS >= 0 && l.GuardPatienceS <= 30*24*3600):
		return fmt.Errorf("scenarios: live.guard_patience_s: %v is outside 0…%d", l.GuardPatienceS, 30*24*3600)
	case !(p.SendPerSecond >= 0 && p.SendPerSecond <= 10000):
		return fmt.Errorf("scenarios: live.probes.send_per_second: %v is outside 0…10000", p.SendPerSecond)
	case l.Player.HTTP == "" && (len(l.Player.Origins)+len(l.Player.From) > 0 || l.Player.Token != ""):
		return fmt.Errorf("scenarios: live.player: token, from and origins are for http, which is not given")
	case p.TickNS < 0:
		return fmt.Errorf("scenarios: live.probes.tick_ns: %d is negative", p.TickNS)
	case len(p.Switch) > 0 && len(p.Switch) != len(l.Switches):
		return fmt.Errorf("scenarios: live.probes.switch: %d ids for %d switches", len(p.Switch), len(l.Switches))
	case (l.Player.HTTP == "") == (l.Player.Log == ""):
		return fmt.Errorf("scenarios: live.player: say where samples come in: http = \"host:port\", or log = \"FILE\"")
	}
	for _, f := range []struct {
		key  string
		list []string
	}{{"probes.from", p.From}, {"player.from", l.Player.From}} {
		for _, s := range f.list {
			if _, err := netip.ParsePrefix(s); err != nil {
				if _, err := netip.ParseAddr(s); err != nil {
					return fmt.Errorf("scenarios: live.%s: %q is neither an address nor a prefix like 10.0.0.0/24", f.key, s)
				}
			}
		}
	}
	for _, a := range []struct{ key, addr string }{{"probes.udp", p.UDP}, {"player.http", l.Player.HTTP}} {
		if _, _, err := net.SplitHostPort(a.addr); a.addr != "" && err != nil {
			return fmt.Errorf("scenarios: live.%s: %q is not host:port", a.key, a.addr)
		}
	}
	return nil
}

// Warnings tells what is allowed but often a mistake.
func (l Live) Warnings() []string {
	var w []string
	open := func(addr string) bool {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || host == "localhost" {
			return false
		}
		ip := net.ParseIP(host)
		return ip == nil || !ip.IsLoopback()
	}
	if open(l.Probes.UDP) && l.Probes.From == nil {
		w = append(w, fmt.Sprintf("live.probes.udp: anyone who reaches %s can feed reports to the policy: list the switches' addresses in live.probes.from", l.Probes.UDP))
	}
	if open(l.Player.HTTP) && l.Player.From == nil && l.Player.Token == "" {
		w = append(w, fmt.Sprintf("live.player.http: anyone who reaches %s can feed samples to the policy: set live.player.token, or list the player's address in live.player.from", l.Player.HTTP))
	}
	return w
}
