package main

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/traffic"
)

var of = traffic.Schema{
	Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp", "icmp"}}},
	Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}},
		{Name: "size", Kind: traffic.Size}, {Name: "gap", Kind: traffic.Gap}},
}

// Sessions of one request up, and 4 s later ten packets down at once: Poisson
// arrivals in batches of ten have a dispersion of ten, and by Little's law rate ×
// time are in progress.
func TestOffer(t *testing.T) {
	s := traffic.Session{Label: -1, Meta: []float64{1}, Steps: []float64{0, 100, 0, 1, 10*1500 - 28, 4}}
	all, err := compile(&traffic.Set{Of: of, Sessions: []traffic.Session{s}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	p := play{rate: 50, places: 1000, warmup: 10, seconds: 200, runs: 4}
	o := p.offer(all)
	for _, f := range []struct {
		name      string
		got, want float64
	}{{"at once", o.atOnce, 100}, {"down", o.down, 500}, {"bytes", o.downBytes, 500 * 1500}, {"up", o.up, 50}, {"refused", 1 + o.refused, 1},
		{"dispersion at 10 ms", o.dispersion[0], 10}, {"at 100 ms", o.dispersion[1], 10}} {
		if math.Abs(f.got/f.want-1) > .1 {
			t.Errorf("%s: %v, want %v", f.name, f.got, f.want)
		}
	}
	// With places for half of them, more than half find none: a place is free from the
	// next second on.
	p.places = 50
	if o := p.offer(all); o.refused < .5 || o.refused > .75 || math.Abs(o.atOnce-100*(1-o.refused)) > 5 {
		t.Errorf("50 places: %.2f find none, %.1f at once", o.refused, o.atOnce)
	}
}

func TestSwaps(t *testing.T) {
	steps := func(gaps ...float64) (s traffic.Session) {
		s = traffic.Session{Label: -1, Meta: []float64{0}}
		for i, g := range gaps {
			s.Steps = append(s.Steps, float64(i%2), float64(100+i), g)
		}
		return s
	}
	gapsOf := func(s *traffic.Session) (g []float64) {
		for i := 2; i < len(s.Steps); i += 3 {
			g = append(g, s.Steps[i])
		}
		return g
	}
	a := &traffic.Set{Of: of, Sessions: []traffic.Session{steps(0, 1, 2, 3, 4), steps(0, 9)}}
	b := &traffic.Set{Of: of, Sessions: []traffic.Session{steps(0, 70), steps(0, 5, 6, 7)}}
	own := slices.Clone(a.Sessions[0].Steps)
	if err := swapGaps(a, b); err != nil {
		t.Fatal(err)
	}
	if g, h := gapsOf(&a.Sessions[0]), gapsOf(&a.Sessions[1]); !slices.Equal(g, []float64{0, 5, 6, 7, 5}) || !slices.Equal(h, []float64{0, 70}) {
		t.Errorf("gaps %v and %v", g, h)
	}
	for i, x := range a.Sessions[0].Steps {
		if i%3 != 2 && x != own[i] {
			t.Errorf("step value %d was %v, is %v", i, own[i], x)
		}
	}
	shuffleGaps(a)
	g := gapsOf(&a.Sessions[0])
	if g[0] != 0 {
		t.Errorf("the first gap is %v", g[0])
	}
	if slices.Sort(g); !slices.Equal(g, []float64{0, 5, 5, 6, 7}) {
		t.Errorf("shuffled gaps are %v", g)
	}
}
