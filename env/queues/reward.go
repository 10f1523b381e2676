package queues

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/planegym/planegym/telemetry"
)

// Reward says what a step pays. The names:
//
//   - "lbo-fps" (default): 2 where the player's buffer (LBO) is at least 30 s;
//     else by quality, the nearest rung of the recording's ladder (of the
//     published one, by frame rate): 1 for the top, 0.5 for
//     the middle; at the lowest 0.1, or −2 where LBO fell or playback stalled.
//   - "tutorial": the published code of Tavares et al. 2024, faults included.
//     A reward is computed for disjoint pairs of windows, so every second
//     step pays the one before again, as does a step whose LBO is unchanged
//     or exactly 30 s; frame rates are compared by ==.
//   - "qoe-lin": bitrate − rebuffering − switches (Yin et al., SIGCOMM 2015,
//     equation 5): Mbit/s, less Rebuffer per stalled second, less Switch per
//     Mbit/s of change.
type Reward struct {
	Name     string `toml:"name"`     // "lbo-fps" (default), "tutorial" or "qoe-lin"
	Rebuffer Weight `toml:"rebuffer"` // qoe-lin: Mbit/s per stalled second; the top bitrate, 3.312
	Switch   Weight `toml:"switch"`   // qoe-lin: per Mbit/s of change; 1
}

// Weight is a weight of a reward, from 0 to a million. The zero value is
// the default of its field; NoWeight is a weight of 0, as is 0 in TOML.
type Weight float64

// NoWeight is a weight of 0: the smallest number, which adds nothing to a sum.
const NoWeight Weight = math.SmallestNonzeroFloat64

// UnmarshalTOML reads a number: 0 is NoWeight.
func (w *Weight) UnmarshalTOML(value any) error {
	switch x := value.(type) {
	case int64:
		*w = Weight(x)
	case float64:
		*w = Weight(x)
	default:
		return fmt.Errorf("expected a number, got %v", value)
	}
	if *w == 0 {
		*w = NoWeight
	}
	return nil
}

// MarshalJSON writes the number: NoWeight is 0.
func (w Weight) MarshalJSON() ([]byte, error) {
	if w == NoWeight {
		w = 0
	}
	return json.Marshal(float64(w))
}

const (
	lboTarget  = 30    // seconds
	topBitrate = 3.312 // Mbit/s, the ladder's highest
	maxWeight  = 1e6
)

func (r Reward) withDefaults() (Reward, error) {
	if r.Name == "" {
		r.Name = "lbo-fps"
	}
	if r.Name != "qoe-lin" {
		given := func(w Weight) bool { return w != 0 && w != NoWeight }
		if given(r.Rebuffer) || given(r.Switch) {
			return r, fmt.Errorf("env: reward: %q has no weights: rebuffer and switch belong to qoe-lin", r.Name)
		}
		if r.Name != "lbo-fps" && r.Name != "tutorial" {
			return r, fmt.Errorf(`env: reward: name: %q is not one of "lbo-fps", "tutorial", "qoe-lin"`, r.Name)
		}
		return r, nil
	}
	if r.Rebuffer == 0 {
		r.Rebuffer = topBitrate
	}
	if r.Switch == 0 {
		r.Switch = 1
	}
	for _, w := range []struct {
		name string
		Weight
	}{{"rebuffer", r.Rebuffer}, {"switch", r.Switch}} {
		if !(w.Weight >= 0 && w.Weight <= maxWeight) {
			return r, fmt.Errorf("env: reward: %s: %v is outside 0…%.0f", w.name, w.Weight, float64(maxWeight))
		}
	}
	return r, nil
}

// on is r of a video with a ladder: a stall of a second costs by default what a
// second of its highest bitrate earns.
func (r Reward) on(l telemetry.Ladder) Reward {
	if r.Name == "qoe-lin" && r.Rebuffer == topBitrate {
		r.Rebuffer = Weight(top(l))
	}
	return r
}

// top is the highest bitrate of a ladder, Mbit/s.
func top(l telemetry.Ladder) float64 {
	if l == nil {
		return topBitrate
	}
	return float64(l.TopKbps()) / 1000
}

// bounds are the smallest and largest reward of a step of so many seconds.
func (r Reward) bounds(stepSeconds int, l telemetry.Ladder) [2]float64 {
	if r.Name == "qoe-lin" {
		top := top(l)
		return [2]float64{-float64(r.Rebuffer)*float64(stepSeconds) - float64(r.Switch)*top, top}
	}
	return [2]float64{-2, 2}
}

// player is what a window says of the player: its last second, and how much
// of the window it stalled.
type player struct {
	LBO, FPS, Kbps float32 // s, frames/s, kbit/s, at the window's end
	Stall          float32 // s
}

// rewardState is what a reward remembers of an episode.
type rewardState struct {
	last player
	held player  // tutorial: the first window of the pair
	paid float32 // tutorial: the reward of the last pair
	odd  bool    // tutorial: held waits for its second window
}

func (s *rewardState) reset(p player) { *s = rewardState{last: p, held: p, odd: true} }

// pay is the reward of the window p.
func (r Reward) pay(s *rewardState, p player, l telemetry.Ladder) float32 {
	last := s.last
	s.last = p
	switch r.Name {
	case "tutorial":
		if !s.odd {
			s.held, s.odd = p, true
			return s.paid
		}
		s.odd = false
		s.paid = tutorialReward(s.held, p, s.paid)
		return s.paid
	case "qoe-lin":
		kbps := min(max(float64(p.Kbps)/1000, 0), top(l))
		before := min(max(float64(last.Kbps)/1000, 0), top(l))
		return float32(kbps - float64(r.Rebuffer)*float64(p.Stall) - float64(r.Switch)*math.Abs(kbps-before))
	}
	class := l.Class(telemetry.Quality{FPS: p.FPS, Kbps: p.Kbps})
	switch {
	case p.LBO >= lboTarget:
		return 2
	case class == 2:
		return 1
	case class == 1:
		return .5
	case p.LBO < last.LBO || p.Stall > 0:
		return -2
	}
	return .1
}

// tutorialReward is the published calculate_reward: where no rule fires, the
// reward is what it was.
func tutorialReward(before, after player, stale float32) float32 {
	if after.LBO == before.LBO || after.LBO == lboTarget {
		return stale
	}
	switch {
	case after.LBO > lboTarget:
		return 2
	case after.FPS == 30:
		return 1
	case after.FPS == 24:
		return .5
	case after.LBO > before.LBO:
		return .1
	}
	return -2
}
