package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/planegym/planegym/internal/compare"
)

// kinds of policies, each in a colour of its own.
var kinds = []struct {
	name   string
	series int
	has    func(p compare.Valued) bool
}{
	{"agent", 2, func(p compare.Valued) bool { return p.Agent != "" }},
	{"constant", 1, func(p compare.Valued) bool { return strings.HasPrefix(p.Policy, "fixed") }},
	{"blind", 4, func(p compare.Valued) bool {
		return p.Policy == "random" || strings.HasPrefix(p.Policy, "alternate")
	}},
	{"watching the queues", 3, func(compare.Valued) bool { return true }},
}

func kindOf(p compare.Valued) int {
	for i, k := range kinds {
		if k.has(p) {
			return i
		}
	}
	return len(kinds) - 1
}

// Values draws the policies' values on B over those on A, with their 95 %
// intervals and the line on which both are equal.
func Values(r *compare.Result) (Figure, error) {
	f := Figure{
		Name:    "values",
		Caption: fmt.Sprintf("Each policy's value on both plants, %d episodes, with 95 %% intervals; on the line they are equal", r.Episodes),
		wide:    true, height: 470,
		plot: newPlot("reward a step on A: "+short(r.A.Name), "reward a step on B: "+short(r.B.Name)),
	}
	if len(r.Policies) == 0 {
		return f, fmt.Errorf("report: the comparison has no policies")
	}
	grid(f.plot)
	l := labelled{low: math.Inf(1), high: math.Inf(-1)}
	for _, p := range r.Policies {
		m := mark{name: short(p.Policy), x: float64(p.A.Reward.Mean), y: float64(p.B.Reward.Mean),
			dx: zeroNaN(p.A.Reward.CI), dy: zeroNaN(p.B.Reward.CI), kind: kindOf(p)}
		l.low = min(l.low, m.x-m.dx, m.y-m.dy)
		l.high = max(l.high, m.x+m.dx, m.y+m.dy)
		l.marks = append(l.marks, m)
	}
	if l.low == l.high {
		l.low, l.high = l.low-1, l.high+1
	}
	pad := .04 * (l.high - l.low)
	l.low, l.high = l.low-pad, l.high+pad
	slices.SortStableFunc(l.marks, func(a, b mark) int {
		if a.y > b.y {
			return -1
		} else if a.y < b.y {
			return 1
		}
		return 0
	})
	for i, k := range kinds {
		if slices.ContainsFunc(l.marks, func(m mark) bool { return m.kind == i }) {
			s, err := plotter.NewScatter(plotter.XYs{{X: l.low, Y: l.low}})
			if err != nil {
				return f, fmt.Errorf("report: values: %w", err)
			}
			s.GlyphStyle = draw.GlyphStyle{Color: series(k.series), Radius: 3, Shape: draw.CircleGlyph{}}
			f.plot.Legend.Add(k.name, s)
		}
	}
	f.plot.Legend.Left = true
	f.plot.Add(&l)
	return f, nil
}

// short is a name, of a file the end of it.
func short(name string) string {
	parts := strings.Split(name, "/")
	if n := len(parts); n > 2 {
		return "…/" + parts[n-2] + "/" + parts[n-1]
	}
	return name
}

func zeroNaN(n compare.Number) float64 {
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

// Plot is plot.Plotter's.
func (l *labelled) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	at := func(x, y float64) vg.Point { return vg.Point{X: tx(x), Y: ty(y)} }
	c.StrokeLine2(draw.LineStyle{Color: inks[1].light, Width: .8, Dashes: []vg.Length{4, 3}}, tx(l.low), ty(l.low), tx(l.high), ty(l.high))
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
		colour := series(kinds[m.kind].series)
		thin := draw.LineStyle{Color: faint(colour), Width: .6}
		point := at(m.x, m.y)
		right := c.Max.X + labelGap
		c.StrokeLines(thin, []vg.Point{point, {X: c.Max.X + 4, Y: heights[i]}, {X: right - 3, Y: heights[i]}})
		c.FillText(style, vg.Point{X: right, Y: heights[i]}, m.name)
	}
	for _, m := range l.marks {
		colour := series(kinds[m.kind].series)
		bar := draw.LineStyle{Color: colour, Width: .9}
		c.StrokeLine2(bar, tx(m.x-m.dx), ty(m.y), tx(m.x+m.dx), ty(m.y))
		c.StrokeLine2(bar, tx(m.x), ty(m.y-m.dy), tx(m.x), ty(m.y+m.dy))
		c.DrawGlyph(draw.GlyphStyle{Color: colour, Radius: 3, Shape: draw.CircleGlyph{}}, at(m.x, m.y))
	}
}
