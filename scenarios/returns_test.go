package scenarios_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/planegym/planegym/scenarios"
)

// Measured returns are put beside those of other scenarios, and replace their own.
func TestKeepReturns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "returns.json")
	old := scenarios.Returns{Measured: "before", Policies: []scenarios.Return{{Policy: "random", Mean: 1, Episodes: 2}}}
	now := scenarios.Returns{Measured: "a <b>", Policies: []scenarios.Return{{Policy: "fixed:32", Mean: 3, CI: .5, Episodes: 20}}}
	for _, keep := range []struct {
		name string
		r    scenarios.Returns
	}{{"one", old}, {"two", old}, {"one", now}} {
		if err := keep.r.Keep(file, keep.name); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]scenarios.Returns
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, map[string]scenarios.Returns{"one": now, "two": old}) {
		t.Errorf("%s %v", text, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := now.Keep(file, "one"); err == nil {
		t.Error("a file that is not JSON was replaced")
	}
}
