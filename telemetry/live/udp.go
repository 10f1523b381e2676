package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/telemetry/intreport"
)

const (
	maxDatagram = 9216 // bytes; what is longer is cut
	datagrams   = 1024 // that wait to be decoded
)

// ServeUDP takes telemetry reports from conn, which it closes, until ctx ends,
// and then returns nil; otherwise the error of conn. What comes faster than it
// can be decoded replaces the oldest that waits.
func (c *Collector) ServeUDP(ctx context.Context, conn net.PacketConn) error {
	if u, ok := conn.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(4 << 20) // as much as the system allows
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	q := newQueue(datagrams)
	var wg sync.WaitGroup
	wg.Go(func() { // owns what is taken out of q, until q is closed
		var b []byte
		for {
			at, d, ok := q.take(b)
			if !ok {
				return
			}
			b = d
			c.Datagram(at, b)
		}
	})
	err := c.receive(conn, q)
	q.close()
	wg.Wait()
	conn.Close()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("live: udp %v: %w", conn.LocalAddr(), err)
}

func (c *Collector) receive(conn net.PacketConn, q *queue) error {
	b := make([]byte, maxDatagram)
	for {
		n, addr, err := conn.ReadFrom(b)
		if err != nil {
			return err
		}
		if !c.cfg.Probes.from(addr) {
			c.turnedAway()
			continue
		}
		if over := q.put(time.Now(), b[:n]); over {
			c.mu.Lock()
			c.stats.Overrun++
			c.mu.Unlock()
		}
	}
}

// queue holds the newest datagrams, up to a number. It keeps their memory.
type queue struct {
	mu     sync.Mutex
	some   sync.Cond
	slots  []datagram
	first  int
	n      int
	closed bool
}

type datagram struct {
	at time.Time
	b  []byte
}

func newQueue(n int) *queue {
	q := &queue{slots: make([]datagram, n)}
	q.some.L = &q.mu
	return q
}

// put copies b in, in place of the oldest if the queue is full.
func (q *queue) put(at time.Time, b []byte) (over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == len(q.slots) {
		q.first = (q.first + 1) % len(q.slots)
		q.n--
		over = true
	}
	s := &q.slots[(q.first+q.n)%len(q.slots)]
	s.at, s.b = at, append(s.b[:0], b...)
	q.n++
	q.some.Signal()
	return over
}

// take waits for the oldest and hands it out; spare becomes the queue's. False
// once it is closed and empty.
func (q *queue) take(spare []byte) (time.Time, []byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.n == 0 {
		if q.closed {
			return time.Time{}, nil, false
		}
		q.some.Wait()
	}
	s := &q.slots[q.first]
	b := s.b
	s.b = spare
	q.first = (q.first + 1) % len(q.slots)
	q.n--
	return s.at, b, true
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
}

// ReadPcap takes the packets of a pcap or pcapng file, each at the time that
// it was captured; name is used in errors.
func (c *Collector) ReadPcap(r io.Reader, name string) error {
	in, err := pcap.NewReader(r, name)
	if err != nil {
		return err
	}
	var p pcap.Packet
	for {
		switch err := in.Next(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		c.take(p.Time, p.Data, func(d *intreport.Decoder, b []byte, each func(*intreport.Report)) error {
			return Decode(d, uint16(p.Link), b, each)
		})
	}
}

// Decode decodes a captured packet. link is its LINKTYPE, as pcap files number
// them: Ethernet (1), IP (101, 228, 229) or Linux's cooked capture (113, 276).
// Error: intreport.ErrForeign for others too.
func Decode(d *intreport.Decoder, link uint16, b []byte, each func(*intreport.Report)) error {
	head := 0
	switch pcap.Link(link) {
	case pcap.Ethernet:
		return d.Frame(b, each)
	case pcap.Raw, pcap.IPv4, pcap.IPv6:
	case pcap.Cooked:
		head = 16
	case pcap.Cooked2:
		head = 20
	default:
		return intreport.ErrForeign
	}
	if len(b) < head {
		return intreport.ErrForeign
	}
	return d.Packet(b[head:], each)
}

// turnedAway counts what is not taken because of who sent it.
func (c *Collector) turnedAway() {
	c.mu.Lock()
	c.stats.TurnedAway++
	c.mu.Unlock()
}
