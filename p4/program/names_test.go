package program

import (
	"fmt"
	"testing"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		v     uint64
		width int32
		want  string
	}{{0, 9, "00"}, {1, 9, "01"}, {255, 9, "ff"}, {256, 9, "0100"}, {511, 9, "01ff"}, {512, 9, ""}, {1 << 47, 48, "800000000000"}} {
		b, err := Canonical(c.v, c.width)
		if got := fmt.Sprintf("%x", b); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("canonical(%d, %d) = %s, %v; want %s", c.v, c.width, got, err, c.want)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"0", "0x1ff", "10.0.0.1", "00:00:0a:00:00:01", "-1", "", "1e3"} {
		f.Add(s, int32(48))
	}
	f.Fuzz(func(t *testing.T, s string, width int32) {
		b, err := parseValue(s, width)
		if err == nil && (len(b) == 0 || len(b) > 1 && b[0] == 0) {
			t.Errorf("parseValue(%q, %d) = %x is not canonical", s, width, b)
		}
	})
}
