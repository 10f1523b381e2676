package scalars_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/scalars"
)

// run logs a run that is cut once and goes on.
func run(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "run")
	for _, rows := range [][2]int64{{0, 2}, {2, 3}} {
		l, err := scalars.Open(folder, 1700000000, "return", "loss")
		if err != nil {
			t.Fatal(err)
		}
		for s := rows[0]; s < rows[1]; s++ {
			if err := l.Add(1000*s, 1700000000+float64(s)/2, float64(s)/4, math.NaN()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestCSVGoesOn(t *testing.T) {
	folder := run(t)
	got, err := os.ReadFile(filepath.Join(folder, "scalars.csv"))
	const want = "step,return,loss\n0,0,\n1000,0.25,\n2000,0.5,\n"
	if err != nil || string(got) != want {
		t.Errorf("%v: got %q, want %q", err, got, want)
	}
	if _, err := scalars.Open(folder, 1, "other"); err == nil || !strings.Contains(err.Error(), `["step" "return" "loss"]`) {
		t.Errorf("other columns: %v", err)
	}
}

// The bytes of one record, which TensorBoard's reader accepts (the test below).
func TestFraming(t *testing.T) {
	var b bytes.Buffer
	e, err := scalars.NewEvents(&b, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = "1800000000000000a37f4b220900000000000000001a0d627261696e2e4576656e743a32eedf28a3"
	if got := hex.EncodeToString(b.Bytes()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TensorBoard's own reader, which checks both checksums of every record,
// finds what was logged.
func TestTensorBoardReadsIt(t *testing.T) {
	python := os.Getenv("PLANEGYM_PYTHON")
	if python == "" || exec.Command(python, "-c", "import tensorboard").Run() != nil {
		t.Skip("PLANEGYM_PYTHON names no interpreter with tensorboard")
	}
	files, err := filepath.Glob(filepath.Join(run(t), "events.out.tfevents.*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	read := func() string {
		out, err := exec.Command(python, "testdata/read.py", files[0]).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	const want = `brain.Event:2 1700000000.0
0 1700000000.0 return 0.0
1000 1700000000.5 return 0.25
brain.Event:2 1700000000.0
2000 1700000001.0 return 0.5`
	if got := read(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// It does look at the checksums: a flipped bit is not read.
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-8] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(); strings.Contains(got, "2000 ") {
		t.Errorf("a damaged record was read: %s", got)
	}
}

// A run that was killed after its checkpoint does the steps since then again:
// its log has each step once, in the table and in TensorBoard's file.
func TestResumeDropsWhatIsDoneAgain(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	add := func(l *scalars.Log, err error, steps ...int64) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if err := l.Add(s, 1, float64(s), math.NaN()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "scalars.csv")
	l, err := scalars.Open(folder, 1, "return", "loss")
	add(l, err, 100, 200, 300, 400)
	for _, torn := range []string{"", "500,", "500,1", "x\n1,2,3\n", "500,1,\"2\n"} {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(torn); err != nil {
			t.Fatal(err)
		}
		f.Close()
		l, err := scalars.Resume(folder, 2, 200, "return", "loss")
		add(l, err, 300, 400, 500)
		steps, columns, err := scalars.Read(folder)
		if err != nil || !slices.Equal(steps, []float64{100, 200, 300, 400, 500}) || len(columns["return"]) != 5 {
			t.Errorf("after %q: %v %v %v", torn, steps, columns, err)
		}
	}
	// Nothing was logged after the checkpoint, or nothing at all.
	l, err = scalars.Resume(folder, 3, 500, "return", "loss")
	add(l, err, 600)
	if steps, _, err := scalars.Read(folder); err != nil || len(steps) != 6 {
		t.Errorf("%v %v", steps, err)
	}
	l, err = scalars.Resume(folder, 3, 0, "return", "loss")
	add(l, err)
	if steps, _, err := scalars.Read(folder); err != nil || len(steps) != 0 {
		t.Errorf("%v %v", steps, err)
	}
	l, err = scalars.Resume(filepath.Join(folder, "new"), 3, 7, "return", "loss")
	add(l, err, 8)
	if _, err := scalars.Resume(folder, 4, 0, "other"); err == nil || !strings.Contains(err.Error(), "give another folder") {
		t.Errorf("other columns: %v", err)
	}
}

// What tells TensorBoard to drop the steps from 201 on: SessionLog START in an
// Event of that step (tensorflow/core/util/event.proto).
func TestRestartRecord(t *testing.T) {
	folder := t.TempDir()
	l, err := scalars.Resume(folder, 0, 200, "return")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "events.*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b = b[16+24:] // the version's record
	// wall_time 0, step 201 as a varint, session_log {status: START}
	if want := "090000000000000000" + "10c901" + "3a020801"; hex.EncodeToString(b[12:len(b)-4]) != want {
		t.Errorf("got %x, want %s", b[12:len(b)-4], want)
	}
}
