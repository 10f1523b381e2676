package nprint

import (
	"math"
	"slices"
)

// Marginals count the cells of a table's columns: how often each is -1, 0, 1.
type Marginals struct {
	Rows   int
	counts [Width][3]float64
}

// Add counts a row.
func (m *Marginals) Add(r *Row) {
	m.Rows++
	for i, x := range r {
		m.counts[i][x+1]++
	}
}

// Divergence is the mean over a group's columns of the Jensen-Shannon divergence
// of two tables' cells, base 2: 0 where they are alike, 1 where they have none
// in common. It is NetDiffusion's similarity (Jiang et al. 2024, §4.1); the
// order of packets does not matter to it.
type Divergence struct {
	Group   string
	Columns int
	JSD     float64
}

// Compare gives the divergences of each header, and of all. Addresses are left
// out, as NetDiffusion leaves them out; so are the headers that neither table
// has, where every cell is -1 in both, but they count in "all".
func Compare(a, b *Marginals) []Divergence {
	var out []Divergence
	all := Divergence{Group: "all"}
	of := fields(a, b)
	for _, h := range headers {
		d := Divergence{Group: h.name}
		for range h.fields {
			if f := of[0]; f.Columns > 0 {
				d.Columns, d.JSD = d.Columns+f.Columns, d.JSD+f.JSD
			}
			of = of[1:]
		}
		all.Columns, all.JSD = all.Columns+d.Columns, all.JSD+d.JSD
		if d.JSD /= float64(d.Columns); a.has(h.name) || b.has(h.name) {
			out = append(out, d)
		}
	}
	all.JSD /= float64(all.Columns)
	return append(out, all)
}

// Fields gives the divergence of each field of the headers that a table has, a
// mean over its bits, under names like "ipv4.ttl". Addresses are left out.
func Fields(a, b *Marginals) []Divergence {
	var out []Divergence
	of := fields(a, b)
	for _, h := range headers {
		there := a.has(h.name) || b.has(h.name)
		for range h.fields {
			if f := of[0]; there && f.Columns > 0 {
				f.JSD /= float64(f.Columns)
				out = append(out, f)
			}
			of = of[1:]
		}
	}
	return out
}

// fields are the sums of the divergences of every field's columns, in order; of
// addresses none.
func fields(a, b *Marginals) []Divergence {
	var out []Divergence
	at := 0
	for _, h := range headers {
		for _, f := range h.fields {
			d := Divergence{Group: h.name + "." + f.name}
			if f.name != "src" && f.name != "dst" {
				d.Columns = f.bits
				for i := at; i < at+f.bits; i++ {
					d.JSD += divergence(a.counts[i], b.counts[i], a.Rows, b.Rows)
				}
			}
			at += f.bits
			out = append(out, d)
		}
	}
	return out
}

// has reports whether a row has a header.
func (m *Marginals) has(name string) bool {
	at := 0
	for _, h := range headers {
		n := 0
		for _, f := range h.fields {
			n += f.bits
		}
		if h.name == name {
			return slices.ContainsFunc(m.counts[at:at+n], func(c [3]float64) bool { return c[1]+c[2] > 0 })
		}
		at += n
	}
	return false
}

func divergence(a, b [3]float64, n, k int) (sum float64) {
	for c := range a {
		p, q := a[c]/float64(max(n, 1)), b[c]/float64(max(k, 1))
		if m := (p + q) / 2; m > 0 {
			if p > 0 {
				sum += p / 2 * math.Log2(p/m)
			}
			if q > 0 {
				sum += q / 2 * math.Log2(q/m)
			}
		}
	}
	return max(sum, 0)
}
