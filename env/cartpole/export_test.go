package cartpole

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/env"
)

// SinCos and PushesAll let the external tests reach what they name.
var (
	SinCos    = sinCos
	PushesAll = pushesAll
)

// ComparePushes pushes carts all at once and one by one.
func ComparePushes(carts [][4]float64, actions []int32) error {
	all := make([]pose, len(carts))
	for i, c := range carts {
		all[i] = pose{c[0], c[1], c[2], c[3]}
	}
	one := slices.Clone(all)
	var got, want env.Batch
	got.Size(len(carts), 4, false)
	want.Size(len(carts), 4, false)
	pushAll(all, actions, &got)
	bits := func(p pose) [4]uint64 {
		return [4]uint64{math.Float64bits(p.x), math.Float64bits(p.xDot), math.Float64bits(p.theta), math.Float64bits(p.thetaDot)}
	}
	for i := range one {
		one[i].push(actions[i])
		one[i].observe(&want, i)
		if bits(all[i]) != bits(one[i]) || !slices.Equal(got.Obs[4*i:4*i+4], want.Obs[4*i:4*i+4]) || got.Terminated[i] != one[i].fallen() {
			return fmt.Errorf("%v becomes %v %v %v among others, alone %v", carts[i], all[i], got.Obs[4*i:4*i+4], got.Terminated[i], one[i])
		}
	}
	return nil
}
