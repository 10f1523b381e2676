package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env/episodes"
)

// Offline trains a DDQN from recorded episodes, never acting: plain DDQN where
// Config.CQL is 0, else conservative Q-learning (Kumar, Zhou, Tucker and
// Levine 2020). Equal seeds and files give equal weights.
type Offline struct {
	Agent    *DDQN
	Seed     uint64
	Env      string // recorded in the first episode
	Episodes int    // read
	Steps    int    // recorded in them
	Total    int64  // updates to do: as many as Config.Steps transitions would bring

	replay *replay
}

// NewOffline reads recorded episodes: of path, a Parquet file, or of every
// *.parquet in the folder path, sorted by name. All must be of the same
// spaces. The memory is as large as what they hold, whatever Config.Replay
// says, and the normalisation is fitted to all of it. Errors name the file,
// its row and what was expected; nothing recorded is episodes.ErrEmpty.
func NewOffline(c Config, path string, seed uint64, be *compute.Backend) (*Offline, error) {
	files, err := parquetFiles(path)
	if err != nil {
		return nil, fmt.Errorf("agent: offline: %w", err)
	}
	o := &Offline{Seed: seed}
	var spaces Spaces
	for _, file := range files {
		err := episodes.Read(file, func(s Spaces, e *episodes.Episode) error {
			if spaces.Elements == nil {
				spaces, o.Env = s, e.Env
			} else if !slices.Equal(s.Elements, spaces.Elements) || !slices.Equal(s.Actions, spaces.Actions) || !slices.Equal(s.Limits, spaces.Limits) {
				return fmt.Errorf("%s are not the spaces of %s, %s: train on the recordings of each scenario apart", describe(s), files[0], describe(spaces))
			}
			o.Episodes, o.Steps = o.Episodes+1, o.Steps+len(e.Reward)
			return nil
		})
		if errors.Is(err, episodes.ErrEmpty) {
			err = fmt.Errorf("%w: record some with play --record", err)
		}
		if err != nil {
			return nil, fmt.Errorf("agent: offline: %w", err)
		}
	}
	if o.Agent, err = NewDDQN(c, spaces, seed, be); err != nil {
		return nil, err
	}
	d := o.Agent
	o.replay = newReplay(o.Steps, d.dim, d.s, c.Prioritised)
	col := newCollector(1, c.NStep, d.dim, d.s, c.Gamma)
	for _, file := range files {
		err := episodes.Read(file, func(_ Spaces, e *episodes.Episode) error {
			for t, r := range e.Reward {
				last := t == len(e.Reward)-1
				col.step(0, e.Obs[t*d.dim:(t+1)*d.dim], e.Actions[t*d.s:(t+1)*d.s], r, e.Obs[(t+1)*d.dim:(t+2)*d.dim],
					last && e.Terminated, last && !e.Terminated, o.replay)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("agent: offline: %w", err)
		}
	}
	if !d.fitted {
		d.fit(o.replay.obs[:o.replay.size*d.dim])
	}
	o.Total = max(c.Steps/int64(c.TrainEvery)*int64(c.Updates), 1)
	return o, nil
}

func describe(s Spaces) string {
	return fmt.Sprintf("%d elements (%s), actions %v, limits %v", len(s.Elements), names(s), s.Actions, s.Limits)
}

// parquetFiles is path, or the Parquet files in it.
func parquetFiles(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".parquet" && e.Name()[0] != '.' {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no .parquet file in it: record some with play --record", path)
	}
	return files, nil
}

// Train goes on until Total updates are done and calls report after every so
// many and at the end; at the end alone where every is below 1, never where
// report is nil. Progress counts updates as Steps too. An error of report ends
// training.
func (o *Offline) Train(ctx context.Context, every int64, report func(Progress) error) error {
	var loss, target mean
	d := o.Agent
	for d.updates < o.Total {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, y, err := d.update(o.replay, o.Seed, float64(d.updates)/float64(o.Total))
		if err != nil {
			return err
		}
		loss.add(l)
		target.add(y)
		if report != nil && (every > 0 && d.updates%every == 0 || d.updates >= o.Total) {
			p := Progress{Steps: d.updates, Total: o.Total, Updates: d.updates, Episodes: int64(o.Episodes), Loss: loss.take(), Target: target.take()}
			p.Return, p.Reward = (&mean{}).take(), (&mean{}).take() // NaN: nothing was played
			if err := report(p); err != nil {
				return err
			}
		}
	}
	return nil
}
