package fidelity

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/planegym/planegym/eval/selection"
)

// WriteText writes a table for each limit or session, what the sets say a limit
// does, and which is best.
func (r *Ranked) WriteText(w io.Writer) error {
	var b bytes.Buffer
	for k := range r.At {
		r.writeScores(&b, k)
	}
	r.writeEffects(&b)
	for k, at := range r.At {
		fmt.Fprintf(&b, "%s %d: best by %s %s, worst %s\n", r.What, at, r.By, r.Sets[r.Best[k]].Name, r.Sets[r.Worst[k]].Name)
	}
	fmt.Fprintf(&b, "sum over %ss: best %s, worst %s\n", r.What, r.Sets[r.BestSum].Name, r.Sets[r.WorstSum].Name)
	_, err := b.WriteTo(w)
	return err
}

// writeEffects prints how far what a limit does is off in each set.
func (r *Ranked) writeEffects(b *bytes.Buffer) {
	for _, s := range r.Sets {
		if e := s.Effects; e != nil {
			fmt.Fprintf(b, "%s: exogeneity error %.3f (%.3f … %.3f; floor %.3f), effect error %.3f s/s (%.3f … %.3f; %.3f), transient error %.3f s/s (%.3f … %.3f; %.3f)\n", s.Name,
				e.Exogeneity, e.Low.Exogeneity, e.High.Exogeneity, e.Floor.Exogeneity, e.Effect, e.Low.Effect, e.High.Effect, e.Floor.Effect,
				e.Transient, e.Low.Transient, e.High.Transient, e.Floor.Transient)
		}
	}
	if r.What == "limit" && !slices.ContainsFunc(r.Sets, func(s Set) bool { return s.Effects != nil }) {
		fmt.Fprintln(b, "What a limit does (exogeneity, effect and transient error) is not identifiable: no limit takes turns with another within a recording.")
	}
}

// writeScores prints table k: a line for each set, and the noise floor.
func (r *Ranked) writeScores(b *bytes.Buffer, k int) {
	fmt.Fprintf(b, "%s %d, %d real rows\n", r.What, r.At[k], r.Sets[0].Scores[k].RealRows)
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "set\tM minmax\tM minmax 2600\tM raw 2600\tW1\tKS\tcorr\tACF\tLBO step\tLBO spread\tcopies\t")
	row := func(name string, m selection.Means, rest ...string) {
		for len(rest) < 5 {
			rest = append(rest, "")
		}
		fmt.Fprintf(t, "%s\t%.3f\t%s\t%s\t%.4f\t%.3f\t%.3f\t%.3f\t%s\t%s\t%s\t\n", name, m.MMinmax, rest[0], rest[1], m.W1, m.KS, m.Corr, m.ACF, rest[2], rest[3], rest[4])
	}
	for _, s := range r.Sets {
		score := s.Scores[k]
		step, spread, copies := "", "", ""
		for _, f := range score.Features {
			if f.Name == "Buffer" {
				step, spread = fmt.Sprintf("%.3f", f.Step), fmt.Sprintf("%.3f", f.SD)
			}
		}
		if len(s.Copies) > 0 {
			copies = fmt.Sprintf("%.2f", s.Copies[k])
		}
		row(s.Name, score.Mean, fmt.Sprintf("%.3f", score.MMinmax2600), fmt.Sprintf("%.0f", score.MRaw2600), step, spread, copies)
	}
	for i, name := range []string{"floor, 5 %", "floor, median", "floor, 95 %"} {
		row(name, r.Sets[0].Scores[k].Floor[i])
	}
	t.Flush()
	for _, s := range r.Sets {
		score := s.Scores[k]
		fmt.Fprintf(b, "M of %s by column: minmax %s; raw %s\n", s.Name, shares(score.Shares(score.MBy)), shares(score.Shares(score.MRawBy)))
	}
	r.writeColumns(b, k)
}

// shares are the largest shares of M, which make up nine tenths of it, four at most.
func shares(all []selection.Share) string {
	var text []string
	sum := 0.
	for _, s := range all {
		if sum >= .9 || len(text) == 4 {
			break
		}
		sum += s.Of
		text = append(text, fmt.Sprintf("%s %.0f %%", s.Column, 100*s.Of))
	}
	return strings.Join(text, ", ")
}

// writeColumns prints which columns the sets were scored on in table k, if
// they are not the published 13, and which were left out.
func (r *Ranked) writeColumns(b *bytes.Buffer, k int) {
	printed := ""
	for _, s := range r.Sets {
		score := s.Scores[k]
		text := ""
		if !slices.Equal(score.Columns, selection.Columns) {
			text = fmt.Sprintf("scored: %s\n", strings.Join(score.Columns, " "))
		}
		if len(score.Left) > 0 {
			text += fmt.Sprintf("left out: %s\n", strings.Join(score.Left, " "))
		}
		if text != printed {
			if len(r.Sets) > 1 {
				fmt.Fprintf(b, "%s: ", s.Name)
			}
			b.WriteString(text)
			printed = text
		}
	}
}
