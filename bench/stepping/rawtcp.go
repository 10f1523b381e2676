package stepping

import (
	"context"
	"encoding/binary"
	"io"
	"net"
)

// pingPong is raw TCP to the peer: a call writes request bytes and reads reply
// bytes. It is what no protocol can beat.
func pingPong(ctx context.Context, addr string, request, reply int) (call func() error, stop func(), err error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	var sizes [8]byte
	binary.LittleEndian.PutUint32(sizes[:], uint32(request))
	binary.LittleEndian.PutUint32(sizes[4:], uint32(reply))
	if _, err := c.Write(sizes[:]); err != nil {
		c.Close()
		return nil, nil, err
	}
	out, in := make([]byte, request), make([]byte, reply)
	call = func() error {
		if _, err := c.Write(out); err != nil {
			return err
		}
		_, err := io.ReadFull(c, in)
		return err
	}
	return call, func() { c.Close() }, nil
}

// pong is the other end of pingPong.
func pong(c net.Conn) {
	defer c.Close()
	var sizes [8]byte
	if _, err := io.ReadFull(c, sizes[:]); err != nil {
		return
	}
	in, out := make([]byte, binary.LittleEndian.Uint32(sizes[:])), make([]byte, binary.LittleEndian.Uint32(sizes[4:]))
	for {
		if _, err := io.ReadFull(c, in); err != nil {
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// frameBytes is the length of a WebSocket frame (RFC 6455, section 5.2).
func frameBytes(payload int, masked bool) int {
	n := 2 + payload
	switch {
	case payload > 65535:
		n += 8
	case payload > 125:
		n += 2
	}
	if masked {
		n += 4
	}
	return n
}
