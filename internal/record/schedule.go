package record

import (
	"math"

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

	stretch int // steps left of the stretch
	steps   int // of its blocks
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
		}
		row.left--
		k := rng.Key{Seed: row.seed, A: uint32(row.block - 1), Purpose: rng.Action}
		for j, n := range b.spec.Action {
			actions[i*s+j] = int32(k.Intn(uint32(j), n))
		}
	}
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
	}
	n := min(row.steps, row.stretch)
	row.stretch -= n
	return n
}
