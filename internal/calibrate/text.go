package calibrate

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/internal/atomicfile"
)

// WriteText writes the loss, the parameters, and the fit by limit and column.
func (r *Result) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "loss %.3f, before the search %.3f\n", r.Fit.Loss, r.Before)
	found := r.Found()
	for _, name := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(out, "%s\t%.4g\n", name, found[name])
	}
	fmt.Fprintln(out, "limit\tcolumn\tKS\tACF error")
	for _, f := range r.Fit.Features {
		fmt.Fprintf(out, "%d\t%s\t%.3f\t%.3f\n", f.Limit, f.Name, f.KS, f.ACF)
	}
	for _, r := range r.Fit.Removed {
		fmt.Fprintf(out, "%d\tseconds left out\t%.1f %%, recorded %.1f %%\n", r.Limit, 100*r.Emulated, 100*r.Recorded)
		fmt.Fprintf(out, "%d\tbuffer falls 1 s, rises 3 s\t%.1f %%, %.1f %%\n", r.Limit, 100*r.LBOFalls, 100*r.LBOArrive)
	}
	return out.Flush()
}

// WriteFile writes the configuration as a scenario's TOML.
func (r *Result) WriteFile(path string) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		return toml.NewEncoder(w).Encode(map[string]any{"plant": "testbed", "testbed": r.Config})
	})
}
