// Package parquetfile opens Parquet files that may be damaged, and reads their
// rows. Input that makes the library panic, allocate without bound or loop is an
// error.
package parquetfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// Open opens a file of so many bytes.
func Open(in io.ReaderAt, size int64) (f *parquet.File, err error) {
	defer Recover(&err)
	var end [8]byte // the footer's length, "PAR1"
	if size < int64(len(end)) {
		return nil, fmt.Errorf("no Parquet file: %d bytes", size)
	}
	if _, err := in.ReadAt(end[:], size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n := int64(binary.LittleEndian.Uint32(end[:])); string(end[4:]) != "PAR1" || n > size-int64(len(end)) {
		return nil, errors.New("no Parquet file, or the end of one is missing")
	}
	if f, err = parquet.OpenFile(in, size); err != nil {
		return nil, fmt.Errorf("no Parquet file: %w", err)
	}
	return f, nil
}

// Recover makes a panic of the function that defers it an error.
func Recover(err *error) {
	if p := recover(); p != nil { // parquet-go panics on some damaged pages
		*err = fmt.Errorf("damaged Parquet file: %v", p)
	}
}

// Read calls read, a reader's method, for buffers of rows, and row for each of
// them, from 1, until the end. Errors name the row.
func Read[T any](read func([]T) (int, error), row func(*T) error) error {
	buffer := make([]T, 256)
	for n := 1; ; {
		clear(buffer)
		k, err := read(buffer)
		for i := range buffer[:k] {
			if err := row(&buffer[i]); err != nil {
				return fmt.Errorf("row %d: %w", n, err)
			}
			n++
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil && k == 0:
			err = io.ErrNoProgress
		}
		if err != nil {
			return fmt.Errorf("row %d: %w", n, err)
		}
	}
}
