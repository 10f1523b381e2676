package queues

import (
	"math"
	"testing"

	"github.com/planegym/planegym/telemetry"
)

// TestRewardTakesTheLadder: of five rungs that share two frame rates the top
// pays 1, those between .5, and bitrate counts up to the ladder's own top.
func TestRewardTakesTheLadder(t *testing.T) {
	l := telemetry.NewLadder(
		telemetry.Quality{FPS: 30, Kbps: 6000}, telemetry.Quality{FPS: 24, Kbps: 300}, telemetry.Quality{FPS: 24, Kbps: 800},
		telemetry.Quality{FPS: 30, Kbps: 1500}, telemetry.Quality{FPS: 30, Kbps: 3000},
	)
	r, err := Reward{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fps, kbps, want float32
	}{{24, 300, .1}, {24, 800, .5}, {30, 1500, .5}, {30, 3000, .5}, {30, 6000, 1}} {
		var s rewardState
		s.reset(player{LBO: 5, FPS: c.fps, Kbps: c.kbps})
		if got := r.pay(&s, player{LBO: 6, FPS: c.fps, Kbps: c.kbps}, l); got != c.want {
			t.Errorf("%v/s, %v kbit/s: %v, want %v", c.fps, c.kbps, got, c.want)
		}
	}
	q, err := Reward{Name: "qoe-lin"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if got := float64(q.on(l).Rebuffer); got != 6 || q.on(nil).Rebuffer != q.Rebuffer {
		t.Errorf("a stall of a second costs %v, want 6 as the top earns", got)
	}
	if b := q.on(l).bounds(4, l); b[1] != 6 || math.Abs(b[0]+30) > 1e-9 {
		t.Errorf("bounds %v, want -30 and 6", b)
	}
	var s rewardState
	s.reset(player{Kbps: 6000})
	if got := q.on(l).pay(&s, player{Kbps: 6000}, l); got != 6 {
		t.Errorf("6 Mbit/s earn %v", got)
	}
}
