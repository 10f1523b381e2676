package ws

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/planegym/planegym/env"
)

// This file executes binary requests, and what the text forms have in common with them, on the
// session's goroutine.

// binary answers a request of the hot path. An error ends the session.
func (s *session) binary(m message) error {
	h, err := parseHeader(m.buf)
	if err != nil {
		return s.fatal(0, err)
	}
	if h.Type != typeStep && h.Type != typeReset && h.Type != typeStepMany {
		return s.fatal(h.Seq, fmt.Errorf("%w: type %d is not a request", ErrBadFrame, h.Type))
	}
	if fresh, err := s.turn(h.Seq); err != nil {
		return s.fatal(h.Seq, err)
	} else if !fresh {
		return nil
	}
	s.journal.begin(m)
	s.srv.stats.requests[h.Type].Add(1)
	e, err := s.find(h.Env)
	if err == nil {
		err = s.hot(e, h, m)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSuperseded):
		return err
	case errors.Is(err, ErrInternal):
		return s.fatal(h.Seq, err)
	}
	s.replyText(h.Seq, errorFor(h.Seq, err))
	return nil
}

// hot decodes, executes and answers; an error is to be answered.
func (s *session) hot(e *vector, h header, m message) error {
	if h.Flags&flagResync != 0 {
		e.skip = false
	}
	r := s.req
	r.header = h
	err := e.admit(h.Seq, m, h.Type == typeStepMany)
	if err == nil {
		err = r.decode(m.buf, e.num, e.s)
	}
	if err == nil {
		err = s.ack(r.Ack)
	}
	if err == nil && e.skip {
		return ErrSkipped
	}
	var steps int
	if err == nil {
		steps, err = s.execute(e, r)
	}
	if errors.Is(err, errSuperseded) {
		return err
	}
	if err != nil {
		e.skip = true
		return err
	}
	h.Type++ // its result
	out := &e.out
	if h.Type == typeStepManyResult {
		out = &e.many
	}
	s.reply(h.Seq, opBinary, appendResult(s.buffer(h.Seq), h, steps, out, e.info, e.final))
	return nil
}

// execute does what r asks, into e.out (STEP_MANY: e.many) and e.info, and
// gives the number of steps done. After errSuperseded the session and r
// belong to another goroutine.
func (s *session) execute(e *vector, r *request) (steps int, err error) {
	s.doing = doing{e, r.Seq}
	kind := uint64(executing | timed)
	if s.replay {
		kind = executing
	}
	ctx := s.ctx // giveUp replaces it
	mine := s.busy(kind)
	if e.spec.RealTime {
		s.startHelp(mine)
	}
	steps, err = s.call(ctx, e, r, &mine)
	if !s.idle(mine) {
		s.late(e)
		return steps, errSuperseded
	}
	switch {
	case err != nil:
	case r.Type == typeReset:
		e.begin(r.Rows)
	default:
		s.srv.stats.rows.Add(uint64(steps * len(e.out.Reward)))
		e.stats.steps.Add(uint64(steps * len(e.out.Reward)))
		b := &e.many
		if r.Type == typeStep {
			b = &e.out
		}
		looked := e.shown.watch.until.Load() != 0
		for t := range steps {
			at := t * len(e.out.Reward)
			s.track(e, r.Rows, b, at)
			if looked {
				e.sample(r, b, at)
			}
		}
	}
	return steps, err
}

// call is the call of the environment, whose panic is an error.
func (s *session) call(ctx context.Context, e *vector, r *request, mine *uint64) (steps int, err error) {
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
			err = fmt.Errorf("%w: %v", ErrInternal, p)
		}
	}()
	e.info, e.final = e.info[:0], e.final[:0]
	switch r.Type {
	case typeReset:
		if r.Options != nil {
			err = env.ResetWith(ctx, e.Vector, r.Rows, r.Seeds, *r.Options, &e.out)
		} else {
			err = e.Reset(ctx, r.Rows, r.Seeds, &e.out)
		}
	case typeStep:
		err = e.Step(ctx, r.Rows, r.Actions, &e.out)
	default:
		return s.stepMany(ctx, e, r, mine)
	}
	if err == nil && r.Flags&flagInfo != 0 {
		e.appendInfos(r.Rows, len(e.out.Reward))
	}
	return 1, err
}

func (s *session) stepMany(ctx context.Context, e *vector, r *request, mine *uint64) (done int, err error) {
	n, final := int(r.N), e.spec.Autoreset == env.SameStep
	f := 0
	if r.Flags&flagInfo != 0 {
		f = e.f
	}
	if size := resultBytes(true, n*r.Steps, e.d, f, final, e.finals); size > maxReply {
		most := sort.Search(r.Steps, func(t int) bool { return resultBytes(true, n*(t+1), e.d, f, final, e.finals) > maxReply })
		return done, fmt.Errorf("%w: %d steps make a reply of %d bytes; %d fit", ErrCapacity, r.Steps, size, most)
	}
	wide := n * e.s
	for t := range r.Steps {
		if err := env.CheckActions(r.Rows, n, r.Actions[t*wide:(t+1)*wide], e.spec.Action); err != nil {
			return done, err
		}
	}
	b := &e.many
	b.Size(n*r.Steps, e.d, final)
	for t := range r.Steps {
		if !s.still(mine) {
			return done, errSuperseded
		}
		if err := e.Step(ctx, r.Rows, r.Actions[t*wide:(t+1)*wide], &e.out); err != nil {
			if t > 0 {
				err = fmt.Errorf("after %d of %d steps: %w", t, r.Steps, err)
			}
			return done, err
		}
		copy(b.Obs[t*n*e.d:], e.out.Obs)
		copy(b.Reward[t*n:], e.out.Reward)
		copy(b.Terminated[t*n:], e.out.Terminated)
		copy(b.Truncated[t*n:], e.out.Truncated)
		if final {
			copy(b.FinalObs[t*n*e.d:], e.out.FinalObs)
		}
		if f > 0 {
			e.appendInfos(r.Rows, n)
		}
		if e.spec.Autoreset == env.Disabled && (anySet(e.out.Terminated) || anySet(e.out.Truncated)) {
			b.Size(n*(t+1), e.d, final)
			return t + 1, nil
		}
	}
	return r.Steps, nil
}
