package testkit

import (
	"strings"
	"testing"
)

// BothSides checks both sides of a configuration's bounds: check has no error for what is
// accepted, and for what is refused one that begins with prefix, which names the field.
func BothSides[E any](t *testing.T, prefix string, accept, refuse []E, check func(E) error) {
	t.Helper()
	for i, x := range accept {
		if err := check(x); err != nil {
			t.Errorf("%s accepted %d: %v", prefix, i, err)
		}
	}
	for i, x := range refuse {
		if err := check(x); err == nil || !strings.HasPrefix(err.Error(), prefix) {
			t.Errorf("%s refused %d: %v", prefix, i, err)
		}
	}
}
