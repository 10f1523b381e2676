package picture

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// ErrNoPlayer is the error of an environment whose infos name no player and
// no queue, such as CartPole: there is nothing to draw.
var ErrNoPlayer = errors.New("the environment's infos name no player and no queues")

// Columns says where a sample of named values holds what a Moment shows.
type Columns struct {
	buffer, fps, kbps, stall int
	limits, depths           []int
}

var (
	limitName = regexp.MustCompile(`^limit[0-9]+$`)
	depthName = regexp.MustCompile(`^enq_qdepth[0-9]+$`)
)

// Scale is the drawing's before any moment is known.
func (c Columns) Scale(title string) Scale {
	return ScaleOf(title, []Moment{{Depth: make([]float64, len(c.depths))}})
}

// FindColumns finds the columns of infos; ErrNoPlayer where there are none.
func FindColumns(fields []telemetry.Field) (Columns, error) {
	at := func(name string) int {
		return slices.IndexFunc(fields, func(f telemetry.Field) bool { return f.Name == name })
	}
	c := Columns{buffer: at("lbo_s"), fps: at("fps"), kbps: at("rep_kbps"), stall: at("stall_s")}
	for i, f := range fields {
		switch {
		case limitName.MatchString(f.Name):
			c.limits = append(c.limits, i)
		case depthName.MatchString(f.Name):
			c.depths = append(c.depths, i)
		}
	}
	if min(c.buffer, c.fps, c.kbps, c.stall) < 0 || len(c.limits) == 0 || len(c.depths) == 0 {
		return c, ErrNoPlayer
	}
	return c, nil
}

// Moment reads one sample's values.
func (c Columns) Moment(values []float32) Moment {
	m := Moment{
		Buffer: float64(values[c.buffer]), FPS: float64(values[c.fps]),
		Kbps: float64(values[c.kbps]), Stall: float64(values[c.stall]),
	}
	for _, i := range c.limits {
		m.Limit = append(m.Limit, float64(values[i]))
	}
	for _, i := range c.depths {
		m.Depth = append(m.Depth, float64(values[i]))
	}
	return m
}

// Record plays the first steps of one episode in row 0 of v and gives a moment
// for the reset and each step. act fills actions [S] for the observation [D].
func Record(ctx context.Context, v env.Vector, act func(obs []float32, actions []int32), seed uint64, steps int) ([]Moment, error) {
	informer, ok := v.(env.Informer)
	if !ok {
		return nil, ErrNoPlayer
	}
	columns, err := FindColumns(informer.InfoFields())
	if err != nil {
		return nil, err
	}
	spec, rows := v.Spec(), []int{0}
	var out env.Batch
	if err := v.Reset(ctx, rows, []uint64{seed}, &out); err != nil {
		return nil, fmt.Errorf("picture: reset: %w", err)
	}
	moments := []Moment{columns.Moment(informer.Info(0, nil))}
	actions := make([]int32, len(spec.Action))
	for step := 1; step <= steps; step++ {
		act(out.Obs, actions)
		if err := v.Step(ctx, rows, actions, &out); err != nil {
			return nil, fmt.Errorf("picture: step %d: %w", step, err)
		}
		m := columns.Moment(informer.Info(0, nil))
		m.Step, m.Clock = step, float64(step)*spec.StepSeconds
		m.Reward = float64(out.Reward[0])
		m.Return = moments[step-1].Return + m.Reward
		m.Ends = out.Terminated[0] || out.Truncated[0]
		moments = append(moments, m)
		if m.Ends {
			break
		}
	}
	return moments, nil
}

// Episode plays an episode of v, as Record does, and draws it as an animated SVG: five
// steps a second.
func Episode(ctx context.Context, v env.Vector, act func(obs []float32, actions []int32), seed uint64, steps int, title string) (string, error) {
	scale, moments, err := played(ctx, v, act, seed, steps, title)
	if err != nil {
		return "", err
	}
	return scale.Animation(moments, .2), nil
}

// FittingEpisode is Episode for a page: wide and narrow, see Scale.Fitting.
func FittingEpisode(ctx context.Context, v env.Vector, act func(obs []float32, actions []int32), seed uint64, steps int, title string) (string, error) {
	scale, moments, err := played(ctx, v, act, seed, steps, title)
	if err != nil {
		return "", err
	}
	return scale.Fitting(func(s Scale) string { return s.Animation(moments, .2) }), nil
}

func played(ctx context.Context, v env.Vector, act func(obs []float32, actions []int32), seed uint64, steps int, title string) (Scale, []Moment, error) {
	moments, err := Record(ctx, v, act, seed, steps)
	if err != nil {
		return Scale{}, nil, err
	}
	scale := ScaleOf(title, moments)
	for _, l := range v.Spec().Limits {
		scale.MaxLimit = max(scale.MaxLimit, float64(l))
	}
	return scale, moments, nil
}
