// Command offered says what load sessions offer, of files and of models: how long
// sessions are, how many are in progress at once and how many find no place, what
// goes down a second, and in which bursts. It plays them by itself, without the testbed,
// and finds why policies are worth something else under one load than under
// another: by its table, and by sessions of which one thing is another's.
//
//	go run ./bench/offered -arrivals 380 -speed 10 -places 2000 fit.parquet model.safetensors
//	go run ./bench/offered -gaps fit.parquet -o swapped.parquet model.safetensors
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/stat"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/models"
	"github.com/planegym/planegym/traffic/store"
)

var (
	arrivals = flag.Float64("arrivals", 380, "sessions a second")
	speed    = flag.Float64("speed", 10, "times as fast as they were recorded")
	places   = flag.Int("places", 2000, "sessions that may be in progress at once")
	warmup   = flag.Float64("warmup", 30, "s before what is counted")
	seconds  = flag.Float64("seconds", 160, "s that are counted, of each run")
	runs     = flag.Int("runs", 6, "runs")
	pool     = flag.Int("pool", 65536, "sessions that are drawn of a model")
	gaps     = flag.String("gaps", "", "give sessions the gaps of those of this file or model that are about as long")
	shuffle  = flag.Bool("shuffle", false, "shuffle the gaps of each session")
	out      = flag.String("o", "", "write the sessions, of one argument, as Parquet")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "offered:", err)
		os.Exit(1)
	}
}

func run() error {
	if flag.NArg() == 0 || *out != "" && flag.NArg() > 1 {
		return fmt.Errorf("%d files: give at least one, with -o one", flag.NArg())
	}
	for name, x := range map[string]float64{"arrivals": *arrivals, "speed": *speed, "places": float64(*places), "seconds": *seconds, "runs": float64(*runs), "pool": float64(*pool)} {
		if !(x > 0) {
			return fmt.Errorf("-%s: %v is not more than 0", name, x)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "sessions of\tsteps\tof 100\tbytes\tlast s, mean\tmedian\tof 4, one over\tat once\tno place\tdown, packets/s\tkB/s\tup, packets/s\tdispersion 10 ms\t100 ms\t1 s")
	for _, path := range flag.Args() {
		set, err := read(path)
		if err != nil {
			return err
		}
		if *gaps != "" {
			of, err := read(*gaps)
			if err != nil {
				return err
			}
			if err := swapGaps(set, of); err != nil {
				return fmt.Errorf("%s: %w", *gaps, err)
			}
		}
		if *shuffle {
			shuffleGaps(set)
		}
		if *out != "" {
			if _, err := store.WriteFile(*out, &set.Of, store.All(set)); err != nil {
				return err
			}
		}
		all, err := compile(set, *speed)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		p := play{rate: *arrivals, places: *places, warmup: *warmup, seconds: *seconds, runs: *runs}
		o := p.offer(all)
		lengths, lasting, bytes := summary(set)
		at := func(v []float64, share float64) float64 { return v[int(share*float64(len(v)-1))] }
		fmt.Fprintf(w, "%s\t%.2f\t%.0f\t%.0f\t%.1f\t%.3f\t%.2f\t%.0f\t%.1f %%\t%.0f\t%.0f\t%.0f", filepath.Base(path), stat.Mean(lengths, nil), at(lengths, .99), bytes,
			stat.Mean(lasting, nil), at(lasting, .5), at(lasting, .75), o.atOnce, 100*o.refused, o.down, o.downBytes/1e3, o.up)
		for _, d := range o.dispersion {
			fmt.Fprintf(w, "\t%.2f", d)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func read(path string) (*traffic.Set, error) {
	if !strings.HasSuffix(path, ".safetensors") {
		return store.ReadFile(path)
	}
	m, err := models.Open(path)
	if err != nil {
		return nil, err
	}
	return models.Pool(context.Background(), m, nil, *pool, 0)
}

// summary is sessions' steps and how long they last, ascending, and their mean bytes.
func summary(set *traffic.Set) (lengths, lasting []float64, bytes float64) {
	c := &set.Of
	gap, size := c.StepIndex("gap"), c.StepIndex("size")
	for i := range set.Sessions {
		s, lasts := &set.Sessions[i], 0.
		for t := range c.Len(s) {
			x := c.Step(s, t)
			lasts += x[gap]
			bytes += x[size] / float64(set.Len())
		}
		lengths, lasting = append(lengths, float64(c.Len(s))), append(lasting, lasts)
	}
	slices.Sort(lengths)
	slices.Sort(lasting)
	return lengths, lasting, bytes
}
