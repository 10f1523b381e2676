package tomldoc_test

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/internal/tomldoc"
	"github.com/planegym/planegym/scenarios"
)

var update = flag.Bool("update", false, "rewrite docs/scenario-toml.md")

const preface = `# Keys of a scenario file

A scenario is one TOML file: ` + "`planegym scenario show NAME`" + ` prints a bundled one to start
from, ` + "`planegym scenario check FILE`" + ` says what is wrong with yours. A key that is not
listed here is an error that names it. Where the meaning gives a number or word after
a semicolon, that is the default.

This page is generated from the code: ` + "`go test ./internal/tomldoc -update`" + `.

`

func page(t *testing.T) string {
	t.Helper()
	s := tomldoc.Source{Root: "../..", Module: "github.com/planegym/planegym"}
	text, err := s.Markdown(scenarios.Scenario{})
	if err != nil {
		t.Fatal(err)
	}
	return preface + text
}

func TestPageIsUpToDate(t *testing.T) {
	const file = "../../docs/scenario-toml.md"
	text := page(t)
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != text {
		t.Errorf("%s is not what the code says: go test ./internal/tomldoc -update", file)
	}
}

// Every key that a bundled scenario sets, as the TOML parser finds it, is on
// the page with a meaning.
func TestBundledKeysAreDocumented(t *testing.T) {
	text := page(t)
	for _, name := range scenarios.Names() {
		source, err := scenarios.Source(name)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		meta, err := toml.Decode(string(source), &keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range meta.Keys() {
			last := key[len(key)-1]
			row := regexp.MustCompile("(?m)^\\| `(?:[a-z_]+\\.)*" + regexp.QuoteMeta(last) + "` \\|.*$").FindString(text)
			if row == "" {
				t.Errorf("%s: key %s is not on the page", name, key)
			} else if strings.HasSuffix(row, "|  |") {
				t.Errorf("%s: key %s has no meaning on the page: comment its field", name, key)
			}
		}
	}
}

func TestTypesAreInTOMLsWords(t *testing.T) {
	type inner struct {
		A *int       `toml:"a"` // one; 3
		B [2]float64 `toml:"b"`
	}
	type outer struct {
		inner
		Many []inner `toml:"many"`
		Off  bool    `toml:"-"`
	}
	s := tomldoc.Source{Root: ".", Module: "elsewhere"}
	got, err := s.Markdown(outer{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| `many` | array of tables |", "## [[many]]", "| `many.a` | integer |", "| `many.b` | 2 × number |"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "Off") || reflect.TypeOf(outer{}).NumField() != 3 {
		t.Errorf("a field that TOML skips is documented:\n%s", got)
	}
}
