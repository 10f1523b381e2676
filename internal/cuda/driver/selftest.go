package driver

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
)

//go:embed probe.ptx
var probe []byte

// SelfTest compiles a small kernel for the device that d has open, runs it
// directly and from a captured graph, and checks what it computed. It returns
// what the compiler made of the kernel.
func SelfTest(d Driver) (a Attributes, err error) {
	const blocks, threads, scale = 3, 64, 5
	n := blocks*threads - 7
	// Everything below is given back in reverse, whatever fails.
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()
	keep := func(f func() error) { undo = append(undo, f) }

	m, err := d.Load(probe)
	if err != nil {
		return a, err
	}
	keep(func() error { return d.Unload(m) })
	f, err := d.Function(m, "probe")
	if err != nil {
		return a, err
	}
	if a, err = d.Attributes(f); err != nil {
		return a, err
	}
	s, err := d.NewStream()
	if err != nil {
		return a, err
	}
	keep(func() error { return d.DestroyStream(s) })
	host, err := d.AllocHost(4 * n)
	if err != nil {
		return a, err
	}
	keep(func() error { return d.FreeHost(host) })
	p, err := d.Alloc(4 * n)
	if err != nil {
		return a, err
	}
	keep(func() error { return d.Free(p) })

	args := binary.LittleEndian.AppendUint64(nil, uint64(p))
	args = binary.LittleEndian.AppendUint32(args, scale)
	args = binary.LittleEndian.AppendUint32(args, uint32(n))
	launch := func() error { return d.Launch(f, [3]int{blocks, 1, 1}, [3]int{threads, 1, 1}, 0, s, args) }
	if err := d.Zero(p, 4*n, s); err != nil {
		return a, err
	}
	if err := launch(); err != nil {
		return a, err
	}
	g, err := capture(d, s, launch)
	if err != nil {
		return a, err
	}
	keep(func() error { return d.DestroyGraph(g) })
	x, err := d.Instantiate(g)
	if err != nil {
		return a, err
	}
	keep(func() error { return d.DestroyExec(x) })
	if err := d.LaunchGraph(x, s); err != nil {
		return a, err
	}
	if err := d.Download(host, p, s); err != nil {
		return a, err
	}
	if err := d.Wait(s); err != nil {
		return a, err
	}
	for i := range n {
		other := i/threads*threads + threads - 1 - i%threads
		if got, want := binary.LittleEndian.Uint32(host[4*i:]), uint32(2*scale*other); got != want {
			return a, fmt.Errorf("cuda: the probe computed %d at %d, want %d", got, i, want)
		}
	}
	return a, nil
}

// capture records what f submits to the stream. The capture ends whatever f
// returns.
func capture(d Driver, s Stream, f func() error) (Graph, error) {
	if err := d.BeginCapture(s); err != nil {
		return 0, err
	}
	err := f()
	g, end := d.EndCapture(s)
	if err == nil {
		return g, end
	}
	if end == nil {
		err = errors.Join(err, d.DestroyGraph(g))
	}
	return 0, err
}
