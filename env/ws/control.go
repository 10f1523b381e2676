package ws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/planegym/planegym/env"
)

// This file executes text requests, on the session's goroutine.

// text answers a control message. An error ends the session.
func (s *session) text(m message) error {
	c, err := parseControl(m.buf)
	if c.ID == nil {
		s.write(errorFor(0, err))
		return nil
	}
	id := *c.ID
	if !c.numbered() {
		switch {
		case err != nil:
		case c.Type == "ping":
			s.write(&pong{"pong", id})
			return nil
		default:
			err = fmt.Errorf("%w: %s was said before", ErrBadFrame, c.Type)
		}
		s.write(errorFor(id, err))
		return nil
	}
	if fresh, err := s.turn(id); err != nil {
		return s.fatal(id, err)
	} else if !fresh {
		return nil
	}
	s.journal.begin(m)
	s.req.Steps = 1
	s.srv.stats.requests[0].Add(1)
	if err == nil {
		err = s.ack(c.Ack)
	}
	var out any
	if err == nil {
		out, err = s.control(&c, id, m)
	}
	switch {
	case errors.Is(err, errSuperseded):
		return err
	case errors.Is(err, ErrInternal):
		return s.fatal(id, err)
	case err != nil:
		s.replyText(id, errorFor(id, err))
	default:
		s.replyText(id, out)
		if c.Type == "close" && c.Env == 0 {
			return &errEnd{closeNormal, ""}
		}
	}
	return nil
}

// control does what c asks and gives the reply.
func (s *session) control(c *control, id uint64, m message) (out any, err error) {
	made := m.buf
	if c.Type == "make" {
		made = bytes.Clone(m.buf)
	}
	if c.Type != "step" && c.Type != "reset" { // execute does
		mine := s.busy(executing)
		defer s.idle(mine)
	}
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(p)
			err = fmt.Errorf("%w: %v", ErrInternal, p)
		}
	}()
	switch c.Type {
	case "make":
		return s.make(c, id, made)
	case "close":
		if c.Env == 0 {
			return &envReply{"closed", id, 0}, nil
		}
		if e := s.envs[c.Env]; e != nil { // one that hangs too
			s.closeVector(e)
			return &envReply{"closed", id, e.id}, nil
		}
	case "reset", "step", "state", "set_state":
	default:
		return nil, fmt.Errorf("%w: unknown type %q", ErrBadFrame, c.Type)
	}
	e, err := s.find(c.Env)
	if err != nil {
		return nil, err
	}
	if err := e.admit(id, m, false); err != nil {
		return nil, err
	}
	switch c.Type {
	case "reset":
		return s.resetText(e, c, id)
	case "step":
		return s.stepText(e, c, id)
	case "state":
		return s.state(e, c, id)
	}
	return s.setState(e, c, id)
}

// executeText executes a text form as its binary one would be; n is the rows.
func (s *session) executeText(e *vector, c *control, id uint64, kind uint8, seeds []uint64, actions []int32, options *env.Options) (n int, err error) {
	if c.Rows != nil && len(c.Rows) == 0 {
		return n, fmt.Errorf("%w: rows is empty", env.ErrInvalidRows)
	}
	rows, err := e.ints(c.Rows)
	if err == nil {
		err = e.readable(rows)
	}
	if err != nil {
		return n, err
	}
	r := &request{header: header{Type: kind, Seq: id}, Seeds: seeds, Rows: rows, Actions: actions, Options: options}
	if c.Info {
		r.Flags = flagInfo
	}
	_, err = s.execute(e, r)
	return len(e.out.Reward), err
}

func (s *session) resetText(e *vector, c *control, id uint64) (any, error) {
	options, err := e.options(c.Options)
	if err != nil {
		return nil, err
	}
	if c.Seed != nil && c.Seeds != nil {
		return nil, fmt.Errorf("%w: reset: both seed and seeds", ErrBadFrame)
	}
	if len(c.Seeds) > e.num {
		return nil, fmt.Errorf("%w: %d seeds for %d rows", env.ErrInvalidRows, len(c.Seeds), e.num)
	}
	var seeds []uint64
	for _, v := range c.Seeds {
		seeds = append(seeds, uint64(v))
	}
	if c.Seed != nil {
		n := e.num
		if c.Rows != nil {
			n = len(c.Rows)
		}
		for i := range n {
			seeds = append(seeds, uint64(*c.Seed)+uint64(i))
		}
	}
	n, err := s.executeText(e, c, id, typeReset, seeds, nil, options)
	if err != nil {
		return nil, err
	}
	return &resetResult{Type: "reset_result", ID: id, Env: e.id, Obs: split(e.out.Obs, n), Info: e.infos(n, e.info)}, nil
}

// emptyObject says that b is absent, null or {}.
func emptyObject(b json.RawMessage) bool {
	b = bytes.TrimSpace(b)
	return len(b) == 0 || string(b) == "null" || b[0] == '{' && len(bytes.TrimSpace(b[1:len(b)-1])) == 0
}

func (s *session) stepText(e *vector, c *control, id uint64) (any, error) {
	if c.Actions == nil {
		return nil, fmt.Errorf("%w: step: actions is missing", ErrBadFrame)
	}
	if a := c.Actions; a.rows > 0 && (a.width != e.s || a.odd != 0) {
		i, has := 0, a.width
		if a.width == e.s {
			i, has = a.odd, a.has
		}
		if i < len(c.Rows) {
			i = int(c.Rows[i])
		}
		return nil, &env.RowError{Row: i, Err: fmt.Errorf("%w: %d numbers, want %d", env.ErrInvalidAction, has, e.s)}
	}
	n, err := s.executeText(e, c, id, typeStep, nil, c.Actions.flat, nil)
	if err != nil {
		return nil, err
	}
	out := &stepResult{
		resetResult: resetResult{Type: "step_result", ID: id, Env: e.id, Obs: split(e.out.Obs, n), Info: e.infos(n, e.info)},
		Reward:      e.out.Reward, Terminated: e.out.Terminated, Truncated: e.out.Truncated,
	}
	if len(e.out.FinalObs) > 0 && (anySet(e.out.Terminated) || anySet(e.out.Truncated)) {
		out.FinalObs, out.FinalInfo = split(e.out.FinalObs, n), e.infos(n, e.final)
		for i := range out.FinalObs {
			if !e.out.Terminated[i] && !e.out.Truncated[i] {
				out.FinalObs[i] = nil
			}
		}
	}
	return out, nil
}

func (s *session) state(e *vector, c *control, id uint64) (any, error) {
	rows, err := e.rowsOf(c.Rows)
	if err != nil {
		return nil, err
	}
	snap, ok := e.Vector.(env.Snapshotter)
	if !ok {
		return nil, fmt.Errorf("%w: it takes none", env.ErrBadSnapshot)
	}
	out := &stateResult{Type: "state_result", ID: id, Env: e.id, States: [][]byte{}}
	for _, r := range rows {
		b, err := snap.Snapshot(r, nil)
		if err != nil {
			return nil, err
		}
		out.States = append(out.States, b)
	}
	return out, nil
}

// setState restores all rows or, putting back what it changed, none.
func (s *session) setState(e *vector, c *control, id uint64) (any, error) {
	rows, err := e.rowsOf(c.Rows)
	if err != nil {
		return nil, err
	}
	if len(rows) != c.States.n {
		return nil, fmt.Errorf("%w: %d states for %d rows", env.ErrInvalidRows, c.States.n, len(rows))
	}
	states, err := c.States.decode()
	if err != nil {
		return nil, err
	}
	snap, ok := e.Vector.(env.Snapshotter)
	if !ok {
		return nil, fmt.Errorf("%w: it takes none", env.ErrBadSnapshot)
	}
	var before [][]byte
	for i, r := range rows {
		old, err := snap.Snapshot(r, nil)
		if err == nil {
			err = snap.Restore(r, states[i])
		}
		if err != nil {
			for j, b := range before {
				if err := snap.Restore(rows[j], b); err != nil {
					return nil, fmt.Errorf("%w: row %d was changed and cannot be put back: %v", ErrEnv, rows[j], err)
				}
			}
			return nil, err
		}
		before = append(before, old)
	}
	for _, r := range rows {
		e.episodes[r] = episode{} // counted from here
	}
	return &envReply{"state_set", id, e.id}, nil
}
