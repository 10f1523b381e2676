//go:build unix

package deploy

import (
	"os"
	"syscall"
)

// lock takes a file for this process alone until it is closed.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
