package drivertest

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/planegym/planegym/internal/cuda/driver"
)

// Alloc makes unknown memory.
func (d *Driver) Alloc(n int) (driver.Ptr, error) {
	const call = "cuMemAlloc_v2"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	if err := d.unsafe(call); err != nil {
		return 0, err
	}
	if n < 1 {
		return 0, d.wrong(call, 1, "%d bytes", n)
	}
	if uint64(d.mem.Used())+uint64(n) > d.info().Memory {
		return 0, because(call, 2, "%d bytes of %d", n, int64(d.info().Memory)-d.mem.Used())
	}
	p, err := d.mem.Alloc(n)
	if err != nil {
		return 0, because(call, 1, "%w", err)
	}
	d.ptrs[driver.Ptr(p)] = object{kind: "device memory", call: d.calls, size: n}
	return driver.Ptr(p), nil
}

// Free waits for all work, then frees.
func (d *Driver) Free(p driver.Ptr) error {
	const call = "cuMemFree_v2"
	fails := d.enter(call)
	if !d.open {
		return fails
	}
	if _, ok := d.ptrs[p]; !ok {
		return d.wrong(call, 1, "%#x is not allocated", p)
	}
	if fails == nil {
		fails = d.unsafe(call)
	}
	fails = errors.Join(fails, d.drainAll())
	delete(d.ptrs, p)
	if err := d.mem.Free(uint64(p)); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	return fails
}

// AllocHost makes pinned memory.
func (d *Driver) AllocHost(n int) ([]byte, error) {
	const call = "cuMemHostAlloc"
	if err := d.enter(call); err != nil {
		return nil, err
	}
	if err := d.unsafe(call); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, d.wrong(call, 1, "%d bytes", n)
	}
	words := make([]uint64, (n+7)/8) // aligned as pinned memory is
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
	for i := range b {
		b[i] = 0xdb // not zero: the driver does not clear it
	}
	d.pinned[address(b)] = object{kind: "pinned memory", call: d.calls, size: n, host: b}
	return b, nil
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// FreeHost waits for all work, then frees.
func (d *Driver) FreeHost(b []byte) error {
	const call = "cuMemFreeHost"
	fails := d.enter(call)
	if !d.open {
		return fails
	}
	if o, ok := d.pinned[address(b)]; !ok || len(b) != o.size {
		return d.wrong(call, 1, "%d bytes that AllocHost did not return", len(b))
	}
	fails = errors.Join(fails, d.drainAll())
	delete(d.pinned, address(b))
	return fails
}

func (d *Driver) isPinned(b []byte) bool {
	for at, o := range d.pinned {
		if address(b) >= at && address(b)+uintptr(len(b)) <= at+uintptr(o.size) {
			return true
		}
	}
	return false
}

// unsafe is the error of calls that must not be made while capturing.
func (d *Driver) unsafe(call string) error {
	if d.capture == nil {
		return nil
	}
	d.capture.bad = true
	return d.wrong(call, 900, "while capturing")
}

// copying submits a copy between host and device.
func (d *Driver) copying(call string, host []byte, dev driver.Ptr, s driver.Stream, run func() error) error {
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	if len(host) == 0 {
		return d.wrong(call, 1, "no bytes")
	}
	if err := d.mem.Holds(uint64(dev), len(host)); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	pinned := d.isPinned(host)
	if st.in != nil && !pinned {
		st.in.bad = true
		return d.wrong(call, 900, "memory that is not pinned")
	}
	d.submit(st, node{what: fmt.Sprintf("%s of %d bytes", call, len(host)), run: run})
	if !pinned {
		return d.drain(st)
	}
	return nil
}

// Upload copies to the device.
func (d *Driver) Upload(dst driver.Ptr, src []byte, s driver.Stream) error {
	return d.copying("cuMemcpyHtoDAsync_v2", src, dst, s, func() error { return d.mem.Write(uint64(dst), src) })
}

// Download copies from the device.
func (d *Driver) Download(dst []byte, src driver.Ptr, s driver.Stream) error {
	return d.copying("cuMemcpyDtoHAsync_v2", dst, src, s, func() error { return d.mem.Read(dst, uint64(src)) })
}

// Copy copies on the device.
func (d *Driver) Copy(dst, src driver.Ptr, n int, s driver.Stream) error {
	const call = "cuMemcpyDtoDAsync_v2"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	for _, p := range []driver.Ptr{dst, src} {
		if err := d.mem.Holds(uint64(p), n); err != nil {
			return d.wrong(call, 1, "%w", err)
		}
	}
	d.submit(st, node{what: fmt.Sprintf("%s of %d bytes", call, n), run: func() error { return d.mem.Copy(uint64(dst), uint64(src), n) }})
	return nil
}

// Zero clears device memory.
func (d *Driver) Zero(dst driver.Ptr, n int, s driver.Stream) error {
	const call = "cuMemsetD8Async"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	if err := d.mem.Holds(uint64(dst), n); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	d.submit(st, node{what: fmt.Sprintf("%s of %d bytes", call, n), run: func() error { return d.mem.Zero(uint64(dst), n) }})
	return nil
}
