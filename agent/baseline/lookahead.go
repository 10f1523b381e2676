package baseline

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// LookAhead tries every action from the instant it is in, holding it for the
// horizon, and takes the one that pays most. What the horizon does not show is
// worth at least what the buffer lets the player keep: a second of it keeps
// the reward of a full buffer, 1.5 above the middle quality's, for a second.
type LookAhead struct {
	v       env.Vector
	horizon int
	hold    int
	actions [][]int32
	rows    map[int]*looked
	lbo     int // of Info
	err     error
}

type looked struct {
	step  int
	taken []int32
}

const bufferWorth = 1.5 / 4 // reward a second of buffer

// NewLookAhead is a look-ahead in v, which takes snapshots and informs: every hold
// steps it tries each action for the next horizon steps. It knows the future, which
// no policy can; what it earns bounds what there is to earn.
func NewLookAhead(v env.Vector, horizon, hold int) (*LookAhead, error) {
	l := &LookAhead{v: v, horizon: horizon, hold: hold, actions: Combinations(v.Spec().Action), rows: map[int]*looked{}}
	_, ok := v.(env.Snapshotter)
	i, informs := v.(env.Informer)
	if !ok || !informs {
		return nil, errors.New("the environment takes no snapshots")
	}
	l.lbo = slices.IndexFunc(i.InfoFields(), func(f telemetry.Field) bool { return f.Name == "lbo_s" })
	return l, nil
}

// Err is what ended the search, if anything did: actions after it repeat the last.
func (l *LookAhead) Err() error { return l.err }

// Begin is agent.Policy's.
func (l *LookAhead) Begin(rows []int, seeds []uint64) {
	for i := range seeds {
		l.rows[env.RowAt(rows, i)] = &looked{}
	}
}

// Act is agent.Policy's.
func (l *LookAhead) Act(rows []int, _ []float32, actions []int32) {
	s := len(l.v.Spec().Action)
	var deciding []int
	for i := range len(actions) / s {
		if r := env.RowAt(rows, i); l.rows[r].step%l.hold == 0 {
			deciding = append(deciding, r)
		}
	}
	if l.err == nil && len(deciding) > 0 {
		l.err = l.decide(deciding)
	}
	for i := range len(actions) / s {
		row := l.rows[env.RowAt(rows, i)]
		copy(actions[i*s:], row.taken)
		row.step++
	}
}

// decide tries every action in rows.
func (l *LookAhead) decide(rows []int) error {
	snap := l.v.(env.Snapshotter)
	states, best := make([][]byte, len(rows)), make([]float64, len(rows))
	for i, r := range rows {
		var err error
		if states[i], err = snap.Snapshot(r, nil); err != nil {
			return err
		}
		best[i] = math.Inf(-1)
		l.rows[r].taken = l.actions[0]
	}
	var out env.Batch
	var info []float32
	for _, a := range l.actions {
		sum := make([]float64, len(rows))
		for h := range l.horizon {
			var going, at []int
			var force []int32
			for i, r := range rows {
				if l.rows[r].step+h < l.v.Spec().MaxSteps {
					going, at, force = append(going, r), append(at, i), append(force, a...)
				}
			}
			if len(going) == 0 {
				break
			}
			if err := l.v.Step(context.Background(), going, force, &out); err != nil {
				return err
			}
			for k, i := range at {
				sum[i] += float64(out.Reward[k])
			}
		}
		for i, r := range rows {
			info = l.v.(env.Informer).Info(r, info[:0])
			if l.rows[r].step+l.horizon < l.v.Spec().MaxSteps {
				sum[i] += bufferWorth * float64(info[l.lbo])
			}
			if sum[i] > best[i] {
				best[i], l.rows[r].taken = sum[i], a
			}
			if err := snap.Restore(r, states[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Combinations are all joint actions of a space, the last switch varying fastest.
func Combinations(space env.MultiDiscrete) [][]int32 {
	all := [][]int32{{}}
	for _, n := range space {
		var longer [][]int32
		for _, c := range all {
			for a := range n {
				longer = append(longer, append(slices.Clone(c), int32(a)))
			}
		}
		all = longer
	}
	return all
}
