// Package run keeps a training in a folder: policy.safetensors (the agent),
// checkpoint.safetensors (the whole training, which a later one goes on from exactly),
// and the log, as a table and for TensorBoard.
package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/scalars"
)

// LogEvery is how many transitions, or updates offline, a line of the log covers.
const LogEvery = 100

// columns of the log. A log that was begun before it had the reward goes on without.
var columns = []string{"return", "loss", "target", "epsilon", "episodes", "updates", "reward"}

// Run is a training and its folder.
type Run struct {
	Dir     string
	Resumed bool // the folder holds a training, which goes on
	// Saved is at how many transitions the checkpoint was written last; -1: there is
	// none.
	Saved  int64
	Every  int64                      // transitions between checkpoints
	Report func(agent.Progress) error // each LogEvery transitions; may be nil
	Last   agent.Progress             // that was reported

	log   *scalars.Log
	width int // columns of the log
}

// New is a training that starts over in dir.
func New(dir string, every int64) *Run { return &Run{Dir: dir, Every: every, Saved: -1} }

// Policy and Checkpoint are the files of the agent and of the training.
func (r *Run) Policy() string     { return filepath.Join(r.Dir, "policy.safetensors") }
func (r *Run) Checkpoint() string { return filepath.Join(r.Dir, "checkpoint.safetensors") }

// Resume makes r go on from the folder's checkpoint, and gives its header.
func (r *Run) Resume() (agent.Info, error) {
	info, err := agent.Inspect(r.Checkpoint())
	if err == nil && info.Rows == 0 {
		err = fmt.Errorf("%s holds a policy only: begin a training from it with --transfer", r.Checkpoint())
	}
	r.Resumed, r.Saved = true, info.Steps
	return info, err
}

// Exists is a file of a training that a new one would replace, "" if there is none.
func (r *Run) Exists() string {
	for _, file := range []string{r.Checkpoint(), r.Policy()} {
		if _, err := os.Stat(file); !r.Resumed && !errors.Is(err, fs.ErrNotExist) {
			return file
		}
	}
	return ""
}

// Train trains tr, with a checkpoint and the policy written every so often, at the end,
// and where ctx ends it.
func (r *Run) Train(ctx context.Context, tr *agent.Trainer, be *compute.Backend) error {
	if err := r.open(); err != nil {
		return err
	}
	if r.Resumed {
		if err := r.policyOf(tr.Agent, be); err != nil {
			return errors.Join(err, r.log.Close())
		}
	}
	save := func() error {
		// Write everything after an interruption, too.
		if err := tr.Save(context.WithoutCancel(ctx), r.Checkpoint()); err != nil {
			return err
		}
		r.Saved = r.Last.Steps
		return tr.Agent.SavePolicy(r.Policy())
	}
	r.Last.Steps = max(r.Saved, 0)
	err := tr.Train(ctx, LogEvery, r.reporting(tr.Agent.Config.Steps, save))
	if errors.Is(err, context.Canceled) && tr.Agent.Updates() > 0 {
		if e := save(); e != nil {
			err = fmt.Errorf("%w; %w", err, e)
		}
	}
	return r.close(err)
}

// TrainOffline trains o, from recorded episodes. It writes the policy, and no
// checkpoint.
func (r *Run) TrainOffline(ctx context.Context, o *offline.Trainer) error {
	if err := r.open(); err != nil {
		return err
	}
	save := func() error { return o.Agent.SavePolicy(r.Policy()) }
	return r.close(o.Train(ctx, LogEvery, r.reporting(o.Total, save)))
}

// reporting logs progress and saves where that is due.
func (r *Run) reporting(total int64, save func() error) func(agent.Progress) error {
	return func(p agent.Progress) error {
		due := p.Steps/r.Every > r.Last.Steps/r.Every || p.Steps >= total
		r.Last = p
		if r.Report != nil {
			if err := r.Report(p); err != nil {
				return err
			}
		}
		row := []float64{p.Return, p.Loss, p.Target, p.Epsilon, float64(p.Episodes), float64(p.Updates), p.Reward}
		if err := r.log.Add(p.Steps, float64(time.Now().UnixMilli())/1000, row[:r.width]...); err != nil || !due {
			return err
		}
		return save()
	}
}

// open begins the log, or goes on with it after the checkpoint's last line.
func (r *Run) open() (err error) {
	now := time.Now().Unix()
	r.width = len(columns)
	if !r.Resumed {
		r.log, err = scalars.Open(r.Dir, now, columns...)
		return err
	}
	if r.log, err = scalars.Resume(r.Dir, now, r.Saved, columns...); err == nil {
		return nil
	}
	old, e := scalars.Resume(r.Dir, now, r.Saved, columns[:r.width-1]...)
	if e != nil {
		return err
	}
	r.log, r.width = old, r.width-1
	return nil
}

// close ends the log; err ended the training.
func (r *Run) close(err error) error {
	if e := r.log.Close(); err == nil {
		err = e
	}
	return err
}

// policyOf makes the saved policy that of d, the agent of the checkpoint: a kill may
// have come between the two, and a training that is done already writes no other.
func (r *Run) policyOf(d *agent.DDQN, be *compute.Backend) error {
	if old, err := agent.Load(r.Policy(), be); err == nil && old.Hash() == d.Hash() {
		return nil
	}
	return d.SavePolicy(r.Policy())
}

// Done sets Last for a resumed training of which nothing was left to do.
func (r *Run) Done(info agent.Info, total int64) {
	if info.Steps >= total {
		r.Last = agent.Progress{Steps: info.Steps, Total: total, Updates: info.Updates, Return: math.NaN()}
	}
}
