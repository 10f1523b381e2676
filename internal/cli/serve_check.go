package cli

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/serving"
)

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
			return usagef("serve: --admin: %q is not a loopback address: it answers anyone who reaches it", s.admin)
		}
	}
	return nil
}

// listen opens the address that clients connect to, and gives its URL.
func (s *server) listen() (net.Listener, string, error) {
	if s.unix != "" {
		mode, err := strconv.ParseUint(s.unixMode, 8, 32)
		if err != nil || mode > 0o777 {
			return nil, "", usagef("serve: --unix-mode: %q is not an octal file mode such as 0660", s.unixMode)
		}
		l, err := serving.ListenUnix(s.unix, os.FileMode(mode))
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
	if s.cert != "" {
		scheme = "wss://"
	}
	return l, scheme + serving.Reachable(l.Addr()) + ws.Path, nil
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
