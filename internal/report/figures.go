package report

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/palette/moreland"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/planegym/planegym/telemetry"
)

// Line is one line of a figure: y over x, a gap where y is NaN. Low and High
// (or nil) are a band around it, such as a confidence interval.
type Line struct {
	Name      string
	X, Y      []float64
	Low, High []float64

	colour int // of series colour-1; 0: of its place among the lines
}

// newPlot is an empty drawing in the house's look.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	text := inks[1].light
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.LineStyle.Color, a.Tick.Color = text, text, text
		a.Label.TextStyle.Color, a.Tick.Label.Color = text, text
		a.Label.TextStyle.Font = sans(10)
		a.Tick.Label.Font = sans(9)
		a.Tick.Length, a.Tick.Marker = 3, ticks{}
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.Legend.TextStyle.Color, p.Legend.TextStyle.Font = text, sans(9)
	p.Legend.Top = true
	p.Legend.ThumbnailWidth = 14
	p.Legend.Padding = 2
	return p
}

// ticks are gonum's, written without idle zeros.
type ticks struct{}

func (ticks) Ticks(low, high float64) []plot.Tick {
	all := plot.DefaultTicks{}.Ticks(low, high)
	for i := range all {
		if x, err := strconv.ParseFloat(all[i].Label, 64); err == nil {
			all[i].Label = strconv.FormatFloat(x, 'g', -1, 64)
		}
	}
	return all
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func grid(p *plot.Plot) {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = inks[2].light, inks[2].light
	g.Vertical.Width, g.Horizontal.Width = .7, .7
	p.Add(g)
}

// legendAbove makes room for n entries above the data.
func legendAbove(p *plot.Plot, n int) {
	span := p.Y.Max - p.Y.Min
	p.Y.Max += span * .085 * float64(n)
}

// axis is a label with its unit.
func axis(name, unit string) string {
	if unit == "" {
		return name
	}
	return name + " (" + unit + ")"
}

// Lines draws lines over one pair of axes, whose labels carry their units.
func Lines(name, caption, x, y string, lines []Line) (Figure, error) {
	f := Figure{Name: name, Caption: caption, plot: newPlot(x, y)}
	grid(f.plot)
	for i, l := range lines {
		if len(l.X) != len(l.Y) {
			return f, fmt.Errorf("report: %s: %s: %d x and %d y", name, l.Name, len(l.X), len(l.Y))
		}
		c := series(i)
		if l.colour > 0 {
			c = series(l.colour - 1)
		}
		if l.Low != nil {
			if err := band(f.plot, l, c); err != nil {
				return f, fmt.Errorf("report: %s: %s: %w", name, l.Name, err)
			}
		}
		for j, run := range runs(l.X, l.Y) {
			line, err := plotter.NewLine(run)
			if err != nil {
				return f, fmt.Errorf("report: %s: %s: %w", name, l.Name, err)
			}
			line.Color, line.Width = c, 1.2
			if i >= colours && l.colour == 0 {
				line.Dashes = []vg.Length{4, 2} // its colour is another line's as well
			}
			f.plot.Add(line)
			if j == 0 && len(lines) > 1 {
				f.plot.Legend.Add(l.Name, line)
			}
		}
	}
	if len(lines) > 1 {
		legendAbove(f.plot, len(lines))
	}
	return f, nil
}

// runs cuts x, y where y is NaN.
func runs(x, y []float64) []plotter.XYs {
	var out []plotter.XYs
	open := false
	for i := range y {
		if math.IsNaN(y[i]) {
			open = false
			continue
		}
		if !open {
			out, open = append(out, nil), true
		}
		out[len(out)-1] = append(out[len(out)-1], plotter.XY{X: x[i], Y: y[i]})
	}
	return out
}

func band(p *plot.Plot, l Line, c color.RGBA) error {
	if len(l.Low) != len(l.X) || len(l.High) != len(l.X) {
		return fmt.Errorf("%d lows and %d highs of %d points", len(l.Low), len(l.High), len(l.X))
	}
	var ring plotter.XYs
	for i := range l.X {
		ring = append(ring, plotter.XY{X: l.X[i], Y: l.High[i]})
	}
	for i := range slices.Backward(l.X) {
		ring = append(ring, plotter.XY{X: l.X[i], Y: l.Low[i]})
	}
	poly, err := plotter.NewPolygon(ring)
	if err != nil {
		return err
	}
	poly.Color, poly.LineStyle.Width = faint(c), 0
	p.Add(poly)
	return nil
}

// faint is c at a fifth of its strength. Alpha is premultiplied in RGBA, so
// NRGBA keeps the colour's own value, by which the page finds it.
func faint(c color.RGBA) color.Color { return color.NRGBA{c.R, c.G, c.B, 51} }

// named puts names under positions 0, 1 …, and leaves room around them.
func named(p *plot.Plot, names []string) {
	p.NominalX(names...)
	p.X.Min, p.X.Max = -.5, float64(len(names))-.5
	pad := .04 * (p.Y.Max - p.Y.Min)
	p.Y.Min, p.Y.Max = p.Y.Min-pad, p.Y.Max+pad
}

// boxes draws a box plot of each set: quartiles, median, and whiskers to the
// last value within 1.5 interquartile ranges; what lies outside is not drawn.
func boxes(name, caption, y string, sets []string, values [][]float64) (Figure, error) {
	f := Figure{Name: name, Caption: caption, plot: newPlot("", y)}
	var shown []string
	for i, v := range values {
		if len(v) == 0 {
			continue
		}
		b, err := plotter.NewBoxPlot(24, float64(len(shown)), plotter.Values(v))
		if err != nil {
			return f, fmt.Errorf("report: %s: %s: %w", name, sets[i], err)
		}
		c := series(i)
		b.Outside = nil
		b.FillColor = faint(c)
		for _, style := range []*draw.LineStyle{&b.BoxStyle, &b.MedianStyle, &b.WhiskerStyle} {
			style.Color, style.Width, style.Dashes = c, 1.2, nil
		}
		b.MedianStyle.Width = 2.2
		f.plot.Add(b)
		shown = append(shown, sets[i])
	}
	named(f.plot, shown)
	return f, nil
}

// violins draws the density of each set, mirrored, and its median.
func violins(name, caption, y string, sets []string, values [][]float64) (Figure, error) {
	f := Figure{Name: name, Caption: caption, plot: newPlot("", y)}
	var shown []string
	for i, v := range values {
		if len(v) == 0 {
			continue
		}
		at, density := kde(v, 96)
		top := slices.Max(density)
		var ring plotter.XYs
		for j := range at {
			ring = append(ring, plotter.XY{X: float64(len(shown)) + .4*density[j]/top, Y: at[j]})
		}
		for j := range slices.Backward(at) {
			ring = append(ring, plotter.XY{X: float64(len(shown)) - .4*density[j]/top, Y: at[j]})
		}
		poly, err := plotter.NewPolygon(ring)
		if err != nil {
			return f, fmt.Errorf("report: %s: %s: %w", name, sets[i], err)
		}
		c := series(i)
		poly.Color, poly.LineStyle.Color, poly.LineStyle.Width = faint(c), c, 1.2
		f.plot.Add(poly)
		m := telemetry.Quantile(slices.Sorted(slices.Values(v)), .5)
		line, err := plotter.NewLine(plotter.XYs{{X: float64(len(shown)) - .2, Y: m}, {X: float64(len(shown)) + .2, Y: m}})
		if err != nil {
			return f, fmt.Errorf("report: %s: %s: %w", name, sets[i], err)
		}
		line.Color, line.Width = c, 2.2
		f.plot.Add(line)
		shown = append(shown, sets[i])
	}
	named(f.plot, shown)
	return f, nil
}

// scatter draws points of each set.
func scatter(name, caption, x, y string, sets []string, points []plotter.XYs) (Figure, error) {
	f := Figure{Name: name, Caption: caption, plot: newPlot(x, y)}
	grid(f.plot)
	for i, xy := range points {
		if len(xy) == 0 {
			continue
		}
		s, err := plotter.NewScatter(xy)
		if err != nil {
			return f, fmt.Errorf("report: %s: %s: %w", name, sets[i], err)
		}
		c := series(i)
		s.GlyphStyle = draw.GlyphStyle{Color: c, Radius: 2, Shape: []draw.GlyphDrawer{
			draw.CircleGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}, draw.SquareGlyph{},
		}[i%4]}
		f.plot.Add(s)
		f.plot.Legend.Add(sets[i], s)
	}
	legendAbove(f.plot, len(points))
	return f, nil
}

// matrix is numbers by row and column.
type matrix struct {
	rows, columns int
	z             []float64 // [rows,columns]
}

func (m matrix) Dims() (c, r int)   { return m.columns, m.rows }
func (m matrix) X(c int) float64    { return float64(c) }
func (m matrix) Y(r int) float64    { return float64(r) }
func (m matrix) Z(c, r int) float64 { return m.z[(m.rows-1-r)*m.columns+c] } // first row on top

// heat draws numbers in [-1, 1], rounded to digits, – where there is none.
func heat(name, caption string, rows, columns []string, z []float64, digits int) Figure {
	f := Figure{Name: name, Caption: caption, plot: newPlot("", "")}
	palette := moreland.SmoothBlueRed()
	palette.SetMin(-1)
	palette.SetMax(1)
	h := plotter.NewHeatMap(matrix{len(rows), len(columns), z}, palette.Palette(41))
	h.Min, h.Max = -1, 1
	h.NaN = inks[2].light
	f.plot.Add(h)
	var numbers plotter.XYLabels
	unit := math.Pow(10, float64(digits))
	for i := range z {
		c, r := i%len(columns), len(rows)-1-i/len(columns)
		text := "–"
		if !math.IsNaN(z[i]) {
			text = fmt.Sprintf("%.*f", digits, math.Round(unit*z[i])/unit+0) // +0: no −0.0
		}
		numbers.XYs = append(numbers.XYs, plotter.XY{X: float64(c), Y: float64(r)})
		numbers.Labels = append(numbers.Labels, text)
	}
	if l, err := plotter.NewLabels(numbers); err == nil {
		for i := range l.TextStyle {
			l.TextStyle[i].Font = sans(7)
			l.TextStyle[i].XAlign, l.TextStyle[i].YAlign = draw.XCenter, draw.YCenter
			l.TextStyle[i].Color = color.RGBA{17, 18, 19, 255} // on the map's own colours, in either theme
			if math.Abs(z[i]) > .75 {
				l.TextStyle[i].Color = color.RGBA{253, 254, 254, 255}
			}
		}
		f.plot.Add(l)
	}
	f.plot.NominalX(columns...)
	back := slices.Clone(rows)
	slices.Reverse(back)
	f.plot.NominalY(back...)
	f.plot.X.Tick.Label.Rotation = math.Pi / 3
	f.plot.X.Tick.Label.XAlign, f.plot.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
	f.plot.X.Tick.Label.Font, f.plot.Y.Tick.Label.Font = sans(7.5), sans(7.5)
	return f
}
