package cli

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/serving"
)

func (s *server) run(cmd *cobra.Command) error {
	if err := s.check(); err != nil {
		return err
	}
	var secure *tls.Config
	var err error
	if s.cert != "" {
		if secure, err = serving.TLS(s.cert, s.key, s.clientCA); err != nil {
			return fmt.Errorf("serve: %w", err)
		}
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
	first, spec, err := s.prepare(cmd)
	if err != nil {
		return err
	}
	handler := ws.NewServer(s.o)
	l, url, err := s.listen()
	if err != nil {
		return err
	}
	open := l.Addr() // before TLS
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	var admin net.Listener
	greeting := map[string]any{"url": url, "scenario": first}
	if s.admin != "" {
		if admin, err = net.Listen("tcp", s.admin); err != nil {
			l.Close()
			return fmt.Errorf("serve: --admin: %w", err)
		}
		greeting["admin"] = "http://" + admin.Addr().String()
	}
	if !asJSON(cmd) {
		greet(cmd, url, first, spec)
	} else if err := writeJSONLine(cmd.OutOrStdout(), greeting); err != nil {
		return err
	}
	if a, ok := open.(*net.TCPAddr); ok && !a.IP.IsLoopback() && s.o.Tokens == nil && s.clientCA == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "planegym: anyone who reaches", a, "may step: give --token-file or --client-ca")
	}
	var hangup func()
	if s.o.Tokens != nil {
		hangup = s.reload
	}
	var orphaned chan struct{}
	if s.withStdin {
		orphaned = make(chan struct{})
		signal.Ignore(syscall.SIGPIPE) // who is gone reads no output either: saying so is not to end the draining
		defer signal.Reset(syscall.SIGPIPE)
		go func() { // ends with the process where standard input does not
			_, _ = io.Copy(io.Discard, cmd.InOrStdin())
			close(orphaned)
		}()
	}
	err = serving.Run(cmd.Context(), handler, l, admin, orphaned, hangup, func() { fmt.Fprintln(cmd.ErrOrStderr(), "planegym: draining") })
	if err != nil {
		err = fmt.Errorf("serve: %w", err)
	}
	return err
}
