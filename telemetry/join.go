package telemetry

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Join joins the raw log of probes (INT) with the player's (DASH) second by
// second. The grid is the player's, from its first record to its last: a
// record's second is the whole number of seconds since the first that is
// nearest, a probe's is its timestamp's, without the fraction, since the whole
// second of the first record. Seconds without probe or record are gaps. Either
// log may be nil; without the player's the grid is the probes'.
//
// Memory holds the grid and one second of probes, so the log of probes may be
// longer than memory.
func Join(probes, player *Reader, how Aggregation) (*Dataset, error) {
	if probes == nil && player == nil {
		return nil, errors.New("telemetry: join: neither probes nor player")
	}
	if player != nil && player.format != DASH {
		return nil, fmt.Errorf("telemetry: join: %s is a %v file, not DASH", player.file, player.format)
	}
	var a *aggregator
	var hops []Field
	if probes != nil {
		var err error
		if a, err = newAggregator(probes, how); err != nil {
			return nil, err
		}
		hops = a.out
	}
	b := &builder{from: probes, rate: -1, counter: -1, given: -1, stall: -1}
	b.fields = slices.Clone(hops)
	if player != nil {
		b = newBuilder(player, hops)
		err := player.each(func(rec *Record) error {
			t, err := b.nearest(rec.Millis)
			if err != nil {
				return err
			}
			return b.put(t, rec)
		})
		if err != nil {
			return nil, err
		}
	}
	if a == nil {
		return b.dataset(), nil
	}
	columns := make([]int, len(hops))
	for i, f := range hops {
		columns[i] = b.Column(f.Name)
	}
	met := false
	for {
		second, err := a.next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if player == nil && len(b.millis) == 0 {
			b.origin = second * 1000
		}
		t := second - b.origin/1000
		if player == nil {
			n, err := b.within(t)
			if err != nil {
				return nil, err
			}
			b.grow(n + 1)
		}
		if t < 0 || t >= int64(len(b.millis)) {
			continue
		}
		for i, c := range columns {
			v, ok := a.Value(i)
			at := int(t)*len(b.fields) + c
			b.values[at], b.valid[at] = float32(v), ok
			met = met || ok
		}
	}
	if probes.rows == 0 && probes.times.n > 0 {
		return nil, probes.times.first
	}
	if !met {
		return nil, a.from.bad("", "", "a probe within the recording")
	}
	if player != nil {
		b.reading.add(probes)
	}
	return b.dataset(), nil
}

// aggregator makes one row a second of a log of probes.
type aggregator struct {
	*Second
	from *Reader
	rec  Record
	read bool // rec is read, and belongs to the next second
}

func newAggregator(from *Reader, how Aggregation) (*aggregator, error) {
	if from.format != INT {
		return nil, fmt.Errorf("telemetry: join: %s is a %v file, not INT", from.file, from.format)
	}
	s, err := NewSecond(from.fields, how)
	if err != nil {
		return nil, err
	}
	return &aggregator{Second: s, from: from}, nil
}

// next reads the probes of the next second and returns it, since 1970.
func (a *aggregator) next() (int64, error) {
	a.Reset()
	if !a.read {
		if err := a.from.Read(&a.rec); err != nil {
			return 0, err
		}
	}
	second := a.rec.Millis / 1000
	for n := 1; ; n++ {
		if n > maxProbes {
			return 0, a.from.bad("timestamp", "", fmt.Sprintf("at most %d probes a second", maxProbes))
		}
		a.Add(a.rec.Values, a.rec.Valid)
		err := a.from.Read(&a.rec)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if a.read = err == nil; !a.read || a.rec.Millis/1000 != second {
			return second, nil
		}
	}
}

// Table is rows without a grid: what is left of a recording when rows were
// dropped. Time between neighbours is not known from their position.
type Table struct {
	Fields  []Field
	Seconds []int64   // [n] since 1970
	Values  []float64 // [n,F]
}

// Reverse reverses the rows. The library that the published pipeline loads its
// data with does that, so its models learn time backwards.
func (t *Table) Reverse() {
	slices.Reverse(t.Seconds)
	slices.Reverse(t.Values)
	f := len(t.Fields)
	for i := range t.Seconds {
		slices.Reverse(t.Values[i*f : (i+1)*f])
	}
}

// Tutorial is the published preprocessing (Tavares et al. 2024) of a log of
// probes and one of the player, for comparison only: of each second the probe
// that waited longest at switch 1, joined with the player's records of that
// second (both timestamps cut to whole seconds; a second without either is
// dropped), empty cells filled with their column's mean, then column by column
// every row dropped that lies outside of the fences of Outliers, the quartiles
// taken of the rows still left. Columns are in the published order, the
// counter cumulative: the INT columns, lbo_s, rep_kbps, fps, calc_cum. player
// may be nil.
//
// It deletes a third of the rows, every queueing event at switches that mostly
// have none, and the continuity of time. Use Join to keep them.
func Tutorial(probes, player *Reader) (*Table, error) {
	a, err := newAggregator(probes, MaxTimedelta1)
	if err != nil {
		return nil, err
	}
	t := &Table{Fields: slices.Clone(a.out)}
	var valid []bool
	row := func(second int64, rec *Record, where []int) {
		t.Seconds = append(t.Seconds, second)
		for i := range a.out {
			v, ok := a.Value(i)
			t.Values, valid = append(t.Values, v), append(valid, ok)
		}
		for _, w := range where {
			t.Values, valid = append(t.Values, rec.Values[w]), append(valid, rec.Valid[w])
		}
	}
	// worst reads on to the next second with a probe that measured switch 1.
	worst := func() (second int64, err error) {
		for {
			second, err = a.next()
			if _, ok := a.Value(a.worst); ok || err != nil {
				return second, err
			}
		}
	}
	if player == nil {
		for {
			second, err := worst()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			row(second, nil, nil)
		}
	} else {
		where, err := player.find([]string{"lbo_s", "rep_kbps", "fps", "calc_cum"})
		if err != nil {
			return nil, err
		}
		for _, w := range where {
			t.Fields = append(t.Fields, player.fields[w])
		}
		at, ended := int64(-1), false
		err = player.each(func(rec *Record) error {
			second := rec.Millis / 1000
			for !ended && at < second {
				switch at, err = worst(); {
				case errors.Is(err, io.EOF):
					ended = true
				case err != nil:
					return err
				}
			}
			if !ended && at == second {
				row(second, rec, where)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(t.Seconds) == 0 {
		return nil, probes.bad("", "", "a second with a probe and a player record")
	}
	if err := t.fillMean(valid); err != nil {
		return nil, err
	}
	t.dropOutliers()
	return t, nil
}

// fillMean fills what was not measured with the mean of its column.
func (t *Table) fillMean(valid []bool) error {
	f := len(t.Fields)
	for c := range f {
		var sum, n float64
		for i := c; i < len(valid); i += f {
			if valid[i] {
				sum += t.Values[i]
				n++
			}
		}
		if n == 0 {
			return fmt.Errorf("telemetry: tutorial: %s was never measured", t.Fields[c].Name)
		}
		for i := c; i < len(valid); i += f {
			if !valid[i] {
				t.Values[i] = sum / n
			}
		}
	}
	return nil
}

// dropOutliers drops the rows outside of a column's fences, one column after
// the other. It never drops all: a quartile lies within its fences.
func (t *Table) dropOutliers() {
	f := len(t.Fields)
	column := make([]float64, 0, len(t.Seconds))
	for c := range f {
		column = column[:0]
		for i := range t.Seconds {
			column = append(column, t.Values[i*f+c])
		}
		low, high := fences(column)
		n := 0
		for i, second := range t.Seconds {
			if v := t.Values[i*f+c]; v >= low && v <= high {
				t.Seconds[n] = second
				copy(t.Values[n*f:(n+1)*f], t.Values[i*f:])
				n++
			}
		}
		t.Seconds, t.Values = t.Seconds[:n], t.Values[:n*f]
	}
}
