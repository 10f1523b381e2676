package report

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Dot is a value and its interval; Low and High are NaN where there is none.
type Dot struct {
	Name            string
	Mean, Low, High float64
}

// Dots draws values one below the other, the first on top, each with its
// interval, and a dashed line through the value that they are compared with, NaN:
// none. Values that are not finite are left out.
func Dots(name, caption, x string, line float64, dots []Dot) (Figure, error) {
	var shown []Dot
	for _, d := range dots {
		if !math.IsNaN(d.Mean) && !math.IsInf(d.Mean, 0) {
			shown = append(shown, d)
		}
	}
	n := len(shown)
	f := Figure{Name: name, Caption: caption, plot: newPlot(x, ""), height: vg.Length(90 + 22*n)}
	if n == 0 {
		return f, fmt.Errorf("report: %s: there is no value", name)
	}
	names := make([]string, n)
	if !math.IsNaN(line) {
		l, err := plotter.NewLine(plotter.XYs{{X: line, Y: -.5}, {X: line, Y: float64(n) - .5}})
		if err != nil {
			return f, fmt.Errorf("report: %s: %w", name, err)
		}
		l.Color, l.Width, l.Dashes = inks[1].light, .8, []vg.Length{3, 3}
		f.plot.Add(l)
	}
	for i, d := range shown {
		y := float64(n - 1 - i)
		names[n-1-i] = d.Name
		if !math.IsNaN(d.Low) && !math.IsNaN(d.High) {
			bar, err := plotter.NewLine(plotter.XYs{{X: d.Low, Y: y}, {X: d.High, Y: y}})
			if err != nil {
				return f, fmt.Errorf("report: %s: %s: %w", name, d.Name, err)
			}
			bar.Color, bar.Width = series(i), 1.4
			f.plot.Add(bar)
		}
		dot, err := plotter.NewScatter(plotter.XYs{{X: d.Mean, Y: y}})
		if err != nil {
			return f, fmt.Errorf("report: %s: %s: %w", name, d.Name, err)
		}
		dot.GlyphStyle = draw.GlyphStyle{Color: series(i), Radius: 3.2, Shape: draw.CircleGlyph{}}
		f.plot.Add(dot)
	}
	nominalY(f.plot, names)
	return f, nil
}

// nominalY puts names beside positions 0, 1 …, and leaves room around them.
func nominalY(p *plot.Plot, names []string) {
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -.5, float64(len(names))-.5
	pad := .04 * (p.X.Max - p.X.Min)
	p.X.Min, p.X.Max = p.X.Min-pad, p.X.Max+pad
}
