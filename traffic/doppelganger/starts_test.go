package doppelganger

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// Each pass over the trace has as many sessions in each chunk as training, with training's
// pauses in another order; sessions come in order, and the first of all starts when training's does.
func TestStarts(t *testing.T) {
	set := &traffic.Set{Of: exchanges(1).Of}
	at := 3.
	key := rng.Key{Seed: 9, Purpose: rng.Bootstrap}
	for i := range 300 {
		x := exchanges(1).Sessions[0]
		x.Start = at
		set.Sessions = append(set.Sessions, x)
		at += key.Float64(uint32(i)) * float64(1+i/100*10) // ever rarer
	}
	k, err := newCodec(Config{}.withDefaults(), set)
	if err != nil {
		t.Fatal(err)
	}
	counts := func(starts []float64) (n [10]int, pauses []float64) {
		for i, x := range starts {
			n[k.chunk(x)]++
			if i > 0 && k.chunk(x) == k.chunk(starts[i-1]) {
				pauses = append(pauses, x-starts[i-1])
			}
		}
		slices.Sort(pauses)
		return n, pauses
	}
	var train []float64
	for _, s := range set.Sessions {
		train = append(train, s.Start)
	}
	want, wantPauses := counts(train)
	other := 0
	for pass := range 7 {
		var starts []float64
		for i := range 300 {
			starts = append(starts, k.start(4, 300*pass+i))
			if off := starts[i] - float64(pass)*k.Span*10 - train[i]; off > 1e-6 || off < -1e-6 {
				other++
			}
		}
		got, pauses := counts(starts)
		if got != want {
			t.Errorf("pass %d: %v sessions in chunks, training has %v", pass, got, want)
		}
		for i, x := range pauses {
			if d := x - wantPauses[i]; d > 1e-6 || d < -1e-6 {
				t.Fatalf("pass %d: pause %d of the ordered is %v, training's %v", pass, i, x, wantPauses[i])
			}
		}
		if !slices.IsSorted(starts) {
			t.Errorf("pass %d: sessions are out of order", pass)
		}
	}
	if k.start(4, 0) != 3 {
		t.Errorf("the first starts at %v, training's at 3 s", k.start(4, 0))
	}
	if other < 1000 {
		t.Errorf("only %d of 2,100 starts are not training's own", other)
	}
	// Two sessions for each start that is held: between them, evenly.
	k.Labels[0] *= 2
	k.indexStarts()
	if a, b, c := k.start(4, 10), k.start(4, 11), k.start(4, 12); math.Abs((b-a)-(c-b)) > 1e-9 {
		t.Errorf("starts %v, %v, %v", a, b, c)
	}
}
