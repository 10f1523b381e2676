//go:build race

package ws

// raced says that the race detector slows the test ten times.
const raced = true
