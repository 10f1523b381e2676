package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
)

func TestActions(t *testing.T) {
	for _, c := range []struct {
		text string
		want actions
	}{
		{`[]`, actions{flat: []int32{}}},
		{`[1]`, actions{flat: []int32{1}, rows: 1, width: 1}},
		{` [ 1 , -2,2147483647 ] `, actions{flat: []int32{1, -2, 2147483647}, rows: 3, width: 1}},
		{`[[1,2],[3,4]]`, actions{flat: []int32{1, 2, 3, 4}, rows: 2, width: 2}},
		{`[[1],2,[3]]`, actions{flat: []int32{1, 2, 3}, rows: 3, width: 1}},
		{`[[1,2],3,[]]`, actions{flat: []int32{1, 2, 3}, rows: 3, width: 2, odd: 1, has: 1}},
		{`[[],1]`, actions{flat: []int32{1}, rows: 2, odd: 1, has: 1}},
	} {
		var a actions
		if err := json.Unmarshal([]byte(c.text), &a); err != nil || !reflect.DeepEqual(a, c.want) {
			t.Errorf("%s: %+v %v, want %+v", c.text, a, err, c.want)
		}
	}
	for _, text := range []string{`1`, `{}`, `"x"`, `[1.5]`, `[2147483648]`, `["1"]`, `[[[1]]]`, `[null]`, `[true]`, `[1e3]`, `[{}]`} {
		var a actions
		if err := json.Unmarshal([]byte(text), &a); !errors.Is(err, env.ErrInvalidAction) {
			t.Errorf("%s: %+v %v", text, a, err)
		}
	}
}

// What is read of a text message takes memory in proportion to it.
func TestControlMemory(t *testing.T) {
	for what, most := range map[string]float64{"1": 4, "[1]": 4, "[]": 4} {
		n := maxRequest/(len(what)+1) - 40
		b := []byte(`{"type":"step","id":1,"actions":[` + strings.Join(slices.Repeat([]string{what}, n), ",") + `]}`)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := parseControl(b)
		runtime.ReadMemStats(&after)
		if took := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(b)); err != nil || c.Actions.rows != n || took > most {
			t.Errorf("%s: %v: %.1f bytes for each of the message", what, err, took)
		}
	}
}

func TestSeeds(t *testing.T) {
	for text, want := range map[string]string{`"0"`: "0", `"18446744073709551615"`: "18446744073709551615", `"007"`: "7"} {
		var s seed
		if err := json.Unmarshal([]byte(text), &s); err != nil || fmt.Sprint(uint64(s)) != want {
			t.Errorf("%s: %d %v", text, s, err)
		}
	}
	for _, text := range []string{`7`, `"-1"`, `"+1"`, `"1.0"`, `""`, `"18446744073709551616"`, `"0x1"`, `null`, `[]`, `" 1"`, `"1_0"`} {
		var s seed
		if err := json.Unmarshal([]byte(text), &s); !errors.Is(err, ErrBadFrame) {
			t.Errorf("%s: %d %v", text, s, err)
		}
	}
}

func TestStepForms(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.start()
		p.say(`{"type":"make","id":3,"ack":2,"scenario":"cartpole","num_envs":3}`)
		p.want("made")
		p.say(`{"type":"reset","id":4,"ack":3,"env":2,"options":{ }}`)
		p.want("reset_result")
		for i, c := range []struct{ keys, want string }{
			{`"actions":[1,0,1]`, "step_result"},
			{`"actions":[[1],[0],[1]]`, "step_result"},
			{`"rows":[2,0],"actions":[1,[0]]`, "step_result"},
			{`"actions":[1,0]`, "invalid_action"},
			{`"actions":[]`, "invalid_action"},
			{`"actions":[1,0,2]`, "invalid_action 2"},
			{`"actions":[[1,0],1,0]`, "invalid_action 0"},
			{`"rows":[2,0],"actions":[1,[0,1]]`, "invalid_action 0"},
			{`"actions":[1,0,"x"]`, "invalid_action"},
			{`"rows":[],"actions":[]`, "invalid_rows"},
			{`"rows":[3],"actions":[1]`, "invalid_rows 3"},
			{`"rows":[1,1],"actions":[1,1]`, "invalid_rows 1"},
			{`"x":1`, "bad_frame"},
		} {
			p.say(`{"type":"step","id":%d,"ack":%d,"env":2,%s}`, 5+i, 4+i, c.keys)
			code, row, named := strings.Cut(c.want, " ")
			if m := p.want(code); named && fmt.Sprint(m["row"]) != row {
				t.Errorf("%s: %v", c.keys, m)
			}
		}
		p.say(`{"type":"reset","id":18,"ack":17,"env":2,"options":{"x":1}}`)
		p.want("bad_frame")
		_ = p.net.Close()
	})
}
