package picture_test

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/picture"
)

func episode() []picture.Moment {
	return []picture.Moment{
		{Step: 1, Clock: 4, Depth: []float64{16, 2, 0}, Limit: []float64{64}, Buffer: 12, FPS: 24, Kbps: 1867, Reward: .5, Return: .5},
		{Step: 2, Clock: 8, Depth: []float64{32, 2, 1}, Limit: []float64{32}, Buffer: 0, FPS: 24, Kbps: 1867, Reward: -2, Return: -1.5, Stall: 1.5},
		{Step: 3, Clock: 12, Depth: []float64{30, 2, 1}, Limit: []float64{32}, Buffer: 31, FPS: 30, Kbps: 3312, Reward: 2, Return: .5},
	}
}

// parse walks an SVG and gives each element's attributes.
func parse(t *testing.T, svg string) []xml.StartElement {
	t.Helper()
	var all []xml.StartElement
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok {
			all = append(all, e.Copy())
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func find(all []xml.StartElement, class string) []xml.StartElement {
	var out []xml.StartElement
	for _, e := range all {
		if attr(e, "class") == class {
			out = append(out, e)
		}
	}
	return out
}

func TestQueueIsFilledToItsDepth(t *testing.T) {
	m := episode()
	s := picture.ScaleOf(`a "title" & more`, m)
	all := parse(t, s.SVG(m[1]))
	fills := find(all, "pg-fill")
	if len(fills) != 3 {
		t.Fatalf("%d queues are drawn, want 3", len(fills))
	}
	// 32 of at most 64 packets: half of the bar's 104, and its bottom stays.
	if y, h := attr(fills[0], "y"), attr(fills[0], "height"); y != "114" || h != "52" {
		t.Errorf("queue 1 is drawn at y %s, height %s; want 114, 52", y, h)
	}
	if got := s.SVG(m[1]); !strings.Contains(got, "stalled 1.5 s") || strings.Contains(s.SVG(m[0]), "stalled") {
		t.Error("stalls are shown where there are none, or are missing")
	}
}

func TestValuesOutsideTheScaleStayInTheDrawing(t *testing.T) {
	s := picture.ScaleOf("", episode())
	for _, e := range find(parse(t, s.SVG(picture.Moment{Depth: []float64{1e9, -5, 0}, Limit: []float64{1e9}, Buffer: -3})), "pg-fill") {
		if h := attr(e, "height"); h != "104" && h != "0" {
			t.Errorf("height %s", h)
		}
	}
}

func TestAnimationEndsWhereTheEpisodeDoes(t *testing.T) {
	m := episode()
	svg := picture.ScaleOf("demo", m).Animation(m, .5)
	for _, e := range parse(t, svg) {
		if e.Name.Local != "animate" {
			continue
		}
		values, times := strings.Split(attr(e, "values"), ";"), strings.Split(attr(e, "keyTimes"), ";")
		if len(values) != len(times) || times[0] != "0" || attr(e, "dur") != "1.5s" {
			t.Errorf("values %v at %v in %s", values, times, attr(e, "dur"))
		}
	}
	if strings.Contains(svg, "<script") {
		t.Error("an image in a README runs no script")
	}
}

// A phone's drawing holds the same things in less width, nothing beyond its edges.
func TestNarrow(t *testing.T) {
	m := episode()
	wide := picture.ScaleOf("x", m)
	narrow := wide
	narrow.Narrow = true
	width := func(svg string) float64 {
		f := strings.Fields(attr(parse(t, svg)[0], "viewBox"))
		w, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w, n := width(wide.SVG(m[0])), width(narrow.SVG(m[0])); n > 420 || n > w/2 {
		t.Errorf("%v wide, %v narrow", w, n)
	}
	height, right := 0., width(narrow.SVG(m[0]))
	for _, e := range parse(t, narrow.SVG(m[2])) {
		if e.Name.Local == "svg" {
			height, _ = strconv.ParseFloat(strings.Fields(attr(e, "viewBox"))[3], 64)
			continue
		}
		at := func(name string) float64 {
			x, _ := strconv.ParseFloat(attr(e, name), 64) // 0 where it has none
			return x
		}
		if at("x")+at("width") > right || at("y")+at("height") > height {
			t.Errorf("%s at %v, %v leaves the drawing of %v × %v", attr(e, "class"), at("x"), at("y"), right, height)
		}
	}
	texts := func(svg string) []string {
		var all []string
		for _, s := range strings.Split(svg, "<text ")[1:] {
			_, s, _ = strings.Cut(s, ">")
			s, _, _ = strings.Cut(s, "<")
			all = append(all, s)
		}
		return all
	}
	if a, b := texts(wide.SVG(m[1])), texts(narrow.SVG(m[1])); !slices.Equal(a, b) {
		t.Errorf("wide says %q, narrow %q", a, b)
	}
	both := wide.Fitting(func(s picture.Scale) string { return s.SVG(m[0]) })
	if strings.Count(both, "<svg") != 2 || !strings.Contains(both, "pg-wide") || !strings.Contains(both, "pg-narrow") {
		t.Error(both)
	}
}
