// Package atomicfile writes files that appear whole or not at all.
package atomicfile

import (
	"io"
)

// Write makes path hold what write writes, or, on an error, what it held.
func Write(path string, write func(io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Cleanup() // after a success there is nothing to do
	if err := write(f); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
