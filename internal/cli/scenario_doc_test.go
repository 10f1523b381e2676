package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/internal/envpage"
	"github.com/planegym/planegym/scenarios"
)

// The committed pages of environments are what the code says.
func TestEnvironmentPagesAreUpToDate(t *testing.T) {
	if testing.Short() {
		t.Skip("opens every scenario")
	}
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		g := planegym.Gym{Data: os.Getenv("PLANEGYM_DATA")}
		if s.Plant == "replay" && g.Data == "" {
			t.Logf("%s skipped: PLANEGYM_DATA is not set", name)
			continue
		}
		page, err := envpage.Describe(t.Context(), &g, s, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := os.ReadFile(filepath.Join("../../docs/environments", name+".md"))
		if err != nil {
			t.Fatal(err)
		}
		if want := page.Markdown(); strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
			t.Errorf("docs/environments/%s.md is not what planegym scenario doc %[1]s prints", name)
		}
	}
}
