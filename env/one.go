package env

import (
	"context"
	"fmt"
)

// Env is the view of a Vector of one row: what an agent of one environment
// steps. Autoreset is the vector's own.
type Env struct {
	v     Vector
	batch Batch
	seeds [1]uint64
}

// One views v, which it owns from then on. Error: v has not one row.
func One(v Vector) (*Env, error) {
	if v.Num() != 1 {
		return nil, fmt.Errorf("env: %w: a view of one row over a vector of %d", ErrInvalidRows, v.Num())
	}
	return &Env{v: v}, nil
}

// Spec is the vector's.
func (e *Env) Spec() Spec { return e.v.Spec() }

// Reset starts an episode with a new seed (nil: with the generator it has)
// and gives the first observation [D], valid until the next call.
func (e *Env) Reset(ctx context.Context, seed *uint64) (obs []float32, err error) {
	var seeds []uint64
	if seed != nil {
		e.seeds[0] = *seed
		seeds = e.seeds[:]
	}
	if err := e.v.Reset(ctx, nil, seeds, &e.batch); err != nil {
		return nil, err
	}
	return e.batch.Obs, nil
}

// Step takes an action for each of the S switches and gives the observation
// [D], valid until the next call, the reward, and whether the episode ended
// of itself or was cut.
func (e *Env) Step(ctx context.Context, action ...int32) (obs []float32, reward float32, terminated, truncated bool, err error) {
	if err := e.v.Step(ctx, nil, action, &e.batch); err != nil {
		return nil, 0, false, false, err
	}
	return e.batch.Obs, e.batch.Reward[0], e.batch.Terminated[0], e.batch.Truncated[0], nil
}

// Close closes the vector.
func (e *Env) Close() error { return e.v.Close() }
