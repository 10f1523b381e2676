package structured

import (
	"testing"

	"github.com/BurntSushi/toml"
)

// One seed is the seed of all that is drawn, the TimeGAN's included, unless it
// has one of its own; and zeros asked for are zeros.
func TestSeedIsOfTheRanksToo(t *testing.T) {
	for text, want := range map[string][2]uint64{
		"":                            {0, 0},
		"seed = 5":                    {5, 5},
		"seed = 5\nranks.seed = 7":    {5, 7},
		"ranks.seed = 7":              {0, 7},
		"seed = 5\nranks.hidden = 20": {5, 5},
	} {
		for what, c := range map[string]Config{"over the defaults": Defaults(), "over nothing": {}} {
			if _, err := toml.Decode(text, &c); err != nil {
				t.Fatal(err)
			}
			if c = c.withDefaults(); c.Seed != want[0] || c.Ranks.Seed != want[1] {
				t.Errorf("%q %s: seeds %d and %d, want %v", text, what, c.Seed, c.Ranks.Seed, want)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	c := Config{}.withDefaults()
	r := c.Ranks
	if c != Defaults() || c.withDefaults() != c || c.Regimes != 2 || c.Knots != 33 || r.Window != 16 || r.Hidden != 16 || r.Embed != 500 || r.Super != 200 || r.Joint != 1000 || r.Clock != -1 || !r.Free || r.Gamma != 1 {
		t.Errorf("%+v", c)
	}
	if _, err := toml.Decode("[ranks]\njoint = 0\neta = 0\n", &c); err != nil {
		t.Fatal(err)
	}
	if got := c.withDefaults().Ranks; got.Joint != 0 || got.Eta != 0 || got.Embed != 500 {
		t.Errorf("%+v", got)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}
