// Command balance fits the learned models of traffic to half of a set and judges
// them by the other half: how well a forest that has seen generated sessions
// alone knows the classes of real ones, and whether filling rare classes up with
// generated sessions helps it, beside copies of the class's own.
//
//	planegym traffic convert $(find nemea-siot -name '*.json' | sort) captures/*.pcap --label file -o ship.parquet
//	go run ./bench/balance ship.parquet
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/masked"
	"github.com/planegym/planegym/traffic/store"
)

var (
	updates = flag.Int("updates", 1500, "of each fit")
	least   = flag.Int("least", 8, "leave classes with fewer sessions out")
	fill    = flag.Int("fill", 60, "sessions that a class is filled up to")
	seeds   = flag.Int("seeds", 3, "splits, each with fits, samples and forests of its own")
	trees   = flag.Int("trees", 100, "of a forest")
	keep    = flag.String("keep", "", "folder for the figures of every seed; those that it holds already are read")
	rows    = flag.String("rows", "autoregressive,masked,floors,fill", "what to compare: learned models, floors (the models that only count), fill (rare classes filled up by each, and by copies)")
	only    = flag.Int("only", -1, "compute this seed alone, of the others show what -keep holds")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "balance:", err)
		os.Exit(1)
	}
}

// row is what one row of the table says on one split.
type row struct {
	Name    string             `json:"name"`
	Figures map[string]float64 `json:"figures"`
}

func run(ctx context.Context, path string) error {
	if path == "" {
		return errors.New("usage: balance SESSIONS")
	}
	all, err := store.ReadFile(path)
	if err != nil {
		return err
	}
	all = common(all, *least)
	counts := count(all)
	rare := 0
	for _, n := range counts {
		if n > 0 && n/2 < *fill {
			rare++
		}
	}
	fmt.Printf("%d sessions of %d classes with %d at least; halves at random, by class: %d classes have fewer than %d to fit to\n", all.Len(), used(counts), *least, rare, *fill)
	var found [][]row // by seed
	for seed := range *seeds {
		r, ok, err := pieces.DoIf(pieces.Folder(*keep), fmt.Sprintf("balance-%d", seed), *only < 0 || *only == seed, func() ([]row, error) { return one(ctx, all, uint64(seed)) })
		if err != nil {
			return err
		}
		if ok {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("no seed to show: -only %d of -seeds %d", *only, *seeds)
	}
	table(found)
	return nil
}

// one is every row's figures on one split.
func one(ctx context.Context, set *traffic.Set, seed uint64) ([]row, error) {
	train, held := halves(set, seed)
	counts := count(train)
	o := traffic.FitOptions{Seed: seed, Threads: 1}
	asked := strings.Split(*rows, ",")
	var learned []eval.Candidate
	for _, name := range asked {
		var m traffic.Model
		var err error
		switch name {
		case "autoregressive":
			c := autoregressive.Defaults()
			c.Updates, c.MaxSteps = *updates, -1
			m, err = autoregressive.Fit(ctx, train, c, o)
		case "masked":
			c := masked.Defaults()
			c.Updates = *updates
			m, err = masked.Fit(ctx, train, c, o)
		case "floors", "fill":
			continue
		default:
			err = fmt.Errorf("-rows: there is no %q", name)
		}
		if err != nil {
			return nil, err
		}
		learned = append(learned, eval.Candidate{Name: name, Model: m})
	}
	floors, err := eval.Floors(ctx, train)
	if err != nil {
		return nil, err
	}
	var candidates []eval.Candidate
	if slices.Contains(asked, "floors") {
		candidates = append(candidates, floors...)
	}
	judge := eval.Options{Seeds: 1, Seed: seed, Trees: *trees, MaxSteps: 100, NoFloors: true}
	r, err := eval.Compare(ctx, train, held, append(candidates, learned...), judge)
	if err != nil {
		return nil, err
	}
	var all []row
	for _, x := range r.Rows {
		all = append(all, of(x.Name, x))
	}
	if !slices.Contains(asked, "fill") {
		return all, nil
	}
	fills := append([]eval.Candidate{{Name: "copies"}, floors[len(floors)-1]}, learned...)
	for _, f := range fills {
		full, err := balance(ctx, train, counts, *fill, f.Model, seed)
		if err != nil {
			return nil, err
		}
		r, err := eval.Compare(ctx, full, held, nil, judge)
		if err != nil {
			return nil, err
		}
		all = append(all, of("filled up by "+f.Name, r.Rows[0]))
	}
	return all, nil
}

func of(name string, r eval.Row) row {
	x := row{name, map[string]float64{}}
	for _, f := range figures {
		if e, ok := r.Figures[f]; ok {
			x.Figures[f] = float64(e.Mean)
		}
	}
	return x
}

var figures = []string{"tstr_acc", "tstr_f1", "c2st", "copy", "repair", "nll"}

// table prints means and intervals over the seeds; accuracy and F1 also as a
// share of what a forest of the same split's real sessions reaches, and less it.
func table(rows [][]row) {
	fmt.Print("\n| trained on |")
	for _, f := range figures {
		fmt.Printf(" %s |", f)
	}
	fmt.Println(" accuracy of real's | F1 of real's | accuracy less real's | F1 less real's |")
	fmt.Println("|---|" + strings.Repeat("---|", len(figures)+4))
	for k := range rows[0] {
		fmt.Printf("| %s |", rows[0][k].Name)
		for _, f := range figures {
			var v []float64
			for _, r := range rows {
				if x, ok := r[k].Figures[f]; ok {
					v = append(v, x)
				}
			}
			fmt.Printf(" %s |", eval.EstimateOf(v))
		}
		for _, less := range []bool{false, true} {
			for _, f := range figures[:2] {
				var v []float64
				for _, r := range rows {
					x, real := r[k].Figures[f], r[0].Figures[f]
					if less {
						v = append(v, x-real)
					} else {
						v = append(v, x/real)
					}
				}
				fmt.Printf(" %s |", eval.EstimateOf(v))
			}
		}
		fmt.Println()
	}
}

// halves are the sessions of every class in two random halves, each in the order
// of the set.
func halves(s *traffic.Set, seed uint64) (a, b *traffic.Set) {
	first := make([]bool, s.Len())
	for l := range s.Of.Labels {
		var of []int
		for i := range s.Sessions {
			if s.Sessions[i].Label == l {
				of = append(of, i)
			}
		}
		key := rng.Key{Seed: seed, A: 1 << 20, B: uint32(l), Purpose: rng.Judging}
		for _, i := range key.Choose(len(of), (len(of)+1)/2) {
			first[of[i]] = true
		}
	}
	a, b = &traffic.Set{Of: s.Of}, &traffic.Set{Of: s.Of}
	for i, x := range s.Sessions {
		if first[i] {
			a.Sessions = append(a.Sessions, x)
		} else {
			b.Sessions = append(b.Sessions, x)
		}
	}
	return a, b
}

func count(s *traffic.Set) []int {
	n := make([]int, len(s.Of.Labels))
	for i := range s.Sessions {
		if l := s.Sessions[i].Label; l >= 0 {
			n[l]++
		}
	}
	return n
}

func used(counts []int) (n int) {
	for _, c := range counts {
		if c > 0 {
			n++
		}
	}
	return n
}

// common leaves out classes with fewer than least sessions.
func common(s *traffic.Set, least int) *traffic.Set {
	n := count(s)
	out := &traffic.Set{Of: s.Of}
	for _, x := range s.Sessions {
		if x.Label >= 0 && n[x.Label] >= least {
			out.Sessions = append(out.Sessions, x)
		}
	}
	return out
}

// balance fills classes up to a number of sessions, with a model's or, where
// that is nil, with copies of the class's own.
func balance(ctx context.Context, s *traffic.Set, counts []int, to int, m traffic.Model, seed uint64) (*traffic.Set, error) {
	out := &traffic.Set{Of: s.Of, Sessions: append([]traffic.Session(nil), s.Sessions...)}
	var own [][]traffic.Session
	for range counts {
		own = append(own, nil)
	}
	for _, x := range s.Sessions {
		own[x.Label] = append(own[x.Label], x)
	}
	for label, n := range counts {
		if n == 0 || n >= to {
			continue
		}
		if m == nil {
			for i := range to - n {
				out.Sessions = append(out.Sessions, own[label][i%n])
			}
			continue
		}
		more, err := traffic.Collect(m.Schema(), m.Sample(ctx, traffic.Request{N: to - n, Labels: []int{label}, Seed: seed, MaxSteps: 100}))
		if err != nil {
			return nil, err
		}
		out.Sessions = append(out.Sessions, more.Sessions...)
	}
	return out, nil
}
