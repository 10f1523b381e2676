package doppelganger

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// exchanges are sessions of rules: TCP begins with a SYN, has data with bytes,
// acknowledgements without, and nothing after a FIN; UDP has data alone.
func exchanges(n int) *traffic.Set {
	const data, ack, syn, fin = 0, 1, 2, 3
	set := &traffic.Set{Of: traffic.Schema{
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size},
			{Name: "flags", Kind: traffic.Symbol, Levels: []string{"data", "ack", "syn", "fin", "rst"}}, {Name: "gap", Unit: "s", Kind: traffic.Gap}},
	}}
	for i := range n {
		key := rng.Key{Seed: 9, A: uint32(i), Purpose: rng.Bootstrap}
		s := traffic.Session{Label: -1, Start: float64(i), Meta: []float64{float64(i % 2)}}
		size := func(t int) float64 { return float64(100 + key.Intn(uint32(t), 1300)) }
		if i%2 == 1 {
			for t := range 1 + key.Intn(0, 6) {
				s.Steps = append(s.Steps, float64(t%2), size(1+t), data, float64(t)*.01)
			}
		} else {
			s.Steps = append(s.Steps, 0, 0, syn, 0)
			for t := range 1 + key.Intn(0, 8) {
				s.Steps = append(s.Steps, 0, size(1+t), data, .01, 1, 0, ack, .02)
			}
			s.Steps = append(s.Steps, 0, 0, fin, .01)
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

// After a few updates, whatever a network says, steps are as the rules that all of
// training keeps, and sizes within those that training had.
func TestKinds(t *testing.T) {
	train := exchanges(200)
	for _, mode := range Modes {
		m, err := Fit(t.Context(), train, tiny(mode), traffic.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(m.codec.Kinds.Of); n != 5 {
			t.Errorf("%s: %d kinds: data up and down, ack, syn and fin are 5", mode, n)
		}
		broken, steps := 0, 0
		for s, err := range m.Sample(t.Context(), traffic.Request{N: 2000, Seed: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			finished := false
			for i := range m.Schema().Len(&s) {
				x := m.Schema().Step(&s, i)
				flags, size, udp := x[2], x[1], s.Meta[0] == 1
				steps++
				switch {
				case finished, udp && flags != 0, flags == 4, !udp && (flags == 2) != (i == 0), flags == 1 && x[0] == 0:
					broken++
				case (flags == 0) != (size > 0), size > 0 && (size < 96 || size > 1408):
					t.Fatalf("%s: step %d is %v", mode, i, x)
				}
				finished = flags == 3
			}
		}
		t.Logf("%s: %d of %d steps break a rule", mode, broken, steps)
		if broken > steps/200 {
			t.Errorf("%s: %d of %d steps break a rule of training's", mode, broken, steps)
		}
	}
}

// Attributes that training never had together allow the kinds of the first of
// them, not any kind: a generator of attributes may pair UDP with an option of TCP.
func TestAttributesThatNeverMet(t *testing.T) {
	train := exchanges(40)
	train.Of.Meta = append(train.Of.Meta, traffic.Field{Name: "options", Kind: traffic.Symbol, Levels: []string{"none", "mss"}})
	for i := range train.Sessions {
		x := &train.Sessions[i]
		x.Meta = append(x.Meta, 1-x.Meta[0]) // TCP has options, UDP none
	}
	k := newKinds(train, 3)
	of := func(meta ...int) fitting { return k.with(func(field int) int { return meta[field] }) }
	tcp, udp := of(0, 1), of(1, 0)
	if tcp.any&udp.any&^k.About[0][1] != 0 || udp.any == 0 || tcp.first == udp.first {
		t.Fatalf("kinds of TCP %b, of UDP %b", tcp, udp)
	}
	if got := of(1, 1); got.any&^udp.any != 0 || got.any == 0 || got.first&^udp.first != 0 || got.first == 0 {
		t.Errorf("UDP with options has kinds %b, UDP has %b", got, udp)
	}
}

// What the likelihood mode says is a probability: given the outline, over all
// that a step of two fields can be, its parts add up to 1.
func TestKindsAddUp(t *testing.T) {
	m, err := Fit(context.Background(), exchanges(200), tiny(Likelihood), traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	be := compute.NewBackend(compute.Fastest(), 1)
	defer be.Close()
	of := m.Schema()
	// Of all sizes, and of up to 800 bytes.
	var outlines [][]int32
	for _, most := range []float64{1399, 800} {
		outlines = append(outlines, []int32{m.codec.Outline[0].encode(4), m.codec.Outline[1].encode(most), m.codec.Outline[2].encode(.01)})
	}
	sums := make([]float64, len(outlines))
	for _, dir := range []float64{0, 1} {
		for flags := range of.Steps[2].Levels {
			for size := range 1500 {
				s := traffic.Session{Label: -1, Meta: []float64{1}, Steps: []float64{dir, float64(size), float64(flags), 0}}
				if m.codec.Kinds.find(m.codec.Kinds.tuple(s.Steps)) < 0 || size > 0 && !within(&m.codec.Steps[1], float64(size)) {
					continue // what is never drawn
				}
				parts := make([]float64, len(m.Parts()))
				if _, err := m.LogProb(&s, parts); err != nil {
					t.Fatal(err)
				}
				in := m.codec.innerSession(&s)
				own := m.codec.outlineOf(&in)
				nats, _, err := m.lm.nats(be, &in, own)
				if err != nil {
					t.Fatal(err)
				}
				all := 0.
				for _, x := range nats[len(m.codec.Meta):] {
					all -= x
				}
				if got := parts[0] + parts[1]; math.Abs(got-all) > 1e-6 {
					t.Fatalf("%v: parts %v add up to %v, sites of the outline, steps and end to %v", s.Steps, parts, got, all)
				}
				for i, class := range outlines {
					nats, _, err := m.lm.nats(be, &in, class)
					if err != nil {
						t.Fatal(err)
					}
					all := 0.
					for _, x := range nats[m.lm.meta:][:2] { // kind and size
						all -= x
					}
					sums[i] += math.Exp(all)
				}
			}
		}
	}
	for i, sum := range sums {
		if math.Abs(sum-1) > 1e-3 {
			t.Errorf("outline %v: all first steps of UDP have probability %.4f", outlines[i], sum)
		}
	}
}

// within reports whether a class draws x.
func within(c *classes, x float64) bool {
	class := c.encode(x)
	return c.decode(class, 0) <= x && x <= c.decode(class, 1-0x1p-53)
}

// Payload that no packet of Ethernet holds is a kind of its own: it is as rare
// where training has it in few steps, after a fit of a few updates too, and sizes
// of the other kind fit.
func TestLargePayloadIsAKind(t *testing.T) {
	train := exchanges(200)
	large := 0
	for i := range train.Sessions {
		x := &train.Sessions[i]
		for k := 0; k < len(x.Steps); k += 4 {
			if x.Steps[k+1] > 0 && x.Steps[k] == 0 && i%20 == 0 && large < 8 {
				x.Steps[k+1] = 9000
				large++
			}
		}
	}
	k := newKinds(train, 5)
	if n := len(k.Of); n != 6 && n != 7 {
		t.Fatalf("%d kinds: large data up beside the five", n)
	}
	for kind, of := range k.Of {
		lo, hi := k.Least[kind][0], k.Most[kind][0]
		switch of[len(of)-1] {
		case 1:
			if hi > 1460 {
				t.Errorf("kind %v has sizes to %v", of, hi)
			}
		case 2:
			if lo < 1461 || hi != 9000 {
				t.Errorf("kind %v has sizes from %v to %v", of, lo, hi)
			}
		}
	}
	for _, mode := range Modes {
		m, err := Fit(t.Context(), train, tiny(mode), traffic.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range m.Sample(t.Context(), traffic.Request{N: 1000, Seed: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			for i := range m.Schema().Len(&s) {
				if size := m.Schema().Step(&s, i)[1]; size > 1460 && size != 9000 {
					t.Fatalf("%s: a step of %v bytes: training has up to 1,400, and 9,000", mode, size)
				}
			}
		}
	}
}

// Only permitted kinds are drawn, however sure the network is of another.
func TestPermit(t *testing.T) {
	for _, x := range []struct {
		p    []float32
		set  uint64
		want []float32
	}{
		{[]float32{1, .25, .5}, 0b110, []float32{0, .25, .5}},
		{[]float32{1, 0, 0}, 0b110, []float32{0, 1, 1}},
		{[]float32{1, 0, .5}, 0, []float32{1, 0, .5}},
	} {
		got := slices.Clone(x.p)
		if permit(got, x.set); !slices.Equal(got, x.want) {
			t.Errorf("of %v the kinds %b: %v, want %v", x.p, x.set, got, x.want)
		}
	}
}

// Sizes are within those of their kind in sessions with the same symbols: a full packet
// has fewer bytes beside timestamps, a datagram of one protocol fewer than of another.
func TestSizesWithSymbols(t *testing.T) {
	train := exchanges(200)
	for i := range train.Sessions {
		s := &train.Sessions[i]
		if s.Meta[0] == 1 {
			for at := 1; at < len(s.Steps); at += 4 {
				s.Steps[at] = min(s.Steps[at], 448)
			}
		}
	}
	c := tiny(Adversarial)
	m, err := Fit(t.Context(), train, c, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	largest := func() (most [2]float64) {
		for s, err := range m.Sample(t.Context(), traffic.Request{N: 2000, Seed: 3}) {
			if err != nil {
				t.Fatal(err)
			}
			for i := range m.Schema().Len(&s) {
				protocol := int(s.Meta[0])
				most[protocol] = max(most[protocol], m.Schema().Step(&s, i)[1])
			}
		}
		return most
	}
	if most := largest(); most[1] > 448 || most[0] < 449 {
		t.Errorf("sizes up to %v by protocol, training's up to 1399 and 448", most)
	}
	m.codec.Kinds.MostWith = nil
	if most := largest(); most[1] <= 448 {
		t.Errorf("sizes up to %v without bounds: this shows nothing", most)
	}
}
