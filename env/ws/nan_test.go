package ws

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"testing"

	"github.com/planegym/planegym/env"
)

// TestStatesAreFinite: no state with a NaN, or a number beyond bounds, at any place
// gets into an environment: the next observations are finite.
func TestStatesAreFinite(t *testing.T) {
	_, url := serve(t, Options{Open: openAny})
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for _, scenario := range []string{"cartpole", "queues"} {
		c := dial(t, url, DialOptions{Scenario: scenario})
		var b env.Batch
		if err := c.Reset(background, nil, []uint64{7}, &b); err != nil {
			t.Fatal(err)
		}
		good, err := c.Snapshot(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		tried, taken := 0, 0
		for at := 0; at+8 <= min(len(good), 200); at += stride {
			for _, bad := range []uint64{math.Float64bits(math.NaN()), math.Float64bits(math.Inf(-1)), uint64(math.Float32bits(float32(math.NaN()))) << 16, math.Float64bits(1e300)} {
				state := append([]byte{}, good...)
				binary.LittleEndian.PutUint64(state[at:], bad)
				tried++
				if err := c.Restore(0, state); err != nil {
					continue
				}
				taken++
				for range 3 {
					if err := c.Step(background, nil, []int32{1}, &b); err != nil {
						break // the state was of a row that was never reset, or the step found it out
					}
					for i, x := range b.Obs {
						if x-x != 0 {
							t.Fatalf("%s: %#x at byte %d: element %d is %v (%s)", scenario, bad, at, i, x, base64.StdEncoding.EncodeToString(state))
						}
					}
					if x := b.Reward[0]; x-x != 0 {
						t.Fatalf("%s: %#x at byte %d: reward %v", scenario, bad, at, x)
					}
				}
			}
		}
		t.Logf("%s: %d of %d altered states were taken", scenario, taken, tried)
		if err := c.Restore(0, good); err != nil {
			t.Error(err)
		}
	}
}
