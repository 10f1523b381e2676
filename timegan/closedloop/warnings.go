package closedloop

import (
	"fmt"

	"github.com/planegym/planegym/telemetry"
)

// leastSeconds under a limit, and leastTurns of the load, are what a simulator
// should be fitted to: it can say little of fewer.
const (
	leastSeconds = 300
	leastTurns   = 6
)

// warnings say what recordings are short of, in sentences.
func (k *codec) warnings(recordings []telemetry.Recording, paths [][]uint8, shown []observed, d int) []string {
	var all []string
	seconds := make([]map[int32]int, k.Switches)
	for s := range seconds {
		seconds[s] = map[int32]int{}
	}
	limits, was := make([]int32, k.Switches), make([]int32, k.Switches)
	changes, turns, widest := 0, 0, 0
	for i, r := range recordings {
		for t := range r.Data.Len() {
			r.LimitsAt(t, limits)
			for s, l := range limits {
				seconds[s][l]++
				if t > 0 && l != was[s] {
					changes++
				}
			}
			if t > 0 && paths[i][t] != paths[i][t-1] {
				turns++
			}
			copy(was, limits)
		}
	}
	for s, known := range k.Limits {
		widest = max(widest, len(known))
		for _, l := range known {
			if n := seconds[s][l]; n < leastSeconds {
				where := ""
				if k.Switches > 1 {
					where = fmt.Sprintf(" at switch %d", s+1)
				}
				all = append(all, fmt.Sprintf("limit %d was in force%s for %d s: what it does is hardly known", l, where, n))
			}
		}
	}
	if widest > 1 && changes == 0 {
		all = append(all, "no recording changes its limit: what a limit does cannot be told from what else differed between recordings")
	}
	if k.Load.K > 1 {
		if turns < leastTurns {
			all = append(all, fmt.Sprintf("the load changed %d times: how long its %d regimes last is hardly known", turns, k.Load.K))
		}
		if goWithLimit(shown, paths, k.Load.K, d, widest) {
			all = append(all, fmt.Sprintf("the %d regimes of the load follow the limit: policies will be valued wrongly; set fewer with regimes=N", k.Load.K))
		}
	}
	return all
}
