package sweep

import "fmt"

// ParseShard reads I/N: every N-th member, from the I-th.
func ParseShard(s string) (i, n int, err error) {
	var rest string
	if k, _ := fmt.Sscanf(s+" ", "%d/%d%s", &i, &n, &rest); k != 2 || i < 1 || i > n {
		return 0, 0, fmt.Errorf("%q is not I/N with I from 1 to N", s)
	}
	return i, n, nil
}
