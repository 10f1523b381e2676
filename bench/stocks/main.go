// Command stocks runs the TimeGAN paper's own check: a model of the Stocks set,
// preset paper, scored as its authors do.
//
//	go run ./bench/stocks --data stock.csv -o stocks.safetensors
//	go run ./bench/stocks --score stocks.safetensors
//	python bench/stocks.py stocks.safetensors        the same scores by PyTorch
package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/eval/posthoc"
	"github.com/planegym/planegym/eval/protocol"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stocks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	data := flag.String("data", "", "CSV of the Stocks set")
	out := flag.String("o", "", "file for real and generated windows")
	updates := flag.Int("updates", 10000, "of each phase; the paper's is 10000")
	repeats := flag.Int("repeats", 10, "of each score")
	kernels := flag.String("kernels", "auto", "kernel set")
	seed := flag.Uint64("seed", 0, "of training")
	windows := flag.String("score", "", "score the windows of this file, without training")
	flag.Parse()
	k, err := compute.ParseKernels(*kernels)
	if err != nil {
		return err
	}
	var real, fake posthoc.Set
	result := map[string]any{"kernels": k.String()}
	if *windows != "" {
		real, fake, err = load(*windows)
	} else {
		real, fake, err = train(ctx, k, *data, *updates, *seed, result)
	}
	if err != nil {
		return err
	}
	result["windows"] = real.Len()
	if *out != "" {
		if err := safetensors.WriteFile(*out, map[string]string{"of": "planegym bench/stocks"}, []safetensors.Tensor{
			{Name: "real", Shape: []int{real.Len(), real.Length, real.Features}, Data: real.X},
			{Name: "fake", Shape: []int{fake.Len(), fake.Length, fake.Features}, Data: fake.X},
		}); err != nil {
			return err
		}
	}
	if err := score(ctx, k, real, fake, *repeats, result); err != nil {
		return err
	}
	j := json.NewEncoder(os.Stdout)
	j.SetIndent("", "  ")
	return j.Encode(result)
}

// load reads what -o wrote.
func load(path string) (real, fake posthoc.Set, err error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return real, fake, err
	}
	defer f.Close()
	for _, s := range []struct {
		name string
		set  *posthoc.Set
	}{{"real", &real}, {"fake", &fake}} {
		info, ok := f.Info(s.name)
		if !ok || len(info.Shape) != 3 {
			return real, fake, fmt.Errorf("%s: no tensor %s of three dimensions", path, s.name)
		}
		n := info.Shape[0] * info.Shape[1] * info.Shape[2]
		*s.set = posthoc.Set{Length: info.Shape[1], Features: info.Shape[2], X: make([]float32, n)}
		if err := safetensors.Read(f, s.name, s.set.X, info.Shape...); err != nil {
			return real, fake, err
		}
	}
	return real, fake, nil
}

// train fits a model of the set and gives its windows, and as many generated.
func train(ctx context.Context, k compute.Kernels, data string, updates int, seed uint64, result map[string]any) (real, fake posthoc.Set, err error) {
	r, err := read(data)
	if err != nil {
		return real, fake, err
	}
	c, err := timegan.Preset("paper")
	if err != nil {
		return real, fake, err
	}
	c.Seed, c.Embed, c.Super, c.Joint = seed, updates, updates, updates
	t, err := timegan.NewTraining([]telemetry.Recording{r}, telemetry.All, c, 2)
	if err != nil {
		return real, fake, err
	}
	e := timegan.NewCPU(k, 1)
	defer e.Close()
	begin := time.Now()
	m, err := timegan.Fit(ctx, c, e, t, timegan.FitOptions{Interval: max(updates/5, 1), Report: func(p timegan.Progress) {
		fmt.Fprintf(os.Stderr, "%v %d/%d %s R %.5f S %.5f U %.3f V %.4f D %.3f\n", p.Phase, p.Update, p.Of,
			time.Since(begin).Round(time.Second), p.Losses.R, p.Losses.S, p.Losses.U, p.Losses.V, p.Losses.D)
	}})
	if err != nil {
		return real, fake, err
	}
	result["config"], result["losses"], result["train_seconds"] = m.Config, m.Losses, math.Round(time.Since(begin).Seconds())
	real = windows(&t.Windows, m.Config.Window)
	fake, err = protocol.Alone(e, m, real.Len())
	return real, fake, err
}

// score adds the scores of fake, and of real as the best that a predictor can
// be trained on, to result.
func score(ctx context.Context, k compute.Kernels, real, fake posthoc.Set, repeats int, result map[string]any) error {
	be := compute.NewBackend(k, 1)
	defer be.Close()
	for _, s := range []struct {
		name  string
		score func(context.Context, *compute.Backend, posthoc.Set, posthoc.Set, posthoc.Options) (float64, error)
		fake  posthoc.Set
	}{
		{"discriminative", posthoc.Discriminative, fake}, {"predictive", posthoc.Predictive, fake},
		{"predictive_of_real", posthoc.Predictive, real},
	} {
		var x []float64
		mean, sd := 0., 0.
		for i := range uint64(repeats) {
			v, err := s.score(ctx, be, real, s.fake, posthoc.Options{Seed: i})
			if err != nil {
				return err
			}
			x, mean = append(x, v), mean+v/float64(repeats)
		}
		for _, v := range x {
			sd += (v - mean) * (v - mean) / float64(max(repeats-1, 1))
		}
		result[s.name] = map[string]any{"mean": mean, "sd": math.Sqrt(sd), "repeats": x}
	}
	return nil
}

// read reads the set as its authors do, last day first.
func read(path string) (telemetry.Recording, error) {
	var r telemetry.Recording
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return r, err
	}
	if len(rows) < 2 {
		return r, errors.New("there is no row")
	}
	slices.Reverse(rows[1:])
	var fields []telemetry.Field
	for _, name := range rows[0] {
		fields = append(fields, telemetry.Field{Name: name, Unit: "1"})
	}
	var values []float32
	var valid []bool
	for i, row := range rows[1:] {
		for k, s := range row {
			x, err := strconv.ParseFloat(s, 32)
			if err != nil {
				return r, fmt.Errorf("%s: row %d, %s: %q is not a number", path, len(rows)-1-i, rows[0][k], s)
			}
			values, valid = append(values, float32(x)), append(valid, true)
		}
	}
	r.Data, err = telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)
	return r, err
}

// windows are all windows that training draws from, on the model's scale.
func windows(w *timegan.Windows, length int) posthoc.Set {
	f := w.Channels()
	s := posthoc.Set{Length: length, Features: f}
	for _, at := range w.Start {
		s.X = append(s.X, w.X[at*f:(at+length)*f]...)
	}
	return s
}
