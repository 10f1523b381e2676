//go:build !linux

package cli

import "github.com/planegym/planegym/internal/switches"

// examineClock cannot tell here.
func examineClock() switches.Finding {
	return switches.Finding{Switch: "here", Check: "clock", Level: switches.Warning, Says: "whether a time service keeps it cannot be told on this system"}
}
