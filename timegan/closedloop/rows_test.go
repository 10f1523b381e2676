package closedloop

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// stirred is a small model whose network has learnt next to nothing, with weights that make
// its state matter.
func stirred(t *testing.T, c Config, r telemetry.Recording) *Model {
	t.Helper()
	m := fit(t, c, []telemetry.Recording{r}, FitOptions{})
	for _, x := range m.net.Tensors("") {
		if data, ok := x.Data.([]float32); ok {
			for i := range data {
				data[i] *= 4
			}
		}
	}
	return m
}

// A row that is reset is a new one, whatever was simulated in it before; one that is restored
// goes on as the one that was saved, and its state is that state.
func TestResetAndRestoreAreWhole(t *testing.T) {
	m := stirred(t, Config{Hidden: 6, Updates: 3, Window: 16, Batch: 2, Regimes: 2, Rate: .5}, rich(2, 300, false))
	s, err := NewSimulator(2, m, backend(t))
	if err != nil {
		t.Fatal(err)
	}
	var w telemetry.Window
	play := func(row int, limit int32) []float32 {
		t.Helper()
		w.Size(1, 40, len(m.Fields()))
		if err := s.Step(context.Background(), []int{row}, []int32{limit}, &w); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(w.Values)
	}
	begin := func(row int, seed uint64) {
		t.Helper()
		if err := s.Reset([]int{row}, []uint64{seed}); err != nil {
			t.Fatal(err)
		}
	}
	begin(0, 4)
	want := play(0, 64)
	state, err := s.Snapshot(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	after := play(0, 128)
	begin(1, 9)
	play(1, 32)
	if err := s.Restore(1, state); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Snapshot(1, nil); err != nil || !bytes.Equal(again, state) {
		t.Errorf("the state of a restored row is another one (%v)", err)
	}
	if got := play(1, 128); !slices.Equal(got, after) {
		t.Error("a restored row goes another way")
	}
	begin(1, 4)
	if got := play(1, 64); !slices.Equal(got, want) {
		t.Error("a row that was reset shows what was before")
	}
}

// Recordings without a player have a model too: of queues alone, without a buffer and its
// knots, in one regime; it is saved, read and simulated.
func TestQueuesAlone(t *testing.T) {
	from := rich(3, 200, false)
	var fields []telemetry.Field
	var values []float32
	var valid []bool
	keep := []int{5, 7}
	for _, j := range keep {
		fields = append(fields, from.Data.Fields()[j])
	}
	for s := range from.Data.Len() {
		for _, j := range keep {
			v, ok := from.Data.At(s, j)
			values, valid = append(values, v), append(valid, ok)
		}
	}
	r := telemetry.Recording{Data: must(telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)), Limits: from.Limits}
	m := fit(t, Config{Hidden: 3, Updates: 2, Window: 16, Batch: 2, Regimes: 1}, []telemetry.Recording{r}, FitOptions{})
	if k := m.codec; k.Buffer != -1 || k.Knots != nil || k.Full != nil || k.Levels != 0 || k.Load.K != 1 || m.Regimes() != 1 || len(k.Heads) != 2 {
		t.Errorf("buffer %d, knots %v, full %v, %d levels, %d regimes", k.Buffer, k.Knots, k.Full, k.Levels, k.Load.K)
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Decode(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	one, two := run(t, m, []uint64{1}, []int32{32}, 30), run(t, again, []uint64{1}, []int32{32}, 30)
	if !slices.Equal(one[0], two[0]) {
		t.Error("the model that was read plays otherwise")
	}
	for i := 0; i < len(one[0]); i += 2 {
		if depth, wait := one[0][i], one[0][i+1]; depth < 0 || depth > 128 || wait < 0 {
			t.Errorf("depth %v, wait %v", depth, wait)
		}
	}
	if !IsCheckpoint(bytes.NewReader(b.Bytes()), int64(b.Len())) || IsCheckpoint(bytes.NewReader(nil), 0) {
		t.Error("what a checkpoint is")
	}
}
