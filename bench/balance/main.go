// Command balance fits the learned models of traffic to every second session of
// a set and judges them by the other half: how well a forest that has seen
// generated sessions alone knows the classes of real ones, and whether filling
// rare classes up with generated sessions helps it.
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

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/masked"
	"github.com/planegym/planegym/traffic/store"
)

func main() {
	updates := flag.Int("updates", 1500, "of each fit")
	least := flag.Int("least", 8, "leave classes with fewer sessions out")
	fill := flag.Int("fill", 60, "sessions that a class is filled up to")
	seeds := flag.Int("seeds", 3, "fits, each with a forest of its own")
	trees := flag.Int("trees", 100, "of a forest")
	halves := flag.String("halves", "", "write both halves to NAME-train.parquet and NAME-held.parquet, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Arg(0), *halves, *updates, *least, *fill, *seeds, *trees); err != nil {
		fmt.Fprintln(os.Stderr, "balance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path, halves string, updates, least, fill, seeds, trees int) error {
	if path == "" {
		return errors.New("usage: balance SESSIONS")
	}
	all, err := store.ReadFile(path)
	if err != nil {
		return err
	}
	train, held := eval.Halves(common(all, least))
	if halves != "" {
		for name, s := range map[string]*traffic.Set{"train": train, "held": held} {
			if _, err := store.WriteFile(halves+"-"+name+".parquet", &s.Of, store.All(s)); err != nil {
				return err
			}
		}
		return nil
	}
	counts := count(train)
	rare := 0
	for _, n := range counts {
		if n > 0 && n < fill {
			rare++
		}
	}
	fmt.Printf("%d sessions fitted to, %d held out, %d classes, %d of them below %d sessions\n", train.Len(), held.Len(), used(counts), rare, fill)
	for seed := range seeds {
		o := traffic.FitOptions{Seed: uint64(seed), Threads: 1}
		a := autoregressive.Defaults()
		a.Updates, a.MaxSteps = updates, -1
		ar, err := autoregressive.Fit(ctx, train, a, o)
		if err != nil {
			return err
		}
		c := masked.Defaults()
		c.Updates = updates
		m, err := masked.Fit(ctx, train, c, o)
		if err != nil {
			return err
		}
		judge := eval.Options{Seeds: 1, Seed: uint64(seed), Trees: trees, MaxSteps: 100, NoFloors: seed > 0}
		r, err := eval.Compare(ctx, train, held, []eval.Candidate{{Name: "autoregressive", Model: ar}, {Name: "masked", Model: m}}, judge)
		if err != nil {
			return err
		}
		for _, row := range r.Rows {
			print(seed, row.Name, row)
		}
		judge.NoFloors = true
		for _, x := range []struct {
			name string
			m    traffic.Model
		}{{"balanced by copies", nil}, {"balanced by autoregressive", ar}, {"balanced by masked", m}} {
			full, err := balance(ctx, train, counts, fill, x.m, uint64(seed))
			if err != nil {
				return err
			}
			r, err := eval.Compare(ctx, full, held, nil, judge)
			if err != nil {
				return err
			}
			print(seed, x.name, r.Rows[0])
		}
	}
	return nil
}

func print(seed int, name string, r eval.Row) {
	fmt.Printf("seed %d  %-28s %6d sessions", seed, name, r.Sessions)
	for _, f := range []string{"tstr_f1", "tstr_acc", "c2st", "copy", "nll", "nll_gap"} {
		if e, ok := r.Figures[f]; ok {
			fmt.Printf("  %s %s", f, e)
		}
	}
	fmt.Println()
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
