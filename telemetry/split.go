package telemetry

import "slices"

// BlockSeconds is the length of the blocks that data is split by, and every
// TestEvery-th of them, from t = 0, is the last of its group and held out:
// block b is test where b mod TestEvery is TestEvery-1. Whole blocks all along
// a recording, because it changes its regime once: with its last quarter held
// out, train and test would not resemble each other.
const (
	BlockSeconds = 100
	TestEvery    = 4
)

// Split is a part of a recording's seconds.
type Split uint8

// The splits. Nothing that is trained or fitted sees a Test second.
const (
	All Split = iota
	Train
	Test
)

func (s Split) String() string {
	if int(s) < 3 {
		return [...]string{"all", "train", "test"}[s]
	}
	return "unknown split"
}

// Holds reports whether second t belongs to the split.
func (s Split) Holds(t int) bool {
	return s == All || (t/BlockSeconds%TestEvery == TestEvery-1) == (s == Test)
}

// Windows are the starts of all windows of length seconds of a recording of n
// that lie wholly in a split, in order of time; nil where none does. A train
// window touches no test block. They overlap: neighbours start a second apart.
func (s Split) Windows(n, length int) []int {
	var starts []int
	run := 0 // seconds of the split up to and with t
	for t := range n {
		if run++; !s.Holds(t) {
			run = 0
		}
		if length > 0 && run >= length {
			starts = append(starts, t-length+1)
		}
	}
	return starts
}

// HoldsOut reports whether every recording is long enough to have a whole test block.
func HoldsOut(data []Recording) bool {
	return !slices.ContainsFunc(data, func(r Recording) bool { return r.Data.Len() < TestEvery*BlockSeconds })
}
