package telemetry

import "math"

// Quality is what a player tells of the representation it plays; 0 where it
// does not.
type Quality struct {
	FPS, Kbps, Width, Height float32
}

// Ladder are the representations of the recorded video, from the lowest. FPS,
// bitrate and resolution are one category with as many levels.
func Ladder() [3]Quality {
	return [...]Quality{
		{18, 639, 426, 240},
		{24, 1867, 854, 480},
		{30, 3312, 1280, 720},
	}
}

// Level is the level of the ladder nearest to q: distances are summed over
// what q tells, each in spans of the ladder. The higher of two as near; the
// lowest where q tells nothing.
func (q Quality) Level() int {
	if q == (Quality{}) {
		return 0
	}
	best, nearest := 0, math.Inf(1)
	ladder := Ladder()
	low, top := ladder[0].values(), ladder[len(ladder)-1].values()
	for level, l := range ladder {
		var far float64
		for i, v := range l.values() {
			if x := q.values()[i]; x != 0 {
				far += math.Abs(float64(x-v)) / float64(top[i]-low[i])
			}
		}
		if far <= nearest {
			best, nearest = level, far
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
// was measured. Ladder()[level] is the way back.
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
