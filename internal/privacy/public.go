package privacy

import "math"

// Public classes of the fields of traffic: they depend on no data, so that a private
// model may say them.

// Sizes are sizes of payload that are classes of their own: none, a byte, what full
// segments and well-known messages have, and the largest of a packet.
var Sizes = []int64{0, 1, 31, 51, 517, 536, 1024, 1200, 1220, 1250, 1252, 1350, 1357, 1380, 1400, 1412, 1428, 1440, 1448, 1452, 1460, 1472, 65535}

// Ports are ports with a class of their own.
var Ports = []int64{0, 22, 25, 53, 67, 68, 80, 110, 123, 137, 143, 161, 443, 445, 465, 587, 853, 993, 995, 1883, 1900, 3478, 5222, 5223, 5228, 5353, 8000, 8080, 8443, 8883, 65535}

const (
	PerOctave = 2         // cells of sizes in a factor of two
	Ranks     = 1<<20 - 1 // the largest popularity rank of an address; ranks share cells of a factor of two
	Longest   = 4096      // steps of a sampled session, at most
)

// Gaps are the bounds of ranges of times between steps, s, from 0: four a decade.
var Gaps = func() []float64 {
	g := []float64{0}
	for e := -24.; e <= 16; e++ {
		g = append(g, math.Pow(10, e/4))
	}
	return g
}()

// Numbers are the bounds of ranges of other numbers, from 0: two a decade. What is
// below 0 counts as 0.
var Numbers = func() []float64 {
	g := []float64{0}
	for e := -6.; e <= 18; e++ {
		g = append(g, math.Pow(10, e/2))
	}
	return g
}()
