package agent

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/atomicfile"
)

// ExportONNX writes the greedy policy as an ONNX model (opset 17), the
// normalisation included, for any runtime to act with:
//
//	obs [N,D] float32 → q [N,A] float32, actions [N,S] int64
//
// q stands switch by switch; an action is the index of the first of the
// largest values, as in Act. The metadata "planegym.spaces" holds the names
// and units of observation elements, and the limits by action index, as JSON.
func (d *DDQN) ExportONNX(path string) error {
	model, err := d.onnx()
	if err != nil {
		return fmt.Errorf("agent: export: %w", err)
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(model)
		return err
	})
	if err != nil {
		return fmt.Errorf("agent: export: %w", err)
	}
	return nil
}

// onnx is the model's bytes. Field numbers are those of onnx.proto3 of ONNX
// 1.12, whose IR version is 8.
func (d *DDQN) onnx() ([]byte, error) {
	spaces, err := json.Marshal(d.Spaces)
	if err != nil {
		return nil, err
	}
	var g onnxGraph
	g.tensor("shift", d.shift, d.dim)
	g.tensor("scale", d.scale, d.dim)
	g.node("Sub", []string{"obs", "shift"}, []string{"centred"})
	g.node("Mul", []string{"centred", "scale"}, []string{"x"})
	x := "x"
	views := d.online.Params().Views
	for l := 0; l < len(views); l += 2 {
		for _, v := range views[l : l+2] {
			g.tensor(v.Name, v.Data, v.Shape...)
		}
		out := fmt.Sprint("layer", l/2)
		g.node("Gemm", []string{x, views[l].Name, views[l+1].Name}, []string{out}, onnxInt("transB", 1))
		if x = out; l < len(views)-2 {
			if d.online.Hidden != compute.ReLU {
				return nil, fmt.Errorf("activation %v has no ONNX node here", d.online.Hidden)
			}
			x = out + "_relu"
			g.node("Relu", []string{out}, []string{x})
		}
	}
	// The parts of the last layer's outputs: V, where the network duels, and
	// the values of each switch.
	var parts []string
	var sizes []int64
	if d.Config.Dueling {
		parts, sizes = append(parts, "value"), append(sizes, 1)
	}
	var heads []string
	for s, n := range d.Spaces.Actions {
		heads = append(heads, fmt.Sprint("head", s))
		sizes = append(sizes, int64(n))
	}
	g.ints("sizes", sizes)
	g.node("Split", []string{x, "sizes"}, append(parts, heads...), onnxInt("axis", 1))
	var picks []string
	for s, h := range heads {
		if d.Config.Dueling {
			a, mean, centred := h, h+"_mean", h+"_centred"
			g.node("ReduceMean", []string{a}, []string{mean}, onnxInts("axes", 1), onnxInt("keepdims", 1))
			g.node("Sub", []string{a, mean}, []string{centred})
			h += "_q"
			g.node("Add", []string{"value", centred}, []string{h})
			heads[s] = h
		}
		picks = append(picks, fmt.Sprint("action", s))
		g.node("ArgMax", []string{h}, picks[s:], onnxInt("axis", 1), onnxInt("keepdims", 1))
	}
	g.node("Concat", heads, []string{"q"}, onnxInt("axis", 1))
	g.node("Concat", picks, []string{"actions"}, onnxInt("axis", 1))

	const float, int64s = 1, 7 // TensorProto.DataType
	graph := append(g.nodes, onnxText(2, "policy")...)
	graph = append(graph, g.tensors...)
	graph = append(graph, onnxValue(11, "obs", float, d.dim)...)
	graph = append(graph, onnxValue(12, "q", float, d.total)...)
	graph = append(graph, onnxValue(12, "actions", int64s, d.s)...)

	m := onnxNumber(1, 8) // ir_version
	m = append(m, onnxText(2, "planegym")...)
	m = append(m, onnxMessage(7, graph)...)
	m = append(m, onnxMessage(8, onnxNumber(2, 17))...) // opset_import
	for _, p := range [][2]string{{"planegym.spaces", string(spaces)}, {"planegym.policy", d.Hash()}} {
		m = append(m, onnxMessage(14, append(onnxText(1, p[0]), onnxText(2, p[1])...))...)
	}
	return m, nil
}

// onnxGraph gathers the nodes and the constants of a GraphProto.
type onnxGraph struct{ nodes, tensors []byte }

func (g *onnxGraph) node(op string, in, out []string, attributes ...[]byte) {
	var n []byte
	for _, name := range in {
		n = append(n, onnxText(1, name)...)
	}
	for _, name := range out {
		n = append(n, onnxText(2, name)...)
	}
	n = append(n, onnxText(4, op)...)
	for _, a := range attributes {
		n = append(n, onnxMessage(5, a)...)
	}
	g.nodes = append(g.nodes, onnxMessage(1, n)...)
}

func (g *onnxGraph) tensor(name string, data []float32, shape ...int) {
	var raw []byte
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	g.raw(name, 1, raw, shape...)
}

func (g *onnxGraph) ints(name string, data []int64) {
	var raw []byte
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	g.raw(name, 7, raw, len(data))
}

func (g *onnxGraph) raw(name string, kind uint64, raw []byte, shape ...int) {
	var t []byte
	for _, n := range shape {
		t = append(t, onnxNumber(1, uint64(n))...)
	}
	t = append(t, onnxNumber(2, kind)...)
	t = append(t, onnxText(8, name)...)
	g.tensors = append(g.tensors, onnxMessage(5, append(t, onnxMessage(9, raw)...))...)
}

// onnxValue is a ValueInfoProto: a matrix of any number of rows.
func onnxValue(field protowire.Number, name string, kind uint64, columns int) []byte {
	shape := append(onnxMessage(1, onnxText(2, "N")), onnxMessage(1, onnxNumber(1, uint64(columns)))...)
	tensor := append(onnxNumber(1, kind), onnxMessage(2, shape)...)
	return onnxMessage(field, append(onnxText(1, name), onnxMessage(2, onnxMessage(1, tensor))...))
}

// onnxInt and onnxInts are AttributeProtos.
func onnxInt(name string, x uint64) []byte {
	return append(append(onnxText(1, name), onnxNumber(3, x)...), onnxNumber(20, 2)...)
}

func onnxInts(name string, x uint64) []byte {
	return append(append(onnxText(1, name), onnxNumber(8, x)...), onnxNumber(20, 7)...)
}

func onnxNumber(field protowire.Number, x uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), x)
}

func onnxText(field protowire.Number, s string) []byte { return onnxMessage(field, []byte(s)) }

func onnxMessage(field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), m)
}
