package nn

import "github.com/planegym/planegym/compute"

//go:generate go -C asm run . -out ../kernels_amd64.s -stubs ../kernels_asm_amd64.go -pkg nn

// native is the kernel set of that name.
func native(k compute.Kernels) *kernels {
	if k == compute.AVX512 {
		return &avx512Kernels
	}
	return &avx2Kernels
}

var (
	avx2Kernels = assembly{
		gruForward: gruForwardAVX2, gruGates: gruGatesAVX2,
		affine: affineAVX2, backData: backDataAVX2, backWeights: backWeightsAVX2, backBias: backBiasAVX2,
		exp: expAVX2, expTop: expTopAVX2, softmax: softmaxAVX2, sigmoid: sigmoidAVX2, tanh: tanhAVX2, relu: reluAVX2,
		reluBack: reluBackAVX2, sigmoidBack: sigmoidBackAVX2, tanhBack: tanhBackAVX2,
		adam: adamAVX2, sum: sumAVX2,
	}.kernels()
	avx512Kernels = assembly{
		gruForward: gruForwardAVX512, gruGates: gruGatesAVX512,
		affine: affineAVX512, backData: backDataAVX512, backWeights: backWeightsAVX512, backBias: backBiasAVX512,
		exp: expAVX512, expTop: expTopAVX512, softmax: softmaxAVX512, sigmoid: sigmoidAVX512, tanh: tanhAVX512, relu: reluAVX512,
		reluBack: reluBackAVX512, sigmoidBack: sigmoidBackAVX512, tanhBack: tanhBackAVX512,
		adam: adamAVX512, sum: sumAVX512,
	}.kernels()
)

// assembly is a kernel set without the checks of bounds. Elementwise kernels
// take a multiple of 16 numbers, matrix kernels no empty shape.
type assembly struct {
	gruForward  func(x, h, wi, wh, bi, bh, out, saved *float32, in, hid int)
	gruGates    func(saved, h, dy, dh *float32, hid int)
	affine      func(y, x, w, b *float32, out, in int)
	backData    func(dx, d, w *float32, out, in, cols int, add bool)
	backWeights func(dw, d, x *float32, out, in, steps, dStep, xStep int)
	backBias    func(db, d *float32, out, steps, dStep int)

	exp, sigmoid, tanh              func(dst, src *float32, n int)
	expTop                          func(x *float32, n int)
	softmax                         func(x *float32, n int, scale, top, sum *float32)
	relu                            func(y *float32, n int)
	reluBack, sigmoidBack, tanhBack func(d, y *float32, n int)

	adam func(p, g, m, v *float32, n int, c *float32)
	sum  func(dst, src *float32, n int)
}

// at is s's first element; s must have n.
func at(s []float32, n int) *float32 { return &s[:n][0] }

// bulk is the part of n that elementwise assembly takes; plain Go does the
// rest, at most 15 numbers, which only optimisers have: panels are whole.
func bulk(n int) int { return n &^ 15 }

func (a assembly) kernels() kernels {
	elementwise := func(f func(dst, src *float32, n int), rest func(dst, src []float32)) func(dst, src []float32) {
		return func(dst, src []float32) {
			n := bulk(len(src))
			if n > 0 {
				f(at(dst, n), &src[0], n)
			}
			rest(dst[n:], src[n:])
		}
	}
	sigmoid, tanh := elementwise(a.sigmoid, goSigmoid), elementwise(a.tanh, goTanh)
	return kernels{
		gruForward: func(x, h, wi, wh, bi, bh, out, saved []float32, in, hid int) {
			n := hid * lanes
			a.gruForward(at(x, in*lanes), at(h, n), at(wi, 3*hid*in), at(wh, 3*hid*hid), at(bi, 3*hid), at(bh, 3*hid),
				at(out, n), at(saved, 4*n), in, hid)
		},
		gruGates: func(saved, h, dy, dh []float32, hid int) {
			n := hid * lanes
			a.gruGates(at(saved, 4*n), at(h, n), at(dy, n), at(dh, n), hid)
		},
		affine: func(y, x, w, b []float32, out, in int) {
			a.affine(at(y, out*lanes), at(x, in*lanes), at(w, out*in), at(b, out), out, in)
		},
		backData: func(dx, d, w []float32, out, in, cols int, add bool) {
			a.backData(at(dx, cols*lanes), at(d, out*lanes), at(w, out*in), out, in, cols, add)
		},
		backWeights: func(dw, d, x []float32, out, in, steps, dStep, xStep int) {
			a.backWeights(at(dw, out*in), at(d, (steps-1)*dStep+out*lanes), at(x, (steps-1)*xStep+in*lanes),
				out, in, steps, dStep, xStep)
		},
		backBias: func(db, d []float32, out, steps, dStep int) {
			a.backBias(at(db, out), at(d, (steps-1)*dStep+out*lanes), out, steps, dStep)
		},
		activate: func(act Activation, y []float32) {
			switch n := bulk(len(y)); act {
			case ReLU:
				if n > 0 {
					a.relu(&y[0], n)
				}
				goActivate(act, y[n:])
			case Sigmoid:
				sigmoid(y, y)
			case Tanh:
				tanh(y, y)
			}
		},
		activateBack: func(act Activation, d, y []float32) {
			n := bulk(len(y))
			if n > 0 {
				switch act {
				case ReLU:
					a.reluBack(at(d, n), &y[0], n)
				case Sigmoid:
					a.sigmoidBack(at(d, n), &y[0], n)
				case Tanh:
					a.tanhBack(at(d, n), &y[0], n)
				}
			}
			goActivateBack(act, d[n:], y[n:])
		},
		panelIn: func(panel, src []float32, rows, f int) {
			if rows == lanes {
				panelInAVX2(at(panel, f*lanes), at(src, f*lanes), f)
			} else {
				goPanelIn(panel, src, rows, f)
			}
		},
		panelOut: func(dst, panel []float32, rows, f int) {
			if rows == lanes {
				panelOutAVX2(at(dst, f*lanes), at(panel, f*lanes), f)
			} else {
				goPanelOut(dst, panel, rows, f)
			}
		},
		exp:    elementwise(a.exp, goExp),
		expTop: func(x []float32, n int) { a.expTop(at(x, n*lanes), n) },
		softmax: func(x []float32, n int, scale, top, sum *[lanes]float32) {
			a.softmax(at(x, n*lanes), n, &scale[0], &top[0], &sum[0])
		},
		sigmoid: sigmoid,
		tanh:    tanh,
		adam: func(p, g, m, v []float32, c *adamScalars) {
			n := bulk(len(p))
			if n > 0 {
				a.adam(&p[0], at(g, n), at(m, n), at(v, n), n, &c.beta1) // the first of seven
			}
			goAdam(p[n:], g[n:], m[n:], v[n:], c)
		},
		sum: func(dst, src []float32) {
			n := bulk(len(dst))
			if n > 0 {
				a.sum(&dst[0], at(src, n), n)
			}
			goSum(dst[n:], src[n:])
		},
	}
}
