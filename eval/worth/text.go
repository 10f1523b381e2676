package worth

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteText writes the rows as a table; a star marks the best allowed constant.
func (r *Result) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "%s, limits %v, %d seeds\n", r.Scenario, r.Limits, r.Seeds)
	fmt.Fprintln(out, "policy\treward/step\tover best constant\tbuffer s\tlevel 0…2\tstalled s")
	for i, row := range r.Rows {
		gain, mark := "-", ""
		if i == r.best {
			mark = " *"
		} else if r.best >= 0 {
			gain = fmt.Sprintf("%+.2f ± %.2f", row.Gain.Mean, row.Gain.CI)
		}
		fmt.Fprintf(out, "%s%s\t%.2f ± %.2f\t%s\t%.1f\t%.2f\t%.1f\n", row.Policy, mark, row.Reward.Mean, row.Reward.CI, gain, row.LBO, row.Level, row.Stall)
	}
	return out.Flush()
}
