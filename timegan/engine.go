package timegan

import (
	"context"
	"fmt"
)

// Phase is one of the three phases of training, in the paper's order.
type Phase uint8

// The phases.
const (
	Embedding  Phase = iota // embedder and recovery learn to reconstruct
	Supervised              // the supervisor learns the next latent code
	Joint                   // all learn together, against the discriminator
)

func (p Phase) String() string {
	if int(p) < len(phases) {
		return phases[p]
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

var phases = [...]string{"embedding", "supervised", "joint"}

// Losses are those of one update, by their names in the paper. What a phase
// does not have is 0.
type Losses struct {
	R  float32 `json:"reconstruction"` // eq. 7, mean square over measured cells
	S  float32 `json:"supervised"`     // eq. 9, mean square
	U  float32 `json:"adversarial"`    // eq. 8, as the generator pays it
	V  float32 `json:"moments"`        // |mean| and |standard deviation| differences
	C  float32 `json:"changes"`        // as V, of the changes from second to second
	K  float32 `json:"covariances"`    // |covariance| differences, at several distances in time
	D  float32 `json:"discriminator"`  // eq. 8, as the discriminator pays it
	At string  `json:"-"`              // the tensor that first held NaN or Inf, "" where none did
}

// Tensor is a named array of float32, row-major.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Params are the weights of the five networks.
type Params []Tensor

// OptimiserState is what is carried from one update to the next: Adam's
// moments, and the hidden states that generated windows go on from.
type OptimiserState []Tensor

// Engine computes: whole updates, not layers, so that one which lives on a
// device fits. Engines differ in speed and in the last bits of their sums,
// never in meaning: what one stores all others load. An Engine serves one
// caller at a time. Its contract is enginetest.Check.
type Engine interface {
	Name() string // engine and kernel set: equal names give equal bytes
	// Load begins from p, and from s where it is not nil, on d.
	Load(c Config, p Params, s OptimiserState, d Windows) error
	// Run does the updates from…from+steps-1 of a phase and fills losses
	// [steps]. Random numbers are keyed by (seed, phase, update, example). It
	// returns early, between two updates, with the context's error; done says
	// how many were made.
	Run(ctx context.Context, ph Phase, from, steps int, seed uint64, losses []Losses) (done int, err error)
	// Store copies weights and state out.
	Store() (Params, OptimiserState, error)
	// Stepper makes n independent rollouts of the weights loaded.
	Stepper(n int) (Stepper, error)
	Close() error
}

// Stepper rolls the generator, supervisor and recovery of a model out: n
// rows, each with a hidden state of its own.
type Stepper interface {
	// Next advances rows, distinct, by one second: noise [len(rows),Z] and
	// conditions [len(rows),C] go in, channels [len(rows),F] come out. A row's
	// channels do not depend on which other rows advance with it.
	Next(rows []int, noise, cond, x []float32) error
	// Hidden copies a row's hidden state [Size] to dst, SetHidden puts it back.
	// It is 0 at the start.
	Hidden(row int, dst []float32)
	SetHidden(row int, src []float32)
	Size() int
}

// Roller is a Stepper that draws what a Simulator would give it.
type Roller interface {
	Stepper
	// Roll is Next with the noise and conditions of draws, one for each row. x
	// may be nil.
	Roll(rows []int, draws []Draw, x []float32) error
}

// Draw says what a row of a rollout is given next.
type Draw struct {
	Seed   uint64
	Model  uint32  // of several: they draw different noise
	Second uint32  // of the rollout
	Start  uint32  // of the clock when Second was 0
	Told   float32 // the limit, as Codec.Condition gives it
}
