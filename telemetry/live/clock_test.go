package live

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestClock: the offset is the least difference of late, whatever the delays.
func TestClock(t *testing.T) {
	const s, ms = int64(time.Second), int64(time.Millisecond)
	for _, x := range []struct {
		name  string
		wrap  uint64
		drift float64 // s/s
		most  int64   // error allowed, ns
	}{
		{"64 bits", 0, 0, 3 * ms},
		{"32 bits of ns", 1 << 32, 0, 3 * ms},
		{"48 bits of µs", 1 << 48 * 1000, 0, 3 * ms},
		{"drift", 0, 50e-6, 5 * ms},
		{"drift back", 1 << 32, -50e-6, 5 * ms},
	} {
		t.Run(x.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, 6))
			var c clock
			for i := range int64(20_000) {
				at := i * s / 10 // 2,000 s
				delay := rnd.Int64N(100 * ms)
				if i == 0 {
					delay = 0
				}
				stamp := uint64(at + 7*3600*s + int64(float64(at)*x.drift))
				if x.wrap > 0 {
					stamp %= x.wrap
				}
				got := c.align(at+delay, stamp, x.wrap)
				if got > at+delay {
					t.Fatalf("at %d: %d ns in the future", at, got-at-delay)
				}
				if off := got - at; i > 300 && (off > x.most || off < -x.most) {
					t.Fatalf("second %d: %d ns off", i/10, off)
				}
			}
			if c.resets != 0 {
				t.Errorf("%d resets", c.resets)
			}
		})
	}
	// A clock that starts over, or is set, is followed at once.
	var c clock
	c.align(0, 1e15, 0)
	c.align(s, 1e15+1e9, 0)
	for _, stamp := range []uint64{0, 5e14} {
		if got := c.align(100*s, stamp, 0); got != 100*s {
			t.Errorf("%d", got)
		}
	}
	if c.resets != 2 || c.offset() != 100*s-5e14 {
		t.Errorf("%+v", c)
	}
	// After a long silence the old offset is forgotten.
	c.align(1000*s, 5e14+900e9-5e9, 0)
	if got := c.align(1001*s, 5e14+901e9-5e9, 0); got != 1001*s {
		t.Errorf("%d", got)
	}
}

func TestSequence(t *testing.T) {
	for _, x := range []struct {
		name string
		bits uint8
		seq  []uint32
		want Sequence
	}{
		{"in order", 32, []uint32{5, 6, 7}, Sequence{Received: 3}},
		{"loss", 32, []uint32{5, 9}, Sequence{Received: 2, Lost: 3}},
		{"wrap", 22, []uint32{1<<22 - 2, 1<<22 - 1, 0, 2}, Sequence{Received: 4, Lost: 1}},
		{"wrap of 32", 32, []uint32{1<<32 - 1, 1}, Sequence{Received: 2, Lost: 1}},
		{"reordered", 22, []uint32{1, 3, 4, 2, 5}, Sequence{Received: 5, Reordered: 1}},
		{"reordered over the wrap", 22, []uint32{1<<22 - 2, 0, 1<<22 - 1, 1}, Sequence{Received: 4, Reordered: 1}},
		{"duplicate", 32, []uint32{1, 2, 2, 1, 3}, Sequence{Received: 5, Duplicates: 2}},
		{"never counts", 22, []uint32{0, 0, 0}, Sequence{Received: 3, Duplicates: 2}},
		{"restart", 32, []uint32{100_000, 100_001, 0, 1, 2}, Sequence{Received: 5, Restarts: 1}},
		{"one out of all order", 32, []uint32{100_000, 7, 100_001, 8}, Sequence{Received: 4}},
		{"loss of 64 and one of it late", 32, []uint32{0, 65, 2}, Sequence{Received: 3, Lost: 63, Reordered: 1}},
		{"far ahead is a restart too", 22, []uint32{0, 1 << 21, 1<<21 + 1}, Sequence{Received: 3, Restarts: 1}},
	} {
		s := sequence{Sequence: Sequence{Received: 1}, last: x.seq[0], seen: 1}
		for _, n := range x.seq[1:] {
			s.count(n, x.bits)
		}
		if s.Sequence != x.want {
			t.Errorf("%s: %+v, want %+v", x.name, s.Sequence, x.want)
		}
	}
}

// TestQueue: a full queue lets go of its oldest.
func TestQueue(t *testing.T) {
	q := newQueue(3)
	for i := range byte(5) {
		if over := q.put(time.Unix(int64(i), 0), []byte{i}); over != (i >= 3) {
			t.Errorf("put %d: over %v", i, over)
		}
	}
	q.close()
	var b []byte
	for want := byte(2); ; want++ {
		at, got, ok := q.take(b)
		if !ok {
			if want != 5 {
				t.Errorf("ended before %d", want)
			}
			break
		}
		if len(got) != 1 || got[0] != want || at != time.Unix(int64(want), 0) {
			t.Errorf("%v at %v, want %d", got, at, want)
		}
		b = got
	}
}
