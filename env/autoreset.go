package env

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/planegym/planegym/telemetry"
)

// Autoreset is what a Vector does with a row whose episode has ended
// (Gymnasium's AutoresetMode).
type Autoreset uint8

const (
	// NextStep resets the row at the next step, whose action is ignored and
	// whose reward is 0.
	NextStep Autoreset = iota
	// SameStep resets the row within the step that ended it; the last
	// observation goes to Batch.FinalObs.
	SameStep
	// Disabled leaves the reset to the caller: a step of such a row is
	// ErrEpisodeOver.
	Disabled
)

var autoresetNames = [...]string{"next_step", "same_step", "disabled"}

func (a Autoreset) String() string {
	if int(a) < len(autoresetNames) {
		return autoresetNames[a]
	}
	return fmt.Sprintf("Autoreset(%d)", uint8(a))
}

// ParseAutoreset is the mode of a name; "" is NextStep.
func ParseAutoreset(name string) (Autoreset, error) {
	if name == "" {
		return NextStep, nil
	}
	for i, n := range autoresetNames {
		if n == name {
			return Autoreset(i), nil
		}
	}
	return 0, fmt.Errorf("env: autoreset: %q is not one of %q", name, autoresetNames)
}

// MarshalText and UnmarshalText let the mode stand by name in TOML and JSON.
func (a Autoreset) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts what MarshalText gives.
func (a *Autoreset) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAutoreset(string(text))
	return err
}

// WithAutoreset gives v, whose own mode is Disabled, another mode. The result
// owns v.
func WithAutoreset(v Vector, mode Autoreset) Vector {
	if v.Spec().Autoreset != Disabled {
		panic("env: WithAutoreset over a vector that resets by itself")
	}
	if mode == Disabled {
		return v
	}
	a := &autoreset{
		Vector: v, mode: mode, dim: v.Spec().Observation.Dim(), space: v.Spec().Action, s: len(v.Spec().Action),
		pending: make([]pending, v.Num()), seen: make([]bool, v.Num()), early: make([]float32, v.Num()*v.Spec().Observation.Dim()),
	}
	if mode == SameStep {
		a.ended, a.finals = make([]bool, v.Num()), make([]float32, v.Num()*len(a.InfoFields()))
	}
	return a
}

// pending says what a row waits for.
type pending uint8

const (
	none  pending = iota
	due           // its episode has ended: it is reset before it is stepped
	shown         // it was reset by a call that failed, so early is shown next
)

type autoreset struct {
	Vector
	mode    Autoreset
	space   MultiDiscrete
	dim, s  int
	pending []pending // [Num]
	early   []float32 // [Num,D] first observations of rows that were reset
	seen    []bool    // scratch of CheckRows

	ended  []bool    // [Num], SameStep: the row's last step ended an episode
	finals []float32 // [Num,F], SameStep: what Info was before the reset, where ended

	stepRows, resetRows []int   // the rows of this call, split
	stepAt, resetAt     []int   // their places in it
	actions             []int32 // of stepRows
	part                Batch   // what the inner vector gave
}

func (a *autoreset) Spec() Spec {
	s := a.Vector.Spec()
	s.Autoreset = a.mode
	return s
}

func (a *autoreset) Reset(ctx context.Context, rows []int, seeds []uint64, out *Batch) error {
	if err := a.Vector.Reset(ctx, rows, seeds, out); err != nil {
		return err
	}
	a.began(rows, out)
	return nil
}

// began notes that a reset has begun episodes in rows.
func (a *autoreset) began(rows []int, out *Batch) {
	n := len(out.Reward)
	for i := range n {
		a.pending[RowAt(rows, i)] = none
		if a.ended != nil {
			a.ended[RowAt(rows, i)] = false
		}
	}
	out.Size(n, a.dim, a.mode == SameStep)
}

func (a *autoreset) Step(ctx context.Context, rows []int, actions []int32, out *Batch) error {
	if a.mode == SameStep {
		return a.sameStep(ctx, rows, actions, out)
	}
	if err := CheckRows(rows, a.seen); err != nil {
		return err
	}
	n := a.Num()
	if rows != nil {
		n = len(rows)
	}
	a.stepRows, a.stepAt, a.resetRows, a.resetAt = a.stepRows[:0], a.stepAt[:0], a.resetRows[:0], a.resetAt[:0]
	for i := range n {
		r := RowAt(rows, i)
		switch a.pending[r] {
		case none:
			a.stepRows, a.stepAt = append(a.stepRows, r), append(a.stepAt, i)
			continue
		case due:
			a.resetRows = append(a.resetRows, r)
		}
		a.resetAt = append(a.resetAt, i)
	}
	if len(a.resetAt) == 0 {
		if err := a.Vector.Step(ctx, rows, actions, out); err != nil {
			return err
		}
	} else if err := a.stepAndReset(ctx, rows, actions, n, out); err != nil {
		return err
	}
	for i := range n {
		a.settle(RowAt(rows, i), out.Terminated[i] || out.Truncated[i])
	}
	return nil
}

// settle notes whether the row's episode has ended.
func (a *autoreset) settle(row int, ended bool) {
	if a.pending[row] = none; ended {
		a.pending[row] = due
	}
}

// stepAndReset steps stepRows and resets resetRows. The resets come first: where
// the step then fails, what they showed waits in early for the next call, so that
// a failed call loses nothing and can be made again.
func (a *autoreset) stepAndReset(ctx context.Context, rows []int, actions []int32, n int, out *Batch) error {
	if len(actions) != n*a.s {
		return fmt.Errorf("%w: %d actions for %d rows of %d", ErrInvalidAction, len(actions), n, a.s)
	}
	a.actions = a.actions[:0]
	for j := 0; j < len(a.stepAt); {
		i, n := a.stepAt[j], run(a.stepAt[j:])
		a.actions = append(a.actions, actions[i*a.s:(i+n)*a.s]...)
		j += n
	}
	if err := CheckActions(a.stepRows, len(a.stepRows), a.actions, a.space); err != nil {
		return err
	}
	if err := a.reset(ctx); err != nil {
		return err
	}
	out.Size(n, a.dim, false)
	if len(a.stepRows) > 0 {
		if err := a.Vector.Step(ctx, a.stepRows, a.actions, &a.part); err != nil {
			return err
		}
		a.scatter(a.stepAt, out)
	}
	for _, i := range a.resetAt {
		r := RowAt(rows, i)
		copy(out.Obs[i*a.dim:(i+1)*a.dim], a.early[r*a.dim:(r+1)*a.dim])
		out.Reward[i], out.Terminated[i], out.Truncated[i] = 0, false, false
	}
	return nil
}

// reset resets resetRows and keeps their first observations in early.
func (a *autoreset) reset(ctx context.Context) error {
	if len(a.resetRows) == 0 {
		return nil
	}
	if err := a.Vector.Reset(ctx, a.resetRows, nil, &a.part); err != nil {
		return err
	}
	for j, r := range a.resetRows {
		copy(a.early[r*a.dim:(r+1)*a.dim], a.part.Obs[j*a.dim:])
		a.pending[r] = shown
	}
	return nil
}

// scatter puts the rows of a.part at the given places of out, a run of
// neighbours at a time.
func (a *autoreset) scatter(places []int, out *Batch) {
	for j := 0; j < len(places); {
		i, n := places[j], run(places[j:])
		copy(out.Obs[i*a.dim:(i+n)*a.dim], a.part.Obs[j*a.dim:])
		copy(out.Reward[i:i+n], a.part.Reward[j:])
		copy(out.Terminated[i:i+n], a.part.Terminated[j:])
		copy(out.Truncated[i:i+n], a.part.Truncated[j:])
		j += n
	}
}

// run is how many of the ascending places follow one another from the first.
func run(places []int) int {
	n := 1
	for n < len(places) && places[n] == places[0]+n {
		n++
	}
	return n
}

// sameStep steps rows and resets those whose episode ends. Where that reset
// fails the step's result is lost with it, and the rows are reset before their
// next step.
func (a *autoreset) sameStep(ctx context.Context, rows []int, actions []int32, out *Batch) error {
	n := a.Num()
	if rows != nil {
		if err := CheckRows(rows, a.seen); err != nil {
			return err
		}
		n = len(rows)
	}
	a.resetRows = a.resetRows[:0]
	for i := range n {
		if r := RowAt(rows, i); a.pending[r] == due {
			a.resetRows = append(a.resetRows, r)
		}
	}
	if len(a.resetRows) > 0 {
		if err := CheckActions(rows, n, actions, a.space); err != nil {
			return err
		}
		if err := a.reset(ctx); err != nil {
			return err
		}
	}
	if err := a.Vector.Step(ctx, rows, actions, out); err != nil {
		return err
	}
	out.Size(n, a.dim, true)
	a.resetRows, a.resetAt = a.resetRows[:0], a.resetAt[:0]
	fields := len(a.finals) / a.Num()
	for i := range n {
		r := RowAt(rows, i)
		a.ended[r] = out.Terminated[i] || out.Truncated[i]
		if a.settle(r, a.ended[r]); a.ended[r] {
			a.resetRows, a.resetAt = append(a.resetRows, r), append(a.resetAt, i)
			a.Info(r, a.finals[r*fields:r*fields:(r+1)*fields])
		}
	}
	if len(a.resetRows) == 0 {
		clear(out.FinalObs)
		return nil
	}
	copy(out.FinalObs, out.Obs)
	if err := a.reset(ctx); err != nil {
		return err
	}
	for j, i := range a.resetAt {
		r := a.resetRows[j]
		copy(out.Obs[i*a.dim:(i+1)*a.dim], a.early[r*a.dim:(r+1)*a.dim])
		a.pending[r] = none
	}
	return nil
}

// InfoFields and Info pass the inner vector's on; a vector without has none.
func (a *autoreset) InfoFields() []telemetry.Field {
	if i, ok := a.Vector.(Informer); ok {
		return i.InfoFields()
	}
	return nil
}

func (a *autoreset) Info(row int, dst []float32) []float32 {
	if i, ok := a.Vector.(Informer); ok {
		return i.Info(row, dst)
	}
	return dst
}

// FinalInfo is FinalInformer's.
func (a *autoreset) FinalInfo(row int, dst []float32) ([]float32, bool) {
	if _, ok := a.Vector.(Informer); !ok {
		return dst, false
	}
	if a.ended == nil || !a.ended[row] {
		return a.Info(row, dst), true
	}
	fields := len(a.finals) / a.Num()
	return append(dst, a.finals[row*fields:(row+1)*fields]...), true
}

// Snapshot and Restore pass the inner vector's on. A byte before it says what the
// row waits for, and a row that was reset by a call that failed has its first
// observation there.
func (a *autoreset) Snapshot(row int, dst []byte) ([]byte, error) {
	inner, ok := a.Vector.(Snapshotter)
	if !ok {
		return dst, fmt.Errorf("%w: this environment takes none", ErrBadSnapshot)
	}
	if row < 0 || row >= len(a.pending) {
		return dst, &RowError{row, ErrInvalidRows}
	}
	if dst = append(dst, byte(a.pending[row])); a.pending[row] == shown {
		for _, x := range a.early[row*a.dim : (row+1)*a.dim] {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
		}
	}
	return inner.Snapshot(row, dst)
}

func (a *autoreset) Restore(row int, src []byte) error {
	inner, ok := a.Vector.(Snapshotter)
	if !ok || len(src) == 0 || pending(src[0]) > shown || row < 0 || row >= len(a.pending) {
		return ErrBadSnapshot
	}
	waits, src := pending(src[0]), src[1:]
	var obs []byte
	if waits == shown {
		if len(src) < 4*a.dim {
			return ErrBadSnapshot
		}
		obs, src = src[:4*a.dim], src[4*a.dim:]
		for i := range a.dim {
			if x := float64(math.Float32frombits(binary.LittleEndian.Uint32(obs[4*i:]))); math.IsNaN(x) || math.IsInf(x, 0) {
				return ErrBadSnapshot
			}
		}
	}
	if err := inner.Restore(row, src); err != nil {
		return err
	}
	a.pending[row] = waits
	if a.ended != nil {
		a.ended[row] = false // what it ended with is not in the state
	}
	for i := range len(obs) / 4 {
		a.early[row*a.dim+i] = math.Float32frombits(binary.LittleEndian.Uint32(obs[4*i:]))
	}
	return nil
}
