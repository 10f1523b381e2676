package testbed

import (
	"math"
	"testing"
)

// alone is the player on a wire of its own.
func alone(mbps float64, v Video) Config {
	zero := 0
	v.Flow = Flow{Path: []string{"v"}, Back: []string{"-"}, RTTMS: rtt(40)}
	return Config{WarmupS: &zero, Ports: []Port{{Name: "v", Switch: 1, BPS: mbps * 1e6}}, Video: v, Loads: []Load{}}
}

// What a steady wire carries decides the quality: 0.9 of it must hold the
// bitrate. At the top quality the buffer fills to 60 s, below to 12 s.
func TestPlayerByWire(t *testing.T) {
	for _, abr := range []string{"throughput", "bola", "dynamic"} {
		for _, c := range []struct {
			mbps   float64
			level  int32
			buffer float64 // s, at least
		}{{.9, 0, 8}, {2.8, 1, 8}, {6, 2, 56}} {
			s := simulate(t, alone(c.mbps, Video{ABR: abr}), 1, 400)
			p := &s.players[0]
			b := float64(p.buffer) / 1e9
			if p.level != c.level || b < c.buffer || b > c.buffer+8 || p.total.Stalled > 0 {
				t.Errorf("%s on %v Mbit/s: level %d, %.1f s of buffer, %+v; want level %d, %v s", abr, c.mbps, p.level, b, p.total, c.level, c.buffer)
			}
		}
	}
}

// On a wire too slow for the lowest quality the player stalls for what is
// missing, and says so.
func TestPlayerStalls(t *testing.T) {
	s := simulate(t, alone(.4, Video{}), 1, 10)
	values, valid := make([]float32, len(s.columns())), make([]bool, len(s.columns()))
	told := 0.
	before := s.players[0].total
	for range 400 {
		s.second(values, valid)
		told += float64(values[len(values)-1])
	}
	p := s.players[0].total
	stalled := float64(p.Stalled-before.Stalled) / 1e9
	// What is not stalled is played: 4 s a segment. The wire could bring 386 of
	// the 639 kbit/s; requests and lost packets cost some of them.
	if played := 4 * float64(p.Segments-before.Segments); math.Abs(400-stalled-played) > 4 || played > 400*386/639. || played < 300*386/639. {
		t.Errorf("%v s stalled, %v s played of 400", stalled, played)
	}
	if math.Abs(told-stalled) > 1e-3 || p.Stalls < 10 {
		t.Errorf("%v s told, %v s stalled, %d stalls", told, stalled, p.Stalls)
	}
}

// A wire that breaks down while a segment of the top quality is on it: the
// request is dropped for a lower quality, unless the configuration forbids it.
func TestPlayerAbandons(t *testing.T) {
	for _, keep := range []bool{false, true} {
		s := simulate(t, alone(6, Video{NoAbandon: keep}), 1, 12)
		for !s.players[0].loading {
			s.run(s.now + 1e8)
		}
		s.ports[0].perByte *= 20
		s.seconds(60)
		if got := s.players[0].total.Abandoned > 0; got == keep {
			t.Errorf("no_abandon %v: %+v", keep, s.players[0].total)
		}
	}
}

func TestSegmentSizesVary(t *testing.T) {
	for _, cv := range []float64{0, .3} {
		s := simulate(t, alone(20, Video{SizeCV: cv, TopBufferS: 60}), 1, 0)
		var n, sum, square float64
		for seg := uint32(0); n < 400; {
			s.run(s.now + 1e9)
			p := &s.players[0]
			if p.segment != seg && p.segment > 20 {
				last := p.queue[(p.head+p.queued-1)%32] / (3312 * 500)
				n, sum, square = n+1, sum+last, square+last*last
			}
			seg = p.segment
		}
		mean := sum / n
		got := math.Sqrt(square/n - mean*mean)
		if math.Abs(mean-1) > .06 || math.Abs(got-cv) > .04 {
			t.Errorf("size_cv %v: mean %.3f, deviation %.3f of the bitrate's", cv, mean, got)
		}
	}
}

// BOLA's parameters for the recordings' ladder, by hand: u = 1, 2.072, 2.645;
// γp = 1.645 / (16/10 - 1), Vp = 10 / γp.
func TestBOLA(t *testing.T) {
	p, err := alone(1, Video{}).compile()
	if err != nil {
		t.Fatal(err)
	}
	v := &p.video[0]
	for q, want := range []struct{ least, most float64 }{{0, 13.647}, {10.0, 17.557}, {14.86, 19.647}} {
		if got := v.bolaMost(int32(q)); math.Abs(got-want.most) > .01 {
			t.Errorf("level %d is loaded up to %.3f s, want %.3f", q, got, want.most)
		}
		if got := v.bolaLeast(int32(q)); math.Abs(got-want.least) > .02 && q != 1 {
			t.Errorf("level %d is preferred from %.3f s, want %.3f", q, got, want.least)
		}
	}
	// Its definition: at bolaLeast two levels score alike.
	for q := int32(1); q < 3; q++ {
		b := v.bolaLeast(q)
		x, y := (v.bolaMost(q)-b)/v.ladder[q].Kbps, (v.bolaMost(q-1)-b)/v.ladder[q-1].Kbps
		if math.Abs(x-y) > 1e-9 {
			t.Errorf("level %d scores %v at %.3f s, the one below %v", q, x, b, y)
		}
	}
}

// ThroughputHistory takes more than four samples where they vary.
func TestThroughputWindow(t *testing.T) {
	for _, c := range []struct {
		samples []float64 // oldest first
		want    float64
	}{
		{[]float64{1000}, 1000},
		{[]float64{9000, 1000, 1000, 1000, 1000}, 1000},
		{[]float64{9000, 9000, 2000, 1000, 1000, 1000}, (3*1000 + 2000 + 2*9000) / 6.},
		{[]float64{100, 110, 120, 130, 140}, 125},
	} {
		var p player
		for _, x := range c.samples {
			p.history[p.samples] = x
			p.samples++
		}
		if got, ok := p.throughput(); !ok || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: %v, want %v", c.samples, got, c.want)
		}
	}
	if _, ok := new(player).throughput(); ok {
		t.Error("a throughput without samples")
	}
}
