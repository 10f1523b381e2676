package nesting_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/internal/nesting"
)

func TestJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for text, want := range map[string]bool{
		deep(16):                              true,
		deep(17):                              false,
		strings.Repeat("[", 17):               false,
		`"` + strings.Repeat("[", 99) + `"`:   true,
		`"\"` + strings.Repeat("[", 99) + `"`: true,
		`"\\"` + strings.Repeat("[", 99):      false,
		strings.Repeat("[],", 99):             true,
		"":                                    true,
	} {
		if err := nesting.JSON([]byte(text)); errors.Is(err, nesting.ErrTooDeep) == want {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

func TestTOML(t *testing.T) {
	deep := func(n int) string { return "x = " + strings.Repeat("{a=", n) + "1" + strings.Repeat("}", n) }
	brackets := strings.Repeat("[", 99)
	dots := strings.Repeat("a.", 99)
	for text, want := range map[string]bool{
		deep(16):                                       true,
		deep(17):                                       false,
		"x = " + brackets:                              false,
		strings.Repeat("a.", 15) + "a = 1":             true,
		strings.Repeat("a.", 16) + "a = 1":             false,
		"[" + strings.Repeat("a . ", 16) + "]":         false,
		strings.Repeat("'a'.", 16) + "a = 1":           false,
		strings.Repeat("a = 1.5\n", 99):                true,
		"a = [" + strings.Repeat("1.5,", 99) + "]":     true,
		"# " + brackets + dots:                         true,
		"a = '" + brackets + dots + "'":                true,
		"a = \"\\\"" + brackets + dots + "\"":          true,
		"a = '''\n" + brackets + "'\n" + dots + "''''": true,
		"a = \"\"\"\n\\\"\"\"" + brackets + "\"\"\"":   true,
		"a = ''\nb = " + brackets:                      false,
		"a = '\nb = " + brackets:                       false,
		strings.Repeat("[a]\n", 99):                    true,
		"a = 'x\\'\nb = " + brackets:                   false, // a literal string knows no escapes
	} {
		if err := nesting.TOML([]byte(text)); errors.Is(err, nesting.ErrTooDeep) == want {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	err := nesting.TOML([]byte("a = '''\n\n'''\nb = " + brackets))
	if err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("%v, want it to name line 4", err)
	}
}

// FuzzTOML compares with the decoder: what it reads as deeper than Max in one
// inline value or one key was refused.
func FuzzTOML(f *testing.F) {
	for _, s := range []string{"a.b.c = {d = [1]}", "[x.y]\nz = '''\n[[[['''", "a = \"\\\"[\" # [", "'a.b'.\"c[\" = 1.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if nesting.TOML([]byte(text)) != nil || len(text) > 2000 {
			return
		}
		var v map[string]any
		if meta, err := toml.Decode(text, &v); err == nil {
			for _, k := range meta.Keys() {
				if len(k) > 3*nesting.Max*nesting.Max {
					t.Errorf("accepted a key of %d parts", len(k))
				}
			}
			if d := depth(v); d > 3*nesting.Max*nesting.Max {
				t.Errorf("accepted depth %d", d)
			}
		}
	})
}

func depth(v any) int {
	most := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			most = max(most, depth(e))
		}
	case []any:
		for _, e := range v {
			most = max(most, depth(e))
		}
	case []map[string]any:
		for _, e := range v {
			most = max(most, depth(e))
		}
	default:
		return 0
	}
	return 1 + most
}
