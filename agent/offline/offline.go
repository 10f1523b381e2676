// Package offline trains agents from recorded episodes, without stepping an
// environment.
package offline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env/episodes"
)

// Trainer trains a DDQN from recorded episodes, never acting: plain DDQN where
// Config.CQL is 0, else conservative Q-learning (Kumar, Zhou, Tucker and
// Levine 2020). Equal seeds and files give equal weights.
type Trainer struct {
	Agent    *agent.DDQN
	Seed     uint64
	Env      string // recorded in the first episode
	Episodes int    // read
	Steps    int    // recorded in them
	Total    int64  // updates to do: as many as Config.Steps transitions would bring

	memory *agent.Memory
}

// New reads recorded episodes: of path, a Parquet file, or of every
// *.parquet in the folder path, sorted by name. All must be of the same
// spaces. The memory is as large as what they hold, whatever Config.Replay
// says, and the normalisation is fitted to all of it. Errors name the file,
// its row and what was expected; nothing recorded is episodes.ErrEmpty.
func New(c agent.Config, path string, seed uint64, be *compute.Backend) (*Trainer, error) {
	files, err := parquetFiles(path)
	if err != nil {
		return nil, fmt.Errorf("agent: offline: %w", err)
	}
	o := &Trainer{Seed: seed}
	var spaces agent.Spaces
	for _, file := range files {
		err := episodes.Read(file, func(s agent.Spaces, e *episodes.Episode) error {
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
	if o.Agent, err = agent.NewDDQN(c, spaces, seed, be); err != nil {
		return nil, err
	}
	o.memory = agent.NewMemory(o.Agent, o.Steps)
	dim, n := len(spaces.Elements), len(spaces.Actions)
	for _, file := range files {
		err := episodes.Read(file, func(_ agent.Spaces, e *episodes.Episode) error {
			for t, r := range e.Reward {
				last := t == len(e.Reward)-1
				o.memory.Add(e.Obs[t*dim:(t+1)*dim], e.Actions[t*n:(t+1)*n], r, e.Obs[(t+1)*dim:(t+2)*dim],
					last && e.Terminated, last && !e.Terminated)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("agent: offline: %w", err)
		}
	}
	o.memory.FitNormalisation()
	o.Total = max(c.Steps/int64(c.TrainEvery)*int64(c.Updates), 1)
	return o, nil
}

func describe(s agent.Spaces) string {
	return fmt.Sprintf("%d elements (%s), actions %v, limits %v", len(s.Elements), s.Names(), s.Actions, s.Limits)
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
func (t *Trainer) Train(ctx context.Context, every int64, report func(agent.Progress) error) error {
	var loss, target mean
	for t.Agent.Updates() < t.Total {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, y, err := t.memory.Learn(t.Seed, float64(t.Agent.Updates())/float64(t.Total))
		if err != nil {
			return err
		}
		loss.add(l)
		target.add(y)
		if report != nil && (every > 0 && t.Agent.Updates()%every == 0 || t.Agent.Updates() >= t.Total) {
			p := agent.Progress{Steps: t.Agent.Updates(), Total: t.Total, Updates: t.Agent.Updates(), Episodes: int64(t.Episodes), Loss: loss.take(), Target: target.take()}
			p.Return, p.Reward = (&mean{}).take(), (&mean{}).take() // NaN: nothing was played
			if err := report(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// mean adds up since it was last taken.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(x float64) { m.sum, m.n = m.sum+x, m.n+1 }

// take returns the mean, NaN of nothing, and starts over.
func (m *mean) take() float64 {
	x := m.sum / float64(m.n)
	*m = mean{}
	return x
}
