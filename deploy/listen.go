package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/planegym/planegym/scenarios"
	collect "github.com/planegym/planegym/telemetry/live"
)

// Listen takes telemetry of a scenario for a while and says what came of whom.
// Packets in go to the primary alone, which this is not.
func Listen(ctx context.Context, s scenarios.Scenario, d time.Duration) ([]Finding, error) {
	c, err := openTelemetry(s.Live, nil, nil)
	if err != nil {
		return nil, err
	}
	n := max(1, int(d/c.second))
	width := len(c.Columns())
	values, valid := make([]float32, n*width), make([]bool, n*width)
	ages, err := c.Collector.Window(ctx, time.Now(), values, valid) // a fault of a clock is one of the findings
	st := c.Stats()
	if err := errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	var found []Finding
	tell := func(who string, age, offset time.Duration, fault, mend string) {
		f := Finding{Switch: who, Check: "telemetry", Level: OK, Says: fmt.Sprintf("newest %v old, clock %+v from ours", age.Round(time.Millisecond), -offset.Round(time.Millisecond))}
		if fault != "" {
			f.Level, f.Says = Failed, fault
		}
		if age == collect.Never {
			f.Level, f.Says, f.Mend = Failed, fmt.Sprintf("nothing came within %v", d), []string{mend}
		}
		found = append(found, f)
	}
	if s.Live.Probes.UDP == "" {
		found = append(found, Finding{Switch: "all", Check: "telemetry", Level: Warning, Says: "probes come as packets in, which only a primary gets: deploy --dry-run listens to them"})
	} else {
		for i, sw := range s.Live.Switches.Names() {
			tell(sw, ages.Switches[i], st.Clocks[i], c.ClockFault(i), fmt.Sprintf("do its reports go to %s, under switch id %d? %d packets came, %d malformed, %d hops of unknown switches", s.Live.Probes.UDP, s.Live.Probes.ID(i), st.Packets, st.Malformed, st.Unknown))
		}
	}
	tell("player", ages.Player, st.PlayerClock, "", fmt.Sprintf("does the player's page post to http://%s, or is the log %q written? %d samples could not be read; %s", s.Live.Player.HTTP, s.Live.Player.Log, st.BadSamples, st.LastError))
	return found, nil
}
