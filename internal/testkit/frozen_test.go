package testkit

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// What was frozen is equal to itself, whatever else got has; each way to differ is found,
// and said with its place.
func TestFrozen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "f.json")
	was := map[string]any{"name": "x", "list": []any{1.5, true, nil, []float64{}}, "deep": map[string]any{"n": 1234567.25}}
	Frozen(t, path, was, 1e-6, true)
	Frozen(t, path, was, 1e-7, false)
	for change, want := range map[string]string{
		`{"name": "x", "list": [1.5, true, null, []], "deep": {"n": 1234568}, "more": 3}`: "",
		`{"name": "x", "list": [1.5, true, null, []], "deep": {"n": 1234569}}`:            ".deep.n is 1.234569e+06, was",
		`{"name": "x", "list": [1.500003, true, null, []], "deep": {"n": 1234567.25}}`:    ".list[0] is 1.500003, was 1.5",
		`{"name": "y", "list": [1.5, true, null, []], "deep": {"n": 1234567.25}}`:         ".name is y, was x",
		`{"name": "x", "list": [1.5, false, null, []], "deep": {"n": 1234567.25}}`:        ".list[1] is false",
		`{"name": "x", "list": [1.5, true, null], "deep": {"n": 1234567.25}}`:             ".list is [1.5 true <nil>]",
		`{"name": "x", "list": [1.5, true, null, [1]], "deep": {"n": 1234567.25}}`:        ".list[3] is [1], was []",
		`{"name": "x", "list": [1.5, true, null, []]}`:                                    ".deep is <nil>",
	} {
		text, err := json.Marshal(was)
		if err != nil {
			t.Fatal(err)
		}
		if got := differ("", decode(t, []byte(change)), decode(t, text), 1e-6); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", change, got, want)
		}
	}
}
