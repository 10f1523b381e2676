package cli

import (
	"fmt"
	"os"

	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/traffic/inloop"
	"github.com/planegym/planegym/traffic/store"
)

// loads is the sections of traffic.
func (r *reporter) loads() (sections []report.Section, err error) {
	if r.traffic != "" {
		text, err := os.ReadFile(r.traffic)
		if err != nil {
			return nil, fmt.Errorf("report: --traffic: %w", err)
		}
		e, err := inloop.Decode(text)
		if err != nil {
			return nil, fmt.Errorf("report: --traffic: %s: %w", r.traffic, err)
		}
		if sections, err = report.Traffic(e); err != nil {
			return nil, err
		}
	}
	var sets []report.SessionSet
	for _, s := range r.sessions {
		name, path, err := nameAndFile("--sessions", "FILE", s)
		if err != nil {
			return nil, err
		}
		set, err := store.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("report: --sessions: %w", err)
		}
		sets = append(sets, report.SessionSet{Name: name, Set: set})
	}
	if len(sets) == 0 {
		return sections, nil
	}
	more, err := report.Sessions(sets)
	return append(sections, more...), err
}
