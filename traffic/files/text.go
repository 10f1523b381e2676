package files

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes r as a person reads it.
func (r *Converted) WriteText(out io.Writer) error {
	if r.Rows > 0 {
		fmt.Fprintf(out, "%s: header bits of %d of %d packets", r.Output, r.Rows, r.Packets)
	} else {
		fmt.Fprintf(out, "%s: %d sessions, %d steps", r.Output, r.Sessions, r.Steps)
		if r.Packets > 0 {
			fmt.Fprintf(out, " of %d packets, %d bad checksums", r.Packets, r.Bad)
		}
	}
	fmt.Fprintln(out)
	if r.Cut > 0 {
		fmt.Fprintf(out, "Segmentation offload: %d frames cut into %d segments\n", r.Cut, r.Cut+r.Added)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	counted := func(head string, m map[string]int) {
		if len(m) == 0 {
			return
		}
		fmt.Fprintln(w, head)
		for _, k := range slices.SortedFunc(maps.Keys(m), func(a, b string) int {
			if m[a] != m[b] {
				return m[b] - m[a]
			}
			return strings.Compare(a, b)
		}) {
			fmt.Fprintf(w, "  %s\t%d\n", k, m[k])
		}
	}
	counted("Labels:", r.Labels)
	counted("Packets left out:", r.Left)
	counted("Details that actions do not say:", r.Lost)
	for _, k := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "Refused: %s\n", r.Refused[k])
	}
	return w.Flush()
}

// WriteText writes r as a person reads it.
func (r *Written) WriteText(out io.Writer) error {
	var err error
	switch {
	case r.Packets != nil:
		p := r.Packets
		_, err = fmt.Fprintf(out, "%s: %d sessions, %d actions, %d packets, %d bytes; every checksum is right\nRepair rate %.2f %%: %d actions changed, %d packets added\n",
			r.Output, p.Sessions, p.Actions, p.Packets, p.Bytes, 100*p.RepairRate(), p.Changed, p.Added)
		for _, why := range p.Reasons() {
			if err == nil {
				_, err = fmt.Fprintf(out, "  %6d  %s\n", p.Why[why], why)
			}
		}
	case r.Picture != nil:
		p := r.Picture
		_, err = fmt.Fprintf(out, "%s: %d ticks of %v s, %.0f to %.0f bytes\n", r.Output, p.Ticks, p.Tick, p.Min, p.Max)
	case r.Rows > 0:
		_, err = fmt.Fprintf(out, "%s: %d sessions, %d packets, nothing repaired, seed %d\n", r.Output, r.Sessions, r.Rows, r.Seed)
	default:
		_, err = fmt.Fprintf(out, "%s: %d sessions, seed %d\n", r.Output, r.Sessions, r.Seed)
	}
	return err
}
