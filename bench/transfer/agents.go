package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/rng"
)

// played is what of planegym play --json is read.
type played struct {
	Scenario string
	Policies []struct {
		Policy  string
		Returns []float64
	}
}

// printAgents compares agents trained in one way with those trained in another, of
// the same seeds and the same episodes, a row for each file: groups are two, each a
// part of its agents' file names. Beside them is the best of the other policies played.
func printAgents(w io.Writer, files []string, groups string) error {
	one, over, ok := strings.Cut(groups, ",")
	if !ok {
		return fmt.Errorf("-groups: %q: expected two, A,B", groups)
	}
	fmt.Fprintf(w, "| return of an episode | %s | %s | best other policy | %s of %s, 95 %% |\n|---|---|---|---|---|\n", one, over, one, over)
	for _, file := range files {
		p, err := readAs[played](file)
		if err != nil {
			return err
		}
		if err := printPlayed(w, p, one, over); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func printPlayed(w io.Writer, p played, one, over string) error {
	var a, b, best [][]float64
	others := ""
	for _, x := range p.Policies {
		switch {
		case strings.Contains(x.Policy, one):
			a = append(a, x.Returns)
		case strings.Contains(x.Policy, over):
			b = append(b, x.Returns)
		case best == nil || mean(x.Returns) > mean(best[0]):
			best, others = [][]float64{x.Returns}, fmt.Sprintf("%.0f (`%s`)", mean(x.Returns), x.Policy)
		}
	}
	if len(a) != len(b) || len(a) < 2 {
		return fmt.Errorf("%d agents of %s and %d of %s: as many of each are compared, 2 at least", len(a), one, len(b), over)
	}
	n := len(a[0])
	for _, x := range slices.Concat(a, b, best) {
		if len(x) != n {
			return fmt.Errorf("policies have %d and %d episodes", n, len(x))
		}
	}
	lo, hi := overDraws(2000, func(draw uint32) float64 {
		key := rng.Key{Seed: 1, A: draw, Purpose: rng.Bootstrap}
		e, g := make([]int, n), make([]int, len(a))
		for i := range e {
			e[i] = key.Intn(uint32(i), n)
		}
		for i := range g {
			g[i] = key.Intn(uint32(n+i), len(a))
		}
		return ratio(a, b, g, e)
	})
	fmt.Fprintf(w, "| `%s`, %d seeds each, %d episodes | %s | %s | %s | %.1f %% (%.1f … %.1f) |\n",
		p.Scenario, len(a), n, means(a), means(b), others, 100*ratio(a, b, upTo(len(a)), upTo(n)), 100*lo, 100*hi)
	return nil
}

// means lists each policy's mean return.
func means(all [][]float64) string {
	var s []string
	for _, x := range all {
		s = append(s, fmt.Sprintf("%.0f", mean(x)))
	}
	return strings.Join(s, ", ")
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// ratio is the mean return of agents g of a in episodes e over that of b.
func ratio(a, b [][]float64, g, e []int) float64 {
	var x, y float64
	for _, i := range g {
		for _, j := range e {
			x, y = x+a[i][j], y+b[i][j]
		}
	}
	return x / y
}
