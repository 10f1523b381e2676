package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/env/ws"
)

// defaultScenario is what serve serves unasked.
const defaultScenario = "synthetic"

// idleConnection is how long an HTTP connection may wait for its next request:
// each holds a file, of which there are not many, and clients step over WebSocket.
const idleConnection = 5 * time.Second

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
	verbose, withStdin                        bool
}

// check finds what the command line asks for and cannot have.
func (s *server) check() error {
	switch {
	case (s.cert == "") != (s.key == ""):
		return usagef("serve: --tls-cert and --tls-key go together")
	case s.clientCA != "" && s.cert == "":
		return usagef("serve: --client-ca needs --tls-cert and --tls-key")
	case s.o.MaxSessions < 1:
		return usagef("serve: --max-sessions: %d is less than 1", s.o.MaxSessions)
	case s.o.MaxEnvs < 1:
		return usagef("serve: --max-envs: %d is less than 1", s.o.MaxEnvs)
	case s.o.Rate < 0:
		return usagef("serve: --rate: %d is negative", s.o.Rate)
	case s.o.IdleTimeout <= 0:
		return usagef("serve: --idle-timeout: %v is not positive", s.o.IdleTimeout)
	case s.o.StepTimeout < 0:
		return usagef("serve: --step-timeout: %v is negative", s.o.StepTimeout)
	case s.o.MakeTimeout < 0:
		return usagef("serve: --make-timeout: %v is negative", s.o.MakeTimeout)
	case s.o.ResumeFor < 0:
		return usagef("serve: --resume: %v is negative", s.o.ResumeFor)
	case s.o.Journal != "" && s.o.ResumeFor == 0:
		return usagef("serve: --journal is for sessions that wait: --resume is 0")
	}
	for _, o := range s.o.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			return usagef("serve: --origin: %q: want https://host or https://host:port", o)
		}
	}
	if s.admin != "" {
		host, _, err := net.SplitHostPort(s.admin)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return usagef("serve: --admin: %q is no loopback address: it answers everybody who reaches it", s.admin)
		}
	}
	return nil
}

// tls is how to speak it, nil for not at all.
func (s *server) tls() (*tls.Config, error) {
	if s.cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, fmt.Errorf("serve: --tls-cert, --tls-key: %w", err)
	}
	// A browser would rather have HTTP/2, which gorilla cannot upgrade from.
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if s.clientCA != "" {
		b, err := os.ReadFile(s.clientCA)
		if err != nil {
			return nil, fmt.Errorf("serve: --client-ca: %w", err)
		}
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !c.ClientCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("serve: --client-ca: %s has no certificate", s.clientCA)
		}
	}
	return c, nil
}

// listen opens the address that clients connect to, and gives its URL.
func (s *server) listen(secure bool) (net.Listener, string, error) {
	if s.unix != "" {
		// No running server owns what a killed one left.
		if c, err := net.Dial("unix", s.unix); err == nil {
			c.Close()
			return nil, "", fmt.Errorf("serve: --unix: a server listens at %s", s.unix)
		} else if st, err := os.Stat(s.unix); err == nil && st.Mode().Type() == os.ModeSocket {
			_ = os.Remove(s.unix)
		}
		mode, err := strconv.ParseUint(s.unixMode, 8, 32)
		if err != nil || mode > 0o777 {
			return nil, "", usagef("serve: --unix-mode: %q is not an octal file mode such as 0660", s.unixMode)
		}
		l, err := listenUnix(s.unix, os.FileMode(mode))
		if err != nil {
			return nil, "", fmt.Errorf("serve: --unix: %w", err)
		}
		return l, "unix://" + s.unix, nil
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return nil, "", fmt.Errorf("serve: %w: give another --addr", err)
	}
	scheme := "ws://"
	if secure {
		scheme = "wss://"
	}
	return l, scheme + reachable(l.Addr()) + ws.Path, nil
}

// reachable is an address that a client can copy: of a server that listens at
// every address of the machine, the first that is not loopback.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	host := "127.0.0.1"
	addrs, err := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); err == nil && ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			host = ip.IP.String()
			break
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

func (s *server) run(cmd *cobra.Command) error {
	if err := s.check(); err != nil {
		return err
	}
	secure, err := s.tls()
	if err != nil {
		return err
	}
	if s.tokenFile != "" {
		if s.o.Tokens, err = ws.ReadTokens(s.tokenFile); err != nil {
			return fmt.Errorf("serve: --token-file: %w", err)
		}
	}
	for flag, dir := range map[string]string{"--record": s.record, "--journal": s.o.Journal} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("serve: %s: %w", flag, err)
		}
	}
	if err := s.findGPU(); err != nil {
		return err
	}
	first, err := loadScenario(s.scenario)
	if err != nil {
		return err
	}
	served, err := planegym.Bundled()
	if err != nil {
		return err
	}
	served[first.Name] = first
	open := &planegym.Gym{Data: s.data, Computing: s.Computing}
	trial, err := open.Open(cmd.Context(), first, 1, env.NextStep) // fail now rather than at the first client
	if err != nil {
		return fmt.Errorf("serve: scenario %s: %w", first.Name, err)
	}
	spec := trial.Spec()
	if first.Plant == "replay" {
		recordings, _, err := open.Recordings()
		if err != nil {
			return err
		}
		for _, r := range recordings {
			fmt.Fprintf(cmd.ErrOrStderr(), "limit %d, %d s: measured: %s\n", r.Limit(), r.Len(), r.DescribeShares())
		}
	}
	if err := trial.Close(); err != nil {
		return err
	}
	level := slog.LevelWarn
	if s.verbose {
		level = slog.LevelInfo
	}
	s.o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	for _, d := range []*time.Duration{&s.o.StepTimeout, &s.o.MakeTimeout, &s.o.ResumeFor} {
		if *d == 0 {
			*d = -1 // as ws.Options has it
		}
	}
	recording := &recorder{dir: s.record, log: s.o.Log}
	s.o.Metrics = append(s.o.Metrics, recording)
	s.o.Open = recording.wrap(open.Serve(served))
	if s.o.Scenarios, err = pages(open, served, first.Name, strings.HasSuffix(s.scenario, ".toml")); err != nil {
		return err
	}
	program := thisBuild()
	s.o.Version, s.o.Commit = program.Version, program.Commit
	handler := ws.NewServer(s.o)
	l, url, err := s.listen(secure != nil)
	if err != nil {
		return err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: idleConnection, MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(cmd.Context()) }}
	failed := make(chan error, 2)
	admin := &http.Server{Handler: handler.Admin(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: idleConnection, MaxHeaderBytes: 16 << 10}
	adminURL := ""
	if s.admin != "" {
		al, err := net.Listen("tcp", s.admin)
		if err != nil {
			l.Close()
			return fmt.Errorf("serve: --admin: %w", err)
		}
		adminURL = "http://" + al.Addr().String()
		go func() { failed <- admin.Serve(al) }()
	}
	if asJSON(cmd) {
		out := map[string]any{"url": url, "scenario": first.Name}
		if adminURL != "" {
			out["admin"] = adminURL
		}
		if err := writeJSONLine(cmd.OutOrStdout(), out); err != nil {
			return err
		}
	} else {
		greet(cmd, url, first.Name, spec)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && s.o.Tokens == nil && s.clientCA == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "planegym: everybody who reaches", a, "may step: give --token-file or --client-ca")
	}
	go func() { failed <- web.Serve(l) }()
	hangup := make(chan os.Signal, 1)
	if s.o.Tokens != nil {
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
	}
	orphaned := make(chan struct{})
	if s.withStdin {
		signal.Ignore(syscall.SIGPIPE) // who is gone reads no output either: saying so is not to end the draining
		defer signal.Reset(syscall.SIGPIPE)
		go func() { // ends with the process where standard input does not
			_, _ = io.Copy(io.Discard, cmd.InOrStdin())
			close(orphaned)
		}()
	}
	for waiting := true; waiting; {
		select {
		case <-orphaned:
			waiting = false
		case err := <-failed:
			return fmt.Errorf("serve: %w", err)
		case <-hangup:
			if err := s.o.Tokens.Reload(); err != nil {
				s.o.Log.Error("tokens are what they were", "error", err)
			} else {
				s.o.Log.Warn("tokens read again")
			}
		case <-cmd.Context().Done():
			waiting = false
		}
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "planegym: draining")
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err = handler.Shutdown(ctx)
	for _, h := range []*http.Server{web, admin} {
		if webErr := h.Shutdown(ctx); err == nil {
			err = webErr
		}
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return err
}

// recorder is the files of serve --record, and what went wrong with them.
type recorder struct {
	dir    string // "": nothing is recorded
	log    *slog.Logger
	failed atomic.Uint64
}

var recordErrors = prometheus.NewDesc("planegym_record_errors_total", "Recordings that ended because their file could not be written.", nil, nil)

// Describe and Collect make it a prometheus.Collector.
func (r *recorder) Describe(ch chan<- *prometheus.Desc) { ch <- recordErrors }

// Collect counts the recordings that failed.
func (r *recorder) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(recordErrors, prometheus.CounterValue, float64(r.failed.Load()))
}

// wrap has what open makes recorded, in a file of session, environment and a
// count.
func (r *recorder) wrap(open func(context.Context, ws.MakeRequest) (env.Vector, error)) func(context.Context, ws.MakeRequest) (env.Vector, error) {
	return func(ctx context.Context, m ws.MakeRequest) (env.Vector, error) {
		if r.dir == "" && m.Record {
			return nil, fmt.Errorf("%w: record: this server does not record: start it with --record", ws.ErrInvalidConfig)
		}
		v, err := open(ctx, m)
		if r.dir == "" || err != nil {
			return v, err
		}
		hash := ""
		if h, ok := v.(interface{ ModelHash() string }); ok {
			hash = h.ModelHash()
		}
		rec, err := episodes.Record(v, func(file int) (*episodes.Writer, error) {
			name := fmt.Sprintf("%s-%s-%d-%d.parquet", filepath.Base(m.Scenario), m.Session, m.Env, file)
			return episodes.Create(filepath.Join(r.dir, name), episodes.SpacesOf(v.Spec()), m.Scenario, hash, episodes.InfosOf(v)...)
		}, func(err error) {
			r.failed.Add(1)
			r.log.Error("recording ends, stepping goes on", "session", m.Session, "error", err)
		})
		if err != nil {
			_ = v.Close()
			return nil, err
		}
		return rec, nil
	}
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
