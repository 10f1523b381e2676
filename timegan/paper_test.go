package timegan

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
)

// Section 4.3 and algorithm 1 of the supplement: the embedding phase trains
// embedder and recovery, the supervised one the supervisor, the joint one all.
func TestPaperPhasesTrainTheirNetworks(t *testing.T) {
	for _, latent := range []bool{false, true} {
		c, w := smallConfig(latent), small(!latent)
		c.Threshold = 0
		e := NewCPU(compute.Go, 1)
		p := NewParams(c, 3, w.Bits)
		if err := e.Load(c, p, nil, w); err != nil {
			t.Fatal(err)
		}
		for ph, want := range []string{"embedder recovery", "supervisor", "embedder recovery generator supervisor discriminator"} {
			if _, err := e.Run(context.Background(), Phase(ph), 0, 1, 4, make([]Losses, 1)); err != nil {
				t.Fatal(err)
			}
			now, _, err := e.Store()
			if err != nil {
				t.Fatal(err)
			}
			for i := range now {
				network, _, _ := strings.Cut(now[i].Name, ".")
				if moved := !slices.Equal(now[i].Data, p[i].Data); moved != slices.Contains(strings.Fields(want), network) {
					t.Errorf("latent %v, %v phase: %s moved: %v", latent, Phase(ph), now[i].Name, moved)
				}
			}
			p = now
		}
	}
}

// Section 4.2, equation 8: a discriminator that knows nothing, whose logit is 0
// everywhere, pays ln 2 for the real and ln 2 for each of the synthetic, weighed
// by γ; the generator pays likewise.
func TestPaperUndecidedDiscriminator(t *testing.T) {
	for latent, want := range map[bool][2]float64{false: {2 * math.Ln2, math.Ln2}, true: {(2 + .7) * math.Ln2, (1 + .7) * math.Ln2}} {
		tr := newTrainer(compute.NewBackend(compute.Go, 1), smallConfig(latent), small(!latent))
		tr.load(NewParams(tr.c, 3, tr.data.Bits), nil)
		clear(tr.nets[discriminator].Params().Data)
		tr.phase = Joint
		tr.draw(0, 0, 1)
		tr.noise(0, 0, 1)
		var l Losses
		tr.discriminator(tr.encode(), &l)
		tr.generator(tr.encode(), &l)
		if math.Abs(float64(l.D)-want[0]) > 1e-5 || math.Abs(float64(l.U)-want[1]) > 1e-5 {
			t.Errorf("latent %v: discriminator %v, generator %v, want %v", latent, l.D, l.U, want)
		}
	}
}

// The authors' code trains the discriminator only where its loss is above 0.15.
func TestPaperDiscriminatorRests(t *testing.T) {
	for threshold, learns := range map[float64]bool{0: true, .5: true, 2 * math.Ln2 * 1.01: false} {
		c := smallConfig(false)
		c.Threshold = threshold
		tr := newTrainer(compute.NewBackend(compute.Go, 1), c, small(true))
		tr.load(NewParams(tr.c, 3, 1), nil)
		clear(tr.nets[discriminator].Params().Data)
		tr.phase = Joint
		tr.draw(0, 0, 1)
		tr.noise(0, 0, 1)
		var l Losses
		if got := tr.discriminator(tr.encode(), &l); got != learns {
			t.Errorf("threshold %v, loss %v: learns %v", threshold, l.D, got)
		}
	}
}
