package episodes

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// fileRows is how many rows a recorder puts in a file before the next, so
// that a killed process loses no more than these.
const fileRows = 1 << 18

// Record gives v back as a vector whose episodes are recorded, in the files
// that create makes: the 0th at once, the next when one is full. The result
// owns v; Close cuts the open episodes and finishes the file. Seed in a row is
// what its row of the vector was last seeded with. An episode that a Restore or
// the end of a file breaks into is cut, and what follows of it not recorded.
// Infos are recorded where create gave the writer InfosOf v.
//
// A file that cannot be written ends the recording, not the episodes: failed
// is called once.
func Record(v env.Vector, create func(file int) (*Writer, error), failed func(error)) (env.Vector, error) {
	w, err := create(0)
	if err != nil {
		return nil, err
	}
	n := v.Num()
	r := &recorder{
		Vector: v, out: w, create: create, failed: failed, seeds: make([]uint64, n), open: make([]bool, n), resetting: make([]bool, n),
		dim: v.Spec().Observation.Dim(), s: len(v.Spec().Action), mode: v.Spec().Autoreset,
	}
	for i := range r.seeds {
		r.seeds[i] = uint64(i) // as env.Vector has it for one never seeded
	}
	return r, nil
}

type recorder struct {
	env.Vector
	out       *Writer // nil once it failed, or was closed
	create    func(file int) (*Writer, error)
	failed    func(error)
	file      int
	rows      int // in out
	steps     int // likewise
	dim, s    int
	mode      env.Autoreset
	seeds     []uint64 // [Num]
	open      []bool   // [Num], an episode is being recorded
	resetting []bool   // [Num], NextStep: the next step begins an episode
}

// do is a call of the writer, whose error ends the recording.
func (r *recorder) do(err error) {
	if err == nil || r.out == nil {
		return
	}
	_ = r.out.Close() // what there is may still fit
	r.out = nil
	r.failed(err)
}

func (r *recorder) begin(row int, obs []float32) {
	if r.out != nil {
		r.do(r.out.Begin(row, r.seeds[row], obs, r.out.InfoOf(r, row, false)...))
		r.open[row], r.resetting[row] = true, false
		r.rows++
	}
}

// Reset is env.Vector's.
func (r *recorder) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	return r.ResetWith(ctx, rows, seeds, env.Options{}, out)
}

// Options are env.Optioner's.
func (r *recorder) Options() env.OptionSpec { return env.OptionsOf(r.Vector) }

// ResetWith is env.Optioner's.
func (r *recorder) ResetWith(ctx context.Context, rows []int, seeds []uint64, o env.Options, out *env.Batch) error {
	if err := env.ResetWith(ctx, r.Vector, rows, seeds, o, out); err != nil {
		return err
	}
	for i := range out.Reward {
		row := env.RowAt(rows, i)
		if seeds != nil {
			r.seeds[row] = seeds[i]
		}
		r.begin(row, out.Obs[i*r.dim:(i+1)*r.dim])
	}
	return nil
}

// Step is env.Vector's.
func (r *recorder) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if err := r.Vector.Step(ctx, rows, actions, out); err != nil {
		return err
	}
	for i := range out.Reward {
		row, obs := env.RowAt(rows, i), out.Obs[i*r.dim:(i+1)*r.dim]
		over := out.Terminated[i] || out.Truncated[i]
		switch {
		case r.out == nil:
			return nil
		case r.resetting[row]:
			r.begin(row, obs)
			continue
		case r.open[row]:
			next := obs
			if over && r.mode == env.SameStep {
				next = out.FinalObs[i*r.dim : (i+1)*r.dim]
			}
			r.do(r.out.Step(row, actions[i*r.s:(i+1)*r.s], out.Reward[i], out.Terminated[i], out.Truncated[i], next, r.out.InfoOf(r, row, over)...))
			r.rows++
			r.steps++
		}
		if !over {
			continue
		}
		r.open[row] = false
		switch r.mode {
		case env.NextStep:
			r.resetting[row] = true
		case env.SameStep:
			r.begin(row, obs)
		}
	}
	if r.rows >= fileRows && r.out != nil {
		r.next()
	}
	return nil
}

// next goes on in the next file.
func (r *recorder) next() {
	err := r.out.Close()
	if err == nil {
		r.file++
		r.out, err = r.create(r.file)
	}
	if err != nil {
		r.out = nil
		r.failed(err)
		return
	}
	clear(r.open)
	r.rows, r.steps = 0, 0
}

// Close is env.Vector's.
func (r *recorder) Close() error {
	if r.out != nil {
		end := r.out.Close
		if r.steps == 0 {
			end = r.out.Discard
		}
		if err := end(); err != nil {
			r.failed(err)
		}
		r.out = nil
	}
	return r.Vector.Close()
}

// Snapshot is env.Snapshotter's.
func (r *recorder) Snapshot(row int, dst []byte) ([]byte, error) {
	if s, ok := r.Vector.(env.Snapshotter); ok {
		return s.Snapshot(row, dst)
	}
	return dst, fmt.Errorf("%w: it takes none", env.ErrBadSnapshot)
}

// Restore is env.Snapshotter's.
func (r *recorder) Restore(row int, src []byte) error {
	s, ok := r.Vector.(env.Snapshotter)
	if !ok {
		return fmt.Errorf("%w: it takes none", env.ErrBadSnapshot)
	}
	if err := s.Restore(row, src); err != nil {
		return err
	}
	if r.out != nil {
		r.do(r.out.cut(row))
	}
	r.open[row], r.resetting[row] = false, false
	return nil
}

// InfoFields is env.Informer's.
func (r *recorder) InfoFields() []telemetry.Field {
	if i, ok := r.Vector.(env.Informer); ok {
		return i.InfoFields()
	}
	return nil
}

// Info is env.Informer's.
func (r *recorder) Info(row int, dst []float32) []float32 {
	if i, ok := r.Vector.(env.Informer); ok {
		return i.Info(row, dst)
	}
	return dst
}

// FinalInfo is env.FinalInformer's.
func (r *recorder) FinalInfo(row int, dst []float32) ([]float32, bool) {
	return env.FinalInfo(r.Vector, row, dst)
}

// ModelHash is that of the recorded vector, "" where it has none.
func (r *recorder) ModelHash() string {
	if h, ok := r.Vector.(interface{ ModelHash() string }); ok {
		return h.ModelHash()
	}
	return ""
}

// ModelCard is that of the recorded vector, nil where it has none.
func (r *recorder) ModelCard() map[string]string {
	if c, ok := r.Vector.(interface{ ModelCard() map[string]string }); ok {
		return c.ModelCard()
	}
	return nil
}
