package report

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/planegym/planegym/telemetry"
)

// Set is one recording, real or synthetic, a row per second.
type Set struct {
	Name   string
	Fields []telemetry.Field
	Values []float64 // [T,F], NaN where not measured
}

func (s Set) column(c int) []float64 {
	var v []float64
	for i := c; i < len(s.Values); i += len(s.Fields) {
		v = append(v, s.Values[i])
	}
	return v
}

// What the figures of windows and of time show.
const (
	windowSeconds = 24
	windowsEach   = 120 // windows of a set that are embedded
	movingSeconds = 60
	lags          = 60 // seconds
)

// Data is the sections that put sets beside one another, the first of which is
// the real one: time series, distributions, autocorrelation, rank
// correlations, and windows in the plane. All share their fields.
func Data(sets []Set) ([]Section, error) {
	if len(sets) == 0 {
		return nil, fmt.Errorf("report: there is no data")
	}
	f := len(sets[0].Fields)
	names := make([]string, len(sets))
	for i, s := range sets {
		names[i] = s.Name
		if len(s.Fields) != f || f == 0 || len(s.Values) == 0 || len(s.Values)%f != 0 {
			return nil, fmt.Errorf("report: %s: %d values of %d fields; %s has %d fields", s.Name, len(s.Values), len(s.Fields), sets[0].Name, f)
		}
		for c, field := range s.Fields {
			if field.Name != sets[0].Fields[c].Name {
				return nil, fmt.Errorf("report: %s: column %d is %s; in %s it is %s", s.Name, c+1, field.Name, sets[0].Name, sets[0].Fields[c].Name)
			}
		}
	}
	series := Section{Title: "Time series", Text: fmt.Sprintf("Rows from the start of each set, a second each; published rows leave out what was filtered, so that theirs are fewer than seconds went by. Lines are means over %d rows.", movingSeconds)}
	dist := Section{Title: "Distributions", Text: "Boxes span the quartiles, whiskers 1.5 interquartile ranges; violins are Gaussian kernel densities; a bar is the median."}
	auto := Section{Title: "Autocorrelation", Text: "Over the seconds that were measured."}
	var still []string
	for c, field := range sets[0].Fields {
		if value, ok := constant(sets, c); ok {
			still = append(still, fmt.Sprintf("%s = %g", field.Name, value))
			continue
		}
		label := axis(field.Name, field.Unit)
		var over, cum, corr []Line
		var values [][]float64
		for _, s := range sets {
			v := s.column(c)
			clock := make([]float64, len(v))
			for i := range clock {
				clock[i] = float64(i)
			}
			x, y := thin(clock, movingMean(v, movingSeconds), 400)
			over = append(over, Line{Name: s.Name, X: x, Y: y})
			var measured []float64
			for _, x := range v {
				if !math.IsNaN(x) {
					measured = append(measured, x)
				}
			}
			values = append(values, measured)
			x, y = cdf(measured, 400)
			cum = append(cum, Line{Name: s.Name, X: x, Y: y})
			a := acf(v, min(lags, len(v)-1))
			corr = append(corr, Line{Name: s.Name, X: clock[:len(a)], Y: a})
		}
		fig, err := Lines("series-"+field.Name, fmt.Sprintf("%s over time, %d s mean", field.Name, movingSeconds), "time (s)", label, over)
		if err != nil {
			return nil, err
		}
		fig.wide = true
		series.Figures = append(series.Figures, fig)
		for _, draw := range []func() (Figure, error){
			func() (Figure, error) {
				fig, err := Lines("cdf-"+field.Name, field.Name+": cumulative distribution", label, "share of seconds", cum)
				fig.plot.Y.Min, fig.plot.Y.Max, fig.plot.Legend.Top = 0, 1, false // the corner that a CDF leaves free
				return fig, err
			},
			func() (Figure, error) {
				return boxes("box-"+field.Name, field.Name+": quartiles", label, names, values)
			},
			func() (Figure, error) {
				return violins("violin-"+field.Name, field.Name+": density", label, names, values)
			},
		} {
			fig, err := draw()
			if err != nil {
				return nil, err
			}
			dist.Figures = append(dist.Figures, fig)
		}
		fig, err = Lines("acf-"+field.Name, field.Name+": autocorrelation", "lag (s)", "correlation", corr)
		if err != nil {
			return nil, err
		}
		auto.Figures = append(auto.Figures, fig)
	}
	if len(still) > 0 {
		series.Text += " Constant in every set, and not drawn: " + strings.Join(still, ", ") + "."
	}
	rank := Section{Title: "Rank correlations", Text: "Spearman's; – where a column is constant."}
	labels := make([]string, f)
	for c, field := range sets[0].Fields {
		labels[c] = field.Name
	}
	for _, s := range sets {
		rank.Figures = append(rank.Figures, heat("spearman-"+slug(s.Name), s.Name, labels, labels, spearman(s.Values, f), 1))
	}
	plane, err := planeOf(sets, names)
	if err != nil {
		return nil, err
	}
	return []Section{series, dist, auto, rank, plane}, nil
}

// constant is the one value that a column has in all sets.
func constant(sets []Set, c int) (value float64, ok bool) {
	for _, s := range sets {
		for _, x := range s.column(c) {
			switch {
			case math.IsNaN(x):
			case !ok:
				value, ok = x, true
			case x != value:
				return 0, false
			}
		}
	}
	return value, ok
}

// planeOf embeds windows of every set.
func planeOf(sets []Set, names []string) (Section, error) {
	s := Section{Title: "Windows in the plane", Text: fmt.Sprintf(
		"Up to %d windows of %d s of each set, columns standardised by the first. Points of a good model lie among the real ones.", windowsEach, windowSeconds)}
	f := len(sets[0].Fields)
	mean, sd := moments(sets[0].Values, f)
	var all []*mat.Dense
	for _, set := range sets {
		all = append(all, windows(set.Values, f, windowSeconds, windowsEach, mean, sd))
	}
	if all[0] == nil {
		s.Text = fmt.Sprintf("%s is shorter than a window of %d s: nothing to embed.", sets[0].Name, windowSeconds)
		return s, nil
	}
	if points, ok := pca(all); ok {
		fig, err := scatter("pca", "Principal components of "+sets[0].Name, "component 1 (sd)", "component 2 (sd)", names, points)
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, fig)
	}
	fig, err := scatter("tsne", "t-SNE, perplexity 30", "dimension 1 (no unit)", "dimension 2 (no unit)", names, tsne(all, 30))
	if err != nil {
		return s, err
	}
	s.Figures = append(s.Figures, fig)
	return s, nil
}

// slug makes a name fit for a file.
func slug(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
}
