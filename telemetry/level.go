package telemetry

import (
	"cmp"
	"math"
	"slices"
)

// Quality is what a player reports of the representation it plays; 0 where it
// does not.
type Quality struct {
	FPS, Kbps, Width, Height float32
}

// Ladder are the representations of a video, from the lowest. What they consist
// of is one category: rungs may share a frame rate, or a size. A nil Ladder is
// the published one, recognised by its frame rates.
type Ladder []Quality

// Published are the representations of the published recordings' video.
func Published() Ladder {
	return Ladder{
		{18, 639, 426, 240},
		{24, 1867, 854, 480},
		{30, 3312, 1280, 720},
	}
}

// maxRungs is the most combinations of quality columns that are a ladder.
const maxRungs = 16

// LadderOf is the ladder that recordings show, by bitrate; nil where they show
// rungs of the published one alone, none, or more combinations than a ladder has.
func LadderOf(data ...*Dataset) Ladder {
	var l Ladder
	for _, d := range data {
		at := [4]int{d.Column("fps"), d.Column("rep_kbps"), d.Column("width"), d.Column("height")}
	next:
		for t := range d.Len() {
			var v [4]float32
			for i, c := range at {
				ok := false
				if c >= 0 {
					if v[i], ok = d.At(t, c); !ok {
						continue next
					}
				}
			}
			if q := (Quality{v[0], v[1], v[2], v[3]}); q != (Quality{}) && !slices.Contains(l, q) {
				l = append(l, q)
			}
			if len(l) > maxRungs {
				return nil
			}
		}
	}
	return l.orPublished()
}

// orPublished is l from the lowest, nil if all of its rungs are published ones.
func (l Ladder) orPublished() Ladder {
	known := 0
	for _, q := range l {
		for _, p := range Published() {
			same := true
			for i, v := range q.values() {
				same = same && (v == 0 || v == p.values()[i])
			}
			if same {
				known++
				break
			}
		}
	}
	if known == len(l) {
		return nil
	}
	l = slices.Clone(l)
	slices.SortFunc(l, func(a, b Quality) int {
		return cmp.Or(cmp.Compare(a.Kbps, b.Kbps), cmp.Compare(a.Height, b.Height), cmp.Compare(a.Width, b.Width), cmp.Compare(a.FPS, b.FPS))
	})
	return l
}

// NewLadder is a ladder of rungs in any order.
func NewLadder(rungs ...Quality) Ladder { return Ladder(rungs).orPublished() }

// LadderOfLevels is the ladder whose rungs have these values, by column.
func LadderOfLevels(columns map[string][]float32) Ladder {
	var rungs []Quality
	for name, levels := range columns {
		for i, v := range levels {
			for i >= len(rungs) {
				rungs = append(rungs, Quality{})
			}
			switch q := &rungs[i]; name {
			case "fps":
				q.FPS = v
			case "rep_kbps":
				q.Kbps = v
			case "width":
				q.Width = v
			case "height":
				q.Height = v
			}
		}
	}
	return NewLadder(rungs...)
}

// Rungs is how many representations there are.
func (l Ladder) Rungs() int {
	if l == nil {
		return len(Published())
	}
	return len(l)
}

// TopKbps is the bitrate of the highest, kbit/s.
func (l Ladder) TopKbps() float32 {
	if l == nil {
		l = Published()
	}
	return l[len(l)-1].Kbps
}

// Rung is which of them, from 0, q shows.
func (l Ladder) Rung(q Quality) int {
	if l == nil {
		return Level(q.FPS)
	}
	return l.nearest(q)
}

// Class is 2 for the highest rung, 0 for the lowest and 1 for those between.
func (l Ladder) Class(q Quality) int {
	switch n := l.Rung(q); n {
	case l.Rungs() - 1:
		return 2
	case 0:
		return 0
	}
	return 1
}

// Level is the level of the published ladder nearest to q, see Rung.
func (q Quality) Level() int { return Published().nearest(q) }

// nearest is the rung nearest to q: distances are summed over what q tells, each
// in spans of the ladder. The higher of two as near; the lowest where q tells
// nothing.
func (l Ladder) nearest(q Quality) int {
	if q == (Quality{}) {
		return 0
	}
	var best int
	least := math.Inf(1)
	var low, top [4]float32
	for k, r := range l {
		for i, v := range r.values() {
			if k == 0 || v < low[i] {
				low[i] = v
			}
			top[i] = max(top[i], v)
		}
	}
	for rung, r := range l {
		var far float64
		for i, v := range r.values() {
			if x := q.values()[i]; x != 0 && top[i] > low[i] {
				far += math.Abs(float64(x-v)) / float64(top[i]-low[i])
			}
		}
		if far <= least {
			best, least = rung, far
		}
	}
	return best
}

// Level is the level of the ladder nearest to a frame rate, 0…2: Quality.Level of
// what tells nothing else.
func Level(fps float32) int {
	switch {
	case fps >= 27: // between 24 and 30
		return 2
	case fps >= 21:
		return 1
	}
	return 0
}

func (q Quality) values() [4]float32 { return [4]float32{q.FPS, q.Kbps, q.Width, q.Height} }

// Levels are the quality level of each second and whether any of its columns
// was measured. Published()[level] is the way back.
func (d *Dataset) Levels() ([]int, []bool) {
	levels, valid := make([]int, d.Len()), make([]bool, d.Len())
	fps, kbps, width, height := d.Column("fps"), d.Column("rep_kbps"), d.Column("width"), d.Column("height")
	for t := range levels {
		get := func(c int) float32 {
			if c < 0 {
				return 0
			}
			v, ok := d.At(t, c)
			if !ok {
				return 0
			}
			valid[t] = true
			return v
		}
		levels[t] = Quality{get(fps), get(kbps), get(width), get(height)}.Level()
	}
	return levels, valid
}
