// Package onnx exports agents as ONNX models, which any ONNX runtime can run.
package onnx

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/atomicfile"
)

// Export writes the greedy policy of d to path as an ONNX model (opset 17), the
// normalisation included:
//
//	obs [N,D] float32 → q [N,A] float32, actions [N,S] int64
//
// q is switch by switch; an action is the index of the first of the
// largest values, as in Act. The metadata "planegym.spaces" holds the names
// and units of observation elements, and the limits by action index, as JSON.
func Export(d *agent.DDQN, path string) error {
	b, err := model(d)
	if err != nil {
		return fmt.Errorf("agent: export: %w", err)
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return fmt.Errorf("agent: export: %w", err)
	}
	return nil
}

// model is the bytes of the file. Field numbers are those of onnx.proto3 of ONNX
// 1.12, whose IR version is 8.
func model(d *agent.DDQN) ([]byte, error) {
	spaces, err := json.Marshal(d.Spaces)
	if err != nil {
		return nil, err
	}
	var g graph
	net := d.Network()
	shift, scale := d.Normalisation()
	dim, total := len(d.Spaces.Elements), 0
	for _, n := range d.Spaces.Actions {
		total += n
	}
	g.tensor("shift", shift, dim)
	g.tensor("scale", scale, dim)
	g.node("Sub", []string{"obs", "shift"}, []string{"centred"})
	g.node("Mul", []string{"centred", "scale"}, []string{"x"})
	x := "x"
	views := net.Params.Views
	for l := 0; l < len(views); l += 2 {
		for _, v := range views[l : l+2] {
			g.tensor(v.Name, v.Data, v.Shape...)
		}
		out := fmt.Sprint("layer", l/2)
		g.node("Gemm", []string{x, views[l].Name, views[l+1].Name}, []string{out}, intAttribute("transB", 1))
		if x = out; l < len(views)-2 {
			if net.Hidden != compute.ReLU {
				return nil, fmt.Errorf("activation %v has no ONNX node here", net.Hidden)
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
	g.node("Split", []string{x, "sizes"}, append(parts, heads...), intAttribute("axis", 1))
	var picks []string
	for s, h := range heads {
		if d.Config.Dueling {
			a, mean, centred := h, h+"_mean", h+"_centred"
			g.node("ReduceMean", []string{a}, []string{mean}, intsAttribute("axes", 1), intAttribute("keepdims", 1))
			g.node("Sub", []string{a, mean}, []string{centred})
			h += "_q"
			g.node("Add", []string{"value", centred}, []string{h})
			heads[s] = h
		}
		picks = append(picks, fmt.Sprint("action", s))
		g.node("ArgMax", []string{h}, picks[s:], intAttribute("axis", 1), intAttribute("keepdims", 1))
	}
	g.node("Concat", heads, []string{"q"}, intAttribute("axis", 1))
	g.node("Concat", picks, []string{"actions"}, intAttribute("axis", 1))

	const float, int64s = 1, 7 // TensorProto.DataType
	body := append(g.nodes, text(2, "policy")...)
	body = append(body, g.tensors...)
	body = append(body, value(11, "obs", float, dim)...)
	body = append(body, value(12, "q", float, total)...)
	body = append(body, value(12, "actions", int64s, len(d.Spaces.Actions))...)

	m := number(1, 8) // ir_version
	m = append(m, text(2, "planegym")...)
	m = append(m, message(7, body)...)
	m = append(m, message(8, number(2, 17))...) // opset_import
	for _, p := range [][2]string{{"planegym.spaces", string(spaces)}, {"planegym.policy", d.Hash()}} {
		m = append(m, message(14, append(text(1, p[0]), text(2, p[1])...))...)
	}
	return m, nil
}

// graph gathers the nodes and the constants of a GraphProto.
type graph struct{ nodes, tensors []byte }

func (g *graph) node(op string, in, out []string, attributes ...[]byte) {
	var n []byte
	for _, name := range in {
		n = append(n, text(1, name)...)
	}
	for _, name := range out {
		n = append(n, text(2, name)...)
	}
	n = append(n, text(4, op)...)
	for _, a := range attributes {
		n = append(n, message(5, a)...)
	}
	g.nodes = append(g.nodes, message(1, n)...)
}

func (g *graph) tensor(name string, data []float32, shape ...int) {
	var raw []byte
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	g.raw(name, 1, raw, shape...)
}

func (g *graph) ints(name string, data []int64) {
	var raw []byte
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	g.raw(name, 7, raw, len(data))
}

func (g *graph) raw(name string, kind uint64, raw []byte, shape ...int) {
	var t []byte
	for _, n := range shape {
		t = append(t, number(1, uint64(n))...)
	}
	t = append(t, number(2, kind)...)
	t = append(t, text(8, name)...)
	g.tensors = append(g.tensors, message(5, append(t, message(9, raw)...))...)
}

// value is a ValueInfoProto: a matrix of any number of rows.
func value(field protowire.Number, name string, kind uint64, columns int) []byte {
	shape := append(message(1, text(2, "N")), message(1, number(1, uint64(columns)))...)
	tensor := append(number(1, kind), message(2, shape)...)
	return message(field, append(text(1, name), message(2, message(1, tensor))...))
}

// intAttribute and intsAttribute are AttributeProtos.
func intAttribute(name string, x uint64) []byte {
	return append(append(text(1, name), number(3, x)...), number(20, 2)...)
}

func intsAttribute(name string, x uint64) []byte {
	return append(append(text(1, name), number(8, x)...), number(20, 7)...)
}

func number(field protowire.Number, x uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), x)
}

func text(field protowire.Number, s string) []byte { return message(field, []byte(s)) }

func message(field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), m)
}
