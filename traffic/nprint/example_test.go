package nprint_test

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/packet"
)

// A packet becomes a row of bits, and the row becomes the packet's headers.
func ExampleRow() {
	p := packet.Packet{
		Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"),
		TTL: 64, Proto: packet.TCP, SrcPort: 40000, DstPort: 80, Flags: packet.SYN, Window: 65535,
	}
	b, err := p.Append(nil)
	if err != nil {
		panic(err)
	}
	var row nprint.Row
	if err := row.Encode(b); err != nil {
		panic(err)
	}
	headers, err := row.Decode()
	if err != nil {
		panic(err)
	}
	fmt.Println(nprint.Width, "cells, the first ones the version, 4:", row[:4])
	fmt.Println("headers alike:", bytes.Equal(headers, b))
	// Output:
	// 1408 cells, the first ones the version, 4: [0 1 0 0]
	// headers alike: true
}
