package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/agent/run"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
)

func (t *training) start(cmd *cobra.Command) error {
	if err := t.check(cmd); err != nil {
		return err
	}
	info, err := t.begin(cmd)
	if err != nil {
		return err
	}
	defer t.be.Close()
	release, err := lockOutput("train: --out", t.out)
	if err != nil {
		return err
	}
	defer release()
	if file := t.run.Exists(); file != "" {
		return usagef("train: --out: %s already exists: --resume %s goes on with a training, another --out starts over", file, t.out)
	}
	if t.offline != "" {
		return t.runOffline(cmd)
	}
	return t.runOnline(cmd, info)
}

// begin finds out what there is to go on from, and makes the backend.
func (t *training) begin(cmd *cobra.Command) (info agent.Info, err error) {
	if t.resume != "" {
		t.out = t.resume
	}
	t.run = run.New(t.out, t.every)
	switch {
	case t.resume != "":
		if info, err = t.run.Resume(); err != nil {
			return info, fmt.Errorf("train: --resume: %w", err)
		}
		t.where.envs = info.Rows
		if !cmd.Flags().Changed("kernels") {
			t.Kernels = info.Kernels
		}
	case t.transfer != "":
		if info, err = agent.Inspect(t.transfer); err != nil {
			return info, err
		}
	}
	if t.switches.on {
		t.where.envs = 1
	}
	if err := t.where.check(cmd, info.Scenario); err != nil {
		return info, err
	}
	if t.c, err = t.config(); err != nil {
		return info, err
	}
	var k compute.Kernels
	if t.loss, k, err = t.computing.agentEngine(); err != nil {
		return info, err
	}
	t.be = compute.NewBackend(k, t.Threads)
	return info, nil
}

func (t *training) runOnline(cmd *cobra.Command, info agent.Info) (err error) {
	ctx := cmd.Context()
	var v env.Vector
	if t.switches.on {
		v, err = t.switches.open(cmd, t.where.scenario, t.where.local.Data)
	} else {
		v, err = t.where.open(ctx, t.where.envs, false)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	var tr *agent.Trainer
	switch {
	case t.resume != "":
		tr, err = agent.Resume(ctx, t.run.Checkpoint(), v, t.steps, t.be)
	case t.transfer != "":
		tr, err = agent.Transfer(t.transfer, t.c, v, t.seed, t.freeze, t.be)
	default:
		tr, err = agent.NewTrainer(t.c, v, t.seed, t.be)
	}
	if err != nil {
		return err
	}
	if err := tr.Agent.Use(t.loss); err != nil {
		return err
	}
	tr.Agent.Scenario = t.where.scenario
	began, finish := time.Now(), t.show(cmd, tr.Agent.Config.Steps, "transitions")
	err = t.run.Train(ctx, tr, t.be)
	if e := finish(); err == nil {
		err = e
	}
	if err != nil {
		return t.stopped(err)
	}
	t.run.Done(info, tr.Agent.Config.Steps)
	return t.finish(cmd, tr.Agent, time.Since(began), v.Spec().RealTime)
}

func (t *training) runOffline(cmd *cobra.Command) error {
	o, err := offline.New(t.c, t.offline, t.seed, t.be)
	if err != nil {
		return err
	}
	if err := o.Agent.Use(t.loss); err != nil {
		return err
	}
	o.Agent.Scenario = o.Env
	if cmd.Flags().Changed("scenario") {
		o.Agent.Scenario = t.where.scenario
	}
	t.where.scenario = o.Agent.Scenario
	began, finish := time.Now(), t.show(cmd, o.Total, "updates")
	err = t.run.TrainOffline(cmd.Context(), o)
	if e := finish(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return t.finish(cmd, o.Agent, time.Since(began), false)
}
