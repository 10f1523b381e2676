// Package enginetest tests the contract of timegan.Engine, on any implementation.
//
//	enginetest.Check(t, func(t *testing.T) timegan.Engine { … })
//
// Equal updates are compared with the plain loops of the reference kernels,
// within a tolerance; all else is compared to the bit.
package enginetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/timegan"
)

var background = context.Background()

// sizes of the contract's model: more than one tile of 32 rows, a part of one.
func config(latent bool) timegan.Config {
	return timegan.Config{Window: 6, Hidden: 5, Layers: 2, Noise: 3, Batch: 37, Clock: 100, Seed: 5, Latent: latent,
		LearningRate: 1e-3, Gamma: 1, Moments: 100, Threshold: .15}
}

// windows are four channels, two of them a one-hot; the first has gaps unless
// complete.
func windows(complete bool) timegan.Windows {
	w := timegan.Windows{Length: 6, Bit: []int{0, -1, -1, -1}, Bits: 1, Median: []float32{.5, 0, 0, 0}}
	if complete {
		w.Bit, w.Bits = []int{-1, -1, -1, -1}, 0
	}
	for t := range 200 {
		level := float32(t / 20 % 2)
		x := float32(.5 + .4*math.Sin(float64(t)))
		if !complete {
			w.Valid = append(w.Valid, float32(min(t%3, 1)))
			if t%3 == 0 {
				x = 0
			}
		}
		w.X = append(w.X, x, float32(t%7)/7, level, 1-level)
		w.Limit, w.Second = append(w.Limit, float32(t/100)), append(w.Second, t%100)
		if t < 194 && (t < 95 || t > 99) {
			w.Start = append(w.Start, t)
		}
	}
	return w
}

// Check holds the engines that open gives to the contract. It closes them.
func Check(t *testing.T, open func(t *testing.T) timegan.Engine) {
	for name, check := range map[string]func(*testing.T, func() timegan.Engine){
		"order": order, "load": load, "chunks": chunks, "restore": restore, "cancel": cancelled,
		"learns": learns, "reference": reference, "rollout": rollout, "rolls": rolls, "rows": rows,
	} {
		t.Run(name, func(t *testing.T) {
			check(t, func() timegan.Engine {
				e := open(t)
				t.Cleanup(func() {
					if err := errors.Join(e.Close(), e.Close()); err != nil {
						t.Errorf("close twice: %v", err)
					}
				})
				return e
			})
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func loaded(t *testing.T, e timegan.Engine, latent bool) timegan.Engine {
	t.Helper()
	w := windows(latent)
	must(t, e.Load(config(latent), timegan.NewParams(config(latent), 4, w.Bits), nil, w))
	return e
}

// run does an equal number of updates of each phase.
func run(t *testing.T, e timegan.Engine, updates int, chunk ...int) []timegan.Losses {
	t.Helper()
	var all []timegan.Losses
	for ph := timegan.Embedding; ph <= timegan.Joint; ph++ {
		from := 0
		for i := 0; from < updates; i++ {
			n := updates - from
			if i < len(chunk) {
				n = min(n, chunk[i])
			}
			l := make([]timegan.Losses, n)
			done, err := e.Run(background, ph, from, n, 5, l)
			must(t, err)
			if done != n {
				t.Fatalf("%v: %d updates done of %d", ph, done, n)
			}
			all, from = append(all, l...), from+n
		}
	}
	return all
}

func order(t *testing.T, open func() timegan.Engine) {
	e := open()
	if e.Name() == "" {
		t.Error("the engine has no name")
	}
	l := make([]timegan.Losses, 1)
	if _, err := e.Run(background, timegan.Embedding, 0, 1, 1, l); err == nil {
		t.Error("run before load")
	}
	if _, _, err := e.Store(); err == nil {
		t.Error("store before load")
	}
	if _, err := e.Stepper(1); err == nil {
		t.Error("stepper before load")
	}
	loaded(t, e, false)
	for _, c := range []struct {
		ph          timegan.Phase
		from, steps int
	}{{3, 0, 1}, {timegan.Joint, -1, 1}, {timegan.Joint, 0, -1}, {timegan.Joint, 0, 2}} {
		if _, err := e.Run(background, c.ph, c.from, c.steps, 1, l); err == nil {
			t.Errorf("phase %v, updates %d+%d with one loss: run", c.ph, c.from, c.steps)
		}
	}
}

func load(t *testing.T, open func() timegan.Engine) {
	e := loaded(t, open(), false)
	p, s, err := e.Store()
	must(t, err)
	for i, x := range timegan.NewParams(config(false), 4, 1) {
		if p[i].Name != x.Name || !slices.Equal(p[i].Data, x.Data) {
			t.Fatalf("tensor %d, %s, is stored as another", i, x.Name)
		}
	}
	short, renamed := slices.Clone(p), slices.Clone(p)
	short[2].Data = short[2].Data[1:]
	renamed[1].Name = "other"
	for _, bad := range []timegan.Params{p[1:], short, renamed} {
		if e.Load(config(false), bad, nil, windows(false)) == nil {
			t.Error("weights of another shape or name: loaded")
		}
	}
	if e.Load(config(false), p, s[1:], windows(false)) == nil {
		t.Error("state of another shape: loaded")
	}
	// To roll out only: nothing to train on.
	must(t, e.Load(config(false), p, nil, timegan.Windows{Length: 1, Bit: windows(false).Bit, Bits: 1}))
	if _, err := e.Stepper(1); err != nil {
		t.Error(err)
	}
}

// chunks: a run in pieces is the run in one.
func chunks(t *testing.T, open func() timegan.Engine) {
	for _, latent := range []bool{false, true} {
		a, b := loaded(t, open(), latent), loaded(t, open(), latent)
		la, lb := run(t, a, 4), run(t, b, 4, 1, 2)
		if !slices.Equal(la, lb) {
			t.Error("losses differ")
		}
		equal(t, a, b)
	}
}

func equal(t *testing.T, a, b timegan.Engine) {
	t.Helper()
	pa, sa, err := a.Store()
	must(t, err)
	pb, sb, err := b.Store()
	must(t, err)
	for _, pair := range [][2][]timegan.Tensor{{pa, pb}, {sa, sb}} {
		for i, x := range pair[0] {
			if !slices.Equal(x.Data, pair[1][i].Data) {
				t.Errorf("%s differs", x.Name)
			}
		}
	}
}

// restore: what is stored and loaded goes on as what was kept.
func restore(t *testing.T, open func() timegan.Engine) {
	kept, other := loaded(t, open(), false), open()
	run(t, kept, 4)
	p, s, err := kept.Store()
	must(t, err)
	must(t, other.Load(config(false), p, s, windows(false)))
	for _, e := range []timegan.Engine{kept, other} {
		_, err := e.Run(background, timegan.Joint, 4, 3, 5, make([]timegan.Losses, 3))
		must(t, err)
	}
	equal(t, kept, other)
}

func cancelled(t *testing.T, open func() timegan.Engine) {
	e := loaded(t, open(), false)
	ctx, cancel := context.WithCancel(background)
	cancel()
	done, err := e.Run(ctx, timegan.Embedding, 0, 3, 5, make([]timegan.Losses, 3))
	if done != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d updates done, %v", done, err)
	}
}

// learns: within 150 updates, looked at every 30.
func learns(t *testing.T, open func() timegan.Engine) {
	e := loaded(t, open(), false)
	for _, c := range []struct {
		ph    timegan.Phase
		loss  func(timegan.Losses) float32
		share float32 // of the first loss
	}{
		{timegan.Embedding, func(l timegan.Losses) float32 { return l.R }, .8},
		{timegan.Supervised, func(l timegan.Losses) float32 { return l.S }, .9},
	} {
		l := make([]timegan.Losses, 150)
		for done := 0; ; {
			n, err := e.Run(background, c.ph, done, 30, 5, l[done:])
			must(t, err)
			done += n
			first, last := c.loss(l[0]), c.loss(l[done-1])
			if last < c.share*first {
				break
			}
			if done == len(l) {
				t.Errorf("%v loss %v after %d updates, %v at first", c.ph, last, done, first)
				break
			}
		}
	}
}

// reference: a few updates agree with the plain loops.
func reference(t *testing.T, open func() timegan.Engine) {
	for _, latent := range []bool{false, true} {
		plain := timegan.NewCPU(compute.Reference, 1)
		defer plain.Close()
		e, r := loaded(t, open(), latent), loaded(t, plain, latent)
		got, want := run(t, e, 3), run(t, r, 3)
		for i := range want {
			for _, v := range [][2]float32{{got[i].R, want[i].R}, {got[i].S, want[i].S}, {got[i].U, want[i].U}, {got[i].V, want[i].V}, {got[i].C, want[i].C}, {got[i].D, want[i].D}} {
				if !(math.Abs(float64(v[0]-v[1])) <= 2e-4*(1+math.Abs(float64(v[1])))) {
					t.Errorf("latent %v, update %d: losses %+v, want %+v", latent, i, got[i], want[i])
					break
				}
			}
		}
	}
}

// roll advances rows by seconds from noise of their own seeds.
func roll(t *testing.T, s timegan.Stepper, rows []int, seeds []uint64, from, seconds int) [][]float32 {
	t.Helper()
	out := make([][]float32, len(rows))
	noise, cond, x := make([]float32, 3*len(rows)), make([]float32, 3*len(rows)), make([]float32, 4*len(rows))
	for sec := range seconds {
		for i, seed := range seeds {
			for k := range 3 {
				a, _ := rng.Key{Seed: seed, A: uint32(from + sec), Purpose: rng.SampleNoise}.Normal(uint32(k))
				noise[3*i+k] = float32(a)
			}
			cond[3*i] = float32((from + sec) / 3 % 2)
		}
		must(t, s.Next(rows, noise, cond, x))
		for i := range rows {
			out[i] = append(out[i], x[4*i:4*i+4]...)
		}
	}
	return out
}

// rollout: the stepper computes what the reference's does.
func rollout(t *testing.T, open func() timegan.Engine) {
	plain := timegan.NewCPU(compute.Reference, 1)
	defer plain.Close()
	var got [2][]float32
	for i, e := range []timegan.Engine{loaded(t, open(), false), loaded(t, plain, false)} {
		s, err := e.Stepper(1)
		must(t, err)
		got[i] = roll(t, s, []int{0}, []uint64{1}, 0, 50)[0]
	}
	for i, want := range got[1] {
		if !(math.Abs(float64(got[0][i]-want)) < 1e-4) {
			t.Fatalf("second %d: %v, want %v", i/4, got[0][i], want)
		}
	}
}

// rolls: what a stepper draws is what a simulator would give it.
func rolls(t *testing.T, open func() timegan.Engine) {
	e := loaded(t, open(), false)
	s, err := e.Stepper(3)
	must(t, err)
	r, ok := s.(timegan.Roller)
	if !ok {
		t.Skip("the engine's stepper draws nothing")
	}
	given, err := e.Stepper(3)
	must(t, err)
	all, x, want := []int{2, 0}, make([]float32, 8), make([]float32, 8)
	noise, cond := make([]float32, 6), make([]float32, 6)
	for second := range uint32(5) {
		draws := []timegan.Draw{{Seed: 3, Second: second, Start: 97}, {Seed: 1 << 40, Model: 2, Second: 1e6 + second, Start: 4, Told: 1}}
		for i, d := range draws {
			key := rng.Key{Seed: d.Seed, B: d.Model, Purpose: rng.SampleNoise}
			a, b := key.Normal(2 * (1 + d.Second))
			c, _ := key.Normal(2*(1+d.Second) + 1)
			sin, cos := math.Sincos(2 * math.Pi * float64((d.Start+d.Second)%100) / 100)
			copy(noise[3*i:], []float32{float32(a), float32(b), float32(c)})
			copy(cond[3*i:], []float32{d.Told, float32(sin), float32(cos)})
		}
		must(t, given.Next(all, noise, cond, want))
		out := x
		if second == 0 {
			out = nil // unseen
		}
		must(t, r.Roll(all, draws, out))
		for i, w := range want {
			if out != nil && !(math.Abs(float64(x[i]-w)) < 1e-5) {
				t.Fatalf("second %d: %v, want %v", second, x, want)
			}
		}
	}
	if err := r.Roll(all, make([]timegan.Draw, 1), x); err == nil {
		t.Error("1 draw for 2 rows")
	}
}

// rows: a row's rollout does not depend on its index nor on its neighbours,
// and its state can be moved.
func rows(t *testing.T, open func() timegan.Engine) {
	e := loaded(t, open(), false)
	s, err := e.Stepper(40)
	must(t, err)
	one, err := e.Stepper(1)
	must(t, err)
	want := roll(t, one, []int{0}, []uint64{9}, 0, 20)[0]
	all, seeds := make([]int, 40), make([]uint64, 40)
	for i := range all {
		all[i], seeds[i] = i, uint64(100+i)
	}
	seeds[33] = 9
	first := roll(t, s, all, seeds, 0, 10)[33]
	roll(t, s, all[:33], seeds[:33], 10, 5) // others advance without it
	second := roll(t, s, []int{39, 33}, []uint64{1, 9}, 10, 5)[1]
	state := make([]float32, s.Size())
	s.Hidden(33, state)
	s.SetHidden(2, state)
	third := roll(t, s, []int{2}, []uint64{9}, 15, 5)[0]
	if got := slices.Concat(first, second, third); !slices.Equal(got, want) {
		t.Error("row 33 among 40, then of a pair, then moved to row 2, is not row 0 alone")
	}
	if err := s.Next(all, make([]float32, 5), make([]float32, 40), make([]float32, 160)); err == nil {
		t.Error("5 numbers of noise for 40 rows")
	}
}
