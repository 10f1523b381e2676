// Command flowrecords compares generators of flow records as NetShare's authors
// do, beside half against half of the real records and models that only count.
//
// For each seed the sessions are split into halves at random; everything is
// fitted to one half and compared with the other.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/doppelganger"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/ngram"
)

func main() {
	var first, seeds, updates, draws int
	var rows, out string
	var threads int
	var folder string
	others := files{}
	flag.IntVar(&seeds, "seeds", 3, "splits, each with fits and samples of its own")
	flag.IntVar(&first, "first", 0, "the first of them")
	flag.IntVar(&updates, "updates", 0, "of the adversarial fit; 0: its default")
	flag.IntVar(&threads, "threads", 1, "of fits")
	flag.StringVar(&rows, "rows", "half,columns,bootstrap,witten-bell,likelihood,doppelganger", "what to compare; doppelganger@8 and ngram@8 are private fits at ε = 8")
	flag.IntVar(&draws, "draws", 1, "samples of each fit, whose figures are averaged")
	flag.StringVar(&out, "o", "", "file of figures, a line for each row of a split: those in it are not computed again")
	flag.StringVar(&folder, "halves", "", "write the halves that rows are fitted to into this `folder`, half-0.csv and on, and end")
	flag.Func("row", "`NAME=FILE,FILE,...`: a row of somebody's records, fitted elsewhere to the halves that -halves writes; a file for each split (can be repeated)", others.add)
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: flowrecords [flags] FILE.csv")
		os.Exit(2)
	}
	if err := run(context.Background(), flag.Arg(0), first, seeds, updates, draws, threads, strings.Split(rows, ","), out, folder, others); err != nil {
		fmt.Fprintln(os.Stderr, "flowrecords:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string, first, seeds, updates, draws, threads int, rows []string, out, folder string, others files) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	records, err := netflow.ReadCSV(f, path, netflow.Options{})
	if err != nil {
		return err
	}
	set := netflow.Sessions(records)
	fmt.Printf("%d records, %d sessions, %d fields; means of %d seeds\n", len(records), set.Len(), len(set.Of.Meta)+len(set.Of.Steps), seeds)
	if folder != "" {
		return writeHalves(path, records, first, seeds, folder)
	}
	outside, err := others.read(records, set.Of, seeds)
	if err != nil {
		return err
	}
	for _, name := range others.names() {
		if slices.Contains(rows, name) {
			return fmt.Errorf("-row %s: there is a row of that name", name)
		}
		rows = append(rows, name)
	}
	done, err := openResults(out)
	if err != nil {
		return err
	}
	defer done.file.Close()
	for seed := first; seed < first+seeds; seed++ {
		train, held := halves(set, uint64(seed))
		j := newJudge(train, held, uint64(seed))
		for _, row := range rows {
			if done.find(seed, row, updates, draws) != nil {
				continue
			}
			start, cpu := time.Now(), pieces.CPU()
			var draw func(uint64) (*traffic.Set, error)
			note := ""
			if of := outside[row]; of != nil {
				draw = func(uint64) (*traffic.Set, error) { return of[seed-first], nil }
			} else if draw, note, err = fit(ctx, row, train, held.Len(), uint64(seed), updates, threads); err != nil {
				return fmt.Errorf("%s: %w", row, err)
			}
			x := result{seed, row, updates, draws, map[string]eval.Number{}}
			for k := range draws {
				drawn, err := draw(uint64(k))
				if err != nil {
					return fmt.Errorf("%s: %w", row, err)
				}
				for name, v := range j.figures(drawn) {
					x.Figures[name] += eval.Number(v / float64(draws))
				}
			}
			fmt.Printf("seed %d %s: in %.1f s, %.1f CPU-seconds %s\n", seed, row, time.Since(start).Seconds(), pieces.CPU()-cpu, note)
			for _, name := range figureNames {
				fmt.Printf("    %s %.4f", name, x.Figures[name])
			}
			fmt.Println()
			if err := done.add(x); err != nil {
				return err
			}
		}
	}
	values(func(row, figure string) (v []float64) {
		for seed := first; seed < first+seeds; seed++ {
			v = append(v, float64(done.find(seed, row, updates, draws).Figures[figure]))
		}
		return v
	}).print(os.Stdout, rows)
	return nil
}

// halves are the sessions in two random halves.
func halves(s *traffic.Set, seed uint64) (a, b *traffic.Set) {
	a, b = &traffic.Set{Of: s.Of}, &traffic.Set{Of: s.Of}
	first := chosen(s.Len(), seed)
	for i := range s.Sessions {
		if _, ok := slices.BinarySearch(first, i); ok {
			a.Sessions = append(a.Sessions, s.Sessions[i])
		} else {
			b.Sessions = append(b.Sessions, s.Sessions[i])
		}
	}
	return a, b
}

// chosen are the sessions of the half to be fitted to, in order.
func chosen(n int, seed uint64) []int {
	first := rng.Key{Seed: seed, A: 1 << 20, Purpose: rng.Judging}.Choose(n, n/2)
	slices.Sort(first)
	return first
}

// fit fits a generator to train; it gives what draws n sessions of it, and a note on the
// fit. The first draw has number 0.
func fit(ctx context.Context, row string, train *traffic.Set, n int, seed uint64, updates, threads int) (draw func(k uint64) (*traffic.Set, error), note string, err error) {
	var m traffic.Model
	switch row {
	case "half":
		return func(uint64) (*traffic.Set, error) { return train, nil }, "", nil
	case "columns":
		return func(k uint64) (*traffic.Set, error) { return columns(train, n, seed+k<<32), nil }, "", nil
	case "doppelganger", "likelihood", "doppelganger-chunks", "likelihood-chunks":
		c := doppelganger.Config{Updates: updates}
		row, inChunks := strings.CutSuffix(row, "-chunks")
		if row == "likelihood" {
			c.Mode, c.Updates = doppelganger.Likelihood, 0
		}
		if inChunks {
			return chunked(ctx, train, c, n, traffic.FitOptions{Seed: seed, Threads: threads})
		}
		fitted, err := doppelganger.Fit(ctx, train, c, traffic.FitOptions{Seed: seed, Threads: threads})
		if err != nil {
			return nil, "", err
		}
		a := fitted.Account
		note = fmt.Sprintf("(%d of %d records in %d windows)", a.Records, recordsOf(train), a.Windows)
		m = fitted
	default:
		if kind, epsilon, ok := strings.Cut(row, "@"); ok {
			if m, note, err = private(ctx, kind, epsilon, train, seed, updates, threads); err != nil {
				return nil, "", err
			}
			break
		}
		fitted, err := ngram.Fit(ctx, train, ngram.Config{Mode: row})
		if err != nil {
			return nil, "", err
		}
		m = fitted
	}
	return func(k uint64) (*traffic.Set, error) {
		return traffic.Collect(m.Schema(), m.Sample(ctx, traffic.Request{N: n, Seed: seed + 1000 + k<<32}))
	}, note, nil
}

func recordsOf(s *traffic.Set) (n int) {
	for i := range s.Sessions {
		n += s.Of.Len(&s.Sessions[i])
	}
	return n
}

// columns draws every field on its own from training: all marginals, nothing
// joint.
func columns(train *traffic.Set, n int, seed uint64) *traffic.Set {
	out := &traffic.Set{Of: train.Of}
	for i := range n {
		key := rng.Key{Seed: seed, A: uint32(i), B: 1, Purpose: rng.Judging}
		u := uint32(0)
		any := func() *traffic.Session {
			u++
			return &train.Sessions[key.Intn(u, train.Len())]
		}
		s := traffic.Session{Label: -1, Start: any().Start}
		for j := range train.Of.Meta {
			s.Meta = append(s.Meta, any().Meta[j])
		}
		for range train.Of.Len(any()) {
			for j := range train.Of.Steps {
				of := any()
				u++
				s.Steps = append(s.Steps, train.Of.Step(of, key.Intn(u, train.Of.Len(of)))[j])
			}
		}
		out.Sessions = append(out.Sessions, s)
	}
	return out
}
