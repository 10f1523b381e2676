package structured

import (
	"context"
	"encoding/json"
	"flag"
	"path/filepath"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/telemetry"
)

var freeze = flag.Bool("freeze", false, "write testdata/frozen.json anew")

// A fit to two hours of the world and its rollouts give the numbers that they gave before:
// what is read off the recordings, tables, networks, and three rows second by second, whose
// limits change.
func TestFrozen(t *testing.T) {
	all, _ := recordings(2)
	c := Config{Updates: 30, Knots: 9, Hidden: 6}
	c.Ranks.Hidden, c.Ranks.Batch, c.Ranks.Window, c.Ranks.Embed, c.Ranks.Super, c.Ranks.Joint = 4, 8, 8, 10, 5, 10
	e, be := backend(t)
	var steps []string
	m, err := Fit(context.Background(), c, e, be, all, func(p Progress) {
		if !slices.Contains(steps, p.What) {
			steps = append(steps, p.What)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var described map[string]any
	if err := json.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	delete(described, "config") // has its own tests
	got := map[string]any{"model": described, "steps": steps}
	tensors := map[string]any{}
	for _, x := range m.tensors() {
		tensors[x.Name] = []any{x.Shape, x.Data}
	}
	got["tensors"] = tensors
	s := simulator(t, m, 3)
	rows := []int{0, 1, 2}
	if err := s.Reset(rows, []uint64{5, 6, 7}); err != nil {
		t.Fatal(err)
	}
	shown := map[string][][]float32{}
	var w telemetry.Window
	for step, limit := range [][]int32{{32, 64, 128}, {128, 32, 48}, {100, 128, 32}} {
		w.Size(3, 60, len(fields))
		if err := s.Step(context.Background(), rows, limit, &w); err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			v, _ := w.Row(i)
			for second := range slices.Chunk(v, len(fields)) {
				name := string(rune('a'+i)) + string(rune('0'+step))
				shown[name] = append(shown[name], slices.Clone(second))
			}
		}
	}
	w.Size(3, 600, len(fields)) // in which the load changes
	if err := s.Step(context.Background(), rows, []int32{64, 128, 32}, &w); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		v, _ := w.Row(i)
		shown["later"] = append(shown["later"], slices.Clone(v[len(v)-2*len(fields):]))
	}
	got["shown"] = shown
	testkit.Frozen(t, filepath.Join("testdata", "frozen.json"), got, 1e-5, *freeze)
}
