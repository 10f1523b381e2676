package ws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// script is a vector whose every episode has ends[row] steps; step k of an episode is
// rewarded with k, and shows the row, k and the seed.
type script struct {
	num    int
	ends   []int
	mode   env.Autoreset
	real   bool
	steps  []int
	seeds  []uint64
	over   []bool
	closed *atomic.Int32
	fails  error // of Close
	ctx    context.Context
	panics string // the method that does
	breaks int    // this step of an episode fails; 0: none
}

func (v *script) Spec() env.Spec {
	if v.panics == "spec" {
		panic("seeded fault")
	}
	return env.Spec{
		Observation: env.Box{Low: []float32{0, 0, 0}, High: []float32{9, 99, 999}, Elements: fieldsOf("row", "step", "seed")},
		Action:      env.MultiDiscrete{2}, Autoreset: v.mode, RealTime: v.real, Reward: [2]float64{0, 99},
	}
}
func (v *script) Num() int { return v.num }

func (v *script) show(rows []int, out *env.Batch, n int) {
	for i := range n {
		row := env.RowAt(rows, i)
		copy(out.Obs[3*i:], []float32{float32(row), float32(v.steps[row]), float32(v.seeds[row])})
	}
}

func (v *script) Reset(_ context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	n := v.num
	if rows != nil {
		n = len(rows)
	}
	if v.steps == nil {
		v.steps, v.seeds, v.over = make([]int, v.num), make([]uint64, v.num), make([]bool, v.num)
	}
	out.Size(n, 3, v.mode == env.SameStep)
	clear(out.Reward)
	clear(out.Terminated)
	clear(out.Truncated)
	for i := range n {
		row := env.RowAt(rows, i)
		v.steps[row], v.over[row] = 0, false
		if seeds != nil {
			v.seeds[row] = seeds[i]
		}
	}
	v.show(rows, out, n)
	return nil
}

func (v *script) Step(_ context.Context, rows []int, actions []int32, out *env.Batch) error {
	if v.panics == "step" {
		panic("seeded fault")
	}
	n := len(actions)
	if v.steps == nil {
		return env.ErrNeedReset
	}
	if v.breaks > 0 && v.steps[env.RowAt(rows, 0)]+1 == v.breaks {
		return errors.New("seeded fault")
	}
	out.Size(n, 3, v.mode == env.SameStep)
	for i := range n {
		row := env.RowAt(rows, i)
		if v.over[row] && v.mode == env.NextStep {
			v.steps[row], v.over[row] = 0, false
			out.Reward[i], out.Terminated[i], out.Truncated[i] = 0, false, false
			continue
		}
		v.steps[row]++
		out.Reward[i] = float32(v.steps[row])
		ends := v.steps[row] == v.ends[row]
		out.Terminated[i], out.Truncated[i] = ends && row != 1, ends && row == 1
		if v.over[row] = ends; ends && v.mode == env.SameStep {
			copy(out.FinalObs[3*i:], []float32{float32(row), float32(v.steps[row]), 7})
			v.steps[row] = 0
		}
	}
	v.show(rows, out, n)
	return nil
}

func (v *script) Close() error { v.closed.Add(1); return v.fails }

// openScript makes copies of v with the mode and rows that a client asks for; v counts
// those that were closed.
func openScript(v *script) Options {
	v.closed = new(atomic.Int32)
	return Options{Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		one := *v
		one.num, one.mode, one.ctx = m.NumEnvs, m.Autoreset, ctx
		v.ctx = ctx
		return &one, nil
	}}
}

// ends hears the events before a reply of a type, each in words, and the reply.
func (p *peer) ends(want string) (events string, reply map[string]any) {
	p.t.Helper()
	for {
		m, err := p.hear()
		if err != nil {
			p.t.Fatal(err)
		}
		if m["type"] == "event" {
			events += fmt.Sprintf("env %v row %v: %v steps, %v; ", m["env"], m["row"], m["steps"], m["return"])
			continue
		}
		if m["type"] != want {
			p.t.Fatalf("want %s, have %v", want, m)
		}
		return events, m
	}
}

// An episode's event has that episode's steps and return, in every mode and for any
// rows.
func TestEpisodesAreCounted(t *testing.T) {
	step := func(rows string) string {
		n := strings.Count(rows, ",") + 1
		return fmt.Sprintf(`"type":"step","rows":%s,"actions":[%s]`, rows, strings.TrimSuffix(strings.Repeat("1,", n), ","))
	}
	const reset = `"type":"reset"`
	for _, c := range []struct {
		mode  string
		says  []string // one after the other
		wants []string
	}{
		{"same_step", []string{reset, step("[0,1,2]"), step("[0,1,2]"), step("[0,1,2]"), step("[2,0]"), step("[2,0]")},
			[]string{"", "", "env 1 row 0: 2 steps, 3; ", "env 1 row 1: 3 steps, 6; ", "env 1 row 2: 4 steps, 10; env 1 row 0: 2 steps, 3; ", ""}},
		{"next_step", []string{reset, step("[0]"), step("[0]"), step("[0]"), step("[0]"), step("[0]"), step("[0]")},
			[]string{"", "", "env 1 row 0: 2 steps, 3; ", "", "", "env 1 row 0: 2 steps, 3; ", ""}},
		{"disabled", []string{reset, step("[0]"), step("[0]"), `"type":"reset","rows":[0]`, step("[0]"), step("[0]")},
			[]string{"", "", "env 1 row 0: 2 steps, 3; ", "", "", "env 1 row 0: 2 steps, 3; "}},
		{"next_step", []string{reset, step("[1,2]"), `"type":"reset","rows":[2]`, step("[1,2]"), step("[1,2]"), step("[2]"), step("[2]")}, // a reset begins anew, of its row alone
			[]string{"", "", "", "", "env 1 row 1: 3 steps, 6; ", "", "env 1 row 2: 4 steps, 10; "}},
	} {
		v := &script{ends: []int{2, 3, 4}}
		faked(t, openScript(v), func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.hello(`"episode_end"`)
			p.say(`{"type":"make","id":1,"ack":0,"scenario":"s","num_envs":3,"autoreset":%q}`, c.mode)
			p.want("made")
			for i, say := range c.says {
				p.say(`{"id":%d,"ack":%d,"env":1,%s}`, i+2, i+1, say)
				want := "step_result"
				if strings.HasPrefix(say, reset) {
					want = "reset_result"
				}
				if got, _ := p.ends(want); got != c.wants[i] {
					t.Errorf("%s: after %s: %q, want %q", c.mode, say, got, c.wants[i])
				}
			}
			_ = p.net.Close()
		})
		if v.closed.Load() != 1 {
			t.Errorf("closed %d times", v.closed.Load())
		}
	}
}

// A client that did not announce episode_end gets no events; the server counts episodes
// all the same, also within STEP_MANY.
func TestEpisodesOfManySteps(t *testing.T) {
	for _, announced := range []bool{false, true} {
		faked(t, openScript(&script{ends: []int{2, 3, 4}}), func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.hello(map[bool]string{true: `"episode_end"`}[announced])
			p.say(`{"type":"make","id":1,"ack":0,"scenario":"s","num_envs":3,"autoreset":"same_step"}`)
			p.want("made")
			p.say(`{"type":"reset","id":2,"ack":1,"env":1}`)
			p.want("reset_result")
			p.ask(request{header: header{Type: typeStepMany, Flags: flagSubset, Env: 1, N: 2, Seq: 3}, Ack: 2, Steps: 6, Rows: []int{1, 0}, Actions: make([]int32, 12)})
			var events []string
			op, b := p.next()
			for ; op != opBinary; op, b = p.next() {
				events = append(events, string(b))
			}
			var out env.Batch
			var r result
			if err := r.decode(b, shape{3, 3, 0, true}, &out); err != nil || r.Steps != 6 || fmt.Sprint(out.Reward) != "[1 1 2 2 3 1 1 2 2 1 3 2]" || fmt.Sprint(out.FinalObs[9:12]) != "[0 2 7]" {
				t.Errorf("%v, %d steps, %v", err, r.Steps, out)
			}
			want := []string{}
			for _, e := range []string{`"row":0,"steps":2,"return":3`, `"row":1,"steps":3,"return":6`, `"row":0,"steps":2,"return":3`, `"row":1,"steps":3,"return":6`, `"row":0,"steps":2,"return":3`} {
				if announced {
					want = append(want, `{"type":"event","event":"episode_end","env":1,`+e+`}`)
				}
			}
			if fmt.Sprint(events) != fmt.Sprint(want) || s.stats.episodes.Load() != 5 || s.stats.rows.Load() != 12 {
				t.Errorf("%v, want %v; %d episodes, %d steps", events, want, s.stats.episodes.Load(), s.stats.rows.Load())
			}
			_ = p.net.Close()
		})
	}
}

// An error within STEP_MANY says after how many steps it came.
func TestManyStepsThatFail(t *testing.T) {
	for breaks, want := range map[int]string{1: `"message":"seeded fault"`, 2: `"message":"after 1 of 3 steps: seeded fault"`, 3: `"message":"after 2 of 3 steps: seeded fault"`, 4: ""} {
		faked(t, openScript(&script{ends: []int{9}, breaks: breaks}), func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.start()
			p.ask(request{header: header{Type: typeStepMany, Env: 1, N: 1, Seq: 3}, Ack: 2, Steps: 3, Actions: make([]int32, 3)})
			if op, b := p.next(); (op == opBinary) != (want == "") || !strings.Contains(string(b), want) {
				t.Errorf("step %d fails: %q, want %s", breaks, b, want)
			}
			_ = p.net.Close()
		})
	}
}

// A reset seeds each row: with its own of seeds, or with seed, seed+1, … in the order
// of the rows.
func TestSeedsOfAReset(t *testing.T) {
	faked(t, openScript(&script{ends: []int{2, 3, 4}}), func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		p.say(`{"type":"make","id":1,"ack":0,"scenario":"s","num_envs":3}`)
		p.want("made")
		for i, c := range []struct{ keys, want string }{
			{`"seed":"5"`, "[[0 0 5] [1 0 6] [2 0 7]]"}, {`"rows":[2,0],"seed":"20"`, "[[2 0 20] [0 0 21]]"}, {`"rows":[1],"seeds":["9"]`, "[[1 0 9]]"}, {`"seeds":["1","2","3"]`, "[[0 0 1] [1 0 2] [2 0 3]]"},
			{``, "[[0 0 1] [1 0 2] [2 0 3]]"}, {`"seed":"1","seeds":["1"]`, "bad_frame"}, {`"seeds":["1","2","3","4"]`, "invalid_rows"}, {`"rows":[],"seed":"1"`, "invalid_rows"}, {`"rows":[0,1,2,0],"seed":"1"`, "invalid_rows"},
			{`"seed":"18446744073709551615","rows":[0,1]`, "[[0 0 1.8446744e+19] [1 0 0]]"},
		} {
			keys := c.keys
			if keys != "" {
				keys = "," + keys
			}
			p.say(`{"type":"reset","id":%d,"ack":%d,"env":1%s}`, i+2, i+1, keys)
			if m, err := p.hear(); err != nil || fmt.Sprint(m["obs"]) != c.want && m["code"] != c.want {
				t.Errorf("%s: %v, %v, want %s", c.keys, m, err, c.want)
			}
		}
		_ = p.net.Close()
	})
}

// Numbers of environments are not used twice: a request for a closed one is answered
// "closed", for any other "unknown_env". Closing an environment ends the context that
// it was made with.
func TestNumbersOfEnvironments(t *testing.T) {
	var log bytes.Buffer
	v := &script{ends: []int{9}, fails: errors.New("seeded fault")}
	o := openScript(v)
	o.Log = textLog(&log)
	faked(t, o, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		ask := p.numbered()
		for n := 1; n <= 3; n++ {
			if m := ask("made", `"type":"make","scenario":"s","num_envs":1`); m["env"] != float64(n) {
				t.Errorf("%v, want %d", m["env"], n)
			}
		}
		if v.ctx.Err() != nil {
			t.Error("its context has ended")
		}
		ask("closed", `"type":"close","env":3`)
		if v.ctx.Err() == nil || v.closed.Load() != 1 || !strings.Contains(log.String(), `level=WARN msg="environment did not close"`) || !strings.Contains(log.String(), `env=3 error="seeded fault"`) {
			t.Errorf("context %v, closed %d times, log %s", v.ctx.Err(), v.closed.Load(), &log)
		}
		for env, want := range map[int]string{1: "reset_result", 2: "reset_result", 3: "closed", 4: "unknown_env", 0: "unknown_env"} {
			ask(want, fmt.Sprintf(`"type":"reset","env":%d`, env))
		}
		ask("closed", `"type":"close","env":3`)
		ask("unknown_env", `"type":"close","env":9`)
		if m := ask("made", `"type":"make","scenario":"s","num_envs":1`); m["env"] != 4.0 {
			t.Errorf("%v, want 4", m["env"])
		}
		for _, ss := range s.sessions {
			if len(ss.shown) != 3 || ss.rows.Load() != 3 || len(ss.envs) != 3 {
				t.Errorf("%d shown, %d rows, %d environments", len(ss.shown), ss.rows.Load(), len(ss.envs))
			}
		}
		ask("closed", `"type":"close","env":0`)
		p.wantClose(closeNormal)
		_ = p.net.Close()
		synctest.Wait()
		if v.closed.Load() != 4 {
			t.Errorf("closed %d times", v.closed.Load())
		}
	})
}

// A real-time environment takes one request at a time, and no STEP_MANY.
func TestRealTime(t *testing.T) {
	faked(t, openScript(&script{ends: []int{9}, real: true}), func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		p.say(`{"type":"make","id":1,"ack":0,"scenario":"s","num_envs":1}`)
		if m := p.want("made"); m["in_flight"] != 1.0 || m["real_time"] != true || m["snapshots"] != false {
			t.Errorf("%v", m)
		}
		p.say(`{"type":"reset","id":2,"ack":1,"env":1}`)
		p.want("reset_result")
		p.ask(request{header: header{Type: typeStepMany, Env: 1, N: 1, Seq: 3}, Ack: 2, Steps: 1, Actions: []int32{1}})
		if m := p.want("bad_frame"); !strings.HasSuffix(m["message"].(string), "a real-time environment takes no STEP_MANY") {
			t.Errorf("%v", m)
		}
		p.say(`{"type":"step","id":4,"ack":3,"env":1,"actions":[1]}`)
		p.want("step_result")
		for id := 5; id < 7; id++ { // at once
			if err := p.send(opText, fmt.Appendf(nil, `{"type":"step","id":%d,"ack":4,"env":1,"actions":[1]}`, id), id == 6); err != nil {
				t.Fatal(err)
			}
		}
		p.want("step_result")
		if m, err := p.hear(); err != nil || m["type"] == "error" && !strings.HasSuffix(m["message"].(string), "request 5 is still under way, and a real-time environment takes one at a time") {
			t.Errorf("%v, %v", m, err)
		}
		_ = p.net.Close()
	})
	e := &vector{spec: env.Spec{RealTime: true}, lastSeq: 4}
	for replied, ok := range map[uint64]bool{3: false, 4: true, 5: true} {
		e.lastSeq = 4
		if err := e.admit(6, message{replied: replied}, false); (err == nil) != ok || e.lastSeq != 6 {
			t.Errorf("after reply %d: %v, last %d", replied, err, e.lastSeq)
		}
	}
}

// If an environment panics, the request is answered with a fatal error, and its session
// ends.
func TestPanicsOfAnEnvironment(t *testing.T) {
	for where, ids := range map[string]int{"spec": 1, "step": 3} {
		var log bytes.Buffer
		o := openScript(&script{ends: []int{9}, panics: where})
		o.Log = textLog(&log)
		faked(t, o, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.hello("")
			for id, say := range []string{1: `"type":"make","scenario":"s","num_envs":1`, 2: `"type":"reset","env":1`, 3: `"type":"step","env":1,"actions":[1]`} {
				if id == 0 || id > ids {
					continue
				}
				p.say(`{"id":%d,"ack":%d,%s}`, id, id-1, say)
				m, err := p.hear()
				if failed := m["code"] == "internal" && m["id"] == float64(id) && m["fatal"] == true; err != nil || failed != (id == ids) {
					t.Errorf("%s: request %d: %v, %v", where, id, m, err)
				}
			}
			p.wantClose(closeInternal)
			_ = p.net.Close()
			synctest.Wait()
			if !strings.Contains(log.String(), "level=ERROR msg=panic") || !strings.Contains(log.String(), "seeded fault") || s.count() != [2]int{} {
				t.Errorf("%s: sessions %v, log %s", where, s.count(), &log)
			}
		})
	}
}

// A binary step that panics is answered by its number, too.
func TestPanicOfABinaryStep(t *testing.T) {
	v := &script{ends: []int{9}, panics: "step"}
	faked(t, openScript(v), func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		p.ask(request{header: header{Type: typeStep, Env: 1, N: 1, Seq: 3}, Ack: 2, Actions: []int32{1}})
		if m := p.want("internal"); m["id"] != 3.0 || m["fatal"] != true || !strings.HasSuffix(m["message"].(string), "environment panicked: seeded fault") {
			t.Errorf("%v", m)
		}
		p.wantClose(closeInternal)
		_ = p.net.Close()
	})
	if v.closed.Load() != 1 {
		t.Errorf("closed %d times", v.closed.Load())
	}
}

// States are those of the rows named, in their order; set_state restores all or none.
func TestStatesOfRows(t *testing.T) {
	left := -1
	o := Options{Open: func(_ context.Context, m MakeRequest) (env.Vector, error) {
		v, err := cartpole.New(m.NumEnvs, m.Autoreset)
		return failing{v, &left}, err
	}}
	faked(t, o, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		ask := p.numbered()
		ask("made", `"type":"make","scenario":"s","num_envs":3`)
		ask("reset_result", `"type":"reset","env":1,"seed":"1"`)
		states := func(rows string) []any { return ask("state_result", `"type":"state","env":1`+rows)["states"].([]any) }
		all := states("")
		if some := states(`,"rows":[2,0]`); len(all) != 3 || len(some) != 2 || some[0] != all[2] || some[1] != all[0] || all[0] == all[1] {
			t.Errorf("states %v, of rows 2 and 0 %v", all, some)
		}
		ask("reset_result", `"type":"reset","env":1,"seed":"50"`)
		other := states("")
		set := func(rows string, states ...any) string {
			text, _ := json.Marshal(states)
			return fmt.Sprintf(`"type":"set_state","env":1,"rows":%s,"states":%s`, rows, text)
		}
		for _, c := range []struct {
			want, say string
			then      []any
		}{
			{"state_set", set("[2,0]", all[2], all[0]), []any{all[0], other[1], all[2]}},
			{"invalid_rows", set("[2,0]", all[2]), []any{all[0], other[1], all[2]}},
			{"invalid_rows", set("[3]", all[2]), []any{all[0], other[1], all[2]}},
			{"invalid_rows", set("[1,1]", all[2], all[2]), []any{all[0], other[1], all[2]}},
			{"bad_frame", set("[1]", "%"), []any{all[0], other[1], all[2]}},
			{"bad_snapshot", set("[1,0,2]", other[0], other[1], "AAAA"), []any{all[0], other[1], all[2]}},
			{"state_set", set("[0,1,2]", other[0], other[1], other[2]), other},
		} {
			ask(c.want, c.say)
			if got := states(""); fmt.Sprint(got) != fmt.Sprint(c.then) {
				t.Errorf("after %s: %v, want %v", c.say, got, c.then)
			}
		}
		left = 2 // not the third row, nor the first once more
		if m := ask("env_error", set("[0,1,2]", all[0], all[1], all[2])); !strings.HasSuffix(m["message"].(string), "row 0 was changed and cannot be put back: snapshot does not fit this environment: seeded fault") {
			t.Errorf("%v", m)
		}
		_ = p.net.Close()
	})
}

// failing restores left times, and then fails; -1: it never fails.
type failing struct {
	env.Vector
	left *int
}

func (f failing) Snapshot(row int, dst []byte) ([]byte, error) {
	return f.Vector.(env.Snapshotter).Snapshot(row, dst)
}

func (f failing) Restore(row int, b []byte) error {
	if *f.left == 0 {
		return fmt.Errorf("%w: seeded fault", env.ErrBadSnapshot)
	}
	*f.left = max(*f.left-1, -1)
	return f.Vector.(env.Snapshotter).Restore(row, b)
}
