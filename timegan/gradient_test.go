package timegan

import (
	"math"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// small is a data set of two channels with gaps and a one-hot of two.
func small(gaps bool) Windows {
	w := Windows{Length: 6, Bit: []int{0, -1, -1}, Bits: 1, Median: []float32{.5, 0, 0}}
	if !gaps {
		w.Bit, w.Bits = []int{-1, -1, -1}, 0
	}
	for t := range 60 {
		level := float32(t / 10 % 2)
		w.X = append(w.X, .5+.4*float32(math.Sin(float64(t))), level, 1-level)
		if gaps {
			w.Valid = append(w.Valid, float32(min(t%3, 1)))
			if t%3 == 0 {
				w.X[3*t] = 0
			}
		}
		w.Limit, w.Second = append(w.Limit, float32(t/30)), append(w.Second, t%30)
		if t < 54 && t != 25 {
			w.Start = append(w.Start, t)
		}
	}
	return w
}

func smallConfig(latent bool) Config {
	return Config{Hidden: 5, Layers: 2, Noise: 3, Batch: 4, Clock: 30, Latent: latent, Moments: 10, Changes: 20, Covariances: 40, Eta: 30, Gamma: .7, Window: 6}.WithDefaults()
}

// Every loss against central differences, tensor by tensor along its own
// gradient: d loss = |gradient|·step.
func TestGradients(t *testing.T) {
	for _, latent := range []bool{false, true} {
		be := compute.NewBackend(compute.Go, 1)
		tr := newTrainer(be, smallConfig(latent), small(!latent))
		tr.load(NewParams(tr.c, 3, tr.data.Bits), nil)
		for _, n := range tr.nets { // away from where the start is special
			for i := range n.Params().Data {
				n.Params().Data[i] += float32(rng.Key{Seed: 9, A: uint32(i), Purpose: rng.Init}.Float64(0)-.5) * .5
			}
		}
		tr.phase = Joint
		for i := range tr.carry[generator] {
			tr.carry[generator][i] = .3
		}
		tr.draw(1, 0, 3)
		tr.noise(0, 1, 3)
		var l Losses
		for _, c := range []struct {
			what     string
			networks []int
			run      func()
			loss     func() float64
		}{
			{"embedding", []int{embedder, recovery}, func() { tr.embedding(&l) }, func() float64 { return 10 * math.Sqrt(float64(l.R)) }},
			{"supervised", []int{supervisor}, func() { tr.supervise(&l) }, func() float64 { return float64(l.S) }},
			{"generator", []int{generator, supervisor}, func() { tr.generator(tr.encode(), &l) }, func() float64 {
				return float64(l.U) + tr.c.Eta*math.Sqrt(float64(l.S)) + tr.c.Moments*float64(l.V) + tr.c.Changes*float64(l.C) + tr.c.Covariances*float64(l.K)
			}},
			{"embedder", []int{embedder, recovery}, func() { tr.embedder(tr.encode(), &l) }, func() float64 {
				s := tr.supervised(tr.super.y, tr.embed.y, 1, nil, nil)
				return 10*math.Sqrt(float64(l.R)) + .1*s
			}},
			{"discriminator", []int{discriminator}, func() { tr.discriminator(tr.encode(), &l) }, func() float64 { return float64(l.D) }},
		} {
			for _, n := range c.networks {
				net := tr.nets[n]
				clear(net.grad)
				c.run()
				grad := append([]float32(nil), net.grad...)
				for _, o := range tr.nets {
					clear(o.grad)
				}
				at := 0
				for _, x := range tensors(n, net.Params()) {
					g, theta := grad[at:at+len(x.Data)], x.Data
					at += len(x.Data)
					var norm float64
					for _, v := range g {
						norm += float64(v) * float64(v)
					}
					norm = math.Sqrt(norm)
					if norm < 1e-7 {
						t.Errorf("%s, latent %v: %s has gradient %v", c.what, latent, x.Name, norm)
						continue
					}
					old := append([]float32(nil), theta...)
					const step = 4e-3
					at := func(sign float64) float64 {
						for i := range theta {
							theta[i] = old[i] + float32(sign*step*float64(g[i])/norm)
						}
						c.run()
						return c.loss()
					}
					d := (at(1) - at(-1)) / (2 * step)
					copy(theta, old)
					for _, o := range tr.nets {
						clear(o.grad)
					}
					if math.Abs(d-norm) > .02*norm+3e-4 {
						t.Errorf("%s, latent %v: %s: |gradient| %v, central difference %v", c.what, latent, x.Name, norm, d)
					}
				}
			}
		}
	}
}
