package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// What is read of a text message takes no more memory than twice its length,
// what is thrown away on the way included.
func TestControlMemory(t *testing.T) {
	list := func(key, element string) string {
		n := maxRequest/(len(element)+1) - 40
		return `{"type":"step","id":1,"` + key + `":[` + strings.Join(slices.Repeat([]string{element}, n), ",") + `]}`
	}
	for what, text := range map[string]string{
		"actions": list("actions", "1"), "actions of one": list("actions", "[1]"), "actions of none": list("actions", "[]"),
		"rows": list("rows", "7"), "seeds": list("seeds", `"1"`), "states": list("states", `""`), "states of one": list("states", `"AA=="`),
		"capabilities": list("capabilities", `""`), "unknown": list("x", "0"), "unknown objects": list("x", "{}"), "kwargs": list("kwargs", "0"), "options": list("options", `""`),
		"deep":     `{"id":1,"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + strings.Repeat(" ", 500_000) + `}`,
		"repeated": `{"id":1` + strings.Repeat(`,"rows":[1]`, 90_000) + `}`, "repeated ids": `{"id":1` + strings.Repeat(`,"id":1`, 140_000) + `}`,
		"repeated seeds": `{"id":1` + strings.Repeat(`,"seed":"1"`, 90_000) + `}`, "client": `{"id":1,"client":"` + strings.Repeat("x", maxRequest-40) + `"}`,
		"escapes": `{"id":1,"client":"` + strings.Repeat(`\u0061`, maxRequest/6-10) + `"}`,
	} {
		b := []byte(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := parseControl(b)
		runtime.ReadMemStats(&after)
		took := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(b))
		t.Logf("%s: %.2f", what, took)
		if (err != nil) != (what == "deep" || strings.HasPrefix(what, "repeated")) || c.ID == nil || len(b) > maxRequest || took > 2.2 {
			t.Errorf("%s: %d bytes: %v: %.1f bytes for each of the message", what, len(b), err, took)
		}
	}
}

// TestAnswerByNumber: a request with one bad value is answered by its number,
// whatever order its keys come in, and the session goes on.
func TestAnswerByNumber(t *testing.T) {
	bad := map[string]string{
		"actions": `"left"`, "seed": `7`, "seeds": `[7]`, "rows": `"all"`, "states": `[1]`, "env": `"one"`, "ack": `-1`, "type": `7`,
		"kwargs": strings.Repeat(`{"a":`, 17) + `1` + strings.Repeat(`}`, 17), "options": strings.Repeat(`[`, 17) + strings.Repeat(`]`, 17),
		"num_envs": `"many"`, "scenario": `[]`, "autoreset": `"never"`, "model": `1`, "record": `"yes"`, "info": `1`, "version": `"1"`, "capabilities": `{}`,
		"client": `1`, "ticket": `1`, "token": `1`, "last_seq": `1.5`,
	}
	orders := map[string]func(keys []string){
		"sorted": func(k []string) { slices.Sort(k) }, "reversed": func(k []string) { slices.Sort(k); slices.Reverse(k) },
		"id last": func(k []string) { slices.SortFunc(k, func(a, b string) int { return len(b) - len(a) }) },
	}
	var tried int
	for _, name := range []string{"make", "reset", "step", "state", "set_state", "close", "ping"} {
		for _, raw := range goldenText()[name] {
			var keys map[string]json.RawMessage
			if err := json.Unmarshal(raw.(json.RawMessage), &keys); err != nil {
				t.Fatal(err)
			}
			for key := range controlKeys() {
				if key == "id" {
					continue
				}
				if bad[key] == "" {
					t.Fatalf("the test has no bad value for key %s", key)
				}
				with := maps.Clone(keys)
				with["id"], with[key] = json.RawMessage(`3`), json.RawMessage(bad[key])
				if key != "ack" {
					with["ack"] = json.RawMessage(`2`)
				}
				for order, sort := range orders {
					names := slices.Collect(maps.Keys(with))
					sort(names)
					var text []string
					for _, k := range names {
						text = append(text, fmt.Sprintf("%q:%s", k, with[k]))
					}
					tried++
					line := "{" + strings.Join(text, ", ") + "}"
					faked(t, Options{}, func(t *testing.T, s *Server) {
						p := pipe(t, s, false)
						p.start()
						p.say("%s", line)
						if m, err := p.hear(); err != nil || m["type"] != "error" || m["id"] != 3.0 || m["fatal"] == true {
							t.Errorf("%s, %s: answered %v, %v", line, order, m, err)
						}
						next := 4
						if name == "ping" && key != "type" { // is not numbered
							next = 3
						}
						p.say(`{"env":1,"actions":[1],"ack":0,"type":"step","id":%d}`, next)
						p.want("step_result")
						_ = p.net.Close()
					})
				}
			}
		}
	}
	t.Log(tried, "requests")
}

// controlKeys are the keys that a text request may have.
func controlKeys() map[string]int { return controlFields() }

// TestKeysAreExact: a key in other letters is another key.
func TestKeysAreExact(t *testing.T) {
	for _, text := range []string{`{"ID":1}`, `{"Id":1}`, `{"\u0049d":1}`} {
		if c, err := parseControl([]byte(text)); !errors.Is(err, ErrBadFrame) || c.ID != nil {
			t.Errorf("%s: id %v, %v", text, c.ID, err)
		}
	}
	c, err := parseControl([]byte(`{"\u0069d" : 7 , "Model":"/etc/passwd","MODEL":"x","Kwargs":{"a":1},"model" : "m", "num_envs":2}`))
	if err != nil || *c.ID != 7 || c.Model != "m" || c.Kwargs != nil || c.NumEnvs != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, text := range []string{`[]`, `7`, `"x"`, `null`, ` [ {"id":1} ] `} {
		if c, err := parseControl([]byte(text)); !errors.Is(err, ErrBadFrame) || c.ID != nil {
			t.Errorf("%s: id %v, %v", text, c.ID, err)
		}
	}
}

// Lists that are none, and elements that do not belong there.
func TestLists(t *testing.T) {
	for text, want := range map[string]string{
		`"rows":[1, 2 ,-3]`: "[1 2 -3]", `"rows":[]`: "[]", `"rows":null`: "[]", `"rows":7`: "bad_frame", `"rows":["1"]`: "bad_frame", `"rows":[1.0]`: "bad_frame",
		`"rows":[[1]]`: "bad_frame", `"rows":[2147483648]`: "invalid_rows", `"rows":{}`: "bad_frame", `"rows":[null]`: "bad_frame",
		`"seeds":["1","18446744073709551615"]`: "[1 18446744073709551615]", `"seeds":[1]`: "bad_frame", `"seeds":null`: "[]", `"seeds":"1"`: "bad_frame",
		`"states":["AA==", "\"x,]"]`: "2", `"states":[]`: "0", `"states":[1]`: "bad_frame", `"states":{}`: "bad_frame",
		`"capabilities":["a","episode_end"]`: "true", `"capabilities":["a,\"episode_end\""]`: "false", `"capabilities":[1]`: "bad_frame", `"capabilities":null`: "false",
	} {
		c, err := parseControl([]byte(`{"id":1,` + text + `}`))
		var got any = codeOf(err)
		if err == nil {
			switch text[1] {
			case 'r':
				got = c.Rows
			case 's':
				if got = c.Seeds; text[2] == 't' {
					got = c.States.n
				}
			case 'c':
				got = c.Capabilities.episodeEnd
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v (%v), want %s", text, got, err, want)
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
