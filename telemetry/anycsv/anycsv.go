// Package anycsv reads any CSV of a time series, a row a time step, as a recording: it
// finds out what separates the cells, which column is time, what each of the others
// holds and which rows are missing, and says what it found.
package anycsv

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// Options say what of a file is read. The zero value leaves all to be found out.
type Options struct {
	Time      string   // the column of time; "": a column of dates, or one that counts the rows, if there is one
	Columns   []string // those to model; nil: all that hold numbers
	Condition string   // the column that conditions the model: whole numbers from 1, or words, which are numbered
}

// File is a CSV and what was found in it.
type File struct {
	Separator byte
	NoHeader  bool   // the first line holds numbers: columns are named column1 and so on
	Reversed  bool   // the last row came first
	Rows      int    // read
	Clock     *Clock // nil: rows are taken as they come
	Condition *Condition
	Columns   []Column
	Recording telemetry.Recording // of the modelled columns; a row that is missing holds nothing
}

// Clock is the column of time.
type Clock struct {
	Column string
	// Step is the time between rows, as most are apart, seconds where Dates is set,
	// else in the column's unit; 0 where rows are irregular.
	Step     float64
	Dates    bool
	First    time.Time // of dates
	Inserted int       // rows that are missing, by the step: inserted without a value
}

// Condition is the column that conditions the model.
type Condition struct {
	Column string
	Words  []string // by number from 1; nil of numbers
}

// Column is what one column holds.
type Column struct {
	Name      string
	Kind      Kind
	Modelled  bool
	Why       string // it is not modelled
	Missing   int    // cells without a value, inserted rows apart
	Low, High float64
}

// Kind is what the cells of a column are.
type Kind string

// Kinds.
const (
	Real     Kind = "real numbers"
	Whole    Kind = "whole numbers"
	Constant Kind = "one number"
	Counter  Kind = "the row's number"
	Dates    Kind = "dates"
	Words    Kind = "words"
	Empty    Kind = "nothing"
)

// ReadFile reads the file at path. Errors name it.
func ReadFile(path string, o Options) (*File, error) {
	f, err := telemetry.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := Read(f, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// Read reads a CSV. A cell that is empty, or says NaN, null, ? or the like, was not
// measured. Numbers may have a decimal comma where cells are not separated by one, or
// commas between thousands; rows that run backwards in time are turned round.
func Read(r io.Reader, o Options) (*File, error) {
	t, err := readCells(r)
	if err != nil {
		return nil, err
	}
	return t.file(o)
}

// cells are the text of a file.
type cells struct {
	separator byte
	noHeader  bool
	head      []string
	rows      [][]string
	lines     []int // of the file, by row, from 1
	columns   []column
}

func readCells(r io.Reader) (*cells, error) {
	in := telemetry.NewCSV(r)
	t := &cells{separator: byte(in.Comma)}
	for {
		rec, err := in.Read()
		var parse *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return t, t.check()
		case errors.As(err, &parse) && errors.Is(parse.Err, csv.ErrFieldCount):
			return nil, fmt.Errorf("line %d: %d cells, expected %d as in line 1", parse.Line, len(rec), in.FieldsPerRecord)
		case err != nil:
			return nil, err
		}
		for i := range rec {
			rec[i] = strings.TrimSpace(rec[i])
		}
		if t.head == nil {
			rec[0] = strings.TrimPrefix(rec[0], "\ufeff")
			if t.head = rec; headless(rec, t.separator) {
				t.noHeader = true
				t.head = make([]string, len(rec)) // check names them
			} else {
				continue
			}
		}
		line, _ := in.FieldPos(0)
		t.rows, t.lines = append(t.rows, rec), append(t.lines, line)
	}
}

// headless says whether a first line holds numbers, and no names.
func headless(rec []string, separator byte) bool {
	numbers := 0
	for _, cell := range rec {
		_, number := parseNumber(cell, separator)
		_, date := parseDate(cell)
		switch {
		case number:
			numbers++
		case !date && !missing(cell):
			return false
		}
	}
	return numbers > 0
}

// check looks at the header and the number of rows, and finds what columns hold.
func (t *cells) check() error {
	if t.head == nil {
		return errors.New("the file is empty")
	}
	seen := map[string]int{}
	for i, name := range t.head {
		if name == "" { // pandas writes its index so
			name = fmt.Sprint("column", i+1)
			t.head[i] = name
		}
		if first, twice := seen[name]; twice {
			return fmt.Errorf("columns %d and %d are both named %s: rename one", first+1, i+1, name)
		}
		seen[name] = i
	}
	if len(t.rows) < 2 {
		return fmt.Errorf("%d rows: a row is a time step, and a series needs two at least; the header names %s", len(t.rows), few(t.head))
	}
	for i := range t.head {
		t.columns = append(t.columns, t.column(i))
	}
	return nil
}

// few are the first names of many.
func few(names []string) string {
	if len(names) > 12 {
		return strings.Join(names[:12], ", ") + fmt.Sprintf(" and %d more", len(names)-12)
	}
	return strings.Join(names, ", ")
}

// find is the place of a column that a flag names.
func (t *cells) find(flag, name string) (int, error) {
	i := slices.Index(t.head, name)
	if i < 0 {
		return i, &NameError{flag, fmt.Errorf("there is no column %q: found %s", name, few(t.head))}
	}
	return i, nil
}

// NameError is a column that an option names and that will not do.
type NameError struct {
	Option string // time, columns or condition
	Err    error
}

func (e *NameError) Error() string { return e.Option + ": " + e.Err.Error() }

func (e *NameError) Unwrap() error { return e.Err }
