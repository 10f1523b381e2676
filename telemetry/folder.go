package telemetry

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Recording is what was measured under one queue limit, or under limits that
// changed while it was measured.
type Recording struct {
	Limit  int // packets; 0 where Limits tells
	Data   *Dataset
	Limits []int // [T] packets, in force in each second; nil: Limit all along
	// PerSwitch are the limits in force where switches had limits of their own,
	// [T,S] packets; nil: all had what LimitAt says.
	PerSwitch []int32
}

// Switches is how many limits a second has: 1 where all switches had one.
func (r Recording) Switches() int {
	if r.PerSwitch == nil {
		return 1
	}
	return len(r.PerSwitch) / r.Data.Len()
}

// LimitsAt copies the limits in force in second t, packets, to dst [Switches]; to
// a dst of another length the first switch's, as often as it is long.
func (r Recording) LimitsAt(t int, dst []int32) {
	if r.PerSwitch != nil && len(dst) == r.Switches() {
		copy(dst, r.PerSwitch[t*len(dst):])
		return
	}
	for s := range dst {
		dst[s] = int32(r.LimitAt(t))
	}
}

// LimitAt is the limit that was in force in second t, packets; the first
// switch's where they had limits of their own.
func (r Recording) LimitAt(t int) int {
	if r.PerSwitch != nil {
		return int(r.PerSwitch[t*r.Switches()])
	}
	if r.Limits != nil {
		return r.Limits[t]
	}
	return r.Limit
}

// LimitInName is the queue limit that a file's name ends in, before its
// extension, in packets; false where it ends in none. The number of a version,
// as in grid_v2.csv, and what follows a dot are not limits.
func LimitInName(path string) (int, bool) {
	stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	before := strings.TrimRight(stem, "0123456789")
	n, err := strconv.Atoi(stem[len(before):])
	if err != nil || n < 1 || stem[len(before)] == '0' || strings.HasSuffix(before, ".") {
		return 0, false
	}
	if name, ok := strings.CutSuffix(strings.ToLower(before), "v"); ok && (name == "" || !isLetter(name[len(name)-1])) {
		return 0, false
	}
	return n, true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

// OpenFolder reads the recordings in dir, one for each queue limit, in order
// of their limits. A limit is the number that ends a file's name (LimitInName),
// in packets; of the files of one limit the first of this list is read:
//
//	grid_<limit>.csv                            as `planegym import` writes it
//	aligned_<limit>.csv                         the same format
//	real_<limit>.csv + dash_TD-<limit>_*.csv    published rows, placed by Import
//	real_<limit>.csv + dash_<limit>.csv         the same, player log renamed
//
// To make such a folder of the published files, call for each limit
//
//	planegym import --dash dash_TD-32_100.csv --rows real_32.csv -o DIR/grid_32.csv
//
// All recordings have the same fields; that a file says another limit than its
// name is an error.
func OpenFolder(dir string) ([]Recording, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	files := map[int]map[string]string{} // paths by limit and kind
	for _, e := range entries {
		kind, limit := fileKind(e.Name())
		if limit == 0 {
			continue
		}
		if files[limit] == nil {
			files[limit] = map[string]string{}
		}
		path := filepath.Join(dir, e.Name())
		switch first := files[limit][kind]; {
		case first == "":
			files[limit][kind] = path
		case kind == "grid_" || kind == "aligned_":
			return nil, fmt.Errorf("telemetry: %s and %s are both of limit %d: one recording for each limit", first, e.Name(), limit)
		}
	}
	var out []Recording
	for _, limit := range slices.Sorted(maps.Keys(files)) {
		f := files[limit]
		d, err := open(limit, cmp.Or(f["grid_"], f["aligned_"]), f["real_"], cmp.Or(f["dash_TD-"], f["dash_"]))
		if err != nil {
			return nil, err
		}
		if d != nil {
			out = append(out, Recording{Limit: limit, Data: d})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("telemetry: %s: %w", dir, errNoRecording)
	}
	for _, r := range out[1:] {
		if !slices.Equal(r.Data.fields, out[0].Data.fields) {
			return nil, fmt.Errorf("telemetry: %s: the recordings of limits %d and %d have different fields: %v, %v", dir, out[0].Limit, r.Limit, out[0].Data.fields, r.Data.fields)
		}
	}
	return out, nil
}

// fileKind is what a file of a recording begins with, and its limit; 0 for any
// other file.
func fileKind(name string) (string, int) {
	stem, ok := strings.CutSuffix(name, ".csv")
	for _, kind := range []string{"grid_", "aligned_", "real_", "dash_TD-", "dash_"} {
		rest, begins := strings.CutPrefix(stem, kind)
		if !ok || !begins {
			continue
		}
		if kind == "dash_TD-" { // dash_TD-32_100: the other number is a run's
			rest, _, _ = strings.Cut(rest, "_")
		}
		if n, ok := LimitInName(rest + ".csv"); ok {
			return kind, n
		}
	}
	return "", 0
}

// open reads the recording of a limit from a grid file, or from rows and
// player log; nil where a file is missing.
func open(limit int, grid, rows, player string) (*Dataset, error) {
	switch {
	case grid != "":
		d, err := ReadGrid(grid)
		if err != nil {
			return nil, err
		}
		if d.limit == 0 {
			d.limit = limit
			d.finish()
		}
		if d.limit != limit {
			return nil, &ValueError{File: grid, Column: "queue", Value: strconv.Itoa(d.limit), Want: fmt.Sprintf("the %d of the file's name", limit)}
		}
		return d, nil
	case rows == "" || player == "":
		return nil, nil
	}
	p, err := Open(player)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	r, err := Open(rows)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dash, err := NewReader(p, player, DASH)
	if err != nil {
		return nil, err
	}
	merged, err := NewReader(r, rows, Merged)
	if err != nil {
		return nil, err
	}
	d, report, err := Import(dash, limit, merged)
	if err != nil {
		return nil, err
	}
	if len(report.Unplaced) > 0 {
		return nil, fmt.Errorf("telemetry: %d of %d rows belong to no second of %s, the first: %v", len(report.Unplaced), report.Rows, player, report.Unplaced[0])
	}
	return d, nil
}

// errNoRecording is the fs.ErrNotExist of a folder without recordings.
var errNoRecording error = noRecording{}

type noRecording struct{}

func (noRecording) Error() string {
	return "no recording: looked for grid_<limit>.csv, aligned_<limit>.csv, and real_<limit>.csv beside dash_TD-<limit>_*.csv or dash_<limit>.csv"
}

func (noRecording) Is(target error) bool { return target == fs.ErrNotExist }
