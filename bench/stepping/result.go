package stepping

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Figure is one result, under a name that stays: SCENARIO.nROWS.KIND.FIGURE.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // us, 1/s, ratio or 1/call
}

// Result is what Run measured.
type Result struct {
	kinds  [][]*kind // the last of each is raw TCP
	rounds int
}

// line is the medians over rounds of one kind.
type line struct {
	name           string
	p50, rate, mem float64
	slower, share  float64 // p50 and rate over raw TCP's, taken round by round
	tcp            bool    // it is raw TCP
}

func (r *Result) lines() (all []line) {
	for _, ks := range r.kinds {
		tcp := ks[len(ks)-1]
		for _, k := range ks {
			slower, share := make([]float64, r.rounds), make([]float64, r.rounds)
			for i := range r.rounds {
				slower[i], share[i] = k.p50[i]/tcp.p50[i], k.rate[i]/tcp.rate[i]
			}
			all = append(all, line{k.name, median(k.p50), median(k.rate), median(k.mem), median(slower), median(share), k == tcp})
		}
	}
	return all
}

// Figures are the medians, and the ratios to raw TCP: those hold across machines,
// times do not.
func (r *Result) Figures() (all []Figure) {
	for _, l := range r.lines() {
		all = append(all, Figure{l.name + ".p50", l.p50, "us"}, Figure{l.name + ".rate", l.rate, "1/s"})
		if !l.tcp {
			all = append(all, Figure{l.name + ".allocs", l.mem, "1/call"},
				Figure{l.name + ".p50_over_tcp", l.slower, "ratio"}, Figure{l.name + ".rate_over_tcp", l.share, "ratio"})
		}
	}
	return all
}

// WriteText writes the figures as a table.
func (r *Result) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "what\tp50 (us)\tsteps/s\tallocs/call\tp50 / tcp\trate / tcp\t")
	for _, l := range r.lines() {
		fmt.Fprintf(out, "%s\t%.2f\t%.0f\t", l.name, l.p50, l.rate)
		if l.tcp {
			fmt.Fprintln(out, "\t\t\t")
		} else {
			fmt.Fprintf(out, "%.2f\t%.2f\t%.2f\t\n", l.mem, l.slower, l.share)
		}
	}
	return out.Flush()
}
