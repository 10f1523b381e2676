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

func create(path string) (*File, error) {
	return renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o644))
}
