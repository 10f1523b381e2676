package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Bounds are numbers, or the names of infinity, both ways.
func TestBounds(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		v    float32
		text string
	}{
		{0, "0"}, {-4.8, "-4.8"}, {math.MaxFloat32, "3.4028235e+38"}, {-math.MaxFloat32, "-3.4028235e+38"}, {inf, `"inf"`}, {-inf, `"-inf"`},
	} {
		b, err := json.Marshal(bound(c.v))
		if string(b) != c.text || err != nil {
			t.Errorf("%v is written %s, %v, want %s", c.v, b, err, c.text)
		}
		back := bound(7)
		if err := json.Unmarshal([]byte(c.text), &back); float32(back) != c.v || err != nil {
			t.Errorf("%s is read as %v, %v", c.text, back, err)
		}
	}
	for _, text := range []string{`"infinity"`, `"nan"`, `""`, `[]`, `1e39`} {
		if err := json.Unmarshal([]byte(text), new(bound)); err == nil {
			t.Errorf("%s is read as a bound", text)
		}
	}
}

// Lists are read whole, into no more memory than their elements take.
func TestListsAreReadAnew(t *testing.T) {
	var a actions
	var rows rowList
	var seeds seedList
	var states stateList
	var can capabilities
	for _, c := range []struct {
		into   any
		first  string
		second string
		want   string
		room   func() (have, want int)
	}{
		{&a, `[[1,2],[3],4]`, `[9,-9]`, "{flat:[9 -9] rows:2 width:1 odd:0 has:0}", func() (int, int) { return cap(a.flat), 2 }},
		{&rows, `[1,2,3]`, `[ 9 ,8]`, "[9 8]", func() (int, int) { return cap(rows), 2 }},
		{&seeds, `["1","2"]`, `["9"]`, "[9]", func() (int, int) { return cap(seeds), 1 }},
		{&states, `["AA==","AA=="]`, `["AQI="]`, "{text:[91 34 65 81 73 61 34 93] n:1}", func() (int, int) { return 0, 0 }},
		{&can, `["episode_end","final_info","reset_options"]`, `["final_info"]`, "{episodeEnd:false finalInfo:true resetOptions:false}", func() (int, int) { return 0, 0 }},
	} {
		for _, text := range []string{c.first, c.second} {
			if err := json.Unmarshal([]byte(text), c.into); err != nil {
				t.Fatal(text, err)
			}
		}
		if got := fmt.Sprintf("%+v", reflect.ValueOf(c.into).Elem().Interface()); got != c.want {
			t.Errorf("%s after %s is read as %s, want %s", c.second, c.first, got, c.want)
		}
		if have, want := c.room(); have != want {
			t.Errorf("%s takes the memory of %d elements, want %d", c.second, have, want)
		}
		if err := json.Unmarshal([]byte("null"), c.into); err != nil && c.into != &a {
			t.Errorf("null for %s: %v", c.first, err)
		}
	}
	if rows != nil || seeds != nil || states.n != 0 || can != (capabilities{}) {
		t.Errorf("null leaves %v, %v, %v, %v", rows, seeds, states, can)
	}
}

// Every state is decoded, in order; one that is not base64 is an error.
func TestStates(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "[]", `["AQI="]`: "[[1 2]]", `["AQI=", "" ,"/w=="]`: "[[1 2] [] [255]]", `["AQI=","A"]`: "bad_frame", `["\u0041QI="]`: "[[1 2]]", `["%%%%"]`: "bad_frame",
	} {
		var s stateList
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(text, err)
		}
		states, err := s.decode()
		got := fmt.Sprint(states)
		if err != nil {
			got = codeOf(err)
		}
		if got != want || err == nil && cap(states) != s.n {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
	}
}

// An error in a text request says what is wrong, where, and in which key; the other
// keys are read all the same.
func TestErrorsOfTextRequests(t *testing.T) {
	deep := strings.Repeat("[", 17) + strings.Repeat("]", 17)
	for text, want := range map[string]string{
		`{"id":7,}`:                             "JSON: invalid character '}' looking for beginning of object key string at byte 9",
		`{"id":7`:                               "JSON: unexpected end of JSON input at byte 7",
		``:                                      "JSON: unexpected end of JSON input at byte 0",
		` [1] `:                                 `JSON: "[1]" is not an object`,
		`{"id":7,"env":1,"env":1}`:              "env: given twice",
		`{"id":7,"env":1,"env":"x"}`:            "env: given twice",
		`{"id":7,"id":8}`:                       "id: given twice",
		`{"env":"x","id":7,"ack":"y"}`:          "env: string, want uint32",
		`{"env":1}`:                             "id is missing",
		`{"id":7,"seed":"x"}`:                   `seed "x" is not a decimal number below 2^64`,
		`{"id":7,"seed":1}`:                     `seed 1 is not a decimal string`,
		`{"id":7,"seed":"1`:                     "JSON: unexpected end of JSON input at byte 17",
		`{"id":7,"rows":[2147483648]}`:          "invalid rows: 2147483648",
		`{"id":7,"rows":[1,[2,3]]}`:             `rows: "[2" is not a row`,
		`{"id":7,"rows":[9,2x]}`:                "JSON: invalid character 'x' after array element at byte 20",
		`{"id":7,"actions":[0,[1],[9,"]"]]}`:    `actions: row 2: "\"]\"]" is neither`,
		`{"id":7,"actions":[1 , 2.5]}`:          `actions: row 1: "2.5" is neither a 32-bit integer nor a list of them`,
		`{"id":7,"actions":[12345678901]}`:      `actions: row 0: "12345678901" is neither`,
		`{"id":7,"actions":{}}`:                 "actions: want a list, one action a row",
		`{"id":7,"states":["AA==",[]]}`:         `states: "[" is not a string`,
		`{"id":7,"capabilities":["a",{"b":1}]}`: `capabilities: "{\"b\":1}" is not a string`,
		`{"id":7,"autoreset":"never"}`:          "autoreset",
		`{"id":7,"kwargs":` + deep + `}`:        "JSON: ",
		`{"env":` + deep + `,"id":7}`:           "JSON: ",
	} {
		c, err := parseControl([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if named := c.ID != nil && *c.ID == 7; named != (json.Valid([]byte(text)) && strings.Contains(text, `"id":7`)) {
			t.Errorf("%s: id %v", text, c.ID)
		}
	}
	c, err := parseControl([]byte(`{"id":7,"kwargs":` + deep + `,"rows":[1],"client":"x"}`))
	if err == nil || c.Kwargs != nil || c.Rows != nil || c.Client != "x" {
		t.Errorf("beside what is too deep: %+v, %v", c, err)
	}
}

// Keys and values are found with any blanks between them and any escapes in them.
func TestMembers(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", ` { } `: "", `{"a":1}`: "a=1;", `{ "a" : 1 , "b":"x" }`: `a=1;b="x";`, "{\t\"a\"\r\n:\t[ 1 , 2 ]\n,\"b\":{}}": "a=[ 1 , 2 ];b={};",
		`{"a":"}","b":[{"c":"]"}],"d":-1.5e3}`: `a="}";b=[{"c":"]"}];d=-1.5e3;`, `{"a\\":"\\\"","b":null}`: `a\="\\\"";b=null;`, `{"\u0061":true,"":0}`: "a=true;=0;",
		`{"a":{"b":{"c":[[]]}},"d":",}"}`: `a={"b":{"c":[[]]}};d=",}";`,
	} {
		var got strings.Builder
		members([]byte(strings.TrimSpace(text)), func(key, value []byte) { fmt.Fprintf(&got, "%s=%s;", key, value) })
		if got.String() != want {
			t.Errorf("%s: %s, want %s", text, &got, want)
		}
	}
}

func fieldsOf(names ...string) (f []telemetry.Field) {
	for _, n := range names {
		f = append(f, telemetry.Field{Name: n, Unit: "s"})
	}
	return f
}

// The client takes the environment's spec from made, and refuses one that contradicts
// itself.
func TestMadeIsTheSpec(t *testing.T) {
	whole := func() *made {
		var m made
		m.NumEnvs = 2
		m.describe(env.Spec{
			Observation: env.Box{Low: []float32{-1, 0}, High: []float32{1, 2}, Elements: fieldsOf("a", "b")}, Action: env.MultiDiscrete{2, 3},
			Limits: []p4.Limit{16, 32}, Initial: []p4.Limit{32}, Reward: [2]float64{-2, 3}, StepSeconds: 4, MaxSteps: 5, Autoreset: env.Disabled, RealTime: true,
		})
		return &m
	}
	s, err := whole().spec()
	if got, want := fmt.Sprintf("%+v", s), "{Observation:{Low:[-1 0] High:[1 2] Elements:[{Name:a Unit:s} {Name:b Unit:s}]} Action:[2 3] Limits:[16 32] Initial:[32] Reward:[-2 3] StepSeconds:4 MaxSteps:5 Autoreset:disabled RealTime:true}"; got != want || err != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	for name, c := range map[string]struct {
		change func(m *made)
		ok     bool
	}{
		"no rows": {func(m *made) { m.NumEnvs = 0 }, false}, "a row": {func(m *made) { m.NumEnvs = 1 }, true},
		"the most rows": {func(m *made) { m.NumEnvs = math.MaxInt32 }, true}, "a row more": {func(m *made) { m.NumEnvs = math.MaxInt32 + 1 }, false},
		"another space": {func(m *made) { m.ObservationSpace.Type = "tuple" }, false}, "no shape": {func(m *made) { m.ObservationSpace.Shape = nil }, false},
		"two axes": {func(m *made) { m.ObservationSpace.Shape = []int{2, 1} }, false}, "another shape": {func(m *made) { m.ObservationSpace.Shape = []int{3} }, false},
		"a high less": {func(m *made) { m.ObservationSpace.High = m.ObservationSpace.High[:1] }, false}, "an element less": {func(m *made) { m.ObservationSpace.Elements = m.ObservationSpace.Elements[:1] }, false},
		"no observation": {func(m *made) { m.ObservationSpace = box{Type: "box", Shape: []int{0}} }, false},
		"other actions":  {func(m *made) { m.ActionSpace.Type = "discrete" }, false}, "no actions": {func(m *made) { m.ActionSpace.N = nil }, false},
	} {
		m := whole()
		c.change(m)
		if _, err := m.spec(); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrBadFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := whole()
	m.Limits, m.Initial = []p4.Limit{}, []p4.Limit{} // as of an environment that has none
	if s, err := m.spec(); s.Limits != nil || s.Initial != nil || err != nil {
		t.Errorf("no limits: %v, %v, %v", s.Limits, s.Initial, err)
	}
	m.Limits = []p4.Limit{8}
	if s, err := m.spec(); !slices.Equal(s.Limits, m.Limits) || err != nil {
		t.Errorf("one limit: %v, %v", s.Limits, err)
	}
}
