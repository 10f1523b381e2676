package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
)

// WriteLog writes the reports as testbeds write a log of probes: a line a report, with
// the time in s and, for each of the switches ids, enq_qdepth, deq_timedelta (us) and
// deq_qdepth. What a report does not hold is empty; one that is earlier than the one
// before it gets that one's time. notes say what was refused or never measured.
func (f *File) WriteLog(w io.Writer, ids []uint32) (notes []string, err error) {
	out := bufio.NewWriter(w)
	out.WriteString("timestamp")
	var fields []telemetry.Field
	for n := range ids {
		for _, stem := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
			field, _ := telemetry.Canonical(fmt.Sprint(stem, n+1))
			fields = append(fields, field)
			out.WriteString("," + field.Name)
		}
	}
	out.WriteByte('\n')
	tally := telemetry.NewTally(fields)
	var line []byte
	var last time.Time
	reports, rows := 0, 0
	cells, filled := make([]string, 3*len(ids)), make([]int, 3*len(ids))
	err = f.read(func(at time.Time, r *intreport.Report) error {
		reports++
		if !telemetry.PlausibleTime(float64(at.UnixMilli())) {
			return nil
		}
		clear(cells)
		measured := false
		for i := range r.Hops {
			h := &r.Hops[i]
			n := slices.Index(ids, h.Switch)
			if n < 0 || h.Has&intreport.HasSwitch == 0 {
				continue
			}
			values, valid := h.Queueing()
			for k, v := range values {
				if valid[k] && tally.Take(3*n+k, v, f.name, 0) {
					cells[3*n+k] = strconv.FormatFloat(v, 'f', -1, 64)
					measured = true
				}
			}
		}
		if !measured {
			return nil
		}
		if at.Before(last) {
			at = last
		}
		last = at
		rows++
		line = fmt.Appendf(line[:0], "%d.%06d", at.Unix(), at.Nanosecond()/1000)
		for i, c := range cells {
			if c != "" {
				filled[i]++
			}
			line = append(append(line, ','), c...)
		}
		_, err := out.Write(append(line, '\n'))
		return err
	}, nil)
	if err != nil {
		return nil, errors.Join(err, out.Flush())
	}
	for _, r := range tally.Refused() {
		notes = append(notes, fmt.Sprintf("not measured: %v", r))
	}
	var empty []string
	for i, n := range filled {
		if n == 0 {
			empty = append(empty, fields[i].Name)
		}
	}
	if rows == 0 {
		return notes, errors.Join(fmt.Errorf("%s: none of %d reports says anything of a queue of switches %v", f.name, reports, ids), out.Flush())
	}
	if len(empty) > 0 {
		notes = append(notes, "never measured: "+strings.Join(empty, " "))
	}
	return notes, out.Flush()
}
