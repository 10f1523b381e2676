// Package pieces keeps the results of a long computation piece by piece, so that
// it can be computed in several runs and goes on after an interruption.
package pieces

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym/internal/atomicfile"
)

// Folder is where results are kept, a file of JSON a piece; "": nowhere.
type Folder string

// Get reads the result of a piece; false where it is not there yet.
func Get[T any](f Folder, name string) (result T, ok bool, err error) {
	if f == "" {
		return result, false, nil
	}
	text, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return result, false, nil
	}
	if err != nil {
		return result, false, err
	}
	if err := json.Unmarshal(text, &result); err != nil {
		return result, false, fmt.Errorf("%s: %w: remove it to compute the piece again", f.path(name), err)
	}
	return result, true, nil
}

// Do is the result of a piece: the one that is there, else what compute gives,
// which is kept. A file appears whole or not at all.
func Do[T any](f Folder, name string, compute func() (T, error)) (T, error) {
	result, ok, err := Get[T](f, name)
	if ok || err != nil {
		return result, err
	}
	if result, err = compute(); err != nil {
		return result, fmt.Errorf("%s: %w", name, err)
	}
	if f == "" {
		return result, nil
	}
	if err := os.MkdirAll(string(f), 0o777); err != nil {
		return result, err
	}
	return result, atomicfile.Write(f.path(name), func(w io.Writer) error { return json.NewEncoder(w).Encode(result) })
}

// DoIf is Do of a piece that is wanted now, and Get of others.
func DoIf[T any](f Folder, name string, wanted bool, compute func() (T, error)) (result T, ok bool, err error) {
	if !wanted {
		return Get[T](f, name)
	}
	result, err = Do(f, name, compute)
	return result, err == nil, err
}

// path is the file of a piece.
func (f Folder) path(name string) string {
	return filepath.Join(string(f), strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' || r == filepath.Separator {
			return '-'
		}
		return r
	}, name)+".json")
}
