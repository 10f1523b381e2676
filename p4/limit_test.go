package p4

import "testing"

func TestLimitCheck(t *testing.T) {
	for _, c := range []struct {
		limit Limit
		ok    bool
	}{{-1, false}, {0, false}, {1, true}, {64, true}, {MaxLimit, true}, {MaxLimit + 1, false}} {
		if err := c.limit.Check(); (err == nil) != c.ok {
			t.Errorf("Limit(%d).Check() = %v, want ok %v", c.limit, err, c.ok)
		}
	}
}
