package drivertest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/planegym/planegym/internal/cuda/driver"
)

type capture struct {
	origin *stream
	nodes  []node
	forked []*stream
	bad    bool
}

type graph struct {
	nodes    []node
	launched int
}

type exec struct{ graph *graph }

// Graph says what a captured graph holds.
type Graph struct {
	Nodes    int
	Kernels  int
	Launched int // times
}

// Graphs describes the graphs captured so far.
func (d *Driver) Graphs() []Graph {
	var all []Graph
	for _, g := range d.graphs {
		s := Graph{Nodes: len(g.nodes), Launched: g.launched}
		for _, n := range g.nodes {
			if n.kernel {
				s.Kernels++
			}
		}
		all = append(all, s)
	}
	return all
}

// BeginCapture makes the stream record.
func (d *Driver) BeginCapture(s driver.Stream) error {
	const call = "cuStreamBeginCapture_v2"
	if err := d.enter(call); err != nil {
		return err
	}
	if d.capture != nil {
		return d.wrong(call, 900, "while capturing")
	}
	if s == 0 {
		return d.wrong(call, 900, "the default stream cannot capture")
	}
	st, err := d.stream(call, s)
	if err != nil {
		return err
	}
	d.capture = &capture{origin: st}
	st.in, st.tail = d.capture, nil
	return nil
}

// EndCapture ends the recording, also where it fails.
func (d *Driver) EndCapture(s driver.Stream) (driver.Graph, error) {
	const call = "cuStreamEndCapture"
	fails := d.enter(call)
	if !d.open {
		return 0, fails
	}
	st, err := d.stream(call, s)
	if err != nil {
		return 0, errors.Join(fails, err)
	}
	c := d.capture
	if c == nil || c.origin != st {
		return 0, d.wrong(call, 1, "the stream does not capture")
	}
	d.capture = nil
	c.origin.in = nil
	joined := map[int]bool{}
	var mark func(n int)
	mark = func(n int) {
		if !joined[n] {
			joined[n] = true
			for _, p := range c.nodes[n].deps {
				mark(p)
			}
		}
	}
	for _, n := range st.tail {
		mark(n)
	}
	for _, f := range c.forked {
		f.in = nil
	}
	switch {
	case fails != nil:
		return 0, fails
	case c.bad:
		return 0, cuda(call, 901)
	case len(joined) != len(c.nodes):
		return 0, d.wrong(call, 904, "%d of %d nodes", len(c.nodes)-len(joined), len(c.nodes))
	}
	g := &graph{nodes: c.nodes}
	d.graphs = append(d.graphs, g)
	return driver.Graph(d.make(object{kind: "graph", graph: g})), nil
}

// Instantiate makes a graph launchable.
func (d *Driver) Instantiate(g driver.Graph) (driver.Exec, error) {
	const call = "cuGraphInstantiateWithFlags"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	o, err := d.get(call, "graph", uint64(g))
	if err != nil {
		return 0, err
	}
	return driver.Exec(d.make(object{kind: "executable graph", exec: &exec{o.graph}})), nil
}

// LaunchGraph runs the nodes later, among those that could run the one
// recorded last first.
func (d *Driver) LaunchGraph(e driver.Exec, s driver.Stream) error {
	const call = "cuGraphLaunch"
	if err := d.enter(call); err != nil {
		return err
	}
	o, err := d.get(call, "executable graph", uint64(e))
	if err != nil {
		return err
	}
	st, err := d.stream(call, s)
	if err != nil {
		return err
	}
	if st.in != nil {
		st.in.bad = true
		return d.wrong(call, 900, "a graph within a graph is not supported here")
	}
	g := o.exec.graph
	g.launched++
	d.submit(st, node{what: "graph", run: g.run})
	return nil
}

func (g *graph) run() error {
	done := make([]bool, len(g.nodes))
	for range g.nodes {
		next := -1
		for i := range g.nodes {
			if !done[i] && !slices.ContainsFunc(g.nodes[i].deps, func(p int) bool { return !done[p] }) {
				next = i
			}
		}
		if err := g.nodes[next].run(); err != nil {
			return fmt.Errorf("node %d, %s: %w", next, g.nodes[next].what, err)
		}
		done[next] = true
	}
	return nil
}

// DestroyGraph frees a graph. What was instantiated of it stays.
func (d *Driver) DestroyGraph(g driver.Graph) error {
	return d.drop("cuGraphDestroy", "graph", uint64(g))
}

// DestroyExec lets its launches end first.
func (d *Driver) DestroyExec(e driver.Exec) error {
	return d.drop("cuGraphExecDestroy", "executable graph", uint64(e))
}
