package ws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
)

// The client ignores events and replies that it has had before; any other reply out of
// turn ends the connection.
func TestRepliesOutOfTurn(t *testing.T) {
	result := func(kind uint8, seq uint64, flags uint16, n uint32) func(*far, header) {
		return func(f *far, h header) {
			h.Type, h.Seq, h.N, h.Flags = kind, seq, n, flags
			f.answer(h, 1, 1, false, false)
		}
	}
	for _, c := range []struct {
		name  string
		rows  []int
		first func(*far, header)
		ok    bool
	}{
		{"an event", nil, func(f *far, _ header) { f.say(`{"type":"event","event":"episode_end","env":7}`) }, true},
		{"a ping", nil, func(f *far, _ header) { _ = f.send(opPing, []byte("p"), true); _, _, _ = f.in.next() }, true},
		{"a pong", nil, func(f *far, _ header) { _ = f.send(opPong, nil, true) }, true},
		{"the reply before", nil, result(typeStep, 2, 0, 3), true},
		{"the first reply", nil, func(f *far, _ header) { f.say(`{"type":"made","id":1}`) }, true},
		{"an older error", nil, func(f *far, _ header) { f.say(`{"type":"error","id":2,"code":"env_error","message":"m"}`) }, true},
		{"one too far", nil, result(typeStep, 4, 0, 3), false},
		{"an error too far", nil, func(f *far, _ header) { f.say(`{"type":"error","id":4,"code":"env_error","message":"m"}`) }, false},
		{"a reset's result", nil, result(typeReset, 3, 0, 3), false},
		{"a result of two rows", nil, result(typeStep, 3, 0, 2), false},
		{"a result of two rows, named", nil, result(typeStep, 3, flagSubset, 2), true}, // that of a step of a subset
		{"a result of three rows for two", []int{0, 1}, result(typeStep, 3, flagSubset, 3), false},
		{"half a message", nil, func(f *far, _ header) { _ = f.send(opBinary, make([]byte, 20), true) }, false},
		{"half a result", nil, func(f *far, h header) {
			h.Type, h.Seq = typeStepResult, 3
			_ = f.send(opBinary, h.append(nil), true)
		}, false},
		{"no JSON", nil, func(f *far, _ header) { f.say("pong") }, false},
		{"no error", nil, func(f *far, _ header) { f.say(`{"type":"error","id":"x"}`) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			scripted(t, DialOptions{Resume: -1}, func(d *dialed, far *far) {
				if _, _, err := d.step(far, nil, 0); err != nil {
					t.Fatal(err)
				}
				var out env.Batch
				n := 3
				if c.rows != nil {
					n = 2
				}
				err := while(func() {
					r := far.request()
					c.first(far, r.header)
					if c.ok && !strings.Contains(c.name, "two rows") {
						far.answer(r.header, 1, 8, false, false)
					}
				}, func() error { return d.Step(background, c.rows, make([]int32, 2*n), &out) })
				if c.ok && err != nil || !c.ok && (!errors.Is(err, ErrBadFrame) || !errors.Is(err, ErrDisconnected)) {
					t.Errorf("%v", err)
				}
				if !c.ok {
					if again := d.Step(background, nil, make([]int32, 6), &out); again != err {
						t.Errorf("then %v, was %v", again, err)
					}
				}
			})
		})
	}
}

// The late reply to a call that was given up is ignored, whatever the next call is.
func TestRepliesWhoseCallerHasGone(t *testing.T) {
	six := make([]int32, 6)
	for _, given := range []string{"step", "reset with options"} {
		for _, next := range []string{"step", "send", "snapshot", "close"} {
			t.Run(given+", then "+next, func(t *testing.T) {
				scripted(t, DialOptions{}, func(d *dialed, far *far) {
					var out env.Batch
					ctx, cancel := context.WithCancel(background)
					var late header
					err := while(func() {
						if given == "step" {
							late = far.request().header
						} else {
							far.hear("reset")
						}
						cancel()
					}, func() error {
						if given == "step" {
							return d.Step(ctx, nil, six, &out)
						}
						return d.ResetWith(ctx, nil, nil, env.Options{}, &out)
					})
					if !errors.Is(err, context.Canceled) {
						t.Fatalf("given up: %v", err)
					}
					answer := func() {
						if given == "step" {
							far.answer(late, 1, 1, false, false)
						} else {
							far.say(`{"type":"reset_result","id":2,"env":7,"obs":[[1,2],[3,4],[5,6]]}`)
						}
					}
					switch next {
					case "step", "send":
						err = while(func() {
							r := far.request()
							if r.Seq != 3 || r.Ack != 1 || r.Flags != flagResync {
								t.Errorf("the next request: %+v", r)
							}
							answer()
							far.answer(r.header, 1, 5, false, false)
						}, func() error {
							if next == "step" {
								return d.Step(background, nil, six, &out)
							}
							if seq, err := d.Send(nil, six); err != nil || seq != 3 {
								t.Errorf("send: %d, %v", seq, err)
							}
							seq, err := d.Recv(background, &out)
							if seq != 3 {
								t.Errorf("recv: %d", seq)
							}
							return err
						})
						if err != nil || !slices.Equal(out.Obs, numbers(6, 5)) {
							t.Errorf("%v, %v", out.Obs, err)
						}
					case "snapshot":
						var b []byte
						err = while(func() {
							m := far.hear("state")
							answer()
							if fmt.Sprint(m["rows"], m["id"], m["ack"], m["env"]) != "[2] 3 1 7" {
								t.Errorf("said %v", m)
							}
							far.say(`{"type":"state_result","id":3,"states":["AQI="]}`)
						}, func() (err error) { b, err = d.Snapshot(2, []byte{0}); return err })
						if err != nil || !slices.Equal(b, []byte{0, 1, 2}) {
							t.Errorf("%v, %v", b, err)
						}
					case "close":
						if err := while(func() { m := far.hear("close"); answer(); far.say(`{"type":"closed","id":%v}`, m["id"]) }, d.Close); err != nil {
							t.Error(err)
						}
					}
				})
			})
		}
	}
}
