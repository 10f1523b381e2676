package eval

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes the comparison as the page that planegym compare prints: a line
// for each policy, how alike the plants rank them, and what recordings say.
func (r *Result) WriteText(out io.Writer) error {
	fmt.Fprintf(out, "A: %s, seed %d    B: %s, seed %d\n%d episodes of %d steps each, limits %v; mean reward a step ± 95 %%\n", r.A.Name, r.A.Seed, r.B.Name, r.B.Seed, r.Episodes, r.Steps, r.Limits)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	qoe := r.Policies[0].A.LBO != nil && r.Policies[0].B.LBO != nil
	head := "POLICY\tON A\tON B\tB − A\tOF THE SPAN\t"
	if qoe {
		head += "BUFFER A, B (s)\tLEVEL A, B\tSTALLED A, B (s)\t"
	}
	fmt.Fprintln(w, head+"DRIFT (KS, LARGEST)")
	for _, p := range r.Policies {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t", p.Policy, p.A.Reward, p.B.Reward, p.Difference, p.Normalised.Mean.percent("%+.0f"))
		if qoe {
			fmt.Fprintf(w, "%.1f, %.1f\t%.2f, %.2f\t%.0f, %.0f\t", p.A.LBO.Mean, p.B.LBO.Mean, p.A.Level.Mean, p.B.Level.Mean, p.A.Stall.Mean, p.B.Stall.Mean)
		}
		if name, ks := p.Largest(r.Columns); name == "" {
			fmt.Fprintln(w, "–")
		} else {
			fmt.Fprintf(w, "%.2f %s\n", ks, name)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	r.writeNotes(out)
	if err := r.Agreement.writeText(out, r.Span); err != nil {
		return err
	}
	if err := r.writeCalibration(out); err != nil {
		return err
	}
	if r.Recordings == nil {
		return nil
	}
	return r.Recordings.writeText(out)
}

// writeCalibration says how far values are off, beside what the truth itself and
// another testbed are given, and family by family.
func (r *Result) writeCalibration(out io.Writer) error {
	c := r.Calibration
	if len(c.Families) == 0 { // a result of before there was one
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nIN A'S PLACE\tρ\tREGRET@1\tRMS OF A VALUE\tBIAS")
	line := func(name string, rho Bounds, regret Regret, c Calibration) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, rho, regret.Share.percent(), c.RMS, c.Bias.signed())
	}
	line("B, "+r.B.Name, r.Agreement.Spearman, r.Agreement.Regret, c)
	for _, f := range r.References {
		line(f.Name(), f.Spearman, f.Regret, f.Calibration)
	}
	fmt.Fprintln(w, "\nFAMILY\tPOLICIES\tRMS ON B\tBIAS ON B")
	for _, f := range c.Families {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", f.Family, f.Policies, f.RMS, f.Bias.signed())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "Calibration: B is %.2f + %.2f·A (slope %.2f … %.2f, 1 where values are right); %d of %d differences contain 0 in their 95 %% interval\n",
		c.Intercept.Value, c.Slope.Value, c.Slope.Low, c.Slope.High, c.Within, len(r.Policies))
	if above := r.Reference(Ceiling); above != nil {
		fmt.Fprintf(out, "%s\n", r.Agreement.Spearman.against(above.Spearman))
	}
	return nil
}

// against says whether a rank correlation reaches the ceiling.
func (b Bounds) against(ceiling Bounds) string {
	switch {
	case b.none() || ceiling.none():
		return "Without a rank correlation nothing can be said of the order."
	case b.Value >= ceiling.Low:
		return "B ranks policies as well as A itself does with so many episodes: its ρ lies within the ceiling's interval."
	case b.High >= ceiling.Low:
		return "B's ρ is below the ceiling's interval, and the two intervals overlap: more episodes would tell."
	}
	return "B ranks policies worse than A itself does with so many episodes: its interval lies below the ceiling's."
}

// Name is how tables call a reference.
func (f *Reference) Name() string {
	if f.Kind == Ceiling {
		return fmt.Sprintf("A again, seed %d (the ceiling)", f.Plant.Seed)
	}
	return f.Plant.Name + " (another testbed)"
}

func (b Bounds) none() bool { return math.IsNaN(float64(b.Value)) }

// percent is the share and its interval, in percent.
func (b Bounds) percent() string {
	if b.none() {
		return "–"
	}
	return fmt.Sprintf("%.1f %% [%.1f, %.1f]", 100*b.Value, 100*b.Low, 100*b.High)
}

// signed is b with a sign.
func (b Bounds) signed() string {
	if b.none() {
		return "–"
	}
	return fmt.Sprintf("%+.2f [%+.2f, %+.2f]", b.Value, b.Low, b.High)
}

// writeNotes says what a reader of the table may overlook: rules that are
// constants, and a plant on which all policies earn the same.
func (r *Result) writeNotes(out io.Writer) {
	var names []string
	var on [2][][]float64
	for _, p := range r.Policies {
		names = append(names, p.Policy)
		on[0], on[1] = append(on[0], p.A.PerSeed), append(on[1], p.B.PerSeed)
	}
	for i, plant := range []string{"A", "B"} {
		if len(on[i][0]) == 0 { // not measured
			continue
		}
		twins := map[string][]string{}
		for _, twin := range Twins(names, on[i]) {
			twins[twin[1]] = append(twins[twin[1]], twin[0])
		}
		for _, constant := range slices.Sorted(maps.Keys(twins)) {
			fmt.Fprintf(out, "On %s, what %s earns, episode by episode, is earned by: %s.\n", plant, constant, strings.Join(twins[constant], ", "))
		}
		if SameWithinNoise(on[i]) {
			fmt.Fprintf(out, "On %s all policies earn the same within noise: no action matters there, and their ranks say nothing.\n", plant)
		}
	}
}

func (g *Agreement) writeText(out io.Writer, span Number) error {
	share, same := g.Regret.Share, g.Similarity
	fmt.Fprintf(out, "\nSpearman's ρ %s, Kendall's τ %s\n", g.Spearman, g.Kendall)
	fmt.Fprintf(out, "Regret@1: B picks %s, A's best is %s: %s reward a step, %s [%s, %s] of the %.2f between A's best and worst\n",
		g.Regret.Chosen, g.Regret.Best, g.Regret.Absolute, share.Value.percent("%.1f"), share.Low.percent("%.1f"), share.High.percent("%.1f"), span)
	_, err := fmt.Fprintf(out, "Similarity as the tutorial takes it: %s of reward, %s of the frame rate; of A's worst policy and its best: %s, %s\n",
		same.Reward.percent("%.1f"), same.FPS.percent("%.1f"), same.Apart.Reward.percent("%.1f"), same.Apart.FPS.percent("%.1f"))
	return err
}

func (log *Recordings) writeText(out io.Writer) error {
	fmt.Fprintf(out, "\n%s: %d sessions of %d steps, a limit drawn every %d; recorded %s a step; estimates: (1-γ)·V, γ %v\n", log.Path, log.Sessions, log.Steps, log.Block, log.Reward, log.Gamma)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "POLICY\tFQE\tOVER RANDOM\tDOUBLY ROBUST\tOVER RANDOM\tSTEPS FOLLOWED")
	for _, p := range log.Policies {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\n", p.Policy, p.FQE, p.AdvantageFQE, p.DR, p.AdvantageDR, p.Followed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "Spearman's ρ with the values on A: FQE %.2f, DR %.2f. Labels shuffled %d times: %s of FQE's intervals contain 0, %s of DR's\n",
		log.FQE, log.DR, log.Null.Shuffles, log.Null.FQE.percent("%.0f"), log.Null.DR.percent("%.0f"))
	return err
}

// percent is a share in percent, – where it was not measured.
func (n Number) percent(format string) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf(format+" %%", 100*n)
}
