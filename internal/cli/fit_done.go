package cli

import (
	"fmt"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// fitted is what a fit came to.
type fitted struct {
	model    planegym.Model
	fidelity *[]timegan.Fidelity // the model's, to be measured
	heldOut  bool                // measure on held-out blocks: the others were fitted to
	limits   any                 // packets, a slice
	what     string              // of the line that names the output
	losses   string              // the line after it
	json     map[string]any      // besides output, bytes, limits and fidelity
}

// done measures how far rollouts of the model are from the recordings, writes it,
// and prints what came of the fit.
func (f *fitter) done(cmd *cobra.Command, bar *progressbar.ProgressBar, data []telemetry.Recording, r fitted) error {
	if err := bar.Finish(); err != nil {
		return err
	}
	const rollouts = 5
	measure := func() ([]timegan.Fidelity, error) {
		sim, done, err := f.Simulate(cmd.Context(), rollouts, r.model)
		if err != nil {
			return nil, err
		}
		defer done()
		return fidelity.Measure(cmd.Context(), sim, fidelity.Seeds(0, rollouts), data, r.heldOut)
	}
	var err error
	if *r.fidelity, err = measure(); err != nil {
		cmd.PrintErrf("fidelity was not measured: %v\n", err)
	}
	if err := r.model.WriteFile(f.out); err != nil {
		return err
	}
	st, err := os.Stat(f.out)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		r.json["output"], r.json["bytes"], r.json["limits"], r.json["fidelity"] = f.out, st.Size(), r.limits, *r.fidelity
		return writeJSON(cmd.OutOrStdout(), r.json)
	}
	for _, x := range *r.fidelity {
		text := fmt.Sprintf("W1 %.3f, KS %.3f, correlation error %.3f, ACF error %.3f", x.W1, x.KS, x.Corr, x.ACF)
		if f.any.file == "" { // which has no limit
			text = x.Effects() + "; " + text
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", x.Of, text)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: limits %v, %s, %d KiB\n%s\n", f.out, r.limits, r.what, (st.Size()+512)/1024, r.losses)
	return err
}
