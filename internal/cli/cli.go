// Package cli defines planegym's commands: flags, checks of input, progress and what is
// printed. What a command does is in the package whose idea it is.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes, the same for every command.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked could not be done
	exitUsage  = 2 // what was asked makes no sense: unknown flag, scenario, argument
)

// usageError marks an error of the command line itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// reportedError marks an error whose results are on stdout already, as JSON
// where that was asked for.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }

// Main runs a command line until it ends or ctx does, and gives its exit
// code. Results go to stdout, everything else to stderr.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		code = exitUsage
	}
	var reported reportedError
	if asJSON(cmd) && !errors.As(err, &reported) {
		_ = writeJSON(stdout, map[string]any{"error": err.Error(), "exit_code": code})
	} else if !asJSON(cmd) {
		fmt.Fprintln(stderr, "planegym:", err)
		if code == exitUsage {
			fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		}
	}
	return code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "planegym",
		Short: "A gym for programmable data planes",
		Long: `planegym lets agents tune switch queues in an environment they can reset, seed
and repeat: recordings of a testbed go in, a reset/step server comes out.

Exit codes: 0 done, 1 failed, 2 wrong usage. Ctrl-C ends every command cleanly.`,
		Example: `  planegym serve                       step an environment over WebSocket
  planegym scenario list               what can be served
  planegym doctor                      what this machine has`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.Version = thisBuild().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().Bool("json", false, "print results as JSON")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newServe(),
		newFit(),
		newSample(),
		newSweep(),
		newSelect(),
		newTrain(),
		newPlay(),
		newCompare(),
		newTestbed(),
		newCollect(),
		newDeploy(),
		newJournal(),
		newSwitches(),
		newTelemetry(),
		newImport(),
		newReport(),
		newScenario(),
		newBench(),
		newBenchPeer(),
		newDoctor(),
		newVersion(),
		newGuard(),
		newTraffic(),
	)
	refuseUnknown(root)
	return root
}
