package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// competitor is a set that needs no model, of one table or several draws.
type competitor struct {
	name   string
	tables []selection.Table
}

// competitors are real rows that have not seen the held-out blocks, dealt out in four
// ways:
//
//	block before   each held-out block is the 100 s before it, as they were recorded
//	other hour     the recording of the other limit
//	shuffled       complete rows of the train blocks in random order
//	bootstrap      windows of 50 of them, drawn with replacement
func competitors(real, other selection.Table, draws int) []competitor {
	all := []competitor{
		{"block before", []selection.Table{blockBefore(real)}},
		{"other hour", []selection.Table{filled(other)}},
	}
	complete := train(real)
	for _, c := range []struct {
		name   string
		window int
	}{{"shuffled", 1}, {"bootstrap", 50}} {
		var tables []selection.Table
		for d := range draws {
			tables = append(tables, drawn(complete, real.Rows(), c.window, uint64(d)))
		}
		all = append(all, competitor{c.name, tables})
	}
	return all
}

// published are the sets that came with the recording of a limit. They have seen the
// held-out blocks.
func published(limit int) (all []competitor, err error) {
	dir, err := dataFolder()
	if err != nil {
		return nil, err
	}
	for _, k := range []int{9, 3} {
		t, err := selection.ReadFile(filepath.Join(dir, fmt.Sprintf("peer_models%d_best_modelsum_%d.csv", k, limit)))
		if err != nil {
			return nil, err
		}
		all = append(all, competitor{fmt.Sprintf("models%d (published, fitted to these blocks too)", k), []selection.Table{t}})
	}
	return all, nil
}

// filled is t with every gap the value before it, at the beginning the first one.
func filled(t selection.Table) selection.Table {
	out := selection.Table{Columns: t.Columns, Values: slices.Clone(t.Values)}
	f := len(t.Columns)
	for k := range f {
		last := math.NaN()
		for i := range out.Rows() {
			if v := out.Values[i*f+k]; !math.IsNaN(v) && math.IsNaN(last) {
				last = v
				break
			}
		}
		for i := range out.Rows() {
			if v := out.Values[i*f+k]; !math.IsNaN(v) {
				last = v
			}
			out.Values[i*f+k] = last
		}
	}
	return out
}

// blockBefore is t whose blocks are each the one before; the first is itself.
func blockBefore(t selection.Table) selection.Table {
	whole := filled(t)
	out := selection.Table{Columns: t.Columns}
	for i := range t.Rows() {
		from := i - telemetry.BlockSeconds
		if from < 0 {
			from = i
		}
		out.Values = append(out.Values, whole.Row(from)...)
	}
	return out
}

// train is the complete rows of the blocks that models are fitted to.
func train(t selection.Table) selection.Table {
	out := selection.Table{Columns: t.Columns}
	for i := range t.Rows() {
		if row := t.Row(i); telemetry.Train.Holds(i) && !slices.ContainsFunc(row, math.IsNaN) {
			out.Values = append(out.Values, row...)
		}
	}
	return out
}

// drawn is n rows of windows that begin anywhere.
func drawn(from selection.Table, n, window int, seed uint64) selection.Table {
	out := selection.Table{Columns: from.Columns}
	key := rng.Key{Seed: seed, A: uint32(window), Purpose: rng.Bootstrap}
	f := len(from.Columns)
	for i := 0; out.Rows() < n; i++ {
		at := key.Intn(uint32(i), from.Rows()-window+1)
		rows := min(window, n-out.Rows())
		out.Values = append(out.Values, from.Values[at*f:(at+rows)*f]...)
	}
	return out
}
