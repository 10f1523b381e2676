package picture_test

import (
	"encoding/xml"
	"errors"
	"io"
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
