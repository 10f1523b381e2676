package eval

import (
	"slices"
	"strings"
)

// SameWithinNoise reports whether no policy's returns differ from the best
// one's, paired by episode, by more than the 95 % interval of the difference.
// returns are [policy][episode]; of fewer than two policies or two episodes
// nothing is known, and the answer is no.
func SameWithinNoise(returns [][]float64) bool {
	if len(returns) < 2 || len(returns[0]) < 2 {
		return false
	}
	best := slices.MaxFunc(returns, func(a, b []float64) int {
		d := EstimateOf(a).Mean - EstimateOf(b).Mean
		switch {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
	for _, r := range returns {
		d := (&Evaluation{Returns: best}).Over(&Evaluation{Returns: r})
		if d.Mean > d.CI {
			return false
		}
	}
	return true
}

// Twins are the policies that earn what one constant earns, episode by episode,
// each with that constant's name (fixed:N). Where several constants earn the
// same, equal returns say nothing about a policy.
func Twins(policies []string, returns [][]float64) [][2]string {
	var out [][2]string
	for i, name := range policies {
		if strings.HasPrefix(name, "fixed:") {
			continue
		}
		var same []string
		for k, constant := range policies {
			if strings.HasPrefix(constant, "fixed:") && slices.Equal(returns[i], returns[k]) {
				same = append(same, constant)
			}
		}
		if len(same) == 1 {
			out = append(out, [2]string{name, same[0]})
		}
	}
	return out
}
