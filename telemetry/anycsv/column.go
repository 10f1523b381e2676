package anycsv

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// column is a column of a file before it is known what it is for.
type column struct {
	kind      Kind
	values    []float64 // by row; NaN: not measured. Of dates seconds since 1970
	missing   int
	low, high float64
	words     int    // cells that are neither number nor date
	odd       string // the first of these, else the first date: its line and what it holds
}

// missing reports whether a cell says that nothing was measured.
func missing(cell string) bool { return cell == "?" || telemetry.Missing(cell) }

// column finds what column i holds.
func (t *cells) column(i int) column {
	c := column{values: make([]float64, len(t.rows)), low: math.Inf(1), high: math.Inf(-1)}
	dates, numbers, odd := 0, 0, 0
	for r, row := range t.rows {
		cell := row[i]
		c.values[r] = math.NaN()
		if missing(cell) {
			c.missing++
			continue
		}
		if v, ok := parseNumber(cell, t.separator); ok {
			numbers++
			c.values[r] = v
		} else if at, ok := parseDate(cell); ok {
			if dates++; dates == 1 && c.words == 0 {
				odd = r
			}
			c.values[r] = float64(at.Unix()) + float64(at.Nanosecond())/1e9
		} else {
			if c.words++; c.words == 1 {
				odd = r
			}
			continue
		}
		c.low, c.high = min(c.low, c.values[r]), max(c.high, c.values[r])
	}
	c.odd = fmt.Sprintf("line %d holds %q", t.lines[odd], t.rows[odd][i])
	whole, counts := true, i == 0 && numbers == len(t.rows) && (c.values[0] == 0 || c.values[0] == 1) // an index comes first
	for r, v := range c.values {
		whole = whole && (v != v || v == math.Trunc(v))
		counts = counts && (r == 0 || v == c.values[r-1]+1)
	}
	switch {
	case c.words > 0 || dates > 0 && numbers > 0:
		c.kind = Words // or dates among numbers
	case dates > 0:
		c.kind = Dates
	case numbers == 0:
		c.kind = Empty
	case c.low == c.high:
		c.kind = Constant
	case counts:
		c.kind = Counter
	case whole:
		c.kind = Whole
	default:
		c.kind = Real
	}
	return c
}

// isNumber says whether the column can be modelled.
func (c *column) isNumber() bool {
	return c.kind == Real || c.kind == Whole || c.kind == Constant || c.kind == Counter
}

// parseNumber reads 1.5, 1e3, 1,234.5 and, where cells are not separated by commas,
// 1,5 and 1.234,5.
func parseNumber(cell string, separator byte) (float64, bool) {
	v, err := strconv.ParseFloat(cell, 64)
	if err == nil {
		return v, v-v == 0 && !strings.ContainsAny(cell, "xX_")
	}
	comma := strings.IndexByte(cell, ',')
	if comma < 0 {
		return 0, false
	}
	if whole, rest, _ := strings.Cut(cell, "."); grouped(whole, ',') && !strings.Contains(rest, ",") {
		if separator == ',' || strings.Count(whole, ",") > 1 || rest != "" {
			v, err = strconv.ParseFloat(strings.ReplaceAll(cell, ",", ""), 64)
			return v, err == nil && v-v == 0
		}
	}
	if separator == ',' || strings.Count(cell, ",") > 1 {
		return 0, false
	}
	whole, rest, _ := strings.Cut(cell, ",")
	if strings.Contains(rest, ".") || strings.Contains(whole, ".") && !grouped(whole, '.') {
		return 0, false
	}
	v, err = strconv.ParseFloat(strings.ReplaceAll(whole, ".", "")+"."+rest, 64)
	return v, err == nil && v-v == 0
}

// grouped says whether a whole number is written in groups of three digits.
func grouped(whole string, by byte) bool {
	groups := strings.Split(strings.TrimLeft(whole, "+-"), string(by))
	for i, g := range groups {
		if len(g) == 0 || len(g) > 3 || i > 0 && len(g) != 3 || strings.Trim(g, "0123456789") != "" {
			return false
		}
	}
	return len(groups) > 1
}

// layouts of dates; day before month comes after month before day, so that only a
// date that can be nothing else is read so.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04", "2006-01-02", "2006-01",
	"2006/01/02 15:04:05", "2006/01/02 15:04", "2006/01/02", "2006/1/2 15:04", "2006/1/2",
	"1/2/2006 15:04:05", "1/2/2006 15:04", "1/2/2006", "1/2/2006 3:04:05 PM", "1/2/2006 3:04 PM", "2/1/2006 15:04:05", "2/1/2006 15:04", "2/1/2006",
	"2.1.2006 15:04:05", "2.1.2006 15:04", "2.1.2006", "02-Jan-2006", "2 Jan 2006", "Jan 2, 2006", "Mon, 02 Jan 2006 15:04:05 MST",
}

// parseDate reads a date or a time of a day.
func parseDate(cell string) (time.Time, bool) {
	if len(cell) < len("2006-01") || !strings.ContainsAny(cell, "0123456789") {
		return time.Time{}, false
	}
	for _, l := range layouts {
		if at, err := time.Parse(l, cell); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
