package headers_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/headers"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/packet"
)

// Two packets become one session of header fields, and the session header bits
// again.
func Example() {
	b := headers.NewBuilder(flows.Options{Label: "dns"})
	up := packet.Packet{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.53"), TTL: 64, Proto: packet.UDP, SrcPort: 40000, DstPort: 53, Payload: make([]byte, 30)}
	down := packet.Packet{Src: up.Dst, Dst: up.Src, TTL: 57, Proto: packet.UDP, SrcPort: 53, DstPort: 40000, Payload: make([]byte, 90)}
	for i, p := range []packet.Packet{up, down} {
		ip, err := p.Append(nil)
		if err != nil {
			panic(err)
		}
		const raw = 101 // https://www.tcpdump.org/linktypes.html
		if err := b.Add(time.Unix(int64(i), 0), raw, ip); err != nil {
			panic(err)
		}
	}
	set := b.Set()
	s := &set.Sessions[0]
	for t := range set.Of.Len(s) {
		step := set.Of.Step(s, t)
		fmt.Println(step[flows.Size], "bytes, TTL", step[headers.TTL])
	}
	rows := 0
	if err := headers.Rows(&set.Of, s, 1, 0, func(*nprint.Row) error { rows++; return nil }); err != nil {
		panic(err)
	}
	fmt.Println(rows, "rows")
	// Output:
	// 30 bytes, TTL 64
	// 90 bytes, TTL 57
	// 2 rows
}
