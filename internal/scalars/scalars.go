// Package scalars logs the numbers of a training run over its steps: as CSV,
// and as event files that TensorBoard reads.
package scalars

import (
	"bufio"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Log writes rows of numbers under fixed names. It is for one caller at a
// time.
type Log struct {
	names  []string
	csv    *csv.Writer
	events *Events
	files  []*os.File
}

// Open makes folder with scalars.csv and an event file in it, or goes on with
// the ones there: a resumed run adds to its log. unix is the time in seconds
// that a new event file is named and stamped with.
//
// A scalars.csv of other columns is an error that says so.
func Open(folder string, unix int64, names ...string) (*Log, error) {
	return open(folder, unix, math.MaxInt64, names)
}

// Resume is Open for a run that goes on from its checkpoint at step. What was
// logged of later steps, by a run that was killed before its next checkpoint,
// is removed from scalars.csv, and an event makes TensorBoard drop it: those
// steps are done again.
func Resume(folder string, unix, step int64, names ...string) (*Log, error) {
	l, err := open(folder, unix, step, names)
	if err != nil {
		return nil, err
	}
	if err := l.events.restart(step+1, float64(unix)); err != nil {
		return nil, l.abort(err)
	}
	return l, nil
}

// open keeps the rows of steps up to last.
func open(folder string, unix, last int64, names []string) (*Log, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("scalars: %w", err)
	}
	l := &Log{names: names}
	header := append([]string{"step"}, names...)
	path := filepath.Join(folder, "scalars.csv")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("scalars: %w", err)
	}
	l.files, l.csv = append(l.files, f), csv.NewWriter(f)
	r := csv.NewReader(f)
	switch have, err := r.Read(); {
	case err == io.EOF:
		err = l.csv.Write(header)
		if err != nil {
			return nil, l.abort(err)
		}
	case err != nil:
		return nil, l.abort(fmt.Errorf("%s: %w", path, err))
	case !slices.Equal(have, header):
		return nil, l.abort(fmt.Errorf("%s has the columns %q, this run logs %q: give another folder", path, have, header))
	default:
		if err := keep(f, r, last); err != nil {
			return nil, l.abort(fmt.Errorf("%s: %w", path, err))
		}
	}
	e, err := os.OpenFile(filepath.Join(folder, fmt.Sprintf("events.out.tfevents.%010d.planegym", unix)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, l.abort(err)
	}
	l.files = append(l.files, e)
	if l.events, err = NewEvents(e, float64(unix)); err != nil {
		return nil, l.abort(err)
	}
	return l, nil
}

// keep cuts f, of which r has read the header, before its first row that is of
// a step after last, or that was not written to its end.
func keep(f *os.File, r *csv.Reader, last int64) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	end := r.InputOffset()
	for end < st.Size() {
		row, err := r.Read()
		at := r.InputOffset()
		if err != nil {
			break
		}
		step, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil || step > last {
			break
		}
		// The reader takes a last line without its end for a row.
		newline := make([]byte, 1)
		if _, err := f.ReadAt(newline, at-1); err != nil || newline[0] != '\n' {
			break
		}
		end = at
	}
	if end == st.Size() {
		return nil
	}
	return f.Truncate(end)
}

func (l *Log) abort(err error) error {
	for _, f := range l.files {
		f.Close()
	}
	return fmt.Errorf("scalars: %w", err)
}

// Add writes one row, values in the order of names, and flushes it. A value
// that is not a number (nothing to tell yet) leaves its cell empty. time is
// in seconds since 1970.
func (l *Log) Add(step int64, time float64, values ...float64) error {
	row := []string{strconv.FormatInt(step, 10)}
	for i, v := range values {
		cell := ""
		if !math.IsNaN(v) {
			cell = strconv.FormatFloat(v, 'g', -1, 64)
			if err := l.events.Scalar(step, time, l.names[i], float32(v)); err != nil {
				return fmt.Errorf("scalars: %w", err)
			}
		}
		row = append(row, cell)
	}
	if err := l.csv.Write(row); err != nil {
		return fmt.Errorf("scalars: %w", err)
	}
	l.csv.Flush()
	if err := l.csv.Error(); err != nil {
		return fmt.Errorf("scalars: %w", err)
	}
	if err := l.events.Flush(); err != nil {
		return fmt.Errorf("scalars: %w", err)
	}
	return nil
}

// Close closes the files.
func (l *Log) Close() error {
	l.csv.Flush()
	err := l.csv.Error()
	if e := l.events.Flush(); err == nil {
		err = e
	}
	for _, f := range l.files {
		if e := f.Close(); err == nil {
			err = e
		}
	}
	return err
}

// Events writes TensorBoard's event format: records framed as in TFRecord,
// each a protocol buffer of type tensorflow.Event.
type Events struct{ w *bufio.Writer }

// NewEvents begins a file on w with the version record.
func NewEvents(w io.Writer, time float64) (*Events, error) {
	e := &Events{bufio.NewWriter(w)}
	event := appendDouble(nil, 1, time)
	event = appendBytes(event, 3, []byte("brain.Event:2")) // file_version
	return e, e.record(event)
}

// Scalar writes one value. Event{wall_time=1, step=2, summary=5}, Summary{
// value=1}, Value{tag=1, simple_value=2}.
func (e *Events) Scalar(step int64, time float64, name string, value float32) error {
	v := appendBytes(nil, 1, []byte(name))
	v = append(v, 2<<3|5)
	v = binary.LittleEndian.AppendUint32(v, math.Float32bits(value))
	event := appendDouble(nil, 1, time)
	event = append(event, 2<<3)
	event = binary.AppendUvarint(event, uint64(step))
	event = appendBytes(event, 5, appendBytes(nil, 1, v))
	return e.record(event)
}

// restart says that what follows goes on before step: TensorBoard drops what it
// read of that step and later ones. Event{session_log=7}, SessionLog{status=1},
// START=1.
func (e *Events) restart(step int64, time float64) error {
	event := appendDouble(nil, 1, time)
	event = append(event, 2<<3)
	event = binary.AppendUvarint(event, uint64(step))
	return e.record(appendBytes(event, 7, []byte{1 << 3, 1}))
}

// Flush hands everything to the writer below.
func (e *Events) Flush() error { return e.w.Flush() }

// record frames one message: length (8 bytes), its masked CRC-32C, the
// message, its masked CRC-32C.
func (e *Events) record(b []byte) error {
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(b)))
	head = binary.LittleEndian.AppendUint32(head, masked(head))
	e.w.Write(head)
	e.w.Write(b)
	_, err := e.w.Write(binary.LittleEndian.AppendUint32(nil, masked(b)))
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is TFRecord's CRC-32C, rotated and shifted so that a file of
// checksums can be checksummed.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func appendDouble(b []byte, field byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, field<<3|1), math.Float64bits(x))
}

func appendBytes(b []byte, field byte, x []byte) []byte {
	return append(binary.AppendUvarint(append(b, field<<3|2), uint64(len(x))), x...)
}

// Read reads the scalars.csv of a folder: the steps, and the columns by their
// names. Errors name the line.
func Read(folder string) (steps []float64, columns map[string][]float64, err error) {
	path := filepath.Join(folder, "scalars.csv")
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("scalars: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	names, err := r.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("scalars: %s: %w", path, err)
	}
	if names[0] != "step" {
		return nil, nil, fmt.Errorf("scalars: %s: line 1: the first column is %q, expected step", path, names[0])
	}
	names, columns = names[1:], map[string][]float64{}
	for line := 2; ; line++ {
		cells, err := r.Read()
		if err == io.EOF {
			return steps, columns, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("scalars: %s: %w", path, err)
		}
		for i, text := range cells {
			x := math.NaN()
			if text != "" {
				if x, err = strconv.ParseFloat(text, 64); err != nil {
					return nil, nil, fmt.Errorf("scalars: %s: line %d: %q is not a number", path, line, text)
				}
			}
			if i == 0 {
				steps = append(steps, x)
			} else {
				columns[names[i-1]] = append(columns[names[i-1]], x)
			}
		}
	}
}
