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

// printAgents compares agents trained in one way with those trained in another,
// of the same numbers of seeds and the same episodes: groups are two, each a part
// of its agents' file names. Beside them is the best of the other policies played.
func printAgents(w io.Writer, file, groups string) error {
	p, err := readAs[played](file)
	if err != nil {
		return err
	}
	one, over, ok := strings.Cut(groups, ",")
	if !ok {
		return fmt.Errorf("-groups: %q: expected two, A,B", groups)
	}
	var a, b, rest [][]float64
	best := ""
	for _, x := range p.Policies {
		switch {
		case strings.Contains(x.Policy, one):
			a = append(a, x.Returns)
		case strings.Contains(x.Policy, over):
			b = append(b, x.Returns)
		default:
			if rest = append(rest, x.Returns); best == "" || mean(x.Returns) > mean(rest[0]) {
				best, rest = x.Policy, [][]float64{x.Returns}
			}
		}
	}
	if len(a) != len(b) || len(a) < 2 {
		return fmt.Errorf("%s: %d agents of %s and %d of %s: as many of each are compared, 2 at least", file, len(a), one, len(b), over)
	}
	n := len(a[0])
	for _, x := range slices.Concat(a, b, rest) {
		if len(x) != n {
			return fmt.Errorf("%s: policies have %d and %d episodes", file, n, len(x))
		}
	}
	each := func(all [][]float64) string {
		var s []string
		for _, x := range all {
			s = append(s, fmt.Sprintf("%.0f", mean(x)))
		}
		return strings.Join(s, ", ")
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	agents := make([]int, len(a))
	for i := range agents {
		agents[i] = i
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
	fmt.Fprintf(w, "| %s, return of an episode, mean of %d | %s | %s | %s | %s of %s, 95 %% |\n|---|---|---|---|---|\n", p.Scenario, n, one, over, best, one, over)
	others := ""
	if len(rest) > 0 {
		others = each(rest)
	}
	fmt.Fprintf(w, "| %d seeds each | %s | %s | %s | %.1f %% (%.1f … %.1f) |\n", len(a), each(a), each(b), others, 100*ratio(a, b, agents, all), 100*lo, 100*hi)
	return nil
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
