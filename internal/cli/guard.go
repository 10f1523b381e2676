package cli

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
)

// guardCommand is how newGuard's command is started.
func guardCommand(scenario, journal string) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return []string{exe, "guard", "--scenario", scenario, "--journal", journal}, nil
}

// newGuard is the command of the process that deploy starts beside itself.
func newGuard() *cobra.Command {
	var scenario, journal string
	var window time.Duration
	cmd := &cobra.Command{
		Use: "guard", Hidden: true, Args: exactly(0),
		Short:   "Watch over a deploy; deploy starts it",
		Example: "  planegym deploy run/policy.safetensors --scenario lab.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			signal.Ignore(syscall.SIGPIPE) // an agent that is killed reads no more, and is what a guard is for
			s, err := loadLive(cmd, scenario)
			if err != nil {
				return err
			}
			j, err := deploy.OpenJournal(journal, "guard")
			if err != nil {
				return err
			}
			defer j.Close()
			g := deploy.Guard{Patience: time.Duration(s.Live.GuardPatienceS * float64(time.Second)), Took: func(why string) {
				fmt.Fprintln(cmd.OutOrStdout(), deploy.TookWord+why)
			}, Inventory: s.Live.Switches, Safe: s.Live.Safe, Window: window, Journal: func(e deploy.Entry) {
				_ = j.Append(e) // what is left to do is to guard
			}}
			return g.Run(cmd.Context(), cmd.InOrStdin(), func() error {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), deploy.ReadyWord)
				return err
			})
		},
	}
	addLiveScenario(cmd, &scenario)
	cmd.Flags().StringVar(&journal, "journal", "", "file to append to")
	cmd.Flags().DurationVar(&window, "window", 4*time.Second, "time between heartbeats")
	return cmd
}
