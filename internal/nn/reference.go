package nn

import "math"

// The reference: float64, one row after another, as the equations are
// written. Memory is of no concern here.

type float interface{ float32 | float64 }

func widen(s []float32) []float64 {
	w := make([]float64, len(s))
	for i, v := range s {
		w[i] = float64(v)
	}
	return w
}

func narrow(dst []float32, src []float64) {
	for i, v := range src {
		dst[i] = float32(v)
	}
}

func addNarrow(dst []float32, src []float64) {
	for i, v := range src {
		dst[i] += float32(v)
	}
}

func activate(a Activation, v float64) float64 {
	switch a {
	case ReLU:
		return max(v, 0)
	case Sigmoid:
		return 1 / (1 + math.Exp(-v))
	case Tanh:
		return math.Tanh(v)
	}
	return v
}

// slope is a' where a gives y.
func slope(a Activation, y float64) float64 {
	switch {
	case a == ReLU && y <= 0:
		return 0
	case a == Sigmoid:
		return y * (1 - y)
	case a == Tanh:
		return 1 - y*y
	}
	return 1
}

// refDense is y [n,out] = a(x·wᵀ + b), w [out,in].
func refDense(x, w, b []float64, out, in int, a Activation) []float64 {
	n := len(x) / in
	y := make([]float64, n*out)
	for i := range n {
		for j := range out {
			s := b[j]
			for k := range in {
				s += w[j*in+k] * x[i*in+k]
			}
			y[i*out+j] = activate(a, s)
		}
	}
	return y
}

// refDenseBack gives dx and adds to dw, db; dy belongs to y.
func refDenseBack(dy, y, x, w []float64, out, in int, a Activation, dw, db []float64) (dx []float64) {
	n := len(x) / in
	dx = make([]float64, n*in)
	for i := range n {
		for j := range out {
			d := dy[i*out+j] * slope(a, y[i*out+j])
			db[j] += d
			for k := range in {
				dw[j*in+k] += d * x[i*in+k]
				dx[i*in+k] += d * w[j*in+k]
			}
		}
	}
	return dx
}

// refTrace is what a GRU layer keeps of a sequence for its way back, [T,B,H].
type refTrace struct{ h0, r, z, n, c, h []float64 }

// refGRU is one GRU layer over a sequence (kernels.gruForward) from h0 [B,H];
// x [T,B,I], biases [3H].
func refGRU(x, h0, wi, wh, bi, bh []float64, batch, in, hid int) refTrace {
	steps := len(x) / (batch * in)
	n := steps * batch * hid
	t := refTrace{h0, make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)}
	prev := h0
	for s := range steps {
		at := s * batch * hid
		xi := refDense(x[s*batch*in:][:batch*in], wi, bi, 3*hid, in, Linear)
		hi := refDense(prev, wh, bh, 3*hid, hid, Linear)
		for b := range batch {
			for j := range hid {
				i, g := at+b*hid+j, b*3*hid+j
				t.r[i] = activate(Sigmoid, xi[g]+hi[g])
				t.z[i] = activate(Sigmoid, xi[g+hid]+hi[g+hid])
				t.c[i] = hi[g+2*hid]
				t.n[i] = math.Tanh(xi[g+2*hid] + t.r[i]*t.c[i])
				t.h[i] = (1-t.z[i])*t.n[i] + t.z[i]*prev[b*hid+j]
			}
		}
		prev = t.h[at:][:batch*hid]
	}
	return t
}

// refGRUBack gives dx and adds to the gradients of the parameters; dy [T,B,H].
func refGRUBack(t refTrace, dy, x, wi, wh []float64, batch, in, hid int, dwi, dwh, dbi, dbh []float64) (dx []float64) {
	steps := len(x) / (batch * in)
	dx = make([]float64, len(x))
	dh := make([]float64, batch*hid)
	for s := steps - 1; s >= 0; s-- {
		at := s * batch * hid
		prev := t.h0
		if s > 0 {
			prev = t.h[at-batch*hid:][:batch*hid]
		}
		di, dc := make([]float64, batch*3*hid), make([]float64, batch*3*hid)
		for b := range batch {
			for j := range hid {
				i, g, p := at+b*hid+j, b*3*hid+j, b*hid+j
				d := dh[p] + dy[i]
				dn := d * (1 - t.z[i]) * (1 - t.n[i]*t.n[i])
				dz := d * (prev[p] - t.n[i]) * t.z[i] * (1 - t.z[i])
				dr := dn * t.c[i] * t.r[i] * (1 - t.r[i])
				di[g], di[g+hid], di[g+2*hid] = dr, dz, dn
				dc[g], dc[g+hid], dc[g+2*hid] = dr, dz, dn*t.r[i]
				dh[p] = d * t.z[i]
			}
		}
		xs := x[s*batch*in:][:batch*in]
		copy(dx[s*batch*in:], refDenseBack(di, di, xs, wi, 3*hid, in, Linear, dwi, dbi))
		for i, d := range refDenseBack(dc, dc, prev, wh, 3*hid, hid, Linear, dwh, dbh) {
			dh[i] += d
		}
	}
	return dx
}
