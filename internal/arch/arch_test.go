// Package arch tests which package may import which.
package arch

import (
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/planegym/planegym/"

// allowed.txt has a line for each import of one of our packages by another:
// "importer imported". A package that imports none of ours is alone on its
// line. Each pair has its own line, so that two branches which add imports merge.
//
//go:embed allowed.txt
var allowed string

// table is allowed by importer.
func table() map[string][]string {
	may := map[string][]string{}
	for line := range strings.Lines(allowed) {
		if pair := strings.Fields(line); len(pair) > 0 {
			may[pair[0]] = append(may[pair[0]], pair[1:]...)
		}
	}
	return may
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := table()
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		name := short(p.ImportPath)
		may, known := allowed[name]
		if !known {
			t.Errorf("%s is not listed in internal/arch", name)
			continue
		}
		for _, i := range p.Imports {
			if ours := strings.HasPrefix(i+"/", module); ours && !slices.Contains(may, short(i)) {
				t.Errorf("%s imports %s; it may import %v", name, i, may)
			}
		}
	}
}

// short is a package's path in the module; the root's is planegym.
func short(path string) string {
	if path+"/" == module {
		return "planegym"
	}
	return strings.TrimPrefix(path, module)
}
