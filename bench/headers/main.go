// Command headers fits packages masked and autoregressive to the header fields
// of a real trace and compares the header bits of what they sample with those of
// the trace's other half, beside the published generator's tables and other real
// traces, all by one code: base-2 Jensen-Shannon divergence of each bit's
// marginal, mean over a header's bits, addresses left out.
//
//	go run ./bench/headers -real netflix_01.nprint netflix_5_raw_generated.nprint netflix_5_postprocessed.nprint correct_format.nprint
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/headers"
	"github.com/planegym/planegym/traffic/masked"
	"github.com/planegym/planegym/traffic/nprint"
)

type options struct {
	real    string
	window  int
	seeds   int
	updates int
	write   string
	worst   int
}

func main() {
	var o options
	flag.StringVar(&o.real, "real", "", "table or capture of one real trace")
	flag.IntVar(&o.window, "window", 64, "packets of a session; every second window is fitted to")
	flag.IntVar(&o.seeds, "seeds", 3, "fits")
	flag.IntVar(&o.updates, "updates", 500, "of each fit")
	flag.StringVar(&o.write, "o", "", "table to write of what the last masked fit samples")
	flag.IntVar(&o.worst, "worst", 0, "also print this many fields, those whose bits differ most in sum, beside the same of the windows fitted to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "headers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, others []string) error {
	if o.real == "" {
		return errors.New("usage: headers -real TABLE [OTHER TABLES]")
	}
	set, counts, err := headers.ReadFile(o.real, flows.Options{Label: "real"})
	if err != nil {
		return err
	}
	windows := headers.Windows(set, o.window)
	train, held := &traffic.Set{Of: set.Of}, &traffic.Set{Of: set.Of}
	for i, s := range windows.Sessions {
		if i%2 == 0 {
			train.Sessions = append(train.Sessions, s)
		} else {
			held.Sessions = append(held.Sessions, s)
		}
	}
	fmt.Printf("%s: %d of %d packets in %d sessions; %d windows fitted to, %d held out\n", filepath.Base(o.real), counts.Actions, counts.Packets, set.Len(), train.Len(), held.Len())
	whole, err := table(o.real)
	if err != nil {
		return err
	}
	// Windows are rendered with the bits that sessions leave out drawn anew, in
	// both halves and in samples alike.
	half, err := marginals(held, 1, nil)
	if err != nil {
		return err
	}
	first, err := marginals(train, 2, nil)
	if err != nil {
		return err
	}
	show("against the whole trace's table:", nil)
	for _, path := range others {
		m, err := table(path)
		if err != nil {
			return err
		}
		show(filepath.Base(path), nprint.Compare(whole, m))
	}
	show("against the held-out windows:", nil)
	show("the windows fitted to (real)", nprint.Compare(half, first))
	real, err := compile.Write(ctx, io.Discard, &held.Of, all(held), compile.Options{})
	if err != nil {
		return err
	}
	fmt.Printf("  held-out windows compiled: %d of %d actions changed (%.2f %%)\n", real.Changed, real.Actions, 100*real.RepairRate())
	for _, path := range others {
		m, err := table(path)
		if err != nil {
			return err
		}
		show(filepath.Base(path), nprint.Compare(half, m))
	}
	for seed := range o.seeds {
		f := traffic.FitOptions{Seed: uint64(seed), Threads: 1}
		before := pieces.CPU()
		c := masked.Defaults()
		c.Updates = o.updates
		m, err := masked.Fit(ctx, train, c, f)
		if err != nil {
			return err
		}
		fitted := pieces.CPU()
		a := autoregressive.Defaults()
		a.Updates = o.updates
		ar, err := autoregressive.Fit(ctx, train, a, f)
		if err != nil {
			return err
		}
		arFitted := pieces.CPU()
		for _, x := range []struct {
			name string
			m    traffic.Model
			took float64
		}{{"masked", m, fitted - before}, {"autoregressive", ar, arFitted - fitted}} {
			s, err := traffic.Collect(x.m.Schema(), x.m.Sample(ctx, traffic.Request{N: held.Len(), Seed: uint64(seed)}))
			if err != nil {
				return err
			}
			start, steps := pieces.CPU(), 0
			for y, err := range x.m.Sample(ctx, traffic.Request{N: 256, Seed: uint64(seed)}) {
				if err != nil {
					return err
				}
				steps += x.m.Schema().Len(&y)
			}
			rate := float64(steps) / (pieces.CPU() - start)
			path := ""
			if x.name == "masked" {
				path = o.write
			}
			sampled, err := write(path, s, 3)
			if err != nil {
				return err
			}
			show(fmt.Sprintf("%s, seed %d", x.name, seed), nprint.Compare(half, sampled))
			worst(o.worst, nprint.Fields(half, sampled), nprint.Fields(half, first))
			r, err := compile.Write(ctx, io.Discard, &s.Of, all(s), compile.Options{Seed: uint64(seed)})
			if err != nil {
				return err
			}
			fmt.Printf("  fitted in %.0f CPU-s, %.0f packets per CPU-second sampled; compiled: %d of %d actions changed (%.2f %%)\n", x.took, rate, r.Changed, r.Actions, 100*r.RepairRate())
			for _, why := range r.Reasons()[:min(len(r.Reasons()), o.worst)] {
				fmt.Printf("  %6d  %s\n", r.Why[why], why)
			}
		}
	}
	return nil
}

// worst prints the n fields that are furthest off, beside the floor's.
func worst(n int, d, floor []nprint.Divergence) {
	of := map[string]float64{}
	for _, f := range floor {
		of[f.Group] = f.JSD
	}
	slices.SortStableFunc(d, func(a, b nprint.Divergence) int {
		return cmp.Compare(b.JSD*float64(b.Columns), a.JSD*float64(a.Columns))
	})
	for _, f := range d[:min(n, len(d))] {
		fmt.Printf("  %-12s %3d bits, sum %.4f, of real %.4f\n", f.Group, f.Columns, f.JSD*float64(f.Columns), of[f.Group]*float64(f.Columns))
	}
}

func all(s *traffic.Set) func(func(traffic.Session, error) bool) {
	return func(yield func(traffic.Session, error) bool) {
		for _, x := range s.Sessions {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func show(name string, d []nprint.Divergence) {
	fmt.Printf("%-34s", name)
	for _, x := range d {
		fmt.Printf(" %s %.4f", x.Group, x.JSD)
	}
	fmt.Println()
}

// table counts the bits of a table of nPrint.
func table(path string) (*nprint.Marginals, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &nprint.Marginals{}
	return m, nprint.Read(f, path, func(r *nprint.Row) error { m.Add(r); return nil })
}

func marginals(s *traffic.Set, seed uint64, each func(*nprint.Row) error) (*nprint.Marginals, error) {
	m := &nprint.Marginals{}
	for i := range s.Sessions {
		err := headers.Rows(&s.Of, &s.Sessions[i], seed, i, func(r *nprint.Row) error {
			m.Add(r)
			if each != nil {
				return each(r)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// write is marginals, and writes the rows to a table where path is not "".
func write(path string, s *traffic.Set, seed uint64) (*nprint.Marginals, error) {
	if path == "" {
		return marginals(s, seed, nil)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, err := nprint.NewWriter(f)
	if err != nil {
		return nil, err
	}
	m, err := marginals(s, seed, w.Write)
	if err != nil {
		return nil, err
	}
	return m, w.Flush()
}
