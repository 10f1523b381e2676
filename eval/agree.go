package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
)

// Bounds is a statistic with its 95 % interval: percentiles of a bootstrap
// over seeds.
type Bounds struct {
	Value Number `json:"value"`
	Low   Number `json:"low"`
	High  Number `json:"high"`
}

// String is the value and its interval, – where there is none.
func (b Bounds) String() string {
	if math.IsNaN(float64(b.Value)) {
		return "–"
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", b.Value, b.Low, b.High)
}

// Agreement is how alike two plants rank policies.
type Agreement struct {
	Spearman   Bounds     `json:"spearman"`
	Kendall    Bounds     `json:"kendall"`
	Regret     Regret     `json:"regret_at_1"`
	Similarity Similarity `json:"similarity"`

	best, chosen int // policies
}

// Regret is what choosing by B costs on A.
type Regret struct {
	Best     string `json:"best"`     // on A
	Chosen   string `json:"chosen"`   // B's best
	Absolute Bounds `json:"absolute"` // value on A: of Best less that of Chosen
	Share    Bounds `json:"share"`    // that over A's best less A's worst
}

// Similarity is what the tutorial reports of its two environments: the mean
// over policies of the smaller value over the larger, of rewards and of frame
// rates. It is beside the others to show that it does not tell plants apart:
// Apart is the same figure of A's worst policy and its best.
type Similarity struct {
	Ratios
	Apart Ratios `json:"worst_and_best_on_a"`
}

// Ratios are the smaller over the larger; FPS is null where there is no player.
type Ratios struct {
	Reward Number `json:"reward"`
	FPS    Number `json:"fps"`
}

// agree compares values [policy][seed]. An interval resamples seeds, the same
// ones for all policies and both plants: that is right where seed k means the
// same episode on both, and where it means nothing.
func agree(a, b [][]float64, draws int) Agreement {
	all := resampled(len(a[0]), draws, func(seeds []int) []float64 {
		return statistics(meansAt(a, seeds), meansAt(b, seeds))
	})
	each := everySeed(len(a[0]))
	return Agreement{
		Spearman: all[0], Kendall: all[1], Regret: Regret{Absolute: all[2], Share: all[3]},
		best: argmax(meansAt(a, each)), chosen: argmax(meansAt(b, each)),
	}
}

// resampled are statistics of n seeds, each with its interval over one bootstrap.
func resampled(n, draws int, of func(seeds []int) []float64) []Bounds {
	seeds := everySeed(n)
	at := of(seeds)
	values := make([][]float64, len(at)) // by statistic: those of draws
	for d := range draws {
		key := rng.Key{A: uint32(d), Purpose: rng.Bootstrap}
		for k := range seeds {
			seeds[k] = key.Intn(uint32(k), n)
		}
		for i, x := range of(seeds) {
			if !math.IsNaN(x) {
				values[i] = append(values[i], x)
			}
		}
	}
	all := make([]Bounds, len(at))
	for i := range all {
		all[i] = bounds(at[i], values[i])
	}
	return all
}

// everySeed is 0 to n-1.
func everySeed(n int) []int {
	seeds := make([]int, n)
	for k := range seeds {
		seeds[k] = k
	}
	return seeds
}

// meansAt are the means of v [policy][seed] over some seeds.
func meansAt(v [][]float64, seeds []int) []float64 {
	m := make([]float64, len(v))
	for p := range v {
		for _, k := range seeds {
			m[p] += v[p][k] / float64(len(seeds))
		}
	}
	return m
}

// statistics are ρ, τ, regret@1 and its share of the span.
func statistics(a, b []float64) []float64 {
	regret := slices.Max(a) - a[argmax(b)]
	return []float64{Spearman(a, b), kendall(a, b), regret, regret / (slices.Max(a) - slices.Min(a))}
}

// bounds are the 2.5 and 97.5 % points of draws.
func bounds(value float64, draws []float64) Bounds {
	b := Bounds{Number(value), Number(math.NaN()), Number(math.NaN())}
	if n := len(draws); n > 0 {
		slices.Sort(draws)
		b.Low, b.High = Number(draws[int(.025*float64(n-1)+.5)]), Number(draws[int(.975*float64(n-1)+.5)])
	}
	return b
}

func argmax(x []float64) int { return slices.Index(x, slices.Max(x)) }

// Spearman is Pearson's correlation of ranks; NaN where a side is constant.
func Spearman(a, b []float64) float64 {
	x, y := Ranks(a), Ranks(b)
	mean := float64(len(a)-1) / 2
	var xy, xx, yy float64
	for i := range x {
		u, v := x[i]-mean, y[i]-mean
		xy, xx, yy = xy+u*v, xx+u*u, yy+v*v
	}
	if xx == 0 || yy == 0 {
		return math.NaN()
	}
	return xy / math.Sqrt(xx*yy)
}

// Ranks are 0-based; equals share the mean of theirs.
func Ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(x[i], x[j]) })
	r := make([]float64, len(x))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && x[order[j]] == x[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			r[order[k]] = float64(i+j-1) / 2
		}
		i = j
	}
	return r
}

// kendall is τ-b (Kendall 1945): concordant less discordant pairs, over the
// geometric mean of the pairs that a, and that b, does not tie.
func kendall(a, b []float64) float64 {
	var s, na, nb float64
	for i := range a {
		for j := range i {
			u, v := float64(cmp.Compare(a[i], a[j])), float64(cmp.Compare(b[i], b[j]))
			s, na, nb = s+u*v, na+u*u, nb+v*v
		}
	}
	if na == 0 || nb == 0 {
		return math.NaN()
	}
	return s / math.Sqrt(na*nb)
}
