//go:build unix

package testkit

import (
	"syscall"
	"testing"
	"time"
)

// PerOp measures a benchmark by processor time, which other load on a machine
// disturbs less than the wall clock. It runs body once, to warm up, then as often as b asks, and reports the
// processor time of the whole process per run as cpu-ns/op, and allocations.
// It gives that time in seconds.
func PerOp(b *testing.B, body func()) float64 {
	body()
	b.ReportAllocs()
	b.ResetTimer()
	from := process(b)
	for b.Loop() {
		body()
	}
	perOp := float64(process(b)-from) / float64(b.N)
	b.ReportMetric(perOp, "cpu-ns/op")
	return perOp / 1e9
}

// process is the processor time of this process so far.
func process(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Peak reports macs multiply-adds in seconds as GFLOP/s, and as share of what
// the core can do: two vectors of so many lanes a cycle; 0 lanes are unknown.
func Peak(b *testing.B, macs, seconds float64, lanes int) {
	b.ReportMetric(2*macs/seconds/1e9, "GFLOP/s")
	if lanes > 0 {
		b.ReportMetric(100*macs/seconds/(2*float64(lanes)*clock(b)), "%peak")
	}
}

// clock is the core's cycles per second of processor time, by a chain of
// multiplications that take 3 cycles each on amd64.
func clock(b *testing.B) float64 {
	const n = 10_000_000
	x := uint64(b.N)
	from := process(b)
	for range n {
		x *= 0x9E3779B97F4A7C15
	}
	if x == 1 {
		b.Fatal("an odd power is 1")
	}
	return 3 * n / (process(b) - from).Seconds()
}
