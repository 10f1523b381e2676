package anycsv

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// mostLimits is the largest condition, which is a queue limit to a model.
const mostLimits = 1 << 19

// file makes the recording that o asks for.
func (t *cells) file(o Options) (*File, error) {
	f := &File{Separator: t.separator, NoHeader: t.noHeader, Rows: len(t.rows)}
	clock, err := t.clock(o)
	if err != nil {
		return nil, err
	}
	if clock >= 0 {
		if f.Clock, f.Reversed, err = t.order(clock); err != nil {
			return nil, err
		}
	}
	cond := -1
	if o.Condition != "" {
		if cond, err = t.find("condition", o.Condition); err != nil {
			return nil, err
		}
	}
	var at []int
	for _, name := range o.Columns {
		i, err := t.find("columns", name)
		if err != nil {
			return nil, err
		}
		switch c := &t.columns[i]; {
		case c.kind == Empty:
			return nil, &NameError{"columns", fmt.Errorf("%s holds nothing in %d rows", name, len(t.rows))}
		case !c.isNumber():
			return nil, &NameError{"columns", fmt.Errorf("%s holds %s, not numbers: %s", name, c.kind, c.odd)}
		}
		if !slices.Contains(at, i) {
			at = append(at, i)
		}
	}
	for i, name := range t.head {
		c := &t.columns[i]
		out := Column{Name: name, Kind: c.kind, Missing: c.missing, Low: c.low, High: c.high}
		switch {
		case i == cond:
			out.Why = "the condition"
		case i == clock:
			out.Why = "time"
		case o.Columns != nil:
			if out.Modelled = slices.Contains(at, i); !out.Modelled {
				out.Why = "not asked for"
			}
		case c.kind == Counter && t.others(i, cond):
			out.Why = "it counts the rows"
		case c.kind == Words:
			out.Why = c.odd
			if c.words <= len(t.rows)/20 { // a few words among numbers are worth a look
				out.Why += fmt.Sprintf(" (%d of %d cells are no numbers)", c.words, len(t.rows))
			}
		case !c.isNumber():
			out.Why = "no numbers"
		default:
			at, out.Modelled = append(at, i), true
		}
		f.Columns = append(f.Columns, out)
	}
	if len(at) == 0 {
		return nil, fmt.Errorf("there is no column of numbers to model: found %s", t.described())
	}
	return f, t.record(f, at, clock, cond)
}

// others says whether there are numbers in another column than i and the condition.
func (t *cells) others(i, cond int) bool {
	for j := range t.columns {
		if j != i && j != cond && t.columns[j].isNumber() {
			return true
		}
	}
	return false
}

// described says what each column holds.
func (t *cells) described() string {
	var all []string
	for i, name := range t.head {
		all = append(all, fmt.Sprintf("%s (%s)", name, t.columns[i].kind))
	}
	return few(all)
}

// clock is the column of time: the one asked for, or the first of dates, or one that
// counts the rows; -1 without one.
func (t *cells) clock(o Options) (int, error) {
	if o.Time != "" {
		i, err := t.find("time", o.Time)
		if err != nil {
			return i, err
		}
		c := &t.columns[i]
		if !c.isNumber() && c.kind != Dates {
			return i, &NameError{"time", fmt.Errorf("%s holds %s: %s; want dates or numbers", o.Time, c.kind, c.odd)}
		}
		if c.missing > 0 {
			r := slices.IndexFunc(c.values, math.IsNaN)
			return i, &NameError{"time", fmt.Errorf("line %d has no %s", t.lines[r], o.Time)}
		}
		return i, nil
	}
	for _, kind := range []Kind{Dates, Counter} {
		for i := range t.columns {
			c := &t.columns[i]
			if c.kind == kind && c.missing == 0 && (kind == Dates || t.others(i, slices.Index(t.head, o.Condition))) && !slices.Contains(o.Columns, t.head[i]) && t.head[i] != o.Condition {
				return i, nil
			}
		}
	}
	return -1, nil
}

// order brings rows in the order of time, and finds the step.
func (t *cells) order(clock int) (*Clock, bool, error) {
	c := &t.columns[clock]
	n := len(t.rows)
	reversed := c.values[0] > c.values[n-1]
	if reversed {
		slices.Reverse(t.rows)
		slices.Reverse(t.lines)
		for i := range t.columns {
			slices.Reverse(t.columns[i].values)
		}
	}
	steps := make([]float64, n-1)
	for i := range steps {
		if steps[i] = c.values[i+1] - c.values[i]; steps[i] < 0 {
			late, early := i+1, i
			if reversed {
				late, early = i, i+1
			}
			return nil, false, fmt.Errorf("line %d: %s %s comes after line %d's %s: sort the rows by time", t.lines[late], t.head[clock], t.rows[late][clock], t.lines[early], t.rows[early][clock])
		}
	}
	out := &Clock{Column: t.head[clock], Dates: c.kind == Dates}
	if out.Dates {
		out.First = time.Unix(int64(c.values[0]), 0).UTC()
	}
	out.Step, out.Inserted = stepOf(steps)
	return out, reversed, nil
}

// stepOf is the step of a regular clock, by the middle one, and how many rows are
// missing; 0, 0 where steps are not whole multiples of it, or rows are missing in
// more places than one in five.
func stepOf(steps []float64) (step float64, missing int) {
	sorted := slices.Sorted(slices.Values(steps))
	step = sorted[len(sorted)/2]
	if step <= 0 {
		return 0, 0
	}
	longer := 0
	for _, s := range steps {
		times := math.Round(s / step)
		if times < 1 || math.Abs(s-times*step) > .01*step {
			return 0, 0
		}
		if times > 1 {
			longer++
			missing += int(min(times-1, 1e9))
		}
	}
	if longer > len(steps)/5 || missing > 2*len(steps) {
		return 0, 0
	}
	return step, missing
}

// record makes f's recording of the columns at.
func (t *cells) record(f *File, at []int, clock, cond int) error {
	var limits []int
	if cond >= 0 {
		var err error
		if limits, err = t.conditions(f, cond); err != nil {
			return err
		}
	}
	var fields []telemetry.Field
	for _, i := range at {
		fields = append(fields, telemetry.Field{Name: t.head[i]})
	}
	var values []float32
	var valid []bool
	var inForce []int
	row := func(r int, measured bool) {
		for _, i := range at {
			v := t.columns[i].values[r]
			values, valid = append(values, float32(v)), append(valid, measured && math.Abs(v) <= math.MaxFloat32)
		}
		if limits != nil {
			inForce = append(inForce, limits[r])
		}
	}
	for r := range t.rows {
		if r > 0 && f.Clock != nil && f.Clock.Step > 0 {
			c := t.columns[clock].values
			for range int(math.Round((c[r]-c[r-1])/f.Clock.Step)) - 1 {
				row(r-1, false)
			}
		}
		row(r, true)
	}
	f.Recording = telemetry.Recording{Limit: 1, Limits: inForce}
	if inForce != nil {
		if f.Recording.Limit = 0; slices.Min(inForce) == slices.Max(inForce) {
			f.Recording.Limit, f.Recording.Limits = inForce[0], nil
		}
	}
	start := time.Unix(0, 0)
	if f.Clock != nil && f.Clock.Dates {
		start = f.Clock.First
	}
	var err error
	f.Recording.Data, err = telemetry.NewDataset(fields, f.Recording.Limit, start, values, valid)
	return err
}

// conditions are what the condition is in each row: its numbers, or its words by the
// order in which they come.
func (t *cells) conditions(f *File, cond int) ([]int, error) {
	c := &t.columns[cond]
	name := t.head[cond]
	f.Condition = &Condition{Column: name}
	out := make([]int, len(t.rows))
	if !c.isNumber() {
		f.Condition.Words = []string{}
	}
	for r, row := range t.rows {
		if missing(row[cond]) {
			return nil, &NameError{"condition", fmt.Errorf("line %d has no %s: every row needs one", t.lines[r], name)}
		}
		if f.Condition.Words != nil {
			k := slices.Index(f.Condition.Words, row[cond])
			if k < 0 {
				if k = len(f.Condition.Words); k == 64 {
					return nil, &NameError{"condition", fmt.Errorf("%s holds more than 64 different words, such as %q", name, row[cond])}
				}
				f.Condition.Words = append(f.Condition.Words, row[cond])
			}
			out[r] = k + 1
			continue
		}
		v := c.values[r]
		if v != math.Trunc(v) || v < 1 || v > mostLimits {
			return nil, &NameError{"condition", fmt.Errorf("line %d: %s is %s: want a whole number from 1, or words", t.lines[r], name, row[cond])}
		}
		out[r] = int(v)
	}
	return out, nil
}

// Names are the modelled columns.
func (f *File) Names() (names []string) {
	for _, field := range f.Recording.Data.Fields() {
		names = append(names, field.Name)
	}
	return names
}

// Left are the columns that are not modelled, time apart.
func (f *File) Left() (names []string) {
	for _, c := range f.Columns {
		if !c.Modelled && (f.Clock == nil || c.Name != f.Clock.Column) {
			names = append(names, c.Name)
		}
	}
	return names
}

// separatorName is what lies between cells in words.
func separatorName(b byte) string {
	switch b {
	case ';':
		return "semicolons"
	case '\t':
		return "tabs"
	case '|':
		return "bars"
	}
	return "commas"
}

// String says what was found, a line for each column.
func (f *File) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rows, cells between %s", f.Rows, separatorName(f.Separator))
	if f.NoHeader {
		b.WriteString("; the first line holds numbers, so columns are numbered")
	}
	if f.Reversed {
		b.WriteString("; the last row came first: turned round")
	}
	b.WriteString("\n")
	switch c := f.Clock; {
	case c == nil:
		b.WriteString("  no column of time: a row is a time step\n")
	case c.Step == 0:
		fmt.Fprintf(&b, "  time: %s, at irregular steps: a row is a time step\n", c.Column)
	case c.Dates:
		fmt.Fprintf(&b, "  time: %s, every %v from %s; %d rows missing\n", c.Column, time.Duration(c.Step*float64(time.Second)), c.First.Format("2006-01-02 15:04:05"), c.Inserted)
	default:
		fmt.Fprintf(&b, "  time: %s, every %g; %d rows missing\n", c.Column, c.Step, c.Inserted)
	}
	if c := f.Condition; c != nil {
		fmt.Fprintf(&b, "  condition: %s", c.Column)
		for i, w := range c.Words {
			fmt.Fprintf(&b, "%s %d is %s", map[bool]string{true: ":", false: ","}[i == 0], i+1, w)
		}
		b.WriteString("\n")
	}
	for _, c := range f.Columns {
		if c.Modelled {
			fmt.Fprintf(&b, "  %s: %s, %.4g to %.4g, %d of %d missing\n", c.Name, c.Kind, c.Low, c.High, c.Missing, f.Rows)
		}
	}
	for _, c := range f.Columns {
		if !c.Modelled && c.Why != "time" && c.Why != "the condition" {
			fmt.Fprintf(&b, "  left out: %s, %s: %s\n", c.Name, c.Kind, c.Why)
		}
	}
	if n := len(f.Names()); n > f.Rows {
		fmt.Fprintf(&b, "  %d columns and only %d rows: is the file the other way round? A row is a time step\n", n, f.Rows)
	}
	return b.String()
}
