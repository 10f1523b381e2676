package drivertest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/planegym/planegym/internal/cuda/driver"
)

type stream struct {
	queue []node
	tail  []int // while capturing: the nodes that later work follows
	in    *capture
}

// record is one use of an event: its place in a stream's queue.
type record struct {
	stream *stream
	done   bool
	at     float32
}

type event struct {
	last *record
	in   *capture // recorded while capturing
	tail []int
}

// stream resolves a stream; 0 is the default one.
func (d *Driver) stream(call string, s driver.Stream) (*stream, error) {
	if s == 0 {
		if d.capture != nil { // the legacy stream waits for all others
			d.capture.bad = true
			return nil, d.wrong(call, 900, "the default stream while capturing")
		}
		return &d.null, nil
	}
	o, err := d.get(call, "stream", uint64(s))
	if err != nil {
		return nil, err
	}
	return o.stream, nil
}

// enterOn is enter and stream, for calls that work on a stream.
func (d *Driver) enterOn(call string, s driver.Stream) (*stream, error) {
	if err := d.enter(call); err != nil {
		return nil, err
	}
	return d.stream(call, s)
}

// submit appends work to a stream, or to the graph being captured.
func (d *Driver) submit(s *stream, n node) {
	if s.in == nil {
		s.queue = append(s.queue, n)
		return
	}
	n.deps = slices.Clone(s.tail)
	s.in.nodes = append(s.in.nodes, n)
	s.tail = []int{len(s.in.nodes) - 1}
}

// drain runs what a stream has to do.
func (d *Driver) drain(s *stream) error {
	for len(s.queue) > 0 {
		n := s.queue[0]
		if n.after != nil && !n.after.done {
			if err := d.reach(n.after); err != nil {
				return err
			}
		}
		s.queue = s.queue[1:]
		if d.sticky != nil {
			continue
		}
		d.clock += .001
		if n.run == nil {
			continue
		}
		if err := n.run(); err != nil {
			code := 719
			d.sticky = fmt.Errorf("%w: %s: %w", cuda("asynchronous work", code), n.what, err)
		}
	}
	return d.sticky
}

// reach runs a stream until a record of an event is done.
func (d *Driver) reach(r *record) error {
	for !r.done && len(r.stream.queue) > 0 {
		rest := r.stream.queue[1:]
		r.stream.queue = r.stream.queue[:1:1]
		err := d.drain(r.stream)
		r.stream.queue = append(r.stream.queue, rest...)
		if err != nil {
			return err
		}
	}
	return d.sticky
}

func (d *Driver) drainAll() error {
	all := []*stream{&d.null}
	for _, h := range slices.Sorted(maps.Keys(d.objects)) {
		if s := d.objects[h].stream; s != nil {
			all = append(all, s)
		}
	}
	var err error
	for _, s := range all {
		if e := d.drain(s); e != nil {
			err = e
		}
	}
	return err
}

// NewStream makes a stream.
func (d *Driver) NewStream() (driver.Stream, error) {
	if err := d.enter("cuStreamCreate"); err != nil {
		return 0, err
	}
	return driver.Stream(d.make(object{kind: "stream", stream: &stream{}})), nil
}

// DestroyStream lets a stream's work end first.
func (d *Driver) DestroyStream(s driver.Stream) error {
	return d.drop("cuStreamDestroy_v2", "stream", uint64(s))
}

// Wait runs what the stream has to do, and no other's work but what it waits
// for.
func (d *Driver) Wait(s driver.Stream) error {
	const call = "cuStreamSynchronize"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	if st.in != nil {
		st.in.bad = true
		return d.wrong(call, 900, "a stream that captures")
	}
	if err := d.drain(st); err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}

// NewEvent makes an event.
func (d *Driver) NewEvent() (driver.Event, error) {
	if err := d.enter("cuEventCreate"); err != nil {
		return 0, err
	}
	return driver.Event(d.make(object{kind: "event", event: &event{}})), nil
}

// DestroyEvent frees an event.
func (d *Driver) DestroyEvent(e driver.Event) error {
	return d.drop("cuEventDestroy_v2", "event", uint64(e))
}

// Record marks where the stream is.
func (d *Driver) Record(e driver.Event, s driver.Stream) error {
	const call = "cuEventRecord"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	o, err := d.get(call, "event", uint64(e))
	if err != nil {
		return err
	}
	if st.in != nil {
		*o.event = event{in: st.in, tail: slices.Clone(st.tail)}
		return nil
	}
	r := &record{stream: st}
	*o.event = event{last: r}
	d.submit(st, node{what: call, run: func() error {
		r.done, r.at = true, d.clock
		return nil
	}})
	return nil
}

// WaitEvent makes the stream's later work wait. An event that was never
// recorded holds nothing back.
func (d *Driver) WaitEvent(s driver.Stream, e driver.Event) error {
	const call = "cuStreamWaitEvent"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	o, err := d.get(call, "event", uint64(e))
	if err != nil {
		return err
	}
	switch ev := o.event; {
	case ev.in != nil && ev.in != d.capture:
		return d.wrong(call, 1, "an event of a capture that has ended")
	case ev.in != nil:
		if st.in == nil {
			st.in, st.tail = ev.in, nil
			ev.in.forked = append(ev.in.forked, st)
		}
		for _, n := range ev.tail {
			if !slices.Contains(st.tail, n) {
				st.tail = append(st.tail, n)
			}
		}
	case st.in != nil:
		st.in.bad = true
		return d.wrong(call, 900, "an event from outside of the capture")
	case ev.last != nil:
		d.submit(st, node{what: call, after: ev.last})
	}
	return nil
}

// Elapsed counts a microsecond for each piece of work between the two.
func (d *Driver) Elapsed(from, to driver.Event) (float32, error) {
	const call = "cuEventElapsedTime"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	var at [2]float32
	for i, e := range []driver.Event{from, to} {
		o, err := d.get(call, "event", uint64(e))
		if err != nil {
			return 0, err
		}
		if o.event.last == nil {
			return 0, d.wrong(call, 400, "an event that was not recorded")
		}
		if !o.event.last.done {
			return 0, because(call, 600, "event %d of 2", i+1)
		}
		at[i] = o.event.last.at
	}
	return at[1] - at[0], nil
}

// Launch checks the launch now and runs it later.
func (d *Driver) Launch(f driver.Function, grid, block [3]int, shared int, s driver.Stream, args []byte) error {
	const call = "cuLaunchKernel"
	if err := d.enter(call); err != nil {
		return err
	}
	o, err := d.get(call, "function", uint64(f))
	if err != nil {
		return err
	}
	st, err := d.stream(call, s)
	if err != nil {
		return err
	}
	k := o.kernel.kernel
	if k.Shared+shared > 48<<10 && shared > o.kernel.dynamic {
		return d.wrong(call, 1, "%s: %d bytes of shared memory: SetShared allowed %d dynamic ones", k.Name, k.Shared+shared, o.kernel.dynamic)
	}
	if err := k.Check(grid, block, shared, len(args)); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	args = bytes.Clone(args)
	d.submit(st, node{what: "launch", kernel: true, run: func() error {
		stats, err := k.Run(&d.mem, grid, block, shared, args, d.VM)
		d.stats.Add(stats)
		return err
	}})
	return nil
}
