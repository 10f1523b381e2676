package calibrate

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/scenarios"
)

// light is a testbed with little traffic, which runs fast.
func light(t *testing.T) testbed.Config {
	t.Helper()
	s, err := scenarios.Parse([]byte(`plant = "testbed"
[testbed]
warmup_s = 1
[[testbed.load]]
kind = "tcp"
object_kb = 20
think_s = 0.2
pattern = { n = 1 }
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := CanVary(s.Testbed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// against is a search whose recordings are what a configuration emulates.
func against(t *testing.T, c testbed.Config, tries int) *Search {
	t.Helper()
	s := &Search{Tries: tries, Seconds: 120, Seed: 3, limits: []int{32, 64}, real: map[int]selection.Table{}}
	for _, l := range s.limits {
		rows, _, err := s.emulate(t.Context(), c, l)
		if err != nil {
			t.Fatal(err)
		}
		s.real[l] = rows
	}
	return s
}

// The configuration that the recordings were made with is at no distance from them.
func TestItselfIsAtNoDistance(t *testing.T) {
	c := light(t)
	r, err := against(t, c, 0).Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Fit.Features) < 8 {
		t.Fatalf("%d columns were compared", len(r.Fit.Features))
	}
	for _, f := range r.Fit.Features {
		if f.KS != 0 { // autocorrelations are of other windows of the rows
			t.Errorf("%+v: the rows are the same", f)
		}
	}
}

// A search begins beside the truth and comes nearer; equal seeds find equal
// parameters; what it finds is a scenario.
func TestSearchComesNearer(t *testing.T) {
	truth := light(t)
	far := light(t)
	far.Ports[0].PPS *= 2
	done := 0
	s := against(t, truth, 12)
	s.Done = func() { done++ }
	a, err := s.Run(t.Context(), far)
	if err != nil {
		t.Fatal(err)
	}
	if !(a.Fit.Loss < a.Before) || done == 0 {
		t.Errorf("loss %v after %d tries, before %v", a.Fit.Loss, done, a.Before)
	}
	b, err := s.Run(t.Context(), far)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.Found(), b.Found()) {
		t.Errorf("%v and %v", a.Found(), b.Found())
	}
	file := filepath.Join(t.TempDir(), "found.toml")
	if err := a.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	got, err := scenarios.Load(file)
	if err != nil || got.Testbed.Ports[0].PPS != a.Found()["port[0].pps"] {
		t.Errorf("%v %v", got.Testbed.Ports, err)
	}
	var text strings.Builder
	if err := a.WriteText(&text); err != nil || !strings.HasPrefix(text.String(), "loss ") || !strings.Contains(text.String(), "port[0].pps ") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// A try changes one to three parameters, within their bounds, and never the
// configuration that it began from.
func TestVary(t *testing.T) {
	c := light(t)
	before := (&Result{Config: c}).Found()
	s := &Search{Seed: 1}
	for k := range 200 {
		next := (&Result{Config: s.vary(c, k, 2)}).Found()
		changed := 0
		for _, knob := range knobs {
			x, ok := next[knob.name]
			if !ok {
				continue
			}
			if x != before[knob.name] {
				changed++
				if x < knob.low || x > knob.high {
					t.Errorf("try %d: %s is %v, outside %v…%v", k, knob.name, x, knob.low, knob.high)
				}
			}
		}
		if changed > 4 { // three, and an amplitude that its mean bounds
			t.Errorf("try %d changes %d parameters", k, changed)
		}
	}
	if after := (&Result{Config: c}).Found(); !reflect.DeepEqual(before, after) {
		t.Errorf("the first configuration became %v", after)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	var s Search
	if err := s.Open(dir); !errors.Is(err, ErrNoRecordings) {
		t.Error(err)
	}
	for _, name := range []string{"real_64.csv", "real_8.csv", "real_x.csv", "synth_32.csv"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("deq_timedelta1,Buffer\n1,2\n3,4\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = Search{}
	if err := s.Open(dir); err != nil || !reflect.DeepEqual(s.limits, []int{8, 64}) {
		t.Errorf("limits %v (%v), want 8 and 64", s.limits, err)
	}
	if math.IsNaN(s.real[8].Values[0]) {
		t.Error("nothing was read")
	}
}
