package nn

import (
	"fmt"
	"github.com/planegym/planegym/compute"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/rng"
)

// arena hands out memory between NaNs: a kernel that reads beyond its shape
// gives a NaN, one that writes there removes one.
type arena struct {
	all  [][]float32
	seed uint64
}

const fence = 40

// draw is n numbers of ±1.
func (a *arena) draw(n int) []float32 {
	s := make([]float32, n+2*fence)
	for i := range s {
		s[i] = float32(math.NaN())
	}
	a.seed++
	a.all = append(a.all, s)
	copy(s[fence:], draw(a.seed, n, 1))
	return s[fence:][:n]
}

// values are all of the arena's numbers, fences too.
func (a *arena) values() []float32 { return slices.Concat(a.all...) }

// Every kernel on its own, against plain Go, over shapes of 1 to 130.
func TestKernels(t *testing.T) {
	shapes := 16
	if testing.Short() {
		shapes = 4
	}
	for name, kernel := range map[string]func(k *kernels, a *arena, m, n, p int){
		"gruForward": func(k *kernels, a *arena, in, hid, _ int) {
			k.gruForward(a.draw(in*lanes), a.draw(hid*lanes), a.draw(3*hid*in), a.draw(3*hid*hid), a.draw(3*hid), a.draw(3*hid),
				a.draw(hid*lanes), a.draw(4*hid*lanes), in, hid)
		},
		"gruGates": func(k *kernels, a *arena, hid, _, _ int) {
			n := hid * lanes
			k.gruGates(a.draw(4*n), a.draw(n), a.draw(n), a.draw(n), hid)
		},
		"affine": func(k *kernels, a *arena, out, in, _ int) {
			k.affine(a.draw(out*lanes), a.draw(in*lanes), a.draw(out*in), a.draw(out), out, in)
		},
		"backData": func(k *kernels, a *arena, out, in, p int) {
			cols := 1 + p%in
			k.backData(a.draw(cols*lanes), a.draw(out*lanes), a.draw(out*in), out, in, cols, p%2 == 0)
		},
		"backWeights": func(k *kernels, a *arena, out, in, p int) {
			steps := 1 + p%4
			k.backWeights(a.draw(out*in), a.draw(steps*(out+1)*lanes), a.draw(steps*(in+2)*lanes), out, in, steps, (out+1)*lanes, (in+2)*lanes)
		},
		"backBias": func(k *kernels, a *arena, out, steps, _ int) {
			k.backBias(a.draw(out), a.draw(steps*(out+1)*lanes), out, steps, (out+1)*lanes)
		},
		"activate": func(k *kernels, a *arena, n, _, act int) { k.activate(Activation(act%4), a.draw(n)) },
		"activateBack": func(k *kernels, a *arena, n, _, act int) {
			y := a.draw(n)
			goActivate(ReLU, y) // a real output has zeros
			k.activateBack(Activation(act%4), a.draw(n), y)
		},
		"panelIn": func(k *kernels, a *arena, f, rows, whole int) {
			rows = tail(rows, whole)
			k.panelIn(a.draw(f*lanes), a.draw(rows*f), rows, f)
		},
		"panelOut": func(k *kernels, a *arena, f, rows, whole int) {
			rows = tail(rows, whole)
			k.panelOut(a.draw(rows*f), a.draw(f*lanes), rows, f)
		},
		"expTop": func(k *kernels, a *arena, n, _, _ int) { k.expTop(a.draw(n*lanes), n) },
		"softmax": func(k *kernels, a *arena, n, _, _ int) {
			k.softmax(a.draw(n*lanes), n, (*[lanes]float32)(a.draw(lanes)), (*[lanes]float32)(a.draw(lanes)), (*[lanes]float32)(a.draw(lanes)))
		},
		"exp":     func(k *kernels, a *arena, n, _, _ int) { k.exp(a.draw(n), a.draw(n)) },
		"sigmoid": func(k *kernels, a *arena, n, _, _ int) { k.sigmoid(a.draw(n), a.draw(n)) },
		"tanh":    func(k *kernels, a *arena, n, _, _ int) { k.tanh(a.draw(n), a.draw(n)) },
		"adam": func(k *kernels, a *arena, n, _, _ int) {
			v := func() []float32 { // second moments
				s := a.draw(n)
				for i := range s {
					s[i] *= s[i]
				}
				return s
			}()
			k.adam(a.draw(n), a.draw(n), a.draw(n), v, &adamScalars{.9, .1, .999, .001, 1e-3, 1.5, 1e-8})
		},
		"sum": func(k *kernels, a *arena, n, _, _ int) { k.sum(a.draw(n), a.draw(n)) },
	} {
		for _, set := range fast()[1:] {
			t.Run(fmt.Sprint(set, " ", name), func(t *testing.T) {
				key := rng.Key{Seed: 5}
				for s := range uint32(shapes) {
					dim := func(i uint32) int { return 1 + key.Intn(4*s+i, 130) }
					m, n, p := dim(0), dim(1), dim(2)
					want, got := arena{seed: uint64(s) * 100}, arena{seed: uint64(s) * 100}
					kernel(table(compute.Go), &want, m, n, p)
					kernel(table(set), &got, m, n, p)
					w := want.values()
					for i, g := range got.values() {
						nan := w[i] != w[i]
						if nan != (g != g) || !nan && math.Abs(float64(g-w[i])) > 2e-5*(1+math.Abs(float64(w[i]))) {
							t.Fatalf("shape %d %d %d: value %d is %v, want %v", m, n, p, i, g, w[i])
						}
					}
				}
			})
		}
	}
}

// tail is a number of rows, often a whole tile.
func tail(rows, whole int) int {
	if whole%2 == 0 {
		return lanes
	}
	return 1 + rows%lanes
}
