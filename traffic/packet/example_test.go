package packet_test

import (
	"fmt"
	"net/netip"

	"github.com/planegym/planegym/traffic/packet"
)

// Build a UDP packet with its checksums, and read it back.
func Example() {
	out := packet.Packet{
		Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"),
		TTL: 64, Proto: packet.UDP, SrcPort: 40000, DstPort: 53, Payload: []byte("query"),
	}
	b, err := out.Append(nil)
	if err != nil {
		panic(err)
	}
	var in packet.Packet
	if err := in.Decode(b); err != nil {
		panic(err)
	}
	fmt.Printf("%d bytes: %v to %v port %d, %q\n", len(b), in.Src, in.Dst, in.DstPort, in.Payload)
	fmt.Println("checksums good:", in.L3 == packet.Good && in.L4 == packet.Good)
	// Output:
	// 33 bytes: 10.0.0.1 to 10.0.0.2 port 53, "query"
	// checksums good: true
}
