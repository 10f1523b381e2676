package ws

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
)

// A text message that is no valid request gets an error reply, with its number if it
// has one, and the session goes on.
func TestWhatIsNoRequest(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		for _, c := range []struct{ say, want string }{
			{`{"type":"ping","id":9}`, "map[id:9 type:pong]"},
			{`{"type":"ping","id":0}`, "map[id:0 type:pong]"},
			{`{"type":"ping"}`, "map[code:bad_frame id:0 message:malformed or out-of-turn message: id is missing type:error]"},
			{`{"type":"ping","id":9,"env":"x"}`, "map[code:bad_frame id:9 message:malformed or out-of-turn message: env: string, want uint32 type:error]"},
			{`{"type":"hello","id":9,"version":1}`, "map[code:bad_frame id:9 message:malformed or out-of-turn message: hello was said before type:error]"},
			{`{"type":"resume","id":9,"version":1}`, "map[code:bad_frame id:9 message:malformed or out-of-turn message: resume was said before type:error]"},
			{`{"type":"resume","id":9,"version":"1"}`, "map[code:bad_frame id:9 message:malformed or out-of-turn message: version: string, want int type:error]"},
			{`no JSON`, "map[code:bad_frame id:0 message:malformed or out-of-turn message: JSON: invalid character 'o' in literal null (expecting 'u') at byte 2 type:error]"},
			{`{"type":"dance","id":3}`, `map[code:bad_frame id:3 message:malformed or out-of-turn message: unknown type "dance" type:error]`},
			{`{"id":4}`, `map[code:bad_frame id:4 message:malformed or out-of-turn message: unknown type "" type:error]`},
			{`{"type":"step","id":5,"ack":9,"env":1,"actions":[1]}`, "map[code:bad_frame id:5 message:malformed or out-of-turn message: ack is 9, the last reply was 4 type:error]"},
			{`{"type":"step","id":6,"ack":"9","env":1,"actions":[1]}`, "map[code:bad_frame id:6 message:malformed or out-of-turn message: ack: string, want uint64 type:error]"},
		} {
			p.say("%s", c.say)
			if m, err := p.hear(); fmt.Sprint(m) != c.want || err != nil {
				t.Errorf("%s: %v, %v, want %s", c.say, m, err, c.want)
			}
		}
		p.say(`{"type":"step","id":7,"ack":6,"env":1,"actions":[1]}`)
		p.want("step_result")
		_ = p.net.Close()
	})
}

// An error reply to make says what is wrong. The server's options bound the number of
// environments, the longest message the number of rows.
func TestMakesThatAreRefused(t *testing.T) {
	rows := (maxRequest - headerBytes - 8) / 12 // of a reset with a seed each: 8 bytes, and 4 of its number
	faked(t, Options{MaxEnvs: 2}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		for i, c := range []struct{ keys, want string }{
			{`"num_envs":1`, "bad_frame scenario is missing"}, {`"scenario":"cartpole"`, "bad_frame num_envs: 0 is less than 1"}, {`"scenario":"cartpole","num_envs":-1`, "bad_frame num_envs: -1 is less than 1"},
			{`"scenario":"none","num_envs":1`, `unknown_scenario "none"; there is cartpole`},
			{fmt.Sprintf(`"scenario":"cartpole","num_envs":%d`, rows+1), fmt.Sprintf("capacity num_envs: %d would make a request longer than 1048576 bytes; the largest is %d", rows+1, rows)},
			{`"scenario":"cartpole","num_envs":9223372036854775807`, fmt.Sprintf("capacity num_envs: 2147483647 would make a request longer than 1048576 bytes; the largest is %d", rows)},
			{fmt.Sprintf(`"scenario":"cartpole","num_envs":%d`, rows), "made"}, {`"scenario":"cartpole","num_envs":1`, "made"},
			{`"scenario":"cartpole","num_envs":1`, "capacity the session has 2 environments, the most allowed"},
		} {
			p.say(`{"type":"make","id":%d,"ack":%d,%s}`, i+1, i, c.keys)
			code, text, _ := strings.Cut(c.want, " ")
			if m, err := p.hear(); err != nil || m["type"] != code && m["code"] != code || text != "" && !strings.HasSuffix(m["message"].(string), text) {
				t.Errorf("%s: %v, %v, want %s", c.keys, m, err, c.want)
			}
		}
		p.say(`{"type":"close","id":10,"ack":9,"env":1}`)
		p.want("closed")
		p.say(`{"type":"make","id":11,"ack":10,"scenario":"cartpole","num_envs":1}`) // there is room again
		p.want("made")
		p.say(`{"type":"make","id":12,"ack":11,"scenario":"cartpole","num_envs":50000}`)
		p.want("capacity")
		_ = p.net.Close()
	})
}

// An environment that is made counts once: as soon as a make is answered, its place is that of the
// environment, and the place of a closed one is free.
func TestMakesInARow(t *testing.T) {
	faked(t, Options{MaxEnvs: 2}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		id := 0
		ask := func(format string, args ...any) {
			id++
			p.say(`{"id":%d,"ack":%d,%s}`, id, id-1, fmt.Sprintf(format, args...))
		}
		for range 100 {
			var envs []any
			for range 2 {
				ask(`"type":"make","scenario":"cartpole","num_envs":1`)
				envs = append(envs, p.want("made")["env"])
			}
			for _, env := range envs {
				ask(`"type":"close","env":%v`, env)
				p.want("closed")
			}
		}
		_ = p.net.Close()
	})
}

// A reset of more rows than a JSON reply has room for is refused as text, and answered
// as binary.
func TestRowsThatDoNotFit(t *testing.T) {
	faked(t, openScript(&script{ends: make([]int, 100_000)}), func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		const rows = maxReply / (32 * (2*3 + 3)) // of three numbers each
		p.say(`{"type":"make","id":1,"ack":0,"scenario":"s","num_envs":%d}`, rows+1)
		p.want("made")
		p.say(`{"type":"reset","id":2,"ack":1,"env":1}`)
		if m := p.want("capacity"); !strings.HasSuffix(m["message"].(string), fmt.Sprintf("%d rows make a JSON reply longer than 16777216 bytes: use the binary form", rows+1)) {
			t.Errorf("%v", m)
		}
		p.ask(request{header: header{Type: typeReset, Env: 1, N: rows + 1, Seq: 3}, Ack: 2})
		if op, b := p.next(); op != opBinary {
			t.Errorf("%s", b)
		}
		p.say(`{"type":"step","id":4,"ack":3,"env":1,"rows":[7,5],"actions":[1,0]}`)
		if m := p.want("step_result"); fmt.Sprint(m["obs"]) != "[[7 1 0] [5 1 0]]" {
			t.Errorf("%v", m)
		}
		// A reply: 24 bytes of header, 8 of T, 16 a step, and the flags of all, twice, in fours.
		most := 0
		for n := (maxReply - 32) / 19; n < (maxReply-32)/17; n++ {
			if 32+16*n+2*((n+3)/4*4) <= maxReply {
				most = n
			}
		}
		if want := 4 * (maxRequest - 50) / 16; most < want { // a request has room for fewer steps than that
			t.Fatalf("%d steps fit", most)
		}
		p.ask(request{header: header{Type: typeStepMany, Flags: flagSubset, Env: 1, N: 1, Seq: 5}, Ack: 4, Steps: 200_000, Rows: []int{1}, Actions: make([]int32, 200_000)})
		if op, b := p.next(); op != opBinary || len(b) != 32+18*200_000 {
			t.Error(op, len(b))
		}
		_ = p.net.Close()
	})
	e := &vector{spec: env.Spec{Autoreset: env.SameStep}, d: 3}
	for n := range 20 {
		if got, want := e.replyBytes(n), 24+n*(2*3+1)*4+2*((n+3)/4*4); got != want {
			t.Errorf("a reply of %d rows has %d bytes, want %d", n, got, want)
		}
	}
}

// STEP_MANY whose reply would be too long says how many steps fit.
func TestStepsThatDoNotFit(t *testing.T) {
	faked(t, openScript(&script{ends: make([]int, 10_000)}), func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.hello("")
		const rows = 10_000
		p.say(`{"type":"make","id":1,"ack":0,"scenario":"s","num_envs":%d}`, rows)
		p.want("made")
		p.say(`{"type":"reset","id":2,"ack":1,"env":1,"rows":[0]}`)
		p.want("reset_result")
		p.ask(request{header: header{Type: typeStepMany, Flags: flagResync, Env: 1, N: rows, Seq: 3}, Ack: 2, Steps: 26, Actions: make([]int32, rows*26)})
		if op, b := p.next(); op != opBinary || len(b) != 32+26*rows*18 {
			t.Errorf("26 steps: %d, %d bytes", op, len(b))
		}
		_ = p.net.Close()
	})
	// No message has room for so many steps, so stepMany is called directly.
	e := &vector{d: 1000, s: 1, num: 10, spec: env.Spec{Action: env.MultiDiscrete{2}}}
	r := &request{header: header{N: 10}, Steps: 5000, Actions: make([]int32, 50_000)}
	fit := 0
	for 32+40*(fit+1)*1001+2*((10*(fit+1)+3)/4*4) <= maxReply {
		fit++
	}
	var ss session
	if done, err := ss.stepMany(background, e, r, new(uint64)); done != 0 || err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("5000 steps make a reply of %d bytes; %d fit", 32+40*5000*1001+2*50_000, fit)) {
		t.Errorf("%d, %v; %d fit", done, err, fit)
	}
	// Two rows of 262,142 numbers: 32 + 16·(4·262,142 + 4) + 2·16 bytes of eight steps are 16 MiB.
	e = &vector{Vector: &script{}, d: 262_142, s: 1, num: 2, spec: env.Spec{Action: env.MultiDiscrete{2}}} // which was not reset
	for steps, want := range map[int]error{8: env.ErrNeedReset, 9: ErrCapacity} {
		r = &request{header: header{N: 2}, Steps: steps, Actions: make([]int32, 2*steps)}
		if n := resultBytes(true, 16, e.d, 0, false, false); n != maxReply {
			t.Fatalf("%d bytes", n)
		}
		if _, err := ss.stepMany(background, e, r, new(uint64)); !errors.Is(err, want) {
			t.Errorf("%d steps: %v, want %v", steps, err, want)
		}
	}
}

// A session is closed when it is idle, but not while it steps or its client asks for
// something.
func TestIdleTime(t *testing.T) {
	v := &slow{takes: 25 * time.Second}
	o := Options{IdleTimeout: 10 * time.Second, PingAfter: 4 * time.Second, PongTimeout: 2 * time.Second, Open: openSlow(v)}
	faked(t, o, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		go func() { // it is alive throughout
			for range 300 {
				time.Sleep(time.Second)
				if p.send(opPong, nil, true) != nil {
					return
				}
			}
		}()
		for id := 3; id < 6; id++ {
			time.Sleep(9 * time.Second)
			p.say(`{"type":"state","id":%d,"ack":%d,"env":1}`, id, id-1)
			if m, err := p.hear(); err != nil || m["id"] != float64(id) {
				t.Fatal(m, err)
			}
		}
		began := time.Now()
		p.wantClose(closeIdle)
		if took := time.Since(began); took < 10*time.Second || took > 14*time.Second {
			t.Errorf("closed after %v", took)
		}
		_ = p.net.Close()
		time.Sleep(2 * time.Second) // the pongs end
		if s.count() != [2]int{0, 1} {
			t.Errorf("sessions %v: an idle one may be resumed", s.count())
		}
	})
}
