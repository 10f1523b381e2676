package live

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConns is how many connections a port for telemetry holds: a player needs
// one. Where more come the one that has been idle for longest goes, so that
// silent connections lock no client out.
const maxConns = 64

// ServeHTTP serves handler on l, which it closes, until ctx ends, and then
// returns nil; otherwise the error of l. Requests and idle connections have 10
// and 30 s.
func ServeHTTP(ctx context.Context, l net.Listener, handler http.Handler) error {
	c := &conns{since: map[net.Conn]time.Time{}}
	web := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 14, ConnState: c.state,
	}
	stop := context.AfterFunc(ctx, func() { web.Close() })
	defer stop()
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// conns are the connections that wait: for a request, or for its beginning.
type conns struct {
	mu    sync.Mutex
	since map[net.Conn]time.Time
	open  int
}

func (c *conns) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew:
		c.open++
		c.since[conn] = time.Now()
	case http.StateIdle:
		c.since[conn] = time.Now()
	case http.StateActive:
		delete(c.since, conn)
	default:
		c.open--
		delete(c.since, conn)
	}
	if c.open <= maxConns || s != http.StateNew {
		return
	}
	var oldest net.Conn
	for o, at := range c.since {
		if o != conn && (oldest == nil || at.Before(c.since[oldest])) {
			oldest = o
		}
	}
	if oldest != nil {
		delete(c.since, oldest)
		oldest.Close()
	}
}
