// Command five fits the five learned kinds of models of traffic, and the three
// that only count, to the same sessions and measures all of them alike: five
// protocols, several seeds, one table.
//
//	P0  value in the loop: policies under the model's load and under real load
//	P1  packets: the first of flows of labelled applications
//	P2  captures of many protocols, split by file
//	P3  flow records
//	P4  long flows: of 20 packets at least
//
// A protocol is given as NAME=FILE (halves at random, by seed), NAME=FILE,HELD
// or, P0, NAME=FILE,SCENARIO.toml. Every fit and its figures are a piece in the
// folder -keep; what is there is not computed again. traffic/DESIGN.md has the
// commands that make the files.
//
//	go run ./bench/five -keep runs P1=mirage_train.parquet,mirage_test.parquet P3=ugr.parquet
//	go run ./bench/five -keep runs -only P1-0 P1=mirage_train.parquet,mirage_test.parquet
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
)

type options struct {
	keep    pieces.Folder
	only    string
	seeds   int
	updates int // of each fit; 0: see fit
	most    int
	trees   int
	// sampled is how many sessions are timed.
	sampled int
}

func main() {
	o := options{sampled: 256}
	keep := flag.String("keep", "", "folder of the pieces")
	flag.StringVar(&o.only, "only", "", "compute only pieces whose name, PROTOCOL-SEED-ROW, begins with this; of the others show what -keep holds")
	flag.IntVar(&o.seeds, "seeds", 3, "splits, each with fits, samples and forests of its own")
	flag.IntVar(&o.updates, "updates", 0, "of each fit; 0: those of the published table")
	flag.IntVar(&o.most, "most", 2000, "sessions of a set, at random")
	flag.IntVar(&o.trees, "trees", 50, "of a forest")
	flag.Parse()
	o.keep = pieces.Folder(*keep)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "five:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, args []string) error {
	var all []*protocol
	for _, arg := range args {
		p, err := parse(arg)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return errors.New("usage: five [flags] NAME=FILE[,HELD], one or more")
	}
	slices.SortFunc(all, func(a, b *protocol) int { return strings.Compare(a.name, b.name) })
	t := table{}
	for _, p := range all {
		for seed := range o.seeds {
			for _, row := range append([]string{floors}, rows...) {
				if !p.fits(row) {
					continue
				}
				name := fmt.Sprintf("%s-%d-%s", p.name, seed, row)
				r, ok, err := pieces.DoIf(o.keep, name, strings.HasPrefix(name, o.only), func() (result, error) {
					r, err := p.measure(ctx, o, row, uint64(seed))
					if err == nil {
						fmt.Fprintf(os.Stderr, "%s: %.0f CPU-s\n", name, pieces.CPU())
					}
					return r, err
				})
				if err != nil {
					return err
				}
				if ok {
					t.add(p.name, seed, row, r)
				}
			}
		}
	}
	return t.write(os.Stdout)
}
