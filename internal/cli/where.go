package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
)

// where says in which environment an agent acts: here, or on a server.
type where struct {
	scenario, url, token string
	envs                 int
	reconnect            time.Duration
	local                planegym.Gym
}

func (w *where) add(cmd *cobra.Command, envs int) {
	f := cmd.Flags()
	f.StringVar(&w.scenario, "scenario", "", "the scenario: bundled, or a .toml file; default: what the agent was trained in, else "+defaultScenario)
	addData(cmd, &w.local.Data)
	f.StringVar(&w.url, "url", "", "step environments of this server, ws://HOST:PORT"+ws.Path+", instead of ones in this process")
	f.StringVar(&w.token, "token", "", "bearer token for the server; default $PLANEGYM_TOKEN")
	f.DurationVar(&w.reconnect, "reconnect", 0, "how long to try to come back to a server that was lost; 0: as long as it keeps the session, negative: not at all")
	f.IntVar(&w.envs, "envs", envs, "environments to step at once")
}

// check finishes the flags. trained is the scenario of the agent at hand, "".
func (w *where) check(cmd *cobra.Command, trained string) error {
	switch {
	case w.envs < 1:
		return usagef("%s: --envs: %d is less than 1", cmd.Name(), w.envs)
	case w.scenario != "":
	case trained != "":
		w.scenario = trained
	default:
		w.scenario = defaultScenario
	}
	if w.url != "" && strings.HasSuffix(w.scenario, ".toml") {
		return usagef("%s: --scenario: %s is a file of this machine: name a scenario that the server has", cmd.Name(), w.scenario)
	}
	return nil
}

// open makes n environments. info asks a server to tell what observations
// leave out.
func (w *where) open(ctx context.Context, n int, info bool) (env.Vector, error) {
	if w.url != "" {
		if w.token == "" { // not the flag's default: --help prints those
			w.token = os.Getenv("PLANEGYM_TOKEN")
		}
		c, err := ws.Dial(ctx, w.url, ws.DialOptions{Scenario: w.scenario, NumEnvs: n, Info: info, Token: w.token, Resume: w.reconnect})
		if err != nil {
			if errors.As(err, new(syscall.Errno)) { // nothing listens there
				err = fmt.Errorf("%w: is planegym serve running there?", err)
			}
			return nil, fmt.Errorf("--url: %w", err)
		}
		return c, nil
	}
	s, err := loadScenario(w.scenario)
	if err != nil {
		return nil, err
	}
	v, err := w.local.Open(ctx, s, n, env.NextStep)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", w.scenario, err)
	}
	return v, nil
}

// addData adds the flag that names the folder of recordings.
func addData(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "data", os.Getenv("PLANEGYM_DATA"), "folder of recordings, for scenarios that replay them; default $PLANEGYM_DATA")
}
