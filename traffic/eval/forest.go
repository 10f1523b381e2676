package eval

import (
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/planegym/planegym/internal/rng"
)

// Forest is a random forest (Breiman 2001): trees of Gini impurity, each grown
// to purity on a bootstrap sample, √features tried at a split, and the class
// with the largest mean share in the leaves. It is scikit-learn's
// RandomForestClassifier with its defaults, but where a node has more than
// wide examples the thresholds tried are 256 quantiles.
type Forest struct {
	classes int
	trees   []tree
}

type tree struct {
	feature   []int16 // -1: a leaf
	threshold []float32
	left      []int32   // child; the right one is the next; of a leaf, its row in share
	share     []float32 // [leaves, classes]
}

const wide = 512

// table is examples for forests, column by column.
type table struct {
	n, width int
	rank     [][]uint16  // by feature: of each example, its value's place in value
	value    [][]float32 // by feature: distinct values, ascending
}

func newTable(x [][]float32) *table {
	t := &table{n: len(x)}
	if t.n == 0 {
		return t
	}
	t.width = len(x[0])
	for f := range t.width {
		column := make([]float32, t.n)
		for i := range x {
			column[i] = x[i][f]
		}
		v := slices.Clone(column)
		slices.Sort(v)
		v = slices.Compact(v)
		if len(v) > 1<<16 { // merge neighbours
			for i := range 1 << 16 {
				v[i] = v[i*(len(v)-1)/(1<<16-1)]
			}
			v = v[:1<<16]
		}
		rank := make([]uint16, t.n)
		for i, y := range column {
			k, _ := slices.BinarySearch(v, y)
			rank[i] = uint16(min(k, len(v)-1))
		}
		t.value, t.rank = append(t.value, v), append(t.rank, rank)
	}
	return t
}

// Grow fits a forest to examples x [n][width] of classes y, on as many threads
// as there are. It depends on the seed, not on the threads.
func Grow(x [][]float32, y []int, classes, trees int, seed uint64) *Forest {
	t := newTable(x)
	f := &Forest{classes: classes, trees: make([]tree, trees)}
	if t.n == 0 {
		return f
	}
	label := make([]uint16, len(y))
	for i, c := range y {
		label[i] = uint16(c)
	}
	var wait sync.WaitGroup
	threads := min(runtime.GOMAXPROCS(0), trees)
	for k := range threads {
		wait.Go(func() {
			g := grower{table: t, label: label, classes: classes}
			for i := k; i < trees; i += threads {
				f.trees[i] = g.grow(rng.Key{Seed: seed, A: 1, B: uint32(i), Purpose: rng.Judging})
			}
		})
	}
	wait.Wait()
	return f
}

type grower struct {
	*table
	label   []uint16
	classes int

	key     rng.Key
	drawn   uint32
	rows    []int32
	weight  []int32 // of each example in the bootstrap sample
	counts  []int32 // [256, classes]
	packed  []uint64
	feature []int
	left    []int32
	right   []int32
	out     tree
}

func (g *grower) below(n int) int {
	g.drawn++
	return g.key.Intn(g.drawn-1, n)
}

func (g *grower) grow(key rng.Key) tree {
	g.key, g.drawn, g.out = key, 0, tree{}
	g.weight = make([]int32, g.n)
	for range g.n {
		g.weight[g.below(g.n)]++
	}
	g.rows = g.rows[:0]
	for i, w := range g.weight {
		if w > 0 {
			g.rows = append(g.rows, int32(i))
		}
	}
	if g.counts == nil {
		g.counts = make([]int32, 256*g.classes)
		g.feature = make([]int, g.width)
		g.left, g.right = make([]int32, g.classes), make([]int32, g.classes)
	}
	g.out.feature = append(g.out.feature, -1)
	g.out.threshold = append(g.out.threshold, 0)
	g.out.left = append(g.out.left, 0)
	type job struct {
		node     int32
		from, to int
	}
	for stack := []job{{0, 0, len(g.rows)}}; len(stack) > 0; {
		j := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		rows := g.rows[j.from:j.to]
		total := make([]int32, g.classes)
		n := int32(0)
		kinds := 0
		for _, r := range rows {
			if total[g.label[r]] == 0 {
				kinds++
			}
			total[g.label[r]] += g.weight[r]
			n += g.weight[r]
		}
		feature, threshold := -1, float32(0)
		if kinds > 1 {
			feature, threshold = g.split(rows, total, n)
		}
		if feature < 0 {
			g.out.left[j.node] = int32(len(g.out.share) / g.classes)
			for _, c := range total {
				g.out.share = append(g.out.share, float32(c)/float32(n))
			}
			continue
		}
		rank, value := g.rank[feature], g.value[feature]
		mid := 0
		for i, r := range rows {
			if value[rank[r]] <= threshold {
				rows[i], rows[mid] = rows[mid], rows[i]
				mid++
			}
		}
		child := int32(len(g.out.feature))
		for range 2 {
			g.out.feature = append(g.out.feature, -1)
			g.out.threshold = append(g.out.threshold, 0)
			g.out.left = append(g.out.left, 0)
		}
		g.out.feature[j.node], g.out.threshold[j.node], g.out.left[j.node] = int16(feature), threshold, child
		stack = append(stack, job{child + 1, j.from + mid, j.to}, job{child, j.from, j.from + mid})
	}
	return g.out
}

// split finds the feature and threshold of the largest fall in Gini impurity
// among √width features drawn, or more where those are constant.
func (g *grower) split(rows []int32, total []int32, n int32) (feature int, threshold float32) {
	for i := range g.feature {
		g.feature[i] = i
	}
	feature = -1
	best := math.Inf(-1)
	tries := max(int(math.Sqrt(float64(g.width))), 1)
	for k := 0; k < g.width && (k < tries || feature < 0); k++ {
		j := k + g.below(g.width-k)
		g.feature[k], g.feature[j] = g.feature[j], g.feature[k]
		f := g.feature[k]
		if len(g.value[f]) == 1 {
			continue
		}
		score, th, ok := g.try(f, rows, total, n)
		if ok && score > best {
			best, feature, threshold = score, f, th
		}
	}
	return feature, threshold
}

// try is the best threshold of a feature: the largest Σ_left c²/n_left +
// Σ_right c²/n_right, which is where the impurity falls most.
func (g *grower) try(f int, rows []int32, total []int32, n int32) (score float64, threshold float32, ok bool) {
	rank, value := g.rank[f], g.value[f]
	g.packed = g.packed[:0]
	if len(rows) > wide {
		for i := range g.counts {
			g.counts[i] = 0
		}
		d := uint32(len(value))
		for _, r := range rows {
			b := uint32(rank[r]) * 256 / d
			if d <= 256 {
				b = uint32(rank[r])
			}
			g.counts[int(b)*g.classes+int(g.label[r])] += g.weight[r]
		}
		for b := range 256 {
			for c := range g.classes {
				if w := g.counts[b*g.classes+c]; w > 0 {
					g.packed = append(g.packed, uint64(b)<<48|uint64(c)<<32|uint64(w))
				}
			}
		}
	} else {
		for _, r := range rows {
			g.packed = append(g.packed, uint64(rank[r])<<48|uint64(g.label[r])<<32|uint64(g.weight[r]))
		}
		slices.Sort(g.packed)
	}
	left, right := g.left, append(g.right[:0], total...)
	for c := range left {
		left[c] = 0
	}
	var nl, sl, sr float64
	nr := float64(n)
	for _, c := range total {
		sr += float64(c) * float64(c)
	}
	score = math.Inf(-1)
	var at, next uint64
	for i, p := range g.packed {
		b := p >> 48
		if i > 0 && b != g.packed[i-1]>>48 {
			if s := sl/nl + sr/nr; s > score {
				score, at, next, ok = s, g.packed[i-1]>>48, b, true
			}
		}
		c, w := int(p>>32&0xffff), float64(uint32(p))
		l, r := float64(left[c]), float64(right[c])
		sl += w * (2*l + w)
		sr -= w * (2*r - w)
		nl, nr = nl+w, nr-w
		left[c] += int32(w)
		right[c] -= int32(w)
	}
	if !ok {
		return 0, 0, false
	}
	if d := uint64(len(value)); len(rows) > wide && d > 256 {
		last := ((at+1)*d - 1) / 256 // the largest rank with rank·256/d = at
		return score, value[last], true
	}
	threshold = (value[at] + value[next]) / 2
	if threshold >= value[next] {
		threshold = value[at]
	}
	return score, threshold, true
}

// Classify is the class of an example.
func (f *Forest) Classify(x []float32) int {
	votes := make([]float32, f.classes)
	for i := range f.trees {
		t := &f.trees[i]
		if len(t.feature) == 0 {
			continue
		}
		n := int32(0)
		for t.feature[n] >= 0 {
			next := t.left[n]
			if !(x[t.feature[n]] <= t.threshold[n]) {
				next++
			}
			n = next
		}
		for c, s := range t.share[int(t.left[n])*f.classes:][:f.classes] {
			votes[c] += s
		}
	}
	best := 0
	for c, v := range votes {
		if v > votes[best] {
			best = c
		}
	}
	return best
}

// Score classifies examples and gives the macro-averaged F1 over the classes
// that are in y or in the answers, as scikit-learn's f1_score, and the share
// that is right.
func (f *Forest) Score(x [][]float32, y []int) (f1, accuracy float64) {
	if len(x) == 0 {
		return math.NaN(), math.NaN()
	}
	answer := make([]int, len(x))
	var wait sync.WaitGroup
	threads := runtime.GOMAXPROCS(0)
	for k := range threads {
		wait.Go(func() {
			for i := k; i < len(x); i += threads {
				answer[i] = f.Classify(x[i])
			}
		})
	}
	wait.Wait()
	hit, said, is := make([]float64, f.classes), make([]float64, f.classes), make([]float64, f.classes)
	for i, c := range y {
		said[answer[i]]++
		is[c]++
		if answer[i] == c {
			hit[c]++
			accuracy++
		}
	}
	n := 0.
	for c := range hit {
		if said[c]+is[c] > 0 {
			f1 += 2 * hit[c] / (said[c] + is[c])
			n++
		}
	}
	return f1 / n, accuracy / float64(len(y))
}
