package nn

import (
	"math"

	"github.com/planegym/planegym/internal/rng"
)

func newParams(views ...View) *Params {
	n := 0
	for _, v := range views {
		n += size(v.Shape)
	}
	p := &Params{Data: floats(n), Views: views}
	at := 0
	for i := range views {
		n := size(views[i].Shape)
		views[i].Data = p.Data[at : at+n : at+n]
		at += n
	}
	return p
}

func size(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}

// InitGlorot draws w [out,in] uniformly from ±√(6/(in+out)) (Glorot and
// Bengio 2010, eq. 16).
func InitGlorot(key rng.Key, w []float32, out, in int) {
	check("glorot weights", len(w), out, in)
	InitUniform(key, w, math.Sqrt(6/float64(in+out)))
}

// InitUniform draws w uniformly from ±limit.
func InitUniform(key rng.Key, w []float32, limit float64) {
	for i := range w {
		w[i] = float32((2*key.Float64(uint32(i)) - 1) * limit)
	}
}

// InitOrthogonal draws w [n,n] with orthonormal rows: independent normals,
// then Gram-Schmidt, each row twice for the sake of rounding.
func InitOrthogonal(key rng.Key, w []float32, n int) {
	check("orthogonal weights", len(w), n, n)
	q := make([]float64, n*n)
	for i := range q {
		q[i], _ = key.Normal(uint32(i))
	}
	for i := range n {
		row := q[i*n:][:n]
		for range 2 {
			for j := range i {
				other, dot := q[j*n:][:n], 0.
				for k, v := range row {
					dot += v * other[k]
				}
				for k := range row {
					row[k] -= dot * other[k]
				}
			}
		}
		norm := 0.
		for _, v := range row {
			norm += v * v
		}
		norm = math.Sqrt(norm)
		for k := range row {
			row[k] /= norm
			w[i*n+k] = float32(row[k])
		}
	}
}

// tensorKey separates the tensors of one network.
func tensorKey(key rng.Key, tensor int) rng.Key {
	key.B += uint32(tensor)
	return key
}
