// Package rates turns sessions of packets into series of rates, bytes up and down
// a tick, as NetDiffus' series are.
package rates

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/planegym/planegym/traffic"
)

// Options say how series are cut. Zero values are the defaults in the comments.
type Options struct {
	Ticks int     // of a series; 128
	Tick  float64 // s; .01 of Flows, 1 of Windows
}

func (o Options) complete(tick float64) (Options, error) {
	if o.Ticks == 0 {
		o.Ticks = 128
	}
	if o.Tick == 0 {
		o.Tick = tick
	}
	if o.Ticks < 1 || o.Ticks > 1<<20 || !(o.Tick > 0) || math.IsInf(o.Tick, 0) {
		return o, fmt.Errorf("rates: %d ticks of %v s", o.Ticks, o.Tick)
	}
	return o, nil
}

// Schema is the schema of series of rates.
func Schema(labels []string, tick float64) traffic.Schema {
	return traffic.Schema{Labels: labels, Tick: tick, Steps: []traffic.Field{
		{Name: "up", Unit: "B", Kind: traffic.Size}, {Name: "down", Unit: "B", Kind: traffic.Size}}}
}

// Flows makes a series of every session, from its first packet on. Bytes after
// the last tick are left out, and counted.
func Flows(set *traffic.Set, o Options) (series *traffic.Set, left float64, err error) {
	if o, err = o.complete(.01); err != nil {
		return nil, 0, err
	}
	f, err := fieldsOf(&set.Of)
	if err != nil {
		return nil, 0, err
	}
	series = &traffic.Set{Of: Schema(set.Of.Labels, o.Tick)}
	for i := range set.Sessions {
		s := &set.Sessions[i]
		x := traffic.Session{Label: s.Label, Start: s.Start, Steps: make([]float64, 2*o.Ticks)}
		f.each(s, func(at, bytes float64, down int) {
			if t := (at - s.Start) / o.Tick; t < float64(o.Ticks) { // as a float: a gap may be of any length
				x.Steps[2*int(t)+down] += bytes
			} else {
				left += bytes
			}
		})
		series.Sessions = append(series.Sessions, x)
	}
	return series, left, nil
}

// Windows makes series of all packets of a set together: of its time, window
// after window, those in which something was sent. label is theirs. Bytes after
// 2⁴⁰ ticks are left out, and counted.
func Windows(set *traffic.Set, label string, o Options) (series *traffic.Set, left float64, err error) {
	if o, err = o.complete(1); err != nil {
		return nil, 0, err
	}
	f, err := fieldsOf(&set.Of)
	if err != nil {
		return nil, 0, err
	}
	at := map[int][]float64{}
	for i := range set.Sessions {
		f.each(&set.Sessions[i], func(when, bytes float64, down int) {
			t := when / o.Tick
			if !(t < 1<<40) {
				left += bytes
				return
			}
			w := int(t) / o.Ticks
			if at[w] == nil {
				at[w] = make([]float64, 2*o.Ticks)
			}
			at[w][2*(int(t)%o.Ticks)+down] += bytes
		})
	}
	series = &traffic.Set{Of: Schema([]string{label}, o.Tick)}
	for _, w := range slices.Sorted(maps.Keys(at)) {
		series.Sessions = append(series.Sessions, traffic.Session{Start: float64(w*o.Ticks) * o.Tick, Steps: at[w]})
	}
	return series, left, nil
}

type fields struct{ size, direction, gap, width int }

func fieldsOf(c *traffic.Schema) (fields, error) {
	direction, size, gap, err := c.Packets()
	if err != nil {
		return fields{}, fmt.Errorf("rates: %w", err)
	}
	return fields{size, direction, gap, len(c.Steps)}, nil
}

// each calls visit with the time, bytes and direction (1: down) of each packet.
func (f fields) each(s *traffic.Session, visit func(at, bytes float64, down int)) {
	at := s.Start
	for i := 0; i < len(s.Steps); i += f.width {
		x := s.Steps[i : i+f.width]
		at += x[f.gap]
		down := 0
		if x[f.direction] == 1 {
			down = 1
		}
		visit(at, x[f.size], down)
	}
}
