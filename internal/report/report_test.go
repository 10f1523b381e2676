package report_test

import (
	"bytes"
	"encoding/xml"
	"flag"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

var keep = flag.String("keep", "", "folder to leave the test's report in, to look at")

// sets are three that look like a recording: a sawtooth buffer, a zero-heavy
// queue, a constant column, a third of the queue's seconds missing.
func sets() []report.Set {
	fields := []telemetry.Field{{Name: "enq_qdepth1", Unit: "packets"}, {Name: "lbo_s", Unit: "s"}, {Name: "enq_qdepth2", Unit: "packets"}}
	var out []report.Set
	for i, name := range []string{"real", "best", "worst"} {
		s := report.Set{Name: name, Fields: fields}
		for t := range 900 {
			k := rng.Key{Seed: uint64(i), A: uint32(t), Purpose: rng.Start}
			depth := max(0, 20*k.Float64(0)-8)
			if k.Float64(1) < .33 {
				depth = math.NaN()
			}
			s.Values = append(s.Values, depth, float64((t*(i+1))%48)+k.Float64(2), 0)
		}
		out = append(out, s)
	}
	return out
}

func TestPage(t *testing.T) {
	sections, err := report.Data(sets())
	if err != nil {
		t.Fatal(err)
	}
	p := report.Page{Title: "Model <A> & real", Intro: "What a test draws.", Sections: sections}
	p.Sections[0].Tables = []report.Table{{Caption: "M", Head: []string{"set", "M"}, Rows: [][]string{{"best", "0.5"}}}}
	var b, again bytes.Buffer
	if err := p.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteHTML(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("written twice the page differs, %v", err)
	}
	page := b.String()
	for _, want := range []string{"Model &lt;A&gt; &amp; real", "enq_qdepth1 (packets)", "time (s)", "prefers-color-scheme: dark", "var(--series1)", "t-SNE"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if m := regexp.MustCompile(`(src|href)="(https?:)?//|url\((https?:)?//|@import`).FindString(page); m != "" {
		t.Errorf("the page asks for %q from elsewhere", m)
	}
	if strings.Contains(page, "NaN") {
		t.Error("the page shows NaN")
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
		if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
			t.Fatalf("an SVG does not parse: %v", err)
		}
	}
	dir := t.TempDir()
	if *keep != "" {
		dir = *keep
		if err := os.WriteFile(filepath.Join(dir, "report.html"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.WritePNG(dir); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "cdf-lbo_s.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := png.DecodeConfig(f); err != nil || c.Width < 800 {
		t.Errorf("PNG %+v, %v", c, err)
	}
}

func TestDataRefuses(t *testing.T) {
	other := sets()
	other[1].Fields = []telemetry.Field{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	ragged := sets()
	ragged[2].Values = ragged[2].Values[:10]
	for want, s := range map[string][]report.Set{"no data": nil, "best: column 1 is a; in real it is enq_qdepth1": other, "worst: 10 values of 3 fields": ragged} {
		if _, err := report.Data(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := report.Lines("x", "", "", "", []report.Line{{Name: "l", X: []float64{1}}}); err == nil {
		t.Error("one x and no y is accepted")
	}
}
