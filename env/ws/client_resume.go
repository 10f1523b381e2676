package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// This file owns a client's connections: how it connects, and how it comes back to its session after a
// cut, on the goroutine of the call that finds the cut out.

// sentRequest is a request without a reply yet, to be sent again after a cut.
type sentRequest struct {
	seq uint64
	op  byte
	buf []byte
}

// connect is a new connection.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, Subprotocols: []string{Protocol}, TLSClientConfig: c.opts.TLS}
	u, err := url.Parse(c.url)
	if err != nil {
		if bad := (*url.Error)(nil); errors.As(err, &bad) {
			err = bad.Err // the address is in the message already
		}
		return nil, err
	}
	switch {
	case u.Scheme == "unix":
		path := u.Path
		d.Proxy = nil
		d.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		u = &url.URL{Scheme: "ws", Host: "localhost", Path: Path}
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("%w: want ws://host:port, wss://host or unix:///path", ErrInvalidConfig)
	case u.Path == "" || u.Path == "/":
		u.Path = Path
	}
	h := http.Header{}
	if c.opts.Token != "" {
		h.Set("Authorization", "Bearer "+c.opts.Token)
	}
	up, resp, err := d.DialContext(ctx, u.String(), h)
	if err != nil {
		return nil, refused(resp, err)
	}
	if up.Subprotocol() != Protocol {
		_ = up.Close()
		return nil, fmt.Errorf("%w: the server chose subprotocol %q, want %s", ErrBadVersion, up.Subprotocol(), Protocol)
	}
	return newConn(up.NetConn(), true, maxReply, c.opts.WriteTimeout), nil
}

// refused is the error of a handshake, from the error message in the body of
// resp where there is one.
func refused(resp *http.Response, err error) error {
	if resp == nil {
		return err
	}
	var m errorMessage // in a body of at most 1,024 bytes: gorilla has read that, and closed the rest
	if json.NewDecoder(resp.Body).Decode(&m) != nil || m.Type != "error" {
		return fmt.Errorf("%w: HTTP %s", err, resp.Status)
	}
	return m.remote()
}

// use makes up the connection.
func (c *Client) use(up *conn) {
	if w := &c.waiting; w.stop != nil && !w.stop() {
		<-w.ran
	}
	c.conn, c.waiting = up, waiter{conn: up}
	c.alive.Store(up)
}

// keepRequest keeps a request, already in c.sent, for resume.
func (c *Client) keepRequest(op byte, b []byte) {
	k := &c.kept[c.sent%inFlight]
	k.seq, k.op, k.buf = c.sent, op, append(k.buf[:0], b...)
}

// final says that nothing is to be hoped for after err.
func final(err error) bool {
	var closed *CloseError
	var remote *Error
	switch {
	case errors.As(err, &remote):
		return !errors.Is(err, ErrSessionBusy) && !errors.Is(err, ErrDraining) && !errors.Is(err, ErrRateLimited) && !errors.Is(err, ErrCapacity)
	case errors.As(err, &closed):
		return closed.Code != closeGoingAway && (closed.Code < closeNoPong || closed.Code >= closeBadFrame)
	}
	return false
}

// resume comes back to the session after a connection that ended with cause.
// When ctx ends before that, the next call tries again.
func (c *Client) resume(ctx context.Context, cause error) error {
	_ = c.conn.net.Close()
	if c.token == "" || c.opts.Resume < 0 || c.got == 0 || final(cause) {
		return c.fail(cause)
	}
	end := time.Now().Add(c.opts.Resume)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		up, accepted, err := c.reattach(ctx)
		if err == nil {
			c.use(up)
			for n := max(accepted, c.got) + 1; n <= c.sent && err == nil; n++ {
				k := &c.kept[n%inFlight]
				if k.seq != n { // more calls than that were given up
					return c.fail(fmt.Errorf("%w: the server has not got request %d", ErrSessionLost, n))
				}
				err = c.conn.send(k.op, k.buf, false)
			}
			if err == nil {
				err = c.conn.flush()
			}
			if err == nil {
				return nil
			}
			_ = up.net.Close()
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case final(err):
			return c.fail(err)
		case time.Now().Add(wait).After(end):
			return c.fail(fmt.Errorf("%w; not back within %v: %w", cause, c.opts.Resume, err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// reattach resumes on a new connection, once.
func (c *Client) reattach(ctx context.Context) (up *conn, accepted uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.opts.WriteTimeout)
	defer cancel()
	if up, err = c.reach(ctx); err != nil {
		return nil, accepted, err
	}
	stop := context.AfterFunc(ctx, func() { _ = up.net.Close() })
	defer stop()
	if accepted, err = c.sayResume(up); err != nil {
		_ = up.net.Close()
	}
	return up, accepted, err
}

func (c *Client) sayResume(up *conn) (accepted uint64, err error) {
	b, err := encode(map[string]any{
		"type": "resume", "id": 0, "client": clientName, "version": 1, "capabilities": []string{"final_info", "reset_options", "resume"}, "token": c.token, "last_seq": c.got,
	})
	if err == nil {
		err = up.send(opText, b, true)
	}
	for {
		var op byte
		var p []byte
		if err == nil {
			op, p, err = up.in.next()
		}
		switch {
		case err != nil:
			return accepted, err
		case op == opClose:
			return accepted, parseClose(p)
		case op != opText:
			continue
		}
		var m struct {
			errorMessage
			Accepted uint64 `json:"accepted"`
		}
		if err := json.Unmarshal(p, &m); err != nil {
			return accepted, fmt.Errorf("%w: %v", ErrBadFrame, err)
		}
		switch {
		case m.Type == "error":
			return accepted, m.remote()
		case m.Type != "resumed" || m.Accepted < c.got || m.Accepted > c.sent:
			return accepted, &Error{Code: "session_lost", Message: fmt.Sprintf("the server answers resume with %s of %d requests, sent are %d and answered %d", m.Type, m.Accepted, c.sent, c.got)}
		}
		return m.Accepted, nil
	}
}

// fail makes the connection useless because of err.
func (c *Client) fail(err error) error {
	if c.broken == nil {
		var remote *Error
		if !errors.As(err, &remote) {
			err = fmt.Errorf("%w: %w", ErrDisconnected, err)
		}
		c.broken = err
		_ = c.conn.net.Close()
	}
	return c.broken
}
