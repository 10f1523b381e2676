package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/planegym/planegym/internal/wait"
	"github.com/planegym/planegym/telemetry"
)

const (
	tailEvery = 100 * time.Millisecond
	maxLine   = 1 << 16 // bytes; a longer line is passed over
)

// Tail follows a player's log, as DASH of package telemetry, until ctx ends,
// and then returns nil. Of a log that exists when it starts only what is
// appended is taken; one that is created later, replaces it or is cut off and
// written anew is taken from its beginning, once it has its header line. Lines
// that cannot be read are counted and passed over. It looks every 100 ms; a log
// that is cut off and longer than before by the next look is taken for one that
// grew. An error is that of the file itself, not that there is none.
func (c *Collector) Tail(ctx context.Context, path string) error {
	f := &follower{c: c, path: path, skip: true}
	defer f.close()
	for {
		if err := f.poll(); err != nil {
			return fmt.Errorf("live: tail: %w", err)
		}
		if wait.For(ctx, tailEvery) != nil {
			return nil
		}
	}
}

// follower reads what is appended to a file.
type follower struct {
	c    *Collector
	path string
	skip bool // what the file holds is old

	file   *os.File
	offset int64
	header []byte
	line   int    // number of the line that is being read
	part   []byte // of it
	long   bool   // it is too long
	got    []stamped
	buf    [1 << 15]byte
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// poll takes what came since the last call.
func (f *follower) poll() error {
	if f.file == nil {
		file, err := telemetry.Open(f.path)
		if err != nil {
			f.skip = false
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		f.file, f.offset, f.header, f.line, f.part, f.long = file, 0, nil, 1, nil, false
	}
	if err := f.drain(); err != nil {
		return err
	}
	held, err := f.file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(f.path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil || !os.SameFile(held, named): // replaced: take the rest
		if err := f.drain(); err != nil {
			return err
		}
		f.split([]byte("\n"))
		f.close()
	case held.Size() < f.offset: // cut off
		f.close()
	}
	f.skip = false
	f.c.sampled(time.Now(), 0, f.got)
	f.got = f.got[:0]
	return nil
}

// drain reads to the end of the file.
func (f *follower) drain() error {
	for {
		n, err := f.file.ReadAt(f.buf[:], f.offset)
		f.offset += int64(n)
		f.split(f.buf[:n])
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// split takes the lines that end within b; of a long file the newest samples.
func (f *follower) split(b []byte) {
	var lines []byte
	first := f.line
	for len(b) > 0 {
		piece, rest, ended := bytes.Cut(b, []byte("\n"))
		if len(f.part)+len(piece) > maxLine {
			f.long, f.part = true, f.part[:0]
		} else if !f.long {
			f.part = append(f.part, piece...)
		}
		b = rest
		if !ended {
			break
		}
		switch {
		case f.long:
			_ = f.c.bad(&telemetry.ValueError{File: f.path, Line: f.line, Want: fmt.Sprintf("a line of at most %d bytes", maxLine)})
			if f.header != nil {
				lines = append(lines, '\n')
			}
		case f.header != nil:
			lines = append(append(lines, f.part...), '\n')
		case len(bytes.TrimSpace(f.part)) > 0:
			if _, err := f.c.parseLog(f.part, nil, f.path, f.line+1, nil); err != nil {
				_ = f.c.bad(err)
			} else {
				f.header = bytes.Clone(f.part)
			}
			first = f.line + 1
		}
		f.part, f.long = f.part[:0], false
		f.line++
	}
	if f.skip || len(lines) == 0 {
		return
	}
	got, err := f.c.parseLog(f.header, lines, f.path, first, func(err error) { _ = f.c.bad(err) })
	if err != nil {
		_ = f.c.bad(err)
	}
	f.got = append(f.got, got...)
	if over := len(f.got) - maxSamples; over > 0 {
		f.got = append(f.got[:0], f.got[over:]...)
	}
}
