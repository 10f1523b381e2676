package ws

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
)

// The client sends the options of Dial to the server.
func TestClientAsksForWhatItIsGiven(t *testing.T) {
	asked := func(o DialOptions) (hello, make string) {
		scripted(t, o, func(d *dialed, _ *far) { hello, make = fmt.Sprint(d.hello), fmt.Sprint(d.make) })
		return hello, make
	}
	hello, make := asked(DialOptions{})
	if want := "map[capabilities:[final_info reset_options resume] client:planegym-go id:0 type:hello version:1]"; hello != want {
		t.Errorf("said %s, want %s", hello, want)
	}
	if want := "map[ack:0 autoreset:next_step id:1 kwargs:map[a:1] model: num_envs:1 record:false scenario: type:make]"; make != want {
		t.Errorf("said %s, want %s", make, want)
	}
	_, make = asked(DialOptions{Scenario: "s", NumEnvs: 3, Autoreset: env.SameStep, Model: "m", Record: true})
	if want := "map[ack:0 autoreset:same_step id:1 kwargs:map[a:1] model:m num_envs:3 record:true scenario:s type:make]"; make != want {
		t.Errorf("said %s, want %s", make, want)
	}
}

// The client's spec, rows and options are those in the server's reply to make.
func TestClientIsWhatWasMade(t *testing.T) {
	scripted(t, DialOptions{Info: true}, func(d *dialed, _ *far) {
		spec := d.Spec()
		if d.Num() != 3 || d.ModelHash() != "cafe" || fmt.Sprint(d.InfoFields()) != "[{x s} {y }]" || !slices.Equal(spec.Action, []int{3, 3}) || spec.Observation.Dim() != 2 {
			t.Errorf("%d rows, model %s, infos %v, %+v", d.Num(), d.ModelHash(), d.InfoFields(), spec)
		}
		want := env.OptionSpec{Initial: []p4.Limit{16, 32}, Phases: []string{"quiet"}, Load: true, TrafficSeed: true}
		if got := d.Options(); !reflect.DeepEqual(got, want) {
			t.Errorf("options %+v, want %+v", got, want)
		}
	})
	scripted(t, DialOptions{}, func(d *dialed, _ *far) {
		if d.InfoFields() != nil || len(d.Info(2, nil)) != 0 {
			t.Error("infos that were not asked for")
		}
		if _, known := d.FinalInfo(2, nil); known {
			t.Error("final infos that were not asked for")
		}
	})
}

// Dial fails if the server answers hello or make with anything but the expected reply.
func TestClientRefusesAServer(t *testing.T) {
	for _, c := range []struct {
		name, welcome, made string
		want                error
	}{
		{"an error", `{"type":"error","id":0,"code":"capacity","message":"full","fatal":true}`, "", ErrCapacity},
		{"no JSON", `hello`, "", ErrBadFrame},
		{"another number", `{"type":"welcome","id":4}`, "", ErrBadFrame},
		{"a welcome that is none", `{"type":"welcome","id":0,"session":7}`, "", ErrBadFrame},
		{"an error of make", `{"type":"welcome","id":0,"limits":{}}`, `{"type":"error","id":1,"code":"unknown_scenario","message":"no s"}`, ErrUnknownScenario},
		{"make of another number", `{"type":"welcome","id":0}`, `{"type":"made","id":2}`, ErrBadFrame},
		{"made of nothing", `{"type":"welcome","id":0}`, `{"type":"made","id":1}`, ErrBadFrame},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, far, done := dialing(t, DialOptions{}, "null")
			far.hear("hello")
			far.say("%s", c.welcome)
			if c.made != "" {
				far.hear("make")
				far.say("%s", c.made)
			}
			if err := <-done; !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
			if _, _, err := far.in.next(); err == nil {
				t.Errorf("%s: the connection goes on", c.name)
			}
		})
	}
}

// step has d do a step, which far answers with numbers from x on.
func (d *dialed) step(far *far, rows []int, x float32) (*env.Batch, request, error) {
	var out env.Batch
	var r request
	n := 3
	if rows != nil {
		n = len(rows)
	}
	err := while(func() { r = far.request(); far.answer(r.header, 1, x, r.Flags&flagInfo != 0, false) }, func() error {
		return d.Step(background, rows, make([]int32, 2*n), &out)
	})
	return &out, r, err
}

// Requests carry rows, seeds, actions and the last reply's number, and the resync flag
// where no other request is under way.
func TestRequestsOfAClient(t *testing.T) {
	for _, info := range []bool{false, true} {
		with := map[bool]uint16{true: flagInfo}[info]
		scripted(t, DialOptions{Info: info}, func(d *dialed, far *far) {
			var out env.Batch
			check := func(name string, want request, x float32, call func() error) {
				t.Helper()
				var got request
				err := while(func() { got = far.request(); far.answer(got.header, max(got.Steps, 1), x, info, false) }, call)
				want.Env, want.Flags, want.N = 7, want.Flags|with|flagResync, uint32(max(len(want.Rows), 3*(1-min(len(want.Rows), 1))))
				if err != nil || got.header != want.header || got.Ack != want.Ack || got.Steps != want.Steps || !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Seeds, want.Seeds) || !slices.Equal(got.Actions, want.Actions) {
					t.Errorf("%s: said %+v, want %+v; %v", name, got, want, err)
				}
				if want := numbers(2*int(want.N)*want.Steps, x); !slices.Equal(out.Obs, want) {
					t.Errorf("%s: observations %v, want %v", name, out.Obs, want)
				}
			}
			actions := []int32{0, 1, 2, 0, 1, 2}
			check("reset", request{header: header{Type: typeReset, Seq: 2}, Ack: 1, Steps: 1}, 1, func() error { return d.Reset(background, nil, nil, &out) })
			check("reset of a row", request{header: header{Type: typeReset, Flags: flagSubset | flagSeeds, Seq: 3}, Ack: 2, Steps: 1, Rows: []int{2}, Seeds: []uint64{9}}, 2,
				func() error { return d.Reset(background, []int{2}, []uint64{9}, &out) })
			check("step", request{header: header{Type: typeStep, Seq: 4}, Ack: 3, Steps: 1, Actions: actions}, 3, func() error { return d.Step(background, nil, actions, &out) })
			check("step of two rows", request{header: header{Type: typeStep, Flags: flagSubset, Seq: 5}, Ack: 4, Steps: 1, Rows: []int{2, 0}, Actions: actions[:4]}, 4,
				func() error { return d.Step(background, []int{2, 0}, actions[:4], &out) })
			check("two steps", request{header: header{Type: typeStepMany, Seq: 6}, Ack: 5, Steps: 2, Actions: slices.Concat(actions, actions)}, 5, func() error {
				done, err := d.StepMany(background, nil, 2, slices.Concat(actions, actions), &out)
				if done != 2 {
					t.Errorf("%d steps were done", done)
				}
				return err
			})
			check("a step", request{header: header{Type: typeStepMany, Flags: flagSubset, Seq: 7}, Ack: 6, Steps: 1, Rows: []int{1}, Actions: actions[:2]}, 6,
				func() error { _, err := d.StepMany(background, []int{1}, 1, actions[:2], &out); return err })
		})
	}
}

// Invalid calls are refused before anything is sent, so that they use up no number.
func TestCallsThatCannotBe(t *testing.T) {
	scripted(t, DialOptions{}, func(d *dialed, far *far) {
		var out env.Batch
		ended, cancel := context.WithCancel(background)
		cancel()
		six := make([]int32, 6)
		for _, c := range []struct {
			name string
			err  error
			want error
		}{
			{"reset of no rows", d.Reset(background, []int{}, nil, &out), env.ErrInvalidRows},
			{"reset of another row", d.Reset(background, []int{3}, nil, &out), env.ErrInvalidRows},
			{"reset with two seeds", d.Reset(background, nil, []uint64{1, 2}, &out), env.ErrInvalidRows},
			{"reset of a row with three", d.Reset(background, []int{1}, []uint64{1, 2, 3}, &out), env.ErrInvalidRows},
			{"reset after its time", d.Reset(ended, nil, nil, &out), context.Canceled},
			{"step with five actions", d.Step(background, nil, six[:5], &out), env.ErrInvalidAction},
			{"step of a row twice", d.Step(background, []int{1, 1}, six[:4], &out), env.ErrInvalidRows},
			{"step of a row with six", d.Step(background, []int{1}, six, &out), env.ErrInvalidAction},
			{"step after its time", d.Step(ended, nil, six, &out), context.Canceled},
			{"reset with options and two seeds", d.ResetWith(background, nil, []uint64{1, 2}, env.Options{}, &out), env.ErrInvalidRows},
			{"reset with options of another row", d.ResetWith(background, []int{-1}, nil, env.Options{}, &out), env.ErrInvalidRows},
			{"reset with options after its time", d.ResetWith(ended, nil, nil, env.Options{}, &out), context.Canceled},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
			}
		}
		for steps, actions := range map[int][]int32{0: {}, -1: {}, 1: six[:5], 2: six} {
			if done, err := d.StepMany(background, nil, steps, actions, &out); !errors.Is(err, env.ErrInvalidAction) || done != 0 {
				t.Errorf("%d steps with %d actions: %d done, %v", steps, len(actions), done, err)
			}
		}
		if seq, err := d.Send(nil, six[:5]); !errors.Is(err, env.ErrInvalidAction) || seq != 0 {
			t.Errorf("send of five actions: %d, %v", seq, err)
		}
		if seq, err := d.Recv(background, &out); err == nil || seq != 0 {
			t.Errorf("recv of nothing: %d, %v", seq, err)
		}
		if b, r, err := d.step(far, nil, 5); err != nil || r.Seq != 2 || !slices.Equal(b.Obs, numbers(6, 5)) {
			t.Errorf("then a step: %+v, %v, %v", r, b, err)
		}
	})
}

// While steps are under way only Send and Recv are allowed; the server says how many
// steps may be.
func TestStepsUnderWay(t *testing.T) {
	for _, window := range []int{1, 3} {
		scripted(t, DialOptions{}, func(d *dialed, far *far) {
			d.made.InFlight = window
			var out env.Batch
			six := make([]int32, 6)
			for round := range 3 {
				var heard []request
				err := while(func() {
					for range window {
						heard = append(heard, far.request())
					}
				}, func() error {
					for i := range window {
						if seq, err := d.Send(nil, six); err != nil || seq != uint64(2+round*window+i) {
							return fmt.Errorf("send %d: number %d, %w", i, seq, err)
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if seq, err := d.Send(nil, six); !errors.Is(err, ErrCapacity) || seq != 0 {
					t.Errorf("one more than %d: %d, %v", window, seq, err)
				}
				for name, err := range map[string]error{
					"reset": d.Reset(background, nil, nil, &out), "step": d.Step(background, nil, six, &out), "restore": d.Restore(0, nil),
					"reset with options": d.ResetWith(background, nil, nil, env.Options{}, &out),
				} {
					if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d sent steps are to be received first", window)) {
						t.Errorf("%s while %d are under way: %v", name, window, err)
					}
				}
				if done, err := d.StepMany(background, nil, 1, six, &out); err == nil || done != 0 {
					t.Errorf("many while others are under way: %d, %v", done, err)
				}
				for i, r := range heard {
					if first := i == 0; (r.Flags&flagResync != 0) != first || r.Ack != uint64(1+round*window) {
						t.Errorf("step %d of the window: flags %#x, ack %d", i, r.Flags, r.Ack)
					}
					var seq uint64
					if err := while(func() { far.answer(r.header, 1, float32(i), false, false) }, func() (err error) { seq, err = d.Recv(background, &out); return err }); err != nil || seq != r.Seq || out.Obs[0] != float32(i) {
						t.Errorf("step %d: number %d, %v, want %d; %v", i, seq, out.Obs, r.Seq, err)
					}
				}
			}
		})
	}
}

// A reply that was read from the network together with an earlier one is received
// without touching the network; what was sent meanwhile leaves when the client next has
// to read.
func TestSendWaitsForWhatIsReady(t *testing.T) {
	scripted(t, DialOptions{}, func(d *dialed, far *far) {
		var out env.Batch
		six := make([]int32, 6)
		var third request
		both := d.sends(far, 2)
		if err := while(func() { far.together(both) }, func() error { _, err := d.Recv(background, &out); return err }); err != nil || out.Obs[0] != 2 {
			t.Fatal(out.Obs, err)
		}
		if _, err := d.Send(nil, six); err != nil { // nobody reads: it would wait for ever
			t.Fatal(err)
		}
		if _, err := d.Recv(background, &out); err != nil || out.Obs[0] != 3 {
			t.Fatal(out.Obs, err)
		}
		if err := while(func() { third = far.request(); far.answer(third.header, 1, 4, false, false) }, func() error { _, err := d.Recv(background, &out); return err }); err != nil || out.Obs[0] != 4 || third.Ack != 2 {
			t.Errorf("the third: %v, ack %d, %v", out.Obs, third.Ack, err)
		}
	})
}

// An error reply leaves the connection open. The next request has the resync flag,
// unless the error says that its own request was skipped.
func TestErrorReplies(t *testing.T) {
	scripted(t, DialOptions{}, func(d *dialed, far *far) {
		var out env.Batch
		d.sends(far, 3)
		fail := func(seq uint64, code, keys string, want error) {
			t.Helper()
			var got uint64
			err := while(func() { far.say(`{"type":"error","id":%d,"code":%q,"message":"row 1: m"%s}`, seq, code, keys) }, func() (err error) { got, err = d.Recv(background, &out); return err })
			if !errors.Is(err, want) || got != seq {
				t.Errorf("reply %d of %s: number %d, %v", seq, code, got, err)
			}
			var row *env.RowError
			if errors.As(err, &row) != (keys != "") || row != nil && row.Row != 1 {
				t.Errorf("reply %d: %#v", seq, err)
			}
		}
		send := func() request {
			t.Helper()
			return d.sends(far, 1)[0]
		}
		fail(2, "skipped", "", ErrSkipped)
		if r := send(); r.Flags&flagResync != 0 {
			t.Error("a skipped step asks to begin anew")
		}
		fail(3, "invalid_action", `,"row":1`, env.ErrInvalidAction)
		if r := send(); r.Flags&flagResync == 0 {
			t.Error("after an error the next step does not begin anew")
		}
		if r := send(); r.Flags&flagResync != 0 {
			t.Error("after an error two steps begin anew")
		}
		fail(4, "env_error", "", ErrEnv)
		fail(5, "skipped", "", ErrSkipped) // which does not take it back
		if r := send(); r.Flags&flagResync == 0 {
			t.Error("after an error and a skipped step the next does not begin anew")
		}
	})
}

// Info gives the values of a row's last step, FinalInfo those of the episode that this
// step ended.
func TestInfosOfAClient(t *testing.T) {
	scripted(t, DialOptions{Info: true, Autoreset: env.SameStep}, func(d *dialed, far *far) {
		var out env.Batch
		want, final := make([][]float32, 3), make([][]float32, 3)
		for i, c := range []struct {
			rows          []int
			infos, finals bool
			many          bool
		}{
			{nil, true, false, false}, {[]int{2, 0}, true, false, false}, {[]int{1}, false, false, false}, {[]int{1, 2}, true, true, false}, {nil, true, true, false}, {nil, true, false, true}, {[]int{0}, true, false, false},
		} {
			x := float32(1000 * (i + 1))
			err := while(func() { r := far.request(); far.answer(r.header, r.Steps, x, c.infos, c.finals) }, func() error {
				n := 3
				if c.rows != nil {
					n = len(c.rows)
				}
				if c.many {
					_, err := d.StepMany(background, c.rows, 1, make([]int32, 2*n), &out)
					return err
				}
				return d.Step(background, c.rows, make([]int32, 2*n), &out)
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.finals && !slices.Equal(out.FinalObs, numbers(len(out.Obs), x+50)) {
				t.Errorf("call %d: last observations %v", i, out.FinalObs)
			}
			for k := range out.Reward {
				row := env.RowAt(c.rows, k)
				if c.infos && !c.many { // those of many steps are not kept
					want[row] = numbers(2, x+100+2*float32(k))
					if final[row] = want[row]; c.finals {
						final[row] = numbers(2, x+200+2*float32(k))
					}
				}
			}
			for row := range 3 {
				if want[row] == nil {
					continue
				}
				got, known := d.FinalInfo(row, []float32{9})
				if !slices.Equal(d.Info(row, []float32{9}), append([]float32{9}, want[row]...)) || !known || !slices.Equal(got, append([]float32{9}, final[row]...)) {
					t.Errorf("call %d, row %d: infos %v, before %v %v; want %v and %v", i, row, d.Info(row, nil), got, known, want[row], final[row])
				}
			}
		}
		d.finals = false // a server that does not send them
		if _, known := d.FinalInfo(0, nil); known {
			t.Error("final infos of a server that sends none are known")
		}
		d.spec.Autoreset = env.NextStep // where none are needed
		if _, known := d.FinalInfo(0, nil); !known {
			t.Error("with next_step the infos of the last step are those of its episode")
		}
	})
}

// ResetWith sends every option, and fills the batch as any reset does.
func TestResetWithOfAClient(t *testing.T) {
	load := 0.5
	for _, c := range []struct {
		name    string
		rows    []int
		seeds   []uint64
		options env.Options
		want    string
	}{
		{"none", nil, nil, env.Options{}, "map[ack:2 env:7 id:3 info:true options:map[] type:reset]"},
		{"all", []int{2, 0}, []uint64{1, 1 << 63}, env.Options{Initial: []p4.Limit{16}, TrafficSeed: []uint64{5}, Load: &load, Phase: "quiet"},
			"map[ack:2 env:7 id:3 info:true options:map[initial_limit:[16] load:0.5 phase:quiet traffic_seed:[5]] rows:[2 0] seeds:[1 9223372036854775808] type:reset]"},
	} {
		for answer, want := range map[string]error{
			`"obs":[[1,2],[3,4],[5,6]]`: nil, `"obs":[[1,2],[3,4]]`: ErrBadFrame, `"obs":[[1,2],[3,4],[5]]`: ErrBadFrame, `"obs":[[1,2],[3,4],[5,6,7]]`: ErrBadFrame,
			`"obs":7`: ErrBadFrame,
		} {
			if c.rows != nil { // two rows
				answer = map[string]string{`"obs":[[1,2],[3,4]]`: `"obs":[[1,2],[3,4],[5,6]]`, `"obs":[[1,2],[3,4],[5,6]]`: `"obs":[[1,2],[3,4]]`}[answer]
				if answer == "" {
					continue
				}
			}
			scripted(t, DialOptions{Info: true, Autoreset: env.SameStep}, func(d *dialed, far *far) {
				out, _, err := d.step(far, nil, 7) // whose numbers are in the batch
				if err != nil {
					t.Fatal(err)
				}
				out.Terminated[1], out.Truncated[1], out.FinalObs[1] = true, true, 9
				var said map[string]any
				err = while(func() {
					said = far.hear("reset")
					far.say(`{"type":"reset_result","id":3,"env":7,%s,"info":{"x":[11,12,13],"y":[21,22]}}`, answer)
				}, func() error { return d.ResetWith(background, c.rows, c.seeds, c.options, out) })
				if fmt.Sprint(said) != c.want {
					t.Errorf("%s: said %v, want %s", c.name, said, c.want)
				}
				if !errors.Is(err, want) {
					t.Errorf("%s: %s: %v, want %v", c.name, answer, err, want)
				}
				if err != nil {
					return
				}
				n := 3
				infos := [][]float32{{11, 21}, {12, 22}, {13, 112}} // the last has no y: as it was
				if c.rows != nil {
					n, infos = 2, [][]float32{{12, 22}, {109, 110}, {11, 21}}
				}
				if !slices.Equal(out.Obs, numbers(2*n, 1)) || !slices.Equal(out.Reward, make([]float32, n)) || anySet(out.Terminated) || anySet(out.Truncated) || !slices.Equal(out.FinalObs, make([]float32, 2*n)) || len(out.Terminated) != n {
					t.Errorf("%s: %+v", c.name, out)
				}
				for row, want := range infos {
					final, _ := d.FinalInfo(row, nil)
					if !slices.Equal(d.Info(row, nil), want) || !slices.Equal(final, want) {
						t.Errorf("%s: infos of row %d are %v and %v, want %v", c.name, row, d.Info(row, nil), final, want)
					}
				}
			})
		}
	}
}

// Snapshot and Restore carry a row's state unchanged.
func TestSnapshotsOfAClient(t *testing.T) {
	scripted(t, DialOptions{}, func(d *dialed, far *far) {
		if err := while(func() {
			if m := far.hear("set_state"); fmt.Sprint(m) != "map[ack:1 env:7 id:2 rows:[1] states:[AQI=] type:set_state]" {
				t.Errorf("said %v", m)
			}
			far.say(`{"type":"event","event":"draining"}`)
			far.say(`{"type":"state_set","id":2}`)
		}, func() error { return d.Restore(1, []byte{1, 2}) }); err != nil {
			t.Error(err)
		}
		if err := while(func() {
			far.hear("set_state")
			far.say(`{"type":"error","id":3,"code":"bad_snapshot","message":"m"}`)
		}, func() error { return d.Restore(1, nil) }); !errors.Is(err, env.ErrBadSnapshot) {
			t.Error(err)
		}
		var dst []byte
		if err := while(func() {
			far.hear("state")
			far.say(`{"type":"state_result","id":4,"states":["AQI=","AQI="]}`)
		}, func() (err error) { dst, err = d.Snapshot(0, []byte{7}); return err }); !errors.Is(err, ErrBadFrame) || !slices.Equal(dst, []byte{7}) {
			t.Error(dst, err)
		}
		if err := d.Restore(0, nil); !errors.Is(err, ErrDisconnected) {
			t.Errorf("after a server that cannot be trusted: %v", err)
		}
	})
}

// A client that sends nothing for KeepAlive sends a pong, and no more than one for each
// such time.
func TestKeepAlive(t *testing.T) {
	for _, every := range []time.Duration{0, 2 * time.Second} {
		scripted(t, DialOptions{KeepAlive: every}, func(d *dialed, far *far) {
			if every == 0 {
				every = 5 * time.Second
			}
			began := time.Now()
			pong := func(want time.Duration) {
				t.Helper()
				if op, p, err := far.in.next(); op != opPong || len(p) != 0 || err != nil || time.Since(began) != want {
					t.Errorf("%v later, want %v: opcode %d %q, %v", time.Since(began), want, op, p, err)
				}
			}
			pong(every)
			pong(2 * every)
			time.Sleep(every / 2)
			if _, _, err := d.step(far, nil, 1); err != nil {
				t.Fatal(err)
			}
			pong(4 * every)
		})
	}
}

// Close sends close, waits for the reply, and disconnects. A second Close does nothing;
// every other call after it is refused.
func TestCloseOfAClient(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer string
		takes  time.Duration
		fails  bool
	}{
		{"answered", `{"type":"closed","id":2}`, 0, false}, {"refused", `{"type":"error","id":2,"code":"env_error","message":"m"}`, 0, true},
		{"not answered", "", 5 * time.Second, true}, {"out of turn", `{"type":"closed","id":3}`, 0, true},
	} {
		scripted(t, DialOptions{}, func(d *dialed, far *far) {
			began := time.Now()
			err := while(func() {
				if m := far.hear("close"); fmt.Sprint(m) != "map[ack:1 id:2 type:close]" {
					t.Errorf("said %v", m)
				}
				if c.answer != "" {
					far.say("%s", c.answer)
				}
				if _, _, err := far.in.next(); err == nil {
					t.Errorf("%s: the connection goes on", c.name)
				}
			}, d.Close)
			if (err != nil) != c.fails || time.Since(began) != c.takes {
				t.Errorf("%s: %v after %v", c.name, err, time.Since(began))
			}
			if err := d.Close(); err != nil {
				t.Errorf("%s: closed again: %v", c.name, err)
			}
			if err := d.Step(background, nil, make([]int32, 6), new(env.Batch)); err != env.ErrClosed {
				t.Errorf("%s: a step then: %v", c.name, err)
			}
			if len(d.tries) != 1 {
				t.Errorf("%s: it connected %d times", c.name, len(d.tries))
			}
			// No goroutine is left: else the bubble panics.
		})
	}
	scripted(t, DialOptions{Resume: -1}, func(d *dialed, far *far) {
		_ = far.net.Close()
		if err := d.Step(background, nil, make([]int32, 6), new(env.Batch)); !errors.Is(err, ErrDisconnected) {
			t.Error(err)
		}
		if err := d.Close(); err != nil { // there is nothing to free
			t.Errorf("after the connection: %v", err)
		}
	})
}

// A request is at most 1 MiB, text or binary.
func TestLongestRequest(t *testing.T) {
	for _, more := range []int{0, 1} {
		// asks gives the bytes of the request that call sends, if it is not too long, and call's error.
		asks := func(far *far, answer string, call func() error) (seen int, err error) {
			err = while(func() {
				if more == 1 {
					return
				}
				_, p, _ := far.in.next()
				seen = len(p)
				far.say("%s", answer)
			}, call)
			return seen, err
		}
		scripted(t, DialOptions{}, func(d *dialed, far *far) {
			d.shape.num, d.s = 1, (maxRequest-headerBytes-8)/4+more
			d.seen = make([]bool, 1)
			seen, err := asks(far, `{"type":"error","id":2,"code":"env_error","message":"m"}`, func() error { return d.Step(background, nil, make([]int32, d.s), new(env.Batch)) })
			if want := []error{ErrEnv, ErrCapacity}[more]; !errors.Is(err, want) || more == 0 && seen != maxRequest {
				t.Errorf("a step of %d bytes and %d numbers more: %v, want %v", seen, more, err, want)
			}
		})
		scripted(t, DialOptions{}, func(d *dialed, far *far) {
			text := maxRequest - len(`{"ack":1,"env":7,"id":2,"rows":[0],"states":[""],"type":"set_state"}`)
			seen, err := asks(far, `{"type":"state_set","id":2}`, func() error { return d.Restore(0, make([]byte, text/4*3+3*more)) })
			if text%4 != 0 {
				t.Fatalf("the test's state is no multiple of 4 short: %d", text)
			}
			if want := []error{nil, ErrCapacity}[more]; !errors.Is(err, want) || more == 0 && seen != maxRequest {
				t.Errorf("a state of %d bytes and %d more: %v, want %v", seen, more, err, want)
			}
		})
	}
}
