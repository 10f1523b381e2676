package sweep

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/timegan"
)

func TestParseShard(t *testing.T) {
	for text, want := range map[string][2]int{"1/1": {1, 1}, "2/4": {2, 4}, "4/4": {4, 4}, "0/4": {}, "5/4": {}, "2": {}, "2/": {}, "2/4x": {}, "a/b": {}, "": {}, "-1/2": {}} {
		i, n, err := ParseShard(text)
		if [2]int{i, n} != want || (err == nil) != (want != [2]int{}) {
			t.Errorf("%q: %d/%d, %v", text, i, n, err)
		}
	}
}

// A member that has done a third of what it had left in 10 s has 20 s to go; what it
// did before it was started here does not count.
func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		table := NewTable(&b)
		s := Status{Member: Member{Name: "m"}, State: Running, Best: math.MaxFloat64, Progress: timegan.Progress{Phase: timegan.Joint, Done: 70, Total: 100}}
		table.Report(1, s)
		time.Sleep(10 * time.Second)
		s.Progress.Done, s.Limits, s.M, s.Best = 80, []int{32, 64}, []float64{.5, .25}, .75
		b.Reset()
		table.Report(1, s)
		if want := "m      training  80/100   R 0.0000 S 0.0000 U 0.000 V 0.0000 D 0.000  32: 0.500, 64: 0.250  0.750  20s"; !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
		if !strings.HasPrefix(b.String(), "\x1b[2A\x1b[J") {
			t.Errorf("the table before is not taken off: %q", b.String())
		}
		b.Reset()
		table.Report(1, s)
		if b.Len() > 0 {
			t.Error("drawn again at once")
		}
		NewTable(nil).Report(0, s) // shows nothing
	})
}

func TestStatusFields(t *testing.T) {
	s := Status{Member: Member{Name: "m"}, State: Failed, Error: "no", M: []float64{1}, Best: 1}
	got, err := json.Marshal(s.Fields())
	want := `{"M":[1],"best_M":1,"done":0,"error":"no","losses":{"R":0},"model":"m","phase":"embedding","state":"failed","total":0}`
	if err != nil || string(got) != want {
		t.Errorf("%s, want %s (%v)", got, want, err)
	}
}
