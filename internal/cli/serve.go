package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
)

// defaultScenario is what serve serves unasked.
const defaultScenario = "cartpole"

// drainTime is how long sessions may take to finish what they have accepted.
const drainTime = 10 * time.Second

func newServe() *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve environments over WebSocket (the main job)",
		Long: `serve lets any language reset and step environments over WebSocket (protocol
planegym.v1, see env/ws/PROTOCOL.md). Every bundled scenario can be asked for by
name; those that replay recordings need --data. --scenario names one that must
work, bundled or a TOML file; the server refuses to start where it does not.

Ctrl-C or SIGTERM drains: no connection is accepted any more, what was accepted
is answered, then the server ends.`,
		Example: `  planegym serve
  planegym serve --scenario replay --data recordings
  planegym serve --scenario mine.toml --addr 127.0.0.1:0 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&s.scenario, "scenario", defaultScenario, "the scenario to serve: bundled, or a .toml file")
	addData(cmd, &s.data)
	f.StringVar(&s.addr, "addr", "127.0.0.1:7070", "address to listen at; port 0 takes a free one")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "log sessions to stderr")
	return cmd
}

type server struct {
	scenario, data, addr string
	verbose              bool
}

func (s *server) run(cmd *cobra.Command) error {
	first, err := loadScenario(s.scenario)
	if err != nil {
		return err
	}
	served, err := bundled()
	if err != nil {
		return err
	}
	served[first.Name] = first
	open := &opener{data: s.data}
	trial, err := open.open(first, 1, env.NextStep) // fail now rather than at the first client
	if err != nil {
		return fmt.Errorf("serve: scenario %s: %w", first.Name, err)
	}
	spec := trial.Spec()
	if err := trial.Close(); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if s.verbose {
		log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	}
	handler := ws.NewServer(ws.Options{Open: open.serveOpen(served), Log: log})
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("serve: %w: give another --addr", err)
	}
	url := "ws://" + l.Addr().String() + ws.Path
	if asJSON(cmd) {
		if err := writeJSON(cmd.OutOrStdout(), map[string]any{"url": url, "scenario": first.Name}); err != nil {
			return err
		}
	} else {
		greet(cmd, url, first.Name, spec)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(cmd.Context()) }}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-cmd.Context().Done():
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "planegym: draining")
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err = handler.Shutdown(ctx)
	if webErr := web.Shutdown(ctx); err == nil {
		err = webErr
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return err
}

// greet says where the server is and how to step it.
func greet(cmd *cobra.Command, url, scenario string, spec env.Spec) {
	zeros := strings.TrimSuffix(strings.Repeat("0, ", len(spec.Action)), ", ")
	fmt.Fprintf(cmd.OutOrStdout(), `serving %[1]s at %[2]s

Step it from Python (pip install ./python):
  import planegym
  env = planegym.make("%[2]s", "%[1]s")
  obs, info = env.reset(seed=7)
  obs, reward, terminated, truncated, info = env.step(env.action_space.sample())

or by hand, any WebSocket client, subprotocol %[3]s:
  {"type":"hello","id":0,"client":"me","version":1,"capabilities":[]}
  {"type":"make","id":1,"ack":0,"scenario":"%[1]s","num_envs":1}
  {"type":"reset","id":2,"ack":1,"env":1,"seed":"7"}
  {"type":"step","id":3,"ack":2,"env":1,"actions":[[%[4]s]]}

Ctrl-C stops the server.
`, scenario, url, ws.Protocol, zeros)
}
