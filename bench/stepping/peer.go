package stepping

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"time"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env/ws"
)

// Peer is what is stepped through: a process of its own, as a server is.
type Peer struct {
	URL string `json:"url"` // of the WebSocket
	TCP string `json:"tcp"` // host:port that raw TCP goes to
	end func()
}

// Close ends the process.
func (p *Peer) Close() { p.end() }

// ServePeer is what the peer's process does: it serves the bundled scenarios and raw
// TCP on free ports of loopback, writes a Peer as JSON to out, and ends when in does.
func ServePeer(data string, in io.Reader, out io.Writer) error {
	served, err := planegym.Bundled()
	if err != nil {
		return err
	}
	handler := ws.NewServer(ws.Options{Open: (&planegym.Gym{Data: data}).Serve(served)})
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer web.Close()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := json.NewEncoder(out).Encode(Peer{URL: "ws://" + web.Addr().String() + ws.Path, TCP: raw.Addr().String()}); err != nil {
		return err
	}
	failed := make(chan error, 3)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() { failed <- server.Serve(web) }() // ends with web
	go func() {
		for {
			c, err := raw.Accept()
			if err != nil {
				failed <- err
				return
			}
			go pong(c) // ends with its connection, at the latest with the process
		}
	}()
	go func() {
		_, err := io.Copy(io.Discard, in)
		failed <- err // nil: the parent is done
	}()
	return <-failed
}

// StartPeer starts a command that calls ServePeer with its stdin and stdout.
func StartPeer(ctx context.Context, stderr io.Writer, command string, args ...string) (*Peer, error) {
	c := exec.CommandContext(ctx, command, args...)
	c.Stderr = stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &Peer{end: func() {
		in.Close()
		_ = c.Wait() // its errors are on stderr
	}}
	if err := json.NewDecoder(out).Decode(p); err != nil {
		p.end()
		return nil, fmt.Errorf("the peer process: %w", err)
	}
	return p, nil
}
