package models

import (
	"context"
	"errors"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/denoise"
	"github.com/planegym/planegym/traffic/doppelganger"
	"github.com/planegym/planegym/traffic/masked"
	"github.com/planegym/planegym/traffic/ngram"
	"github.com/planegym/planegym/traffic/seriesgan"
)

// Kinds are the kinds of models, in the order that help lists them. A new kind
// is one more entry.
var Kinds = []Kind{
	kind("bootstrap", "a step depends on label and position alone", ngram.Format, ngram.Parse, ngram.Defaults(ngram.Bootstrap), counts),
	kind("markov", "on the step before as well", ngram.Format, ngram.Parse, ngram.Defaults(ngram.Markov), counts),
	kind("ngram", "on the steps before (Witten-Bell); the floor that learned models must beat, in seconds", ngram.Format, ngram.Parse, ngram.Defaults(ngram.WittenBell), counts),
	kind("autoregressive", "on all steps before (a recurrent network); minutes", autoregressive.Format, autoregressive.Parse, autoregressive.Defaults, autoregressive.Fit),
	kind("masked", "on all steps around it, unmasked a few at a time (discrete diffusion); minutes", masked.Format, masked.Parse, masked.Defaults, masked.Fit),
	kind("doppelganger", "attributes, then the series given them, both against critics (NetShare's way); minutes", doppelganger.Format, doppelganger.Parse, doppelganger.Defaults(doppelganger.Adversarial), doppelganger.Fit),
	kind("doppelganger-likelihood", "the same fields one after another, by likelihood; a minute", doppelganger.Format, doppelganger.Parse, doppelganger.Defaults(doppelganger.Likelihood), doppelganger.Fit),
	kind("denoise", "series of rates out of noise (continuous diffusion, NetDiffus' way), of what convert --series makes; minutes", denoise.Format, denoise.Parse, denoise.Defaults, denoise.Fit),
	kind("timegan", "series of rates by TimeGAN, the simulator's own network; minutes", seriesgan.Format, seriesgan.Parse, seriesgan.Defaults, seriesgan.Fit),
}

// Kind is one way to model traffic.
type Kind struct {
	Mode   string // what a command calls it
	About  string // after "Mode:", a phrase
	Format string // metadata "format" of its files; several modes may share it
	Parse  func(file []byte) (traffic.Model, error)
	// Settings are a pointer to the kind's settings, a struct with toml tags, for
	// the caller to change: those of from, where the kind's models know theirs,
	// else the defaults. from may be nil.
	Settings func(from traffic.Model) any
	// Tuning are the settings of a fit that begins with a model of the kind,
	// FitOptions.From; nil: the kind has no such fits.
	Tuning func(from traffic.Model) (any, error)
	// Fit fits a model to sessions. settings is what Settings gave.
	Fit func(ctx context.Context, src traffic.Source, settings any, o traffic.FitOptions) (traffic.Fitted, error)

	is func(traffic.Model) bool // of this kind
}

// Refit fits a model as m was fitted, by its settings, to other sessions.
func Refit(ctx context.Context, m traffic.Model, src traffic.Source, o traffic.FitOptions) (traffic.Model, error) {
	k := Of(m)
	if k == nil {
		return nil, fmt.Errorf("models: a %T is of no known kind", m)
	}
	return k.Fit(ctx, src, k.Settings(m), o)
}

// Of is the kind of a model, nil where it does not say.
func Of(m traffic.Model) *Kind {
	for i := range Kinds {
		if k := &Kinds[i]; k.is(m) {
			return k
		}
	}
	return nil
}

// Find is the kind of a mode.
func Find(mode string) (*Kind, error) {
	var modes []string
	for i := range Kinds {
		if Kinds[i].Mode == mode {
			return &Kinds[i], nil
		}
		modes = append(modes, Kinds[i].Mode)
	}
	return nil, fmt.Errorf("%q is not one of %q", mode, modes)
}

// variant are settings of kinds that share a type: Variant says which it is of.
type variant interface{ Variant() string }

// kind is a Kind of models M with settings C. Where M has a method Settings() C,
// a fit that is resumed begins with the settings of the checkpoint; where it has Tuning()
// C, a fit may begin with a model.
func kind[C any, M traffic.Fitted](mode, about, format string, parse func([]byte) (M, error), defaults func() C,
	fit func(context.Context, traffic.Source, C, traffic.FitOptions) (M, error)) Kind {
	type tuner interface{ Tuning() C }
	var tuning func(from traffic.Model) (any, error)
	if _, ok := any(*new(M)).(tuner); ok {
		tuning = func(from traffic.Model) (any, error) {
			m, ok := from.(tuner)
			if !ok {
				return nil, fmt.Errorf("models: it is not of mode %s", mode)
			}
			c := m.Tuning()
			return &c, nil
		}
	}
	own := func(from traffic.Model) (C, bool) {
		m, ok := from.(interface{ Settings() C })
		if !ok {
			return defaults(), false
		}
		c := m.Settings()
		if v, ok := any(c).(variant); ok && v.Variant() != "" && v.Variant() != any(defaults()).(variant).Variant() {
			return defaults(), false
		}
		return c, true
	}
	return Kind{
		Mode: mode, About: about, Format: format, Tuning: tuning,
		Parse: func(b []byte) (traffic.Model, error) {
			m, err := parse(b)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
		Settings: func(from traffic.Model) any {
			c, _ := own(from)
			return &c
		},
		is: func(m traffic.Model) bool {
			_, ok := own(m)
			return ok
		},
		Fit: func(ctx context.Context, src traffic.Source, settings any, o traffic.FitOptions) (traffic.Fitted, error) {
			c, ok := settings.(*C)
			if !ok {
				return nil, fmt.Errorf("models: %s: settings are %T, not %T", mode, settings, c)
			}
			if o.From != nil && tuning == nil {
				return nil, fmt.Errorf("models: %s: a fit cannot begin with another's model: %w", mode, errors.ErrUnsupported)
			}
			m, err := fit(ctx, src, *c, o)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
	}
}

// counts fits a floor: a pass over the sessions, nothing to seed or to resume.
func counts(ctx context.Context, src traffic.Source, c ngram.Config, o traffic.FitOptions) (*ngram.Model, error) {
	report := func(done int) {
		if o.Report != nil {
			o.Report(traffic.Progress{Phase: c.Mode, Done: done, Total: src.Len()})
		}
	}
	report(0)
	m, err := ngram.Fit(ctx, src, c)
	if err == nil {
		report(src.Len())
	}
	return m, err
}
