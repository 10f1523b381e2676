//go:build unix

package testbed

import (
	"syscall"
	"testing"
	"time"
)

// user is the time that this process spent computing: a shared machine
// inflates what the clock says.
func user(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano())
}

// The default testbed, an emulated hour an iteration: user seconds an hour,
// packets per hour and packet-hops (one enqueue and departure) per user second.
func BenchmarkHour(b *testing.B) {
	p, err := Config{}.compile()
	if err != nil {
		b.Fatal(err)
	}
	var hops, packets uint64
	from := user(b)
	for i := range b.N {
		s := newSim(p, uint64(i), limitsOf(p, 64), 1, -1)
		s.seconds(3600)
		hops, packets = hops+s.hops, packets+s.ended
	}
	spent := (user(b) - from).Seconds()
	b.ReportMetric(spent/float64(b.N), "user-s/op")
	b.ReportMetric(float64(packets)/float64(b.N)/1e6, "Mpackets/op")
	b.ReportMetric(float64(hops)/spent/1e6, "Mhops/user-s")
}

// A row of an environment from its snapshot.
func BenchmarkSnapshot(b *testing.B) {
	t, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	t.rows = []*sim{newSim(t.plan, 1, limitsOf(t.plan, 64), 1, -1)}
	t.rows[0].seconds(30)
	var state []byte
	for b.Loop() {
		if state, err = t.Snapshot(0, state[:0]); err != nil {
			b.Fatal(err)
		}
		if err := t.Restore(0, state); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(state)), "bytes")
}
