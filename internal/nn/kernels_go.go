package nn

import "math"

// goKernels are plain Go: four rows and up to three outputs at a time, so that
// sums stay in registers. Every product is rounded before it is added (the
// conversions forbid fusing), so bytes are equal on every architecture.
var goKernels = kernels{
	gruForward:   goGRUForward,
	gruGates:     goGRUGates,
	affine:       goAffine,
	backData:     goBackData,
	backWeights:  goBackWeights,
	backBias:     goBackBias,
	activate:     goActivate,
	activateBack: goActivateBack,
	panelIn:      goPanelIn,
	panelOut:     goPanelOut,
	exp:          goExp,
	expTop:       goExpTop,
	softmax:      goSoftmax,
	sigmoid:      goSigmoid,
	tanh:         goTanh,
	adam:         goAdam,
	sum:          goSum,
}

func goGRUForward(x, h, wi, wh, bi, bh, out, saved []float32, in, hid int) {
	for j := range hid {
		jz, jn := hid+j, 2*hid+j
		wr, wz, wn := wi[j*in:][:in], wi[jz*in:][:in], wi[jn*in:][:in]
		ur, uz, un := wh[j*hid:][:hid], wh[jz*hid:][:hid], wh[jn*hid:][:hid]
		for i := 0; i < lanes; i += 4 {
			b := bi[j] + bh[j]
			r0, r1, r2, r3 := b, b, b, b
			b = bi[jz] + bh[jz]
			z0, z1, z2, z3 := b, b, b, b
			b = bi[jn]
			n0, n1, n2, n3 := b, b, b, b
			b = bh[jn]
			c0, c1, c2, c3 := b, b, b, b
			for k, w := range wr {
				v := (*[4]float32)(x[k*lanes+i:])
				r0 += float32(w * v[0])
				r1 += float32(w * v[1])
				r2 += float32(w * v[2])
				r3 += float32(w * v[3])
				w = wz[k]
				z0 += float32(w * v[0])
				z1 += float32(w * v[1])
				z2 += float32(w * v[2])
				z3 += float32(w * v[3])
				w = wn[k]
				n0 += float32(w * v[0])
				n1 += float32(w * v[1])
				n2 += float32(w * v[2])
				n3 += float32(w * v[3])
			}
			for k, w := range ur {
				v := (*[4]float32)(h[k*lanes+i:])
				r0 += float32(w * v[0])
				r1 += float32(w * v[1])
				r2 += float32(w * v[2])
				r3 += float32(w * v[3])
				w = uz[k]
				z0 += float32(w * v[0])
				z1 += float32(w * v[1])
				z2 += float32(w * v[2])
				z3 += float32(w * v[3])
				w = un[k]
				c0 += float32(w * v[0])
				c1 += float32(w * v[1])
				c2 += float32(w * v[2])
				c3 += float32(w * v[3])
			}
			r := (*[4]float32)(saved[j*lanes+i:])
			z := (*[4]float32)(saved[jz*lanes+i:])
			n := (*[4]float32)(saved[jn*lanes+i:])
			c := (*[4]float32)(saved[(3*hid+j)*lanes+i:])
			o := (*[4]float32)(out[j*lanes+i:])
			p := (*[4]float32)(h[j*lanes+i:])
			*r = [4]float32{r0, r1, r2, r3}
			*z = [4]float32{z0, z1, z2, z3}
			*n = [4]float32{n0, n1, n2, n3}
			*c = [4]float32{c0, c1, c2, c3}
			for l := range r {
				r[l], z[l] = sigmoid32(r[l]), sigmoid32(z[l])
				n[l] = tanh32(n[l] + float32(r[l]*c[l]))
				o[l] = n[l] + float32(z[l]*(p[l]-n[l]))
			}
		}
	}
}

func goGRUGates(saved, h, dy, dh []float32, hid int) {
	n := hid * lanes
	r, z, g, c := saved[:n], saved[n:][:n], saved[2*n:][:n], saved[3*n:][:n]
	h, dy, dh = h[:n], dy[:n], dh[:n]
	for i := range r {
		d := dh[i] + dy[i]
		dh[i] = d * z[i]
		dn := d * (1 - z[i]) * (1 - float32(g[i]*g[i]))
		dz := d * (h[i] - g[i]) * float32(z[i]*(1-z[i]))
		dr := dn * c[i] * float32(r[i]*(1-r[i]))
		r[i], z[i], g[i], c[i] = dr, dz, dn, dn*r[i]
	}
}

func goAffine(y, x, w, b []float32, out, in int) {
	for j := range out {
		row := w[j*in:][:in]
		for i := 0; i < lanes; i += 8 {
			a0, a1, a2, a3, a4, a5, a6, a7 := b[j], b[j], b[j], b[j], b[j], b[j], b[j], b[j]
			for k, w := range row {
				v := (*[8]float32)(x[k*lanes+i:])
				a0 += float32(w * v[0])
				a1 += float32(w * v[1])
				a2 += float32(w * v[2])
				a3 += float32(w * v[3])
				a4 += float32(w * v[4])
				a5 += float32(w * v[5])
				a6 += float32(w * v[6])
				a7 += float32(w * v[7])
			}
			*(*[8]float32)(y[j*lanes+i:]) = [8]float32{a0, a1, a2, a3, a4, a5, a6, a7}
		}
	}
}

func goBackData(dx, d, w []float32, out, in, cols int, add bool) {
	for k := range cols {
		for i := 0; i < lanes; i += 8 {
			o := (*[8]float32)(dx[k*lanes+i:])
			if !add {
				*o = [8]float32{}
			}
			a0, a1, a2, a3, a4, a5, a6, a7 := o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]
			for j := range out {
				v, w := (*[8]float32)(d[j*lanes+i:]), w[j*in+k]
				a0 += float32(w * v[0])
				a1 += float32(w * v[1])
				a2 += float32(w * v[2])
				a3 += float32(w * v[3])
				a4 += float32(w * v[4])
				a5 += float32(w * v[5])
				a6 += float32(w * v[6])
				a7 += float32(w * v[7])
			}
			*o = [8]float32{a0, a1, a2, a3, a4, a5, a6, a7}
		}
	}
}

// goBackWeights sums the rows of a tile before it adds them to a weight, so
// the error grows with lanes+steps, not lanes·steps.
func goBackWeights(dw, d, x []float32, out, in, steps, dStep, xStep int) {
	for t := range steps {
		d, x := d[t*dStep:][:out*lanes], x[t*xStep:][:in*lanes]
		for j := range out {
			g, row := (*[lanes]float32)(d[j*lanes:]), dw[j*in:][:in]
			k := 0
			for ; k+4 <= in; k += 4 {
				v := (*[4 * lanes]float32)(x[k*lanes:])
				var a0, a1, a2, a3 float32
				for i, g := range g {
					a0 += float32(g * v[i])
					a1 += float32(g * v[lanes+i])
					a2 += float32(g * v[2*lanes+i])
					a3 += float32(g * v[3*lanes+i])
				}
				row[k] += a0
				row[k+1] += a1
				row[k+2] += a2
				row[k+3] += a3
			}
			for ; k < in; k++ {
				var a float32
				for i, v := range (*[lanes]float32)(x[k*lanes:]) {
					a += float32(g[i] * v)
				}
				row[k] += a
			}
		}
	}
}

func goBackBias(db, d []float32, out, steps, dStep int) {
	for t := range steps {
		for j := range out {
			var a float32
			for _, v := range (*[lanes]float32)(d[t*dStep+j*lanes:]) {
				a += v
			}
			db[j] += a
		}
	}
}

func goActivate(a Activation, y []float32) {
	switch a {
	case ReLU:
		for i, v := range y {
			if v < 0 { // a NaN stays
				y[i] = 0
			}
		}
	case Sigmoid:
		goSigmoid(y, y)
	case Tanh:
		goTanh(y, y)
	}
}

func goActivateBack(a Activation, d, y []float32) {
	d = d[:len(y)]
	switch a {
	case ReLU:
		for i, v := range y {
			if v == 0 {
				d[i] = 0
			}
		}
	case Sigmoid:
		for i, v := range y {
			d[i] *= float32(v * (1 - v))
		}
	case Tanh:
		for i, v := range y {
			d[i] *= 1 - float32(v*v)
		}
	}
}

func goExp(dst, src []float32) {
	for i, v := range src {
		dst[i] = exp32(v)
	}
}

func goExpTop(x []float32, n int) {
	var top [lanes]float32
	expBelow(x[:n*lanes], &top)
}

// expBelow makes x e^(x - the largest of its row), and top the largest.
func expBelow(x []float32, top *[lanes]float32) {
	*top = *(*[lanes]float32)(x)
	for i, v := range x {
		top[i%lanes] = max(top[i%lanes], v)
	}
	for i, v := range x {
		x[i] = exp32(v - top[i%lanes])
	}
}

func goSoftmax(x []float32, n int, scale, top, sum *[lanes]float32) {
	x = x[:n*lanes]
	expBelow(x, top)
	*sum = [lanes]float32{}
	for i, e := range x {
		sum[i%lanes] += e
	}
	for i, v := range x {
		x[i] = float32(v * (scale[i%lanes] / sum[i%lanes]))
	}
}

func goSigmoid(dst, src []float32) {
	for i, v := range src {
		dst[i] = sigmoid32(v)
	}
}

func goTanh(dst, src []float32) {
	for i, v := range src {
		dst[i] = tanh32(v)
	}
}

// exp32 is eˣ = 2ⁿ·eʳ with n = round(x/ln 2) and |r| ≤ ln(2)/2, eʳ by the
// polynomial of Cephes' expf (Moshier), at most 2 ulp off.
func exp32(x float32) float32 {
	switch {
	case x > 88.73:
		return float32(math.Inf(1))
	case x < -103.98:
		return 0
	case x != x:
		return x
	}
	const magic = 3 << 22 // adding it rounds to an integer
	n := float32(x*math.Log2E) + magic
	n -= magic
	r := x - float32(n*0.693359375)
	r -= float32(n * -2.12194440e-4)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(p*float32(r*r)) + r + 1
	k := int32(n) / 2 // in two factors: 2ⁿ itself may be no normal float32
	return p * math.Float32frombits(uint32(k+127)<<23) * math.Float32frombits(uint32(int32(n)-k+127)<<23)
}

// sigmoid32 is 1/(1+e⁻ˣ) for x ≥ 0, eˣ/(1+eˣ) below: nothing overflows.
func sigmoid32(x float32) float32 {
	e := exp32(-abs32(x))
	if x < 0 {
		return e / (1 + e)
	}
	return 1 / (1 + e)
}

// tanh32 is (1-e)/(1+e), e = e^(-2|x|), with the sign of x.
func tanh32(x float32) float32 {
	e := exp32(-2 * abs32(x))
	return math.Float32frombits(math.Float32bits((1-e)/(1+e)) | math.Float32bits(x)&(1<<31))
}

func abs32(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func goAdam(p, g, m, v []float32, c *adamScalars) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	for i, g := range g {
		m[i] = float32(c.beta1*m[i]) + float32(c.oneMinusBeta1*g)
		v[i] = float32(c.beta2*v[i]) + float32(c.oneMinusBeta2*float32(g*g))
		root := float32(math.Sqrt(float64(v[i])))
		p[i] -= float32(c.step * m[i] / (float32(root*c.root) + c.eps))
	}
}

func goSum(dst, src []float32) {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] += v
	}
}

func goPanelIn(panel, src []float32, rows, f int) {
	panel = panel[:f*lanes]
	if rows < lanes {
		clear(panel)
	}
	for b := range rows {
		for i, v := range src[b*f:][:f] {
			panel[i*lanes+b] = v
		}
	}
}

func goPanelOut(dst, panel []float32, rows, f int) {
	panel = panel[:f*lanes]
	for b := range rows {
		dst := dst[b*f:][:f]
		for i := range dst {
			dst[i] = panel[i*lanes+b]
		}
	}
}
