package closedloop

import (
	"testing"
)

// Seconds about a change of the load are told apart by whether the player waits:
// its buffer is about as full as it gets at the level that plays.
func TestTurningKnowsAnIdlePlayer(t *testing.T) {
	k, _, err := newCodec(Config{Regimes: 2}.withDefaults(), toys(6, 1500, 40, false))
	if err != nil {
		t.Fatal(err)
	}
	if len(k.Full) != 2 || k.Full[0] < 25 || k.Full[0] > 30 || k.Full[1] < 50 || k.Full[1] > 60 {
		t.Fatalf("the buffer is full at %v, by level: the low one plays up to 30 s, the high one to 60", k.Full)
	}
	seen := map[int32]bool{}
	for _, c := range []struct {
		buffer, kbps float32
		idle         bool
	}{{29, 639, true}, {10, 639, false}, {31, 3312, false}, {60, 3312, true}} {
		m := k.newMoment()
		ok := []bool{true, true, true, true}
		k.observe(m, []float32{10, 4400, c.buffer, c.kbps}, ok, []int32{32})
		if m.turn(1-m.Regime, true); k.idle(m) != c.idle {
			t.Errorf("a buffer of %v s at %v kbit/s: idle is %v", c.buffer, c.kbps, !c.idle)
		}
		m.Left = 1
		turning := k.turning(m)
		if seen[turning] = true; turning < 1 || int(turning) > k.turnings() || (turning-1)%2 == 1 != c.idle {
			t.Errorf("a buffer of %v s at %v kbit/s: turning %d of %d", c.buffer, c.kbps, turning, k.turnings())
		}
	}
	if len(seen) != 2 {
		t.Errorf("one change of the load, idle or not: %v", seen)
	}
}

// A model from before is read as it was: its network has a class for each age and
// none for an idle player, and its means go on.
func TestEarlierCheckpointsAreReadAsTheyWere(t *testing.T) {
	m := fit(t, Config{Hidden: 4, Updates: 1, Window: 16, Batch: 2, Regimes: 2}, toys(2, 300, 40, false), FitOptions{})
	if got, want := m.net.Heads[0].Size, 1+2*2*2*ages; got != want {
		t.Errorf("%d classes of a change, want %d", got, want)
	}
	m.codec.Full, m.codec.Restart = nil, false
	if got, want := m.codec.network(m.Config).Heads[0].Size, 1+2*2*ages; got != want {
		t.Errorf("%d classes of a change in an earlier checkpoint, want %d", got, want)
	}
	if m.codec.tempered(m.codec.Columns[m.codec.Buffer].Head) {
		t.Error("an earlier checkpoint's rows add to the whole of the logits")
	}
}
