package live

import "time"

// clock aligns a clock of elsewhere with ours. What is stamped there comes
// here a delay later that is never negative, so the least difference seen
// between the two clocks is their offset, but for the least delay. It is taken
// over the last one to two spans, because clocks drift: 50 ppm are 3 ms in one.
// The offset of a minute is safe against delays that vary, and 1 Hz does not
// notice the least one.
type clock struct {
	started   bool
	span      int64 // when the current span began
	now, last int64 // least difference in the current span and the one before
	resets    uint64
}

const (
	clockSpan = int64(30 * time.Second)
	clockStep = int64(10 * time.Second) // a clock that jumps further was set, or began anew
	none      = 1<<63 - 1
)

// align is the time of our clock at which there was stamped what came at a
// time; never a later one. A stamp is in ns modulo wrap, 0: 2^64.
func (c *clock) align(at int64, stamp, wrap uint64) int64 {
	diff := at - int64(stamp)
	if wrap != 0 {
		// Of all times that have this stamp the one nearest to what is
		// expected: delays are shorter than half of the wrap.
		w := int64(wrap)
		diff = at - int64(stamp%wrap)
		if c.started {
			off := mod(diff-c.offset()+w/2, w) - w/2
			diff = c.offset() + off
		}
	}
	if c.started && (diff-c.offset() > clockStep || diff-c.offset() < -clockStep) {
		c.started = false
		c.resets++
	}
	switch {
	case !c.started:
		*c = clock{started: true, span: at, now: diff, last: none, resets: c.resets}
	case at-c.span >= 2*clockSpan:
		c.span, c.now, c.last = at, diff, none
	case at-c.span >= clockSpan:
		c.span, c.last, c.now = at, c.now, diff
	default:
		c.now = min(c.now, diff)
	}
	return at - (diff - c.offset())
}

// offset is our clock less the other.
func (c *clock) offset() int64 { return min(c.now, c.last) }

// measured is the offset between our clock since 1970, which began at base,
// and the other; 0 before any report came.
func (c *clock) measured(base time.Time) time.Duration {
	if !c.started {
		return 0
	}
	return time.Duration(c.offset() + base.UnixNano())
}
