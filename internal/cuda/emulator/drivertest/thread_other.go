//go:build !linux

package drivertest

// threadID is 0: threads have ids on Linux only.
func threadID() int { return 0 }
