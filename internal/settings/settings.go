// Package settings applies TOML files and KEY=VALUE pairs to a struct of settings. A key
// that the struct does not have is an error that suggests the nearest one.
package settings

import (
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/internal/nearest"
	"github.com/planegym/planegym/internal/nesting"
	"github.com/planegym/planegym/internal/unsigned"
)

// File sets in into, a pointer to a struct, what a TOML file says.
func File(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := decode(string(text), into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Pairs sets in into what KEY=VALUE pairs say, each a line of TOML.
func Pairs(pairs []string, into any) error {
	for _, p := range pairs {
		if !strings.Contains(p, "=") {
			return fmt.Errorf("%q is not KEY=VALUE", p)
		}
		if err := decode(p, into); err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
	}
	return nil
}

func decode(text string, into any) error {
	if err := nesting.TOML([]byte(text)); err != nil {
		return err
	}
	meta, err := toml.Decode(text, into)
	if err != nil {
		return err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0].String()
		return fmt.Errorf("unknown key %q%s", key, nearest.Hint(key, nearest.Keys(into)))
	}
	return unsigned.TOML(text, into)
}
