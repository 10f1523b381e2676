package agent

// Memory is transitions that an agent learns from, for training loops beside
// Trainer's. It belongs to one goroutine.
type Memory struct {
	agent     *DDQN
	replay    *replay
	collector *collector
}

// NewMemory makes a memory of up to so many transitions for d.
func NewMemory(d *DDQN, capacity int) *Memory {
	c := d.Config
	return &Memory{d, newReplay(capacity, d.dim, d.s, c.Prioritised), newCollector(1, c.NStep, d.dim, d.s, c.Gamma)}
}

// Add stores a step of one episode: actions [S] in obs [D] gave reward, next [D]
// and the flags. The steps of an episode follow each other.
func (m *Memory) Add(obs []float32, actions []int32, reward float32, next []float32, terminated, truncated bool) {
	m.collector.step(0, obs, actions, reward, next, terminated, truncated, m.replay)
}

// FitNormalisation fits the agent's normalisation to all that is stored, unless it
// is fitted or the agent has none.
func (m *Memory) FitNormalisation() {
	if d := m.agent; !d.fitted {
		d.fit(m.replay.obs[:m.replay.size*d.dim])
	}
}

// Learn makes one update from a batch that seed and the number of the update
// draw. share is how much of training is over, 0…1. It returns the loss and the
// batch's mean target.
func (m *Memory) Learn(seed uint64, share float64) (loss, target float64, err error) {
	return m.agent.update(m.replay, seed, share)
}
