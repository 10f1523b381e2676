package report

import (
	"fmt"
	"os"

	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/scalars"
)

// AgentFiles are the sections about agents, each a folder that train wrote or recorded
// episodes. done is called after each.
func AgentFiles(agents []File, done func() error) ([]Section, error) {
	var trained []Trained
	var played []*Played
	for _, a := range agents {
		st, err := os.Stat(a.Path)
		if err != nil {
			return nil, err
		}
		if st.IsDir() {
			t := Trained{Name: a.Name}
			if t.Steps, t.Columns, err = scalars.Read(a.Path); err != nil {
				return nil, err
			}
			trained = append(trained, t)
		} else {
			p := NewPlayed(a.Name)
			if err := episodes.Read(a.Path, p.Add); err != nil {
				return nil, err
			}
			played = append(played, p)
		}
		if err := done(); err != nil {
			return nil, err
		}
	}
	return Agents(trained, played)
}

// ComparisonFile is the sections of what compare --json wrote.
func ComparisonFile(file string) ([]Section, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := eval.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return Comparison(c)
}
