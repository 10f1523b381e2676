//go:build !linux

package drivertest

// threadID is 0: threads are told apart on Linux only.
func threadID() int { return 0 }
