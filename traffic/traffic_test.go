package traffic

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

func example() (Schema, Session) {
	c := Schema{
		Meta:   []Field{{Name: "protocol", Kind: Symbol, Levels: []string{"tcp", "udp"}}, {Name: "port", Kind: Port}, {Name: "server", Kind: Address}},
		Steps:  []Field{{Name: "size", Unit: "B", Kind: Size}, {Name: "gap", Unit: "s", Kind: Gap}, {Name: "x", Kind: Number}},
		Labels: []string{"a", "b"},
	}
	return c, Session{Label: 1, Start: 2, Meta: []float64{1, 443, 7}, Steps: []float64{100, 0, -1, 40, .5, 2}}
}

func TestValid(t *testing.T) {
	c, s := example()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if err := c.Valid(&s); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		change func(*Session)
		want   string
	}{
		{func(s *Session) { s.Label = 2 }, "label 2"},
		{func(s *Session) { s.Start = math.NaN() }, "start: NaN"},
		{func(s *Session) { s.Meta = s.Meta[:2] }, "2 meta values for 3"},
		{func(s *Session) { s.Steps = s.Steps[:5] }, "5 step values"},
		{func(s *Session) { s.Meta[0] = 2 }, "meta protocol: 2 is not a whole number from 0 to 1"},
		{func(s *Session) { s.Meta[1] = 65536 }, "meta port: 65536"},
		{func(s *Session) { s.Meta[2] = -1 }, "meta server: -1"},
		{func(s *Session) { s.Steps[3] = .5 }, "step 1: size: 0.5"},
		{func(s *Session) { s.Steps[4] = math.Inf(1) }, "step 1: gap: +Inf"},
		{func(s *Session) { s.Steps[2] = math.NaN() }, "step 0: x: NaN"},
	} {
		_, s := example()
		x.change(&s)
		if err := c.Valid(&s); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("error %v, want %q", err, x.want)
		}
	}
}

func TestSchemaCheck(t *testing.T) {
	for _, x := range []struct {
		change func(*Schema)
		want   string
	}{
		{func(c *Schema) { c.Steps = nil }, "steps have no field"},
		{func(c *Schema) { c.Steps[1].Name = "size" }, `steps[1]: there are two fields "size"`},
		{func(c *Schema) { c.Meta[0].Levels = nil }, "protocol: a symbol with 0 levels"},
		{func(c *Schema) { c.Meta[1].Levels = []string{"x"} }, "port: a port with 1 levels"},
		{func(c *Schema) { c.Meta[1].Kind = 99 }, "kind 99"},
		{func(c *Schema) { c.Tick = math.Inf(1) }, "tick"},
		{func(c *Schema) { c.Meta[2].Name = "" }, "meta[2] has no name"},
		{func(c *Schema) { c.Labels = []string{"web", "dns", "web"} }, `two labels "web"`},
		{func(c *Schema) { c.Meta[0].Levels = []string{"tcp", "tcp"} }, `protocol: there are two levels "tcp"`},
	} {
		c, _ := example()
		x.change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("error %v, want %q", err, x.want)
		}
	}
}

func TestSchemaJSON(t *testing.T) {
	c, _ := example()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var d Schema
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if !c.Equal(&d) || !strings.Contains(string(text), `"kind":"address"`) {
		t.Errorf("%s", text)
	}
	if err := json.Unmarshal([]byte(`{"steps":[{"name":"x","kind":"colour"}]}`), &d); err == nil || !strings.Contains(err.Error(), "colour") {
		t.Errorf("error %v", err)
	}
}

// Every bit of a source is in its hash.
func TestHash(t *testing.T) {
	c, s := example()
	h, err := Hash(&Set{c, []Session{s}})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Schema, *Session){
		"label": func(_ *Schema, s *Session) { s.Label = 0 }, "start": func(_ *Schema, s *Session) { s.Start = 3 },
		"meta": func(_ *Schema, s *Session) { s.Meta[1]++ }, "steps": func(_ *Schema, s *Session) { s.Steps[5]++ },
		"schema": func(c *Schema, _ *Session) { c.Steps[0].Unit = "" }, "length": func(_ *Schema, s *Session) { s.Steps = s.Steps[:3] },
	} {
		c, s := example()
		change(&c, &s)
		if other, err := Hash(&Set{c, []Session{s}}); err != nil || other == h {
			t.Errorf("%s changed: hash %s, error %v", name, other, err)
		}
	}
}

func TestRequest(t *testing.T) {
	c, s := example()
	if err := (&Request{N: 1, Labels: []int{-1, 1}, Prefix: &s, MaxSteps: 2}).Check(&c); err != nil {
		t.Error(err)
	}
	if err := (&Request{N: 1, Prefix: &s, MaxSteps: 1}).Check(&c); !errors.Is(err, ErrRequest) {
		t.Errorf("error %v", err)
	}
}
