package scenarios

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/nearest"
	"github.com/planegym/planegym/internal/nesting"
)

// maxOverrides is the largest object of overrides, in bytes.
const maxOverrides = 64 << 10

// fixed are the top-level keys that overrides may not set: what a client may
// not choose. A live scenario names switches and files of the server's machine.
var fixed = []string{"plant", "name", "description", "model", "live"}

// With is a copy of s with what overrides, a JSON object, sets: the keys of a
// scenario's file, spelt and nested as there, such as
// {"env": {"reward": {"name": "qoe-lin"}}}. A list replaces the scenario's. With
// empty overrides it is a copy alone; s never changes.
//
// Overrides come from clients, so an unknown key, a key that belongs to the
// scenario, an object above 64 KiB or 16 levels deep, and values that would cost
// the server more than Bounds allows are errors that name the key. ctx ends the
// decoding.
func (s Scenario) With(ctx context.Context, overrides []byte) (Scenario, error) {
	out := s.Clone()
	if len(bytes.TrimSpace(overrides)) == 0 {
		return out, nil
	}
	if len(overrides) > maxOverrides {
		return s, fmt.Errorf("scenarios: overrides: %d bytes; the most is %d", len(overrides), maxOverrides)
	}
	if err := nesting.JSON(overrides); err != nil {
		return s, fmt.Errorf("scenarios: overrides: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(overrides))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return s, fmt.Errorf("scenarios: overrides: %w", err)
	}
	if dec.More() {
		return s, fmt.Errorf("scenarios: overrides: more than one JSON value")
	}
	for _, key := range fixed {
		if _, set := object[key]; set {
			return s, fmt.Errorf("scenarios: overrides: %s: belongs to the scenario: a client cannot set it", key)
		}
	}
	if err := setFields(ctx, reflect.ValueOf(&out).Elem(), "", object); err != nil {
		return s, fmt.Errorf("scenarios: overrides: %w", err)
	}
	if out.Plant != s.Plant || out.Name != s.Name || out.Description != s.Description || out.Model != s.Model || !reflect.DeepEqual(out.Live, s.Live) {
		return s, fmt.Errorf("scenarios: overrides: they changed what belongs to the scenario")
	}
	if err := out.foreignSessions(&s); err != nil {
		return s, err
	}
	if err := out.Check(); err != nil {
		return s, err
	}
	return out, out.affordable(s)
}

// setFields sets the fields of the struct v that object names. at is where v is,
// "" or a path that ends in a dot.
func setFields(ctx context.Context, v reflect.Value, at string, object map[string]any) error {
	for key, x := range object {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := fieldOf(v, key)
		if !f.IsValid() {
			return fmt.Errorf("unknown key %q%s", at+key, nearest.Hint(at+key, nearest.Keys(Scenario{})))
		}
		if err := setValue(ctx, f, at+key, x); err != nil {
			return err
		}
	}
	return nil
}

// fieldOf is the field of the struct v, or of one embedded in it, whose TOML key
// is exactly key.
func fieldOf(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct:
			if in := fieldOf(v.Field(i), key); in.IsValid() {
				return in
			}
		case f.IsExported() && tag != "" && tag != "-" && tag == key:
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// setValue sets v, which is at path at, to the JSON value x.
func setValue(ctx context.Context, v reflect.Value, at string, x any) error {
	want := func(what string) error { return fmt.Errorf("%s: is %s, want %s", at, show(x), what) }
	if x == nil {
		return fmt.Errorf("%s: is null", at)
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, ok := x.(string)
		if !ok {
			return want("a string")
		}
		if err := t.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		v.Set(p)
		return setValue(ctx, p.Elem(), at, x)
	case reflect.Struct:
		object, ok := x.(map[string]any)
		if !ok {
			return want("an object")
		}
		return setFields(ctx, v, at+".", object)
	case reflect.Slice, reflect.Array:
		list, ok := x.([]any)
		if !ok {
			return want("a list")
		}
		if v.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
		} else if len(list) != v.Len() {
			return want(fmt.Sprintf("a list of %d", v.Len()))
		}
		for i, e := range list {
			if err := setValue(ctx, v.Index(i), fmt.Sprintf("%s[%d]", at, i), e); err != nil {
				return err
			}
		}
		return nil
	case reflect.String:
		text, ok := x.(string)
		if !ok {
			return want("a string")
		}
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, ok := x.(bool)
		if !ok {
			return want("true or false")
		}
		v.SetBool(b)
		return nil
	}
	n, ok := x.(json.Number)
	if !ok {
		return want("a number")
	}
	switch {
	case v.CanInt():
		i, err := n.Int64()
		if err != nil || v.OverflowInt(i) {
			return want(fmt.Sprintf("a whole number of %d bits", v.Type().Bits()))
		}
		v.SetInt(i)
	case v.CanUint():
		i, err := n.Int64()
		if err != nil || i < 0 || v.OverflowUint(uint64(i)) {
			return want(fmt.Sprintf("a whole number of %d bits, not negative", v.Type().Bits()))
		}
		v.SetUint(uint64(i))
	case v.CanFloat():
		y, err := n.Float64()
		if err != nil || v.OverflowFloat(y) {
			return want("a number of finite size")
		}
		v.SetFloat(y)
	default:
		panic(fmt.Sprintf("scenarios: %s is a %v, which overrides cannot set", at, v.Type()))
	}
	return nil
}

// show is a JSON value for an error, cut where it is long.
func show(x any) string {
	text, err := json.Marshal(x)
	if err != nil {
		return fmt.Sprintf("a %T", x)
	}
	if len(text) > 40 {
		text = slices.Concat(text[:40], []byte("…"))
	}
	return string(text)
}

// What a client may ask for, where the scenario does not itself ask for more.
const (
	mostWarmup   = 600  // seconds of an emulated testbed before its first window
	mostProbes   = 1000 // probes a second
	mostStep     = 60   // seconds of a step
	mostPackets  = 50e6 // packets of an emulated testbed in one reset or step of a row
	mostPool     = 8192 // sessions drawn for loads
	mostArrivals = 200  // sessions a second of loads
	mostLimit    = 1e5  // packets of a queue, which a row may have to hold
	mostLists    = 256  // elements of any list
)

// affordable reports the first value of s that would cost a server more than
// clients may ask for: more than the bounds above and more than the served
// scenario costs.
func (s Scenario) affordable(served Scenario) error {
	within := func(key string, x, own, most float64, unit string) error {
		if x <= max(own, most) {
			return nil
		}
		return fmt.Errorf("scenarios: overrides: %s: %v%s; a client may ask for at most %v", key, x, unit, max(own, most))
	}
	own, ask := served.Testbed, s.Testbed
	longest, pool, ownPool := 0, 0, 0
	for _, l := range ask.Loads {
		pool += l.Pool
	}
	for _, l := range own.Loads {
		ownPool += l.Pool
	}
	for _, n := range []int{len(s.Env.Limits), len(ask.Ports), len(ask.Loads), len(ask.Phases)} {
		longest = max(longest, n)
	}
	for _, err := range []error{
		within("a list", float64(longest), 0, mostLists, " elements"),
		within("testbed.load.pool", float64(pool), float64(ownPool), mostPool, " sessions"),
		within("testbed.load.arrivals", arrivals(ask), arrivals(own), mostArrivals, " sessions/s"),
		within("env.limits", largest(s), largest(served), mostLimit, " packets"),
		within("env.step_seconds", float64(s.Env.StepSeconds), float64(served.Env.StepSeconds), mostStep, " s"),
		within("testbed.warmup_s", ask.Warmup(), own.Warmup(), mostWarmup, " s"),
		within("testbed.probe.per_second", ask.Probe.PerSecond, own.Probe.PerSecond, mostProbes, " probes/s"),
	} {
		if err != nil {
			return err
		}
	}
	if s.Plant == "testbed" {
		return within("testbed", packets(s), packets(served), mostPackets, " packets a step")
	}
	return nil
}

// largest is the largest queue limit of s, packets.
func largest(s Scenario) float64 {
	most := 0
	for _, l := range s.Env.Limits {
		most = max(most, int(l))
	}
	for _, p := range s.Testbed.Ports {
		most = max(most, int(p.Limit))
	}
	return float64(most)
}

// packets bounds the packets that a reset of a row of s emulates.
func packets(s Scenario) float64 {
	step := s.Env.StepSeconds
	if step == 0 {
		step = 4
	}
	return s.Testbed.PacketsPerSecond() * (s.Testbed.Warmup() + float64(step))
}
