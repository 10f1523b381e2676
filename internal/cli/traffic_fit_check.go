package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/models"
)

// check finds the mode, and refuses wrong usage.
func (f *trafficFitter) check(cmd *cobra.Command) (*models.Kind, error) {
	k, err := models.Find(f.mode)
	switch _, there := os.Stat(f.out); {
	case f.data == "":
		return nil, usagef("traffic fit: --data: which sessions?")
	case filepath.Ext(f.out) != ".safetensors":
		return nil, usagef("traffic fit: --output: %q does not end in .safetensors", f.out)
	case err != nil:
		return nil, usagef("traffic fit: --mode: %w", err)
	case f.options.Resume && f.force:
		return nil, usagef("traffic fit: --resume, --force: one or the other")
	case f.options.Every < 0:
		return nil, usagef("traffic fit: --every: %d is negative", f.options.Every)
	case there == nil && !f.options.Resume && !f.force:
		return nil, usagef("traffic fit: %s already exists: --resume goes on from it, --force starts over", f.out)
	}
	if cmd.Flags().Changed("order") {
		f.sets = append([]string{fmt.Sprint("order=", f.order)}, f.sets...)
	}
	if cmd.Flags().Changed("cut") {
		f.sets = append([]string{fmt.Sprint("max_steps=", f.cut)}, f.sets...)
	}
	return k, errors.Join(checkProgress(cmd), f.checkThreads())
}

// settings are the mode's, or the checkpoint's, as --set changes them.
func (f *trafficFitter) settings(cmd *cobra.Command, k *models.Kind) (any, error) {
	var from traffic.Model
	if f.options.Resume {
		var err error
		if from, err = models.Open(f.out); err != nil {
			return nil, err
		}
	}
	settings := k.Settings(from)
	if cmd.Flags().Changed("epsilon") || cmd.Flags().Changed("delta") {
		p, ok := settings.(interface {
			SetPrivacy(epsilon, delta float64) error
		})
		if !ok {
			return nil, usagef("traffic fit: --epsilon, --delta: mode %s has no private fit: --mode ngram and doppelganger have", f.mode)
		}
		if err := p.SetPrivacy(f.epsilon, f.delta); err != nil {
			return nil, usagef("traffic fit: --epsilon, --delta: %w", err)
		}
	}
	return settings, set("traffic fit", f.sets, settings)
}

// price says how private a model is, "" where it is not.
func price(m traffic.Model) string {
	if p, ok := m.(interface{ Price() string }); ok {
		return p.Price()
	}
	return ""
}
