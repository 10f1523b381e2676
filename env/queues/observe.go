package queues

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// Observation says what an agent sees of a window. The names:
//
//   - "state" (default): of each switch the largest, mean and 95th percentile
//     of queue depth and queueing delay over the window; LBO, quality level,
//     the action in force, and how old the INT values are.
//   - "tutorial": the INT values of the window's last second, as published.
//   - "window": every value of the window, then a 1 or 0 for each, valid or
//     not, then the action in force.
//
// Normalise is "fit" (default: each value through the scaler fitted to the
// plant's data, into [0, 1]), "l2" (the sample divided by its norm, as
// published) or "none".
type Observation struct {
	Name      string `toml:"name"`      // "state" (default), "tutorial" or "window"
	Normalise string `toml:"normalise"` // "fit" (default), "l2" or "none"
}

// Normaliser maps a value of a plant's column into [0, 1], fitted once to data.
type Normaliser interface {
	Scale(column int, x float32) float32
}

func (o Observation) withDefaults() (Observation, error) {
	if o.Name == "" {
		o.Name = "state"
	}
	if o.Normalise == "" {
		o.Normalise = "fit"
	}
	switch o.Name {
	case "state", "tutorial", "window":
	default:
		return o, fmt.Errorf(`env: observation: name: %q is not one of "state", "tutorial", "window"`, o.Name)
	}
	switch o.Normalise {
	case "fit", "l2", "none":
	default:
		return o, fmt.Errorf(`env: observation: normalise: %q is not one of "fit", "l2", "none"`, o.Normalise)
	}
	return o, nil
}

const (
	maxAge = 60 // seconds; the age of an INT value is capped here
)

// element is one number of an observation.
type element struct {
	telemetry.Field
	column int     // whose scaler normalises it; -1 where top does
	top    float32 // largest value, where column is -1
}

// observer makes observations of windows.
type observer struct {
	Observation
	columns
	elements []element
	scaler   Normaliser
	actions  int // S
	seconds  int
	fields   int
	sorted   []float32 // scratch [T]
}

func newObserver(o Observation, c columns, fields []telemetry.Field, seconds, actions, limits int, scaler Normaliser) (*observer, error) {
	if o.Normalise == "fit" && scaler == nil {
		return nil, fmt.Errorf(`env: observation: normalise: "fit" needs a scaler fitted to the plant's data, and there is none`)
	}
	b := &observer{
		Observation: o, columns: c, scaler: scaler, actions: actions,
		seconds: seconds, fields: len(fields), sorted: make([]float32, 0, seconds),
	}
	add := func(column int, suffix string) {
		f := fields[column]
		f.Name += suffix
		b.elements = append(b.elements, element{Field: f, column: column})
	}
	plain := func(name, unit string, top int) {
		b.elements = append(b.elements, element{Field: telemetry.Field{Name: name, Unit: unit}, column: -1, top: float32(top)})
	}
	action := func() {
		for s := range actions {
			plain(fmt.Sprintf("action%d", s+1), "", max(limits-1, 1))
		}
	}
	switch o.Name {
	case "state":
		for s := range c.depth {
			for _, column := range []int{c.depth[s], c.delay[s]} {
				add(column, "_max")
				add(column, "_mean")
				add(column, "_p95")
			}
		}
		add(c.lbo, "")
		plain("level", "", max(c.ladder.Rungs()-1, 1))
		action()
		plain("int_age", "s", maxAge)
	case "tutorial":
		for s := range c.depth {
			for _, column := range []int{c.depth[s], c.delay[s], c.out[s]} {
				add(column, "")
			}
		}
	case "window":
		for t := range seconds {
			for f := range fields {
				add(f, fmt.Sprintf("[%d]", t))
			}
		}
		for t := range seconds {
			for _, f := range fields {
				plain(fmt.Sprintf("%s_valid[%d]", f.Name, t), "", 1)
			}
		}
		action()
	}
	return b, nil
}

// box is the space of the observations.
func (b *observer) box() env.Box {
	d := len(b.elements)
	box := env.Box{Low: make([]float32, d), High: make([]float32, d), Elements: make([]telemetry.Field, d)}
	for i, e := range b.elements {
		box.Elements[i] = e.Field
		switch {
		case b.Normalise != "none":
			box.High[i], box.Elements[i].Unit = 1, ""
			if b.Normalise == "l2" {
				box.Low[i] = -1
			}
		case e.column < 0:
			box.High[i] = e.top
		default:
			box.Low[i], box.High[i] = float32(math.Inf(-1)), float32(math.Inf(1))
		}
	}
	return box
}

// observe fills dst [D] from one row's window, the actions in force and the
// age of its INT values in seconds, maxAge at most.
func (b *observer) observe(dst, values []float32, valid []bool, actions []int32, age int) {
	d := dst[:0]
	last := values[(b.seconds-1)*b.fields:]
	action := func() {
		for _, a := range actions {
			d = append(d, float32(a))
		}
	}
	switch b.Name {
	case "state":
		for s := range b.depth {
			for _, column := range [2]int{b.depth[s], b.delay[s]} {
				top, mean, p95 := b.summary(values, valid, column)
				d = append(d, top, mean, p95)
			}
		}
		d = append(d, last[b.lbo], float32(b.ladder.Rung(telemetry.Quality{FPS: last[b.fps], Kbps: last[b.kbps]})))
		action()
		d = append(d, float32(age))
	case "tutorial":
		for s := range b.depth {
			d = append(d, last[b.depth[s]], last[b.delay[s]], last[b.out[s]])
		}
	case "window":
		d = append(d, values...)
		for _, v := range valid {
			if v {
				d = append(d, 1)
			} else {
				d = append(d, 0)
			}
		}
		action()
	}
	switch b.Normalise {
	case "fit":
		for i, e := range b.elements {
			if e.column >= 0 {
				d[i] = min(max(b.scaler.Scale(e.column, d[i]), 0), 1)
			} else {
				d[i] = min(d[i]/e.top, 1)
			}
		}
	case "l2":
		var sum float64
		for _, x := range d {
			sum += float64(x) * float64(x)
		}
		if sum > 0 {
			norm := 1 / math.Sqrt(sum)
			for i := range d {
				d[i] = float32(min(max(float64(d[i])*norm, -1), 1))
			}
		}
	}
}

// summary is largest, mean and 95th percentile (linear interpolation) of a
// column over the window's valid seconds, or over all where none is valid:
// those then repeat the last good value.
func (b *observer) summary(values []float32, valid []bool, column int) (top, mean, p95 float32) {
	s := b.sorted[:0]
	for pass := 0; pass < 2 && len(s) == 0; pass++ {
		for i := column; i < len(values); i += b.fields {
			if !valid[i] && pass == 0 {
				continue
			}
			s = append(s, values[i])
			for j := len(s) - 1; j > 0 && s[j] < s[j-1]; j-- {
				s[j], s[j-1] = s[j-1], s[j]
			}
		}
	}
	var sum float64
	for _, x := range s {
		sum += float64(x)
	}
	at := .95 * float64(len(s)-1)
	i := int(at)
	p := float64(s[i])
	if i+1 < len(s) {
		p += float64((float64(s[i+1]) - p) * (at - float64(i)))
	}
	return s[len(s)-1], float32(sum / float64(len(s))), float32(p)
}
