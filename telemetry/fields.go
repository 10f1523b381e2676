package telemetry

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// columns is the one table of canonical columns with units and the names that
// published files use. N in a name stands for the number of a switch, counted
// from 1 along the path; names are compared without the blanks around them.
var columns = []struct {
	Field
	alias string
}{
	{Field{"enq_qdepthN", "packets"}, ""}, // in queue when the packet came
	{Field{"deq_timedeltaN", "us"}, ""},   // in queue
	{Field{"deq_qdepthN", "packets"}, ""}, // in queue when the packet left
	{Field{"probesN", ""}, ""},            // probes of the second that crossed the switch; see Count
	{Field{"lbo_s", "s"}, "Buffer"},       // player buffer
	{Field{"fps", "1/s"}, "FPS"},          // of the representation playing
	{Field{"rep_kbps", "kbit/s"}, "ReportedBitrate"},
	{Field{"calc_cum", ""}, "CalcBitrate"}, // cumulative counter, in files only
	{Field{"calc_rate", "1/s"}, ""},        // its difference
	{Field{"width", "px"}, ""},             // files of players join these two
	{Field{"height", "px"}, ""},            // as Resolution, 1280x720
	{Field{"stall_s", "s"}, ""},            // stalled within the second
}

// hopKinds is how many of columns there are per hop in a file.
const hopKinds = 3

// Canonical is the field that a column of a file is called here: blanks are
// trimmed and published names (Buffer, FPS, ReportedBitrate, CalcBitrate)
// translated. It reports false for a column that is none of ours, and for
// Resolution, which holds two.
func Canonical(name string) (Field, bool) {
	name = strings.TrimSpace(name)
	stem, hop := splitHop(name)
	for _, c := range columns {
		if s, ok := strings.CutSuffix(c.Name, "N"); ok && hop > 0 && s == stem {
			return Field{name, c.Unit}, true
		}
		if name == c.Name && hop == 0 || name != "" && name == c.alias {
			return c.Field, !strings.HasSuffix(c.Name, "N")
		}
	}
	return Field{}, false
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
		kind = slices.IndexFunc(columns, func(c struct {
			Field
			alias string
		}) bool {
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
