// Package agent trains agents that pick queue limits: a double DQN (DDQN), its replay
// memory and training loop (Trainer), and checkpoints that resume bit for bit.
//
// Policy is the interface that picks actions from observations. agent/baseline has the policies to
// compare with, eval plays and values them.
package agent

// Policy picks actions. One that remembers keeps its memory per row, so that
// what it does in a row depends on that row's episode alone.
type Policy interface {
	// Begin tells that an episode starts in rows (nil: the first len(seeds))
	// from seeds.
	Begin(rows []int, seeds []uint64)
	// Act fills actions [n,S] for the observations obs [n,D] of rows (nil: all).
	Act(rows []int, obs []float32, actions []int32)
}
