package record

import (
	"math"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
)

// longestBlock is the longest of schedule mixed, in seconds; the shortest is a
// step.
const longestBlock = 240

// switchback draws an action for every block of steps; or, with longest, time is
// cut into stretches of two longest blocks, and in each blocks have a length of
// its own, drawn from 1 to longest, logarithms uniform.
type switchback struct {
	steps   int
	longest int // > 0: blocks differ
	spec    env.Spec
	rows    map[int]*switched
}

type switched struct {
	seed  uint64
	block int
	left  int // steps of the block

	stretch int  // steps left of the stretch
	steps   int  // of its blocks
	turns   bool // two actions take turns in it

	action, before []int32 // in force, and in the block before
}

func (b *switchback) Begin(rows []int, seeds []uint64) {
	if b.rows == nil {
		b.rows = map[int]*switched{}
	}
	for i, seed := range seeds {
		b.rows[env.RowAt(rows, i)] = &switched{seed: seed}
	}
}

func (b *switchback) Act(rows []int, _ []float32, actions []int32) {
	s := len(b.spec.Action)
	for i := range len(actions) / s {
		row := b.rows[env.RowAt(rows, i)]
		if row.left == 0 {
			row.block++
			row.left = b.length(row)
			if b.longest > 0 {
				b.another(row)
			}
		}
		row.left--
		if b.longest > 0 {
			copy(actions[i*s:][:s], row.action)
			continue
		}
		k := rng.Key{Seed: row.seed, A: uint32(row.block - 1), Purpose: rng.Action}
		for j, n := range b.spec.Action {
			actions[i*s+j] = int32(k.Intn(uint32(j), n))
		}
	}
}

// another draws row's next actions: never the ones in force, for a block that
// changes nothing shows nothing of a change. In every other stretch, drawn, two
// actions take turns.
func (b *switchback) another(row *switched) {
	k := rng.Key{Seed: row.seed, A: uint32(row.block - 1), Purpose: rng.Action}
	if row.action == nil {
		for j, n := range b.spec.Action {
			row.action = append(row.action, int32(k.Intn(uint32(j), n)))
		}
		return
	}
	last := slices.Clone(row.action)
	if row.turns && row.before != nil {
		copy(row.action, row.before)
	} else {
		for j, n := range b.spec.Action {
			if n > 1 {
				row.action[j] = (row.action[j] + 1 + int32(k.Intn(uint32(j), n-1))) % int32(n)
			}
		}
	}
	row.before = last
}

// length is how many steps row's block has: those of its stretch, or what is
// left of it.
func (b *switchback) length(row *switched) int {
	if b.longest == 0 {
		return b.steps
	}
	if row.stretch == 0 {
		row.stretch = 2 * b.longest
		u := rng.Key{Seed: row.seed, A: uint32(row.block - 1), B: 1, Purpose: rng.Action}.Float64(0)
		row.steps = int(math.Round(math.Exp(u * math.Log(float64(b.longest)))))
		row.turns = rng.Key{Seed: row.seed, A: uint32(row.block - 1), B: 1, Purpose: rng.Action}.Float64(1) < .5
		row.before = nil
	}
	n := min(row.steps, row.stretch)
	row.stretch -= n
	return n
}
