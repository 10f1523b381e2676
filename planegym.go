// Package planegym makes environments in which agents tune switch queues so that
// video viewers suffer fewer stalls, and serves them over WebSocket.
//
//	v, err := planegym.Make(ctx, "contended", planegym.Options{NumEnvs: 256})
//	...
//	defer v.Close()
//	var b env.Batch
//	err = v.Reset(ctx, nil, seeds, &b)
//	err = v.Step(ctx, nil, actions, &b) // b.Obs, b.Reward, b.Terminated, b.Truncated
//
// This package joins the others, which do not know each other:
//
//	recordings ──▶ telemetry ──▶ timegan ──▶ env ──▶ agent ──▶ p4 ──▶ switches
//	(INT, DASH)    datasets      model       steps    policy    writes    │
//	     ▲                                    ▲  └── env/ws: any language │
//	     └────────────── live collectors ─────┴───────────────────────────┘
//
// A scenario (package scenarios) is an experiment as plain data: what takes the
// place of the switches (recordings, a model, the emulated testbed), what is observed,
// what is rewarded. Make makes a vector of it, Handler serves it to any language,
// and package agent trains against the vector wherever it runs. Live switches need
// package deploy, which links gRPC; this package does not.
package planegym

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/scenarios"
)

// Options say how Make makes an environment. The zero value is one environment
// that a next step resets, on this processor.
type Options struct {
	NumEnvs   int           // rows of the vector; 1
	Autoreset env.Autoreset // env.NextStep
	// Overrides is a JSON object with keys of the scenario's file, nested as
	// there: {"env": {"reward": {"name": "qoe-lin"}}}. An unknown key is an error.
	Overrides string
	Data      string    // folder of recordings, for scenarios that replay them; $PLANEGYM_DATA
	Computing Computing // what computes models, but for its threads
	// Live opens the switches of a live scenario; deploy.Open and Learn do it. nil:
	// a live scenario is an error.
	Live func(ctx context.Context, s scenarios.Scenario, mode env.Autoreset) (env.Vector, error)
}

func (o Options) gym() *Gym {
	return &Gym{Data: cmp.Or(o.Data, os.Getenv("PLANEGYM_DATA")), Computing: o.Computing, Live: o.Live}
}

// Make makes an environment of a scenario: a bundled one by name (see
// scenarios.Names), or a file whose name ends in .toml. ctx bounds the making
// alone. The vector is the caller's to close.
//
// Errors wrap scenarios.ErrUnknown for a name that is neither, and ErrConfig for
// what a scenario asks for and cannot have.
func Make(ctx context.Context, scenario string, o Options) (env.Vector, error) {
	s, err := scenarios.Load(scenario)
	if err != nil {
		return nil, err
	}
	if s, err = s.With(ctx, []byte(o.Overrides)); err != nil {
		return nil, err
	}
	if o.NumEnvs < 0 {
		return nil, fmt.Errorf("planegym: NumEnvs: %d is negative", o.NumEnvs)
	}
	v, err := o.gym().Open(ctx, s, max(o.NumEnvs, 1), o.Autoreset)
	if err != nil {
		return nil, fmt.Errorf("planegym: scenario %s: %w", s.Name, err)
	}
	return v, nil
}

// Handler returns an http.Handler that serves environments to any client of
// planegym.v1 (env/ws/PROTOCOL.md) at ws.Path, with a dashboard at /: the bundled
// scenarios by name, and the files named in files. NumEnvs, Autoreset and
// Overrides are each client's own choice, so those of o are not used. Its Shutdown
// ends it.
//
//	h, err := planegym.Handler(planegym.Options{}, nil, "mine.toml")
//	err = http.ListenAndServe("127.0.0.1:7070", h)
func Handler(o Options, log *slog.Logger, files ...string) (*ws.Server, error) {
	served, err := Bundled()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if !strings.HasSuffix(f, ".toml") {
			return nil, fmt.Errorf("planegym: %q is no .toml file: bundled scenarios are served anyway", f)
		}
		s, err := scenarios.Load(f)
		if err != nil {
			return nil, err
		}
		served[s.Name] = s
	}
	return ws.NewServer(ws.Options{Open: o.gym().Serve(served), Log: log}), nil
}
