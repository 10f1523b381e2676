package ngram

import (
	"fmt"
	"math"
	"slices"
)

// table is counts of what follows contexts, and of what follows their shorter
// ends: a tree whose root is the empty context; a node's child is its context
// lengthened by the symbol before it.
type table struct {
	symbols int // what may follow: 0…symbols-1

	child map[uint64]int32 // node<<32 | symbol, to node
	// by node; entries of a node are ascending by symbol
	first  []int32 // [nodes+1] into symbol and count
	symbol []int32
	count  []int32
	total  []float64 // [nodes]

	grow []map[int32]int32 // by node, while counting
}

func newTable(symbols int) *table {
	return &table{symbols: symbols, child: map[uint64]int32{}, grow: []map[int32]int32{{}}}
}

// add counts symbol x after a context, its nearest symbol first.
func (t *table) add(context []int32, x int32) {
	t.grow[0][x]++
	n := int32(0)
	for _, c := range context {
		n = t.under(n, c)
		t.grow[n][x]++
	}
}

// under is the node of a context that is longer by symbol c than node n's, new
// where none was counted.
func (t *table) under(n, c int32) int32 {
	key := uint64(n)<<32 | uint64(uint32(c))
	next, ok := t.child[key]
	if !ok {
		next = int32(len(t.grow))
		t.child[key] = next
		t.grow = append(t.grow, map[int32]int32{})
	}
	return next
}

// put adds a count of x after a context, and none after its shorter ends.
func (t *table) put(context []int32, x, count int32) {
	n := int32(0)
	for _, c := range context {
		n = t.under(n, c)
	}
	t.grow[n][x] += count
}

// done ends the counting.
func (t *table) done() {
	t.first = append(t.first, 0)
	for _, m := range t.grow {
		from := len(t.symbol)
		for x := range m {
			t.symbol = append(t.symbol, x)
		}
		slices.Sort(t.symbol[from:])
		for _, x := range t.symbol[from:] {
			t.count = append(t.count, m[x])
		}
		t.first = append(t.first, int32(len(t.symbol)))
	}
	t.grow = nil
	t.sum()
}

func (t *table) sum() {
	t.total = make([]float64, len(t.first)-1)
	for n := range t.total {
		for _, c := range t.count[t.first[n]:t.first[n+1]] {
			t.total[n] += float64(c)
		}
	}
}

// walk is the nodes of a context, the empty one first, as far as it was seen.
func (t *table) walk(context []int32, nodes []int32) []int32 {
	n := int32(0)
	nodes = append(nodes, n)
	for _, c := range context {
		next, ok := t.child[uint64(n)<<32|uint64(uint32(c))]
		if !ok {
			break
		}
		n = next
		nodes = append(nodes, n)
	}
	return nodes
}

// of is the count of x in node n.
func (t *table) of(n, x int32) float64 {
	s := t.symbol[t.first[n]:t.first[n+1]]
	if i, ok := slices.BinarySearch(s, x); ok {
		return float64(t.count[int(t.first[n])+i])
	}
	return 0
}

// prob is the probability of x after a context, Witten and Bell's (1991,
// method C), interpolated: with c(h) and T(h) how many and how many different
// symbols followed h, and h' the context without its farthest symbol,
//
//	P(x|h) = (c(h,x) + T(h)·P(x|h')) / (c(h) + T(h))
//
// and P after the empty context interpolated with 1/symbols.
func (t *table) prob(nodes []int32, x int32) float64 {
	p := 1 / float64(t.symbols)
	for _, n := range nodes {
		types := float64(t.first[n+1] - t.first[n])
		p = (t.of(n, x) + types*p) / (t.total[n] + types)
	}
	return p
}

// draw is a symbol after a context, drawn as prob says: from the longest
// context with probability c/(c+T), else from the next shorter. Where not
// smooth, the longest context that was seen decides alone.
func (t *table) draw(nodes []int32, smooth bool, uniform func() float64) int32 {
	for k := len(nodes) - 1; k >= 0; k-- {
		n := nodes[k]
		types := float64(t.first[n+1] - t.first[n])
		if t.total[n] == 0 || smooth && uniform()*(t.total[n]+types) >= t.total[n] {
			continue
		}
		u := uniform() * t.total[n]
		for i := t.first[n]; i < t.first[n+1]; i++ {
			if u -= float64(t.count[i]); u < 0 || i == t.first[n+1]-1 {
				return t.symbol[i]
			}
		}
	}
	return min(int32(uniform()*float64(t.symbols)), int32(t.symbols-1))
}

// edges is the tree as arrays: parent and symbol of each node but the root.
func (t *table) edges() (parent, symbol []int32) {
	n := len(t.first) - 1
	parent, symbol = make([]int32, n), make([]int32, n)
	for key, to := range t.child {
		parent[to], symbol[to] = int32(key>>32), int32(uint32(key))
	}
	return parent, symbol
}

// restore builds a table from what a file holds, and checks it.
func restore(symbols int, parent, edge, first, symbol, count []int32) (*table, error) {
	t := &table{symbols: symbols, child: map[uint64]int32{}, first: first, symbol: symbol, count: count}
	n := len(parent)
	switch {
	case n == 0 || len(edge) != n || len(first) != n+1 || first[0] != 0 || int(first[n]) != len(symbol) || len(symbol) != len(count):
		return nil, fmt.Errorf("ngram: %d nodes, %d edges, %d offsets, %d symbols, %d counts do not fit", n, len(edge), len(first), len(symbol), len(count))
	}
	for i := range n {
		if first[i] > first[i+1] || i > 0 && (parent[i] < 0 || int(parent[i]) >= i) {
			return nil, fmt.Errorf("ngram: node %d: parent %d, entries %d…%d", i, parent[i], first[i], first[i+1])
		}
		if i > 0 {
			t.child[uint64(parent[i])<<32|uint64(uint32(edge[i]))] = int32(i)
		}
		for j := first[i]; j < first[i+1]; j++ {
			if symbol[j] < 0 || int(symbol[j]) >= symbols || count[j] <= 0 || j > first[i] && symbol[j] <= symbol[j-1] {
				return nil, fmt.Errorf("ngram: node %d: symbol %d counted %d times; there are %d symbols, ascending", i, symbol[j], count[j], symbols)
			}
		}
	}
	t.sum()
	if t.total[0] == 0 || math.IsNaN(t.total[0]) {
		return nil, fmt.Errorf("ngram: nothing was counted")
	}
	return t, nil
}
