// Package timegan is TimeGAN (Yoon, Jarrett, van der Schaar: "Time-series
// Generative Adversarial Networks", NeurIPS 2019) and its conditional form:
// networks, losses, the three training phases, checkpoints and rollouts.
//
// It reads in the paper's order: networks.go, loss.go, train.go. DESIGN.md
// lists each departure from the paper with its measured effect.
package timegan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// Config says what is trained and how. Zero values are the defaults in the
// comments; Preset gives those of others.
//
// In a Config that Preset gave, zeros set afterwards are zeros: gamma, eta,
// moments and threshold of 0 leave that part of the objective out, embed, super
// and joint of 0 leave that phase out. The same holds of settings read from TOML
// over a preset, and of a checkpoint's.
type Config struct {
	Window int    `toml:"window" json:"window"` // T, seconds of a training window; 32
	Hidden int    `toml:"hidden" json:"hidden"` // H, units of a layer and size of the latent code; 32
	Layers int    `toml:"layers" json:"layers"` // GRU layers of a network, the supervisor's one less; 2
	Noise  int    `toml:"noise" json:"noise"`   // Z, random numbers a second; 8
	Batch  int    `toml:"batch" json:"batch"`   // B, windows of an update; 64
	Embed  int    `toml:"embed" json:"embed"`   // updates of the embedding phase; 2000
	Super  int    `toml:"super" json:"super"`   // updates of the supervised phase; 500
	Joint  int    `toml:"joint" json:"joint"`   // updates of the joint phase; 3500
	Seed   uint64 `toml:"seed" json:"seed"`

	LearningRate float64 `toml:"learning_rate" json:"learning_rate"` // of Adam; 0.001
	FinalRate    float64 `toml:"final_rate" json:"final_rate"`       // share of it that is left at the end of the joint phase, over which it falls linearly; 0.1
	Gamma        float64 `toml:"gamma" json:"gamma"`                 // γ, weight of the generator's own latent code in the adversarial loss; 1
	Moments      float64 `toml:"moments" json:"moments"`             // weight of the moment loss; 20
	Eta          float64 `toml:"eta" json:"eta"`                     // η, weight of the generator's √(supervised loss); 0.1
	Changes      float64 `toml:"changes" json:"changes"`             // weight of the moment loss of changes from second to second; 20, negative none
	Covariances  float64 `toml:"covariances" json:"covariances"`     // weight of the loss of covariances between channels, at once and seconds apart; 20, negative none
	Threshold    float64 `toml:"threshold" json:"threshold"`         // the discriminator rests while its loss is below; 0.15

	// Clock is the period, in seconds, of the clock that all networks take as
	// input: in a recording it counts from the first second, in a rollout from
	// a random one. 3600, negative none; see above for 0.
	Clock int `toml:"clock" json:"clock"`

	// Latent compares latent codes, windows standing alone, as the paper does.
	// It needs data without gaps. Otherwise a generated window continues its
	// predecessor, is given the real one's gaps and embedded again before it
	// is compared.
	Latent bool `toml:"latent" json:"latent"`

	// Free lets a rollout's values move from second to second as the networks
	// say. Otherwise none moves farther than it did in any second of training,
	// and the quality changes only where another level leads clearly.
	Free bool `toml:"free" json:"free,omitempty"`

	whole bool // the defaults are filled in: what is 0 is meant to be
}

// Preset is a named configuration: "" the default; "paper" what the authors'
// code uses (github.com/jsyoon0823/TimeGAN, tutorial notebook); "tutorial"
// what Tavares et al. (SBRC 2024) use, by way of ydata-synthetic.
func Preset(name string) (Config, error) {
	switch name {
	case "":
		return Config{}.WithDefaults(), nil
	case "paper":
		return Config{Window: 24, Hidden: 24, Layers: 3, Batch: 128, Embed: 10000, Super: 10000, Joint: 10000,
			Noise: 6, Clock: -1, FinalRate: 1, Latent: true, Free: true, Moments: 100, Eta: 100, Changes: -1, Covariances: -1}.WithDefaults(), nil
	case "tutorial":
		return Config{Window: 50, Hidden: 20, Layers: 3, Batch: 100, Embed: 100, Super: 100, Joint: 100,
			Noise: 16, Clock: -1, FinalRate: 1, Latent: true, Free: true, Moments: 100, Eta: 100, Changes: -1, Covariances: -1, LearningRate: 5e-4}.WithDefaults(), nil
	}
	return Config{}, fmt.Errorf(`timegan: preset: %q is not one of "", "paper", "tutorial"`, name)
}

// WithDefaults is c with its zero values filled by the defaults, once: of a
// Config that has them already, as Preset's have, zeros stay.
func (c Config) WithDefaults() Config {
	if c.whole {
		return c
	}
	c.whole = true
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.Window, 32}, {&c.Hidden, 32}, {&c.Layers, 2}, {&c.Noise, 8}, {&c.Batch, 64},
		{&c.Embed, 2000}, {&c.Super, 500}, {&c.Joint, 3500}, {&c.Clock, 3600},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *float64
		value float64
	}{{&c.LearningRate, 1e-3}, {&c.FinalRate, .1}, {&c.Gamma, 1}, {&c.Moments, 20}, {&c.Eta, .1}, {&c.Changes, 20}, {&c.Covariances, 20}, {&c.Threshold, .15}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

// UnmarshalJSON reads settings that a checkpoint or a sweep's result holds. Keys
// that are missing are the defaults, unknown ones an error.
func (c *Config) UnmarshalJSON(text []byte) error {
	type plain Config
	p := plain(Config{}.WithDefaults())
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return err
	}
	// Settings without a window or a learning rate are of a sweep that wrote
	// them before their defaults were filled in.
	p.whole = p.Window != 0 && p.LearningRate != 0
	*c = Config(p)
	return nil
}

// Check reports the first thing wrong with c, naming the field.
func (c Config) Check() error {
	c = c.WithDefaults()
	for _, f := range []struct {
		name   string
		value  int
		lo, hi int
	}{
		{"window", c.Window, 2, 3600}, {"hidden", c.Hidden, 1, 1024}, {"layers", c.Layers, 1, 16},
		{"noise", c.Noise, 1, 1024}, {"batch", c.Batch, 2, 1 << 16}, {"clock", c.Clock, -1, 1 << 24},
		{"embed", c.Embed, 0, math.MaxInt32}, {"super", c.Super, 0, math.MaxInt32}, {"joint", c.Joint, 0, math.MaxInt32},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("timegan: %s: %d is outside %d…%d", f.name, f.value, f.lo, f.hi)
		}
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"learning_rate", c.LearningRate}, {"final_rate", c.FinalRate}, {"gamma", c.Gamma}, {"moments", c.Moments}, {"eta", c.Eta}, {"changes", max(c.Changes, 0)}, {"covariances", max(c.Covariances, 0)}, {"threshold", c.Threshold}} {
		if !(f.value >= 0) || math.IsInf(f.value, 0) {
			return fmt.Errorf("timegan: %s: %v is not a finite number of at least 0", f.name, f.value)
		}
	}
	if c.LearningRate == 0 {
		return fmt.Errorf("timegan: learning_rate: 0 learns nothing")
	}
	return nil
}

// conditions is C, the numbers a second that condition the networks: the limit
// and, with a clock, its phase (sine and cosine).
func (c Config) conditions() int {
	if c.Clock <= 0 {
		return 1
	}
	return 3
}

// condition fills dst [C] with the condition of a second: limit,
// as Codec.Condition gives it, and the sine and cosine of the clock.
func (c Config) condition(dst []float32, limit float32, second int) {
	dst[0] = limit
	if c.Clock > 0 {
		sin, cos := math.Sincos(2 * math.Pi * float64(second%c.Clock) / float64(c.Clock))
		dst[1], dst[2] = float32(sin), float32(cos)
	}
}
