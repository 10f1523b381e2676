package tokens

import (
	"bytes"
	"testing"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// reread writes a census to a file and reads it.
func reread(t *testing.T, c *Codec, n *Census) *Census {
	t.Helper()
	var file bytes.Buffer
	if err := safetensors.Write(&file, nil, n.Tensors()); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.New(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.ReadCensus(f, n.MaxSteps, n.Longest)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// A flag that training has with bytes alone counts little without, one of one
// protocol little in another; what training had keeps its weight. A file gives
// the same.
func TestWeigh(t *testing.T) {
	s := &traffic.Set{Of: traffic.Schema{
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size},
			{Name: "flags", Kind: traffic.Symbol, Levels: []string{"data", "ack", "syn"}}, {Name: "gap", Kind: traffic.Gap}},
	}}
	for i := range 8 {
		x := traffic.Session{Label: -1, Meta: []float64{float64(i % 2)}}
		if i%2 == 0 {
			x.Steps = []float64{0, 0, 2, 0, 1, 0, 1, 0, 0, 100, 0, 0}
		} else {
			x.Steps = []float64{0, 100, 0, 0}
		}
		s.Sessions = append(s.Sessions, x)
	}
	c, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := c.NewCensus(s, -1)
	again := reread(t, c, n)
	empty, full := c.Steps[0].Encode([]float64{0, 0, 0, 0}), c.Steps[0].Encode([]float64{0, 100, 0, 0})
	rare := c.Steps[0].Encode([]float64{1, 777, 0, 0})
	for _, x := range []struct {
		size, protocol int32
		want           [3]bool // which flags keep their weight
	}{
		{empty, 0, [3]bool{false, true, true}},
		{full, 0, [3]bool{true, false, false}},
		{rare, 0, [3]bool{true, false, false}},
		{full, 1, [3]bool{true, false, false}},
		{empty, 1, [3]bool{false, false, false}},
	} {
		for _, n := range []*Census{n, again} {
			w := []float32{1, 1, 1}
			n.Weigh(c, w, 1, []int32{x.size, -1, -1}, []int32{-1, x.protocol})
			for k, keeps := range x.want {
				if keeps != (w[k] == 1) || !keeps && w[k] > 1e-3 {
					t.Errorf("size class %d, protocol %d: weights %v", x.size, x.protocol, w)
				}
			}
		}
	}
}

// Data of TCP without bytes are unlikely though datagrams without are in
// training, and no bytes are a class of their own where they are rare.
func TestWeighTogether(t *testing.T) {
	s := &traffic.Set{Of: traffic.Schema{
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size},
			{Name: "flags", Kind: traffic.Symbol, Levels: []string{"data", "ack"}}},
	}}
	add := func(protocol float64, steps ...float64) {
		s.Sessions = append(s.Sessions, traffic.Session{Label: -1, Meta: []float64{protocol}, Steps: steps})
	}
	for range 5 {
		add(0, 0, 100, 0, 0, 0, 1)
	}
	add(1, 0, 0, 0) // a datagram without bytes
	add(0, 1, 0, 1) // an acknowledgement down, the only one
	c, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := c.NewCensus(s, -1)
	up, down := c.Steps[0].Encode([]float64{0, 0, 0}), c.Steps[0].Encode([]float64{1, 0, 0})
	row := []float64{0, 7, 0}
	if c.Steps[0].Decode(down, .9, row); row[0] != 1 || row[1] != 0 {
		t.Errorf("an acknowledgement down, the only one, comes back as %v", row)
	}
	for _, x := range []struct {
		size     int32
		protocol int32
		want     [2]bool
	}{{up, 0, [2]bool{false, true}}, {up, 1, [2]bool{true, false}}, {down, 0, [2]bool{false, true}}} {
		w := []float32{1, 1}
		n.Weigh(c, w, 1, []int32{x.size, -1}, []int32{-1, x.protocol})
		for k, keeps := range x.want {
			if keeps != (w[k] == 1) {
				t.Errorf("size class %d, protocol %d: weights %v", x.size, x.protocol, w)
			}
		}
	}
}

// After a FIN no data follow in its direction, and before it no other FIN; the
// other direction is its own.
func TestOrder(t *testing.T) {
	const data, ack, syn, fin = 0, 1, 2, 3
	s := &traffic.Set{Of: traffic.Schema{
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size},
			{Name: "flags", Kind: traffic.Symbol, Levels: []string{"data", "ack", "syn", "fin"}}},
	}}
	for range 4 {
		s.Sessions = append(s.Sessions, traffic.Session{Label: -1, Steps: []float64{0, 0, syn, 1, 0, syn, 0, 10, data, 0, 10, data, 1, 0, ack, 0, 0, fin, 1, 0, fin, 0, 0, ack}})
	}
	c, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := c.NewCensus(s, -1)
	again := reread(t, c, n)
	class := func(down, size, flags float64) []int32 {
		row := []float64{down, size, flags}
		return []int32{c.Steps[0].Encode(row), c.Steps[1].Encode(row)}
	}
	for _, n := range []*Census{n, again} {
		follow := n.Follow(c)
		follow.Add(5, class(0, 0, fin))
		for _, x := range []struct {
			at   int
			of   []int32
			want [4]bool // which flags keep their weight
		}{
			{9, class(0, 0, data), [4]bool{false, true, false, false}},
			{9, class(0, 10, data), [4]bool{false, true, false, false}},
			{2, class(0, 0, data), [4]bool{true, true, true, false}},
			{9, class(1, 0, ack), [4]bool{true, true, true, true}},
		} {
			w := []float32{1, 1, 1, 1}
			follow.Weigh(w, 1, x.at, x.of)
			for k, keeps := range x.want {
				if keeps != (w[k] == 1) {
					t.Errorf("step %d: weights %v, want %v", x.at, w, x.want)
					break
				}
			}
		}
		w := []float32{1, 1, 1, 1}
		follow.Reset()
		follow.Weigh(w, 1, 9, class(0, 10, data))
		if w[data] != 1 || w[fin] != 1 {
			t.Errorf("an empty session lowers %v", w)
		}
	}
}

// The past of a session says what Follow and the pairs say together, step by step;
// of a first class, whether anything goes with it; and lets a session end where
// nothing does.
func TestPast(t *testing.T) {
	const data, ack, syn, fin, udp = 0, 1, 2, 3, 1
	s := &traffic.Set{Of: traffic.Schema{
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size},
			{Name: "flags", Kind: traffic.Symbol, Levels: []string{"data", "ack", "syn", "fin"}}},
	}}
	add := func(protocol float64, steps ...float64) {
		s.Sessions = append(s.Sessions, traffic.Session{Label: -1, Meta: []float64{protocol}, Steps: steps})
	}
	for range 30 {
		add(0, 0, 0, syn, 1, 0, syn, 0, 10, data, 0, 10, data, 1, 0, ack, 0, 7, fin, 1, 0, fin)
		add(udp, 0, 10, data, 1, 10, data)
	}
	add(0, 0, 0, syn, 0, 7, fin, 0, 10, data) // a capture that lost the order: rare
	c, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := c.NewCensus(s, -1)
	for _, n := range []*Census{n, reread(t, c, n)} {
		past, follow := n.Past(c), n.Follow(c)
		for i := range s.Sessions[:2] {
			x := &s.Sessions[i]
			about := make([]int32, 2)
			c.MetaTokens(x.Label, x.Meta, about)
			past.Begin(about)
			follow.Reset()
			steps := c.Classes(x, nil)
			for at := 0; at < len(steps)/2; at++ {
				weights := func(classes []int32, k int) (w []float32) {
					for range c.Steps[k].Len() {
						w = append(w, 1)
					}
					past.Weigh(w, k, classes)
					return w
				}
				first := weights([]int32{-1, -1}, 0)
				for class := range first {
					classes := []int32{int32(class), -1}
					got, want := weights(classes, 1), []float32{1, 1, 1, 1}
					n.Weigh(c, want, 1, classes, about)
					follow.Weigh(want, 1, at, classes)
					some := false
					for k := range want {
						if some = some || want[k] == 1; (got[k] == 1) != (want[k] == 1) {
							t.Fatalf("session %d, step %d, class %d: weights %v, the parts say %v", i, at, class, got, want)
						}
					}
					any := []float32{1}
					follow.Possible(any, at, []int32{int32(class)}, about)
					if some != (first[class] == 1) || some != (any[0] == 1) {
						t.Errorf("session %d, step %d: class %d has weights %v and %v, and of flags %v", i, at, class, first[class], any[0], want)
					}
				}
				own := steps[2*at:][:2]
				if first[own[0]] != 1 || weights(own, 1)[own[1]] != 1 {
					t.Errorf("session %d, step %d: training's own step counts little", i, at)
				}
				past.Add(own)
				follow.Add(at, own)
			}
		}
		w := make([]float32, c.Steps[0].Len()+1) // with an end
		for i := range w {
			w[i] = 1
		}
		past.Begin([]int32{-1, udp})
		past.Weigh(w, 0, nil)
		if none := c.Steps[0].Encode([]float64{0, 0, 0}); w[none] == 1 || w[len(w)-1] != 1 {
			t.Errorf("a datagram without bytes has weight %v, the end %v", w[none], w[len(w)-1])
		}
	}
}
