package testbed

import (
	"testing"
)

// The default testbed, an emulated hour an iteration.
func BenchmarkHour(b *testing.B) {
	p, err := Config{}.compile()
	if err != nil {
		b.Fatal(err)
	}
	var hops uint64
	for i := range b.N {
		s := newSim(p, uint64(i), limitsOf(p, 64))
		s.seconds(3600)
		hops += s.hops
	}
	b.ReportMetric(float64(hops)/b.Elapsed().Seconds()/1e6, "Mhops/s")
	b.ReportMetric(float64(hops)/float64(b.N)/1e6, "Mhops/op")
}
