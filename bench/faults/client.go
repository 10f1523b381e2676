package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/ws"
)

// Clients: well-behaved ones, and raw ones that say what they like.

// trace is a rollout as numbers: of v, from seed, steps long.
func trace(v env.Vector, seed uint64, steps int, each func(step int) error) ([]float32, error) {
	ctx := context.Background()
	var b env.Batch
	n := v.Num()
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = seed + uint64(i)
	}
	if err := v.Reset(ctx, nil, seeds, &b); err != nil {
		return nil, err
	}
	out := slices.Clone(b.Obs)
	actions := make([]int32, n)
	for k := range steps {
		for i := range actions {
			actions[i] = int32((k + i*3) / 2 % 2)
		}
		if each != nil {
			if err := each(k); err != nil {
				return nil, err
			}
		}
		if err := v.Step(ctx, nil, actions, &b); err != nil {
			return nil, fmt.Errorf("step %d: %w", k, err)
		}
		out = append(out, b.Obs...)
		out = append(out, b.Reward...)
	}
	return out, nil
}

// expected is the rollout without a server.
func expected(n int, seed uint64, steps int) ([]float32, error) {
	v, err := cartpole.New(n, env.NextStep)
	if err != nil {
		return nil, err
	}
	return trace(v, seed, steps, nil)
}

func dial(url string, n int) (*ws.Client, error) {
	return ws.Dial(context.Background(), url, ws.DialOptions{Scenario: "cartpole", NumEnvs: n})
}

// raw is a connection after its handshake, of which only bytes are known.
func raw(addr string) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	if err := upgrade(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func upgrade(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", ws.Path, ws.Protocol)
	if err != nil {
		return err
	}
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if _, err := io.ReadFull(c, one); err != nil {
			return err
		}
		head = append(head, one[0])
	}
	if !bytes.Contains(head, []byte(" 101 ")) {
		return fmt.Errorf("handshake: %.60s", head)
	}
	return nil
}

// say sends a text frame, masked with zeros.
func say(c net.Conn, text string) error {
	b := []byte{0x81}
	if n := len(text); n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	}
	_, err := c.Write(append(append(b, 0, 0, 0, 0), text...))
	return err
}

// hear reads a frame of less than 64 KiB.
func hear(c net.Conn) (op byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	if n == 126 {
		var l [2]byte
		if _, err := io.ReadFull(c, l[:]); err != nil {
			return 0, nil, err
		}
		n = int(l[0])<<8 | int(l[1])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c, payload)
	return h[0] & 15, payload, err
}

const hello = `{"type":"hello","id":0,"client":"faults","version":1,"capabilities":[]}`
