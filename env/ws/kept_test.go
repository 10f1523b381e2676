package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// late is an environment whose steps wait for release, and that notes their actions after it.
type late struct {
	hanging
	rows    []int
	actions []int32
}

func (v *late) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if v.hang.Load() {
		<-v.release
		v.rows, v.actions = slices.Clone(rows), slices.Clone(actions)
	}
	return v.Vector.Step(ctx, rows, actions, out)
}

// A step that was given up computes on with its own rows and actions, whatever is asked meanwhile.
func TestGivenUpStepKeepsItsActions(t *testing.T) {
	v := &late{}
	o := Options{StepTimeout: 5 * time.Second, Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		made, err := open(ctx, m)
		if m.Model != "hang" {
			return made, err
		}
		v.Vector = made
		return v, err
	}}
	faked(t, o, func(t *testing.T, s *Server) {
		v.release = make(chan struct{})
		p := pipe(t, s, false)
		p.start() // env 1
		p.say(`{"type":"make","id":3,"ack":2,"scenario":"cartpole","model":"hang","num_envs":4}`)
		p.want("made")
		p.say(`{"type":"reset","id":4,"ack":3,"env":2,"seed":"1"}`)
		p.want("reset_result")
		v.hang.Store(true)
		p.say(`{"type":"step","id":5,"ack":4,"env":2,"rows":[1,3],"actions":[1,0]}`)
		p.want("timeout")
		p.say(`{"type":"step","id":6,"ack":5,"env":1,"rows":[0],"actions":[0]}`)
		p.want("step_result")
		close(v.release)
		synctest.Wait()
		if !slices.Equal(v.rows, []int{1, 3}) || !slices.Equal(v.actions, []int32{1, 0}) {
			t.Errorf("rows %v, actions %v", v.rows, v.actions)
		}
		_ = p.net.Close()
	})
}

// breaking is an environment that panics when it is closed.
type breaking struct{ env.Vector }

func (v breaking) Close() error { panic("seeded fault") }

// A panic of an environment that is closed ends nothing but the environment.
func TestPanicOfClose(t *testing.T) {
	o := Options{MaxEnvs: 1, Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		v, err := open(ctx, m)
		return breaking{v}, err
	}}
	faked(t, o, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		p.say(`{"type":"close","id":3,"ack":2,"env":1}`)
		p.want("closed")
		p.say(`{"type":"make","id":4,"ack":3,"scenario":"cartpole","num_envs":1}`) // its place is free
		p.want("made")
		p.say(`{"type":"close","id":5,"ack":4}`) // the session, with an environment
		p.want("closed")
		p.wantClose(closeNormal)
		_ = p.net.Close()
		synctest.Wait()
		if s.count() != [2]int{} {
			t.Errorf("sessions %v", s.count())
		}
	})
}

// What made says of the options of a reset: those that the environment has, one by one.
func TestResetOptionsOfMade(t *testing.T) {
	for _, c := range []struct {
		spec env.OptionSpec
		want string
	}{
		{env.OptionSpec{}, "null"},
		{env.OptionSpec{Initial: []p4.Limit{}, Phases: []string{}}, "null"},
		{env.OptionSpec{Initial: []p4.Limit{32}}, `{"initial_limit":[32]}`},
		{env.OptionSpec{Initial: []p4.Limit{32, 64}, Load: true}, `{"initial_limit":[32,64],"load":[0,1]}`},
		{env.OptionSpec{TrafficSeed: true}, `{"traffic_seed":[]}`},
		{env.OptionSpec{Phases: []string{"busy"}}, `{"phase":["busy"]}`},
		{env.OptionSpec{Phases: []string{"busy", "quiet"}, TrafficSeed: true}, `{"phase":["busy","quiet"],"traffic_seed":[]}`},
	} {
		if got, err := json.Marshal(resetOptions(c.spec)); err != nil || string(got) != c.want {
			t.Errorf("%+v: %s, %v; want %s", c.spec, got, err, c.want)
		}
	}
}

// informed has as many infos as asked for: its row's number and the steps so far, and so on.
type informed struct {
	env.Vector
	fields int
	steps  float32
}

func (v *informed) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	v.steps++
	return v.Vector.Step(ctx, rows, actions, out)
}

func (v *informed) InfoFields() []telemetry.Field {
	return fieldsOf("row", "steps")[2-v.fields:]
}

func (v *informed) Info(row int, dst []float32) []float32 {
	return append(dst, []float32{float32(row), v.steps}[2-v.fields:]...)
}

// The dashboard shows infos beside the observation, however many there are.
func TestWatchedInfos(t *testing.T) {
	for fields, want := range []string{"[]", "[steps] [1] [2] [3]", "[row steps] [1 1] [1 2] [1 3]"} {
		s, url := serve(t, Options{Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
			v, err := open(ctx, m)
			return &informed{Vector: v, fields: fields}, err
		}})
		c := dial(t, url, DialOptions{NumEnvs: 2})
		var b env.Batch
		if err := c.Reset(background, nil, []uint64{1, 2}, &b); err != nil {
			t.Fatal(err)
		}
		var status struct{ Sessions []struct{ ID string } }
		var watch struct {
			Columns []field
			Samples [][]float32
		}
		get := func(path string, into any) {
			t.Helper()
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
			if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
				t.Fatal(err)
			}
		}
		get("/v1/status", &status)
		path := "/v1/watch?session=" + status.Sessions[0].ID + "&env=1&row=1"
		get(path, &watch)
		columns := watch.Columns
		for range 3 {
			if err := c.Step(background, nil, []int32{0, 1}, &b); err != nil {
				t.Fatal(err)
			}
		}
		get(path, &watch)
		at := len(columns) - fields
		var names []string
		for _, f := range columns[at:] {
			names = append(names, f.Name)
		}
		got := fmt.Sprint(names)
		if fields > 0 {
			for _, sample := range watch.Samples {
				got += fmt.Sprint(" ", sample[at:])
			}
		}
		if got != want || len(watch.Samples) != 3 {
			t.Errorf("%d infos: %s, %d samples; want %s", fields, got, len(watch.Samples), want)
		}
	}
}

// many is an environment with as many actions as asked for.
type many struct {
	env.Vector
	actions int
}

func (v many) Spec() env.Spec {
	s := v.Vector.Spec()
	s.Action = slices.Repeat(env.MultiDiscrete{2}, v.actions)
	return s
}

// An environment whose actions do not fit a request is refused when it is made, and its place is free.
func TestTooManyActions(t *testing.T) {
	n := maxRequest / 4
	if requestBytes(1, n) <= maxRequest {
		t.Fatalf("%d actions fit", n)
	}
	faked(t, Options{MaxEnvs: 1, Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		v, err := open(ctx, m)
		if m.Model == "many" {
			v = many{v, n}
		}
		return v, err
	}}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		p.say(`{"type":"close","id":3,"ack":2,"env":1}`)
		p.want("closed")
		p.say(`{"type":"make","id":4,"ack":3,"scenario":"cartpole","model":"many","num_envs":1}`)
		if m := p.want("capacity"); !strings.Contains(fmt.Sprint(m["message"]), "would make a request longer than") {
			t.Errorf("%v", m["message"])
		}
		p.say(`{"type":"make","id":5,"ack":4,"scenario":"cartpole","num_envs":1}`)
		p.want("made")
		_ = p.net.Close()
	})
}

// An error of a row names the row once, though the server's message names it too.
func TestErrorOfARow(t *testing.T) {
	row := 3
	for _, message := range []string{"row 3: it broke", "it broke"} {
		err := (&errorMessage{Code: "env_failed", Message: message, Row: &row}).remote()
		var of *env.RowError
		var e *Error
		if !errors.As(err, &of) || of.Row != 3 || !errors.As(err, &e) || e.Message != "it broke" || e.Code != "env_failed" {
			t.Errorf("%q: %v", message, err)
		}
	}
}

// The answer to close names what was closed: an environment by its number, the session by 0.
// Options of a reset are refused by name, or as a whole where an environment has none.
func TestAnswersName(t *testing.T) {
	faked(t, Options{Open: openAny}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start() // env 1
		p.say(`{"type":"make","id":3,"ack":2,"scenario":"queues","num_envs":1}`)
		p.want("made")
		p.say(`{"type":"make","id":4,"ack":3,"scenario":"cartpole","num_envs":1}`)
		p.want("made")
		for i, want := range []string{2: `options: "colour" is not one of [`, 3: "options: this environment takes none"} {
			if want == "" {
				continue
			}
			p.say(`{"type":"reset","id":%d,"ack":%d,"env":%d,"seed":"1","options":{"colour":1}}`, 3+i, 2+i, i)
			if m := p.want("bad_frame"); !strings.Contains(m["message"].(string), want) {
				t.Errorf("env %d: %v, want %s", i, m["message"], want)
			}
		}
		_ = p.net.Close()
		q := pipe(t, s, false)
		q.start()
		q.say(`{"type":"close","id":3,"ack":2,"env":1}`)
		if m := q.want("closed"); m["env"] != 1.0 {
			t.Errorf("%v", m)
		}
		q.say(`{"type":"close","id":4,"ack":3,"env":0}`)
		if m := q.want("closed"); m["env"] != nil && m["env"] != 0.0 {
			t.Errorf("%v", m)
		}
		_ = q.net.Close()
	})
}

// A binary request that is too short to have a number is answered by error 0.
func TestShortBinary(t *testing.T) {
	faked(t, Options{Open: open}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		if err := p.send(opBinary, []byte{1, 2, 3}, true); err != nil {
			t.Fatal(err)
		}
		if m := p.want("bad_frame"); m["id"] != 0.0 {
			t.Errorf("%v", m)
		}
		_ = p.net.Close()
	})
}

// The columns that the dashboard draws name actions from 1 on.
func TestColumnsOfActions(t *testing.T) {
	s, url := serve(t, Options{Open: openQueues})
	dial(t, url, DialOptions{})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/status", nil))
	var status struct{ Sessions []struct{ ID string } }
	if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil || len(status.Sessions) != 1 {
		t.Fatalf("%v: %s", err, w.Body)
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/watch?env=1&row=0&session="+status.Sessions[0].ID, nil))
	var watch struct{ Columns []column }
	if err := json.Unmarshal(w.Body.Bytes(), &watch); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	var actions []string
	for _, c := range watch.Columns {
		if c.Group == "action" {
			actions = append(actions, c.Name)
		}
	}
	if !slices.Equal(actions, []string{"action1"}) {
		t.Errorf("actions are named %q in %s", actions, w.Body)
	}
}
