package queues_test

import (
	"math"
	"testing"

	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
)

// Yin et al., SIGCOMM 2015, equation 5: the quality of experience of K chunks is
// Σ q(R_k) − λ Σ |q(R_{k+1}) − q(R_k)| − µ Σ stalls, with q the bitrate in Mbit/s.
// An episode's return is that sum, computed here over the whole episode at once.
func TestPaperQoELin(t *testing.T) {
	bitrates := []float32{639, 1140, 2036, 3312}
	for _, c := range []struct{ lambda, mu float64 }{{0, 0}, {1, 3.312}, {.5, 8}} { // 0: the defaults, 1 and 3.312
		const steps = 50
		p := &tape{switches: 1, columns: append(oneSwitch, "stall_s")}
		key := rng.Key{Seed: 5}
		var rates, stalls []float64
		for k := range steps + 1 {
			rate := bitrates[key.Intn(uint32(2*k), 4)]
			stall := float32(key.Float64(uint32(2*k+1))) / 2
			p.windows = append(p.windows, [][]float32{{1, 1, rate, 1, 10, 24, 0}, {1, 1, rate, 1, 10, 24, stall}})
			rates, stalls = append(rates, float64(rate)/1000), append(stalls, float64(stall))
		}
		v, b := begin(t, queues.Config{
			Limits: []p4.Limit{16, 32, 64}, StepSeconds: 2, Observation: queues.Observation{Normalise: "none"},
			Reward: queues.Reward{Name: "qoe-lin", Rebuffer: queues.Weight(c.mu), Switch: queues.Weight(c.lambda)},
		}, p, nil)
		var got float64
		for range steps {
			step(t, v, b, 0)
			got += float64(b.Reward[0])
		}
		lambda, mu := c.lambda, c.mu
		if c.lambda == 0 {
			lambda, mu = 1, 3.312
		}
		var quality, change, stalled float64
		for k := 1; k <= steps; k++ {
			quality += rates[k]
			change += math.Abs(rates[k] - rates[k-1])
			stalled += stalls[k]
		}
		if want := quality - lambda*change - mu*stalled; math.Abs(got-want) > 1e-3 {
			t.Errorf("λ %v, µ %v: an episode earns %v, equation 5 says %v", c.lambda, c.mu, got, want)
		}
	}
}

// Tavares et al. 2024, "Simulating the real network behavior": a state is four
// seconds of nine INT columns, of which the agent is shown the fourth
// (current_state[FOURTH_SECOND]), as they are; the action is which of two limits,
// 32 or 64 packets, is in force while the next state is measured.
func TestPaperTutorialState(t *testing.T) {
	columns := []string{
		"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2",
		"enq_qdepth3", "deq_timedelta3", "deq_qdepth3", "fps", "lbo_s", "calc_rate", "rep_kbps",
	}
	p := &tape{switches: 3, columns: columns}
	for w := range 4 {
		var window [][]float32
		for s := range 4 {
			row := make([]float32, len(columns))
			for c := range row {
				row[c] = float32(100*w + 10*s + c)
			}
			window = append(window, row)
		}
		p.windows = append(p.windows, window)
	}
	v, b := begin(t, queues.Config{Observation: queues.Observation{Name: "tutorial", Normalise: "none"}}, p, nil)
	spec := v.Spec()
	if len(spec.Action) != 1 || spec.Action[0] != 2 || spec.StepSeconds != 4 || len(spec.Limits) != 2 || spec.Limits[0] != 32 || spec.Limits[1] != 64 {
		t.Errorf("spec %+v", spec)
	}
	for w := range 4 {
		if w > 0 {
			step(t, v, b, int32(w%2))
			if got, want := p.limits[0], []p4.Limit{32, 64}[w%2]; got != want {
				t.Errorf("action %d puts %d in force, want %d", w%2, got, want)
			}
		}
		if len(b.Obs) != 9 {
			t.Fatalf("the agent is shown %d values", len(b.Obs))
		}
		seen := map[float32]bool{}
		for _, x := range b.Obs {
			seen[x] = true
		}
		for c := range 9 {
			if x := float32(100*w + 30 + c); !seen[x] {
				t.Errorf("state %d: %v lacks %s of the fourth second, %v", w, b.Obs, columns[c], x)
			}
		}
	}
}

// The published calculate_reward, restated: disjoint pairs of states, the last of
// the four seconds of each, strict comparisons, and the reward before where no
// rule fires. Random players, of which many are unchanged or at 30 s.
func TestPaperTutorialReward(t *testing.T) {
	for seed := range uint64(5) {
		key := rng.Key{Seed: seed}
		p := &tape{switches: 1, columns: oneSwitch}
		var lbo, fps []float32
		for k := range uint32(101) {
			l := []float32{28, 29, 30, 31, 12, 12}[key.Intn(2*k, 6)]
			f := []float32{18, 24, 30, 29.97}[key.Intn(2*k+1, 4)]
			p.windows = append(p.windows, [][]float32{{1, 1, 639, 1, l, f}})
			lbo, fps = append(lbo, l), append(fps, f)
		}
		v, b := begin(t, queues.Config{StepSeconds: 1, Reward: queues.Reward{Name: "tutorial"}, Observation: queues.Observation{Normalise: "none"}}, p, nil)
		var reward float32
		for k := 1; k <= 100; k++ {
			if k%2 == 1 { // the pair (k−1, k) is whole
				switch {
				case lbo[k] > 30 && lbo[k] != lbo[k-1]:
					reward = 2
				case lbo[k] < 30 && lbo[k] != lbo[k-1] && fps[k] == 30:
					reward = 1
				case lbo[k] < 30 && lbo[k] != lbo[k-1] && fps[k] == 24:
					reward = .5
				case lbo[k] < 30 && lbo[k] > lbo[k-1]:
					reward = .1
				case lbo[k] < 30 && lbo[k] < lbo[k-1]:
					reward = -2
				}
			}
			step(t, v, b, 0)
			if b.Reward[0] != reward {
				t.Fatalf("seed %d, step %d: pays %v, want %v (buffer %v → %v, %v frames/s)", seed, k, b.Reward[0], reward, lbo[k-1], lbo[k], fps[k])
			}
		}
	}
}
