package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/planegym/planegym/internal/nearest"
)

// flagError says what is wrong with a flag, and which one was perhaps meant.
func flagError(cmd *cobra.Command, err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if hint := nearest.Hint(name, names); hint != "" {
			err = fmt.Errorf("%w%s", err, strings.Replace(hint, `"`, `"--`, 1))
		}
	}
	return usageError{err}
}

// refuseUnknown makes every group of commands report a name that it does not
// have; cobra would print the group's help and succeed.
func refuseUnknown(group *cobra.Command) {
	if !group.HasSubCommands() {
		return
	}
	var names []string
	for _, c := range group.Commands() {
		refuseUnknown(c)
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	if group.Runnable() {
		return
	}
	group.Args = cobra.ArbitraryArgs
	group.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), nearest.Hint(args[0], names))
	}
}

func asJSON(cmd *cobra.Command) bool {
	f := cmd.Flags().Lookup("json")
	return f != nil && f.Value.String() == "true"
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// writeJSONLine writes one object on one line, of a stream that goes on.
func writeJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// exactly makes cobra's argument check a usage error.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %d arguments, not %d", strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), n, len(args))
		}
		return nil
	}
}
