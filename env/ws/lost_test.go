package ws

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// slow is an environment whose steps take as long as it says, or until their
// context ends.
type slow struct {
	env.Vector
	takes time.Duration
	ended atomic.Int64 // after so long a step was given up
}

func (v *slow) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	began := time.Now()
	select {
	case <-time.After(v.takes):
	case <-ctx.Done():
		v.ended.Store(int64(time.Since(began)))
		return ctx.Err()
	}
	return v.Vector.Step(ctx, rows, actions, out)
}

// A step whose client loses its connection goes on while the client may come back,
// and is answered when it does; it ends when the client's time is over.
func TestStepOfALostClient(t *testing.T) {
	for _, back := range []bool{true, false} {
		v := &slow{takes: time.Minute}
		o := Options{ResumeFor: 40 * time.Second, StepTimeout: time.Hour, Open: openSlow(v)}
		faked(t, o, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			token := p.start()
			p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
			time.Sleep(10 * time.Second)
			_ = p.net.Close()
			if back {
				time.Sleep(20 * time.Second)
				if s.count() != [2]int{0, 1} {
					t.Errorf("sessions with a client and without: %v", s.count())
				}
				p = pipe(t, s, false)
				p.resume(token, 2)
				p.want("resumed")
				p.want("step_result")
				_ = p.net.Close()
				if n := v.ended.Load(); n != 0 {
					t.Errorf("the step was given up after %v", time.Duration(n))
				}
				return
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if n := time.Duration(v.ended.Load()); n < 50*time.Second || n > 55*time.Second {
				t.Errorf("the step of a client that stays away ended after %v, want 10 s and the 40 s to come back", n)
			}
			if s.count() != [2]int{0, 0} {
				t.Errorf("sessions with a client and without: %v", s.count())
			}
		})
	}
}

// A reply is kept until it is acknowledged, and no longer: a client may resume after
// any reply that it has not acknowledged, or the last that it has, and after no
// earlier one. An older acknowledgement changes nothing; one of a reply that was not
// sent is an error.
func TestAcknowledgedRepliesAreForgotten(t *testing.T) {
	for _, c := range []struct {
		name string
		acks []int // of the steps 3, 4, 5, …
		last int   // that the client says it has
		ok   bool
	}{
		{"none since", []int{2, 2, 2}, 2, true},
		{"none since, all read", []int{2, 2, 2}, 5, true},
		{"one before what is kept", []int{2, 2, 2}, 1, false},
		{"each", []int{2, 3, 4}, 4, true},
		{"each, one behind", []int{2, 3, 4}, 3, false},
		{"an older one again", []int{2, 3, 4, 2}, 4, true},
		{"an older one again, one behind", []int{2, 3, 4, 2}, 3, false},
		{"a reply that was not sent", []int{2, 2, 2}, 6, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			faked(t, Options{}, func(t *testing.T, s *Server) {
				p := pipe(t, s, false)
				token := p.start()
				for i, ack := range c.acks {
					p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, 3+i, ack)
					p.want("step_result")
				}
				_ = p.net.Close()
				synctest.Wait()
				p = pipe(t, s, false)
				p.resume(token, c.last)
				if !c.ok {
					p.want("session_lost")
					p.wantClose(closeLost)
					return
				}
				p.want("resumed")
				for id := c.last + 1; id < 3+len(c.acks); id++ {
					if m := p.want("step_result"); m["id"] != float64(id) {
						t.Errorf("answered again %v, want the reply to %d", m["id"], id)
					}
				}
				_ = p.net.Close()
			})
		})
	}
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		p.say(`{"type":"step","id":3,"ack":3,"env":1,"actions":[1]}`)
		p.want("bad_frame")
		_ = p.net.Close()
	})
}

// openSlow makes v over a cartpole.
func openSlow(v *slow) func(context.Context, MakeRequest) (env.Vector, error) {
	return func(context.Context, MakeRequest) (env.Vector, error) {
		inner, err := cartpole.New(1, env.NextStep)
		v.Vector = inner
		return v, err
	}
}
