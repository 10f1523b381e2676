// Command autoregressive measures a fitted autoregressive model on held-out
// sessions beside the Witten-Bell 3-gram of the same training sessions: the
// likelihood by fields, of steps whose direction and size training had and of
// others, the masked-burst accuracy and perplexity that netSynth's published
// code reports, and the sessions sampled per CPU-second.
//
//	planegym traffic fit --data mirage_train.parquet --mode autoregressive -o ar.safetensors
//	go run ./bench/autoregressive -train mirage_train.parquet -held mirage_test.parquet ar.safetensors...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/ngram"
	"github.com/planegym/planegym/traffic/store"
)

func main() {
	train := flag.String("train", "", "sessions that the models were fitted to, Parquet")
	held := flag.String("held", "", "sessions that they were not fitted to")
	n := flag.Int("n", 20000, "sessions to sample for the rate")
	out := flag.String("export", "", "write what a network sees of both, for bench/autoregressive.py, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *train, *held, *out, *n, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "autoregressive:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, train, held, out string, n int, models []string) error {
	if train == "" || held == "" || out == "" && len(models) == 0 {
		return errors.New("usage: autoregressive -train FILE -held FILE MODEL [MODEL ...]")
	}
	a, err := load(train)
	if err != nil {
		return err
	}
	b, err := load(held)
	if err != nil {
		return err
	}
	if out != "" {
		return export(out, a, b)
	}
	floor, err := ngram.Fit(ctx, a, ngram.Config{})
	if err != nil {
		return err
	}
	known := seen(a)
	fmt.Printf("%d training and %d held-out sessions; nats a step, ± 95 %% over sessions\n", a.Len(), b.Len())
	if err := likelihood("witten-bell-3", floor, b, known); err != nil {
		return err
	}
	for _, path := range models {
		m, err := autoregressive.Open(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		if err := likelihood(name, m, b, known); err != nil {
			return err
		}
		r, err := m.Bursts(b)
		if err != nil {
			return err
		}
		fmt.Printf("%s: last bursts of %d sessions, %d steps: perplexity %.2f a step;", name, r.Sessions, r.Steps, r.Perplexity)
		for i, f := range r.Fields {
			fmt.Printf(" %s %.3f (commonest of its label %.3f)", f, r.Accuracy[i], r.Commonest[i])
		}
		before, steps := pieces.CPU(), 0
		for s, err := range m.Sample(ctx, traffic.Request{N: n, Seed: 1}) {
			if err != nil {
				return err
			}
			steps += m.Schema().Len(&s)
		}
		took := pieces.CPU() - before
		fmt.Printf("\n%s: %d parameters; %.0f sessions, %.0f steps per CPU-second sampled\n", name, m.Parameters(), float64(n)/took, float64(steps)/took)
	}
	return nil
}

func load(path string) (*traffic.Set, error) {
	s, err := store.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// scorer is a model that knows how likely a session is.
type scorer interface {
	Parts() []string
	LogProb(s *traffic.Session, into []float64) (steps int, err error)
}

func exact(c *traffic.Schema, step []float64) string {
	var b []byte
	for i, f := range c.Steps {
		if f.Kind != traffic.Gap && f.Kind != traffic.Number {
			b = fmt.Appendf(b, "%v ", step[i])
		}
	}
	return string(b)
}

func seen(s *traffic.Set) map[string]bool {
	all := map[string]bool{}
	for i := range s.Sessions {
		for t := range s.Of.Len(&s.Sessions[i]) {
			all[exact(&s.Of, s.Of.Step(&s.Sessions[i], t))] = true
		}
	}
	return all
}

// likelihood prints nats a step: of all sessions, and of those of which
// training had every step.
func likelihood(name string, m scorer, held *traffic.Set, known map[string]bool) error {
	parts := m.Parts()
	var nats [2][]float64 // of all, of known ones
	var values, steps [2][]float64
	for k := range nats {
		nats[k] = make([]float64, len(parts))
	}
	for i := range held.Sessions {
		s := &held.Sessions[i]
		sum := make([]float64, len(parts))
		n, err := m.LogProb(s, sum)
		if err != nil {
			return fmt.Errorf("held-out session %d: %w", i, err)
		}
		all := true
		for t := range held.Of.Len(s) {
			all = all && known[exact(&held.Of, held.Of.Step(s, t))]
		}
		for k := range nats {
			if k == 1 && !all {
				continue
			}
			for p := range parts {
				nats[k][p] -= sum[p]
			}
			values[k], steps[k] = append(values[k], -sum[0]), append(steps[k], float64(n))
		}
	}
	total := func(x []float64) (sum float64) {
		for _, v := range x {
			sum += v
		}
		return sum
	}
	for k, what := range []string{"all sessions", "sessions of which training had every step"} {
		n, mean := total(steps[k]), total(values[k])/total(steps[k])
		ss := 0.
		for i, v := range values[k] {
			d := v - mean*steps[k][i]
			ss += d * d
		}
		fmt.Printf("%s, %d %s: steps %.4f ± %.4f", name, len(values[k]), what, mean, 1.96*math.Sqrt(ss)/n)
		for p := 1; p < len(parts); p++ {
			fmt.Printf(", %s %.4f", parts[p], nats[k][p]/n)
		}
		fmt.Println()
	}
	return nil
}
