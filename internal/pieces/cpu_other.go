//go:build !unix

package pieces

import "time"

var begun = time.Now()

// CPU is the seconds since the process began, where the system does not say
// more.
func CPU() float64 { return time.Since(begun).Seconds() }
