package flows_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/packet"
)

// Make a session of a captured query and its answer, which are the two steps of
// one flow.
func ExampleBuilder() {
	client, server := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	query := packet.Packet{Src: client, Dst: server, TTL: 64, Proto: packet.UDP, SrcPort: 40000, DstPort: 53, Payload: make([]byte, 30)}
	answer := packet.Packet{Src: server, Dst: client, TTL: 64, Proto: packet.UDP, SrcPort: 53, DstPort: 40000, Payload: make([]byte, 90)}

	const rawIP = 101 // link type of packets that begin with an IP header
	b := flows.NewBuilder(flows.Options{Label: "dns"})
	for i, p := range []packet.Packet{query, answer} {
		data, err := p.Append(nil)
		if err != nil {
			panic(err)
		}
		if err := b.Add(time.Unix(int64(i), 0), rawIP, data); err != nil {
			panic(err)
		}
	}
	set := b.Set()
	r, err := flows.NewReader(set.Schema())
	if err != nil {
		panic(err)
	}
	s := &set.Sessions[0]
	for i := range r.Len(s) {
		a := r.At(s, i)
		fmt.Printf("down %v, %d bytes, %v s later\n", a.Down, a.Size, a.Gap)
	}
	// Output:
	// down false, 30 bytes, 0 s later
	// down true, 90 bytes, 1 s later
}
