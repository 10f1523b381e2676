//go:build !windows

package atomicfile

import (
	"path/filepath"

	"github.com/google/renameio/v2"
)

// File is a file without its name yet. Cleanup lets go of it, unless
// CloseAtomicallyReplace gave it its name, synced to disk, in place of the file
// that had it.
type File = renameio.PendingFile

// Create begins a file for path, beside it and hidden. Where path is a symbolic
// link, the file that it leads to is replaced, and the link stays.
func Create(path string) (*File, error) {
	path, err := follow(path)
	if err != nil {
		return nil, err
	}
	return renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o644))
}
