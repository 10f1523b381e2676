package telemetry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		t    int
		test bool
	}{{0, false}, {299, false}, {300, true}, {399, true}, {400, false}, {699, false}, {700, true}, {799, true}, {800, false}} {
		if telemetry.Test.Holds(c.t) != c.test || telemetry.Train.Holds(c.t) == c.test || !telemetry.All.Holds(c.t) {
			t.Errorf("%d s: test is %v", c.t, !c.test)
		}
	}
}

func TestHoldsOut(t *testing.T) {
	of := func(n int) telemetry.Recording {
		d, err := telemetry.NewDataset([]telemetry.Field{{Name: "lbo_s", Unit: "s"}}, 32, time.UnixMilli(0), make([]float32, n), make([]bool, n))
		if err != nil {
			t.Fatal(err)
		}
		return telemetry.Recording{Limit: 32, Data: d}
	}
	if !telemetry.HoldsOut([]telemetry.Recording{of(400), of(900)}) || telemetry.HoldsOut([]telemetry.Recording{of(900), of(399)}) {
		t.Error("400 s have a test block, 399 s do not")
	}
}

func TestWindows(t *testing.T) {
	for _, c := range []struct {
		split     telemetry.Split
		n, length int
		want      []int
	}{
		{telemetry.All, 5, 3, []int{0, 1, 2}},
		{telemetry.All, 3, 3, []int{0}},
		{telemetry.All, 2, 3, nil},
		{telemetry.All, 5, 0, nil},
		{telemetry.Train, 500, 299, []int{0, 1}},
		{telemetry.Train, 500, 300, []int{0}},
		{telemetry.Train, 500, 301, nil},
		{telemetry.Test, 3600, 99, []int{300, 301, 700, 701, 1100, 1101, 1500, 1501, 1900, 1901, 2300, 2301, 2700, 2701, 3100, 3101, 3500, 3501}},
		{telemetry.Test, 399, 100, nil},
		{telemetry.Test, 400, 100, []int{300}},
		{telemetry.Test, 3600, 101, nil},
	} {
		if got := c.split.Windows(c.n, c.length); !slices.Equal(got, c.want) {
			t.Errorf("%v, %d of %d s: %v, want %v", c.split, c.length, c.n, got, c.want)
		}
	}
}

// TestWindowsAreAll compares with the definition: the starts of a split are
// those whose every second it holds.
func TestWindowsAreAll(t *testing.T) {
	for _, s := range []telemetry.Split{telemetry.All, telemetry.Train, telemetry.Test} {
		for _, length := range []int{1, 24, 50, 100} {
			var want []int
			for start := 0; start+length <= 1030; start++ {
				all := true
				for i := range length {
					b := (start + i) / 100
					all = all && (s == telemetry.All || (b%4 == 3) == (s == telemetry.Test))
				}
				if all {
					want = append(want, start)
				}
			}
			if got := s.Windows(1030, length); !slices.Equal(got, want) {
				t.Errorf("%v windows of %d s: %d, want %d", s, length, len(got), len(want))
			}
		}
	}
}
