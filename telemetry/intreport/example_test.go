package intreport_test

import (
	"fmt"

	"github.com/planegym/planegym/telemetry/intreport"
)

// A switch reports by INT-XD, and the report is read.
func Example() {
	cfg := intreport.Config{}
	payload, err := intreport.Append(nil, cfg, &intreport.Report{
		Format: intreport.V20, Node: 3, Seq: 17,
		Hops: []intreport.Hop{{Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasLatency, Switch: 3, Queue: 1, Depth: 42, Latency: 1500}},
	})
	if err != nil {
		panic(err)
	}
	d, err := intreport.NewDecoder(cfg)
	if err != nil {
		panic(err)
	}
	err = d.Report(payload, func(r *intreport.Report) {
		for _, h := range r.Hops {
			fmt.Println(r.Format, "number", r.Seq, "of switch", h.Switch, "depth", h.Depth, "latency", h.Latency, "ns")
		}
	})
	fmt.Println(err)
	fmt.Println(d.Report(payload[:20], func(*intreport.Report) {}))
	// Output:
	// report v2.0 number 17 of switch 3 depth 42 latency 1500 ns
	// <nil>
	// intreport: report v2.0: byte 8: Report Length: 12: want 20 bytes
}
