package telemetry

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// columns is the one table of canonical columns: units, the names that other
// files use, and the bounds outside of which a value is not a measurement. N in
// a name is the number of a switch, counted from 1 along the path; names are
// compared without the blanks around them.
var columns = []column{
	{Field{"enq_qdepthN", "packets"}, nil, 0, maxDepth},                  // in queue when the packet came: 19 bits in v1model
	{Field{"deq_timedeltaN", "us"}, nil, 0, 60e6},                        // in queue: a minute
	{Field{"deq_qdepthN", "packets"}, nil, 0, maxDepth},                  // in queue when the packet left
	{Field{"probesN", ""}, nil, 0, maxProbes},                            // probes of the second that crossed the switch; see Count
	{Field{"lbo_s", "s"}, []string{"Buffer", "LBO"}, 0, 3600},            // player buffer
	{Field{"fps", "1/s"}, []string{"FPS"}, 0, 1000},                      // of the representation playing
	{Field{"rep_kbps", "kbit/s"}, []string{"ReportedBitrate"}, 0, 200e3}, // of 8K video, and a margin
	{Field{"calc_cum", ""}, []string{"CalcBitrate"}, 0, 1 << 53},         // cumulative counter, in files only
	{Field{"calc_rate", "1/s"}, nil, 0, 1e6},                             // its rise; a segment of 4 s of the largest bitrate
	{Field{"width", "px"}, nil, 1, 1 << 14},                              // files of players join these two
	{Field{"height", "px"}, nil, 1, 1 << 14},                             // as Resolution, 1280x720
	{Field{"stall_s", "s"}, nil, 0, 1.1},                                 // stalled within the second, and a tenth for its timer
}

// column is a row of columns.
type column struct {
	Field
	aliases   []string
	low, high float64
}

const (
	maxDepth  = 1<<19 - 1 // packets
	maxProbes = 1 << 20   // within a second
)

// The times of logs, ms since 1970: from 2000 to 2100. Two neighbours of a log
// are in order, and less than an hour apart.
const (
	minMillis = 946_684_800_000
	maxMillis = 4_102_444_800_000
	maxGap    = 3600_000
)

// column is the row of columns that holds a field of this name, nil for none.
func columnOf(name string) *column {
	stem, hop := splitHop(name)
	for i := range columns {
		c := &columns[i]
		if s, ok := strings.CutSuffix(c.Name, "N"); ok && hop > 0 && s == stem || name == c.Name {
			return c
		}
	}
	return nil
}

// Bounds are the smallest and the largest value of a column that can be a
// measurement, in its unit; -Inf and Inf for a column that is not one of ours.
// Readers and collectors take a value outside of them for one that was not
// measured, and count it.
func (f Field) Bounds() (low, high float64) {
	if c := columnOf(f.Name); c != nil {
		return c.low, c.high
	}
	return math.Inf(-1), math.Inf(1)
}

// Plausible reports whether v can be a measurement of f: a number within its
// bounds.
func (f Field) Plausible(v float64) bool {
	low, high := f.Bounds()
	return v >= low && v <= high
}

// PlausibleTime reports whether ms, since 1970, can be the time of a
// measurement: from 2000 to 2100.
func PlausibleTime(ms float64) bool { return ms >= minMillis && ms <= maxMillis }

// hopKinds is how many of columns there are per hop in a file.
const hopKinds = 3

// Canonical is the field that a column of a file is called here: blanks are
// trimmed and published names (Buffer, FPS, ReportedBitrate, CalcBitrate)
// translated. It reports false for a column that is not one of ours, and for
// Resolution, which holds two.
func Canonical(name string) (Field, bool) {
	name = strings.TrimSpace(name)
	stem, hop := splitHop(name)
	for _, c := range columns {
		if s, ok := strings.CutSuffix(c.Name, "N"); ok && hop > 0 && s == stem {
			return Field{name, c.Unit}, true
		}
		if name == c.Name && hop == 0 || slices.Contains(c.aliases, name) {
			return c.Field, !strings.HasSuffix(c.Name, "N")
		}
	}
	return Field{}, false
}

// Hop is the switch that a column is of, counted from 1 along the path; 0 for a
// column of none.
func (f Field) Hop() int {
	if columnOf(f.Name) == nil {
		return 0
	}
	_, hop := splitHop(f.Name)
	return hop
}

// splitHop splits a name into its stem and the number of its switch, 0 where
// it has none.
func splitHop(name string) (string, int) {
	stem := strings.TrimRight(name, "0123456789")
	digits := name[len(stem):]
	n, err := strconv.Atoi(digits)
	if err != nil || digits[0] == '0' {
		return name, 0
	}
	return stem, n
}

// SortFields puts fields in canonical order: switch by switch, then the player.
func SortFields(f []Field) {
	rank := func(f Field) (hop, kind int) {
		stem, hop := splitHop(f.Name)
		kind = slices.IndexFunc(columns, func(c column) bool {
			return c.Name == f.Name || hop > 0 && c.Name == stem+"N"
		})
		if hop == 0 {
			hop = 1 << 30
		}
		return hop, kind
	}
	slices.SortStableFunc(f, func(a, b Field) int {
		ha, ka := rank(a)
		hb, kb := rank(b)
		return cmp.Or(cmp.Compare(ha, hb), cmp.Compare(ka, kb))
	})
}
