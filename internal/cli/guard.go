package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/switches"
)

// newGuard is the command of the process that deploy starts beside itself.
func newGuard() *cobra.Command {
	var scenario, journal string
	var window time.Duration
	cmd := &cobra.Command{
		Use: "guard", Hidden: true, Args: exactly(0),
		Short:   "Watch over a deploy; deploy starts it",
		Example: "  planegym deploy run/policy.safetensors --scenario lab.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := loadLive(cmd, scenario)
			if err != nil {
				return err
			}
			j, err := switches.OpenJournal(journal, "guard")
			if err != nil {
				return err
			}
			defer j.Close()
			g := switches.Guard{Inventory: s.Live.Switches, Safe: s.Live.Safe, Window: window, Journal: func(e switches.Entry) {
				_ = j.Append(e) // what is left to do is to guard
			}}
			return g.Run(cmd.Context(), cmd.InOrStdin(), func() error {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), readyWord)
				return err
			})
		},
	}
	addLiveScenario(cmd, &scenario)
	cmd.Flags().StringVar(&journal, "journal", "", "file to append to")
	cmd.Flags().DurationVar(&window, "window", 4*time.Second, "time between heartbeats")
	return cmd
}

// readyWord is what a guard says when it holds every switch.
const readyWord = "ready"

// guardProcess is a running guard.
type guardProcess struct {
	*switches.Beater
	pid  int
	in   io.WriteCloser
	done chan error // its end, once
}

// startGuard starts a guard in a process, and a session, of its own, so that
// what ends this one leaves it alone. It waits until the guard is ready.
func startGuard(ctx context.Context, scenario, journal string, window time.Duration) (*guardProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	var says bytes.Buffer // its errors, until it is ready; afterwards it writes none
	cmd := &exec.Cmd{
		Path: exe, Args: []string{os.Args[0], "guard", "--scenario", scenario, "--journal", journal, "--window", window.String()},
		SysProcAttr: ownSession(), Stderr: &says,
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	g := &guardProcess{Beater: switches.NewBeater(in, window), pid: cmd.Process.Pid, in: in, done: make(chan error, 1)}
	ready := make(chan bool, 1)
	go func() { // owns out, and waits for the process
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.TrimSpace(line) == readyWord
		err := cmd.Wait()
		if text := strings.TrimSpace(says.String()); err != nil && text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		g.done <- err
	}()
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	select {
	case ok := <-ready:
		if ok {
			return g, nil
		}
		return nil, fmt.Errorf("guard: it did not start: %w", <-g.done)
	case <-ctx.Done():
		in.Close()
		_ = cmd.Process.Kill()
		<-g.done
		return nil, fmt.Errorf("guard: it did not become ready: %w", ctx.Err())
	}
}

// leave tells the guard that all is safe, and waits for its end.
func (g *guardProcess) leave() error {
	if err := g.Bye(); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	g.in.Close()
	return <-g.done
}
