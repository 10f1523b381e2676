// Package safetensors reads and writes the safetensors format
// (https://github.com/huggingface/safetensors): a JSON header of names,
// shapes and offsets, then the numbers, little-endian.
//
// A file written here also carries the CRC-32C of its numbers under the
// metadata key "crc32c", which Open checks; the format has none of its own.
package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/atomicfile"
)

// ErrFormat is wrapped by every error that says a file is not a valid
// safetensors file, or none with the tensor asked for.
var ErrFormat = errors.New("not a valid safetensors file")

// Number is what a tensor may hold: F32, F64, I32, I64, U64 or U8.
type Number interface {
	float32 | float64 | int32 | int64 | uint64 | uint8
}

// Tensor is one named array to be written; Data is a slice of a Number.
type Tensor struct {
	Name  string
	Shape []int // row-major; nil is a single number
	Data  any
}

// Info is what the header says of a tensor.
type Info struct {
	Type  string // "F32" …
	Shape []int
	begin int64 // in the data section
	bytes int64
}

const (
	maxHeader   = 100 << 20 // bytes, the format's own bound
	checksumKey = "crc32c"
	metadataKey = "__metadata__"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sizes is the bytes of an element. Types that cannot be read here still
// count: a file may hold tensors that no caller reads.
var sizes = map[string]int64{
	"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4,
	"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}

func typeOf(data any) (name string, n int, err error) {
	switch d := data.(type) {
	case []float32:
		return "F32", len(d), nil
	case []float64:
		return "F64", len(d), nil
	case []int32:
		return "I32", len(d), nil
	case []int64:
		return "I64", len(d), nil
	case []uint64:
		return "U64", len(d), nil
	case []uint8:
		return "U8", len(d), nil
	}
	return "", 0, fmt.Errorf("%T is no slice of a number this package writes", data)
}

// WriteFile writes a file that appears whole or not at all.
func WriteFile(path string, metadata map[string]string, tensors []Tensor) error {
	if err := atomicfile.Write(path, func(w io.Writer) error { return Write(w, metadata, tensors) }); err != nil {
		return fmt.Errorf("safetensors: %s: %w", path, err)
	}
	return nil
}

// entry is a tensor in the header.
type entry struct {
	Type    string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Write writes metadata and tensors to w. Equal arguments, in any order, give
// equal bytes. Errors: two tensors of one name, a shape that does not fit its
// data, or w's.
func Write(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	tensors = slices.Clone(tensors)
	header := map[string]any{}
	for _, t := range tensors {
		typ, n, err := typeOf(t.Data)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		product := 1
		for _, d := range t.Shape {
			product *= d
		}
		if product != n {
			return fmt.Errorf("tensor %q: shape %v holds %d numbers, not %d", t.Name, t.Shape, product, n)
		}
		if _, twice := header[t.Name]; twice || t.Name == metadataKey {
			return fmt.Errorf("tensor %q is a duplicate", t.Name)
		}
		header[t.Name] = entry{Type: typ}
	}
	// Wide elements first: every tensor is then aligned.
	width := func(t Tensor) int64 { return sizes[header[t.Name].(entry).Type] }
	slices.SortFunc(tensors, func(a, b Tensor) int {
		if d := width(b) - width(a); d != 0 {
			return int(d)
		}
		return strings.Compare(a.Name, b.Name)
	})
	sum := crc32.New(castagnoli)
	var at int64
	for _, t := range tensors {
		e := header[t.Name].(entry)
		_, n, _ := typeOf(t.Data)
		end := at + int64(n)*sizes[e.Type]
		e.Shape, e.Offsets = append([]int{}, t.Shape...), [2]int64{at, end}
		header[t.Name], at = e, end
		if err := encode(sum, t.Data); err != nil {
			return err
		}
	}
	m := map[string]string{}
	maps.Copy(m, metadata)
	m[checksumKey] = fmt.Sprintf("%08x", sum.Sum32())
	header[metadataKey] = m
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	if len(text) > maxHeader {
		return fmt.Errorf("header of %d bytes is longer than %d", len(text), maxHeader)
	}
	b := bufio.NewWriterSize(w, 1<<16)
	b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
	b.Write(text)
	for _, t := range tensors {
		if err := encode(b, t.Data); err != nil {
			return err
		}
	}
	return b.Flush()
}

// chunk is how many numbers are converted at a time.
const chunk = 4096

func encode(w io.Writer, data any) error {
	switch d := data.(type) {
	case []float32:
		return encodeSlice(w, d, func(b []byte, x float32) []byte {
			return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		})
	case []float64:
		return encodeSlice(w, d, func(b []byte, x float64) []byte {
			return binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		})
	case []int32:
		return encodeSlice(w, d, func(b []byte, x int32) []byte { return binary.LittleEndian.AppendUint32(b, uint32(x)) })
	case []int64:
		return encodeSlice(w, d, func(b []byte, x int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(x)) })
	case []uint64:
		return encodeSlice(w, d, binary.LittleEndian.AppendUint64)
	}
	_, err := w.Write(data.([]uint8))
	return err
}

func encodeSlice[T any](w io.Writer, data []T, add func([]byte, T) []byte) error {
	buf := make([]byte, 0, 8*min(chunk, len(data)))
	for len(data) > 0 {
		n := min(chunk, len(data))
		buf = buf[:0]
		for _, x := range data[:n] {
			buf = add(buf, x)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// File is an opened file. Its tensors are read when asked for.
type File struct {
	Metadata map[string]string // without the checksum
	tensors  map[string]Info
	data     *io.SectionReader
	path     string
	close    func() error
}

// Open opens a file and checks all of it: header, offsets, length, and the
// checksum where it has one. What is wrong is said in an error that wraps
// ErrFormat.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	s, err := New(f, st.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	s.path, s.close = path, f.Close
	return s, nil
}

// New is Open for size bytes that something else owns.
func New(r io.ReaderAt, size int64) (*File, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
	var head [8]byte
	if size < int64(len(head))+2 {
		return nil, bad("%d bytes are too few for a header", size)
	}
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > maxHeader {
		return nil, bad("the first 8 bytes give a header of %d bytes; this is another format, or damaged", n)
	}
	if int64(n) > size-8 {
		return nil, bad("truncated: a header of %d bytes in a file of %d", n, size)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil {
		return nil, err
	}
	f := &File{Metadata: map[string]string{}, tensors: map[string]Info{}, close: func() error { return nil }}
	if err := f.parse(text); err != nil {
		return nil, bad("header: %v", err)
	}
	names := f.Names()
	slices.SortFunc(names, func(a, b string) int {
		x, y := f.tensors[a], f.tensors[b]
		if x.begin != y.begin {
			return int(min(max(x.begin-y.begin, -1), 1))
		}
		return int(min(max(x.bytes-y.bytes, -1), 1)) // empty ones first
	})
	var at int64
	for _, name := range names {
		t := f.tensors[name]
		if t.begin != at {
			return nil, bad("tensor %q begins at byte %d, the one before it ends at %d", name, t.begin, at)
		}
		at += t.bytes
	}
	switch have := size - 8 - int64(n); {
	case have < at:
		return nil, bad("truncated: %d bytes of numbers, the header tells of %d", have, at)
	case have > at:
		return nil, bad("%d bytes follow the last tensor", have-at)
	}
	f.data = io.NewSectionReader(r, 8+int64(n), at)
	if want, ok := f.Metadata[checksumKey]; ok {
		delete(f.Metadata, checksumKey)
		sum := crc32.New(castagnoli)
		if _, err := io.Copy(sum, f.data); err != nil {
			return nil, err
		}
		if got := fmt.Sprintf("%08x", sum.Sum32()); got != want {
			return nil, bad("corrupt: the numbers have checksum %s, the header tells of %s", got, want)
		}
	}
	return f, nil
}

// parse reads the header by tokens: encoding/json alone would let a name
// stand twice.
func (f *File) parse(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("is no JSON object")
	}
	var seenMetadata bool
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		name := t.(string) // what the decoder gives for a key
		if name == metadataKey {
			if seenMetadata {
				return fmt.Errorf("%s is a duplicate", metadataKey)
			}
			seenMetadata = true
			if err := dec.Decode(&f.Metadata); err != nil {
				return fmt.Errorf("%s: %w", metadataKey, err)
			}
			if f.Metadata == nil {
				f.Metadata = map[string]string{}
			}
			continue
		}
		if _, twice := f.tensors[name]; twice {
			return fmt.Errorf("tensor %q is a duplicate", name)
		}
		var e entry
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		size, ok := sizes[e.Type]
		if !ok {
			return fmt.Errorf("tensor %q: unknown dtype %q", name, e.Type)
		}
		product := size
		for _, d := range e.Shape {
			if d < 0 || d > 0 && product > math.MaxInt64/int64(d) {
				return fmt.Errorf("tensor %q: impossible shape %v", name, e.Shape)
			}
			product *= int64(d)
		}
		if e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || e.Offsets[1]-e.Offsets[0] != product {
			return fmt.Errorf("tensor %q: offsets %v do not hold %s %v", name, e.Offsets, e.Type, e.Shape)
		}
		f.tensors[name] = Info{Type: e.Type, Shape: e.Shape, begin: e.Offsets[0], bytes: product}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if rest := bytes.TrimLeft(text[dec.InputOffset():], " "); len(rest) > 0 {
		return fmt.Errorf("%d bytes follow the JSON object", len(rest))
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.close() }

// Names lists the tensors, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Info is what the header says of a tensor, and whether there is one.
func (f *File) Info(name string) (Info, bool) {
	i, ok := f.tensors[name]
	return i, ok
}

// Read fills dst with the tensor of a name, which must be of dst's type and
// of exactly this shape. Its error says what the file has instead.
func Read[T Number](f *File, name string, dst []T, shape ...int) error {
	if err := read(f, name, dst, shape); err != nil {
		return fmt.Errorf("safetensors: %s: %w", f.path, err)
	}
	return nil
}

func read[T Number](f *File, name string, dst []T, shape []int) error {
	typ, n, err := typeOf(dst)
	if err != nil {
		return err
	}
	t, ok := f.tensors[name]
	switch {
	case !ok:
		return fmt.Errorf("%w: no tensor %q; there are %q", ErrFormat, name, f.Names())
	case t.Type != typ || !slices.Equal(t.Shape, shape):
		return fmt.Errorf("%w: tensor %q is %s %v, expected %s %v", ErrFormat, name, t.Type, t.Shape, typ, shape)
	case t.bytes != int64(n)*sizes[typ]:
		return fmt.Errorf("tensor %q: memory for %d numbers, shape %v", name, n, shape)
	}
	r := io.NewSectionReader(f.data, t.begin, t.bytes)
	buf := make([]byte, 8*min(chunk, max(n, 1)))
	for len(dst) > 0 {
		m := min(chunk, len(dst))
		b := buf[:int64(m)*sizes[typ]]
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		decode(b, any(dst[:m]))
		dst = dst[m:]
	}
	return nil
}

func decode(b []byte, dst any) {
	le := binary.LittleEndian
	switch d := dst.(type) {
	case []float32:
		for i := range d {
			d[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	case []float64:
		for i := range d {
			d[i] = math.Float64frombits(le.Uint64(b[8*i:]))
		}
	case []int32:
		for i := range d {
			d[i] = int32(le.Uint32(b[4*i:]))
		}
	case []int64:
		for i := range d {
			d[i] = int64(le.Uint64(b[8*i:]))
		}
	case []uint64:
		for i := range d {
			d[i] = le.Uint64(b[8*i:])
		}
	case []uint8:
		copy(d, b)
	}
}
