package nearest_test

import (
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/nearest"
)

func TestHint(t *testing.T) {
	names := []string{"hidden", "layers", "limits", "env.limits"}
	for word, want := range map[string]string{
		"hiden":     `: did you mean "hidden"?`,
		"HIDDEN":    `: did you mean "hidden"?`,
		"env.limit": `: did you mean "env.limits"?`,
		"colour":    "",
		"x":         "",
	} {
		if got := nearest.Hint(word, names); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	type port struct {
		Name string `toml:"name"`
		Hidden
	}
	got := nearest.Keys(struct {
		Ports []*port `toml:"port"`
		Plain int
		Off   bool `toml:"-"`
	}{})
	if want := []string{"port", "port.name", "port.units", "Plain"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Hidden is embedded, as configurations embed what they share.
type Hidden struct {
	Units int `toml:"units"`
}
