package unsigned

import (
	"testing"
)

type inner struct {
	Low uint64 `toml:"low"`
}

type config struct {
	inner
	Seed   uint64           `toml:"seed"`
	Seeds  []uint64         `toml:"seeds"`
	Of     []inner          `toml:"of"`
	One    *inner           `toml:"one"`
	Named  map[string]inner `toml:"named"`
	Signed int              `toml:"signed"`
	Share  float64          `toml:"share"`
	Text   string           `toml:"text"`
	Bare   uint32
}

func TestTOML(t *testing.T) {
	for text, want := range map[string]string{
		"seed = -1":       "seed: -1 is negative",
		"seeds = [1, -2]": "seeds[1]: -2 is negative",
		"[[of]]\nlow = 3\n[[of]]\nlow = -9223372036854775808": "of[1].low: -9223372036854775808 is negative",
		"[one]\nlow = -3":  "one.low: -3 is negative",
		"named.a.low = -4": "named.a.low: -4 is negative",
		"low = -5":         "low: -5 is negative",
		"bare = -6":        "bare: -6 is negative",
		"seed = 1\nsigned = -1\nshare = -1\ntext = '-1'\nother = -1\nseeds = []\nof = 3\nnamed = [1]": "",
	} {
		got := ""
		if err := TOML(text, &config{}); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
