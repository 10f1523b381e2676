package closedloop

import (
	"slices"
	"testing"
)

// With played, the seconds since each level was last seen are the last inputs, counted by
// hand, changes of the load or not; without it there are no such inputs.
func TestPlayed(t *testing.T) {
	r := toy(5, 700, 40, false)
	data := toys(2, 700, 40, false)
	for _, played := range []bool{false, true} {
		k, _, err := newCodec(Config{Played: played, Regimes: 2}.withDefaults(), data)
		if err != nil {
			t.Fatal(err)
		}
		regimes := make([]uint8, r.Data.Len())
		for s := range regimes {
			regimes[s] = uint8(s / 100 % 2)
		}
		d := k.numbersIn()
		if n := k.playedIn(); n != map[bool]int{true: 2}[played] {
			t.Fatalf("played %v: %d inputs", played, n)
		}
		if !played {
			continue
		}
		track := k.encode(r, regimes)
		since := []float64{longAgo, longAgo}
		for s := range r.Data.Len() {
			want := []float32{since01(since[0]), since01(since[1])}
			if got := track.x[(s+1)*d-2 : (s+1)*d]; !slices.Equal(got, want) {
				t.Fatalf("second %d: %v, want %v", s, got, want)
			}
			kbps, _ := r.Data.At(s, 3)
			for l := range since {
				since[l] = min(since[l]+1, longAgo)
			}
			since[map[float32]int{639: 0, 3312: 1}[kbps]] = 0
		}
	}
}
