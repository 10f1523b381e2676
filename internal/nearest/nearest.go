// Package nearest suggests the key, flag or name closest to a mistyped one.
package nearest

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Hint is `: did you mean "x"?` for the candidate nearest to word, or "" where
// none is near: a third of the letters may differ, one at least.
func Hint(word string, candidates []string) string {
	best, least := "", max(len(word)/3, 1)+1
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(c)); d < least && c != word {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// Keys are the TOML keys that v's type decodes, nested ones as table.key, each
// type once.
func Keys(v any) []string {
	var keys []string
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		defer delete(seen, t)
		for i := range t.NumField() {
			f := t.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			switch {
			case key == "-" || !f.IsExported() && !f.Anonymous:
			case key == "" && f.Anonymous:
				walk(f.Type, prefix)
			default:
				if key == "" {
					key = f.Name
				}
				keys = append(keys, prefix+key)
				walk(f.Type, prefix+key+".")
			}
		}
	}
	walk(reflect.TypeOf(v), "")
	return keys
}
