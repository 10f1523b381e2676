package report

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/planegym/planegym/eval"
)

// kinds of policies are eval.Families, each in a colour and a shape of its own: the
// last of seven shares the first's colour.
var shapes = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.RingGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{},
}

func glyphOf(kind int) draw.GlyphStyle {
	return draw.GlyphStyle{Color: series([]int{2, 1, 4, 3, 5, 0, 2}[kind]), Radius: 3.2, Shape: shapes[kind]}
}

func kindOf(p eval.Valued) int { return slices.Index(eval.Families, p.Family()) }

// Values draws the policies' values on B over those on A, with their 95 %
// intervals and the line on which both are equal.
func Values(r *eval.Result) (Figure, error) {
	var marks []mark
	for _, p := range r.Policies {
		marks = append(marks, markOf(p, p.B.Reward))
	}
	caption := fmt.Sprintf("Calibration: each policy's value on both plants, %d episodes, with 95 %% intervals; on the dashed line they are equal.", r.Episodes)
	c := r.Calibration
	fitted := !math.IsNaN(float64(c.Slope.Value)) && len(c.Families) > 0
	if fitted {
		caption += fmt.Sprintf(" The solid line is the least-squares line, slope %.2f (%.2f … %.2f).", c.Slope.Value, c.Slope.Low, c.Slope.High)
	}
	f, l, err := against("values", caption, "reward a step on A: "+short(r.A.Name), "reward a step on B: "+short(r.B.Name), marks)
	if fitted && err == nil {
		l.line, l.slope, l.intercept = true, float64(c.Slope.Value), float64(c.Intercept.Value)
	}
	return f, err
}

// markOf is a policy's value on A against another.
func markOf(p eval.Valued, y eval.Mean) mark {
	return mark{
		name: short(p.Policy), kind: kindOf(p), x: float64(p.A.Reward.Mean), y: float64(y.Mean),
		dx: zeroNaN(p.A.Reward.CI), dy: zeroNaN(y.CI),
	}
}

// against draws marks, whose axes are of one scale.
func against(name, caption, x, y string, marks []mark) (Figure, *labelled, error) {
	f := Figure{Name: name, Caption: caption, wide: true, height: 470, plot: newPlot(x, y)}
	if len(marks) == 0 {
		return f, nil, fmt.Errorf("report: %s: there are no policies", name)
	}
	grid(f.plot)
	l := &labelled{marks: marks, low: math.Inf(1), high: math.Inf(-1)}
	for _, m := range marks {
		l.low, l.high = min(l.low, m.x-m.dx, m.y-m.dy), max(l.high, m.x+m.dx, m.y+m.dy)
	}
	if l.low == l.high {
		l.low, l.high = l.low-1, l.high+1
	}
	pad := .04 * (l.high - l.low)
	l.low, l.high = l.low-pad, l.high+pad
	slices.SortStableFunc(l.marks, func(a, b mark) int { return cmp.Compare(b.y, a.y) })
	for i, family := range eval.Families {
		if slices.ContainsFunc(l.marks, func(m mark) bool { return m.kind == i }) {
			s, err := plotter.NewScatter(plotter.XYs{{X: l.low, Y: l.low}})
			if err != nil {
				return f, nil, fmt.Errorf("report: %s: %w", name, err)
			}
			s.GlyphStyle = glyphOf(i)
			f.plot.Legend.Add(family, s)
		}
	}
	f.plot.Legend.Left = true
	f.plot.Add(l)
	return f, l, nil
}

// Comparison is the sections of a comparison of two plants.
func Comparison(r *eval.Result) ([]Section, error) {
	figure, err := Values(r)
	if err != nil {
		return nil, err
	}
	values := Section{
		Title: "Values on both plants",
		Text: fmt.Sprintf("A is %s (seed %d), B is %s (seed %d): %d episodes of %d steps of each policy on each, limits %v packets. Rewards are per step, ± 95 %% confidence.",
			r.A.Name, r.A.Seed, r.B.Name, r.B.Seed, r.Episodes, r.Steps, r.Limits),
		Figures: []Figure{figure},
	}
	t := Table{Head: []string{"policy", "reward on A", "reward on B", "B − A", "B − A, of the span"}}
	seen := r.Policies[0].A.LBO != nil && r.Policies[0].B.LBO != nil
	if seen {
		t.Head = append(t.Head, "buffer on A, B (s)", "level on A, B (0…2)", "stalled on A, B (s)")
	}
	for _, p := range r.Policies {
		row := []string{short(p.Policy), p.A.Reward.String(), p.B.Reward.String(), p.Difference.String(), percent(p.Normalised.Mean)}
		if seen {
			row = append(row, fmt.Sprintf("%.1f, %.1f", p.A.LBO.Mean, p.B.LBO.Mean), fmt.Sprintf("%.2f, %.2f", p.A.Level.Mean, p.B.Level.Mean), fmt.Sprintf("%.0f, %.0f", p.A.Stall.Mean, p.B.Stall.Mean))
		}
		t.Rows = append(t.Rows, row)
	}
	values.Tables = []Table{t}
	g := r.Agreement
	agreement := Section{
		Title: "Agreement",
		Text: fmt.Sprintf("Intervals resample episodes. B's best policy is %s, A's is %s; regret is what it costs on A to take the former. "+
			"Similarity, the mean of the smaller over the larger value, is what the tutorial compares its environments by: where A's own worst policy and its best score as much, it says nothing.",
			short(g.Regret.Chosen), short(g.Regret.Best)),
		Tables: []Table{{
			Head: []string{"", "value", "95 % interval"},
			Rows: [][]string{
				boundsRow("Spearman's ρ", g.Spearman, 1), boundsRow("Kendall's τ", g.Kendall, 1),
				boundsRow("regret (reward a step)", g.Regret.Absolute, 1),
				boundsRow("regret, of A's best less its worst (%)", g.Regret.Share, 100),
				{"similarity of rewards", percent(g.Similarity.Reward), ""}, {"similarity of frame rates", percent(g.Similarity.FPS), ""},
				{"the same of A's worst policy and its best, rewards", percent(g.Similarity.Apart.Reward), ""},
				{"the same of A's worst policy and its best, frame rates", percent(g.Similarity.Apart.FPS), ""},
			},
		}},
	}
	sections := []Section{values, agreement}
	if len(r.Calibration.Families) > 0 {
		sections = append(sections, calibration(r))
	}
	if len(r.Columns) > 0 {
		sections = append(sections, drift(r))
	}
	if r.Recordings != nil {
		s, err := recordings(r)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	return sections, nil
}

// calibration is the section of how far values are off, beside what the truth itself
// and another testbed are given, and by family of policies.
func calibration(r *eval.Result) Section {
	s := Section{
		Title: "In A's place",
		Text: "How well B stands in for A. The ceiling is A again, by other seeds and as many episodes: no plant exceeds it but by luck. " +
			"Another testbed knows nothing of A: a B that is no better has learnt nothing of it. Rank correlation: 1 is best; the others: 0. Bias below 0: policies are undervalued.",
	}
	of := func(b eval.Bounds, format string, times eval.Number) string {
		if math.IsNaN(float64(b.Value)) {
			return "–"
		}
		return fmt.Sprintf(format+" ("+format+" … "+format+")", times*b.Value, times*b.Low, times*b.High)
	}
	t := Table{Head: []string{"", "Spearman's ρ", "regret, of A's best less its worst (%)", "rms of a value (reward a step)", "bias"}}
	row := func(name string, rho, regret eval.Bounds, c eval.Calibration) {
		t.Rows = append(t.Rows, []string{name, of(rho, "%.2f", 1), of(regret, "%.1f", 100), of(c.RMS, "%.3f", 1), of(c.Bias, "%+.3f", 1)})
	}
	row("B, "+short(r.B.Name), r.Agreement.Spearman, r.Agreement.Regret.Share, r.Calibration)
	for _, f := range r.References {
		row(f.Name(), f.Spearman, f.Regret.Share, f.Calibration)
	}
	families := Table{Caption: "By family of policies, on B.", Head: []string{"family", "policies", "rms (reward a step)", "bias"}}
	for _, f := range r.Calibration.Families {
		families.Rows = append(families.Rows, []string{f.Family, fmt.Sprint(f.Policies), of(f.RMS, "%.3f", 1), of(f.Bias, "%+.3f", 1)})
	}
	s.Tables = []Table{t, families}
	return s
}

func boundsRow(name string, b eval.Bounds, times eval.Number) []string {
	if math.IsNaN(float64(b.Value)) {
		return []string{name, "–", ""}
	}
	return []string{name, fmt.Sprintf("%.2f", times*b.Value), fmt.Sprintf("%.2f … %.2f", times*b.Low, times*b.High)}
}

func percent(n eval.Number) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*n)
}

// drift is the section of what is measured under each policy.
func drift(r *eval.Result) Section {
	s := Section{
		Title: "Drift",
		Text: "What is measured on B under a policy, against the same on A: 0 is the same distribution. Wasserstein-1 is over the column's range on A; " +
			"Kolmogorov-Smirnov's statistic is the largest distance of the cumulative distributions.",
	}
	var policies, columns []string
	for _, c := range r.Columns {
		columns = append(columns, c.Name)
	}
	var ks, w1 []float64
	for _, p := range r.Policies {
		policies = append(policies, short(p.Policy))
		for _, d := range p.Drift {
			ks, w1 = append(ks, float64(d.KS)), append(w1, float64(d.W1))
		}
	}
	for _, m := range []struct {
		name, caption string
		z             []float64
	}{
		{"drift-ks", "Kolmogorov-Smirnov's statistic (no unit)", ks},
		{"drift-w1", "Wasserstein-1 distance (of the column's range on A)", w1},
	} {
		f := heat(m.name, m.caption, policies, columns, m.z, 2)
		f.wide, f.height = true, vg.Length(110+16*len(policies))
		s.Figures = append(s.Figures, f)
	}
	return s
}

// recordings is the section of the estimates from a log.
func recordings(r *eval.Result) (Section, error) {
	l := r.Recordings
	s := Section{
		Title: "Estimates from recordings",
		Text: fmt.Sprintf("%s: %d sessions of %d steps, a limit drawn every %d, recorded reward %s a step. Estimated is (1-γ)·V with γ %v, none of the policies having been played; over random is over drawing a limit at every step, paired by session. "+
			"ρ with the values on A: %.2f by FQE, %.2f doubly robust. With the limits' labels shuffled %d times, where there is nothing to find, %s of FQE's intervals contain 0 and %s of the doubly robust ones.",
			l.Path, l.Sessions, l.Steps, l.Block, l.Reward, l.Gamma, l.FQE, l.DR, l.Null.Shuffles, percent(l.Null.FQE), percent(l.Null.DR)),
	}
	t := Table{Head: []string{"policy", "reward on A", "FQE", "over random", "doubly robust", "over random", "steps followed"}}
	var fqe, dr []mark
	for _, e := range l.Policies {
		at := slices.IndexFunc(r.Policies, func(p eval.Valued) bool { return p.Policy == e.Policy })
		if at < 0 {
			return s, fmt.Errorf("report: the recordings tell of %s, which is not a policy of the comparison", e.Policy)
		}
		p := r.Policies[at]
		t.Rows = append(t.Rows, []string{short(e.Policy), p.A.Reward.String(), e.FQE.String(), e.AdvantageFQE.String(), e.DR.String(), e.AdvantageDR.String(), fmt.Sprintf("%.1f", e.Followed)})
		fqe, dr = append(fqe, markOf(p, e.FQE)), append(dr, markOf(p, e.DR))
	}
	s.Tables = []Table{t}
	for _, m := range []struct {
		name, by string
		marks    []mark
	}{{"fqe", "fitted Q evaluation", fqe}, {"dr", "doubly robust", dr}} {
		f, _, err := against(m.name, "Each policy's value on A, and as estimated from the recordings, "+m.by+"; 95 % intervals.",
			"reward a step on A: "+short(r.A.Name), "(1-γ)·V, reward a step, "+m.by, m.marks)
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, f)
	}
	return s, nil
}

// short is a name, of a file the end of it.
func short(name string) string {
	parts := strings.Split(name, "/")
	if n := len(parts); n > 2 {
		return "…/" + parts[n-2] + "/" + parts[n-1]
	}
	return name
}

func zeroNaN(n eval.Number) float64 {
	if math.IsNaN(float64(n)) {
		return 0
	}
	return float64(n)
}

// mark is a point with its intervals and its name.
type mark struct {
	name         string
	x, y, dx, dy float64
	kind         int
}

// labelled draws marks, the line on which x is y, and the marks' names in a
// column at the right, each tied to its point: so many points lie together that
// names beside them would hide one another.
type labelled struct {
	marks     []mark // from the top
	low, high float64
	// The line y = intercept + slope·x, where there is one.
	line             bool
	slope, intercept float64
}

// DataRange is plot.DataRanger's.
func (l *labelled) DataRange() (xmin, xmax, ymin, ymax float64) {
	return l.low, l.high, l.low, l.high
}

func (l *labelled) style(p *plot.Plot) text.Style {
	return text.Style{Color: inks[1].light, Font: sans(9), YAlign: draw.YCenter, Handler: p.TextHandler}
}

const labelGap = 34 // points between the axes and the names

// GlyphBoxes is plot.GlyphBoxer's: room for the names.
func (l *labelled) GlyphBoxes(p *plot.Plot) []plot.GlyphBox {
	style := l.style(p)
	var width vg.Length
	for _, m := range l.marks {
		width = max(width, style.Width(m.name))
	}
	return []plot.GlyphBox{{X: 1, Y: .5, Rectangle: vg.Rectangle{Max: vg.Point{X: width + labelGap + 4}}}}
}

// within is where the line is between the lowest and the highest value.
func (l *labelled) within() (x0, x1 float64) {
	x0, x1 = l.low, l.high
	if l.slope != 0 {
		a, b := (l.low-l.intercept)/l.slope, (l.high-l.intercept)/l.slope
		x0, x1 = max(x0, min(a, b)), min(x1, max(a, b))
	}
	return x0, x1
}

// Plot is plot.Plotter's.
func (l *labelled) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	at := func(x, y float64) vg.Point { return vg.Point{X: tx(x), Y: ty(y)} }
	c.StrokeLine2(draw.LineStyle{Color: inks[1].light, Width: .8, Dashes: []vg.Length{4, 3}}, tx(l.low), ty(l.low), tx(l.high), ty(l.high))
	if l.line {
		x0, x1 := l.within()
		c.StrokeLine2(draw.LineStyle{Color: inks[1].light, Width: .8}, tx(x0), ty(l.intercept+l.slope*x0), tx(x1), ty(l.intercept+l.slope*x1))
	}
	style := l.style(p)
	step := min(style.Height("Xg")*1.25, (c.Max.Y-c.Min.Y)/vg.Length(len(l.marks)))
	// Each name as near to its point's height as its neighbours let it be.
	heights := make([]vg.Length, len(l.marks))
	for i, m := range l.marks {
		heights[i] = min(ty(m.y), c.Max.Y-step/2)
		if i > 0 {
			heights[i] = min(heights[i], heights[i-1]-step)
		}
	}
	floor := c.Min.Y + step/2
	for i := range slices.Backward(l.marks) {
		heights[i] = max(heights[i], floor)
		floor = heights[i] + step
	}
	for i, m := range l.marks {
		colour := glyphOf(m.kind).Color
		thin := draw.LineStyle{Color: faint(colour.(color.RGBA)), Width: .6}
		point := at(m.x, m.y)
		right := c.Max.X + labelGap
		c.StrokeLines(thin, []vg.Point{point, {X: c.Max.X + 4, Y: heights[i]}, {X: right - 3, Y: heights[i]}})
		c.FillText(style, vg.Point{X: right, Y: heights[i]}, m.name)
	}
	for _, m := range l.marks {
		colour := glyphOf(m.kind).Color
		bar := draw.LineStyle{Color: colour, Width: .9}
		c.StrokeLine2(bar, tx(m.x-m.dx), ty(m.y), tx(m.x+m.dx), ty(m.y))
		c.StrokeLine2(bar, tx(m.x), ty(m.y-m.dy), tx(m.x), ty(m.y+m.dy))
		c.DrawGlyph(glyphOf(m.kind), at(m.x, m.y))
	}
}
