package testbed

import (
	"math"

	"github.com/planegym/planegym/internal/rng"
)

// draw is one stream of random numbers. Whatever draws has a stream of its
// own, so that an action moves no number that another source will draw.
type draw struct {
	seed uint64
	who  uint32
	n    uint32 // words taken
	b    [4]uint32
}

func (d *draw) word() uint32 {
	if d.n%4 == 0 {
		d.b = rng.Key{Seed: d.seed, A: d.who, Purpose: rng.Traffic}.Block(d.n / 4)
	}
	d.n++
	return d.b[(d.n-1)%4]
}

// uniform is in (0, 1).
func (d *draw) uniform() float64 { return (float64(d.word()) + .5) * 0x1p-32 }

// exponential has mean 1.
func (d *draw) exponential() float64 { return -math.Log(d.uniform()) }

func (d *draw) normal() float64 {
	r := math.Sqrt(-2 * math.Log(d.uniform()))
	return r * math.Cos(2*math.Pi*d.uniform())
}

// below is in [0, n).
func (d *draw) below(n int64) int64 { return int64(d.uniform() * float64(n)) }
