package ws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
)

// The options of a reset, on the wire: PROTOCOL.md has their keys.

// resetOptions is what made says of the options that an environment has; nil
// where it has none.
func resetOptions(s env.OptionSpec) map[string]any {
	m := map[string]any{}
	if len(s.Initial) > 0 {
		m["initial_limit"] = s.Initial
	}
	if s.TrafficSeed {
		m["traffic_seed"] = []int{}
	}
	if s.Load {
		m["load"] = []int{0, 1}
	}
	if len(s.Phases) > 0 {
		m["phase"] = s.Phases
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// options reads the options of a reset; nil where there are none.
func (e *vector) options(text json.RawMessage) (*env.Options, error) {
	if emptyObject(text) {
		return nil, nil
	}
	if text = bytes.TrimSpace(text); text[0] != '{' {
		return nil, fmt.Errorf("%w: reset: options: %.40q is not an object", ErrBadFrame, text)
	}
	has, o, seen := resetOptions(env.OptionsOf(e.Vector)), &env.Options{}, map[string]bool{}
	var err error
	members(text, func(key, value []byte) {
		name := string(key)
		known := has[name] != nil
		switch {
		case err != nil:
			return
		case !known && len(has) == 0:
			err = fmt.Errorf("%w: reset: options: this environment takes none", ErrBadFrame)
		case !known:
			err = fmt.Errorf("%w: reset: options: %q is not one of %q", ErrBadFrame, name, slices.Sorted(maps.Keys(has)))
		case seen[name]:
			err = fmt.Errorf("%w: reset: options: %s is given twice", ErrBadFrame, name)
		default:
			seen[name] = true
			if bad := readOption(o, name, value); bad != nil {
				err = fmt.Errorf("%w: reset: options: %s: %.40q is not %w", ErrBadFrame, name, value, bad)
			}
		}
	})
	return o, err
}

// readOption sets an option; an error says what its value should be.
func readOption(o *env.Options, name string, value []byte) error {
	list := value[0] == '['
	switch name {
	case "initial_limit":
		if list {
			if json.Unmarshal(value, &o.Initial) != nil || o.Initial == nil {
				return fmt.Errorf("a list of limits")
			}
			return nil
		}
		o.Initial = make([]p4.Limit, 1)
		if string(value) == "null" || json.Unmarshal(value, &o.Initial[0]) != nil {
			return fmt.Errorf("a limit in packets")
		}
	case "traffic_seed":
		var seeds seedList
		if !list {
			value = slices.Concat([]byte("["), value, []byte("]"))
		}
		if json.Unmarshal(value, &seeds) != nil {
			return fmt.Errorf("a decimal string, or a list of them")
		}
		o.TrafficSeed = make([]uint64, len(seeds))
		for i, s := range seeds {
			o.TrafficSeed[i] = uint64(s)
		}
	case "load":
		o.Load = new(float64)
		if string(value) == "null" || json.Unmarshal(value, o.Load) != nil {
			return fmt.Errorf("a number")
		}
	case "phase":
		if value[0] != '"' || json.Unmarshal(value, &o.Phase) != nil || o.Phase == "" {
			return fmt.Errorf("the name of a phase")
		}
	}
	return nil
}
