package windows

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/seq"
)

// A column is generated in coordinates in which little has to be learnt:
//
//	y = v, or log v where it is above 0 and spans a decade
//	y -= α + β·y_of            where a line through an earlier column leaves a tenth of its deviation
//	x = y(t) - y(t-1), or y    the change where y is smooth
//
// x falls into quantile bins, one head a column; the first row's y has a head
// of its own.
type column struct {
	log         bool
	of          int // earlier column; -1
	alpha, beta float64
	change      bool
	lo, hi      float64 // range of y
	mean, dev   float64 // of y: the scale of inputs
	meanX, devX float64
	knots       []float64 // quantiles of y
}

type head struct {
	column int
	first  bool // of y in a window's first row
	bins   *seq.Bins
	given  []int
}

type codec struct {
	columns []column
	heads   []head
}

const (
	decade   = 10
	collapse = .1 // of the deviation is left: the column goes by another
	smooth   = .5 // the change's deviation over y's
	hats     = 8
	most     = 8 // earlier columns that a head is given
)

func newCodec(rows [][]float64, bins int) (*codec, error) {
	f := len(rows[0])
	k := &codec{columns: make([]column, f)}
	y := make([][]float64, f)
	for j := range f {
		lo, hi := math.Inf(1), math.Inf(-1)
		for t, r := range rows {
			if len(r) != f || r[j]-r[j] != 0 {
				return nil, fmt.Errorf("windows: row %d, column %d: expected a finite number", t+1, j+1)
			}
			lo, hi = min(lo, r[j]), max(hi, r[j])
		}
		c := &k.columns[j]
		c.of, c.log = -1, lo > 0 && hi > decade*lo
		for _, r := range rows {
			y[j] = append(y[j], c.scale(r[j]))
		}
	}
	raw := make([][]float64, f)
	for j := range f {
		raw[j] = slices.Clone(y[j])
		c := &k.columns[j]
		_, whole := sd(raw[j])
		best := collapse * whole
		for i := range j {
			if k.columns[i].of >= 0 {
				continue // not a chain of them
			}
			a, b := line(raw[i], raw[j])
			sum := 0.
			for t := range raw[j] {
				d := raw[j][t] - a - b*raw[i][t]
				sum += d * d / float64(len(rows))
			}
			if left := math.Sqrt(sum); left < best {
				best, c.of, c.alpha, c.beta = left, i, a, b
			}
		}
		if c.of >= 0 {
			for t := range y[j] {
				y[j][t] -= c.alpha + c.beta*raw[c.of][t]
			}
		}
		c.mean, c.dev = sd(y[j])
		c.dev = max(c.dev, 1e-12)
		c.lo, c.hi = slices.Min(y[j]), slices.Max(y[j])
		changes := make([]float64, len(y[j])-1)
		for t := range changes {
			changes[t] = y[j][t+1] - y[j][t]
		}
		_, dev := sd(changes)
		c.change = dev < smooth*c.dev
		x := y[j]
		if c.change {
			x = changes
		}
		c.meanX, c.devX = sd(x)
		c.devX = max(c.devX, 1e-12)
		sorted := slices.Sorted(slices.Values(y[j]))
		for i := range hats {
			if q := sorted[i*(len(sorted)-1)/(hats-1)]; len(c.knots) == 0 || q > c.knots[len(c.knots)-1] {
				c.knots = append(c.knots, q)
			}
		}
	}
	// What other columns a head is given: those that it goes with most, by the
	// correlation of what the heads draw.
	for _, first := range []bool{true, false} {
		var drawn [][]float64
		from := len(k.heads)
		for j := range f {
			c := &k.columns[j]
			x := y[j]
			if c.change && !first {
				x = make([]float64, len(y[j]))
				for t := 1; t < len(x); t++ {
					x[t] = y[j][t] - y[j][t-1]
				}
			}
			fitted := x
			if !first {
				fitted = x[1:]
			}
			b, err := seq.NewBins(fitted, bins)
			if err != nil {
				return nil, err
			}
			var given []int
			for i := range j {
				given = append(given, i)
			}
			ranks := func(i int) float64 { return -math.Abs(correlation(drawn[i], x)) }
			if len(given) > most {
				slices.SortFunc(given, func(a, b int) int { return cmp.Compare(ranks(a), ranks(b)) })
				given = given[:most]
				slices.Sort(given)
			}
			for i := range given {
				given[i] += from
			}
			k.heads = append(k.heads, head{column: j, first: first, bins: b, given: given})
			drawn = append(drawn, x)
		}
	}
	return k, nil
}

func (c *column) scale(v float64) float64 {
	if c.log {
		return math.Log(v)
	}
	return v
}

// line is the least-squares line of y over x.
func line(x, y []float64) (a, b float64) {
	mx, dx := sd(x)
	my, _ := sd(y)
	if dx == 0 {
		return my, 0
	}
	for t := range x {
		b += (x[t] - mx) * (y[t] - my) / float64(len(x)) / (dx * dx)
	}
	return my - b*mx, b
}

func correlation(x, y []float64) float64 {
	mx, dx := sd(x)
	my, dy := sd(y)
	sum := 0.
	for t := range x {
		sum += (x[t] - mx) * (y[t] - my)
	}
	if dx == 0 || dy == 0 {
		return 0
	}
	return sum / float64(len(x)) / dx / dy
}

// network is the sizes of the model.
func (k *codec) network(hidden int) seq.Config {
	n := seq.Config{Dense: k.numbers(), Hidden: hidden}
	for _, h := range k.heads {
		n.Heads = append(n.Heads, seq.Head{Name: fmt.Sprint(h.column, h.first), Size: h.bins.Len(), Given: h.given})
	}
	return n
}

// numbers is how many an input has: of each column y and x of the last row and
// where y is among its quantiles; whether this is the first row.
func (k *codec) numbers() int { return len(k.columns)*(2+hats) + 1 }

// track is rows in the codec's coordinates.
type track struct {
	y, x    []float64 // [N,F]
	raw     []float64 // [N,F] y before a line is taken off
	classes []int32   // [N,heads]
}

func (k *codec) newTrack(n int) *track {
	f := len(k.columns)
	return &track{y: make([]float64, n*f), x: make([]float64, n*f), raw: make([]float64, n*f)}
}

func (k *codec) encode(rows [][]float64) *track {
	f, h := len(k.columns), len(k.heads)
	t := k.newTrack(len(rows))
	t.classes = make([]int32, len(rows)*h)
	for i, r := range rows {
		for j := range f {
			c := &k.columns[j]
			at := i*f + j
			t.raw[at] = c.scale(r[j])
			t.y[at] = t.raw[at]
			if c.of >= 0 {
				t.y[at] -= c.alpha + c.beta*t.raw[i*f+c.of]
			}
			t.x[at] = t.y[at]
			if c.change && i > 0 {
				t.x[at] = t.y[at] - t.y[at-f]
			}
		}
		for j, hd := range k.heads {
			v := t.x[i*f+hd.column]
			if hd.first {
				v = t.y[i*f+hd.column]
			}
			t.classes[i*h+j] = hd.bins.Encode(v)
		}
	}
	return t
}

// input writes what the network reads before row step of a window; at is the
// row of t that came before.
func (k *codec) input(to []float32, t *track, at, step int) {
	clear(to)
	to[len(to)-1] = 1
	if step == 0 {
		return
	}
	to[len(to)-1] = 0
	f := len(k.columns)
	for j := range k.columns {
		c := &k.columns[j]
		o := to[j*(2+hats):][:2+hats]
		y, x := t.y[at*f+j], t.x[at*f+j]
		o[0] = clip((y - c.mean) / c.dev)
		if step > 1 || !c.change {
			o[1] = clip((x - c.meanX) / c.devX)
		}
		i, _ := slices.BinarySearch(c.knots, y)
		switch n := len(c.knots); {
		case i == 0:
			o[2] = 1
		case i == n:
			o[2+n-1] = 1
		default:
			w := float32((y - c.knots[i-1]) / (c.knots[i] - c.knots[i-1]))
			o[2+i-1], o[2+i] = 1-w, w
		}
	}
}

func clip(x float64) float32 { return float32(min(max(x, -4), 4)) }

// settle makes x the head's draw in row i, and moves y of its column.
func (k *codec) settle(t *track, i int, h *head, x float64) {
	c := &k.columns[h.column]
	at := i*len(k.columns) + h.column
	before := t.y[at]
	t.y[at] = x
	if c.change && !h.first {
		t.y[at] = min(max(before+x, c.lo), c.hi)
	}
	t.x[at] = t.y[at]
	if c.change {
		t.x[at] = t.y[at] - before
	}
	t.raw[at] = t.y[at]
	if c.of >= 0 {
		t.raw[at] += c.alpha + c.beta*t.raw[i*len(k.columns)+c.of]
	}
}

// values writes row i as it is measured.
func (k *codec) values(t *track, i int, to []float64) {
	for j := range k.columns {
		to[j] = t.raw[i*len(k.columns)+j]
		if k.columns[j].log {
			to[j] = math.Exp(to[j])
		}
	}
}
