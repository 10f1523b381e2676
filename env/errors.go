package env

import (
	"errors"
	"fmt"
	"math"
)

// What callers branch on. Each has a stable code on the wire (package env/ws).
var (
	ErrInvalidAction = errors.New("invalid action")
	ErrInvalidRows   = errors.New("invalid rows")
	ErrNeedReset     = errors.New("reset required before step")
	ErrEpisodeOver   = errors.New("episode is over: reset the row")
	ErrClosed        = errors.New("environment is closed")
	ErrBadSnapshot   = errors.New("snapshot does not fit this environment")
)

// RowError is an error of one row.
type RowError struct {
	Row int
	Err error
}

func (e *RowError) Error() string { return fmt.Sprintf("row %d: %v", e.Row, e.Err) }
func (e *RowError) Unwrap() error { return e.Err }

// CheckRows reports rows that are out of range or named twice; nil means all
// and is fine. seen has one entry per row of the vector and is all false
// before and after.
func CheckRows(rows []int, seen []bool) error {
	var err error
	n := 0
	for _, r := range rows {
		if r < 0 || r >= len(seen) {
			err = &RowError{r, fmt.Errorf("%w: there are %d", ErrInvalidRows, len(seen))}
			break
		}
		if seen[r] {
			err = &RowError{r, fmt.Errorf("%w: named twice", ErrInvalidRows)}
			break
		}
		seen[r] = true
		n++
	}
	for _, r := range rows[:n] {
		seen[r] = false
	}
	return err
}

// CheckActions reports actions, for n rows, that are not in space.
func CheckActions(rows []int, n int, actions []int32, space MultiDiscrete) error {
	s := len(space)
	if len(actions) != n*s {
		return fmt.Errorf("%w: %d actions for %d rows of %d", ErrInvalidAction, len(actions), n, s)
	}
	for i := range n {
		for j, a := range actions[i*s : (i+1)*s] {
			if a < 0 || int(a) >= space[j] {
				return &RowError{RowAt(rows, i), fmt.Errorf("%w: %d is not in [0, %d)", ErrInvalidAction, a, space[j])}
			}
		}
	}
	return nil
}

// RowAt is the index of the i-th of rows, where nil means all.
func RowAt(rows []int, i int) int {
	if rows == nil {
		return i
	}
	return rows[i]
}

// CheckBatch reports a batch that is not of n observations of dim elements.
func CheckBatch(out *Batch, n, dim int) error {
	if len(out.Obs) != n*dim {
		return fmt.Errorf("the environment gave %d numbers for %d observations of %d elements: it does not keep to its own spec", len(out.Obs), n, dim)
	}
	return nil
}

// CheckFinite reports an observation [D] or a reward that is NaN or Inf, as an
// error of row.
func CheckFinite(obs []float32, reward float32, row int, spec Spec) error {
	for i, x := range obs {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			name := ""
			if i < len(spec.Observation.Elements) {
				name = " (" + spec.Observation.Elements[i].Name + ")"
			}
			return &RowError{Row: row, Err: fmt.Errorf("observation element %d%s is %v: the environment is at fault", i, name, x)}
		}
	}
	if math.IsNaN(float64(reward)) || math.IsInf(float64(reward), 0) {
		return &RowError{Row: row, Err: fmt.Errorf("reward is %v: the environment is at fault", reward)}
	}
	return nil
}
