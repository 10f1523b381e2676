// Command orders measures what the order of packet gaps does to the value of a
// queue limit: the packets of a capture as background load, at one mean rate,
// with their gaps as recorded, with the same gaps shuffled, and with gaps of a
// Poisson process. Marginals of the first two are equal.
//
//	go run ./bench/orders -episodes 20 CAPTURE.pcap...
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/store"
)

var (
	rate     = flag.Float64("rate", 3840, "packets/s of the background in the mean")
	ports    = flag.String("pps", "4000", "packets/s that switch 1 serves, comma between")
	under    = flag.String("limits", "32,64,128", "queue limits, packets, comma between")
	episodes = flag.Int("episodes", 20, "paired episodes; 0: none, and of each order what a queue carries")
	steps    = flag.Int("steps", 100, "steps of 4 s of an episode")
)

var limits = []p4.Limit{32, 64, 128}

func main() {
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "orders: which captures?")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

func run() error {
	var chosen []p4.Limit
	for _, text := range strings.Split(*under, ",") {
		x, err := strconv.ParseUint(text, 10, 31)
		if err != nil || !slices.Contains(limits, p4.Limit(x)) {
			return fmt.Errorf("-limits: %q is not one of %v", text, limits)
		}
		chosen = append(chosen, p4.Limit(x))
	}
	fmt.Printf("Background of %.0f packets/s; reward a step, mean of %d episodes of %d steps ± 95 %%; differences to recorded, paired by seed.\n\n", *rate, *episodes, *steps)
	for _, path := range flag.Args() {
		gaps, sizes, err := read(path)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d packets, a loop of %.2f s; index of dispersion in windows of 16 ms:", filepath.Base(path), len(gaps), float64(len(gaps))/(*rate))
		for k, name := range []string{"recorded", "shuffled", "Poisson"} {
			fmt.Printf(" %s %.1f", name, dispersion(order(gaps, k), .016))
		}
		fmt.Println()
		for _, text := range strings.Split(*ports, ",") {
			port, err := strconv.ParseFloat(text, 64)
			if err != nil || !(port > 0) {
				return fmt.Errorf("-pps: %q", text)
			}
			fmt.Printf("a queue of 64 at %.0f packets/s alone carries, of its capacity:", port)
			for k, name := range []string{"recorded", "shuffled", "Poisson"} {
				fmt.Printf(" %s %.0f %%", name, 100*carried(order(gaps, k), port, 64)*(*rate)/port)
			}
			fmt.Println()
		}
		if *episodes == 0 {
			fmt.Println()
			continue
		}
		fmt.Println("\n| port, packets/s | limit | recorded | shuffled | Poisson | shuffled − recorded | Poisson − recorded |\n|---|---|---|---|---|---|---|")
		for _, text := range strings.Split(*ports, ",") {
			port, err := strconv.ParseFloat(text, 64)
			if err != nil || !(port > 0) {
				return fmt.Errorf("-pps: %q", text)
			}
			for _, limit := range chosen {
				var v [3][]float64
				for k := range v {
					if v[k], err = value(order(gaps, k), sizes, limit, port); err != nil {
						return err
					}
				}
				fmt.Printf("| %.0f | %d | %s | %s | %s | %s | %s |\n", port, limit, mean(v[0]), mean(v[1]), mean(v[2]), mean(less(v[1], v[0])), mean(less(v[2], v[0])))
			}
		}
		fmt.Println()
	}
	return nil
}

// carried is the share of the packets that a drop-tail queue of a limit serves,
// after a first loop that fills it.
func carried(gaps []float64, port float64, limit float64) float64 {
	queue, served := 0., 0
	for loop := range 2 {
		for _, g := range gaps {
			queue = max(queue-g*port, 0)
			if queue+1 <= limit {
				queue++
				served += loop
			}
		}
	}
	return float64(served) / float64(len(gaps))
}

// dispersion of the packets of one loop.
func dispersion(gaps []float64, width float64) float64 {
	at, times := 0., make([]float64, len(gaps))
	for i, g := range gaps {
		at += g
		times[i] = at
	}
	return eval.Dispersion(times, width)
}

// read is the gaps (s) before a capture's packets and their sizes on the wire.
func read(path string) (gaps, sizes []float64, err error) {
	if filepath.Ext(path) == ".parquet" {
		return merged(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r, err := pcap.NewReader(f, path)
	if err != nil {
		return nil, nil, err
	}
	var last int64
	for p := (pcap.Packet{}); ; {
		if err := r.Next(&p); err == io.EOF {
			break
		} else if err != nil {
			return nil, nil, err
		}
		at := p.Time.UnixNano()
		if len(gaps) == 0 {
			last = at
		}
		gaps, sizes = append(gaps, math.Max(float64(at-last)/1e9, 0)), append(sizes, math.Min(math.Max(float64(len(p.Data)), 64), 1500))
		last = max(at, last)
	}
	if len(gaps) < 2 {
		return nil, nil, fmt.Errorf("%s: %d packets", path, len(gaps))
	}
	return gaps, sizes, nil
}

// merged is the same of sessions, all of them on one line.
func merged(path string) (gaps, sizes []float64, err error) {
	set, err := store.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	c := &set.Of
	size, gap := c.StepIndex("size"), c.StepIndex("gap")
	if size < 0 || gap < 0 {
		return nil, nil, fmt.Errorf("%s: steps have no size and gap", path)
	}
	var all [][2]float64
	for i := range set.Sessions {
		at := set.Sessions[i].Start
		for t := range c.Len(&set.Sessions[i]) {
			x := c.Step(&set.Sessions[i], t)
			at += x[gap]
			all = append(all, [2]float64{at, min(max(x[size]+40, 64), 1500)})
		}
	}
	slices.SortStableFunc(all, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
	for i, x := range all {
		gaps, sizes = append(gaps, x[0]-all[max(i-1, 0)][0]), append(sizes, x[1])
	}
	if len(gaps) < 2 {
		return nil, nil, fmt.Errorf("%s: %d packets", path, len(gaps))
	}
	return gaps, sizes, nil
}

// order is the gaps in order k: 0 recorded, 1 shuffled, 2 drawn anew. The first
// gap, 0 by construction, becomes the mean one.
func order(gaps []float64, k int) []float64 {
	out := append([]float64{}, gaps...)
	sum := 0.
	for _, g := range out {
		sum += g
	}
	out[0] = sum / float64(len(out)-1)
	key := rng.Key{Seed: 1, Purpose: rng.Judging}
	for i := range out {
		switch k {
		case 1:
			j := i + key.Intn(uint32(i), len(out)-i)
			out[i], out[j] = out[j], out[i]
		case 2:
			out[i] = -math.Log1p(-key.Float64(uint32(i)))
		}
	}
	sum = 0
	for _, g := range out {
		sum += g
	}
	for i := range out {
		out[i] *= float64(len(out)) / *rate / sum
	}
	return out
}

// value is the mean reward of a limit, by episode.
func value(gaps, sizes []float64, limit p4.Limit, port float64) ([]float64, error) {
	set := &traffic.Set{Of: traffic.Schema{
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp", "icmp"}}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}},
			{Name: "size", Kind: traffic.Size}, {Name: "gap", Kind: traffic.Gap}},
	}}
	s := traffic.Session{Label: -1, Meta: []float64{1}}
	for i, g := range gaps {
		s.Steps = append(s.Steps, 1, max(sizes[i]-28, 0), g)
	}
	set.Sessions = []traffic.Session{s}
	at := testbed.DefaultPorts()
	at[0].PPS = port
	plant, err := testbed.New(testbed.Config{
		Ports: at,
		Loads: []testbed.Load{{Name: "capture", Kind: "sessions", Sessions: func() *traffic.Set { return set }, Flow: testbed.Flow{Path: []string{"s1"}}, Pattern: testbed.Pattern{Max: 4}}},
	})
	if err != nil {
		return nil, err
	}
	cfg := queues.Config{Limits: limits, Initial: limit, StepSeconds: 4, MaxSteps: *steps, Observation: queues.Observation{Normalise: "none"}}
	v, err := queues.New(cfg, plant, *episodes, nil)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	ctx := context.Background()
	seeds, actions := make([]uint64, *episodes), make([]int32, *episodes)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
		for k, l := range limits {
			if l == limit {
				actions[i] = int32(k)
			}
		}
	}
	var b env.Batch
	b.Size(*episodes, v.Spec().Observation.Dim(), false)
	if err := v.Reset(ctx, nil, seeds, &b); err != nil {
		return nil, err
	}
	sum := make([]float64, *episodes)
	for range *steps {
		if err := v.Step(ctx, nil, actions, &b); err != nil {
			return nil, err
		}
		for i, r := range b.Reward {
			sum[i] += float64(r) / float64(*steps)
		}
	}
	return sum, nil
}

func less(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return d
}

// mean is a mean and its 95 % interval.
func mean(v []float64) string {
	e := eval.EstimateOf(v)
	return fmt.Sprintf("%+.2f ± %.2f", float64(e.Mean), e.Half())
}
