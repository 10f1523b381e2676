package live

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Pace is how fast a switch's clock goes beside ours: 1 where both have one
// unit, 0.001 where its stamps count microseconds that are read as
// nanoseconds, 0 where they stand still. NaN until it is known.
type Pace float64

// paceTime is how long a clock is watched before its pace is known, and
// paceReports of how many reports.
const (
	paceTime    = time.Second
	paceReports = 5
)

// Fault says what is wrong with a clock of a pace, and how it is mended: stamps
// are read in units of tick. "" where nothing is, or nothing is known.
func (p Pace) Fault(tick time.Duration) string {
	if tick == 0 {
		tick = 1
	}
	switch f := float64(p); {
	case math.IsNaN(f) || f > .3 && f < 3:
		return ""
	case f == 0:
		return "its times stand still: set no_times = true (--no-times), and reports are put where they come in"
	default:
		unit := float64(tick) / f
		digit := math.Pow(10, math.Floor(math.Log10(unit)))
		unit = math.Round(unit/digit) * digit // the clocks are not quite of one pace
		how := strconv.FormatFloat(float64(tick)/unit, 'f', -1, 64) + " times too fast"
		if f < 1 {
			how = strconv.FormatFloat(unit/float64(tick), 'f', -1, 64) + " times too slowly"
		}
		if unit < 1 || unit > float64(time.Second) {
			return fmt.Sprintf("its times go %s: no unit of ns to s is theirs", how)
		}
		return fmt.Sprintf("its times go %s: set tick_ns = %.0f (--tick %v), their unit", how, unit, time.Duration(unit))
	}
}

// MarshalJSON writes null for a pace that is not known.
func (p Pace) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(p)) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(p), 'g', 6, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Pace) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*p = Pace(math.NaN())
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	*p = Pace(f)
	return err
}

// ClockFault says what is wrong with the clock of switch i, counted from 0, and
// how it is mended; "" where nothing is, or nothing is known yet. Times that go
// at another pace than ours put reports where they do not belong, and make
// delays of them that are none.
func (c *Collector) ClockFault(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paces[i].Pace().Fault(c.cfg.Decode.Tick)
}

// Pacer measures the pace of one clock.
type Pacer struct {
	reports     int
	first       int64 // ns of ours, of the first stamp
	at          int64 // and of the last
	last, moved uint64
}

// Add takes a stamp, in ns modulo wrap (0: 2^64), that came at a time of ours.
func (p *Pacer) Add(at int64, stamp, wrap uint64) {
	if p.reports++; p.reports == 1 {
		p.first, p.at, p.last = at, at, stamp
		return
	}
	ahead, half := stamp-p.last, uint64(1)<<63
	if wrap != 0 {
		ahead, half = (stamp+wrap-p.last)%wrap, wrap/2
	}
	if ahead > half { // out of order
		return
	}
	p.moved += ahead
	p.at, p.last = at, stamp
}

// Pace is what is known so far: a clock is watched for a second and five stamps.
func (p *Pacer) Pace() Pace {
	d := p.at - p.first
	if d < int64(paceTime) || p.reports < paceReports {
		return Pace(math.NaN())
	}
	return Pace(float64(p.moved) / float64(d))
}
