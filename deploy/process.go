package deploy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ReadyWord is what a guard says when it holds every switch.
const ReadyWord = "ready"

// TookWord begins a guard's line that says why it takes over.
const TookWord = "took over: "

// guardProcess is a running guard.
type guardProcess struct {
	*Beater
	pid  int
	in   io.WriteCloser
	done chan error  // its end, once
	took chan string // why it has taken over, once
}

// startGuard starts a guard in a process, and a session, of its own, so that
// what ends this one leaves it alone. It waits until the guard is ready.
func startGuard(ctx context.Context, command []string, window time.Duration) (*guardProcess, error) {
	var says bytes.Buffer // its errors, until it is ready; afterwards it writes none
	cmd := exec.Command(command[0], append(slices.Clone(command[1:]), "--window", window.String())...)
	cmd.SysProcAttr, cmd.Stderr = ownSession(), &says
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
	g := &guardProcess{Beater: NewBeater(in, window), pid: cmd.Process.Pid, in: in, done: make(chan error, 1), took: make(chan string, 1)}
	ready := make(chan bool, 1)
	go func() { // owns out, and waits for the process
		lines := bufio.NewScanner(out)
		ready <- lines.Scan() && strings.TrimSpace(lines.Text()) == ReadyWord
		for lines.Scan() {
			if why, ok := strings.CutPrefix(lines.Text(), TookWord); ok {
				g.took <- why
				break
			}
		}
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
