package scenarios_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/nesting"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

// fill sets every exported field that v reaches to something: pointers, slices
// and maps get an element.
func fill(t *testing.T, v reflect.Value, at string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), at)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 4))
		for i := range 2 {
			fill(t, v.Index(i), at+"[]")
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), at+"[]")
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, k, at+"{}")
		fill(t, e, at+"{}")
		v.SetMapIndex(k, e)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Type.Kind() == reflect.Func {
				if f.Tag.Get("toml") != "-" {
					t.Errorf("%s.%s: a function that a file may set", at, f.Name)
				}
			} else if f.IsExported() {
				fill(t, v.Field(i), at+"."+f.Name)
			} else {
				plain(t, f.Type, at+"."+f.Name)
			}
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	default:
		switch {
		case v.CanInt():
			v.SetInt(7)
		case v.CanUint():
			v.SetUint(1)
		case v.CanFloat():
			v.SetFloat(7)
		default:
			t.Errorf("%s: a %v is not plain data", at, v.Type())
		}
	}
}

// plain reports a type of unexported fields that holds more than plain values.
func plain(t *testing.T, of reflect.Type, at string) {
	t.Helper()
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Struct:
		t.Errorf("%s: unexported and a %v, which Clone cannot copy", at, of)
	}
}

// memory adds the address of all memory that v reaches to seen, with where.
func memory(v reflect.Value, at string, seen map[uintptr]string) {
	switch v.Kind() {
	case reflect.Pointer:
		seen[v.Pointer()] = at
		memory(v.Elem(), at, seen)
	case reflect.Slice:
		seen[v.Pointer()] = at
		for i := range v.Len() {
			memory(v.Index(i), fmt.Sprintf("%s[%d]", at, i), seen)
		}
	case reflect.Array:
		for i := range v.Len() {
			memory(v.Index(i), fmt.Sprintf("%s[%d]", at, i), seen)
		}
	case reflect.Map:
		seen[v.Pointer()] = at
		for each := v.MapRange(); each.Next(); {
			memory(each.Value(), at+"{}", seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			memory(v.Field(i), at+"."+v.Type().Field(i).Name, seen)
		}
	}
}

// TestCloneSharesNothing: nothing of a scenario can be reached from its copy,
// whatever fields a Scenario gets.
func TestCloneSharesNothing(t *testing.T) {
	var s scenarios.Scenario
	fill(t, reflect.ValueOf(&s).Elem(), "Scenario")
	c := s.Clone()
	if !reflect.DeepEqual(s, c) {
		t.Errorf("the copy differs:\n%+v\n%+v", s, c)
	}
	own, copied := map[uintptr]string{}, map[uintptr]string{}
	memory(reflect.ValueOf(s), "Scenario", own)
	memory(reflect.ValueOf(c), "Scenario", copied)
	if len(own) < 10 || len(copied) != len(own) {
		t.Errorf("%d and %d pieces of memory: the test reaches too little", len(own), len(copied))
	}
	for p, at := range copied {
		if was, shared := own[p]; shared {
			t.Errorf("%s is memory of the original's %s", at, was)
		}
	}
}

// TestOverridesStayWithTheCopy: what one client overrides changes the scenario
// of no other, and two clients at a time do not race.
func TestOverridesStayWithTheCopy(t *testing.T) {
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		before := s.Clone()
		var wait sync.WaitGroup
		for _, o := range []string{
			`{"testbed": {"warmup_s": 0}}`, `{"testbed": {"warmup_s": 1, "probe": {"per_second": 9}}}`,
			`{"env": {"limits": [8, 16], "initial": 8}}`, ``, `{}`,
		} {
			wait.Go(func() {
				if _, err := s.With(t.Context(), []byte(o)); err != nil {
					t.Errorf("%s: %s: %v", name, o, err)
				}
			})
		}
		wait.Wait()
		if !reflect.DeepEqual(s, before) {
			t.Errorf("%s changed:\n%+v\n%+v", name, before, s)
		}
	}
}

func TestWith(t *testing.T) {
	s, err := scenarios.Load("replay")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.With(t.Context(), []byte(`{"env": {"max_steps": 7, "limits": [8, 16, 64], "end_on_stall_s": 2.5, "autoreset": "same_step", "reward": {"name": "qoe-lin"}}, "replay": {"start": "first"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Env.MaxSteps != 7 || !slices.Equal(got.Env.Limits, []p4.Limit{8, 16, 64}) || got.Env.EndOnStall != 2.5 || got.Env.Autoreset != env.SameStep ||
		got.Env.Reward.Name != "qoe-lin" || got.Replay.Start != "first" || got.Env.StepSeconds != 4 {
		t.Errorf("%+v", got)
	}
	if same, err := s.With(t.Context(), nil); err != nil || same.Env.MaxSteps != 900 {
		t.Errorf("without overrides: %+v, %v", same, err)
	}
	for text, want := range map[string]string{
		`{"env": {"queue": 3}}`:                       `unknown key "env.queue"`,
		`{"plant": "cartpole"}`:                       "plant: belongs to the scenario",
		`{"Plant": "cartpole"}`:                       `unknown key "Plant"`,
		`{"Model": "/etc/any.safetensors"}`:           `unknown key "Model"`,
		`{"MODEL": "/etc/any.safetensors"}`:           `unknown key "MODEL"`,
		`{"model": "recorded"}`:                       "model: belongs to the scenario",
		`{"live": {"safe": 32}}`:                      "live: belongs to the scenario",
		`{"Env": {"max_steps": 3}}`:                   `unknown key "Env"`,
		`{"env": {"Max_Steps": 3}}`:                   `unknown key "env.Max_Steps"`,
		`{"env": {"MaxSteps": 3}}`:                    `unknown key "env.MaxSteps"`,
		`{"env": {"max_steps": -1}}`:                  "max_steps: -1",
		`{"env": {"max_steps": null}}`:                "max_steps: is null",
		`{"env": {"max_steps": 1.5}}`:                 "env.max_steps: is 1.5, want a whole number",
		`{"env": {"max_steps": 1e30}}`:                "env.max_steps",
		`{"env": {"per_switch": 1}}`:                  "env.per_switch: is 1, want true or false",
		`{"env": {"reward": {"name": 3}}}`:            "env.reward.name: is 3, want a string",
		`{"env": {"limits": ["a"]}}`:                  `env.limits[0]: is "a", want a number`,
		`{"env": {"limits": 3}}`:                      `env.limits: is 3, want a list`,
		`{"env": 3}`:                                  `env: is 3, want an object`,
		`{"env": {"autoreset": "never"}}`:             "env.autoreset",
		`{"env": {"end_on_stall_s": 1e999}}`:          "end_on_stall_s",
		`{"env": {"step_seconds": 3600}}`:             "env.step_seconds: 3600 s; a client may ask for at most 60",
		`{"env": {"limits": [1, 500000]}}`:            "env.limits: 500000 packets",
		`{"testbed": {"warmup_s": 100000}}`:           "testbed.warmup_s: 100000 s; a client may ask for at most 600",
		`{"testbed": {"probe": {"per_second": 1e5}}}`: "testbed.probe.per_second: 100000",
		`[]`:    "overrides",
		`{} {}`: "more than one JSON value",
		`{"env": {}` + strings.Repeat(" ", 70000) + `}`: "65536",
	} {
		if _, err := s.With(t.Context(), []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %v, want it to say %q", text, err, want)
		}
	}
}

// TestWithReplacesLists: elements of a list do not inherit from those they
// replace.
func TestWithReplacesLists(t *testing.T) {
	s, err := scenarios.Load("contended")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.With(t.Context(), []byte(`{"testbed": {"load": [{"name": "mine", "kind": "udp", "pps": 100, "pattern": {"n": 1}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if l := got.Testbed.Loads; len(l) != 1 || l[0].Name != "mine" || l[0].Phase != "" || l[0].Arrivals != "" || l[0].OnMS != 0 {
		t.Errorf("%+v", l)
	}
	if len(s.Testbed.Loads) != 2 || s.Testbed.Loads[0].Name != "bursts" {
		t.Errorf("the scenario itself changed: %+v", s.Testbed.Loads)
	}
	for text, want := range map[string]string{
		`{"testbed": {"load": [{"name": "m", "kind": "udp", "pps": 1e9, "pattern": {"n": 1}}]}}`:      "packets a step",
		`{"testbed": {"port": [{"name": "s1", "switch": 1, "pps": 1e9}], "video": {"path": ["s1"]}}}`: "packets a step",
	} {
		if _, err := s.With(t.Context(), []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", text, err, want)
		}
	}
}

// TestDeepTextIsRefusedAtOnce: nesting that took minutes to decode is refused
// before it is decoded; so is a key of thousands of parts.
func TestDeepTextIsRefusedAtOnce(t *testing.T) {
	s, err := scenarios.Load("testbed")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	deep := strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000)
	if _, err := s.With(t.Context(), []byte(deep)); !errors.Is(err, nesting.ErrTooDeep) {
		t.Errorf("kwargs: %v", err)
	}
	for _, x := range []string{strings.Repeat("{a=", 100000) + "1" + strings.Repeat("}", 100000), "1\n" + strings.Repeat("a.", 200000) + "a=1", strings.Repeat("[", 100000)} {
		if _, err := scenarios.Parse([]byte("plant = 'testbed'\nx = " + x)); !errors.Is(err, nesting.ErrTooDeep) {
			t.Errorf("%.20s: %v", x, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("refusing took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.With(ctx, []byte(`{"env": {"max_steps": 3}}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("a decoding whose context has ended: %v", err)
	}
}

// TestEveryKeyCanBeOverridden: each key that a scenario's file may set is found
// by the decoder of overrides, by the same name.
func TestEveryKeyCanBeOverridden(t *testing.T) {
	s, err := scenarios.Load("testbed")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{"testbed": {"horizon_s": 100, "min_rto_ms": 300, "video": {"rtt_ms": [9, 11], "ladder": [{"kbps": 500, "fps": 30, "width": 1, "height": 1}], "no_abandon": true, "no_sack": true}}}`,
		`{"testbed": {"phase": [{"name": "a", "mean_s": 60, "spread": 0.1}], "load": [{"kind": "tcp", "phase": "a", "rtt_ms": [20, 30], "window": 64, "pattern": {"kind": "series", "series": [1, 2.5]}}]}}`,
	} {
		var want map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if _, err := s.With(t.Context(), []byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
