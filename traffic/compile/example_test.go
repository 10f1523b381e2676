package compile_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/bundled"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/flows"
)

// Write sessions that a model samples as a pcap file, and read it back.
func ExampleWrite() {
	m, err := bundled.Open()
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	var pcap bytes.Buffer
	report, err := compile.Write(ctx, &pcap, m.Schema(), m.Sample(ctx, traffic.Request{N: 5, Seed: 1}), compile.Options{Seed: 1})
	if err != nil {
		panic(err)
	}
	_, counts, err := flows.Read(&pcap, "sampled.pcap", flows.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println("sessions:", report.Sessions)
	fmt.Println("all packets read back:", counts.Packets == report.Packets, "bad checksums:", counts.Bad)
	// Output:
	// sessions: 5
	// all packets read back: true bad checksums: 0
}
