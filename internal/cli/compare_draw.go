package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/report"
)

// draw writes the figure and the page that were asked for.
func (c *comparer) draw(result *eval.Result) error {
	if c.figure != "" {
		figure, err := report.Values(result)
		if err != nil {
			return err
		}
		if err := figure.WriteFile(c.figure); err != nil {
			return err
		}
	}
	if c.page == "" {
		return nil
	}
	sections, err := report.Comparison(result)
	if err != nil {
		return err
	}
	page := report.Page{Title: "The same policies on two plants", Sections: sections}
	return atomicfile.Write(c.page, page.WriteHTML)
}

// printComparison prints a result as JSON or as a page.
func printComparison(cmd *cobra.Command, r interface{ WriteText(io.Writer) error }) error {
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), r)
	}
	return r.WriteText(cmd.OutOrStdout())
}
