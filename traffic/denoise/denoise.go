// Package denoise samples series of rates out of noise, as NetDiffus does, but of
// the series itself instead of its picture: a diffusion model with a
// bidirectional GRU.
//
// Sivaroopan et al., "NetDiffus: Network Traffic Generation by Diffusion Models
// through Time-Series Imaging", 2023. DESIGN.md lists the departures.
package denoise

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/internal/seq"
)

// Config is everything that a fit depends on besides the series. Zero values are
// the defaults in the comments.
type Config struct {
	Updates  int     `toml:"updates" json:"updates"`   // 2500
	Batch    int     `toml:"batch" json:"batch"`       // series of an update; 32
	Hidden   int     `toml:"hidden" json:"hidden"`     // units of the GRU in each direction; 64
	Steps    int     `toml:"steps" json:"steps"`       // of sampling; 25
	Guidance float64 `toml:"guidance" json:"guidance"` // weight of the label's prediction against the one without; 1 is the label's alone; 1.5
	Drop     float64 `toml:"drop" json:"drop"`         // share of labels that training hides; .1
	Rate     float64 `toml:"rate" json:"rate"`         // of AdamW at its highest; 3e-3
	Common   int     `toml:"common" json:"common"`     // times that a value is in training, to come back exactly; 5

	seed uint64
}

// Defaults are the settings that series are well learnt with.
func Defaults() Config { return Config{}.withDefaults() }

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{{&c.Updates, 2500}, {&c.Batch, 32}, {&c.Hidden, 64}, {&c.Steps, 25}, {&c.Common, 5}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *float64
		value float64
	}{{&c.Guidance, 1.5}, {&c.Drop, .1}, {&c.Rate, 3e-3}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

// Check reports the first setting that is out of its range, by name.
func (c Config) Check() error {
	c = c.withDefaults()
	for _, f := range []struct {
		name   string
		value  int
		lo, hi int
	}{
		{"updates", c.Updates, 1, math.MaxInt32}, {"batch", c.Batch, 1, 4096}, {"hidden", c.Hidden, 1, 4096},
		{"steps", c.Steps, 1, 1000}, {"common", c.Common, 2, math.MaxInt32},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("denoise: %s: %d is outside %d…%d", f.name, f.value, f.lo, f.hi)
		}
	}
	for _, f := range []struct {
		name  string
		value float64
		hi    float64
	}{{"guidance", c.Guidance, 100}, {"drop", c.Drop, .9}, {"rate", c.Rate, 1}} {
		if !(f.value > 0 && f.value <= f.hi) {
			return fmt.Errorf("denoise: %s: %v is outside 0…%v", f.name, f.value, f.hi)
		}
	}
	return nil
}

// alphaSigma is the cosine schedule (Nichol and Dhariwal 2021, eq. 17) at t in
// [0, 1]: a series is alpha·x + sigma·noise, alpha² + sigma² = 1.
func alphaSigma(t float64) (alpha, sigma float64) {
	const s = .008
	a := math.Cos((t + s) / (1 + s) * math.Pi / 2)
	a = min(max(a/math.Cos(s/(1+s)*math.Pi/2), 1e-4), 1)
	return a, math.Sqrt(1 - a*a)
}

// clock is what the network is told of t, beside the series.
const clock = 8

func setClock(into []float32, t float64) {
	for i := range clock / 2 {
		f := math.Pi * math.Pow(2, float64(i)) * t / 2
		into[2*i], into[2*i+1] = float32(math.Sin(f)), float32(math.Cos(f))
	}
}

// network predicts v of every tick: its channels and the clock are numbers of a
// step, the label a token, 0 being hidden.
func network(c Config, channels, labels int) seq.Config {
	return seq.Config{
		Embeddings: []seq.Embedding{{Name: "label", Size: labels + 1, Dim: 16}},
		Dense:      channels + clock, Hidden: c.Hidden, Bidirectional: true, HeadHidden: c.Hidden,
		Heads: []seq.Head{{Name: "v", Size: channels}},
	}
}

// Flops is an estimate of the floating-point operations of one sampled series:
// twice the products of every matrix, of both predictions where there is
// guidance.
func (m *Model) Flops() float64 {
	in, h, ch := float64(m.net.In()), float64(m.Config.Hidden), float64(m.codec.channels())
	tick := 2 * (2*3*h*(in+h) + h*2*h + h*ch)
	n := float64(m.Config.Steps) * float64(m.codec.Ticks) * tick
	if m.Config.Guidance != 1 && len(m.codec.Schema.Labels) > 0 {
		n *= 2
	}
	return n
}
