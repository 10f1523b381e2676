package compile

import (
	"context"
	"testing"
	"time"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/store"
)

// BenchmarkPackets compiles connections of 40 packets, overlapping, and reports
// packets a second.
func BenchmarkPackets(b *testing.B) {
	s := &traffic.Set{Of: flows.Schema(nil)}
	for i := range 500 {
		x := traffic.Session{Label: -1, Start: float64(i) * .01, Meta: []float64{0, 0, 443, float64(i % 50), float64(i % 7), 8, 1, 2}}
		add := func(a flows.Action) { x.Steps = a.Append(x.Steps) }
		add(flows.Action{Flags: flows.Syn})
		add(flows.Action{Down: true, Flags: flows.Syn, Gap: .02})
		add(flows.Action{Flags: flows.Ack, Gap: .001})
		for k := range 37 {
			add(flows.Action{Down: k%3 > 0, Size: 1 + k*40%1448, Flags: flows.Push, Gap: .01})
		}
		s.Sessions = append(s.Sessions, x)
	}
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		r, err := Packets(context.Background(), &s.Of, store.All(s), Options{}, func(time.Time, []byte) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		packets += r.Packets
	}
	b.ReportMetric(float64(packets)/b.Elapsed().Seconds(), "packets/s")
}
