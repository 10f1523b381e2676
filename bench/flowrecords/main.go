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

// options are the flags.
type options struct {
	first, seeds, updates, draws, threads int
	rows                                  []string
	keep                                  pieces.Folder
	halves                                string
	others                                files
}

func main() {
	o := options{others: files{}}
	flag.IntVar(&o.seeds, "seeds", 3, "splits, each with fits and samples of its own")
	flag.IntVar(&o.first, "first", 0, "the first of them")
	flag.IntVar(&o.updates, "updates", 0, "of the adversarial fit; 0: its default")
	flag.IntVar(&o.threads, "threads", 1, "of fits")
	rows := flag.String("rows", "half,columns,bootstrap,witten-bell,likelihood,doppelganger", "what to compare; doppelganger@8 and ngram@8 are private fits at ε = 8")
	flag.IntVar(&o.draws, "draws", 1, "samples of each fit, whose figures are averaged")
	keep := flag.String("keep", "", "`folder` of figures, a file for each row of a split: those in it are not computed again")
	flag.StringVar(&o.halves, "halves", "", "write the halves that rows are fitted to into this `folder`, half-0.csv and on, and end")
	flag.Func("row", "`NAME=FILE,FILE,...`: a row of somebody's records, fitted elsewhere to the halves that -halves writes; a file for each split (can be repeated)", o.others.add)
	flag.Parse()
	o.rows, o.keep = strings.Split(*rows, ","), pieces.Folder(*keep)
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: flowrecords [flags] FILE.csv")
		os.Exit(2)
	}
	if err := o.run(context.Background(), flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "flowrecords:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context, path string) error {
	records, err := readRecords(path)
	if err != nil {
		return err
	}
	set := netflow.Sessions(records)
	fmt.Printf("%d records, %d sessions, %d fields; means of %d seeds\n", len(records), set.Len(), len(set.Of.Meta)+len(set.Of.Steps), o.seeds)
	if o.halves != "" {
		return writeHalves(path, records, o.first, o.seeds, o.halves)
	}
	outside, err := o.others.read(records, set.Of, o.seeds)
	if err != nil {
		return err
	}
	for _, name := range o.others.names() {
		if slices.Contains(o.rows, name) {
			return fmt.Errorf("-row %s: there is a row of that name", name)
		}
		o.rows = append(o.rows, name)
	}
	table := map[string]map[string][]float64{}
	for seed := o.first; seed < o.first+o.seeds; seed++ {
		train, held := halves(set, uint64(seed))
		j := newJudge(train, held, uint64(seed))
		for _, row := range o.rows {
			figures, err := o.figures(seed, row, func() (figures, error) {
				if of := outside[row]; of != nil {
					return o.measure(ctx, j, seed, row, train, held.Len(), func(uint64) (*traffic.Set, error) { return of[seed-o.first], nil })
				}
				return o.measure(ctx, j, seed, row, train, held.Len(), nil)
			})
			if err != nil {
				return err
			}
			if table[row] == nil {
				table[row] = map[string][]float64{}
			}
			for _, name := range figureNames {
				table[row][name] = append(table[row][name], float64(figures[name]))
			}
		}
	}
	values(func(row, figure string) []float64 { return table[row][figure] }).print(os.Stdout, o.rows)
	return nil
}

// measure fits a row to train, where draw does not give its samples, and judges them.
func (o *options) measure(ctx context.Context, j *judge, seed int, row string, train *traffic.Set, n int, draw func(uint64) (*traffic.Set, error)) (figures, error) {
	start, cpu, note := time.Now(), pieces.CPU(), ""
	if draw == nil {
		var err error
		if draw, note, err = fit(ctx, row, train, n, uint64(seed), o.updates, o.threads); err != nil {
			return nil, err
		}
	}
	f := figures{}
	for k := range o.draws {
		drawn, err := draw(uint64(k))
		if err != nil {
			return nil, err
		}
		for name, v := range j.figures(drawn) {
			f[name] += eval.Number(v / float64(o.draws))
		}
	}
	fmt.Printf("seed %d %s: in %.1f s, %.1f CPU-seconds %s\n", seed, row, time.Since(start).Seconds(), pieces.CPU()-cpu, note)
	for _, name := range figureNames {
		fmt.Printf("    %s %.4f", name, f[name])
	}
	fmt.Println()
	return f, nil
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
