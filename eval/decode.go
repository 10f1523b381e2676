package eval

import (
	"encoding/json"
	"fmt"
	"math"
)

// Decode reads what Result is as JSON. Errors say what was expected where.
func Decode(text []byte) (*Result, error) {
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("compare: expected what compare --json writes: %w", err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("compare: format %q, expected %q: what compare --json writes", r.Format, Format)
	}
	if len(r.Policies) == 0 {
		return nil, fmt.Errorf("compare: policies: there are none")
	}
	player := r.Policies[0].A.LBO != nil && r.Policies[0].B.LBO != nil
	for _, p := range r.Policies {
		if len(p.Drift) != len(r.Columns) {
			return nil, fmt.Errorf("compare: %s: drift of %d columns, expected %d", p.Policy, len(p.Drift), len(r.Columns))
		}
		if player && !(p.A.hasPlayer() && p.B.hasPlayer()) {
			return nil, fmt.Errorf("compare: %s: expected lbo_s, level and stall_s, as %s has lbo_s", p.Policy, r.Policies[0].Policy)
		}
		if p.A.Reward.none() || p.B.Reward.none() {
			return nil, fmt.Errorf("compare: %s: reward: there is no mean", p.Policy)
		}
	}
	if r.Recordings != nil {
		for _, e := range r.Recordings.Policies {
			if e.FQE.none() || e.DR.none() {
				return nil, fmt.Errorf("compare: recordings: %s: there is no estimate", e.Policy)
			}
		}
	}
	return &r, nil
}

// hasPlayer reports whether v has a player's measurements.
func (v *Value) hasPlayer() bool { return v.LBO != nil && v.Level != nil && v.Stall != nil }

func (m Mean) none() bool { return math.IsNaN(float64(m.Mean)) }
