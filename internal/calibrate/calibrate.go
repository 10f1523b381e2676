// Package calibrate searches the loads and rates under which the emulated testbed
// measures what was recorded, by a (1+1) evolution strategy.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/p4"
)

// Search is a search against recorded rows.
type Search struct {
	Tries   int
	Seconds int    // of a recording
	Seed    uint64 // of the search and of every emulation
	Done    func() // after each try; may be nil

	limits []int
	real   map[int]selection.Table
}

// ErrNoRecordings is the error of a folder without real_LIMIT.csv.
var ErrNoRecordings = errors.New("holds no real_LIMIT.csv")

// Open reads the published rows, real_LIMIT.csv in dir.
func (s *Search) Open(dir string) error {
	s.real = map[int]selection.Table{}
	names, err := filepath.Glob(filepath.Join(dir, "real_*.csv"))
	if err != nil {
		return err
	}
	for _, name := range names {
		var limit int
		if _, err := fmt.Sscanf(filepath.Base(name), "real_%d.csv", &limit); err != nil || p4.Limit(limit).Check() != nil {
			continue
		}
		t, err := selection.ReadFile(name)
		if err != nil {
			return err
		}
		s.limits, s.real[limit] = append(s.limits, limit), t
	}
	if len(s.limits) == 0 {
		return fmt.Errorf("%s %w", dir, ErrNoRecordings)
	}
	slices.Sort(s.limits)
	return nil
}

// CanVary reports a configuration that the search cannot begin from, with the default
// ports and loads filled in.
func CanVary(c testbed.Config) (testbed.Config, error) {
	if c.Ports == nil {
		c.Ports = testbed.DefaultPorts()
	}
	if c.Loads == nil {
		c.Loads = testbed.DefaultLoads()
	}
	if len(c.Loads) == 0 || c.Loads[0].Kind != "tcp" || c.Ports[0].Switch != 1 {
		return c, errors.New("the first port must be switch 1's and the first load TCP's")
	}
	return c, nil
}

// Result is the best configuration of a search.
type Result struct {
	Config testbed.Config
	Before float64 // loss before the search
	Fit    Fit
}

// Run searches from a configuration of CanVary. Where ctx ends, the best so far is the
// result.
func (s *Search) Run(ctx context.Context, begin testbed.Config) (*Result, error) {
	best := begin
	at, err := s.compare(ctx, best)
	if err != nil {
		return nil, err
	}
	first := at.Loss
	width := .5
	for k := range s.Tries {
		if ctx.Err() != nil {
			break
		}
		next := s.vary(best, k, width)
		if next.Check() != nil { // such as a load of more slots than there are
			continue
		}
		got, err := s.compare(ctx, next)
		if err != nil {
			return nil, err
		}
		if got.Loss < at.Loss {
			best, at, width = next, got, min(1.5*width, 1)
		} else {
			width = max(.9*width, .02)
		}
		if s.Done != nil {
			s.Done()
		}
	}
	return &Result{best, first, at}, nil
}

// Found are the parameters of the best configuration by their keys in a scenario.
func (r *Result) Found() map[string]float64 {
	found := map[string]float64{}
	for _, k := range knobs {
		if x := k.at(&r.Config); x != nil {
			found[k.name] = *x[0]
		}
	}
	return found
}

// Fit is how near a configuration comes to the recordings.
type Fit struct {
	Loss     float64   `json:"loss"`
	Features []Feature `json:"features"`
	Removed  []Removed `json:"removed"`
}

// Feature is the distance of one column.
type Feature struct {
	Limit int     `json:"limit"`
	Name  string  `json:"name"`
	KS    float64 `json:"KS"`
	ACF   float64 `json:"acf_error"`
}

// Removed is what the published preprocessing leaves out of an hour, as a share, and
// how the buffer moves in what it keeps.
type Removed struct {
	Limit     int     `json:"limit"`
	Recorded  float64 `json:"recorded"`
	Emulated  float64 `json:"emulated"`
	LBOFalls  float64 `json:"lbo_falls_1s"` // share of seconds in which the buffer fell by a second
	LBOArrive float64 `json:"lbo_rises_3s"` // a segment came: rose by three
}
