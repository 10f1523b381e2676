// Package episodes reads and writes recorded episodes: a Parquet file with a row
// per step, written by play --record and serve --record, read by offline
// training.
//
// A row holds the observation that was acted on, its infos, the action, and what
// the step brought: reward and flags. An episode closes with one more row, its last
// observation, whose action is empty: without it nothing could bootstrap
// where an episode was truncated. An episode that the recording ended, and not
// the environment, is truncated and marked as cut.
package episodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/gofrs/flock"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/parquetfile"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Row is one row of a file.
type Row struct {
	Env        string    `parquet:"env,dict"` // the scenario
	Episode    int64     `parquet:"episode"`  // from 0, in the order in which episodes began
	Step       int32     `parquet:"step"`     // from 0
	Obs        []float32 `parquet:"obs,list"`
	Action     []int32   `parquet:"action,list"` // empty in the closing row
	Reward     float32   `parquet:"reward"`
	Terminated bool      `parquet:"terminated"`
	Truncated  bool      `parquet:"truncated"`
	Seed       uint64    `parquet:"seed"`
	ModelHash  string    `parquet:"model_hash,dict"` // of the environment's model; "" without one
	// Cut, beside Truncated: the recording ended here, since the environment was
	// reset or closed, its client left or the server stopped. Absent in old files.
	Cut bool `parquet:"cut"`
	// Info [F] belongs to Obs; NaN where it is not known. The metadata names its
	// columns. Absent in old files.
	Info []float32 `parquet:"info,list"`
}

// later are the columns that files of the first releases lack.
var later = []string{"cut", "info"}

// Spaces are what a file's observations and actions are elements of.
type Spaces struct {
	Elements []telemetry.Field `json:"elements"` // [D]
	Actions  env.MultiDiscrete `json:"actions"`  // [S]
	Limits   []p4.Limit        `json:"limits,omitempty"`
}

// Names lists the first few elements, for messages.
func (s Spaces) Names() string {
	var n []string
	for i, e := range s.Elements {
		if i == 4 {
			n = append(n, "…")
			break
		}
		n = append(n, e.Name)
	}
	return strings.Join(n, ", ")
}

// SpacesOf are the spaces of spec.
func SpacesOf(spec env.Spec) Spaces {
	return Spaces{spec.Observation.Elements, spec.Action, spec.Limits}
}

// Metadata of a file.
const (
	spacesKey = "planegym.episodes.v1" // Spaces as JSON
	infosKey  = "planegym.infos.v1"    // []telemetry.Field as JSON; absent without infos
)

// ErrEmpty is the error of a file without a single step.
var ErrEmpty = errors.New("no steps are recorded")

// Writer records the rows of a vector. Episodes are held until they end, then
// written whole; the file appears under its name when Close has finished it.
type Writer struct {
	spaces    Spaces
	env, hash string
	infos     int // F
	path      string
	file      *atomicfile.File
	out       *parquet.GenericWriter[Row]
	open      map[int][]Row // by row of the vector
	episodes  int64
	scratch   []float32
	buffered  int // rows of the group in memory

	rows *os.File // log of rows; nil: none is kept
	lock *flock.Flock
}

const groupRows = 1 << 14

// InfosOf are the info fields of v, for Create; nil where it has none.
func InfosOf(v env.Vector) []telemetry.Field {
	if i, ok := v.(env.Informer); ok {
		return i.InfoFields()
	}
	return nil
}

// Create begins a file for episodes of the named environment, whose rows have
// infos [F].
func Create(path string, spaces Spaces, name, modelHash string, infos ...telemetry.Field) (*Writer, error) {
	text, err := json.Marshal(spaces)
	if err != nil {
		return nil, fmt.Errorf("episodes: %w", err)
	}
	options := []parquet.WriterOption{parquet.Compression(&zstd.Codec{}), parquet.KeyValueMetadata(spacesKey, string(text))}
	if len(infos) > 0 {
		if text, err = json.Marshal(infos); err != nil {
			return nil, fmt.Errorf("episodes: %w", err)
		}
		options = append(options, parquet.KeyValueMetadata(infosKey, string(text)))
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("episodes: %w", err)
	}
	return &Writer{
		spaces: spaces, env: name, hash: modelHash, infos: len(infos), path: path, file: f, open: map[int][]Row{},
		out: parquet.NewGenericWriter[Row](f, options...),
	}, nil
}

// Begin records that row starts an episode from seed with obs [D] and info [F],
// which may be left out. One that was open there is cut.
func (w *Writer) Begin(row int, seed uint64, obs []float32, info ...float32) error {
	if err := w.cut(row); err != nil {
		return err
	}
	info, err := w.info(row, info)
	if err != nil {
		return err
	}
	if err := w.keep(rowsLine{Row: row, Seed: seed, Obs: obs, Info: info}); err != nil {
		return err
	}
	w.open[row] = append(w.open[row][:0], Row{
		Env: w.env, Episode: w.episodes, Obs: slices.Clone(obs), Action: []int32{}, Seed: seed, ModelHash: w.hash, Info: info,
	})
	w.episodes++
	return nil
}

// Step records that actions [S] in row gave reward, the flags, next [D] and its
// info [F], which may be left out. Where a flag is set, next and info are the
// episode's last.
func (w *Writer) Step(row int, actions []int32, reward float32, terminated, truncated bool, next []float32, info ...float32) error {
	rows := w.open[row]
	if len(rows) == 0 {
		return fmt.Errorf("episodes: row %d steps before it begins", row)
	}
	info, err := w.info(row, info)
	if err != nil {
		return err
	}
	if err := w.keep(rowsLine{Row: row, Action: actions, Reward: reward, Terminated: terminated, Truncated: truncated, Obs: next, Info: info}); err != nil {
		return err
	}
	r := &rows[len(rows)-1]
	r.Action, r.Reward, r.Terminated, r.Truncated = slices.Clone(actions), reward, terminated, truncated
	rows = append(rows, Row{
		Env: w.env, Episode: r.Episode, Step: r.Step + 1, Obs: slices.Clone(next), Action: []int32{}, Seed: r.Seed, ModelHash: w.hash, Info: info,
	})
	w.open[row] = rows
	if terminated || truncated {
		return w.flush(row)
	}
	return nil
}

// InfoOf are the infos to record of row of v, those of the episode that just
// ended if over: none where they are not known, or the file has none. They are
// valid until the next call.
func (w *Writer) InfoOf(v env.Vector, row int, over bool) []float32 {
	if w.infos == 0 {
		return nil
	}
	w.scratch = w.scratch[:0]
	if over {
		w.scratch, _ = env.FinalInfo(v, row, w.scratch)
	} else if i, ok := v.(env.Informer); ok {
		w.scratch = i.Info(row, w.scratch)
	}
	return w.scratch
}

// info is a copy of info, or NaNs where there is none.
func (w *Writer) info(row int, info []float32) ([]float32, error) {
	if len(info) == 0 && w.infos > 0 {
		return slices.Repeat([]float32{float32(math.NaN())}, w.infos), nil
	}
	if len(info) != w.infos {
		return nil, fmt.Errorf("episodes: row %d: info: %d values, expected %d", row, len(info), w.infos)
	}
	return slices.Clone(info), nil
}

// cut closes an open episode of row: truncated, and marked as cut. One without a
// step is dropped.
func (w *Writer) cut(row int) error {
	rows := w.open[row]
	if len(rows) < 2 {
		w.open[row] = rows[:0]
		return nil
	}
	last := &rows[len(rows)-2]
	last.Truncated, last.Cut = true, true
	return w.flush(row)
}

func (w *Writer) flush(row int) error {
	n, err := w.out.Write(w.open[row])
	w.open[row] = w.open[row][:0]
	if w.buffered += n; err == nil && w.buffered >= groupRows {
		w.buffered, err = 0, w.out.Flush()
	}
	if err != nil {
		return fmt.Errorf("episodes: %s: %w", w.path, err)
	}
	return nil
}

// Discard ends the writer without a file, or a log of rows.
func (w *Writer) Discard() error {
	w.release(true)
	return w.file.Cleanup()
}

// Close cuts the open episodes, finishes the file and gives it its name. Where that
// fails, a log of rows stays.
func (w *Writer) Close() (err error) {
	defer func() {
		w.release(err == nil)
		if err != nil {
			_ = w.file.Cleanup()
			err = fmt.Errorf("episodes: %s: %w", w.path, err)
		}
	}()
	var rows []int
	for row := range w.open {
		rows = append(rows, row)
	}
	slices.Sort(rows)
	for _, row := range rows {
		if err := w.cut(row); err != nil {
			return err
		}
	}
	if err := w.out.Close(); err != nil {
		return err
	}
	return w.file.CloseAtomicallyReplace()
}

// Episode is one recorded episode of T steps.
type Episode struct {
	Env, ModelHash string
	Number         int64
	Seed           uint64
	Obs            []float32 // [T+1,D]
	Actions        []int32   // [T,S]
	Reward         []float32 // [T]
	Terminated     bool      // after the last step; else it was truncated
	// Cut: the recording ended it, not the environment. Files of the first
	// releases do not say; there it is false.
	Cut   bool
	Infos []telemetry.Field // [F]
	Info  []float32         // [T+1,F], of the observations; NaN where it is not known
}

// Read calls each with every episode of a file, in its order; what it is given
// is valid until it returns. Errors name the file's row (from 1), the column
// and what was expected; a file without steps is ErrEmpty.
func Read(path string, each func(Spaces, *Episode) error) error {
	if err := read(path, each); err != nil {
		return fmt.Errorf("episodes: %s: %w", path, err)
	}
	return nil
}

func read(path string, each func(Spaces, *Episode) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 {
		return ErrEmpty
	}
	pf, spaces, infos, err := open(file, st.Size())
	if err != nil {
		return err
	}
	defer parquetfile.Recover(&err)
	in := parquet.NewGenericReader[Row](pf)
	defer in.Close()
	a := assembler{spaces: spaces, infos: infos, each: each}
	n := 0
	if err := parquetfile.Read(in.Read, func(r *Row) error { n++; return a.add(r) }); err != nil {
		return err
	}
	if a.open {
		return fmt.Errorf("row %d: episode %d has no closing row", n, a.episode.Number)
	}
	if !a.any {
		return ErrEmpty
	}
	return nil
}

func open(r io.ReaderAt, size int64) (f *parquet.File, s Spaces, infos []telemetry.Field, err error) {
	defer parquetfile.Recover(&err)
	if f, err = parquetfile.Open(r, size); err != nil {
		return nil, s, nil, err
	}
	text, ok := f.Lookup(spacesKey)
	if !ok {
		return nil, s, nil, fmt.Errorf("no recorded episodes: its metadata has no %s", spacesKey)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, s, nil, fmt.Errorf("metadata %s: %w", spacesKey, err)
	}
	if len(s.Elements) == 0 || len(s.Actions) == 0 || slices.Min(s.Actions) < 1 {
		return nil, s, nil, fmt.Errorf("metadata %s: %d elements, actions %v", spacesKey, len(s.Elements), s.Actions)
	}
	if text, ok := f.Lookup(infosKey); ok {
		if err := json.Unmarshal([]byte(text), &infos); err != nil {
			return nil, s, nil, fmt.Errorf("metadata %s: %w", infosKey, err)
		}
	}
	want := parquet.SchemaOf(Row{})
	for _, c := range want.Columns() {
		leaf, ok := f.Schema().Lookup(c...)
		need, _ := want.Lookup(c...)
		if !ok && slices.Contains(later, c[0]) && len(infos) == 0 {
			continue
		}
		if !ok || leaf.Node.Type().Kind() != need.Node.Type().Kind() {
			return nil, s, nil, fmt.Errorf("column %q is missing or no %s", c[0], need.Node.Type())
		}
	}
	return f, s, infos, nil
}

// assembler makes episodes of rows, and finds what is wrong with them.
type assembler struct {
	spaces  Spaces
	infos   []telemetry.Field
	each    func(Spaces, *Episode) error
	episode Episode
	open    bool // an episode waits for more rows
	ended   bool // its last step had a flag: the closing row is due
	any     bool
}

func (a *assembler) add(r *Row) error {
	e := &a.episode
	d := len(a.spaces.Elements)
	if !a.open {
		*e = Episode{Env: r.Env, ModelHash: r.ModelHash, Number: r.Episode, Seed: r.Seed, Infos: a.infos,
			Obs: e.Obs[:0], Actions: e.Actions[:0], Reward: e.Reward[:0], Info: e.Info[:0]}
		a.open, a.ended = true, false
	}
	switch {
	case r.Episode != e.Number:
		return fmt.Errorf("episode: %d begins before episode %d closed", r.Episode, e.Number)
	case int(r.Step) != len(e.Reward):
		return fmt.Errorf("step: %d, expected %d", r.Step, len(e.Reward))
	case len(r.Obs) != d:
		return fmt.Errorf("obs: %d elements, expected %d", len(r.Obs), d)
	case len(r.Info) != len(a.infos):
		return fmt.Errorf("info: %d values, expected %d", len(r.Info), len(a.infos))
	}
	for i, x := range r.Obs {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("obs: element %d (%s) is %v", i, a.spaces.Elements[i].Name, x)
		}
	}
	e.Obs, e.Info = append(e.Obs, r.Obs...), append(e.Info, r.Info...)
	if len(r.Action) == 0 {
		if !a.ended {
			return fmt.Errorf("action: is empty before the episode ended")
		}
		a.open, a.any = false, true
		return a.each(a.spaces, e)
	}
	switch {
	case a.ended:
		return fmt.Errorf("action: expected none in an episode's closing row")
	case len(r.Action) != len(a.spaces.Actions):
		return fmt.Errorf("action: %d numbers, expected %d", len(r.Action), len(a.spaces.Actions))
	case math.IsNaN(float64(r.Reward)) || math.IsInf(float64(r.Reward), 0):
		return fmt.Errorf("reward: is %v", r.Reward)
	}
	for i, x := range r.Action {
		if x < 0 || int(x) >= a.spaces.Actions[i] {
			return fmt.Errorf("action: %d is not in [0, %d)", x, a.spaces.Actions[i])
		}
	}
	e.Actions, e.Reward = append(e.Actions, r.Action...), append(e.Reward, r.Reward)
	e.Terminated, e.Cut, a.ended = r.Terminated, r.Cut, r.Terminated || r.Truncated
	return nil
}
