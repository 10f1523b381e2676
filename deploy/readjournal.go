package deploy

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrCut is the error of a journal whose last line is not whole, as a power
// cut leaves it. The entries before it are returned.
var ErrCut = errors.New("the last line is cut off")

// maxJournalLine bounds a line: an entry of a hundred switches is far below.
const maxJournalLine = 1 << 20

// ReadJournal reads what a Journal wrote. A line that is not an entry is an error
// with its number; the entries before it are returned.
func ReadJournal(r io.Reader) ([]Entry, error) {
	var all []Entry
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxJournalLine)
	lines.Split(wholeLines)
	for n := 1; lines.Scan(); n++ {
		text := lines.Bytes()
		if text[len(text)-1] != '\n' {
			return all, fmt.Errorf("journal: line %d: %w", n, ErrCut)
		}
		var e Entry
		if err := json.Unmarshal(text, &e); err != nil {
			return all, fmt.Errorf("journal: line %d: %w", n, err)
		}
		if e.Event == "" || e.Time.IsZero() {
			return all, fmt.Errorf("journal: line %d: no journal entry: it has no event or no time", n)
		}
		all = append(all, e)
	}
	if err := lines.Err(); err != nil {
		return all, fmt.Errorf("journal: line %d: %w", len(all)+1, err)
	}
	return all, nil
}

// wholeLines splits after each newline and keeps it, so that a last line
// without one can be recognised.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	for i, b := range data {
		if b == '\n' {
			return i + 1, data[:i+1], nil
		}
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
