package ws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
)

// back answers a resume, of a client that has had the replies up to got.
func (f *far) back(got, accepted int) {
	f.t.Helper()
	f.resumes(got)
	f.say(`{"type":"resumed","id":0,"accepted":%d}`, accepted)
}

// resumes hears the resume of a client that has had the replies up to got.
func (f *far) resumes(got int) {
	f.t.Helper()
	if m := f.hear("resume"); fmt.Sprint(m) != fmt.Sprintf("map[capabilities:[final_info reset_options resume] client:planegym-go id:0 last_seq:%d token:secret type:resume version:1]", got) {
		f.t.Errorf("said %v", m)
	}
}

// The client sends again exactly the requests that the server does not have. If the
// server has fewer than it answered, or more than were sent, the session is lost.
func TestResumeSendsAgain(t *testing.T) {
	for accepted, ok := range map[int]bool{1: false, 2: true, 3: true, 4: true, 5: true, 6: false} {
		scripted(t, DialOptions{}, func(d *dialed, old *far) {
			if _, _, err := d.step(old, nil, 1); err != nil { // the reply to 2 has come
				t.Fatal(err)
			}
			var said [][]byte
			var out env.Batch
			if err := while(func() {
				for range 3 {
					_, p, _ := old.in.next()
					said = append(said, slices.Clone(p))
				}
			}, func() error {
				for i := range int32(3) {
					if _, err := d.Send(nil, []int32{i, 0, 0, 0, 0, i}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			_ = old.net.Close()
			err := while(func() {
				f := <-d.ends
				f.resumes(2)
				_ = f.send(opPing, nil, true)
				_ = f.send(opBinary, []byte("x"), true) // which is none of ours
				f.say(`{"type":"resumed","id":0,"accepted":%d}`, accepted)
				if !ok {
					if _, _, err := f.in.next(); err == nil {
						t.Error("the connection goes on")
					}
					return
				}
				for seq := accepted + 1; seq <= 5; seq++ {
					if op, p, err := f.in.next(); op != opBinary || !slices.Equal(p, said[seq-3]) || err != nil {
						t.Errorf("accepted %d: again opcode %d, %x, %v, want %x", accepted, op, p, err, said[seq-3])
					}
				}
				for seq := uint64(3); seq <= 5; seq++ {
					f.answer(header{Type: typeStep, N: 3, Seq: seq}, 1, float32(seq), false, false)
				}
			}, func() error {
				for seq := range uint64(3) {
					if got, err := d.Recv(background, &out); err != nil || got != seq+3 || out.Obs[0] != float32(seq+3) {
						return fmt.Errorf("reply %d: %d, %v: %w", seq+3, got, out.Obs, err)
					}
				}
				return nil
			})
			if ok != (err == nil) || !ok && !errors.Is(err, ErrSessionLost) {
				t.Errorf("accepted %d: %v", accepted, err)
			}
			if !ok && (d.broken == nil || !strings.Contains(err.Error(), fmt.Sprintf("resumed of %d requests, sent are 5 and answered 2", accepted))) {
				t.Errorf("accepted %d: %v", accepted, err)
			}
		})
	}
}

// Every call notices a lost connection, and resumes the session.
func TestEveryCallResumes(t *testing.T) {
	six := make([]int32, 6)
	var out env.Batch
	result := func(f *far, steps int) {
		f.answer(f.request().header, steps, 3, false, false)
	}
	for name, c := range map[string]struct {
		call   func(d *dialed) error
		answer func(f *far)
	}{
		"reset": {func(d *dialed) error { return d.Reset(background, nil, nil, &out) }, func(f *far) { result(f, 1) }},
		"step":  {func(d *dialed) error { return d.Step(background, nil, six, &out) }, func(f *far) { result(f, 1) }},
		"many":  {func(d *dialed) error { _, err := d.StepMany(background, nil, 1, six, &out); return err }, func(f *far) { result(f, 1) }},
		"send":  {func(d *dialed) error { _, err := d.Send(nil, six); return err }, func(f *far) { f.request() }},
		"state": {func(d *dialed) error { return d.Restore(0, nil) }, func(f *far) { f.hear("set_state"); f.say(`{"type":"state_set","id":2}`) }},
		"option": {func(d *dialed) error { return d.ResetWith(background, nil, nil, env.Options{}, &out) }, func(f *far) {
			f.hear("reset")
			f.say(`{"type":"reset_result","id":2,"obs":[[1,2],[3,4],[5,6]]}`)
		}},
	} {
		for _, when := range []string{"before", "after"} { // the request is written
			t.Run(name+", "+when, func(t *testing.T) {
				scripted(t, DialOptions{}, func(d *dialed, old *far) {
					if when == "before" {
						_ = old.net.Close()
					} else if name == "send" {
						return // which waits for nothing
					}
					err := while(func() {
						if when == "after" {
							_, _, _ = old.in.next()
							_ = old.net.Close()
						}
						f := <-d.ends
						f.back(1, 1)
						c.answer(f)
					}, func() error { return c.call(d) })
					if err != nil || d.sent != 2 {
						t.Errorf("%v; %d sent", err, d.sent)
					}
				})
			})
		}
	}
}

// Between attempts to resume the client waits 10 ms, then twice as long each time, up
// to a second; it gives up rather than wait beyond its time.
func TestResumeWaits(t *testing.T) {
	for _, c := range []struct {
		within time.Duration // 0: as the server says, 10 s
		want   []int         // ms
	}{
		{0, []int{0, 10, 30, 70, 150, 310, 630, 1270, 2270, 3270, 4270, 5270, 6270, 7270, 8270, 9270}},
		{30 * time.Millisecond, []int{0, 10, 30}}, {29 * time.Millisecond, []int{0, 10}}, {10 * time.Millisecond, []int{0, 10}}, {9 * time.Millisecond, []int{0}}, {1, []int{0}},
	} {
		scripted(t, DialOptions{Resume: c.within}, func(d *dialed, old *far) {
			_ = old.net.Close()
			began := time.Now()
			d.tries, d.down = nil, errUnplugged
			err := d.Step(background, nil, make([]int32, 6), new(env.Batch))
			var got []int
			for _, at := range d.tries {
				got = append(got, int(at.Sub(began).Milliseconds()))
			}
			if !slices.Equal(got, c.want) || int(time.Since(began).Milliseconds()) != c.want[len(c.want)-1] {
				t.Errorf("within %v: tries after %v ms, given up after %v; want %v", c.within, got, time.Since(began), c.want)
			}
			if c.within == 0 {
				c.within = 10 * time.Second
			}
			if !errors.Is(err, ErrDisconnected) || !errors.Is(err, errUnplugged) || !strings.Contains(err.Error(), "not back within "+c.within.String()) {
				t.Error(err)
			}
			if again := d.Step(background, nil, make([]int32, 6), new(env.Batch)); again != err || len(d.tries) != len(c.want) {
				t.Errorf("a call after that: %v, %d tries", again, len(d.tries))
			}
		})
	}
}

// A call ends with its context at any point of a resume. The next call resumes, and
// sends the first one's request too.
func TestResumeEndsWithItsContext(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(d *dialed)
		far  func(d *dialed)
	}{
		{"while it waits", func(d *dialed) { d.down = errUnplugged }, nil},
		{"while it connects", func(d *dialed) { d.down = errUnplugged; d.limit = func(ctx context.Context) { <-ctx.Done() } }, nil},
		{"while it is not answered", func(*dialed) {}, func(d *dialed) {
			f := <-d.ends
			f.hear("resume")
			if _, _, err := f.in.next(); err == nil {
				t.Error("the connection goes on")
			}
		}},
		{"while it is not read", func(*dialed) {}, func(d *dialed) { <-d.ends }},
	} {
		t.Run(c.name, func(t *testing.T) {
			scripted(t, DialOptions{}, func(d *dialed, old *far) {
				_ = old.net.Close()
				c.set(d)
				began := time.Now()
				ctx, cancel := context.WithTimeout(background, 25*time.Millisecond)
				defer cancel()
				err := while(func() {
					if c.far != nil {
						c.far(d)
					}
				}, func() error { return d.Step(ctx, nil, make([]int32, 6), new(env.Batch)) })
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 25*time.Millisecond || d.broken != nil {
					t.Fatalf("%v after %v", err, time.Since(began))
				}
				d.down, d.limit = nil, nil
				var out env.Batch
				if err := while(func() {
					f := <-d.ends
					f.back(1, 1)
					first, second := f.request(), f.request()
					f.answer(first.header, 1, 1, false, false)
					f.answer(second.header, 1, 2, false, false)
				}, func() error { return d.Step(background, nil, make([]int32, 6), &out) }); err != nil || out.Obs[0] != 2 {
					t.Errorf("the next call: %v, %v", out.Obs, err)
				}
			})
		})
	}
}

// If the server does not answer a resume within twice the WriteTimeout, the client
// tries again.
func TestResumeThatIsNotAnswered(t *testing.T) {
	scripted(t, DialOptions{Resume: time.Minute, WriteTimeout: 3 * time.Second}, func(d *dialed, old *far) {
		_ = old.net.Close()
		began := time.Now()
		d.tries = nil
		var out env.Batch
		if err := while(func() {
			first := <-d.ends
			first.hear("resume")
			if _, _, err := first.in.next(); err == nil || time.Since(began) != 6*time.Second {
				t.Errorf("the connection ends after %v: %v", time.Since(began), err)
			}
			f := <-d.ends
			f.back(1, 1)
			f.answer(f.request().header, 1, 4, false, false)
		}, func() error { return d.Step(background, nil, make([]int32, 6), &out) }); err != nil || out.Obs[0] != 4 {
			t.Errorf("%v, %v", out.Obs, err)
		}
		if len(d.tries) != 2 || d.tries[1].Sub(began) != 6*time.Second+10*time.Millisecond {
			t.Errorf("tries at %v, from %v", d.tries, began)
		}
	})
}

// Whether the client tries to resume depends on how the connection ended, and on the
// server's answer to a resume.
func TestWhatIsFinal(t *testing.T) {
	fatal := func(code string) func(f *far) {
		return func(f *far) { f.say(`{"type":"error","id":0,"code":%q,"message":"m","fatal":true}`, code) }
	}
	closes := func(code int) func(f *far) {
		return func(f *far) { _ = f.send(opClose, closePayload(code, "r"), true) }
	}
	type cause struct {
		say   func(f *far)
		final bool
	}
	causes := map[string]cause{
		"cut":       {func(f *far) { _ = f.net.Close() }, false},
		"half":      {func(f *far) { _, _ = f.net.Write([]byte{0x82}); _ = f.net.Close() }, false},
		"no status": {func(f *far) { _ = f.send(opClose, nil, true) }, true},
	}
	for code, final := range map[string]bool{
		"session_busy": false, "draining": false, "rate_limited": false, "capacity": false,
		"session_lost": true, "unauthorized": true, "bad_frame": true, "bad_version": true, "internal": true, "new_in_v2": true,
	} {
		causes[code] = cause{fatal(code), final}
	}
	for code, final := range map[int]bool{1000: true, 1001: false, 1002: true, 1009: true, 3999: true, 4000: false, 4001: false, 4499: false, 4500: true, 4503: true} {
		causes[fmt.Sprint(code)] = cause{closes(code), final}
	}
	for name, c := range causes {
		for _, when := range []string{"running", "resuming"} {
			scripted(t, DialOptions{}, func(d *dialed, old *far) {
				var out env.Batch
				d.tries = nil
				err := while(func() {
					f := old
					f.request()
					if when == "resuming" {
						_ = f.net.Close()
						f = <-d.ends
						f.hear("resume")
					}
					c.say(f)
					if c.final {
						if _, _, err := f.in.next(); err == nil {
							t.Errorf("%s, %s: the connection goes on", name, when)
						}
						return
					}
					f = <-d.ends
					f.back(1, 2)
					f.answer(header{Type: typeStep, N: 3, Seq: 2}, 1, 6, false, false)
				}, func() error { return d.Step(background, nil, make([]int32, 6), &out) })
				tries := map[bool]int{false: 1}[c.final]
				if when == "resuming" {
					tries++
				}
				if (err != nil) != c.final || !c.final && out.Obs[0] != 6 || len(d.tries) != tries {
					t.Errorf("%s, %s: %v after %d tries", name, when, err, len(d.tries))
				}
				var remote *Error
				if named := errors.As(err, &remote); c.final && named == errors.Is(err, ErrDisconnected) {
					t.Errorf("%s, %s: %v", name, when, err)
				}
			})
		}
	}
}

// If a connection breaks while requests are sent again, the client tries another; none
// is left open.
func TestResumeBreaksAgain(t *testing.T) {
	scripted(t, DialOptions{}, func(d *dialed, old *far) {
		var out env.Batch
		err := while(func() {
			old.request()
			_ = old.net.Close()
			second := <-d.ends
			second.back(1, 1)
			_ = second.net.Close() // before the request is read
			third := <-d.ends
			if m := third.hear("resume"); m["last_seq"] != 1.0 {
				t.Errorf("said %v", m)
			}
			third.say(`no JSON`)
			if _, _, err := third.in.next(); err == nil {
				t.Error("the third connection goes on")
			}
			fourth := <-d.ends
			fourth.back(1, 1)
			fourth.answer(fourth.request().header, 1, 4, false, false)
		}, func() error { return d.Step(background, nil, make([]int32, 6), &out) })
		if err != nil || out.Obs[0] != 4 {
			t.Errorf("%v, %v", out.Obs, err)
		}
	})
}

// A client without a session, or with Resume below 0, does not try to resume.
func TestNoResume(t *testing.T) {
	for _, c := range []struct {
		resume time.Duration
		token  string
	}{{-1, "secret"}, {0, ""}} {
		scripted(t, DialOptions{Resume: c.resume}, func(d *dialed, old *far) {
			d.token, d.tries = c.token, nil
			_ = old.net.Close()
			if err := d.Step(background, nil, make([]int32, 6), new(env.Batch)); !errors.Is(err, ErrDisconnected) || len(d.tries) != 0 {
				t.Errorf("%+v: %v after %d tries", c, err, len(d.tries))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // cut before anything was made
		d, far, done := dialing(t, DialOptions{}, "null")
		far.hear("hello")
		far.welcome(`"resume_token":"secret","limits":{"resume_seconds":10}`)
		far.hear("make")
		_ = far.net.Close()
		if err := <-done; err == nil || len(d.tries) != 1 {
			t.Errorf("%v after %d tries", err, len(d.tries))
		}
	})
}

// The client keeps 64 requests to send again: one more, all given up while the server
// is away, and the session is lost.
func TestResumeOfManyCalls(t *testing.T) {
	for calls, ok := range map[int]bool{inFlight: true, inFlight + 1: false} {
		scripted(t, DialOptions{}, func(d *dialed, old *far) {
			_ = old.net.Close()
			d.down = errUnplugged
			for range calls - 1 {
				ctx, cancel := context.WithTimeout(background, time.Millisecond)
				if err := d.Step(ctx, nil, make([]int32, 6), new(env.Batch)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				cancel()
			}
			d.down = nil
			var out env.Batch
			err := while(func() {
				f := <-d.ends
				f.back(1, 1)
				if !ok {
					return
				}
				var heard []request
				for range calls {
					heard = append(heard, f.request())
				}
				for _, r := range heard {
					f.answer(r.header, 1, 5, false, false)
				}
			}, func() error { return d.Step(background, nil, make([]int32, 6), &out) })
			if (err == nil) != ok || !ok && !errors.Is(err, ErrSessionLost) {
				t.Errorf("%d calls: %v", calls, err)
			}
		})
	}
}

// A request that cannot be sent uses up no number, and the session goes on.
func TestWhatIsNotSentTakesNoNumber(t *testing.T) {
	scripted(t, DialOptions{}, func(d *dialed, far *far) {
		nan := make([]float64, 1)
		nan[0] /= nan[0]
		for name, err := range map[string]error{
			"a state of 1 MiB": d.Restore(0, make([]byte, 1<<20)),
			"a load of NaN":    d.ResetWith(background, nil, nil, env.Options{Load: &nan[0]}, new(env.Batch)),
		} {
			if err == nil {
				t.Errorf("%s is sent", name)
			}
		}
		if _, r, err := d.step(far, nil, 1); err != nil || r.Seq != 2 {
			t.Errorf("the next request has number %d: %v", r.Seq, err)
		}
	})
}

// Recv sends what Send left in the buffer; if its context ends first, the next call
// does.
func TestRecvThatCannotSend(t *testing.T) {
	scripted(t, DialOptions{}, func(d *dialed, old *far) {
		var out env.Batch
		both := d.sends(old, 2)
		if err := while(func() { old.together(both) }, func() error { _, err := d.Recv(background, &out); return err }); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Send(nil, make([]int32, 6)); err != nil { // which waits, since the second result is there
			t.Fatal(err)
		}
		if _, err := d.Recv(background, &out); err != nil || out.Obs[0] != 3 {
			t.Fatal(out.Obs, err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		d.down = errUnplugged
		if seq, err := d.Recv(ctx, &out); !errors.Is(err, context.DeadlineExceeded) || seq != 0 || time.Since(began) != time.Second {
			t.Errorf("nobody reads: %d, %v after %v", seq, err, time.Since(began))
		}
		d.down = nil
		var seq uint64
		if err := while(func() {
			f := <-d.ends
			f.back(3, 3)
			f.answer(f.request().header, 1, 4, false, false)
		}, func() (err error) { seq, err = d.Recv(background, &out); return err }); err != nil || seq != 4 || out.Obs[0] != 4 {
			t.Errorf("then: %d, %v, %v", seq, out.Obs, err)
		}
	})
}
