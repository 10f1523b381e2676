package structured_test

import (
	"fmt"

	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/structured"
)

// Begin with the settings that Fit has by default, change one, and check them:
// an error names the field.
func ExampleConfig_Check() {
	c := structured.Defaults()
	fmt.Println("load regimes:", c.Regimes, "segment:", c.SegmentS, "s")
	c.Regimes = 3
	c.Ranks = timegan.Config{Window: 24}
	fmt.Println(c.Check())
	c.SegmentS = -4
	fmt.Println(c.Check())
	// Output:
	// load regimes: 2 segment: 4 s
	// <nil>
	// structured: segment_s: -4 is outside 0.1…3600
}
