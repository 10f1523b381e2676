// Package report draws the figures and tables by which people judge a model, on one
// self-contained HTML page.
package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/planegym/planegym/internal/atomicfile"
)

// Page is a report.
type Page struct {
	Title    string
	Intro    string // a paragraph
	Sections []Section
}

// Section is a part of a page, in the order text, tables, figures.
type Section struct {
	Title   string
	Text    string
	Tables  []Table
	Figures []Figure
}

// Table is text in cells; the first column names the row.
type Table struct {
	Caption string
	Head    []string
	Rows    [][]string
	Prose   bool // cells are text to read, not numbers to compare
}

// Figure is a drawing and what it says.
type Figure struct {
	Name    string // of its file, where it becomes one: letters, digits, dashes
	Caption string
	wide    bool      // takes the page's whole width
	height  vg.Length // of a figure that is neither strip nor tile; 0: it is one
	plot    *plot.Plot
	drawn   string // an SVG element of its own colours, in place of plot
}

// Drawing is a figure of the page's whole width that is SVG elements already,
// with the style that they want of the page.
func Drawing(name, caption, svg, css string) Figure {
	return Figure{Name: name, Caption: caption, wide: true, drawn: "<style>" + css + "</style>" + svg}
}

// size is a figure's, in points.
func (f Figure) size() (w, h vg.Length) {
	w, h = 440, 290
	if f.wide {
		w, h = 900, 240
	}
	if f.height > 0 {
		h = f.height
	}
	return w, h
}

// inset leaves a margin for labels that reach past the last tick.
func inset(c vg.CanvasSizer) draw.Canvas { return draw.Crop(draw.New(c), 2, -14, 2, -6) }

// svg is the drawing as an element, its colours the page's.
func (f Figure) svg() (template.HTML, error) {
	if f.drawn != "" {
		return template.HTML(f.drawn), nil
	}
	w, h := f.size()
	c := vgsvg.NewWith(vgsvg.UseWH(w, h))
	f.plot.Draw(inset(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", fmt.Errorf("report: %s: %w", f.Name, err)
	}
	text := b.String()
	start := strings.Index(text, "<svg")
	if start < 0 {
		return "", fmt.Errorf("report: %s: the drawing is no SVG", f.Name)
	}
	text = text[start:]
	// The element scales with its place on the page.
	text = strings.Replace(text, "<svg ", fmt.Sprintf(`<svg role="img" aria-label="%s" `, template.HTMLEscapeString(f.Caption)), 1)
	for _, size := range []string{fmt.Sprintf(`width="%.5gpt"`, w), fmt.Sprintf(`height="%.5gpt"`, h)} {
		text = strings.Replace(text, size, "", 1)
	}
	return template.HTML(themed(fit(text))), nil
}

// themed is a drawing whose inks are the variables that properties names.
func themed(svg string) string {
	for _, ink := range inks {
		svg = strings.ReplaceAll(svg, hex(ink.light), "var(--"+ink.name+")")
	}
	return svg
}

// properties are the inks of a theme as CSS.
func properties(dark bool) string {
	var b strings.Builder
	for _, i := range inks {
		c := i.light
		if dark {
			c = i.dark
		}
		fmt.Fprintf(&b, "--%s:%s;", i.name, hex(c))
	}
	return b.String()
}

// label is a text of a figure as gonum writes it: size, then what it says.
var label = regexp.MustCompile(`<text ([^>]*font-size:([0-9.]+)px[^>]*)>([^<]+)</text>`)

// fit holds every text to the width that it was laid out with: a reader's font
// is another, and wider letters would run into what is beside them.
func fit(svg string) string {
	return label.ReplaceAllStringFunc(svg, func(element string) string {
		m := label.FindStringSubmatch(element)
		size, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return element
		}
		face := font.DefaultCache.Lookup(sans(vg.Length(size)), vg.Length(size))
		width := face.Width(html.UnescapeString(m[3]))
		return fmt.Sprintf(`<text textLength="%.5g" lengthAdjust="spacingAndGlyphs" %s>%s</text>`, width.Points(), m[1], m[3])
	})
}

// ink is a colour of a figure: drawn in light, shown in the page's theme.
type ink struct {
	name        string
	light, dark color.RGBA
}

// The series' colours are Okabe and Ito's, distinct for any colour vision.
// No two of light are equal: the page finds them by value.
var inks = []ink{
	{"paper", color.RGBA{255, 255, 255, 255}, color.RGBA{20, 23, 28, 255}},
	{"ink", color.RGBA{32, 36, 42, 255}, color.RGBA{222, 226, 232, 255}},
	{"rule", color.RGBA{226, 229, 233, 255}, color.RGBA{51, 57, 66, 255}},
	{"series0", color.RGBA{70, 76, 84, 255}, color.RGBA{200, 205, 212, 255}},
	{"series1", color.RGBA{0, 114, 178, 255}, color.RGBA{86, 180, 233, 255}},
	{"series2", color.RGBA{213, 94, 0, 255}, color.RGBA{240, 140, 60, 255}},
	{"series3", color.RGBA{0, 140, 100, 255}, color.RGBA{60, 200, 155, 255}},
	{"series4", color.RGBA{170, 80, 130, 255}, color.RGBA{220, 140, 185, 255}},
	{"series5", color.RGBA{150, 120, 0, 255}, color.RGBA{225, 200, 70, 255}},
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

// series is the colour of the i-th series.
func series(i int) color.RGBA { return inks[3+i%colours].light }

// colours is how many lines have a colour of their own.
const colours = 6

//go:embed page.html
var pageHTML string

// WriteHTML writes the page: one file, no request to anywhere, light or dark
// as the reader's system asks.
func (p *Page) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"svg":  Figure.svg,
		"wide": func(f Figure) bool { return f.wide },
		"inks": func(dark bool) template.CSS { return template.CSS(properties(dark)) },
	}).Parse(pageHTML)
	if err != nil {
		return err
	}
	var b bytes.Buffer // so that a failing figure leaves no half page
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// WriteFile writes the figure to a file in the format that ends its name: .svg, light
// or dark as the reader's system is, or .png, light.
func (f Figure) WriteFile(path string) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		if filepath.Ext(path) == ".svg" && f.drawn == "" {
			return f.WriteThemed(w)
		}
		return f.Write(w, filepath.Ext(path))
	})
}

// WriteThemed writes the figure as SVG on paper of its own: light or dark as the
// reader's system is, in whatever page it is shown.
func (f Figure) WriteThemed(to io.Writer) error {
	var b bytes.Buffer
	if err := f.Write(&b, ".svg"); err != nil {
		return err
	}
	drawing := themed(fit(b.String()))
	open := strings.Index(drawing, "<svg")
	open += strings.IndexByte(drawing[open:], '>') + 1
	_, err := io.WriteString(to, drawing[:open]+"<style>svg{"+properties(false)+"}@media(prefers-color-scheme:dark){svg{"+properties(true)+
		`}}</style><rect width="100%" height="100%" fill="var(--paper)"/>`+drawing[open:])
	return err
}

// Write writes the figure alone, light: ext is ".svg" or ".png", the latter
// at 144 dots an inch.
func (f Figure) Write(to io.Writer, ext string) error {
	if f.drawn != "" {
		if ext != ".svg" {
			return fmt.Errorf("report: %s: this figure is written as .svg, not %s", f.Name, ext)
		}
		_, err := io.WriteString(to, f.drawn)
		return err
	}
	w, h := f.size()
	var c interface {
		vg.CanvasSizer
		io.WriterTo
	}
	switch ext {
	case ".svg":
		c = vgsvg.NewWith(vgsvg.UseWH(w, h))
	case ".png":
		c = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(144))}
	default:
		return fmt.Errorf("report: %s: %q is not a kind of figure: .svg or .png", f.Name, ext)
	}
	f.plot.Draw(inset(c))
	if _, err := c.WriteTo(to); err != nil {
		return fmt.Errorf("report: %s: %w", f.Name, err)
	}
	return nil
}

// WriteSVG writes the figure alone on white, whose text can be read on a dark
// page too.
func (f Figure) WriteSVG(to io.Writer) error {
	var b bytes.Buffer
	if err := f.Write(&b, ".svg"); err != nil {
		return err
	}
	drawing := b.Bytes()
	open := bytes.Index(drawing, []byte("<svg"))
	open += bytes.IndexByte(drawing[open:], '>') + 1
	_, err := to.Write(slices.Insert(drawing, open, []byte(`<rect width="100%" height="100%" fill="white"/>`)...))
	return err
}

// WritePNG writes every figure into a folder, 144 dots an inch, light; an
// animated one as SVG.
func (p *Page) WritePNG(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, s := range p.Sections {
		for _, f := range s.Figures {
			var b bytes.Buffer
			ext := ".png"
			if f.drawn != "" {
				ext = ".svg"
			}
			if err := f.Write(&b, ext); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, f.Name+ext), b.Bytes(), 0o644); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
	}
	return nil
}
