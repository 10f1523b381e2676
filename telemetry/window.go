// Package telemetry holds what switches and players measured: fields with
// units, windows of measurements, readers of recordings and the datasets made
// from them.
package telemetry

import "fmt"

// Field is one measured quantity: a column of every recording and window.
type Field struct {
	Name string // as in the recordings, e.g. enq_qdepth1
	Unit string // "" where it has none
}

// End says whether an episode goes on after a window.
type End uint8

// The three answers. Terminated: the process itself ended. Truncated: it was
// cut from outside (time limit, end of a recording, loss of telemetry).
const (
	Going End = iota
	Terminated
	Truncated
)

func (e End) String() string {
	switch e {
	case Going:
		return "going"
	case Terminated:
		return "terminated"
	case Truncated:
		return "truncated"
	}
	return fmt.Sprintf("End(%d)", uint8(e))
}

// Window is what n rows measured over T seconds, F fields each. Its owner is
// the caller of the plant that fills it.
type Window struct {
	Seconds, Fields int

	Values []float32 // [n,T,F], finite everywhere; the last good value where !Valid
	Valid  []bool    // [n,T,F]
	End    []End     // [n]
	Reason []string  // [n], "" while going
}

// Size makes w hold n rows of seconds×fields cells, allocating only where its
// memory does not suffice. What it held is undefined afterwards.
func (w *Window) Size(n, seconds, fields int) {
	w.Seconds, w.Fields = seconds, fields
	w.Values = Grow(w.Values, n*seconds*fields)
	w.Valid = Grow(w.Valid, n*seconds*fields)
	w.End = Grow(w.End, n)
	w.Reason = Grow(w.Reason, n)
}

// Rows is n.
func (w *Window) Rows() int { return len(w.End) }

// Row is row i's values and validity, [T,F] each, as views into w.
func (w *Window) Row(i int) ([]float32, []bool) {
	n := w.Seconds * w.Fields
	return w.Values[i*n : (i+1)*n : (i+1)*n], w.Valid[i*n : (i+1)*n : (i+1)*n]
}

// Grow is s with length n, newly allocated only where its capacity is less.
func Grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
