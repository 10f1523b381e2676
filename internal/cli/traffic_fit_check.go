package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/models"
)

// check refuses wrong usage.
func (f *trafficFitter) check(cmd *cobra.Command) error {
	_, err := models.Find(f.mode)
	switch info, there := os.Stat(f.out); {
	case f.data == "":
		return usagef("traffic fit: --data: which sessions?")
	case filepath.Ext(f.out) != ".safetensors":
		return usagef("traffic fit: --output: %q does not end in .safetensors", f.out)
	case err != nil:
		return usagef("traffic fit: --mode: %w", err)
	case f.options.Resume && f.force:
		return usagef("traffic fit: --resume, --force: one or the other")
	case f.options.Every < 0:
		return usagef("traffic fit: --every: %d is negative", f.options.Every)
	case there == nil && !info.IsDir() && !f.options.Resume && !f.force:
		return usagef("traffic fit: %s already exists: --resume goes on from it, --force starts over", f.out)
	}
	if cmd.Flags().Changed("order") {
		f.sets = append([]string{fmt.Sprint("order=", f.order)}, f.sets...)
	}
	if cmd.Flags().Changed("cut") {
		f.sets = append([]string{fmt.Sprint("max_steps=", f.cut)}, f.sets...)
	}
	return errors.Join(checkProgress(cmd), f.checkThreads(), prepareOutput("traffic fit: --output", f.out))
}

// settings are the kind's that is fitted, or the checkpoint's, or those of the
// model to begin with, as flags change them.
func (f *trafficFitter) settings(cmd *cobra.Command) (*models.Kind, any, error) {
	begun := ""
	if f.options.Resume {
		begun = f.out
	} else if f.from != "" {
		begun = f.from
	}
	var past traffic.Model
	if begun != "" {
		var err error
		if past, err = models.Open(begun); err != nil {
			return nil, nil, err
		}
		switch own := models.Of(past); {
		case own == nil || own.Mode == f.mode:
		case cmd.Flags().Changed("mode"):
			return nil, nil, usagef("traffic fit: --mode: %s, but %s is of mode %s", f.mode, begun, own.Mode)
		default:
			f.mode = own.Mode
		}
	}
	k, err := models.Find(f.mode)
	if err != nil {
		return nil, nil, err
	}
	settings := k.Settings(past)
	if f.from != "" {
		if err := f.begin(k, &settings); err != nil {
			return nil, nil, err
		}
	}
	if err := f.setChunk(settings); err != nil {
		return nil, nil, err
	}
	if cmd.Flags().Changed("epsilon") || cmd.Flags().Changed("delta") {
		p, ok := settings.(interface {
			SetPrivacy(epsilon, delta float64) error
		})
		if !ok {
			return nil, nil, usagef("traffic fit: --epsilon, --delta: mode %s has no private fit: --mode ngram and doppelganger have", f.mode)
		}
		if err := p.SetPrivacy(f.epsilon, f.delta); err != nil {
			return nil, nil, usagef("traffic fit: --epsilon, --delta: %w", err)
		}
	}
	if err := set("traffic fit", f.sets, settings); err != nil {
		return nil, nil, err
	}
	if c, ok := settings.(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return nil, nil, usagef("traffic fit: --set: %w", err)
		}
	}
	return k, settings, nil
}

// begin opens the model that the fit begins with, whose settings are the fit's, but for
// a fit that is resumed.
func (f *trafficFitter) begin(k *models.Kind, settings *any) error {
	var can []string
	for _, k := range models.Kinds {
		if k.Tuning != nil {
			can = append(can, k.Mode)
		}
	}
	if k.Tuning == nil {
		return usagef("traffic fit: --from: no fit of mode %s begins with a model; those of %s do", f.mode, strings.Join(can, ", "))
	}
	var err error
	if f.options.From, err = models.Open(f.from); err != nil {
		return fmt.Errorf("traffic fit: --from: %w", err)
	}
	tuning, err := k.Tuning(f.options.From)
	switch {
	case err != nil:
		return usagef("traffic fit: --from: %s: %w", f.from, err)
	case !f.options.Resume:
		*settings = tuning
	}
	return nil
}

// price says how private a model is, "" where it is not.
func price(m traffic.Model) string {
	if p, ok := m.(interface{ Price() string }); ok {
		return p.Price()
	}
	return ""
}
