package telemetry

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
)

// Report is what became of the rows given to Import.
type Report struct {
	Rows     int        // read
	Placed   int        // on a second of their own
	Repeated int        // equal to one that another file placed
	Unplaced []Unplaced // the rest
}

// Unplaced is a row that found no second, and why.
type Unplaced struct {
	File string
	Line int
	Why  string
}

func (u Unplaced) String() string { return fmt.Sprintf("%s:%d: %s", u.File, u.Line, u.Why) }

// player are the columns by which a published row tells its player record.
var player = [...]string{"lbo_s", "fps", "rep_kbps", "calc_cum"}

// Import puts published rows (Merged), which have no timestamps, on the clock
// of the player log (DASH) that they were joined with: the recording under
// limit packets has a second for each second of dash, and the INT values of
// the rows where they belong.
//
// A row belongs to the record with the same four player columns. Rows keep
// their order within a file: where columns repeat or a row is out of order,
// as many rows as possible are placed on ascending records (the longest common
// subsequence, Hunt and Szymanski 1977), the earliest where that leaves a
// choice. Several files of rows may overlap; of two that differ in a second
// the first holds it.
func Import(dash *Reader, limit int, rows ...*Reader) (*Dataset, *Report, error) {
	if limit < 1 {
		return nil, nil, fmt.Errorf("telemetry: import: limit: %d packets is less than 1", limit)
	}
	var hops []Field
	for i, r := range rows {
		f := slices.DeleteFunc(r.Fields(), func(f Field) bool { _, hop := splitHop(f.Name); return hop == 0 })
		if i == 0 {
			hops = f
		} else if !slices.Equal(f, hops) {
			return nil, nil, r.bad("", fmt.Sprint(f), fmt.Sprintf("the INT columns of %s, %v", rows[0].file, hops))
		}
	}
	b := newBuilder(dash, hops)
	b.limit = limit
	var seconds []int // of the grid, by record
	at := map[[len(player)]float64][]int{}
	where, err := dash.find(player[:])
	if err != nil {
		return nil, nil, err
	}
	err = dash.each(func(rec *Record) error {
		t, err := b.nearest(rec.Millis)
		if err != nil {
			return err
		}
		if k, ok := key(rec, where); ok {
			at[k] = append(at[k], len(seconds))
		}
		seconds = append(seconds, t)
		return b.put(t, rec)
	})
	if err != nil {
		return nil, nil, err
	}
	rep := &Report{}
	for _, r := range rows {
		if err := b.place(r, at, seconds, rep); err != nil {
			return nil, nil, err
		}
	}
	if len(rows) > 0 && rep.Placed == 0 {
		var why Reading
		why.add(dash)
		if err := why.Check(MaxRefused); err != nil {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("telemetry: import: none of %d rows belongs to a second of %s; the first: %v", rep.Rows, dash.file, rep.Unplaced[0])
	}
	return b.dataset(), rep, nil
}

// place places the rows of one file.
func (b *builder) place(r *Reader, at map[[len(player)]float64][]int, seconds []int, rep *Report) error {
	where, err := r.find(player[:])
	if err != nil {
		return err
	}
	var hops, columns []int // of INT values, in r and in b
	for i, f := range r.fields {
		if _, hop := splitHop(f.Name); hop > 0 {
			hops, columns = append(hops, i), append(columns, b.Column(f.Name))
		}
	}
	// A chain of rows on ascending records, by its last link: ends[n] is the
	// chain of n+1 rows that ends on the earliest record.
	type link struct {
		record, line int
		values       []float32 // of hops
		valid        []bool
		before       *link
	}
	var ends []*link
	lines := map[int]string{} // not placed, and why
	err = r.each(func(rec *Record) error {
		rep.Rows++
		k, _ := key(rec, where)
		found := at[k]
		if len(found) == 0 {
			lines[rec.Line] = fmt.Sprintf("no player record has %v", describe(k))
			return nil
		}
		lines[rec.Line] = fmt.Sprintf("every player record with %v is taken or out of order", describe(k))
		values, valid := make([]float32, len(hops)), make([]bool, len(hops))
		for i, h := range hops {
			values[i], valid[i] = float32(rec.Values[h]), rec.Valid[h]
		}
		for _, record := range slices.Backward(found) {
			n := sort.Search(len(ends), func(n int) bool { return ends[n].record >= record })
			l := &link{record: record, line: rec.Line, values: values, valid: valid}
			if n > 0 {
				l.before = ends[n-1]
			}
			if n == len(ends) {
				ends = append(ends, l)
			} else if ends[n].record > record {
				ends[n] = l
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(ends) > 0 {
		for l := ends[len(ends)-1]; l != nil; l = l.before {
			delete(lines, l.line)
			row := seconds[l.record] * len(b.fields)
			held := slices.ContainsFunc(columns, func(c int) bool { return b.valid[row+c] })
			same := true
			for i, c := range columns {
				same = same && b.valid[row+c] == l.valid[i] && (!l.valid[i] || b.values[row+c] == l.values[i])
			}
			switch {
			case !held:
				for i, c := range columns {
					b.values[row+c], b.valid[row+c] = l.values[i], l.valid[i]
				}
				rep.Placed++
			case same:
				rep.Repeated++
			default:
				lines[l.line] = fmt.Sprintf("second %d holds other INT values already", seconds[l.record])
			}
		}
	}
	b.reading.add(r)
	first := len(rep.Unplaced)
	for line, why := range lines {
		rep.Unplaced = append(rep.Unplaced, Unplaced{r.file, line, why})
	}
	slices.SortFunc(rep.Unplaced[first:], func(a, b Unplaced) int { return a.Line - b.Line })
	return nil
}

// key is what a record shares with the published row that was made of it.
func key(rec *Record, where []int) (k [len(player)]float64, ok bool) {
	for i, w := range where {
		if !rec.Valid[w] {
			return k, false
		}
		k[i] = rec.Values[w]
	}
	return k, true
}

func describe(k [len(player)]float64) string {
	return fmt.Sprintf("lbo_s %v, fps %v, rep_kbps %v, calc_cum %v", k[0], k[1], k[2], k[3])
}

// find is where the named fields are in a record.
func (d *Reader) find(names []string) ([]int, error) {
	var at []int
	for _, n := range names {
		i := slices.IndexFunc(d.fields, func(f Field) bool { return f.Name == n })
		if i < 0 {
			return nil, d.bad(n, "", fmt.Sprintf("this column, which %s files lack", formats[d.format].name))
		}
		at = append(at, i)
	}
	return at, nil
}

// each calls f with every record that is left, of which there is at least one.
func (d *Reader) each(f func(*Record) error) error {
	var rec Record
	for {
		switch err := d.Read(&rec); {
		case errors.Is(err, io.EOF) && d.rows == 0 && d.times.n > 0:
			return d.times.first
		case errors.Is(err, io.EOF) && d.rows == 0:
			return d.bad("", "", "at least one line after the header")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := f(&rec); err != nil {
			return err
		}
	}
}
