package scenarios

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/planegym/planegym/internal/atomicfile"
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

// Keep makes r the entry of a scenario in a JSON file, beside those of others.
func (r Returns) Keep(file, name string) error {
	all := map[string]Returns{}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(text, &all); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	all[name] = r
	return atomicfile.Write(file, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(all)
	})
}
