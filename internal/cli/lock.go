package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/gofrs/flock"
)

// lockOutput keeps other processes from writing the file or folder that a flag
// names, until release. The lock goes with the process, however it ends. What
// a killed process left beside path, half written, is removed.
func lockOutput(flag, path string) (release func(), err error) {
	dir, base := filepath.Split(filepath.Clean(path))
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	file := filepath.Join(dir, "."+base+".lock")
	lock := flock.New(file)
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: another process is writing %s", flag, path)
	}
	left := regexp.MustCompile(`^\.` + regexp.QuoteMeta(base) + `[0-9]+$`)
	entries, err := os.ReadDir(dir)
	if err == nil {
		for _, e := range entries {
			if left.MatchString(e.Name()) && e.Type().IsRegular() {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
	return func() {
		_ = os.Remove(file) // while it is locked, so that the next one locks a file of its own
		_ = lock.Unlock()
	}, nil
}
