package doppelganger

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

func outlineCodec(t *testing.T) (*codec, *traffic.Set) {
	t.Helper()
	set := exchanges(300)
	for i := range set.Sessions { // heavy-tailed gaps
		s := &set.Sessions[i]
		for n := 1; n < set.Of.Len(s); n++ {
			set.Of.Step(s, n)[3] *= math.Pow(1.5, float64((7*i+3*n)%30))
		}
	}
	k, err := newCodec(Config{Mode: Likelihood}.withDefaults(), set)
	if err != nil {
		t.Fatal(err)
	}
	return k, set
}

// What an outline takes from a field's classes is those of which every value is above
// the largest that the outline allows.
func TestOutlineLimits(t *testing.T) {
	k, _ := outlineCodec(t)
	for j, f := range k.numeric {
		top, steps := &k.Outline[1+j], &k.Steps[f]
		for class := range int32(top.len()) {
			most := top.decode(class, .9999)
			o := k.newOutlineAt([]int32{0, 0, 0})
			o.class[1+j] = class
			w := slices.Repeat([]float32{1}, steps.len())
			o.limit(w, f)
			for c := range int32(steps.len()) {
				if least := steps.decode(c, 0); (least <= most) != (w[c] == 1) {
					t.Errorf("%s up to %v: class %d, from %v, has weight %v", k.in.Steps[f].Name, most, c, least, w[c])
				}
			}
		}
	}
}

func TestOutlineEnds(t *testing.T) {
	k, _ := outlineCodec(t)
	lengths := &k.Outline[0]
	for class := range int32(lengths.len()) {
		lo, hi := int(lengths.decode(class, 0)), int(lengths.decode(class, 1-0x1p-53))
		o := k.newOutlineAt([]int32{class, 0, 0})
		for o.n = 1; o.n <= hi; o.n++ {
			w := []float32{1, 1}
			o.end(w)
			if may, must := w[0] == 1, w[1] == 0; may != (o.n >= lo) || must != (o.n == hi) {
				t.Errorf("%d to %d steps: after %d it may end: %v, it must: %v", lo, hi, o.n, may, must)
			}
		}
	}
}

// A session whose outline its own steps give is left as it is; a larger one is put
// into its largest step after the prefix, and a size remains one that its kind allows.
func TestOutlineFinish(t *testing.T) {
	k, set := outlineCodec(t)
	key := rng.Key{Seed: 1, Purpose: rng.Bootstrap}
	for i := range set.Sessions[:50] {
		s := &set.Sessions[i]
		in := k.innerSession(s)
		n := set.Of.Len(s)
		run := func(class []int32, from int) traffic.Session {
			o := k.newOutlineAt(class)
			for t := range n {
				o.step(k.in.Step(&in, t))
			}
			x := *s
			x.Steps = slices.Clone(s.Steps)
			o.finish(&x, from, key)
			return x
		}
		own := k.outlineOf(&in)
		if x := run(own, 0); !slices.Equal(x.Steps, s.Steps) {
			t.Fatalf("session %d: steps %v become %v by its own outline", i, s.Steps, x.Steps)
		}
		more := slices.Clone(own)
		more[2] = int32(k.Outline[2].len() - 1) // gaps
		from := n / 2
		x := run(more, from)
		at, largest := -1, 0.
		for step := max(from, 1); step < n; step++ {
			if g := set.Of.Step(s, step)[3]; at < 0 || g > largest {
				at, largest = step, g
			}
		}
		for step := range n {
			a, b := set.Of.Step(s, step), set.Of.Step(&x, step)
			want := a[3]
			if step == at && k.outlined(&in)[2] < k.Outline[2].decode(more[2], 0) {
				want = b[3]
				if k.Outline[2].encode(b[3]) != more[2] {
					t.Errorf("session %d: its largest gap, %v of class %d, becomes %v of class %d, not %d", i, a[3], own[2], b[3], k.Outline[2].encode(b[3]), more[2])
				}
			}
			if b[3] != want || !slices.Equal(a[:3], b[:3]) {
				t.Errorf("session %d, step %d of %d (largest %d, from %d): %v becomes %v", i, step, n, at, from, a, b)
			}
		}
		more = slices.Clone(own)
		more[1] = int32(k.Outline[1].len() - 1) // sizes
		x = run(more, 0)
		for step := range n {
			a, b := set.Of.Step(s, step), set.Of.Step(&x, step)
			if (a[1] == 0) != (b[1] == 0) || b[1] > 1408 {
				t.Errorf("session %d, step %d: size %v becomes %v", i, step, a[1], b[1])
			}
		}
	}
}

// Sampled sessions are as long as training's, length by length, not in the mean alone.
func TestLengths(t *testing.T) {
	train := exchanges(400)
	c := tiny(Likelihood)
	c.Updates, c.Batch = 100, 32
	m, err := Fit(t.Context(), train, c, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 4000, Seed: 7}))
	if err != nil {
		t.Fatal(err)
	}
	var off float64
	shares := func(s *traffic.Set) map[int]float64 {
		n := map[int]float64{}
		for i := range s.Sessions {
			n[s.Of.Len(&s.Sessions[i])] += 1 / float64(s.Len())
		}
		return n
	}
	want, got := shares(train), shares(set)
	for n := range 60 {
		off += math.Abs(want[n]-got[n]) / 2
	}
	t.Logf("distance %.3f", off)
	if off > .15 {
		t.Errorf("lengths %v, training has %v: distance %.3f", got, want, off)
	}
}
