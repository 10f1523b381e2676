package graph_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"testing"

	G "gorgonia.org/gorgonia"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/graph"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// autocorrelation pays weight times the mean, over channels, of the distance
// between the autocorrelations of generated and of real windows at a lag.
func autocorrelation(lag int, weight float32) graph.Term {
	mean := func(x *G.Node) *G.Node { return G.Must(graph.BatchMean(G.Must(graph.Flat(x)))) } // [1,1,F]
	of := func(x *G.Node) *G.Node {
		steps := x.Shape()[0]
		u := G.Must(graph.Centred(x))
		early, late := G.Must(graph.Steps(u, 0, steps-lag)), G.Must(graph.Steps(u, lag, steps))
		variance := G.Must(G.Add(mean(G.Must(G.Square(u))), G.NewConstant(float32(1e-4))))
		return G.Must(G.HadamardDiv(mean(G.Must(G.HadamardProd(early, late))), variance))
	}
	return func(w graph.Windows) (*G.Node, error) {
		apart, err := G.Sub(of(w.Generated), of(w.Real))
		if err != nil {
			return nil, err
		}
		return G.Mul(G.NewConstant(weight), G.Must(G.Mean(G.Must(G.Abs(apart)))))
	}
}

// A loss that TimeGAN does not have: write it as an expression and train. Its
// gradient is Gorgonia's business.
func ExampleTerm() {
	w := timegan.Windows{Length: 8, Bit: []int{-1}, Median: []float32{0}}
	for t := range 200 {
		w.X = append(w.X, .5+.4*float32(math.Sin(float64(t)/4)))
		w.Limit, w.Second = append(w.Limit, 0), append(w.Second, t)
		if t+w.Length <= 200 {
			w.Start = append(w.Start, t)
		}
	}
	c, err := timegan.Preset("paper")
	if err != nil {
		panic(err)
	}
	c.Window, c.Hidden, c.Batch = w.Length, 6, 16

	e := graph.NewTimeGAN(compute.Go, 1, autocorrelation(1, 10), autocorrelation(3, 10))
	defer e.Close()
	if err := e.Load(c, timegan.NewParams(c, 1, 0), nil, w); err != nil {
		panic(err)
	}
	for ph := timegan.Embedding; ph <= timegan.Joint; ph++ {
		done, err := e.Run(context.Background(), ph, 0, 20, 1, make([]timegan.Losses, 20))
		if err != nil {
			panic(err)
		}
		fmt.Println(ph, done)
	}
	// Output:
	// embedding 20
	// supervised 20
	// joint 20
}

// TestTerm: a term is part of what is descended, and one that is no scalar is
// refused where it is loaded.
func TestTerm(t *testing.T) {
	w := timegan.Windows{Length: 4, Bit: []int{-1}, Median: []float32{0}, X: make([]float32, 20), Limit: make([]float32, 20), Second: make([]int, 20), Start: []int{0, 5}}
	c := timegan.Config{Window: 4, Hidden: 3, Layers: 1, Noise: 2, Batch: 4, Latent: true, Seed: 1}
	weights := func(terms ...graph.Term) timegan.Params {
		e := graph.NewTimeGAN(compute.Go, 1, terms...)
		defer e.Close()
		if err := e.Load(c, timegan.NewParams(c, 1, 0), nil, w); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Run(context.Background(), timegan.Joint, 0, 1, 1, make([]timegan.Losses, 1)); err != nil {
			t.Fatal(err)
		}
		p, _, err := e.Store()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	high := func(w graph.Windows) (*G.Node, error) {
		return G.Mul(G.NewConstant(float32(-1e4)), G.Must(G.Mean(w.Generated)))
	}
	plain, with := weights(), weights(high)
	bias := func(p timegan.Params) float32 { // of the last layer of the generator moves with its output
		for _, x := range p {
			if x.Name == "generator.head.bias" {
				return x.Data[0]
			}
		}
		panic("no such tensor")
	}
	if bias(plain) == bias(with) {
		t.Error("a term changed nothing")
	}
	for what, term := range map[string]graph.Term{
		"not a scalar":      func(w graph.Windows) (*G.Node, error) { return w.Real, nil },
		"nothing":           func(graph.Windows) (*G.Node, error) { return nil, nil },
		"an error":          func(graph.Windows) (*G.Node, error) { return nil, fmt.Errorf("not today") },
		"an error in Must":  func(w graph.Windows) (*G.Node, error) { return G.Must(graph.Steps(w.Real, 3, 9)), nil },
		"of a wrong length": func(w graph.Windows) (*G.Node, error) { return graph.Dot(w.Real, G.Must(graph.Flat(w.Real))) },
	} {
		e := graph.NewTimeGAN(compute.Go, 1, term)
		if err := e.Load(c, timegan.NewParams(c, 1, 0), nil, w); err == nil {
			t.Errorf("a term that is %s: loaded", what)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkTerm is what LOSSES.md reports: models of the real recordings by
// the published losses alone and with the term, five seeds each, and how far
// the autocorrelation of their rollouts is from that of train blocks.
//
//	PLANEGYM_DATA=… go test -run - -bench Term -benchtime 1x ./internal/graph
func BenchmarkTerm(b *testing.B) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		b.Skip("PLANEGYM_DATA is unset")
	}
	recordings, err := telemetry.OpenFolder(dir)
	if err != nil {
		b.Fatal(err)
	}
	auto, err := compute.ParseKernels("auto")
	if err != nil {
		b.Fatal(err)
	}
	for seed := range uint64(5) {
		for name, terms := range map[string][]graph.Term{"alone": nil, "term": {autocorrelation(1, 100), autocorrelation(5, 100)}} {
			b.Run(fmt.Sprintf("seed=%d/%s", seed, name), func(b *testing.B) {
				for b.Loop() {
					b.ReportMetric(acfError(b, recordings, seed, graph.NewTimeGAN(auto, 1, terms...)), "acf_error")
				}
			})
		}
	}
}

// acfError trains a model on e, closes it, and scores two rollouts per limit.
func acfError(b *testing.B, recordings []telemetry.Recording, seed uint64, e timegan.Engine) float64 {
	defer e.Close()
	c := timegan.Config{Seed: seed, Embed: 600, Super: 200, Joint: 600, Changes: -1, Covariances: -1}
	tr, err := timegan.NewTraining(recordings, telemetry.Train, c, timegan.DefaultKnots)
	if err != nil {
		b.Fatal(err)
	}
	m, err := timegan.Fit(context.Background(), c, e, tr, timegan.FitOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := timegan.NewSimulator(2, []*timegan.Model{m}, []timegan.Engine{e})
	if err != nil {
		b.Fatal(err)
	}
	sum := 0.
	for _, r := range recordings {
		real, err := selection.FromDataset(r.Data)
		if err != nil {
			b.Fatal(err)
		}
		rollouts, err := timegan.Sample(context.Background(), s, []uint64{1, 2}, 0, int32(r.Limit), r.Data.Len())
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range rollouts {
			synth, err := selection.FromDataset(d)
			if err != nil {
				b.Fatal(err)
			}
			score, err := selection.Compare(real, synth, selection.Options{Like: true, Test: true, Draws: -1})
			if err != nil {
				b.Fatal(err)
			}
			sum += score.Mean.ACF / float64(len(rollouts)*len(recordings))
		}
	}
	return sum
}

// A loss that DDQN does not have: small pays for large values.
func ExampleNewDDQN() {
	small := func(v graph.Values) (*G.Node, error) {
		return G.Mul(G.NewConstant(float32(.01)), G.Must(G.Mean(G.Must(G.Square(v.Q)))))
	}
	c, err := agent.Preset("default")
	if err != nil {
		panic(err)
	}
	c.Hidden, c.Steps, c.Minimum = []int{16}, 640, 64
	poles, err := cartpole.New(8, env.NextStep)
	if err != nil {
		panic(err)
	}
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	trainer, err := agent.NewTrainer(c, poles, 1, be)
	if err != nil {
		panic(err)
	}
	if err := trainer.Agent.Use(graph.NewDDQN(small)); err != nil {
		panic(err)
	}
	err = trainer.Train(context.Background(), 1000, func(p agent.Progress) error {
		fmt.Println(p.Updates > 500, p.Loss > 0)
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output: true true
}
