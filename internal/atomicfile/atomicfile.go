// Package atomicfile writes files that appear whole or not at all.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// follow is where the symbolic links at path lead, to a file that may not exist.
func follow(path string) (string, error) {
	for range 40 { // as many as Linux follows
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil // no link, or nothing that can be looked at: creating says so
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many levels of symbolic links")}
}

// Create begins a file for path, beside it and hidden. Where path is a symbolic
// link, the file that it leads to is replaced, and the link stays. Errors name
// path, not the hidden file.
func Create(path string) (*File, error) {
	path, err := follow(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, &fs.PathError{Op: "create", Path: path, Err: syscall.EISDIR}
	}
	f, err := create(path)
	if hidden := (*fs.PathError)(nil); errors.As(err, &hidden) {
		err = &fs.PathError{Op: "create", Path: path, Err: hidden.Err}
	}
	return f, err
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
