package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/safetensors"
)

func sample() (map[string]string, []safetensors.Tensor) {
	long := make([]float32, 10000) // more than one chunk
	for i := range long {
		long[i] = float32(i) / 7
	}
	return map[string]string{"config": `{"a":1}`}, []safetensors.Tensor{
		{Name: "bytes", Shape: []int{3}, Data: []uint8{1, 2, 255}},
		{Name: "w", Shape: []int{2, 3}, Data: []float32{1, -2, float32(math.Inf(1)), 0, .5, 3}},
		{Name: "long", Shape: []int{100, 100}, Data: long},
		{Name: "f64", Shape: []int{2}, Data: []float64{math.Pi, -1e-300}},
		{Name: "i32", Shape: []int{2}, Data: []int32{-1, math.MaxInt32}},
		{Name: "i64", Shape: []int{1}, Data: []int64{math.MinInt64}},
		{Name: "u64", Shape: []int{1}, Data: []uint64{math.MaxUint64}},
		{Name: "one", Data: []float32{4}},
		{Name: "none", Shape: []int{0, 7}, Data: []float32{}},
	}
}

func encode(t testing.TB) []byte {
	m, ts := sample()
	var b bytes.Buffer
	if err := safetensors.Write(&b, m, ts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func same[T safetensors.Number](t *testing.T, f *safetensors.File, x safetensors.Tensor) {
	t.Helper()
	want := x.Data.([]T)
	got := make([]T, len(want))
	if err := safetensors.Read(f, x.Name, got, x.Shape...); err != nil {
		t.Error(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", x.Name, got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	m, ts := sample()
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := os.WriteFile(path, []byte("what was there before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.WriteFile(path, m, ts); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !reflect.DeepEqual(f.Metadata, m) {
		t.Errorf("metadata %v, want %v", f.Metadata, m)
	}
	for _, x := range ts {
		switch x.Data.(type) {
		case []float32:
			same[float32](t, f, x)
		case []float64:
			same[float64](t, f, x)
		case []int32:
			same[int32](t, f, x)
		case []int64:
			same[int64](t, f, x)
		case []uint64:
			same[uint64](t, f, x)
		case []uint8:
			same[uint8](t, f, x)
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("files left over: %v", files)
	}
	slices.Reverse(ts)
	var b bytes.Buffer
	if err := safetensors.Write(&b, m, ts); err != nil || !bytes.Equal(b.Bytes(), encode(t)) {
		t.Errorf("order of tensors changes the bytes (%v)", err)
	}
}

// A failed write leaves the old file, and no temporary one.
func TestWriteIsAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.safetensors")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tensors []safetensors.Tensor
		want    string
	}{
		{[]safetensors.Tensor{{Name: "a", Shape: []int{2}, Data: []float32{1}}}, "shape [2] holds 2 numbers, not 1"},
		{[]safetensors.Tensor{{Name: "a", Data: []float32{1}}, {Name: "a", Data: []float32{1}}}, "duplicate"},
		{[]safetensors.Tensor{{Name: "a", Data: []string{"x"}}}, "[]string"},
	} {
		if err := safetensors.WriteFile(path, nil, c.tensors); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
	files, _ := os.ReadDir(dir)
	if text, _ := os.ReadFile(path); string(text) != "old" || len(files) != 1 {
		t.Errorf("%q, %v", text, files)
	}
}

// file is a file of a header and some bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestRefused(t *testing.T) {
	good := encode(t)
	flipped := slices.Clone(good)
	flipped[len(flipped)-20] ^= 4
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "0 bytes are too few"},
		{"CSV", []byte("timestamp,enq_qdepth1\n1,2\n3,4\n"), "another format"},
		{"header cut", good[:40], "truncated: a header"},
		{"numbers cut", good[:len(good)-1], "truncated"},
		{"too long", append(slices.Clone(good), 0), "1 bytes follow the last tensor"},
		{"a bit flipped", flipped, "corrupt: the numbers have checksum"},
		{"no object", file(`[1,2]`, 0), "no JSON object"},
		{"no JSON", file(`{"a":`, 0), "header"},
		{"text after", file(`{} x`, 0), "follow the JSON object"},
		{"dtype", file(`{"a":{"dtype":"F9","shape":[1],"data_offsets":[0,4]}}`, 4), `unknown dtype "F9"`},
		{"shape", file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4), "impossible shape"},
		{"overflow", file(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0), "impossible shape"},
		{"offsets", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "do not hold F32 [2]"},
		{"hole", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "begins at byte 4"},
		{"overlap", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8), "begins at byte 0"},
		{"duplicate", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), "is a duplicate"},
		{"metadata", file(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
	} {
		_, err := safetensors.New(bytes.NewReader(c.data), int64(len(c.data)))
		if !errors.Is(err, safetensors.ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want ErrFormat and %q", c.name, err, c.want)
		}
	}
	// Foreign files without a checksum are fine.
	foreign := file(`{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}   `, 4)
	f, err := safetensors.New(bytes.NewReader(foreign), int64(len(foreign)))
	if err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Read(f, "a", make([]float32, 2), 2); !errors.Is(err, safetensors.ErrFormat) || !strings.Contains(err.Error(), "is BF16 [2], expected F32 [2]") {
		t.Errorf("wrong type: %v", err)
	}
	if err := safetensors.Read(f, "b", make([]float32, 2), 2); !errors.Is(err, safetensors.ErrFormat) || !strings.Contains(err.Error(), `no tensor "b"`) {
		t.Errorf("missing: %v", err)
	}
	if _, err := safetensors.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("folder: %v", err)
	}
	if _, err := safetensors.Open("nope"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// The format's own reader agrees, where PLANEGYM_PYTHON can import it.
func TestPythonReadsIt(t *testing.T) {
	python := os.Getenv("PLANEGYM_PYTHON")
	if python == "" || exec.Command(python, "-c", "import safetensors.numpy").Run() != nil {
		t.Skip("PLANEGYM_PYTHON names no interpreter with the safetensors package")
	}
	path := filepath.Join(t.TempDir(), "a.safetensors")
	m, ts := sample()
	if err := safetensors.WriteFile(path, m, ts); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", `
import sys, safetensors
f = safetensors.safe_open(sys.argv[1], "numpy")
print(f.metadata()["config"], f.get_tensor("w").tolist(), f.get_tensor("bytes").tolist(), f.get_tensor("u64")[0], f.get_tensor("none").shape)
`, path).CombinedOutput()
	const want = `{"a":1} [[1.0, -2.0, inf], [0.0, 0.5, 3.0]] [1, 2, 255] 18446744073709551615 (0, 7)`
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("%v: got %s, want %s", err, got, want)
	}
}

func FuzzNew(f *testing.F) {
	f.Add(encode(f))
	f.Add(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"k":"v"}}`, 4))
	f.Add(file(`{}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := safetensors.New(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, name := range s.Names() {
			i, _ := s.Info(name)
			n := 1
			for _, d := range i.Shape {
				n *= d
			}
			if i.Type != "F32" {
				continue
			}
			if n > len(data) {
				t.Fatalf("%q: %v of a file of %d bytes", name, i.Shape, len(data))
			}
			if err := safetensors.Read(s, name, make([]float32, n), i.Shape...); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A model's file is read whole; what is not there, not regular or damaged is an
// error that names the path.
func TestOpenModel(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	meta, err := safetensors.ModelMetadata(map[string]string{"from": "here", "format": "x"}, "f.v1", "model", []int{1, 2})
	if err != nil || len(meta) != 3 || meta["format"] != "f.v1" || meta["model"] != "[1,2]" || meta["from"] != "here" {
		t.Fatal(meta, err)
	}
	if err := safetensors.WriteFile(path, meta, nil); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	read := func(f *safetensors.File) (string, error) {
		if f.Metadata["model"] == "" {
			return "", refused
		}
		return f.Metadata["model"], nil
	}
	if got, err := safetensors.OpenModel("kind", path, read); err != nil || got != "[1,2]" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cut"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"none": "kind: ", "cut": filepath.Join(dir, "cut") + ": kind: ", ".": "not a regular file"} {
		if _, err := safetensors.OpenModel("kind", filepath.Join(dir, name), read); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if err := safetensors.WriteFile(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := safetensors.OpenModel("kind", path, read); !errors.Is(err, refused) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("what read says: %v", err)
	}
}
