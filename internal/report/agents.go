package report

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"

	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
)

// Trained is the log of an agent's training.
type Trained struct {
	Name    string
	Steps   []float64            // transitions
	Columns map[string][]float64 // by name, NaN where not known
}

// Played is what an agent did: recorded episodes, gathered by Add.
type Played struct {
	Name   string
	spaces episodes.Spaces
	n      int         // episodes
	sum    []float64   // returns [n]
	length []float64   // [n]
	reward []tally     // by step
	action [][][]tally // [switch][action] by step: taken or not
	at     []observed  // by step and episode
	lbo    int         // elements of an observation, -1: there is none
	level  int
	depth  []int
}

// tally adds up.
type tally struct{ sum, n float64 }

func (t *tally) add(x float64) { t.sum, t.n = t.sum+x, t.n+1 }

// mean is NaN of nothing.
func (t tally) mean() float64 { return t.sum / t.n }

// observed is what a state tells, and what was done in it.
type observed struct {
	lbo, level, depth float64
	action            []int32
}

// NewPlayed begins an agent's.
func NewPlayed(name string) *Played { return &Played{Name: name, lbo: -1, level: -1} }

// Add takes an episode, of the spaces of the first.
func (p *Played) Add(s episodes.Spaces, e *episodes.Episode) error {
	if p.n == 0 {
		p.spaces = s
		for i, f := range s.Elements {
			switch f.Name {
			case "lbo_s":
				p.lbo = i
			case "level":
				p.level = i
			}
			if n := len(p.depth); f.Name == fmt.Sprintf("enq_qdepth%d_mean", n+1) {
				p.depth = append(p.depth, i)
			}
		}
		for _, n := range s.Actions {
			p.action = append(p.action, make([][]tally, n))
		}
	} else if !slices.Equal(s.Elements, p.spaces.Elements) || !slices.Equal(s.Actions, p.spaces.Actions) || !slices.Equal(s.Limits, p.spaces.Limits) {
		return fmt.Errorf("report: %s: episodes of different spaces", p.Name)
	}
	p.n++
	d, k := len(s.Elements), len(s.Actions)
	var sum float64
	for t, r := range e.Reward {
		sum += float64(r)
		if t == len(p.reward) {
			p.reward = append(p.reward, tally{})
			for sw := range p.action {
				for a := range p.action[sw] {
					p.action[sw][a] = append(p.action[sw][a], tally{})
				}
			}
		}
		p.reward[t].add(float64(r))
		obs, actions := e.Obs[t*d:(t+1)*d], e.Actions[t*k:(t+1)*k]
		o := observed{lbo: math.NaN(), level: math.NaN(), depth: math.NaN(), action: slices.Clone(actions)}
		for sw, x := range actions {
			for a := range p.action[sw] {
				taken := 0.
				if int(x) == a {
					taken = 1
				}
				p.action[sw][a][t].add(taken)
			}
		}
		if p.lbo >= 0 {
			o.lbo = float64(obs[p.lbo])
		}
		if p.level >= 0 {
			o.level = float64(obs[p.level])
			if s.Elements[p.level].Unit == "" && p.scaled() {
				o.level *= 2 // the observer's largest level
			}
		}
		for _, i := range p.depth {
			o.depth = max(o.depth, float64(obs[i]))
			if math.IsNaN(o.depth) {
				o.depth = float64(obs[i])
			}
		}
		p.at = append(p.at, o)
	}
	p.sum, p.length = append(p.sum, sum), append(p.length, float64(len(e.Reward)))
	return nil
}

// scaled reports whether observations are no longer in the units of what was
// measured.
func (p *Played) scaled() bool { return len(p.depth) > 0 && p.spaces.Elements[p.depth[0]].Unit == "" }

// Agents is the sections about agents, side by side: how they were trained,
// what they were paid, and what they did when. Either may be empty.
func Agents(trained []Trained, played []*Played) ([]Section, error) {
	var sections []Section
	if len(trained) > 0 {
		s, err := training(trained)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	if len(played) == 0 {
		return sections, nil
	}
	for _, p := range played {
		if p.n == 0 {
			return nil, fmt.Errorf("report: %s: no episodes", p.Name)
		}
	}
	returns, err := paid(played)
	if err != nil {
		return nil, err
	}
	acts, err := actions(played)
	if err != nil {
		return nil, err
	}
	return append(sections, returns, acts), nil
}

// training is the curves of the logs.
func training(trained []Trained) (Section, error) {
	s := Section{Title: "Training", Text: "Returns are means of the last 100 episodes; loss and target are means since the last point."}
	for _, c := range []struct{ name, caption, label string }{
		{"return", "Return of training episodes", "return (reward)"},
		{"loss", "Loss", "loss (reward²)"},
		{"target", "Mean of what Q-values should be", "target (discounted reward)"},
		{"epsilon", "Exploration", "chance of a random action"},
	} {
		var lines []Line
		for i, t := range trained {
			y, ok := t.Columns[c.name]
			if !ok {
				return s, fmt.Errorf("report: %s: the log has no column %s", t.Name, c.name)
			}
			x, y := thin(t.Steps, y, 300)
			if slices.ContainsFunc(y, func(v float64) bool { return !math.IsNaN(v) }) {
				lines = append(lines, Line{Name: t.Name, X: x, Y: y, colour: 1 + i})
			}
		}
		if len(lines) == 0 { // learning offline plays nothing
			continue
		}
		f, err := Lines("training-"+c.name, c.caption, "transitions", c.label, lines)
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, f)
	}
	return s, nil
}

// paid is returns, rewards over time and what a viewer saw.
func paid(played []*Played) (Section, error) {
	s := Section{Title: "What they were paid", Text: fmt.Sprintf("Recorded episodes. Boxes span the quartiles of returns, whiskers 1.5 interquartile ranges; the reward over time is the mean of the episodes, over %d steps.", movingSteps)}
	t := Table{Head: []string{"agent", "episodes", "return", "± 95 %", "steps"}}
	player := slices.ContainsFunc(played, func(p *Played) bool { return p.level >= 0 })
	if player {
		t.Head = append(t.Head, "buffer"+unitOf(played), "level 0", "level 1", "level 2", "level changes an episode")
	}
	var names []string
	var returns [][]float64
	var over []Line
	for i, p := range played {
		e := eval.EstimateOf(p.sum)
		half := "–"
		if !math.IsNaN(e.CI) {
			half = fmt.Sprintf("%.2f", e.CI)
		}
		row := []string{p.Name, fmt.Sprint(p.n), fmt.Sprintf("%.2f", e.Mean), half, fmt.Sprintf("%.1f", eval.EstimateOf(p.length).Mean)}
		if player {
			row = append(row, p.viewer()...)
		}
		t.Rows = append(t.Rows, row)
		names, returns = append(names, p.Name), append(returns, p.sum)
		x, y := steps(p.reward)
		over = append(over, Line{Name: p.Name, X: x, Y: y, colour: 1 + i})
	}
	s.Tables = []Table{t}
	for _, draw := range []func() (Figure, error){
		func() (Figure, error) {
			return boxes("returns", "Returns of episodes", "return (reward)", names, returns)
		},
		func() (Figure, error) {
			return Lines("reward-over-time", "Reward over the episode", "time in the episode (steps)", "reward a step", over)
		},
	} {
		f, err := draw()
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, f)
	}
	return s, nil
}

func unitOf(played []*Played) string {
	for _, p := range played {
		if p.lbo >= 0 && p.spaces.Elements[p.lbo].Unit == "s" {
			return " (s)"
		}
	}
	return " (0…1 of the range)"
}

// viewer is the table's cells about the player.
func (p *Played) viewer() []string {
	if p.level < 0 || p.lbo < 0 {
		return []string{"–", "–", "–", "–", "–"}
	}
	var lbo tally
	var levels [3]float64
	changes, at := 0., 0
	for _, n := range p.length {
		for i := range int(n) {
			o := p.at[at+i]
			lbo.add(o.lbo)
			levels[int(min(max(math.Round(o.level), 0), 2))]++
			if i > 0 && math.Round(o.level) != math.Round(p.at[at+i-1].level) {
				changes++
			}
		}
		at += int(n)
	}
	out := []string{fmt.Sprintf("%.2f", lbo.mean())}
	for _, n := range levels {
		out = append(out, fmt.Sprintf("%.0f %%", 100*n/float64(len(p.at))))
	}
	return append(out, fmt.Sprintf("%.1f", changes/float64(p.n)))
}

const (
	movingSteps = 10
	bins        = 10
)

// steps is means by step, smoothed.
func steps(tallies []tally) (x, y []float64) {
	for i, t := range tallies {
		x, y = append(x, float64(i)), append(y, t.mean())
	}
	return thin(x, movingMean(y, movingSteps), 300)
}

// actions is what was done when, and in which state, agent by agent.
func actions(played []*Played) (Section, error) {
	s := Section{Title: "What they did", Text: fmt.Sprintf("The share of steps in which each action was taken: over the episode (means over %d steps), and by what was observed (tenths of the states, of equal size).", movingSteps)}
	for i, p := range played {
		for sw := range p.spaces.Actions {
			at := fmt.Sprintf("%d-%d", i+1, sw+1)
			title := p.Name
			if len(p.spaces.Actions) > 1 {
				title = fmt.Sprintf("%s, switch %d", p.Name, sw+1)
			}
			var over []Line
			for a, t := range p.action[sw] {
				x, y := steps(t)
				over = append(over, Line{Name: p.label(a), X: x, Y: y, colour: 2 + a})
			}
			figures := []func() (Figure, error){func() (Figure, error) {
				return share("actions-"+at, title+": actions over the episode", "time in the episode (steps)", over)
			}}
			for _, by := range []struct {
				name, caption, label string
				element              int
				of                   func(o observed) float64
			}{
				{"depth", "by queue depth", "mean queue depth, largest of the switches", first(p.depth), func(o observed) float64 { return o.depth }},
				{"lbo", "by buffer", "player's buffer", p.lbo, func(o observed) float64 { return o.lbo }},
			} {
				if by.element < 0 {
					continue
				}
				unit := p.spaces.Elements[by.element].Unit
				if unit == "" {
					unit = "0…1 of its range"
				}
				figures = append(figures, func() (Figure, error) {
					return share("actions-"+by.name+"-"+at, title+": actions "+by.caption, axis(by.label, unit), p.by(sw, by.of))
				})
			}
			for _, draw := range figures {
				f, err := draw()
				if err != nil {
					return s, err
				}
				s.Figures = append(s.Figures, f)
			}
		}
	}
	return s, nil
}

func first(x []int) int {
	if len(x) == 0 {
		return -1
	}
	return x[0]
}

// share is lines between 0 and 1.
func share(name, caption, x string, lines []Line) (Figure, error) {
	f, err := Lines(name, caption, x, "share of steps", lines)
	f.plot.Y.Min, f.plot.Y.Max = -.02, 1.02
	f.plot.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: .25}, {Value: .5, Label: "0.5"}, {Value: .75}, {Value: 1, Label: "1"}}
	if len(lines) > 1 {
		legendAbove(f.plot, len(lines))
	}
	return f, err
}

// label is an action's: its limit, where it is one.
func (p *Played) label(a int) string {
	if p.spaces.Limits == nil {
		return fmt.Sprint("action ", a)
	}
	return fmt.Sprint("limit ", p.spaces.Limits[a])
}

// by is the share of each action of a switch in tenths of the states, sorted by
// what of tells; equal values are in one.
func (p *Played) by(sw int, of func(o observed) float64) []Line {
	order := slices.Clone(p.at)
	slices.SortStableFunc(order, func(a, b observed) int {
		switch x, y := of(a), of(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	lines := make([]Line, p.spaces.Actions[sw])
	for a := range lines {
		lines[a] = Line{Name: p.label(a), colour: 2 + a}
	}
	for from := 0; from < len(order); {
		to := min(max(from+(len(order)+bins-1)/bins, from+1), len(order))
		for to < len(order) && of(order[to]) == of(order[to-1]) {
			to++
		}
		var x tally
		counts := make([]float64, len(lines))
		for _, o := range order[from:to] {
			x.add(of(o))
			counts[o.action[sw]]++
		}
		for a := range lines {
			lines[a].X, lines[a].Y = append(lines[a].X, x.mean()), append(lines[a].Y, counts[a]/float64(to-from))
		}
		from = to
	}
	return lines
}
