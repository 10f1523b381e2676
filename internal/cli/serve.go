package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/serving"
)

// defaultScenario is what serve serves unasked.
const defaultScenario = "closed-loop"

func newServe() *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve environments over WebSocket (the main job)",
		Long: `serve lets any language reset and step environments over WebSocket (protocol
planegym.v1, see env/ws/PROTOCOL.md). Every bundled scenario can be asked for by
name; those that replay recordings need --data. --scenario names one that must
work, bundled or a TOML file; the server refuses to start where it does not.

A client that is cut off comes back to its session within --resume, and with
--journal to a server that was killed and started again. With --record every
episode goes to Parquet files, which play and train read.

Everybody who reaches the address may step, unless --token-file or --client-ca
says who; beyond loopback give one of them. SIGHUP reads the tokens again.
Ctrl-C or SIGTERM drains: no connection is accepted any more, what was accepted
is answered, then the server ends. With --exit-with-stdin the end of standard
input does so too: who started the server with a pipe and died, however, leaves
none behind.`,
		Example: `  planegym serve
  planegym serve --scenario replay --data recordings
  planegym serve --scenario mine.toml --addr 127.0.0.1:0 --json
  planegym serve --unix /run/user/1000/planegym.sock
  planegym serve --addr :7070 --token-file tokens --tls-cert cert.pem --tls-key key.pem
  planegym serve --worker mine=unix:///tmp/mine.sock
  planegym serve --record episodes --journal /var/lib/planegym --admin 127.0.0.1:7071`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&s.scenario, "scenario", defaultScenario, "the scenario to serve: bundled, or a .toml file")
	addData(cmd, &s.data)
	s.deviceFlag(cmd)
	f.StringVar(&s.Kernels, "kernels", "auto", "kernel set of models: auto, go, avx2, avx512 or reference; equal bytes are promised per set")
	f.StringVar(&s.addr, "addr", "127.0.0.1:7070", "address to listen at; port 0 takes a free one")
	f.StringVar(&s.unix, "unix", "", "path of a unix socket to listen at, in place of --addr")
	f.StringVar(&s.unixMode, "unix-mode", "0600", "file mode of the unix socket, octal: who may connect; 0660 lets its group")
	f.StringVar(&s.admin, "admin", "", "loopback address for metrics, health and pprof")
	f.StringVar(&s.tokenFile, "token-file", "", "file of bearer tokens, one a line, of which a client must have one")
	f.StringVar(&s.cert, "tls-cert", "", "certificate chain, PEM: serve wss")
	f.StringVar(&s.key, "tls-key", "", "its private key, PEM")
	f.StringVar(&s.clientCA, "client-ca", "", "certificates, PEM, one of which must have signed a client's")
	f.StringArrayVar(&s.o.Origins, "origin", nil, "web page that may connect, https://host; may be repeated (default: only the server's own)")
	f.StringVar(&s.record, "record", "", "folder for recorded episodes")
	s.workers = serving.Workers{}
	f.Var(s.workers, "worker", "an environment of your own that a worker serves (python -m planegym.worker), NAME=unix:///path; may be repeated")
	f.StringVar(&s.o.Journal, "journal", "", "folder where sessions outlive the server")
	f.IntVar(&s.o.MaxSessions, "max-sessions", 1024, "sessions at a time")
	f.IntVar(&s.o.MaxEnvs, "max-envs", 16, "environments of a session")
	f.IntVar(&s.o.Rate, "rate", 0, "messages a second of a session (default: 200000 from other machines, no bound from this one)")
	f.DurationVar(&s.o.StepTimeout, "step-timeout", time.Minute, "how long a step may take; 0: without bound")
	f.DurationVar(&s.o.MakeTimeout, "make-timeout", time.Minute, "how long making an environment may take; 0: without bound")
	f.DurationVar(&s.o.ResumeFor, "resume", time.Minute, "how long a session waits for a client that was cut off; 0: not at all")
	f.DurationVar(&s.o.IdleTimeout, "idle-timeout", 10*time.Minute, "how long a session may send no request")
	f.BoolVar(&s.withStdin, "exit-with-stdin", false, "drain when standard input ends")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "log sessions to stderr")
	cmd.MarkFlagsMutuallyExclusive("addr", "unix")
	return cmd
}

type server struct {
	computing
	scenario, data, addr, unix, admin, record string
	unixMode                                  string
	tokenFile, cert, key, clientCA            string
	o                                         ws.Options
	workers                                   serving.Workers
	verbose, withStdin                        bool
}
