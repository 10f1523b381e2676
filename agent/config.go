package agent

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Config is how a DDQN agent is built and trained. Preset gives whole ones.
type Config struct {
	// The network.
	Hidden    []int  `toml:"hidden" json:"hidden"`       // units of each hidden layer, ReLU
	Dueling   bool   `toml:"dueling" json:"dueling"`     // value and advantages apart (Wang et al. 2016)
	Normalise string `toml:"normalise" json:"normalise"` // of observations: "fit" (to mean 0, deviation 1 over the first Minimum transitions) or "none"

	// Acting.
	EpsilonStart float64 `toml:"epsilon_start" json:"epsilon_start"` // chance of a random action at first …
	EpsilonEnd   float64 `toml:"epsilon_end" json:"epsilon_end"`     // … and after EpsilonSteps
	EpsilonSteps int64   `toml:"epsilon_steps" json:"epsilon_steps"` // transitions
	EpsilonDecay float64 `toml:"epsilon_decay" json:"epsilon_decay"` // factor per transition from then on; 1 stays

	// The memory.
	Replay      int     `toml:"replay" json:"replay"`           // transitions kept
	Minimum     int     `toml:"minimum" json:"minimum"`         // transitions before the first update
	NStep       int     `toml:"n_step" json:"n_step"`           // rewards in a return; 1 is the paper's
	Prioritised bool    `toml:"prioritised" json:"prioritised"` // Schaul et al. 2016
	Alpha       float64 `toml:"alpha" json:"alpha"`             // exponent of priorities
	Beta        float64 `toml:"beta" json:"beta"`               // exponent of importance weights at first; 1 after Steps

	// Learning.
	Gamma        float64 `toml:"gamma" json:"gamma"` // discount per step
	Loss         string  `toml:"loss" json:"loss"`   // "huber" (threshold 1) or "mse"
	Batch        int     `toml:"batch" json:"batch"`
	Steps        int64   `toml:"steps" json:"steps"`                     // transitions that training takes
	TrainEvery   int     `toml:"train_every" json:"train_every"`         // transitions between trainings
	Updates      int     `toml:"updates" json:"updates"`                 // of one training
	Target       int64   `toml:"target" json:"target"`                   // updates between copies to the target network (τ)
	Optimiser    string  `toml:"optimiser" json:"optimiser"`             // "adam" or "nesterov"
	LearningRate float64 `toml:"learning_rate" json:"learning_rate"`     // at first …
	FinalRate    float64 `toml:"final_rate" json:"final_rate,omitempty"` // … and, linearly, at the end of Steps; 0: the same
	Momentum     float64 `toml:"momentum" json:"momentum,omitempty"`     // of "nesterov"
	ClipNorm     float64 `toml:"clip_norm" json:"clip_norm,omitempty"`   // largest norm of a gradient; 0: any

	// CQL weighs the conservative term of offline training (Kumar et al.
	// 2020, equation 4); 0 is plain DDQN.
	CQL float64 `toml:"cql" json:"cql,omitempty"`
}

// PresetNames are the names that Preset takes.
var PresetNames = []string{"default", "tutorial"}

// Preset is a whole configuration; DESIGN.md says where its numbers are from.
func Preset(name string) (Config, error) {
	switch name {
	case "default":
		return Config{
			Hidden: []int{64, 64}, Normalise: "fit",
			EpsilonStart: 1, EpsilonEnd: .04, EpsilonSteps: 8_000, EpsilonDecay: 1,
			Replay: 50_000, Minimum: 1_000, NStep: 5, Alpha: .6, Beta: .4,
			Gamma: .99, Loss: "huber", Batch: 64, Steps: 60_000, TrainEvery: 8, Updates: 8, Target: 250,
			Optimiser: "adam", LearningRate: 1e-3, FinalRate: 1e-5, ClipNorm: 10,
		}, nil
	case "tutorial":
		return Config{
			Hidden: []int{24, 24}, Normalise: "none",
			EpsilonStart: 1, EpsilonEnd: .01, EpsilonSteps: 250, EpsilonDecay: .99,
			Replay: 1_000_000, Minimum: 100, NStep: 1,
			Gamma: .99, Loss: "mse", Batch: 32, Steps: 1_800, TrainEvery: 1, Updates: 1, Target: 10_000,
			Optimiser: "nesterov", LearningRate: 1e-3, Momentum: .9,
		}, nil
	}
	return Config{}, fmt.Errorf("agent: preset: %q is not one of %s", name, strings.Join(PresetNames, ", "))
}

// Bounds of what a configuration may ask for: one is also read from files.
const (
	maxUnits  = 1 << 14
	maxBatch  = 1 << 20
	maxReplay = 100_000_000
)

// Check reports the first thing wrong with c, naming the field.
func (c Config) Check() error {
	bad := func(field string, value any, want string) error {
		return fmt.Errorf("agent: %s: %v: expected %s", field, value, want)
	}
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	switch {
	case len(c.Hidden) > 0 && (slices.Min(c.Hidden) < 1 || slices.Max(c.Hidden) > maxUnits):
		return bad("hidden", c.Hidden, fmt.Sprintf("1…%d units in each layer", maxUnits))
	case c.Normalise != "fit" && c.Normalise != "none":
		return bad("normalise", fmt.Sprintf("%q", c.Normalise), `"fit" or "none"`)
	case !(c.EpsilonStart >= 0 && c.EpsilonStart <= 1):
		return bad("epsilon_start", c.EpsilonStart, "0…1")
	case !(c.EpsilonEnd >= 0 && c.EpsilonEnd <= 1):
		return bad("epsilon_end", c.EpsilonEnd, "0…1")
	case c.EpsilonSteps < 0:
		return bad("epsilon_steps", c.EpsilonSteps, "0 or more")
	case !(c.EpsilonDecay > 0 && c.EpsilonDecay <= 1):
		return bad("epsilon_decay", c.EpsilonDecay, "above 0, up to 1")
	case c.Replay < 1 || c.Replay > maxReplay:
		return bad("replay", c.Replay, fmt.Sprintf("1…%d", maxReplay))
	case c.Minimum < 1 || c.Minimum > c.Replay:
		return bad("minimum", c.Minimum, fmt.Sprintf("1…%d, the size of replay", c.Replay))
	case c.NStep < 1 || c.NStep > maxBatch:
		return bad("n_step", c.NStep, fmt.Sprintf("1…%d", maxBatch))
	case c.Prioritised && !(c.Alpha >= 0 && c.Alpha <= 1):
		return bad("alpha", c.Alpha, "0…1")
	case c.Prioritised && !(c.Beta >= 0 && c.Beta <= 1):
		return bad("beta", c.Beta, "0…1")
	case !(c.Gamma >= 0 && c.Gamma <= 1):
		return bad("gamma", c.Gamma, "0…1")
	case c.Loss != "huber" && c.Loss != "mse":
		return bad("loss", fmt.Sprintf("%q", c.Loss), `"huber" or "mse"`)
	case c.Batch < 1 || c.Batch > maxBatch:
		return bad("batch", c.Batch, fmt.Sprintf("1…%d", maxBatch))
	case c.Steps < 1:
		return bad("steps", c.Steps, "1 or more")
	case c.TrainEvery < 1:
		return bad("train_every", c.TrainEvery, "1 or more")
	case c.Updates < 1:
		return bad("updates", c.Updates, "1 or more")
	case c.Target < 1:
		return bad("target", c.Target, "1 or more")
	case c.Optimiser != "adam" && c.Optimiser != "nesterov":
		return bad("optimiser", fmt.Sprintf("%q", c.Optimiser), `"adam" or "nesterov"`)
	case !positive(c.LearningRate):
		return bad("learning_rate", c.LearningRate, "a positive number")
	case c.FinalRate != 0 && !positive(c.FinalRate):
		return bad("final_rate", c.FinalRate, "a positive number, or 0")
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return bad("momentum", c.Momentum, "0 up to 1")
	case c.ClipNorm != 0 && !positive(c.ClipNorm):
		return bad("clip_norm", c.ClipNorm, "a positive number, or 0")
	case !(c.CQL >= 0) || math.IsInf(c.CQL, 0):
		return bad("cql", c.CQL, "0 or more")
	}
	return nil
}

// epsilon is ε at transition t.
func (c *Config) epsilon(t int64) float64 {
	return epsilonAt(c.EpsilonStart, c.EpsilonEnd, c.EpsilonSteps, c.EpsilonDecay, t)
}

// rate is the learning rate after a share of training, 0…1.
func (c *Config) rate(share float64) float64 {
	if c.FinalRate == 0 {
		return c.LearningRate
	}
	return c.LearningRate + (c.FinalRate-c.LearningRate)*min(share, 1)
}
