package p4rt

import (
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/sim"
)

// The first election id of a client: the one it is given; unset where it has none;
// after a refusal a draw below the highest that a guard leaves it.
func TestFirstElection(t *testing.T) {
	for _, c := range []struct {
		name      string
		given     Election
		below     Election
		low, high uint64 // of all draws
	}{
		{"none below", Election{}, Election{}, 0, 0},
		{"one below", Election{}, Election{Low: 1}, 0, 0},
		{"two", Election{}, Election{Low: 2}, 1, 1},
		{"a hundred", Election{}, Election{Low: 100}, 1, 99},
		{"the low word", Election{}, Election{Low: math.MaxUint64}, 1, math.MaxUint64},
		{"a high word", Election{}, Election{High: 1}, 1, math.MaxUint64},
		{"a high word and a small low one", Election{}, Election{High: 1, Low: 3}, 1, math.MaxUint64},
	} {
		r := &resolved{Config: Config{Switch: inventory.Switch{Election: c.given}, Below: c.below}}
		if got := r.first(0); got != nil {
			t.Errorf("%s: at first %v, want unset", c.name, got)
		}
		seen, top := map[uint64]bool{}, uint64(0)
		for taken := uint32(1); taken <= 200; taken++ {
			e := r.first(taken)
			if e == nil || e.High != 0 || e.Low < c.low || e.Low > c.high {
				t.Fatalf("%s: %v after %d refusals, want %d…%d", c.name, e, taken, c.low, c.high)
			}
			seen[e.Low], top = true, max(top, e.Low)
		}
		if c.high > 50 && (len(seen) < 50 || top < c.high/2) {
			t.Errorf("%s: %d different draws up to %d of %d…%d", c.name, len(seen), top, c.low, c.high)
		}
	}
	r := &resolved{Config: Config{Switch: inventory.Switch{Election: Election{High: 2, Low: 5}}, Below: Election{Low: 9}}}
	for _, taken := range []uint32{0, 1, 7} {
		if e := r.first(taken); e.High != 2 || e.Low != 5 {
			t.Errorf("given 2:5, after %d refusals %v", taken, e)
		}
	}
}

// Counting needs a port that the inventory has, and an entry.
func TestCountRefuses(t *testing.T) {
	s := serve(t, sim.Config{Personality: sim.Strict})
	c := start(t, config(s, sim.Strict))
	ready(t, c)
	if n, err := c.Count(soon(t), 600); err == nil || !strings.Contains(err.Error(), "600") {
		t.Errorf("port 600 of nine bits: %d, %v", n, err)
	}
	if n, err := c.Count(soon(t), p4.Port(9)); err == nil || !strings.Contains(err.Error(), "9") {
		t.Errorf("a port without an entry: %d, %v", n, err)
	}
}

// Leading zeros go, the last byte stays.
func TestTrim(t *testing.T) {
	for in, want := range map[string]string{"": "", "\x00": "\x00", "\x01": "\x01", "\x00\x00": "\x00", "\x00\x01": "\x01", "\x01\x00": "\x01\x00", "\x00\x00\x02\x00": "\x02\x00"} {
		if got := string(trim([]byte(in))); got != want {
			t.Errorf("%x: %x, want %x", in, got, want)
		}
	}
}
