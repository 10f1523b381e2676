package serving

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/planegym/planegym/env/ws"
)

// IdleConnection is how long an HTTP connection may wait for its next request:
// each holds a file, of which there are not many, and clients step over WebSocket.
const IdleConnection = 5 * time.Second

// drainTime is how long sessions may take to finish what they have accepted.
const drainTime = 10 * time.Second

// Run serves handler on l, and its metrics on admin, which may be nil, until ctx or
// orphaned, which may be nil, ends; then it drains: no connection is accepted any more,
// and what was accepted is answered. It calls hangup, which may be nil, at each SIGHUP,
// and draining before it drains.
func Run(ctx context.Context, handler *ws.Server, l, admin net.Listener, orphaned <-chan struct{}, hangup, draining func()) error {
	web := server(handler)
	web.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	servers := []*http.Server{web}
	failed := make(chan error, 2)
	if admin != nil {
		a := server(handler.Admin())
		servers = append(servers, a)
		go func() { failed <- a.Serve(admin) }() // ends with Shutdown
	}
	go func() { failed <- web.Serve(l) }() // ends with Shutdown
	signals := make(chan os.Signal, 1)
	if hangup != nil {
		signal.Notify(signals, syscall.SIGHUP)
		defer signal.Stop(signals)
	}
	for waiting := true; waiting; {
		select {
		case <-orphaned:
			waiting = false
		case err := <-failed:
			return err
		case <-signals:
			hangup()
		case <-ctx.Done():
			waiting = false
		}
	}
	draining()
	end, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := handler.Shutdown(end)
	for _, s := range servers {
		if e := s.Shutdown(end); err == nil {
			err = e
		}
	}
	if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
		return e
	}
	return err
}

func server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: IdleConnection, MaxHeaderBytes: 16 << 10}
}
