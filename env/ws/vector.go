package ws

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/planegym/planegym/env"
)

// This file owns an environment of a session and what the server knows of it. It belongs to the
// session's goroutine, or, while it hangs in a step that was given up, to the goroutine it hangs in.

// vector is an environment of a session.
type vector struct {
	env.Vector
	id        uint32
	made      json.RawMessage // the request that made it
	spec      env.Spec
	num, d, s int
	f         int // info fields
	informer  env.Informer
	cancel    context.CancelFunc // of the context it was made with
	skip      bool               // answer `skipped` until RESYNC
	lastSeq   uint64             // of its last request
	hung      atomic.Int32

	out      env.Batch
	many     env.Batch // [T,n,…] of STEP_MANY
	info     []float32 // [n,F], or [T,n,F]
	final    []float32 // likewise, of before the resets of same_step; empty where the client does not know it
	finals   bool      // the client knows final infos
	episodes []episode // [num]
	shown    *shown
	stats    *scenarioStats
}

// vector.hung: a hung vector belongs to the goroutine that hangs in it,
// which closes it if it was orphaned meanwhile.
const (
	notHung = iota
	hungNow
	orphaned
)

// episode is what an episode_end event says.
type episode struct {
	Steps     int     `json:"steps"`
	Return    float64 `json:"return"`
	Resetting bool    `json:"resetting,omitempty"` // its next step starts an episode, and is none
}

// find is the environment of a number.
func (s *session) find(id uint32) (*vector, error) {
	if e := s.envs[id]; e != nil {
		if e.hung.Load() != notHung {
			e.skip = true
			return nil, fmt.Errorf("%w: a step of it, given up, has not come back", ErrTimeout)
		}
		return e, nil
	}
	if id >= 1 && id <= s.lastEnv {
		return nil, env.ErrClosed
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknownEnv, id)
}

// admit checks what a real-time environment asks for beyond order.
func (e *vector) admit(seq uint64, m message, many bool) error {
	last := e.lastSeq
	e.lastSeq = seq
	if !e.spec.RealTime {
		return nil
	}
	if last > m.replied {
		return fmt.Errorf("%w: request %d is still under way, and a real-time environment takes one at a time", ErrBadFrame, last)
	}
	if many {
		return fmt.Errorf("%w: a real-time environment takes no STEP_MANY", ErrBadFrame)
	}
	return nil
}

// begin notes that rows begin an episode.
func (e *vector) begin(rows []int) {
	for i := range len(e.out.Reward) {
		e.episodes[env.RowAt(rows, i)] = episode{}
	}
}

// track adds up episodes over the rows of b from the at-th, and sends the
// events of their ends.
func (s *session) track(e *vector, rows []int, b *env.Batch, at int) {
	n := len(e.out.Reward)
	terminated, truncated := b.Terminated[at:at+n], b.Truncated[at:at+n]
	for i, reward := range b.Reward[at : at+n] {
		row := i
		if rows != nil {
			row = rows[i]
		}
		p := &e.episodes[row]
		if p.Resetting {
			*p = episode{}
			continue
		}
		p.Steps++
		p.Return += float64(reward)
		if terminated[i] || truncated[i] {
			s.ended(e, row, *p)
			*p = episode{Resetting: e.spec.Autoreset == env.NextStep}
		}
	}
}

func (s *session) ended(e *vector, row int, p episode) {
	if s.replay {
		return
	}
	s.srv.stats.episodes.Add(1)
	e.stats.episodes.Add(1)
	if s.events {
		row, total := row, p.Return // only these go to the heap
		s.write(&event{Type: "event", Event: "episode_end", Env: e.id, Row: &row, Steps: p.Steps, Return: &total})
	}
}

// appendInfos appends the rows' info.
func (e *vector) appendInfos(rows []int, n int) {
	if e.f > 0 {
		for i := range n {
			e.info = e.informer.Info(env.RowAt(rows, i), e.info)
		}
		for i := 0; e.finals && i < n; i++ {
			at := len(e.final)
			final, ok := env.FinalInfo(e.Vector, env.RowAt(rows, i), e.final)
			if !ok { // the vector does not know: what it has is the best there is
				final = e.informer.Info(env.RowAt(rows, i), e.final[:at])
			}
			e.final = final
		}
	}
}

func (e *vector) replyBytes(n int) int {
	return int(resultBytes(false, n, e.d, e.f, e.spec.Autoreset == env.SameStep, e.finals))
}

// pending is how many bytes of replies may wait for a client.
func (e *vector) pending() int { return max(leastPending, 2*inFlight*e.replyBytes(e.num)) }

// readable refuses a text reply that would be too long.
func (e *vector) readable(rows []int) error {
	n := e.num
	if rows != nil {
		n = len(rows)
	}
	if size := 32 * n * (2*e.d + 2*e.f + 3); size > maxReply {
		return fmt.Errorf("%w: %d rows make a JSON reply longer than %d bytes: use the binary form", ErrCapacity, n, maxReply)
	}
	return nil
}

// infos are the infos of n rows, info [n,F], by name; nil where there are none.
func (e *vector) infos(n int, info []float32) map[string][]float32 {
	if len(info) == 0 {
		return nil
	}
	out := make(map[string][]float32, e.f)
	for j, f := range e.informer.InfoFields() {
		for i := range n {
			out[f.Name] = append(out[f.Name], info[i*e.f+j])
		}
	}
	return out
}

// ints are rows as an environment takes them; nil stays nil. More than there
// are cannot all be good.
func (e *vector) ints(rows rowList) ([]int, error) {
	if len(rows) > e.num {
		return nil, fmt.Errorf("%w: %d rows named, there are %d", env.ErrInvalidRows, len(rows), e.num)
	}
	if rows == nil {
		return nil, nil
	}
	out := make([]int, len(rows))
	for i, r := range rows {
		out[i] = int(r)
	}
	return out, nil
}

// rowsOf is rows, or all.
func (e *vector) rowsOf(list rowList) ([]int, error) {
	rows, err := e.ints(list)
	if err != nil {
		return nil, err
	}
	if list == nil {
		for i := range e.num {
			rows = append(rows, i)
		}
	}
	return rows, env.CheckRows(rows, make([]bool, e.num))
}

func split(x []float32, n int) [][]float32 {
	out := make([][]float32, n)
	d := len(x) / n
	for i := range out {
		out[i] = x[i*d : (i+1)*d]
	}
	return out
}

func (s *session) closeVector(e *vector) {
	delete(s.envs, e.id)
	s.rows.Add(-int64(e.num))
	e.stats.rows.Add(-int64(e.num))
	s.srv.mu.Lock()
	s.shown = slices.DeleteFunc(s.shown, func(d *shown) bool { return d.Env == e.id })
	s.srv.mu.Unlock()
	if e.hung.CompareAndSwap(hungNow, orphaned) {
		return // who hangs in it closes it
	}
	e.close(s.log)
}

func (e *vector) close(log *slog.Logger) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	defer e.cancel()
	if err := e.Close(); err != nil {
		log.Warn("environment did not close", "env", e.id, "error", err)
	}
}
