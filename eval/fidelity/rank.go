package fidelity

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/atomicfile"
)

// figures of a table that sets can be ranked by; less is better.
var figures = map[string]func(selection.Score) float64{
	"M":     func(s selection.Score) float64 { return s.Mean.MMinmax },
	"M_raw": func(s selection.Score) float64 { return s.MRaw2600 },
	"W1":    func(s selection.Score) float64 { return s.Mean.W1 },
	"KS":    func(s selection.Score) float64 { return s.Mean.KS },
	"corr":  func(s selection.Score) float64 { return s.Mean.Corr },
	"ACF":   func(s selection.Score) float64 { return s.Mean.ACF },
}

// effects are figures of a set as a whole: of rollouts under limits that take turns.
var effects = map[string]func(*Effects) float64{
	// Each over its floor: a load that answers to the limit, and a buffer that
	// does not, are equally useless, and below the floor is chance.
	"effects": func(e *Effects) float64 {
		over := func(x, floor, wanted eval.Number) float64 {
			if !(floor > 0) { // one session has none
				floor = wanted
			}
			return float64(x / floor)
		}
		return over(e.Exogeneity, e.Floor.Exogeneity, .05) + over(e.Effect, e.Floor.Effect, .1)
	},
	"exogeneity": func(e *Effects) float64 { return float64(e.Exogeneity) },
	"effect":     func(e *Effects) float64 { return float64(e.Effect) },
	"transient":  func(e *Effects) float64 { return float64(e.Transient) },
}

// CheckBy reports a figure that sets cannot be ranked by; "" lets Rank choose.
func CheckBy(by string) error {
	if by != "" && figures[by] == nil && effects[by] == nil {
		return fmt.Errorf("%q is not one of effects, exogeneity, effect, transient, M, M_raw, W1, KS, corr, ACF", by)
	}
	return nil
}

// Ranked is candidates in comparison, table by table.
type Ranked struct {
	What string // a table is of: "limit", "session" or "file"
	At   []int  // by table: the limit, or the number of the session or file
	By   string
	Sets []Set
	selection.Ranking
}

// Rank ranks sets by a figure (see CheckBy). "" is what a limit does where that is
// identifiable from the recordings, else M.
func Rank(sets []Set, what string, at []int, by string) (*Ranked, error) {
	known := len(sets) > 0 && !slices.ContainsFunc(sets, func(s Set) bool { return s.Effects == nil })
	if by == "" {
		by = "M"
		if known {
			by = "effects"
		}
	}
	of, isEffect := effects[by]
	if isEffect && !known {
		return nil, fmt.Errorf("%s: what a limit does is not identifiable from these recordings", by)
	}
	m := make([][]float64, len(sets))
	for i, set := range sets {
		for _, score := range set.Scores {
			x := 0.
			if isEffect {
				x = of(set.Effects) // the same in every session: it takes all of them
			} else {
				x = figures[by](score)
			}
			m[i] = append(m[i], x)
		}
	}
	return &Ranked{What: what, At: at, By: by, Sets: sets, Ranking: selection.Rank(m)}, nil
}

// Export writes the rows of the best and the worst set of each table to
// dir/best_LIMIT.csv and dir/worst_LIMIT.csv, as the tutorial does, and gives the
// files in order.
func (r *Ranked) Export(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var written []string
	for k, at := range r.At {
		for name, i := range map[string]int{"best": r.Best[k], "worst": r.Worst[k]} {
			path := filepath.Join(dir, fmt.Sprintf("%s_%d.csv", name, at))
			if err := atomicfile.Write(path, func(w io.Writer) error { return r.Sets[i].tables[k].Write(w, k) }); err != nil {
				return nil, err
			}
			written = append(written, path)
		}
	}
	slices.Sort(written)
	return written, nil
}

// JSON is the ranking for machines.
func (r *Ranked) JSON() map[string]any {
	names := func(at []int) (names []string) {
		for _, i := range at {
			names = append(names, r.Sets[i].Name)
		}
		return names
	}
	return map[string]any{
		r.What + "s": r.At, "by": r.By, "sets": r.Sets, "best": names(r.Best), "worst": names(r.Worst),
		"best_sum": r.Sets[r.BestSum].Name, "worst_sum": r.Sets[r.WorstSum].Name,
	}
}
