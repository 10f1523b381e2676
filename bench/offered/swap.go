package main

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/planegym/planegym/traffic"
)

// shuffleGaps shuffles the gaps of each session, but for the first, which is 0.
func shuffleGaps(set *traffic.Set) {
	c := &set.Of
	gap, width, draw := c.StepIndex("gap"), len(c.Steps), rand.New(rand.NewPCG(1, 2))
	for i := range set.Sessions {
		s := &set.Sessions[i]
		s.Steps = slices.Clone(s.Steps)
		draw.Shuffle(max(c.Len(s)-1, 0), func(a, b int) {
			a, b = (1+a)*width+gap, (1+b)*width+gap
			s.Steps[a], s.Steps[b] = s.Steps[b], s.Steps[a]
		})
	}
}

// swapGaps gives sessions the gaps of those of another set, by the rank of their
// length, in random order where lengths are equal. A shorter session's gaps repeat.
func swapGaps(set, of *traffic.Set) error {
	if !set.Of.Equal(&of.Of) && len(set.Of.Steps) != len(of.Of.Steps) || of.Len() == 0 {
		return errors.New("its sessions have other fields, or there are none")
	}
	c := &set.Of
	gap, width, draw := c.StepIndex("gap"), len(c.Steps), rand.New(rand.NewPCG(1, 3))
	byLength := func(s *traffic.Set) []int {
		order := draw.Perm(s.Len())
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(s.Sessions[a].Steps), len(s.Sessions[b].Steps)) })
		return order
	}
	mine, other := byLength(set), byLength(of)
	for rank, i := range mine {
		x, y := &set.Sessions[i], &of.Sessions[other[rank*len(other)/len(mine)]]
		n := c.Len(y)
		if n < 2 {
			continue
		}
		x.Steps = slices.Clone(x.Steps)
		for t := 1; t < c.Len(x); t++ {
			x.Steps[t*width+gap] = y.Steps[(1+(t-1)%(n-1))*width+gap]
		}
	}
	return nil
}
