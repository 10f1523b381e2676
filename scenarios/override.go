package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/BurntSushi/toml"
)

// With is s with what overrides, a JSON object, sets: the keys of a scenario's
// file, nested as there, such as {"env": {"reward": {"name": "qoe-lin"}}}.
// Empty overrides change nothing. An unknown key, a plant or a model is an error
// that names it: what a client may not choose.
func (s Scenario) With(overrides []byte) (Scenario, error) {
	if len(bytes.TrimSpace(overrides)) == 0 {
		return s, nil
	}
	dec := json.NewDecoder(bytes.NewReader(overrides))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return s, fmt.Errorf("scenarios: overrides: %w", err)
	}
	for _, fixed := range []string{"plant", "name", "description", "model"} {
		if _, set := object[fixed]; set {
			return s, fmt.Errorf("scenarios: overrides: %s: is the scenario's own", fixed)
		}
	}
	if err := numbers(object); err != nil {
		return s, err
	}
	text, err := toml.Marshal(object)
	if err != nil {
		return s, fmt.Errorf("scenarios: overrides: %w", err)
	}
	// Limits are the only list: decoding writes into a list that is there.
	s.Env.Limits = append(s.Env.Limits[:0:0], s.Env.Limits...)
	meta, err := toml.Decode(string(text), &s)
	if err != nil {
		return s, fmt.Errorf("scenarios: overrides: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return s, fmt.Errorf("scenarios: overrides: unknown key %q", unknown[0].String())
	}
	return s, s.Check()
}

// numbers turns what JSON calls numbers into integers where they are, which
// TOML tells apart, and refuses null, which it has not.
func numbers(object map[string]any) error {
	for key, v := range object {
		switch v := v.(type) {
		case nil:
			return fmt.Errorf("scenarios: overrides: %s: is null", key)
		case json.Number:
			x, err := number(v)
			if err != nil {
				return fmt.Errorf("scenarios: overrides: %s: %w", key, err)
			}
			object[key] = x
		case []any:
			for i, e := range v {
				n, ok := e.(json.Number)
				if !ok {
					return fmt.Errorf("scenarios: overrides: %s: element %d is no number", key, i+1)
				}
				x, err := number(n)
				if err != nil {
					return fmt.Errorf("scenarios: overrides: %s: %w", key, err)
				}
				v[i] = x
			}
		case map[string]any:
			if err := numbers(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func number(n json.Number) (any, error) {
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	return strconv.ParseFloat(n.String(), 64)
}
