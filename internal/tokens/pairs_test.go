package tokens

import (
	"bytes"
	"testing"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

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
