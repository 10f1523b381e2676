package scenarios

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// Returns are what policies earn in episodes of a scenario.
type Returns struct {
	Measured string   `json:"measured"` // the command
	Policies []Return `json:"policies"` // best first
}

// Return is what one policy earns in an episode.
type Return struct {
	Policy   string  `json:"policy"`
	Mean     float64 `json:"mean"`
	CI       float64 `json:"ci95"` // half width of the 95 % interval over episodes
	Episodes int     `json:"episodes"`
}

//go:embed bundled/returns.json
var returns []byte

// MeasuredReturns are the returns in the bundled scenarios, by name.
func MeasuredReturns() (map[string]Returns, error) {
	var all map[string]Returns
	if err := json.Unmarshal(returns, &all); err != nil {
		return nil, fmt.Errorf("scenarios: bundled/returns.json: %w", err)
	}
	return all, nil
}
