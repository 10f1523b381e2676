package doppelganger

import (
	"slices"

	"github.com/planegym/planegym/internal/rng"
)

// indexStarts prepares start.
func (k *codec) indexStarts() {
	at := 0.
	k.opens = make([]float64, len(k.Starts))
	for i, x := range k.Starts {
		at += x
		k.opens[i] = at
	}
	k.begins = make([]int, k.Chunks+1)
	for chunk := range k.begins {
		k.begins[chunk], _ = slices.BinarySearchFunc(k.opens, chunk, func(at float64, chunk int) int { return k.chunk(at) - chunk })
	}
	sessions := 0
	for _, n := range k.Labels {
		sessions += int(n)
	}
	k.every = max((sessions+len(k.Starts)-1)/len(k.Starts), 1)
}

// start is when session i starts, s since the trace began. A pass over the trace has
// as many sessions in each chunk as training has, of which the first and the last start
// when training's do; the pauses between are training's, turned by as many sessions as
// chance says in each chunk of each pass. Chunks differ in what they hold, so that
// a mean over sessions is as uncertain as the shares of the chunks.
func (k *codec) start(seed uint64, i int) float64 {
	pass, i := i/(len(k.opens)*k.every), i%(len(k.opens)*k.every)
	j, rest := i/k.every, i%k.every
	chunk := k.chunk(k.opens[j])
	first, end := k.begins[chunk], k.begins[chunk+1]
	turn := 0
	if pauses := end - first - 1; pauses > 1 {
		turn = rng.Key{Seed: seed, A: uint32(pass), B: uint32(chunk), Purpose: rng.SessionStart}.Intn(0, pauses)
	}
	turned := func(j int) float64 {
		if j += turn; j < end {
			return k.opens[first] + k.opens[j] - k.opens[first+turn]
		}
		return k.opens[end-1] - k.opens[first+turn] + k.opens[first+j-end+1]
	}
	at := turned(j)
	if rest > 0 && j+1 < end {
		at += (turned(j+1) - at) * float64(rest) / float64(k.every)
	}
	const up = 1 + 1e-14 // a pass begins in its first chunk, not just before it
	return float64(pass)*k.Span*float64(k.Chunks)*up + at
}
