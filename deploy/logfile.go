package deploy

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// logFile is a log that grows line by line under its own name, so that what was
// recorded is there whatever becomes of this process. A log of a run that ended
// early is continued: a line that was torn is cut off, the time between is a
// gap.
type logFile struct {
	name      string
	f         *os.File
	fresh     bool  // made by this run
	continued bool  // it holds lines of a run before
	rows      int   // written by this run
	last      int64 // µs, of the last line
	err       error // of the first write that failed
}

const tailBytes = 1 << 16 // more than the longest line

// openLogFile opens a log with a header line; perSecond is the unit of its
// first column, which ends at the separator.
func openLogFile(dir, name, header string, separator byte, perSecond float64) (l logFile, err error) {
	l.name = filepath.Join(dir, name)
	fail := func(format string, args ...any) (logFile, error) {
		if l.f != nil {
			l.f.Close()
			l.f = nil
		}
		return l, fmt.Errorf("collect: %s: %w", l.name, fmt.Errorf(format, args...))
	}
	if l.f, err = os.OpenFile(l.name, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return logFile{}, fmt.Errorf("collect: %w", err)
	}
	if err := lock(l.f); err != nil {
		return fail("another process is writing it: %w", err)
	}
	info, err := l.f.Stat()
	if err != nil {
		return fail("%w", err)
	}
	if !info.Mode().IsRegular() {
		return fail("it is not a regular file")
	}
	size := info.Size()
	begin := make([]byte, min(size, int64(len(header)+1)))
	if _, err := l.f.ReadAt(begin, 0); err != nil {
		return fail("%w", err)
	}
	switch {
	case bytes.HasPrefix([]byte(header+"\n"), begin) && len(begin) <= len(header): // none yet, or torn
		l.fresh = size == 0
		if err := l.f.Truncate(0); err != nil {
			return fail("%w", err)
		}
		if _, err := fmt.Fprintln(l.f, header); err != nil {
			return fail("%w", err)
		}
		return l, nil
	case string(begin) != header+"\n":
		return fail("it has other columns: give another folder by --out")
	}
	from := max(size-tailBytes, 0)
	tail := make([]byte, size-from)
	if _, err := l.f.ReadAt(tail, from); err != nil {
		return fail("%w", err)
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if err := l.f.Truncate(from + int64(end)); err != nil {
		return fail("%w", err)
	}
	if _, err := l.f.Seek(0, io.SeekEnd); err != nil {
		return fail("%w", err)
	}
	line := bytes.TrimSuffix(tail[:end], []byte("\n"))
	if line = line[bytes.LastIndexByte(line, '\n')+1:]; string(line) == header {
		return l, nil
	}
	stamp, _, _ := bytes.Cut(line, []byte{separator})
	t, err := strconv.ParseFloat(string(stamp), 64)
	if err != nil {
		return fail("its last line begins with %q, no time", stamp)
	}
	l.last, l.continued = int64(t*1e6/perSecond), true
	return l, nil
}

// write appends a line.
func (l *logFile) write(line []byte) {
	if l.err != nil {
		return
	}
	if _, err := l.f.Write(line); err != nil {
		l.err = fmt.Errorf("collect: %w", err)
		return
	}
	l.rows++
}

// close ends the log; an empty one that this run made goes.
func (l *logFile) close() error {
	if l.f == nil {
		return nil
	}
	err := l.err
	if e := l.f.Sync(); err == nil && e != nil {
		err = fmt.Errorf("collect: %w", e)
	}
	if l.fresh && l.rows == 0 {
		os.Remove(l.name)
	}
	if e := l.f.Close(); err == nil && e != nil {
		err = fmt.Errorf("collect: %w", e)
	}
	l.f = nil
	return err
}
