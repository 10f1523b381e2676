package models

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/bundled"
	"github.com/planegym/planegym/traffic/doppelganger"
	"github.com/planegym/planegym/traffic/ngram"
)

// tuned is a model that knows its settings, as learned ones do.
type tuned struct {
	traffic.Fitted
	c ngram.Config
}

func (t tuned) Settings() ngram.Config { return t.c }

// A mode of counts is fitted, saved and opened by its file's format, and says
// how far it is.
func TestFit(t *testing.T) {
	m, err := bundled.Open()
	if err != nil {
		t.Fatal(err)
	}
	set, err := Pool(t.Context(), m, nil, 50, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"bootstrap", "markov", "ngram"} {
		k, err := Find(mode)
		if err != nil {
			t.Fatal(err)
		}
		var seen []int
		fitted, err := k.Fit(t.Context(), set, k.Settings(nil), traffic.FitOptions{Report: func(p traffic.Progress) { seen = append(seen, p.Done, p.Total) }})
		if err != nil {
			t.Fatal(mode, err)
		}
		if !slices.Equal(seen, []int{0, 50, 50, 50}) {
			t.Errorf("%s reports %v", mode, seen)
		}
		path := filepath.Join(t.TempDir(), "m.safetensors")
		if err := fitted.Save(path, nil); err != nil {
			t.Fatal(err)
		}
		again, err := Open(path)
		if err != nil {
			t.Fatal(mode, err)
		}
		r := traffic.Request{N: 5, Seed: 3}
		want, _ := traffic.Collect(fitted.Schema(), fitted.Sample(t.Context(), r))
		got, err := traffic.Collect(again.Schema(), again.Sample(t.Context(), r))
		if err != nil || len(got.Sessions) != 5 || !slices.EqualFunc(got.Sessions, want.Sessions, func(a, b traffic.Session) bool { return slices.Equal(a.Steps, b.Steps) }) {
			t.Errorf("%s: what was saved samples other sessions: %v", mode, err)
		}
	}
}

// A model that is fitted again to the same sessions, by the settings that its file
// keeps, has the same bytes: of each mode, with settings that are not the default.
func TestRefit(t *testing.T) {
	m, err := bundled.Open()
	if err != nil {
		t.Fatal(err)
	}
	set, err := Pool(t.Context(), m, nil, 60, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range set.Sessions { // short, so that fits are
		x := &set.Sessions[i]
		x.Steps = x.Steps[:min(len(x.Steps), 2*len(set.Of.Steps))]
	}
	bytes := func(m traffic.Model) string {
		path := filepath.Join(t.TempDir(), "m.safetensors")
		if err := m.(traffic.Fitted).Save(path, nil); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for mode, change := range map[string]func(settings any){
		"bootstrap":      func(c any) { c.(*ngram.Config).Often = 1 },
		"markov":         func(c any) { c.(*ngram.Config).Often = 4 },
		"ngram":          func(c any) { c.(*ngram.Config).Order, c.(*ngram.Config).MaxSteps = 2, 2 },
		"autoregressive": func(c any) { c.(*autoregressive.Config).Updates, c.(*autoregressive.Config).Hidden = 3, 8 },
		"doppelganger-likelihood": func(c any) {
			c.(*doppelganger.Config).Updates, c.(*doppelganger.Config).Hidden = 3, 8
		},
	} {
		k, err := Find(mode)
		if err != nil {
			t.Fatal(err)
		}
		settings := k.Settings(nil)
		change(settings)
		o := traffic.FitOptions{Seed: 4, Threads: 1}
		fitted, err := k.Fit(t.Context(), set, settings, o)
		if err != nil {
			t.Fatal(mode, err)
		}
		want := bytes(fitted)
		opened, err := Parse([]byte(want))
		if err != nil {
			t.Fatal(mode, err)
		}
		again, err := Refit(t.Context(), opened, set, o)
		if err != nil {
			t.Fatal(mode, err)
		}
		if bytes(again) != want {
			t.Errorf("%s: fitted again it is another model", mode)
		}
	}
	if _, err := Refit(t.Context(), struct{ traffic.Model }{m}, set, traffic.FitOptions{}); err == nil {
		t.Error("a model of no kind is fitted again")
	}
}

// Settings are the defaults, or a model's own; a caller's changes stay the caller's.
func TestSettings(t *testing.T) {
	k := kind("x", "", "x", func([]byte) (tuned, error) { return tuned{}, nil }, ngram.Defaults(ngram.WittenBell),
		func(context.Context, traffic.Source, ngram.Config, traffic.FitOptions) (tuned, error) {
			return tuned{}, nil
		})
	if c := k.Settings(nil).(*ngram.Config); c.Order != 3 {
		t.Errorf("by default order %d", c.Order)
	} else {
		c.Order = 9
	}
	if c := k.Settings(nil).(*ngram.Config); c.Order != 3 {
		t.Errorf("a caller's change became the default: order %d", c.Order)
	}
	if c := k.Settings(tuned{c: ngram.Config{Order: 7}}).(*ngram.Config); c.Order != 7 {
		t.Errorf("order %d of a model fitted with 7", c.Order)
	}
	if _, err := k.Fit(t.Context(), nil, &struct{}{}, traffic.FitOptions{}); err == nil || !strings.Contains(err.Error(), "settings are *struct {}") {
		t.Errorf("settings of another kind: %v", err)
	}
	if _, err := Find("magic"); err == nil || !strings.Contains(err.Error(), `"bootstrap"`) {
		t.Errorf("error %v names no mode", err)
	}
}
