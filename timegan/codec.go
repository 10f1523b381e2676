package timegan

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/telemetry"
)

// quality are the fields that are one categorical variable: the rung of the
// bitrate ladder that the player shows.
var quality = []string{"fps", "rep_kbps", "width", "height"}

// Kind says how a field is modelled.
type Kind string

// The kinds of fields.
const (
	Constant   Kind = "constant"   // has one value and no channel
	Continuous Kind = "continuous" // one channel, by the scaler
	Categories Kind = "category"   // shares the channels of the quality level
)

// Column is a field that is generated.
type Column struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit,omitempty"`
	Kind    Kind      `json:"kind"`
	Value   float32   `json:"value,omitempty"`   // of a constant
	Integer bool      `json:"integer,omitempty"` // was never measured otherwise: is rounded
	Fall    float32   `json:"fall,omitempty"`    // the largest change down from one second to the next, ≤ 0; 0 with Rise 0: no bound
	Rise    float32   `json:"rise,omitempty"`    // and up, ≥ 0
	Knots   []float32 `json:"knots,omitempty"`   // of the scaler: see scale
	Levels  []float32 `json:"levels,omitempty"`  // of a category, by level
	Channel int       `json:"channel"`           // its first; -1 without
	Bit     int       `json:"bit"`               // its validity's; -1 where it is always valid
}

// Codec turns measured fields into the channels that networks see, all in
// [0, 1], and back.
type Codec struct {
	Columns  []Column `json:"columns"`
	Channels int      `json:"channels"`         // F
	Bits     int      `json:"bits"`             // V, validity bits: fields that are valid together share one
	Levels   int      `json:"levels"`           // of the quality, the last so many channels
	Margin   float32  `json:"margin,omitempty"` // by which a level's channel must lead for the quality to change to it
	Lo       int32    `json:"lo"`               // the limits that were trained under, packets
	Hi       int32    `json:"hi"`
}

// margin is Codec.Margin: a rollout whose two best levels are nearly equal does
// not flicker between them.
const margin = .5

// NewCodec fits the codec to a split of recordings. knots is how many
// quantiles a channel's scaler has; 2 is min-max.
func NewCodec(recordings []telemetry.Recording, knots int, split telemetry.Split) (*Codec, error) {
	if len(recordings) == 0 {
		return nil, fmt.Errorf("timegan: there is no recording")
	}
	if knots < 2 {
		return nil, fmt.Errorf("timegan: a scaler of %d knots", knots)
	}
	fields := recordings[0].Data.Fields()
	for i, r := range recordings {
		if r.Switches() > 1 {
			return nil, fmt.Errorf("timegan: recording %d has a limit for each switch: this model knows one for all, closed_loop knows several", i+1)
		}
	}
	first := int32(recordings[0].LimitAt(0))
	c := &Codec{Lo: first, Hi: first}
	for _, r := range recordings {
		if !slices.Equal(r.Data.Fields(), fields) {
			return nil, fmt.Errorf("timegan: the recordings of limits %d and %d have different fields", recordings[0].Limit, r.Limit)
		}
		for t := range r.Data.Len() {
			l := int32(r.LimitAt(t))
			c.Lo, c.Hi = min(c.Lo, l), max(c.Hi, l)
		}
	}
	levels, err := findLevels(recordings, fields, split)
	if err != nil {
		return nil, err
	}
	var masks [][]bool
	for k, f := range fields {
		col := Column{Name: f.Name, Unit: f.Unit, Kind: Continuous, Channel: -1, Bit: -1}
		if q := slices.Index(quality, f.Name); q >= 0 && levels != nil {
			col.Kind = Categories
			for _, l := range levels {
				col.Levels = append(col.Levels, l[q])
			}
			c.Columns = append(c.Columns, col)
			continue
		}
		var x []float64
		var mask []bool
		gap := false
		for _, r := range recordings {
			for t := range r.Data.Len() {
				if !split.Holds(t) {
					continue
				}
				v, ok := r.Data.At(t, k)
				if ok {
					x = append(x, float64(v))
				}
				mask = append(mask, ok)
				gap = gap || !ok
			}
		}
		if len(x) == 0 {
			return nil, fmt.Errorf("timegan: %s was never measured in the seconds trained on", f.Name)
		}
		slices.Sort(x)
		if x[0] == x[len(x)-1] {
			col.Kind, col.Value = Constant, float32(x[0])
			c.Columns = append(c.Columns, col)
			continue
		}
		col.Fall, col.Rise = changes(recordings, k, split)
		col.Integer = !slices.ContainsFunc(x, func(v float64) bool { return v != math.Trunc(v) })
		for i := range knots {
			col.Knots = append(col.Knots, float32(knot(x, float64(i)/float64(knots-1))))
		}
		col.Channel = c.Channels
		c.Channels++
		if gap {
			col.Bit = slices.IndexFunc(masks, func(m []bool) bool { return slices.Equal(m, mask) })
			if col.Bit < 0 {
				col.Bit = len(masks)
				masks = append(masks, mask)
			}
		}
		c.Columns = append(c.Columns, col)
	}
	c.Bits, c.Levels, c.Margin = len(masks), len(levels), margin
	for i := range c.Columns {
		if c.Columns[i].Kind == Categories {
			c.Columns[i].Channel = c.Channels
		}
	}
	c.Channels += c.Levels
	if c.Channels == 0 {
		return nil, fmt.Errorf("timegan: every field of the seconds trained on is constant")
	}
	return c, nil
}

// changes are the largest change down and up of a field between two seconds
// that follow each other, measured both, in a split.
func changes(recordings []telemetry.Recording, field int, split telemetry.Split) (fall, rise float32) {
	for _, r := range recordings {
		for t := 1; t < r.Data.Len(); t++ {
			before, ok := r.Data.At(t-1, field)
			now, too := r.Data.At(t, field)
			if ok && too && split.Holds(t-1) && split.Holds(t) {
				fall, rise = min(fall, now-before), max(rise, now-before)
			}
		}
	}
	return fall, rise
}

// free takes the bounds away that decode puts on changes.
func (c *Codec) free() {
	c.Margin = 0
	for i := range c.Columns {
		c.Columns[i].Fall, c.Columns[i].Rise = 0, 0
	}
}

// findLevels gives the combinations of the quality fields, sorted, or nil
// where there are none.
func findLevels(recordings []telemetry.Recording, fields []telemetry.Field, split telemetry.Split) ([][]float32, error) {
	var at []int
	for _, q := range quality {
		at = append(at, slices.IndexFunc(fields, func(f telemetry.Field) bool { return f.Name == q }))
	}
	if slices.Max(at) < 0 {
		return nil, nil
	}
	var levels [][]float32
	for _, r := range recordings {
		for t := range r.Data.Len() {
			if !split.Holds(t) {
				continue
			}
			level := make([]float32, len(at))
			whole := true
			for q, k := range at {
				if k < 0 {
					continue
				}
				ok := false
				level[q], ok = r.Data.At(t, k)
				whole = whole && ok
			}
			if whole && !slices.ContainsFunc(levels, func(l []float32) bool { return slices.Equal(l, level) }) {
				levels = append(levels, level)
			}
		}
	}
	if len(levels) == 0 {
		return nil, fmt.Errorf("timegan: the quality that the player shows, %v, was never measured in the seconds trained on", quality)
	}
	if len(levels) > 16 {
		return nil, fmt.Errorf("timegan: %v have %d combinations: more than 16 do not make a ladder", quality, len(levels))
	}
	slices.SortFunc(levels, slices.Compare)
	return levels, nil
}

// knot is the value at u of a scale that is half the share of measurements
// below a value and half its place in their range: x sorted, not constant. So
// what is frequent is seen finely, and two regimes stay apart as they are.
func knot(x []float64, u float64) float64 {
	lo, span := x[0], x[len(x)-1]-x[0]
	a, b := 0., 1.
	for range 40 {
		p := (a + b) / 2
		if (p+(telemetry.Quantile(x, p)-lo)/span)/2 < u {
			a = p
		} else {
			b = p
		}
	}
	switch u {
	case 0:
		return lo
	case 1:
		return lo + span
	}
	return telemetry.Quantile(x, (a+b)/2)
}

// scale gives x's place among the knots, in [0, 1], piecewise linear. A value
// that fills several knots maps to their middle.
func (c *Column) scale(x float32) float32 {
	n := len(c.Knots) - 1
	lo, _ := slices.BinarySearch(c.Knots, x) // the first knot ≥ x
	hi := lo
	for hi <= n && c.Knots[hi] == x {
		hi++
	}
	switch {
	case hi > lo: // knots lo…hi-1 are x
		return float32(lo+hi-1) / float32(2*n)
	case lo == 0:
		return 0
	case lo > n:
		return 1
	}
	a, b := c.Knots[lo-1], c.Knots[lo]
	return (float32(lo-1) + (x-a)/(b-a)) / float32(n)
}

// unscale is the inverse of scale, rounded where the column is an integer.
func (c *Column) unscale(u float32) float32 {
	n := len(c.Knots) - 1
	at := min(max(u, 0), 1) * float32(n)
	i := min(int(at), n-1)
	x := c.Knots[i] + (c.Knots[i+1]-c.Knots[i])*(at-float32(i))
	if c.Integer {
		x = float32(math.RoundToEven(float64(x)))
	}
	return x
}

// Condition is the input that stands for a limit in the networks: 0 for the
// smallest trained under, 1 for the largest.
func (c *Codec) Condition(limit int32) float32 {
	return float32(limit-c.Lo) / float32(max(c.Hi-c.Lo, 1))
}

// encode gives a recording's channels [T,F] and validity bits [T,V]; where a
// channel is not valid it is 0.
func (c *Codec) encode(r telemetry.Recording) (x, bits []float32, err error) {
	n := r.Data.Len()
	x, bits = make([]float32, n*c.Channels), make([]float32, n*c.Bits)
	for j := range c.Columns {
		col := &c.Columns[j]
		k := r.Data.Column(col.Name)
		if k < 0 {
			return nil, nil, fmt.Errorf("timegan: the recording of limit %d has no %s", r.Limit, col.Name)
		}
		if col.Channel < 0 {
			continue
		}
		for t := range n {
			v, ok := r.Data.At(t, k)
			switch {
			case col.Kind == Categories && col.Name != c.category():
			case col.Kind == Categories: // at a gap the quality is the last one shown
				x[t*c.Channels+col.Channel+c.nearest(r.Data, t)] = 1
			case !ok:
			default:
				x[t*c.Channels+col.Channel] = col.scale(v)
				if col.Bit >= 0 {
					bits[t*c.Bits+col.Bit] = 1
				}
			}
		}
	}
	return x, bits, nil
}

// nearest is the level of the quality that second t shows: of all its columns
// together, because one alone, as a frame rate that rungs share, does not tell
// them apart. Distances are in spans of each column's levels.
func (c *Codec) nearest(d *telemetry.Dataset, t int) int {
	best, least := 0, math.Inf(1)
	for l := range c.Levels {
		far := 0.
		for j := range c.Columns {
			col := &c.Columns[j]
			if col.Kind != Categories {
				continue
			}
			v, _ := d.At(t, d.Column(col.Name))
			span := float64(slices.Max(col.Levels) - slices.Min(col.Levels))
			if span == 0 {
				continue
			}
			far += math.Abs(float64(v)-float64(col.Levels[l])) / span
		}
		if far < least {
			best, least = l, far
		}
	}
	return best
}

// category is the first column of the quality level, which encodes it.
func (c *Codec) category() string {
	for _, col := range c.Columns {
		if col.Kind == Categories {
			return col.Name
		}
	}
	return ""
}

// bitOf gives, by channel, the validity bit; -1 where it is always valid.
func (c *Codec) bitOf() []int {
	b := make([]int, c.Channels)
	for i := range b {
		b[i] = -1
	}
	for _, col := range c.Columns {
		if col.Channel >= 0 && col.Kind != Categories {
			b[col.Channel] = col.Bit
		}
	}
	return b
}

// decode writes the values [len(c.Columns)] that one second's channels stand
// for. Where it follows another, whose values are there still, a value moves
// no farther than in any second of training, and the quality changes only
// where another level's channel leads by Margin.
func (c *Codec) decode(x, values []float32, follows bool) {
	levels, best := x[c.Channels-c.Levels:c.Channels], 0
	for l := range levels {
		if levels[l] > levels[best] {
			best = l
		}
	}
	if follows {
		if l := c.level(values); l >= 0 && levels[best] < levels[l]+c.Margin {
			best = l
		}
	}
	for j := range c.Columns {
		col := &c.Columns[j]
		switch col.Kind {
		case Constant:
			values[j] = col.Value
		case Continuous:
			v := col.unscale(x[col.Channel])
			if follows && col.Rise > col.Fall {
				v = min(max(v, values[j]+col.Fall), values[j]+col.Rise)
			}
			values[j] = v
		case Categories:
			values[j] = col.Levels[best]
		}
	}
}

// level is the quality's level that values show, -1 where there is none.
func (c *Codec) level(values []float32) int {
next:
	for l := range c.Levels {
		for j := range c.Columns {
			if col := &c.Columns[j]; col.Kind == Categories && col.Levels[l] != values[j] {
				continue next
			}
		}
		return l
	}
	return -1
}

// Scale puts a value of a column in [0, 1] of the range that was trained on:
// what an agent is shown of a simulation, as telemetry's min-max scaler shows
// it of the recordings.
func (c *Codec) Scale(column int, x float32) float32 {
	col := &c.Columns[column]
	lo, hi := col.Value, col.Value
	switch col.Kind {
	case Continuous:
		lo, hi = col.Knots[0], col.Knots[len(col.Knots)-1]
	case Categories:
		lo, hi = slices.Min(col.Levels), slices.Max(col.Levels)
	}
	if hi > lo {
		return float32((float64(x) - float64(lo)) / (float64(hi) - float64(lo)))
	}
	return x - lo
}
