package timegan

import (
	"encoding/json"
	"testing"
)

// Each phase reports the losses that it trains by, and no others.
func TestProgressByPhase(t *testing.T) {
	l := Losses{R: 1, S: 2, U: 3, V: 4, D: 5, C: 6, K: 7}
	for _, c := range []struct {
		phase        Phase
		text, losses string
	}{
		{Embedding, "R 1.0000", `{"R":1}`},
		{Supervised, "S 2.0000", `{"S":2}`},
		{Joint, "R 1.0000 S 2.0000 U 3.000 V 4.0000 D 5.000", `{"D":5,"R":1,"S":2,"U":3,"V":4}`},
	} {
		p := Progress{Phase: c.phase, Done: 3, Total: 9, Losses: l}
		if want := c.phase.String() + " " + c.text; p.String() != want {
			t.Errorf("%q, want %q", p, want)
		}
		got, err := json.Marshal(p.Fields())
		if want := `{"done":3,"losses":` + c.losses + `,"phase":"` + c.phase.String() + `","total":9}`; err != nil || string(got) != want {
			t.Errorf("%s, want %s (%v)", got, want, err)
		}
	}
}
