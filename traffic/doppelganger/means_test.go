package doppelganger

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// pings are records of one kind of packet each, whose size the protocol decides; in
// a share of them packets are of any size.
func pings(n int, any float64, packets ...int) *traffic.Set {
	set := &traffic.Set{Of: traffic.Schema{
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"icmp", "udp"}}},
		Steps: []traffic.Field{{Name: "gap", Unit: "s", Kind: traffic.Gap}, {Name: "packets", Kind: traffic.Size},
			{Name: "size", Unit: "B", Kind: traffic.Size}},
	}}
	for i := range n {
		key := rng.Key{Seed: 11, A: uint32(i), Purpose: rng.Bootstrap}
		s := traffic.Session{Label: -1, Start: float64(i), Meta: []float64{float64(i % 2)}}
		for t := range 1 + key.Intn(0, 2) {
			p := 1 + key.Intn(uint32(10+t), 3000)
			if len(packets) > 0 {
				p = packets[key.Intn(uint32(10+t), len(packets))]
			}
			size := p * (28 + 4*(i%2))
			if key.Float64(uint32(20+t)) < any {
				size = p*40 + key.Intn(uint32(30+t), p*1460)
			}
			s.Steps = append(s.Steps, float64(t), float64(p), float64(size))
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

// Where all packets of training have 28 or 32 bytes, those of a sampled record do,
// whatever its number of packets and however short the fit.
func TestMeansComeBackExactly(t *testing.T) {
	train := pings(200, 0)
	known := map[float64]bool{}
	for i := range train.Sessions {
		for n := range train.Of.Len(&train.Sessions[i]) {
			known[train.Of.Step(&train.Sessions[i], n)[1]] = true
		}
	}
	for _, mode := range Modes {
		m, err := Fit(t.Context(), train, tiny(mode), traffic.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		fresh := 0
		for s, err := range m.Sample(t.Context(), traffic.Request{N: 500, Seed: 3}) {
			if err != nil {
				t.Fatal(err)
			}
			for n := range train.Of.Len(&s) {
				x := train.Of.Step(&s, n)
				if mean := x[2] / x[1]; mean < 28 || mean > 32 || mode == Likelihood && mean != 28 && mean != 32 {
					t.Fatalf("%s: %v packets have %v bytes", mode, x[1], x[2])
				}
				if !known[x[1]] {
					fresh++
				}
			}
		}
		if fresh < 100 {
			t.Errorf("%s: %d records have a number of packets that training does not have", mode, fresh)
		}
	}
}

// Sessions become those with means, and themselves again.
func TestMeansRoundTrip(t *testing.T) {
	train := pings(500, .5)
	k, err := newCodec(tiny(Likelihood).withDefaults(), train)
	if err != nil {
		t.Fatal(err)
	}
	for i := range train.Sessions {
		s := &train.Sessions[i]
		in := k.innerSession(s)
		for n := range train.Of.Len(s) {
			x, y := train.Of.Step(s, n), k.in.Step(&in, n)
			if y[1] != x[1] || y[2] != x[2]/x[1] {
				t.Fatalf("%v packets of %v bytes become %v", x[1], x[2], y)
			}
			if back := k.outer(nil, y); back[0] != x[0] || back[1] != x[1] || back[2] != x[2] {
				t.Fatalf("%v comes back as %v", x, back)
			}
		}
	}
	// Without packets in every record there is no mean.
	train.Sessions[3].Steps[1] = 0
	if k, err = newCodec(tiny(Likelihood).withDefaults(), train); err != nil || k.Means {
		t.Errorf("a record without packets: means %v, %v", k.Means, err)
	}
}

// What the likelihood mode says is a probability with means as well: over all
// packets and bytes that a first record can have, under one outline, it adds up to 1.
func TestMeansAddUp(t *testing.T) {
	m, err := Fit(t.Context(), pings(300, .6, 2, 5), tiny(Likelihood), traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	be := compute.NewBackend(compute.Fastest(), 1)
	defer be.Close()
	k := m.codec
	outline := []int32{k.Outline[0].encode(1), k.Outline[1].encode(0), k.Outline[2].encode(5), int32(k.Outline[3].len() - 1)}
	sum := 0.
	for _, packets := range []float64{2, 5} {
		for size := 1.; size <= packets*1520; size++ {
			s := traffic.Session{Label: -1, Meta: []float64{1}, Steps: []float64{0, packets, size}}
			in := k.innerSession(&s)
			if !within(&k.Steps[2], in.Steps[2]) {
				continue // what is never drawn
			}
			nats, _, err := m.lm.nats(be, &in, outline)
			if err != nil {
				t.Fatal(err)
			}
			sum += math.Exp(-nats[m.lm.meta+1] - nats[m.lm.meta+2])
		}
	}
	if math.Abs(sum-1) > .02 {
		t.Errorf("all first records have probability %.4f", sum)
	}
	// The parts are those of the schema: the mean is of the bytes, a size, so among the steps.
	parts := make([]float64, 2)
	if _, err := m.LogProb(&traffic.Session{Label: -1, Meta: []float64{1}, Steps: []float64{0, 2, 64}}, parts); err != nil || parts[0] >= 0 {
		t.Errorf("parts %v, %v", parts, err)
	}
}

// A largest value that is put into a step leaves the size of its packets as it is.
func TestMeansFinish(t *testing.T) {
	train := pings(300, .5)
	k, err := newCodec(Config{Mode: Likelihood}.withDefaults(), train)
	if err != nil {
		t.Fatal(err)
	}
	for i := range train.Sessions[:50] {
		s := train.Sessions[i]
		in := k.innerSession(&s)
		class := k.outlineOf(&in)
		was := append([]float64(nil), s.Steps...)
		class[2] = int32(k.Outline[2].len() - 1) // packets
		o := k.newOutlineAt(class)
		for n := range k.in.Len(&in) {
			o.step(k.in.Step(&in, n))
		}
		s.Steps = append([]float64(nil), was...)
		o.finish(&s, 0, rng.Key{Seed: 1, Purpose: rng.Bootstrap})
		largest := 0.
		for n := range train.Of.Len(&s) {
			x, y := was[n*3:][:3], train.Of.Step(&s, n)
			largest = max(largest, y[1])
			if math.Abs(x[2]/x[1]-y[2]/y[1]) > .51/x[1]+.51/y[1] || y[2] != math.Trunc(y[2]) {
				t.Fatalf("session %d: %v becomes %v", i, x, y)
			}
		}
		if k.Outline[2].encode(largest) != class[2] {
			t.Errorf("session %d: at most %v packets, not of the last class", i, largest)
		}
	}
}

// A file whose means are of steps without packets is refused.
func TestMeansOfOtherSteps(t *testing.T) {
	k, err := newCodec(tiny(Likelihood).withDefaults(), sessions(20))
	if err != nil {
		t.Fatal(err)
	}
	k.Means = true
	if err := k.check(Likelihood); err == nil || errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "means") {
		t.Errorf("check: %v", err)
	}
}
