// Command rateseries compares models of rate series as NetDiffus' authors do: a
// Fréchet distance in the features of a classifier, a classifier trained on
// generated series and tested on real ones, and one with few real series and
// more and more generated ones.
//
//	go run ./bench/rateseries -siot DIR
//	go run ./bench/rateseries -mirage mirage_train.parquet
//	go run ./bench/rateseries -siot DIR -seeds 6 -keep runs   again after an interruption: what runs holds is not fitted again
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/denoise"
	"github.com/planegym/planegym/traffic/doppelganger"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/ngram"
	"github.com/planegym/planegym/traffic/seriesgan"
)

var (
	siotDir    = flag.String("siot", "", "folder of NEMEA-SIoT's JSON: windows of 128 ticks of 100 ms, by device")
	mirageFile = flag.String("mirage", "", "MIRAGE's Parquet: flows as 128 ticks of 10 ms")
	most       = flag.Int("most", 120, "series of a class, the first; half of them are held out")
	seeds      = flag.Int("seeds", 3, "splits, each with fits and samples of its own")
	rows       = flag.String("rows", "half,bootstrap,witten-bell,timegan,doppelganger,denoise", "what to compare")
	effort     = flag.Float64("effort", 1, "times the default updates of every fit")
	few        = flag.Int("few", 5, "real series of a class in the low-data protocol")
	keep       = flag.String("keep", "", "folder for the figures of every row and seed; those that it holds already are read")
	only       = flag.Int("only", -1, "compute this seed alone, of the others show what -keep holds")
	upTo       = flag.Int("added", 400, "generated series of a class that are added to them at most: none, a quarter, half and all of it")
)

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "rateseries:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var set *traffic.Set
	var err error
	switch {
	case *siotDir != "":
		set, err = siot(*siotDir, .1)
	case *mirageFile != "":
		set, err = mirage(*mirageFile)
	default:
		return fmt.Errorf("which data? -siot DIR or -mirage FILE")
	}
	if err != nil {
		return err
	}
	set = classes(set, 40, *most)
	count := map[string]int{}
	for _, s := range set.Sessions {
		count[set.Of.Labels[s.Label]]++
	}
	fmt.Printf("%d series of %d classes with 40 at least, %v; halves at random, by class; %d seeds, effort %g\n", set.Len(), len(set.Of.Labels), count, *seeds, *effort)
	names := strings.Split(*rows, ",")
	table := map[string]map[string][]float64{}
	for seed := range *seeds {
		train, held := halves(set, uint64(seed))
		var j *judge
		for _, name := range names {
			piece := fmt.Sprintf("%s-%d", name, seed)
			figures, ok, err := pieces.DoIf(pieces.Folder(*keep), piece, *only < 0 || *only == seed, func() (_ map[string]float64, err error) {
				if j == nil {
					if j, err = newJudge(train, held, uint64(seed)); err != nil {
						return nil, err
					}
					fmt.Printf("seed %d: feature network %s, accuracy %.3f on held-out series\n", seed, j.net.hash, j.net.accuracy(held))
				}
				return row(ctx, j, name, train, seed)
			})
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if table[name] == nil {
				table[name] = map[string][]float64{}
			}
			for k, x := range figures {
				table[name][k] = append(table[name][k], x)
			}
		}
	}
	var figures []string
	for _, t := range table {
		figures = slices.Collect(maps.Keys(t))
	}
	slices.Sort(figures)
	fmt.Printf("\n| figure | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, f := range figures {
		fmt.Printf("| %s |", f)
		for _, name := range names {
			fmt.Printf(" %s |", eval.EstimateOf(table[name][f]).Text(3))
		}
		fmt.Println()
	}
	// Gains of denoise, paired by seed.
	if d := table["denoise"]; d != nil {
		for _, name := range names {
			if name == "denoise" {
				continue
			}
			fmt.Printf("denoise − %s:", name)
			for _, f := range figures {
				var v []float64
				for i := range min(len(d[f]), len(table[name][f])) {
					v = append(v, d[f][i]-table[name][f][i])
				}
				fmt.Printf(" %s %s;", f, eval.EstimateOf(v).Text(3))
			}
			fmt.Println()
		}
	}
	return nil
}

// row fits and judges one row, prints its figures.
func row(ctx context.Context, j *judge, name string, train *traffic.Set, seed int) (map[string]float64, error) {
	start := time.Now()
	draw, note, err := fit(ctx, name, train, uint64(seed))
	if err != nil {
		return nil, err
	}
	figures, err := j.figures(draw)
	if err != nil {
		return nil, err
	}
	fmt.Printf("seed %d %s: %.1f s%s\n", seed, name, time.Since(start).Seconds(), note)
	for _, f := range slices.Sorted(maps.Keys(figures)) {
		fmt.Printf("    %s: %.3f\n", f, figures[f])
	}
	return figures, nil
}

// fit fits a row to train and gives what draws n series of a label each from
// it.
func fit(ctx context.Context, name string, train *traffic.Set, seed uint64) (func(labels []int, n int, seed uint64) (*traffic.Set, error), string, error) {
	scaled := func(n int) int { return max(int(float64(n)*(*effort)), 1) }
	o := traffic.FitOptions{Seed: seed, Threads: 1}
	var m traffic.Model
	var err error
	note := ""
	switch name {
	case "half":
		return func(labels []int, n int, _ uint64) (*traffic.Set, error) {
			out := &traffic.Set{Of: train.Of}
			for i := range n {
				of := byLabel(train, labels[i%len(labels)])
				out.Sessions = append(out.Sessions, of[i/len(labels)%len(of)])
			}
			return out, nil
		}, "", nil
	case "denoise":
		c := denoise.Defaults()
		c.Updates = scaled(c.Updates)
		var d *denoise.Model
		if d, err = denoise.Fit(ctx, train, c, o); err == nil {
			note = fmt.Sprintf(", %.2f GFLOP a series, %d weights", d.Flops()/1e9, d.Parameters())
		}
		m = d
	case "doppelganger":
		c := doppelganger.Defaults(doppelganger.Adversarial)()
		c.Updates = scaled(2000)
		m, err = doppelganger.Fit(ctx, train, c, o)
	case "timegan":
		c := seriesgan.Defaults()
		c.Embed, c.Super, c.Joint = scaled(c.Embed), scaled(c.Super), scaled(c.Joint)
		m, err = seriesgan.Fit(ctx, train, c, o)
	default:
		m, err = ngram.Fit(ctx, train, ngram.Config{Mode: name})
	}
	if err != nil {
		return nil, "", err
	}
	return func(labels []int, n int, seed uint64) (*traffic.Set, error) {
		return traffic.Collect(m.Schema(), m.Sample(ctx, traffic.Request{N: n, Labels: labels, Seed: seed, MaxSteps: train.Of.Len(&train.Sessions[0])}))
	}, note, nil
}

func byLabel(s *traffic.Set, label int) (of []traffic.Session) {
	for _, x := range s.Sessions {
		if x.Label == label {
			of = append(of, x)
		}
	}
	return of
}

// classes are those with least series at least, the first most of each.
func classes(s *traffic.Set, least, most int) *traffic.Set {
	out := &traffic.Set{Of: s.Of}
	out.Of.Labels = nil
	for l, name := range s.Of.Labels {
		of := byLabel(s, l)
		if len(of) < least {
			continue
		}
		for _, x := range of[:min(len(of), most)] {
			x.Label = len(out.Of.Labels)
			out.Sessions = append(out.Sessions, x)
		}
		out.Of.Labels = append(out.Of.Labels, name)
	}
	return out
}

// halves are the series of every class in two random halves.
func halves(s *traffic.Set, seed uint64) (a, b *traffic.Set) {
	a, b = &traffic.Set{Of: s.Of}, &traffic.Set{Of: s.Of}
	for l := range s.Of.Labels {
		of := byLabel(s, l)
		key := rng.Key{Seed: seed, A: 1 << 20, B: uint32(l), Purpose: rng.Judging}
		for n, i := range key.Choose(len(of), len(of)) {
			half := a
			if n >= len(of)/2 {
				half = b
			}
			half.Sessions = append(half.Sessions, of[i])
		}
	}
	return a, b
}
