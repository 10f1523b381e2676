package inventory

import (
	"math"
	"testing"

	"github.com/planegym/planegym/internal/rng"
)

// metered plays a port for some seconds: 1,600 packets/s offered at random
// times, a token bucket of rate packets/s and burst limit, probes that pass by
// it, and a queue of 256 that serves service packets/s. It gives the largest
// number of packets in the queue during the last ten seconds.
//
// The queue is BMv2's (send = max(now, last + 1/service)), the meter a
// two-colour marker (RFC 2697 without an excess burst).
func metered(rate, limit, service int64, probes, seconds float64) int {
	const offered, native = 1600, 256
	key := rng.Key{Seed: 7, Purpose: rng.Backoff}
	tokens, last := float64(limit), 0.0
	var sends []float64 // of the packets in the queue
	lastSend, deepest := 0.0, 0
	push := func(now float64) {
		for len(sends) > 0 && sends[0] <= now {
			sends = sends[1:]
		}
		if len(sends) < native {
			lastSend = math.Max(now, lastSend+1/float64(service))
			sends = append(sends, lastSend)
		}
		if now > seconds-10 {
			deepest = max(deepest, len(sends))
		}
	}
	packet, probe := 0.0, 0.0
	for n := uint32(0); math.Min(packet, probe) < seconds; {
		if probe <= packet {
			push(probe)
			probe += 1 / probes
			continue
		}
		tokens = math.Min(float64(limit), tokens+(packet-last)*float64(rate))
		if last = packet; tokens >= 1 {
			tokens--
			push(packet)
		}
		n++
		packet += -math.Log(1-key.Float64(n)) / offered
	}
	return deepest
}

// The rate that check recommends holds the limit with probes in it; what the
// port serves does not.
func TestMeterRate(t *testing.T) {
	for _, limit := range []int64{32, 64, 128} {
		for _, probes := range []float64{1, 25, 100} {
			if got := metered(MeterRate(1000, probes), limit, 1000, probes, 120); got > int(limit)+3 {
				t.Errorf("limit %d, %v probes/s, rate %d: queue of up to %d", limit, probes, MeterRate(1000, probes), got)
			}
			if got := metered(1000, limit, 1000, probes, 120); got <= int(limit)+3 {
				t.Errorf("limit %d, %v probes/s, rate 1000: queue of up to %d: this model misses the fault", limit, probes, got)
			}
		}
	}
	// As measured: 950 of 1,000 holds with a few probes/s.
	if r := MeterRate(1000, 20); r != 950 {
		t.Errorf("rate %d", r)
	}
}
