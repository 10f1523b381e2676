package episodes

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/planegym/planegym/telemetry"
)

// rowsSuffix is what the name of a Parquet file's log of rows ends in.
const rowsSuffix = ".rows"

// rowsHeader is the first line of a log of rows.
type rowsHeader struct {
	Format    string            `json:"format"` // rowsFormat
	Env       string            `json:"env"`
	ModelHash string            `json:"model_hash"`
	Spaces    Spaces            `json:"spaces"`
	Infos     []telemetry.Field `json:"infos,omitempty"`
}

const rowsFormat = "planegym.rows.v1"

// rowsLine is a call of Begin (Action is nil) or of Step.
type rowsLine struct {
	Row        int     `json:"row"`
	Seed       uint64  `json:"seed,omitempty"`
	Action     []int32 `json:"action,omitempty"`
	Reward     float32 `json:"reward,omitempty"`
	Terminated bool    `json:"terminated,omitempty"`
	Truncated  bool    `json:"truncated,omitempty"`
	Obs        numbers `json:"obs"`
	Info       numbers `json:"info,omitempty"`
}

// numbers are written with null for one that is not known.
type numbers []float32

// MarshalJSON writes NaN as null.
func (n numbers) MarshalJSON() ([]byte, error) {
	out := make([]*float32, len(n))
	for i := range n {
		if !math.IsNaN(float64(n[i])) {
			out[i] = &n[i]
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads null as NaN.
func (n *numbers) UnmarshalJSON(b []byte) error {
	var in []*float32
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*n = make(numbers, len(in))
	for i, x := range in {
		if (*n)[i] = float32(math.NaN()); x != nil {
			(*n)[i] = *x
		}
	}
	return nil
}

// CreateKept is Create for steps that cannot be had again, such as those of live
// switches: each is also appended, as it comes, to a log of JSON lines beside the
// file, path + ".rows", which Close removes. What a killed process left in such a
// log becomes a Parquet file first. Neither that file nor one that was at path is
// replaced: the new one then has a number in its name. Path says which it is, and
// recovered which file holds what was left, "" for none.
func CreateKept(path string, spaces Spaces, name, modelHash string, infos ...telemetry.Field) (w *Writer, recovered string, err error) {
	if recovered, err = Recover(path); err != nil {
		return nil, "", err
	}
	if path, err = free(path); err != nil {
		return nil, recovered, fmt.Errorf("episodes: %w", err)
	}
	header, err := json.Marshal(rowsHeader{rowsFormat, name, modelHash, spaces, infos})
	if err != nil {
		return nil, recovered, fmt.Errorf("episodes: %w", err)
	}
	log, err := os.OpenFile(path+rowsSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return nil, recovered, fmt.Errorf("episodes: %w", err)
	}
	fail := func(err error) (*Writer, string, error) {
		_ = log.Close()
		_ = os.Remove(log.Name())
		return nil, recovered, fmt.Errorf("episodes: %s: %w", log.Name(), err)
	}
	lock := flock.New(log.Name())
	if ok, err := lock.TryLock(); err != nil || !ok {
		return fail(errors.Join(errBusy, err))
	}
	if _, err := log.Write(append(header, '\n')); err != nil {
		return fail(err)
	}
	if w, err = Create(path, spaces, name, modelHash, infos...); err != nil {
		return fail(err)
	}
	w.rows, w.lock = log, lock
	return w, recovered, nil
}

var errBusy = errors.New("another process is writing it")

// Path is where Close puts the file.
func (w *Writer) Path() string { return w.path }

// keep appends a call to the log of rows, if there is one.
func (w *Writer) keep(l rowsLine) error {
	if w.rows == nil {
		return nil
	}
	b, err := json.Marshal(l)
	if err == nil {
		_, err = w.rows.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("episodes: %s: %w", w.rows.Name(), err)
	}
	return nil
}

// release ends the log of rows; it goes where the file holds its rows.
func (w *Writer) release(whole bool) {
	if w.rows == nil {
		return
	}
	_ = w.rows.Close()
	_ = w.lock.Unlock()
	if whole { // after it is closed: Windows removes no open file
		_ = os.Remove(w.rows.Name())
	}
	w.rows = nil
}

// free is path, or the first of path with -2, -3, … that neither a file nor a log
// of rows has.
func free(path string) (string, error) {
	stem, ext := strings.TrimSuffix(path, filepath.Ext(path)), filepath.Ext(path)
	for n := 2; ; n++ {
		taken := false
		for _, p := range []string{path, path + rowsSuffix} {
			_, err := os.Lstat(p)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			taken = taken || err == nil
		}
		if !taken {
			return path, nil
		}
		path = fmt.Sprintf("%s-%d%s", stem, n, ext)
	}
}

// Recover makes a Parquet file of the log of rows that a killed process left of
// the file at path, or of one of its numbered names, and removes the log; the
// episode that was under way is cut. The last line of a log may be torn. It returns
// the file, "" where nothing was left; with several logs, the last one's.
func Recover(path string) (string, error) {
	stem, ext := strings.TrimSuffix(path, filepath.Ext(path)), filepath.Ext(path)
	logs, err := filepath.Glob(escape(stem) + "-*" + escape(ext) + rowsSuffix)
	if err != nil {
		return "", fmt.Errorf("episodes: %w", err)
	}
	if _, err := os.Lstat(path + rowsSuffix); err == nil {
		logs = append([]string{path + rowsSuffix}, logs...)
	}
	last := ""
	for _, log := range logs {
		to, err := recoverLog(log)
		if err != nil {
			return last, fmt.Errorf("episodes: %s: %w", log, err)
		}
		if to != "" {
			last = to
		}
	}
	return last, nil
}

// escape is a path in which no character means anything to filepath.Glob.
func escape(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}

func recoverLog(log string) (to string, err error) {
	lock := flock.New(log)
	if ok, err := lock.TryLock(); err != nil || !ok {
		return "", errors.Join(errBusy, err)
	}
	f, err := telemetry.Open(log)
	if err != nil {
		return "", errors.Join(err, lock.Unlock())
	}
	defer func() {
		_ = f.Close()
		_ = lock.Unlock()
		if err == nil {
			err = os.Remove(log)
		}
	}()
	in := bufio.NewReader(f)
	line, err := in.ReadBytes('\n')
	if errors.Is(err, io.EOF) { // killed before the header was there
		return "", nil
	} else if err != nil {
		return "", err
	}
	var h rowsHeader
	if err := json.Unmarshal(line, &h); err != nil || h.Format != rowsFormat {
		return "", fmt.Errorf("line 1: not a log of rows: move it away: %w", errors.Join(err, fmt.Errorf("format %q, expected %q", h.Format, rowsFormat)))
	}
	path := strings.TrimSuffix(log, rowsSuffix)
	if _, err := os.Lstat(path); err == nil {
		if path, err = free(path); err != nil {
			return "", err
		}
	}
	w, err := Create(path, h.Spaces, h.Env, h.ModelHash, h.Infos...)
	if err != nil {
		return "", err
	}
	steps := 0
	for n := 2; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // none is left, or a torn one
			break
		}
		var l rowsLine
		if err == nil {
			err = json.Unmarshal(line, &l)
		}
		switch {
		case err != nil:
		case l.Action == nil:
			err = w.Begin(l.Row, l.Seed, l.Obs, l.Info...)
		default:
			steps++
			err = w.Step(l.Row, l.Action, l.Reward, l.Terminated, l.Truncated, l.Obs, l.Info...)
		}
		if err != nil {
			_ = w.Discard()
			return "", fmt.Errorf("line %d: %w", n, err)
		}
	}
	if steps == 0 {
		path = ""
		err = w.Discard()
	} else {
		err = w.Close()
	}
	if err != nil {
		return "", err
	}
	return path, nil
}
