package cli

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
)

// done saves a fitted model with where its sessions come from, and says what it is.
func (f *trafficFitter) done(cmd *cobra.Command, m traffic.Fitted, s *traffic.Set, settings any, took time.Duration) error {
	hash, err := traffic.Hash(s)
	if err != nil {
		return err
	}
	about := map[string]string{"data": filepath.Base(f.data), "data_sha256": hash}
	if f.epsilon > 0 {
		about = nil // a hash says of any guess of the sessions whether it is right
	}
	if err := m.Save(f.out, about); err != nil {
		return err
	}
	var notes []string
	if n, ok := m.(interface{ Notes() []string }); ok {
		notes = n.Notes()
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"model": f.out, "mode": f.mode, "settings": settings, "seed": f.options.Seed,
			"sessions": s.Len(), "labels": s.Of.Labels, "data_sha256": hash, "notes": notes, "privacy": price(m)})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s of %d sessions, %d labels, in %.1f s\n", f.out, f.mode, s.Len(), len(s.Of.Labels), took.Seconds())
	for _, n := range notes {
		fmt.Fprintln(cmd.OutOrStdout(), n)
	}
	if p := price(m); p != "" {
		fmt.Fprintln(cmd.OutOrStdout(), p)
	}
	return nil
}
