package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/settings"
)

type config struct {
	Hidden []int   `toml:"hidden"`
	Rate   float64 `toml:"rate"`
	Inner  struct {
		Seed int `toml:"seed"`
	} `toml:"inner"`
}

func TestPairs(t *testing.T) {
	c := config{Rate: 1}
	if err := settings.Pairs([]string{"hidden=[3,4]", "inner.seed=7", "hidden = [5]"}, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Hidden) != 1 || c.Hidden[0] != 5 || c.Inner.Seed != 7 || c.Rate != 1 {
		t.Errorf("%+v", c)
	}
	for pair, want := range map[string]string{
		"hidden":               `"hidden" is not KEY=VALUE`,
		"hiden=[3]":            `unknown key "hiden": did you mean "hidden"?`,
		"inner.sed=3":          `unknown key "inner.sed": did you mean "inner.seed"?`,
		"rate=fast":            `"rate=fast": `,
		"hidden='x'":           `"hidden='x'": `,
		"a=" + deep("[", "]"):  "nested too deeply",
		"x=1\nhidden=[\n":      `"x=1\nhidden=[\n": `,
		deep("a.", "") + "b=1": "nested too deeply",
	} {
		if err := settings.Pairs([]string{pair}, &c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %s", pair, err, want)
		}
	}
}

func deep(open, shut string) string { return strings.Repeat(open, 40) + strings.Repeat(shut, 40) }

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	var c config
	if err := settings.File(path, &c); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
	for text, want := range map[string]string{"rate = 2\n[inner]\nseed = 9\n": "", "[inner]\nsead = 9\n": `c.toml: unknown key "inner.sead": did you mean "inner.seed"?`, "rate =": "c.toml: "} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := settings.File(path, &c)
		if want == "" && (err != nil || c.Rate != 2 || c.Inner.Seed != 9) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, %+v", text, err, c)
		}
	}
}
