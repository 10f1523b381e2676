package sweep

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// Fields is the status as a flat object for programs.
func (s Status) Fields() map[string]any {
	fields := s.Progress.Fields()
	fields["model"], fields["state"] = s.Name, s.State
	if s.Error != "" {
		fields["error"] = s.Error
	}
	if len(s.M) > 0 {
		fields["M"], fields["best_M"] = s.M, s.Best
	}
	return fields
}

// Table shows a sweep as it goes: a row for each member, with when it will end.
type Table struct {
	out   io.Writer
	all   []Status
	since []time.Time // when a member began to train here
	from  []int       // and what it had done
	drawn time.Time
	lines int
}

// NewTable is a table on a terminal; nil shows nothing.
func NewTable(out io.Writer) *Table { return &Table{out: out} }

// WriteText writes a row for each member.
func WriteText(w io.Writer, all []Status) error { return writeRows(w, all, nil) }

// Report takes what became of member i, and draws the table anew at most twice a second.
func (l *Table) Report(i int, s Status) {
	if l.out == nil {
		return
	}
	for len(l.all) <= i {
		l.all, l.since, l.from = append(l.all, Status{}), append(l.since, time.Time{}), append(l.from, 0)
	}
	if l.all[i] = s; l.since[i].IsZero() && s.Progress.Done > 0 {
		l.since[i], l.from[i] = time.Now(), s.Progress.Done
	}
	if time.Since(l.drawn) < 500*time.Millisecond {
		return
	}
	l.drawn = time.Now()
	var b strings.Builder
	_ = writeRows(&b, l.all, l.eta)
	l.Clear()
	l.lines = strings.Count(b.String(), "\n")
	fmt.Fprint(l.out, b.String())
}

// Clear takes the table off the screen.
func (l *Table) Clear() {
	if l.lines > 0 {
		fmt.Fprintf(l.out, "\x1b[%dA\x1b[J", l.lines)
		l.lines = 0
	}
}

// eta is when member i ends, at the pace it had here; of one file of several.
func (l *Table) eta(i int) string {
	p := l.all[i].Progress
	done := p.Done - l.from[i]
	if l.all[i].State != Running || done <= 0 {
		return ""
	}
	return (time.Duration(float64(time.Since(l.since[i])) / float64(done) * float64(p.Total-p.Done))).Round(time.Second).String()
}

// writeRows prints a row for each member; eta may be nil.
func writeRows(w io.Writer, all []Status, eta func(int) string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "model\tstate\tupdates\tlosses\tM by limit\tbest\tETA\t")
	for i, s := range all {
		if s.Name == "" {
			continue
		}
		left, best := "", ""
		if eta != nil {
			left = eta(i)
		}
		if len(s.M) > 0 && s.Best < math.MaxFloat64 {
			best = fmt.Sprintf("%.3f", s.Best)
		}
		var m []string
		for k, v := range s.M {
			m = append(m, fmt.Sprintf("%d: %.3f", s.Limits[k], v))
		}
		state := string(s.State)
		if s.Error != "" {
			state += ": " + s.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%d/%d\t%s\t%s\t%s\t%s\t\n", s.Name, state, s.Progress.Done, s.Progress.Total,
			s.Progress.Losses.Describe(s.Progress.Phase), strings.Join(m, ", "), best, left)
	}
	return t.Flush()
}
