// Package rng computes random numbers as pure functions of a seed and a purpose,
// with the counter-based generator Philox4x32-10.
//
// A number depends on its key and position alone, never on who asked before,
// so batch 1 and batch n, one thread and many, a run and its resumption draw
// the same values; a GPU computes the same stream.
package rng

import (
	"math"
	"math/bits"
)

// Philox is one block of Philox4x32-10 (Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011, section 4.3).
func Philox(ctr [4]uint32, key [2]uint32) [4]uint32 {
	// Variables: the compiler keeps elements of arrays in memory.
	a, b, c, d, k, l := ctr[0], ctr[1], ctr[2], ctr[3], key[0], key[1]
	for range 10 {
		x, y := 0xD2511F53*uint64(a), 0xCD9E8D57*uint64(c)
		a, b, c, d = uint32(y>>32)^b^k, uint32(y), uint32(x>>32)^d^l, uint32(x)
		k += 0x9E3779B9
		l += 0xBB67AE85
	}
	return [4]uint32{a, b, c, d}
}

// Purpose separates streams that share a seed.
type Purpose uint32

// Purposes in use. A number is never given to another purpose: recorded runs
// depend on it.
const (
	Episode Purpose = 1 + iota // the seed of an episode
	Start                      // where a plant starts an episode
	Action                     // a random policy
)

// Purposes of the emulated testbed.
const (
	Traffic Purpose = 96 + iota // what the loads and players of a run draw: A is who draws
)

// Purposes of generative models: training, sampling and their evaluation.
const (
	Bootstrap   Purpose = 64 + iota // windows drawn for a noise floor
	Init                            // initial weights: A is the network
	BatchOrder                      // which windows an update trains on
	Noise                           // a generator's input in training: A is the update, B the example
	SampleNoise                     // a generator's input in a rollout: B is the model
	Simulated                       // a structured rollout's load and player: A is which of the draws, B of what
	Generated                       // a closed-loop rollout: A is the second; B is 1 for the load (A: which stay), 2 and 3 for where it starts
	Adversarial                     // the windows and the seeds of rollouts that a closed loop is fine-tuned by: A is the update, B the rollout
)

// Purposes of models of traffic: A is the session.
const (
	SessionSteps Purpose = 160 + iota // a session's label, meta and steps
	SessionStart                      // when it starts: A is the run of sessions
	Judging                           // forests and resampling in an evaluation: A is of what, B the tree or the draw
	Headers                           // what a compiler of packets draws of a session: ports, sequence numbers, payload
)

// Purposes of controllers of live switches.
const (
	Backoff Purpose = 192 + iota // what is taken off a wait before a reconnect
)

// Purposes of training an agent: A is the vector step or the update.
const (
	Explore    Purpose = 128 + iota // whether a row's action is drawn, and which: B is the row
	Transition                      // which transitions an update learns from
	Evaluation                      // the seeds of evaluation episodes: A is the episode
)

// Key names one stream of numbers: in an environment A is the episode and B
// the step; in training A is the update and B the example.
type Key struct {
	Seed    uint64
	A, B    uint32
	Purpose Purpose
}

// Block is the i-th group of four words of the stream.
func (k Key) Block(i uint32) [4]uint32 {
	return Philox([4]uint32{i, k.B, k.A, uint32(k.Purpose)}, [2]uint32{uint32(k.Seed), uint32(k.Seed >> 32)})
}

// Uint64 is the i-th 64-bit number of the stream.
func (k Key) Uint64(i uint32) uint64 {
	b := k.Block(i / 2)
	if i%2 == 0 {
		return uint64(b[0]) | uint64(b[1])<<32
	}
	return uint64(b[2]) | uint64(b[3])<<32
}

// Float64 is the i-th uniform number in [0, 1) of the stream, 53 bits.
func (k Key) Float64(i uint32) float64 { return unit(k.Uint64(i)) }

func unit(u uint64) float64 { return float64(u>>11) * 0x1p-53 }

// Intn is the i-th number in [0, n) of the stream. Its bias is below n·2⁻⁶⁴.
func (k Key) Intn(i uint32, n int) int {
	if n <= 0 {
		panic("rng: Intn of a non-positive number")
	}
	hi, _ := bits.Mul64(k.Uint64(i), uint64(n))
	return int(hi)
}

// Choose is count of 0…n-1 in random order, drawn without putting back: the first
// steps of a Fisher-Yates shuffle.
func (k Key) Choose(n, count int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	for i := range count {
		o := i + k.Intn(uint32(i), n-i)
		all[i], all[o] = all[o], all[i]
	}
	return all[:count]
}

// Normal is the i-th pair of independent standard normal numbers of the
// stream (Box and Muller 1958), made of its uniform numbers 2i and 2i+1.
func (k Key) Normal(i uint32) (float64, float64) {
	b := k.Block(i)
	u, v := 1-unit(uint64(b[0])|uint64(b[1])<<32), unit(uint64(b[2])|uint64(b[3])<<32)
	r := math.Sqrt(-2 * math.Log(u))
	s, c := math.Sincos(2 * math.Pi * v)
	return r * c, r * s
}
