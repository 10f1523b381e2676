// Package atomicfile writes files that appear whole or not at all.
package atomicfile

import (
	"io"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// File is a file without its name yet. Cleanup lets go of it, unless
// CloseAtomicallyReplace gave it its name, synced to disk, in place of the file
// that had it.
type File = renameio.PendingFile

// Create begins a file for path, beside it and hidden.
func Create(path string) (*File, error) {
	return renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o644))
}

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
