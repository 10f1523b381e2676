package seq

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// Bins turns numbers into classes and back: quantile bins, and atoms where one
// value is common. A value is drawn inside its bin, so that what comes back is
// distributed as what went in.
type Bins struct {
	Inside  int  `json:"inside"` // pieces of a bin, between quantiles of what fell into it
	Integer bool `json:"integer,omitempty"`
	// Log draws evenly in the logarithm between two knots above 0: of what is
	// heavy-tailed, as times between packets are, a value of the last piece is
	// seldom near the largest.
	Log    bool      `json:"log,omitempty"`
	Knots  []float64 `json:"knots"` // [bins, Inside+1], ascending
	Shares []float64 `json:"shares"`
}

// inside is how many pieces a bin has.
const inside = 8

// NewBins fits about n bins to values: a value that holds at least half a
// bin's share is an atom, a bin of its own; the rest is cut at quantiles. It
// is an error where there is no value, or one that is not finite.
func NewBins(values []float64, n int) (*Bins, error) { return newBins(values, n, false) }

// NewTailBins is NewBins for numbers at least 0 with a heavy tail, as times
// between packets are. Values are drawn evenly in the logarithm between knots
// (Log), and the last bin is halved, and its upper half again, while it spans
// more than a factor of 1.5 and both halves have 16 values: which sequences
// have the longest of them is for a model to learn.
func NewTailBins(values []float64, n int) (*Bins, error) { return newBins(values, n, true) }

func newBins(values []float64, n int, tail bool) (*Bins, error) {
	if len(values) == 0 || n < 1 {
		return nil, fmt.Errorf("seq: %d bins of %d values", n, len(values))
	}
	v := slices.Sorted(slices.Values(values))
	if x := v[0] + v[len(v)-1]; x-x != 0 {
		return nil, fmt.Errorf("seq: bins of values that are not finite")
	}
	b := &Bins{Inside: inside, Integer: true, Log: tail}
	for _, x := range v {
		b.Integer = b.Integer && x == math.Trunc(x) && math.Abs(x) < 1<<24
	}
	share := float64(len(v)) / float64(n)
	add := func(part []float64) {
		if len(part) == 0 {
			return
		}
		b.Shares = append(b.Shares, float64(len(part))/float64(len(v)))
		for k := range inside + 1 {
			x := float64(k) / inside * float64(len(part)-1)
			i := int(x)
			q := part[i]
			if f := x - float64(i); f > 0 {
				q += f * (part[i+1] - part[i])
			}
			b.Knots = append(b.Knots, q)
		}
	}
	cut := func(part []float64) { // a stretch without atoms, into equal bins
		k := max(int(math.Round(float64(len(part))/share)), 1)
		last := len(part) > 0 && &part[len(part)-1] == &v[len(v)-1]
		for at, i := 0, 1; i <= k; i++ {
			to := i * len(part) / k
			for to > at && to < len(part) && part[to] == part[to-1] {
				to++ // a value has one bin
			}
			for tail && i == k && last && to-at >= 32 && part[to-1] > 1.5*part[at] {
				half := (at + to) / 2
				for half < to && part[half] == part[half-1] {
					half++
				}
				if half == to {
					break
				}
				add(part[at:half])
				at = half
			}
			if to > at {
				add(part[at:to])
				at = to
			}
		}
	}
	from := 0
	for i := 0; i < len(v); {
		j := i + 1
		for j < len(v) && v[j] == v[i] {
			j++
		}
		if float64(j-i) >= share/2 {
			cut(v[from:i])
			add(v[i:j])
			from = j
		}
		i = j
	}
	cut(v[from:])
	return b, nil
}

// Check reports what is wrong with bins that were read from a file.
func (b *Bins) Check() error {
	n := len(b.Shares)
	if n == 0 || b.Inside < 1 || b.Inside > 1024 || len(b.Knots) != n*(b.Inside+1) {
		return fmt.Errorf("seq: bins with %d knots for %d shares of %d pieces", len(b.Knots), n, b.Inside)
	}
	for i, x := range b.Knots {
		if x-x != 0 || i > 0 && x < b.Knots[i-1] {
			return fmt.Errorf("seq: bins: knot %d is %v: expected finite numbers that ascend", i, x)
		}
	}
	return nil
}

// Len is the number of bins.
func (b *Bins) Len() int { return len(b.Shares) }

// Range are the smallest and the largest value of bin i.
func (b *Bins) Range(i int32) (lo, hi float64) {
	w := b.Inside + 1
	return b.Knots[int(i)*w], b.Knots[int(i)*w+b.Inside]
}

// Encode is the bin of x, the nearest where it falls between two.
func (b *Bins) Encode(x float64) int32 {
	w := b.Inside + 1
	n := b.Len()
	i := sort.Search(n-1, func(i int) bool { return b.Knots[i*w+b.Inside] >= x }) // the first that ends at x or later
	if lo := b.Knots[i*w]; i > 0 && x < lo && x-b.Knots[i*w-1] < lo-x {
		i--
	}
	return int32(i)
}

// Decode is the value at share u in [0, 1) of bin i.
func (b *Bins) Decode(i int32, u float64) float64 {
	k := b.Knots[int(i)*(b.Inside+1):][:b.Inside+1]
	if k[0] == k[b.Inside] {
		return k[0]
	}
	u *= float64(b.Inside)
	j := min(int(u), b.Inside-1)
	x := k[j] + (u-float64(j))*(k[j+1]-k[j])
	if b.Log && k[j] > 0 {
		x = k[j] * math.Pow(k[j+1]/k[j], u-float64(j))
	}
	if b.Integer {
		x = math.Round(x)
	}
	return x
}

// Within is where x lies in bin i, from 0 to 1: Decode's inverse. It is .5 in
// an atom.
func (b *Bins) Within(i int32, x float64) float64 {
	k := b.Knots[int(i)*(b.Inside+1):][:b.Inside+1]
	if k[0] == k[b.Inside] {
		return .5
	}
	for j := range b.Inside {
		if x < k[j+1] || j == b.Inside-1 {
			u := 0.
			switch {
			case b.Log && k[j] > 0 && x > 0 && k[j+1] > k[j]:
				u = min(max(math.Log(x/k[j])/math.Log(k[j+1]/k[j]), 0), 1)
			case k[j+1] > k[j]:
				u = min(max((x-k[j])/(k[j+1]-k[j]), 0), 1)
			}
			return (float64(j) + u) / float64(b.Inside)
		}
	}
	return 1
}

// LogWidth is the logarithm of what a bin spreads its probability over: the
// number of integers in it, or its length; 0 for an atom. Less it, the
// log-probability of a class is that of a value.
func (b *Bins) LogWidth(i int32) float64 {
	switch lo, hi := b.Range(i); {
	case lo == hi:
		return 0
	case b.Integer:
		return math.Log(hi - lo + 1)
	default:
		return math.Log(hi - lo)
	}
}

// Vocabulary turns integers, some of them common, into classes: exact values
// that were seen often, and cells of a grid of logarithms for all others. The
// grid depends on nothing but the largest magnitude, rounded up to a power of
// two, and a cell has at least 8 integers: no value that was seen less often
// can be read out of a vocabulary.
type Vocabulary struct {
	Exact []int64 `json:"exact"` // ascending; classes 0 … len(Exact)-1
	Cells []int64 `json:"cells"` // ascending; class len(Exact)+i is Cells[i] … Cells[i+1]-1
}

// narrowest is how many integers a cell has at least.
const narrowest = 8

// NewVocabulary fits a vocabulary: values seen at least often times are exact,
// the others go into perOctave cells a factor of two, positive and negative
// apart, and cut at edges, where a cell begins (mirrored for negative values).
// Edges are public numbers, not the data's. Values beyond the grid belong to its
// last cell.
func NewVocabulary(values []int64, often, perOctave int, edges ...int64) (*Vocabulary, error) {
	if len(values) == 0 || often < 1 || perOctave < 1 {
		return nil, fmt.Errorf("seq: a vocabulary of %d values, %d times at least, %d cells an octave", len(values), often, perOctave)
	}
	v := &Vocabulary{}
	sorted := slices.Sorted(slices.Values(values))
	for i := 0; i < len(sorted); {
		j := i
		for j < len(sorted) && sorted[j] == sorted[i] {
			j++
		}
		if j-i >= often {
			v.Exact = append(v.Exact, sorted[i])
		}
		i = j
	}
	grid := func(most int64) (cells []int64) { // edges from 0 to at least most
		const limit = 1 << 53
		end := int64(narrowest)
		for end <= min(most, limit) {
			end *= 2
		}
		for x := int64(0); x < end; {
			cells = append(cells, x)
			x += max(narrowest, int64(float64(x)*(math.Exp2(1/float64(perOctave))-1)))
		}
		for _, e := range edges {
			if e > 0 && e < end {
				cells = append(cells, e)
			}
		}
		slices.Sort(cells)
		return append(slices.Compact(cells), end)
	}
	if lo := sorted[0]; lo < 0 {
		for _, x := range slices.Backward(grid(-max(lo, -math.MaxInt64))) {
			v.Cells = append(v.Cells, 1-x) // -x … -1, mirrored
		}
		v.Cells = v.Cells[:len(v.Cells)-1] // 1 is where the positive ones go on
	}
	if hi := sorted[len(sorted)-1]; hi >= 0 {
		v.Cells = append(v.Cells, grid(hi)...)
	} else {
		v.Cells = append(v.Cells, 1)
	}
	return v, nil
}

// Check reports what is wrong with a vocabulary that was read from a file.
func (v *Vocabulary) Check() error {
	if v == nil || len(v.Cells) < 2 || len(v.Exact)+len(v.Cells) > 1<<20 {
		return fmt.Errorf("seq: a vocabulary needs at least one cell, and at most 2²⁰ classes")
	}
	for i, x := range v.Exact {
		if i > 0 && x <= v.Exact[i-1] {
			return fmt.Errorf("seq: vocabulary: exact value %d does not ascend", i)
		}
	}
	for i, x := range v.Cells {
		if i > 0 && x <= v.Cells[i-1] {
			return fmt.Errorf("seq: vocabulary: cell %d does not ascend", i)
		}
	}
	return nil
}

// Len is the number of classes.
func (v *Vocabulary) Len() int { return len(v.Exact) + len(v.Cells) - 1 }

// Encode is the class of x.
func (v *Vocabulary) Encode(x int64) int32 {
	if i, ok := slices.BinarySearch(v.Exact, x); ok {
		return int32(i)
	}
	i, begins := slices.BinarySearch(v.Cells, x)
	if begins {
		i++
	}
	return int32(len(v.Exact) + min(max(i-1, 0), len(v.Cells)-2))
}

// cell is the range of a class that is not exact, the exact values in it, and
// how many integers it has beside them.
func (v *Vocabulary) cell(class int32) (lo int64, exact []int64, free int64) {
	i := int(class) - len(v.Exact)
	lo = v.Cells[i]
	from, _ := slices.BinarySearch(v.Exact, lo)
	to, _ := slices.BinarySearch(v.Exact, v.Cells[i+1])
	exact = v.Exact[from:to]
	return lo, exact, v.Cells[i+1] - lo - int64(len(exact))
}

// Decode is the value of a class, in a cell the one at share u in [0, 1) of
// its integers that are not exact values.
func (v *Vocabulary) Decode(class int32, u float64) int64 {
	if int(class) < len(v.Exact) {
		return v.Exact[class]
	}
	lo, exact, free := v.cell(class)
	x := lo + min(int64(u*float64(free)), max(free-1, 0))
	for _, e := range exact {
		if e > x {
			break
		}
		x++
	}
	return x
}

// LogShare is the logarithm of x's probability within its class: 0 for an
// exact value, equal for all others of a cell. A value beyond the grid counts
// as one of 2⁵³.
func (v *Vocabulary) LogShare(class int32, x int64) float64 {
	if int(class) < len(v.Exact) {
		return 0
	}
	if x < v.Cells[0] || x >= v.Cells[len(v.Cells)-1] {
		return -53 * math.Ln2
	}
	_, _, free := v.cell(class)
	return -math.Log(float64(max(free, 1)))
}
