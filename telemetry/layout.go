package telemetry

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// Format is a kind of file.
type Format uint8

// The formats. All are text with a header line that names the columns, which
// may come in any order with blanks around their names; columns that are not
// mentioned are ignored. A UTF-8 byte order mark and CRLF are accepted, and a
// comma, a semicolon, a tab or a bar between the cells. A cell that is empty,
// or one of the words for it (NaN, null, NA, …), was not measured.
//
// The unit of times is found from the first of them: of seconds, milli-, micro-
// and nanoseconds since 1970 one alone gives a time between 2000 and 2100. ISO
// 8601 is read, too, UTC where it names no zone.
const (
	// INT is the log of in-band telemetry, one probe a line, several a second:
	// timestamp, and enq_qdepthN, deq_timedeltaN, deq_qdepthN for each switch,
	// of which one may be missing.
	INT Format = iota
	// DASH is the log of a player: timestamp, Buffer, and as many as there are
	// of FPS, ReportedBitrate, Resolution (1280x720), CalcBitrate and stall_s.
	DASH
	// Merged is the published join of the two, without timestamps: the INT
	// columns, Buffer, ReportedBitrate, FPS, CalcBitrate.
	Merged
	// Grid is one recording second by second, as WriteCSV writes it: t = 0, 1,
	// 2, …, ts_ms, the columns of a Dataset with the counter calc_cum beside
	// calc_rate, int_present. queue, the limit in packets, is optional.
	Grid
)

// formats are the layouts of the formats, a row each.
var formats = [...]struct {
	name  string
	comma byte   // where the header has one cell only
	clock string // column of time
	unit  int    // of timeUnits, as files of the format mostly have it
	hops  bool   // has switches
	need  []string
	may   []string
}{
	INT:    {name: "INT", comma: ',', clock: "timestamp", unit: seconds, hops: true},
	DASH:   {name: "DASH", comma: ';', clock: "timestamp", unit: millis, need: []string{"lbo_s"}, may: []string{"fps", "rep_kbps", "calc_cum", "width", "height", "stall_s"}},
	Merged: {name: "merged", comma: ',', hops: true, need: []string{"lbo_s", "fps", "rep_kbps", "calc_cum"}},
	Grid:   {name: "grid", comma: ',', clock: "ts_ms", unit: millis},
}

// separators are what may lie between cells.
const separators = ",;\t|"

// clockNames are the names of a log's column of time, the first that is there.
var clockNames = []string{"timestamp", "Timestamp", "time", "Time", "ts", "ts_ms"}

// missing are the words that programs write where nothing was measured: pandas,
// NumPy, R, Python, JavaScript, Go, databases, spreadsheets.
var missing = []string{"nan", "null", "none", "nil", "na", "n/a", "#n/a", "<na>", "nat", "undefined", "-", `\n`, "undefinedxundefined", "nanxnan", "nullxnull", "0x0"}

// Missing reports whether a cell says that nothing was measured: it is empty or
// one of the words that programs write for that.
func Missing(cell string) bool { return isMissing([]byte(strings.TrimSpace(cell))) }

// NewCSV reads the cells of a CSV of any program. Its first line tells whether a comma,
// a semicolon, a tab or a bar lies between them; its lines are those of LimitLines.
func NewCSV(r io.Reader) *csv.Reader {
	buffered := bufio.NewReaderSize(LimitLines(r), 1<<16)
	in := csv.NewReader(buffered)
	in.TrimLeadingSpace = true
	head, _ := buffered.Peek(1 << 14)
	line, _, _ := bytes.Cut(head, []byte("\n"))
	in.Comma = rune(separator(line, ','))
	return in
}

// isMissing reports whether a cell says that nothing was measured.
func isMissing(cell []byte) bool {
	if len(cell) == 0 {
		return true
	}
	if c := cell[0]; c >= '1' && c <= '9' || len(cell) > len("undefinedxundefined") {
		return false
	}
	for _, m := range missing {
		if len(m) == len(cell) && strings.EqualFold(m, string(cell)) {
			return true
		}
	}
	return false
}

// timeUnit is a unit of times since 1970.
type timeUnit struct {
	name     string
	mul, div float64 // that make milliseconds of it; 0: ISO 8601
}

// The units, and where they are in timeUnits.
const (
	seconds = iota
	millis
)

var timeUnits = [...]timeUnit{
	{"seconds", 1e3, 1}, {"milliseconds", 1, 1}, {"microseconds", 1, 1e3}, {"nanoseconds", 1, 1e6}, {"ISO 8601", 0, 0},
}

// unitOf is the unit in which a cell is a plausible time; nil for none.
func unitOf(cell []byte) *timeUnit {
	for i := range timeUnits {
		if ms, ok := timeUnits[i].millis(cell); ok && PlausibleTime(ms) {
			return &timeUnits[i]
		}
	}
	return nil
}

// millis is the time that a cell holds.
func (u *timeUnit) millis(cell []byte) (float64, bool) {
	if u.mul == 0 {
		text := strings.Replace(string(bytes.TrimSuffix(cell, []byte(" UTC"))), " ", "T", 1)
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05-0700"} {
			if t, err := time.Parse(layout, text); err == nil {
				return float64(t.UnixMilli()), true
			}
		}
		return 0, false
	}
	v, err := strconv.ParseFloat(string(cell), 64)
	return v * u.mul / u.div, err == nil
}

// separator is what lies between the cells of a header line: what cuts it into
// most.
func separator(head []byte, usual byte) byte {
	best, most := usual, bytes.Count(head, []byte{usual})
	for _, c := range []byte(separators) {
		if n := bytes.Count(head, []byte{c}); n > most {
			best, most = c, n
		}
	}
	return best
}
