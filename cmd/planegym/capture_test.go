package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"github.com/planegym/planegym/telemetry/intreport"
)

// capture is a command of the scripts: FILE writes a pcap file of three probes,
// half a second apart, a packet of something else and a probe that was cut.
func capture() {
	if err := os.WriteFile(os.Args[1], captured(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func captured() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint32(b, 2|4<<16)
	for _, v := range []uint32{0, 0, 65536, 1} {
		b = le.AppendUint32(b, v)
	}
	packet := func(n uint32, data []byte) {
		for _, v := range []uint32{1700000000 + n/2, n % 2 * 500000, uint32(len(data)), uint32(len(data))} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, data...)
	}
	var frame []byte
	for n := range uint32(3) {
		r := intreport.Report{Format: intreport.Probe}
		for i := range uint32(3) {
			r.Hops = append(r.Hops, intreport.Hop{
				Has:    intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime | intreport.HasWait,
				Switch: 10 * (3 - i), Depth: 20*n + i, Wait: 1000 * uint64(50+100*n+i), DeqDepth: i,
			})
		}
		var err error
		if frame, err = intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), &r); err != nil {
			panic(err)
		}
		packet(n, frame)
	}
	packet(4, make([]byte, 60))
	packet(4, frame[:len(frame)-1])
	return b
}
