package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/compute"
)

// Version is that of CHANGELOG.md and of python/planegym/_version.py.
const Version = "0.1.0"

// commit is what a release was built from: -ldflags "-X
// github.com/planegym/planegym/internal/cli.commit=HASH". A build of a checkout
// records it itself.
var commit string

// build is what `planegym version --json` prints.
type build struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit"` // "" where it is not known
	Modified bool     `json:"modified"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Kernels  []string `json:"kernels"` // that this machine runs, the fastest last
}

func thisBuild() build {
	b := build{Version: Version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && b.Commit == "":
				b.Commit = s.Value
			case s.Key == "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	for _, k := range compute.Available() {
		b.Kernels = append(b.Kernels, k.String())
	}
	return b
}

// String is one line.
func (b build) String() string {
	at := b.Commit
	if at == "" {
		at = "unknown"
	}
	if b.Modified {
		at += " (modified)"
	}
	return fmt.Sprintf("planegym %s, commit %s, %s, %s, kernels %s", b.Version, at, b.Go, b.Platform, strings.Join(b.Kernels, " "))
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version, commit and kernels", Args: exactly(0),
		Long: `version prints what this program is built from and the kernel sets that this
machine runs, the fastest last: equal seeds give equal bytes per kernel set.`,
		Example: "  planegym version\n  planegym version --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON(cmd) {
				return writeJSON(cmd.OutOrStdout(), thisBuild())
			}
			fmt.Fprintln(cmd.OutOrStdout(), thisBuild())
			return nil
		},
	}
}
