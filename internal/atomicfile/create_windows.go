package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// File is a file without its name yet. Cleanup lets go of it, unless
// CloseAtomicallyReplace gave it its name, synced to disk, in place of the file
// that had it. renameio leaves Windows out because a rename there need not be
// atomic over a crash; readers still see the old file or the new one, whole.
type File struct {
	*os.File
	path string
	done bool
}

func create(path string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"*")
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: path}, nil
}

// Cleanup removes a file that was not given its name.
func (f *File) Cleanup() error {
	if f.done {
		return nil
	}
	f.done = true
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// CloseAtomicallyReplace syncs the file, closes it and gives it its name.
func (f *File) CloseAtomicallyReplace() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), f.path); err != nil { // replaces what has the name
		return err
	}
	f.done = true
	return nil
}
