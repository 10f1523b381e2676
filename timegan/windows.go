package timegan

import (
	"fmt"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// Windows are training data as networks see them: recordings one after the
// other, and the seconds at which a window of Length may begin.
type Windows struct {
	Length int
	Bit    []int     // [F], the validity bit of a channel, -1 where it is always valid
	Bits   int       // V
	X      []float32 // [N,F] channels, 0 where not valid
	Valid  []float32 // [N,V] validity bits, 0 or 1
	Limit  []float32 // [N] as Codec.Condition gives it
	Second []int     // [N] of its recording
	Median []float32 // [F], of what is valid: fills a window before its first measurement
	Start  []int     // into N
}

// NewWindows encodes recordings and cuts windows of length seconds that lie
// wholly in a split.
func NewWindows(c *Codec, recordings []telemetry.Recording, length int, split telemetry.Split) (Windows, error) {
	w := Windows{Length: length, Bit: c.bitOf(), Bits: c.Bits, Median: make([]float32, c.Channels)}
	seen := make([][]float32, c.Channels)
	for _, r := range recordings {
		x, bits, err := c.encode(r)
		if err != nil {
			return w, err
		}
		from := len(w.Limit)
		w.X, w.Valid = append(w.X, x...), append(w.Valid, bits...)
		for t := range r.Data.Len() {
			w.Limit, w.Second = append(w.Limit, c.Condition(int32(r.LimitAt(t)))), append(w.Second, t)
			for k, b := range w.Bit {
				if split.Holds(t) && (b < 0 || bits[t*c.Bits+b] == 1) {
					seen[k] = append(seen[k], x[t*c.Channels+k])
				}
			}
		}
		for _, t := range split.Windows(r.Data.Len(), length) {
			w.Start = append(w.Start, from+t)
		}
	}
	if len(w.Start) == 0 {
		return w, fmt.Errorf("timegan: no run of %d seconds to train on", length)
	}
	for k, s := range seen {
		slices.Sort(s)
		if len(s) > 0 {
			w.Median[k] = s[len(s)/2]
		}
	}
	return w, nil
}

// Channels is F.
func (w *Windows) Channels() int { return len(w.Bit) }

// batch is a batch of windows, time-major.
type batch struct {
	x     []float32 // [T,B,F], filled
	valid []float32 // [T,B,V]
	cond  []float32 // [T,B,C]
}

// draw fills b with the windows of an update: example i is drawn by
// (seed, update, i), whatever the batch.
func (w *Windows) draw(b *batch, c Config, seed uint64, update, pick uint32) {
	f, v, n, k := len(w.Bit), w.Bits, c.Batch, c.conditions()
	for i := range n {
		key := rng.Key{Seed: seed, A: update, B: uint32(i), Purpose: rng.BatchOrder}
		from := w.Start[key.Intn(pick, len(w.Start))]
		for t := range w.Length {
			row := t*n + i
			copy(b.x[row*f:(row+1)*f], w.X[(from+t)*f:])
			copy(b.valid[row*v:(row+1)*v], w.Valid[(from+t)*v:])
			c.condition(b.cond[row*k:(row+1)*k], w.Limit[from+t], w.Second[from+t])
		}
	}
	w.fill(b.x, b.valid, n)
}

// fill gives x [T,B,F] the gaps of valid [T,B,V]: where a channel is not
// valid it shows its last valid value, the median before the first.
func (w *Windows) fill(x, valid []float32, n int) {
	f, v := len(w.Bit), w.Bits
	for k, b := range w.Bit {
		if b < 0 {
			continue
		}
		for row := range w.Length * n {
			switch {
			case valid[row*v+b] == 1:
			case row < n:
				x[row*f+k] = w.Median[k]
			default:
				x[row*f+k] = x[(row-n)*f+k]
			}
		}
	}
}

// fillGrad is fill's backward: the gradient of a cell that was filled belongs
// to the cell that it shows.
func (w *Windows) fillGrad(dx, valid []float32, n int) {
	f, v := len(w.Bit), w.Bits
	for k, b := range w.Bit {
		if b < 0 {
			continue
		}
		for row := w.Length*n - 1; row >= 0; row-- {
			if valid[row*v+b] == 1 {
				continue
			}
			if row >= n {
				dx[(row-n)*f+k] += dx[row*f+k]
			}
			dx[row*f+k] = 0
		}
	}
}
