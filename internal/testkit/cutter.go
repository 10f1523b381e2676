// Package testkit is what tests and benchmarks of several packages share: a
// benchmark in processor time, and a TCP proxy that cuts its connections, for
// tests of what survives that.
package testkit

import (
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/planegym/planegym/internal/rng"
)

// Proxy forwards connections to one address.
type Proxy struct {
	l    net.Listener
	to   string
	seed uint64
	cuts atomic.Int64
	left atomic.Int64 // cuts to come
	wg   sync.WaitGroup
}

// furthest is the most bytes that a connection that is to be cut carries in
// one direction.
const furthest = 6000

// Listen starts a proxy to an address on a port of loopback. It cuts the
// first connections, cuts of them, after a number of bytes that seed and the
// connection's place decide.
func Listen(to string, cuts int, seed uint64) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{l: l, to: to, seed: seed}
	p.left.Store(int64(cuts))
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where to connect.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Cuts is how many connections were cut.
func (p *Proxy) Cuts() int { return int(p.cuts.Load()) }

// Close ends the proxy once its connections have.
func (p *Proxy) Close() {
	_ = p.l.Close()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for n := uint32(0); ; n++ {
		down, err := p.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = down.Close()
			continue
		}
		p.wg.Go(func() { p.forward(down, up, rng.Key{Seed: p.seed, A: n}) })
	}
}

func (p *Proxy) forward(client, server net.Conn, k rng.Key) {
	toServer, toClient := -1, -1
	if p.left.Add(-1) >= 0 {
		if k.Intn(1, 2) == 0 {
			toServer = k.Intn(0, furthest)
		} else {
			toClient = k.Intn(0, furthest)
		}
	}
	part := func(dst, src net.Conn, limit int) {
		if limit < 0 {
			_, _ = io.Copy(dst, src)
		} else if n, _ := io.CopyN(dst, src, int64(limit)); n == int64(limit) {
			p.cuts.Add(1)
		}
		_ = client.Close()
		_ = server.Close()
	}
	var wg sync.WaitGroup
	wg.Go(func() { part(server, client, toServer) })
	part(client, server, toClient)
	wg.Wait()
}
