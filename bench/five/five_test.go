package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/store"
)

// packets is n sessions of 4 to 33 packets, of two labels that differ in size.
func packets(n int) *traffic.Set {
	s := &traffic.Set{Of: flows.Schema([]string{"a", "b"})}
	for i := range n {
		x := traffic.Session{Label: i % 2, Start: float64(i), Meta: make([]float64, len(s.Of.Meta))}
		x.Meta[flows.Protocol], x.Meta[flows.ServerPort] = flows.UDP, 443
		for t := range 4 + i%30 {
			step := make([]float64, len(s.Of.Steps))
			step[flows.Direction], step[flows.Size] = float64(t%2), float64(100+400*(i%2)+i%7)
			if t > 0 {
				step[flows.Gap] = .01
			}
			x.Steps = append(x.Steps, step...)
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

func write(t *testing.T, s *traffic.Set) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.parquet")
	if _, err := store.WriteFile(path, &s.Of, store.All(s)); err != nil {
		t.Fatal(err)
	}
	return path
}

// A protocol's halves have no session in common and all of them together; P4
// keeps long sessions alone, cut.
func TestSplit(t *testing.T) {
	path := write(t, packets(60))
	p, err := parse("P4=" + path)
	if err != nil {
		t.Fatal(err)
	}
	long := 0
	for i := range 60 {
		if 4+i%30 >= 20 {
			long++
		}
	}
	train, held := p.split(1, 1000)
	seen := map[float64]bool{}
	for _, s := range append(train.Sessions, held.Sessions...) {
		if seen[s.Start] || train.Of.Len(&s) < 20 {
			t.Errorf("session at %v, of %d steps", s.Start, train.Of.Len(&s))
		}
		seen[s.Start] = true
	}
	if len(seen) != long {
		t.Errorf("%d sessions, want %d", len(seen), long)
	}
	if other, _ := p.split(2, 1000); other.Sessions[0].Start == train.Sessions[0].Start && other.Sessions[1].Start == train.Sessions[1].Start && other.Sessions[2].Start == train.Sessions[2].Start {
		t.Error("another seed splits alike")
	}
	for arg, want := range map[string]string{"P1": "NAME=FILE", "P1=" + path + ".none": "none"} {
		if _, err := parse(arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", arg, err)
		}
	}
}

// Flow records have no rates, so that two rows cannot be fitted to them.
func TestFits(t *testing.T) {
	r := &protocol{train: netflow.Sessions([]netflow.Record{{}})}
	if r.fits("denoise") || r.fits("timegan") || !r.fits("masked") {
		t.Error("rows of flow records")
	}
	if p := (&protocol{train: packets(2)}); !p.fits("denoise") {
		t.Error("packets have no rates")
	}
}

// A figure that a row lacks is a dash: models of series have no likelihood of
// packets. Models of packets are measured as series, too.
func TestPieces(t *testing.T) {
	arg := "P1=" + write(t, packets(80))
	o := options{keep: "", seeds: 1, updates: 4, most: 1000, trees: 4, sampled: 4}
	p, err := parse(arg)
	if err != nil {
		t.Fatal(err)
	}
	tab := table{}
	for _, name := range []string{floors, "masked", "denoise"} {
		r, err := p.measure(t.Context(), o, name, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		tab.add("P1", 0, name, r)
	}
	var b strings.Builder
	if err := tab.write(&b); err != nil {
		t.Fatal(err)
	}
	var nll, series []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "| P1: nats a packet") {
			nll = strings.Split(line, " | ")
		}
		if strings.HasPrefix(line, "| P1: as series: C2ST") {
			series = strings.Split(line, " | ")
		}
	}
	if len(nll) != 11 || len(series) != 11 {
		t.Fatal(b.String())
	}
	for i, want := range map[int]bool{1: false, 4: true, 6: true, 9: false} { // real, witten-bell-3, masked, denoise
		if (strings.TrimSpace(nll[i]) != "–") != want {
			t.Errorf("likelihood, column %d: %q", i, nll[i])
		}
	}
	for _, i := range []int{1, 2, 3, 4, 6, 9} {
		if strings.TrimSpace(series[i]) == "–" {
			t.Errorf("as series, column %d is empty: %q", i, series)
		}
	}
}
