package rates_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/rates"
)

func packets(start float64, actions ...flows.Action) traffic.Session {
	s := traffic.Session{Label: 0, Start: start, Meta: make([]float64, flows.MetaFields)}
	for _, a := range actions {
		s.Steps = a.Append(s.Steps)
	}
	return s
}

func set() *traffic.Set {
	return &traffic.Set{Of: flows.Schema([]string{"web"}), Sessions: []traffic.Session{
		packets(10, flows.Action{Size: 100}, flows.Action{Down: true, Size: 1000, Gap: .015}, flows.Action{Down: true, Size: 500, Gap: .001}, flows.Action{Size: 7, Gap: 5}),
		packets(10.5, flows.Action{Size: 40}),
	}}
}

// Bytes fall into the tick of their packet; what comes after the last tick is
// counted.
func TestFlows(t *testing.T) {
	s, left, err := rates.Flows(set(), rates.Options{Ticks: 4})
	if err != nil {
		t.Fatal(err)
	}
	if left != 7 || s.Len() != 2 || !slices.Equal(s.Sessions[0].Steps, []float64{100, 0, 0, 1500, 0, 0, 0, 0}) {
		t.Errorf("left %v, series %v", left, s.Sessions)
	}
	if err := s.Valid(); err != nil {
		t.Error(err)
	}
}

// Windows hold all sessions of their time, and no byte is lost.
func TestWindows(t *testing.T) {
	s, left, err := rates.Windows(set(), "camera", rates.Options{Ticks: 4, Tick: .5})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.
	for _, x := range s.Sessions {
		for _, b := range x.Steps {
			sum += b
		}
	}
	if sum != 1647 || left != 0 || s.Len() != 2 || s.Sessions[0].Start != 10 || s.Sessions[1].Start != 14 ||
		!slices.Equal(s.Sessions[0].Steps, []float64{100, 1500, 40, 0, 0, 0, 0, 0}) {
		t.Errorf("%v bytes in %v", sum, s.Sessions)
	}
	if _, _, err := rates.Flows(s, rates.Options{}); err == nil {
		t.Error("series are taken for packets")
	}
	if _, _, err := rates.Windows(set(), "", rates.Options{Tick: -1}); err == nil {
		t.Error("a negative tick is accepted")
	}
}

// A silence longer than any series loses its bytes by count; fields of other kinds,
// whose values can be anything, are not packets.
func TestImpossible(t *testing.T) {
	far := &traffic.Set{Of: flows.Schema([]string{"web"}), Sessions: []traffic.Session{
		packets(0, flows.Action{Size: 30}, flows.Action{Size: 100, Gap: 1e300}, flows.Action{Down: true, Size: 70}),
	}}
	s, left, err := rates.Flows(far, rates.Options{Ticks: 2})
	if err != nil || left != 170 || !slices.Equal(s.Sessions[0].Steps, []float64{30, 0, 0, 0}) {
		t.Errorf("series %v, left %v, %v", s, left, err)
	}
	s, left, err = rates.Windows(far, "", rates.Options{Ticks: 2})
	if err != nil || left != 170 || s.Len() != 1 || !slices.Equal(s.Sessions[0].Steps, []float64{30, 0, 0, 0}) {
		t.Errorf("windows %v, left %v, %v", s, left, err)
	}
	for field, want := range map[int]string{flows.Gap: "gap is a number, not a gap", flows.Size: "size is a number, not a size"} {
		other := set()
		other.Of.Steps[field].Kind = traffic.Number
		if _, _, err := rates.Flows(other, rates.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// A flow's packets as bytes up and down a tick of 10 ms.
func ExampleFlows() {
	s, left, err := rates.Flows(set(), rates.Options{Ticks: 3})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Sessions[0].Steps, "left:", left)
	// Output: [100 0 0 1500 0 0] left: 7
}
