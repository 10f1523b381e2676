package record

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/telemetry"
)

// card is what CARD.md says.
type card struct {
	files  []string // path, bytes and hash of each
	stats  []columnStats
	reward []float64 // per step, by session
	limits []string  // by session
	probes int
}

type columnStats struct {
	field          telemetry.Field
	n, missing     int
	sum, low, high float64
}

// count takes a session into the card.
func (r *recorder) count(l *testbed.Log) {
	r.card.probes += len(l.Probes)
	f := len(r.card.stats)
	for i, x := range l.Values {
		c := &r.card.stats[i%f]
		v := float64(x)
		switch {
		case !l.Valid[i]:
			c.missing++
			continue
		case c.n == 0:
			c.low, c.high = v, v
		}
		c.n++
		c.sum, c.low, c.high = c.sum+v, min(c.low, v), max(c.high, v)
	}
	limit := "changes"
	if n := l.Limit(); n > 0 {
		limit = fmt.Sprint(n)
	}
	r.card.limits = append(r.card.limits, limit)
}

func (r *recorder) writeCard(w io.Writer) error {
	c := &r.card
	var b strings.Builder
	how := map[string]string{
		"fixed":      "one limit a session, in turn",
		"random":     "a limit drawn at every step",
		"switchback": fmt.Sprintf("a limit drawn for every block of %d s", r.Block),
		"mixed":      fmt.Sprintf("another limit for every block, of %d to %d s; every %d s another length, and whether two limits take turns", r.Scenario.Env.StepSeconds, longestBlock, 2*longestBlock),
		"reactive":   fmt.Sprintf("for %d s blocks as in mixed, for the next %[1]d s two rules of %d s, in turn: one limit where the buffer, the level or a queue is below a threshold, another above it, drawn limits in a fifth of the steps", 2*longestBlock, longestBlock),
		"policy":     "what " + r.Policy + " chose",
	}[r.Schedule]
	fmt.Fprintf(&b, `# Recordings of an emulated testbed

Emulated, not measured: packets, queues, TCP and the player are those of
planegym's testbed (env/plant/testbed/DESIGN.md says what is modelled and how it
was checked). Made by

    planegym testbed record --scenario %s --schedule %s --sessions %d --seconds %d --seed %d --start %s%s%s%s -o DIR

The same command with the same version makes the same bytes.

| | |
|---|---|
| scenario | %s: %s |
| limits | %v packets, every %d s |
| schedule | %s: %s |
| sessions | %d of %d s, the first at %s, one after another |
| probes | %d |

| session | seed | limit | reward a step |
|---|---|---|---|
`, r.Name, r.Schedule, r.Sessions, r.Seconds, r.Seed, r.Start,
		map[bool]string{true: fmt.Sprintf(" --block-s %d", r.Block)}[r.Schedule == "switchback"],
		map[bool]string{true: " --policy " + r.Policy}[r.Schedule == "policy"],
		map[bool]string{true: fmt.Sprintf(" --branch-s %d --every-s %d", r.Branch, r.Every)}[r.Branch > 0],
		r.Scenario.Name, r.Scenario.Description, r.Scenario.Env.Limits, r.Scenario.Env.StepSeconds, r.Schedule, how, r.Sessions, r.Seconds, r.began.Format(time.RFC3339), c.probes)
	for i, x := range c.reward {
		fmt.Fprintf(&b, "| %03d | %d | %s | %.3f |\n", i, r.Seed+uint64(i), c.limits[i], x)
	}
	probes := "those of the second's probe that\nwaited longest at switch 1, as in the published data"
	if r.Scenario.Testbed.Probe.Aggregate == string(telemetry.Mean) {
		probes = "the means over\nthe second's probes (probe.aggregate)"
	}
	b.WriteString("\nA row is a second. The probes' columns are " + probes + "; the player's are taken at\nthe second's end.\n\n| column | unit | missing | mean | lowest | highest |\n|---|---|---|---|---|---|\n")
	for _, s := range c.stats {
		fmt.Fprintf(&b, "| %s | %s | %.1f %% | %.4g | %.4g | %.4g |\n", s.field.Name, s.field.Unit, 100*float64(s.missing)/float64(s.n+s.missing), s.sum/float64(max(s.n, 1)), s.low, s.high)
	}
	b.WriteString("\n| file | bytes | SHA-256 |\n|---|---|---|\n" + strings.Join(slices.Clone(c.files), "\n") + "\n")
	fmt.Fprintf(&b, "\nThe scenario:\n\n```toml\n%s\n```\n", strings.TrimSpace(string(r.Source)))
	_, err := io.WriteString(w, b.String())
	return err
}
