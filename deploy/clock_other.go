//go:build !linux

package deploy

// ExamineClock cannot tell here.
func ExamineClock() Finding {
	return Finding{Switch: "here", Check: "clock", Level: Warning, Says: "whether a time service keeps it cannot be told on this system"}
}
