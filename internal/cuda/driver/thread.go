package driver

import "runtime"

// Thread runs functions, one after another, on an OS thread of its own, as a
// context wants it. One hand-off costs about a microsecond, so what launches
// often does so within one function.
type Thread struct {
	work chan func()
	done chan struct{}
}

// NewThread starts a thread. Close ends it.
func NewThread() *Thread {
	t := &Thread{work: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		// Never unlocked: the OS thread ends with the goroutine, and nothing
		// that the driver attached to it meets other code.
		runtime.LockOSThread()
		for f := range t.work {
			f()
		}
	}()
	return t
}

// Do runs f on the thread and returns its error. A panic of f is the caller's.
// It may be called from several goroutines, but not by f.
func (t *Thread) Do(f func() error) (err error) {
	var caught any
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		defer func() { caught = recover() }()
		err = f()
	}
	<-done
	if caught != nil {
		panic(caught)
	}
	return err
}

// Close ends the thread once what runs on it has returned. Do must not be
// called afterwards.
func (t *Thread) Close() {
	close(t.work)
	<-t.done
}
