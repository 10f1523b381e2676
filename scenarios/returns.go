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
	Curves   []Curve  `json:"curves,omitempty"`
}

// Curve is how an algorithm learns: what its greedy policy earns in episodes
// that training does not use, as training goes on.
type Curve struct {
	Algorithm string  `json:"algorithm"`
	Settings  string  `json:"settings"` // key=value, …
	Command   string  `json:"command"`  // that measured it
	Seeds     int     `json:"seeds"`    // trainings
	Points    []Point `json:"points"`   // in order of their transitions
}

// Point is one evaluation of every training of a Curve.
type Point struct {
	Transitions int     `json:"transitions"`
	Mean        float64 `json:"mean"` // over trainings
	CI          float64 `json:"ci95"` // half width of the 95 % interval over trainings; 0 of one
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
