// Package env defines the environments that agents act in: reset and step over
// N environments at once.
//
// Vector is the interface that an agent sees; Plant is the system that an
// environment acts on; Autoreset says what happens when an episode ends.
package env

import (
	"context"
	"fmt"
	"slices"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Vector is N environments that reset and step together or in subsets.
//
// A row keeps its own clock, generator and episode: what it returns depends
// on its own seed and actions alone, never on its index or its neighbours.
// Calls are atomic: every row is validated before any of them changes. A
// Vector serves one caller at a time; out belongs to the caller, and is valid
// until it is passed to a call again.
type Vector interface {
	Spec() Spec
	Num() int

	// Reset starts an episode in rows (nil: all) and fills out with the first
	// observations. Row i of rows takes seeds[i]; with seeds nil each row
	// goes on with the generator it has. A vector never seeded behaves as if
	// row i had been seeded with i.
	//
	// Errors: ErrInvalidRows, ErrClosed, or the context's.
	Reset(ctx context.Context, rows []int, seeds []uint64, out *Batch) error

	// Step puts actions, [n,S] row-major, in force in rows (nil: all) for one
	// step and fills out. Errors: ErrInvalidRows, ErrInvalidAction,
	// ErrNeedReset, ErrEpisodeOver (with Autoreset disabled), ErrClosed, or
	// the context's; those of one row are wrapped in a *RowError.
	Step(ctx context.Context, rows []int, actions []int32, out *Batch) error

	// Close ends the vector. Closing again does nothing.
	Close() error
}

// Spec describes a Vector's spaces and clock.
type Spec struct {
	Observation Box
	Action      MultiDiscrete
	Limits      []p4.Limit // packets, by action index; nil where actions are not limits
	Initial     []p4.Limit // [S], in force at reset
	Reward      [2]float64 // smallest and largest reward of a step
	StepSeconds float64    // how much time a step covers
	MaxSteps    int        // reaching it truncates; 0 is without bound
	Autoreset   Autoreset
	RealTime    bool // live: no seeding, no determinism, one request in flight
}

// Box is the space of observations: D numbers, each within its bounds.
type Box struct {
	Low, High []float32         // [D], may be infinite
	Elements  []telemetry.Field // [D], name and unit of each
}

// Dim is D.
func (b Box) Dim() int { return len(b.Low) }

// MultiDiscrete is the space of actions: S indices, the s-th in [0, n[s]).
type MultiDiscrete []int

// Batch is what a reset or step of n rows returns, column-wise.
type Batch struct {
	Obs                   []float32 // [n,D]
	Reward                []float32 // [n], 0 after a reset
	Terminated, Truncated []bool    // [n]
	// FinalObs [n,D] holds, where a flag is set, the last observation of the
	// episode that ended. Only Autoreset SameStep fills it; else its length is 0.
	FinalObs []float32
}

// Size makes b hold n rows of dim elements, FinalObs too where final is set,
// allocating only where its memory does not suffice.
func (b *Batch) Size(n, dim int, final bool) {
	b.Obs = telemetry.Grow(b.Obs, n*dim)
	b.Reward = telemetry.Grow(b.Reward, n)
	b.Terminated = telemetry.Grow(b.Terminated, n)
	b.Truncated = telemetry.Grow(b.Truncated, n)
	if final {
		b.FinalObs = telemetry.Grow(b.FinalObs, n*dim)
	} else {
		b.FinalObs = b.FinalObs[:0]
	}
}

// Snapshotter is a Vector or a Plant whose rows can be saved and put back.
// What follows a Restore is bit-identical to what followed the Snapshot.
type Snapshotter interface {
	// Snapshot appends the state of row to dst.
	Snapshot(row int, dst []byte) ([]byte, error)
	// Restore puts row into a state that Snapshot gave. Any row of an equal
	// Vector takes it. Error: ErrBadSnapshot, and row is as it was.
	Restore(row int, src []byte) error
}

// Informer is a Vector that reports what a row's observation leaves out.
type Informer interface {
	InfoFields() []telemetry.Field
	// Info appends the values of InfoFields, for row's last step, to dst.
	Info(row int, dst []float32) []float32
}

// FinalInformer is an Informer that also has the values of an episode that
// ended. With Autoreset SameStep a row whose episode ends is reset within the
// step, so that Info is of the first window of the next episode.
type FinalInformer interface {
	Informer
	// FinalInfo appends the values of InfoFields for row's last step to dst:
	// where that step ended an episode, those of the episode that ended. It
	// reports whether they are known.
	FinalInfo(row int, dst []float32) ([]float32, bool)
}

// FinalInfo is FinalInformer's of v. Of a vector that is none, the values of a
// last step are known unless Autoreset is SameStep: those of Info.
func FinalInfo(v Vector, row int, dst []float32) ([]float32, bool) {
	if f, ok := v.(FinalInformer); ok {
		return f.FinalInfo(row, dst)
	}
	i, ok := v.(Informer)
	if !ok || v.Spec().Autoreset == SameStep {
		return dst, false
	}
	return i.Info(row, dst), true
}

// Pipeline is a Vector that can be sent steps before the results of earlier
// ones have come. Reset and Step wait until every result was received.
type Pipeline interface {
	// Send submits a step as Vector.Step takes it. It blocks only while as
	// many are under way as the implementation allows.
	Send(rows []int, actions []int32) (seq uint64, err error)
	// Recv fills out with the oldest result that was not received. An error
	// of the step itself comes with the step's seq, and the steps that were
	// sent before Recv returned it are not executed.
	Recv(ctx context.Context, out *Batch) (seq uint64, err error)
}

// Plant is what an environment acts on: it puts queue limits in force and
// tells what was measured under them. Rows of Reset and Advance are distinct
// and in range, seeds and limits as long as they should be: the caller checks.
type Plant interface {
	Columns() []telemetry.Field
	Switches() int
	// Reset starts rows under limit [n,S] and fills out with the first
	// window. Equal seeds give equal episodes.
	Reset(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, out *telemetry.Window) error
	// Advance puts limit [n,S] in force and fills out with what was measured
	// under it, in n rows of out.
	Advance(ctx context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error
	Close() error
}

// CountSwitches counts the switches, from 1 on, whose queue depth columns hold:
// enq_qdepth1, enq_qdepth2, …
func CountSwitches(columns []telemetry.Field) int {
	n := 0
	for slices.ContainsFunc(columns, func(f telemetry.Field) bool { return f.Name == fmt.Sprintf("enq_qdepth%d", n+1) }) {
		n++
	}
	return n
}

// Phase is where a row is between two calls, for those who write a Vector.
type Phase uint8

// The phases of a row.
const (
	Fresh   Phase = iota // never reset
	Running              // in an episode
	Over                 // its episode is over
)
