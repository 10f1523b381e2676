package testbed

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// TestCallsEndWithTheirContext: a reset or a window that is given up computes no
// further, leaves no row half way, and a reset starts over as if nothing had
// been.
func TestCallsEndWithTheirContext(t *testing.T) {
	warmup := 100000
	tb, err := New(Config{WarmupS: &warmup})
	if err != nil {
		t.Fatal(err)
	}
	limit := []p4.Limit{64, 64, 64}
	var w telemetry.Window
	w.Size(1, 4, len(tb.Columns()))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := tb.Reset(ctx, []int{0}, []uint64{7}, limit, &w); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("reset: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the reset went on for %v", took)
	}
	if err := tb.Advance(t.Context(), []int{0}, limit, &w); err == nil || !strings.Contains(err.Error(), "its last call was stopped") {
		t.Errorf("advance of a row whose reset was stopped: %v", err)
	}
	if _, err := FitScaler(ctx, Config{}, []p4.Limit{32, 64}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("fit: %v", err)
	}

	warmup = 0
	if tb, err = New(Config{WarmupS: &warmup}); err != nil {
		t.Fatal(err)
	}
	if err := tb.Reset(t.Context(), []int{0}, []uint64{7}, limit, &w); err != nil {
		t.Fatal(err)
	}
	want := append([]float32{}, w.Values...)
	var long telemetry.Window
	long.Size(1, 3600, len(tb.Columns()))
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tb.Advance(ctx, []int{0}, limit, &long); !errors.Is(err, context.DeadlineExceeded) {
		t.Skip("this machine emulates an hour in 20 ms")
	}
	if err := tb.Advance(t.Context(), []int{0}, limit, &w); err == nil {
		t.Error("a row that was stopped in a window was advanced")
	}
	if err := tb.Reset(t.Context(), []int{0}, []uint64{7}, limit, &w); err != nil {
		t.Fatal(err)
	}
	for i, x := range w.Values {
		if x != want[i] {
			t.Fatalf("after a stopped window seed 7 begins with %v, want %v", w.Values, want)
		}
	}
}
