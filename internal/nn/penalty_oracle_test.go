package nn

import (
	"math"
	"testing"

	"github.com/planegym/planegym/compute"
)

// The penalty and its gradient are those of double backward in float64 (PyTorch
// 2.15, torch.autograd.grad with create_graph), windows that end early among the
// rows:
//
//	h = x; for l in 0, 1, 2: h = h @ W[l].T + b[l], relu but for the last
//	g = grad(h.sum(), x, create_graph=True)[0]
//	p = 10 * ((g.norm(dim=1) - 1)**2).mean();  grad(p, W)
//
// Element i of a tensor is 0.9 sin(1.7 i² + k): of W[l] with k = l, of b[l]
// 0.3 of it with k = 10 + l, of x with k = 20, the last r mod 4 of row r being 0.
func TestGradientPenaltyOracle(t *testing.T) {
	const rows = 7
	sizes := []int{6, 8, 5, 1}
	want := [][]float32{
		{
			2.11279529, 1.88889967, -1.19740428, -1.32978664, -0.40706346, -1.86521167, -2.55948517, -1.11031586,
			2.48257183, 1.88182705, 2.42411142, 0.374058687, -1.42067421, -0.844422338, 1.03932871, 0.84577691,
			0.316686189, 0.88293338, -4.28995426, -2.94723932, 3.02061008, 3.12429351, 2.27941912, 2.42982374,
			-1.89324488, -1.64897066, 0.943539764, 1.05429264, 0.159877363, 1.71353092, 2.1487292, 0.90740318,
			-3.12299574, -2.67962916, -3.35006834, 0.194640544, 1.14630928, 0.903456428, -1.14003524, -1.18602273,
			-1.39346016, -0.46816255, -0.0019830235, 0.00923146911, 0.0024487145, 0.000743783247, 0.00232856539, -0.0049253788,
		},
		{
			2.50027375, 1.23035076, -3.46084365, -6.49372771, -0.745793821, -0.0116931188, 2.19380023, -0.129093343,
			-0.366977053, -0.0130574031, 1.68230936, 5.55679403, 0.434564673, -0.827086871, -2.71222783, 0.130826575,
			0.488576803, 0.094823788, -2.22623201, -6.13447082, -0.479741429, 1.17325473, 2.78543501, -0.0830409469,
			-0.835103808, 2.64400654, 4.71075201, 12.8607972, 0.820001874, -3.81632725, -4.76102707, 0.141938402,
			0, 0, 0, 0, 0, 0, 0, 0,
		},
		{1.5259915, 6.42378296, 15.7281735, -20.6214756, 0},
	}
	fill := func(dst []float32, k, scale float64) {
		for i := range dst {
			dst[i] = float32(scale * float64(float32(math.Sin(1.7*float64(i)*float64(i)+k)*.9)))
		}
	}
	m := NewMLP(sizes, ReLU, Linear)
	for i, v := range m.Params().Views {
		if i%2 == 0 {
			fill(v.Data, float64(i/2), 1)
		} else {
			fill(v.Data, float64(10+i/2), .3)
		}
	}
	x := make([]float32, rows*6)
	fill(x, 20, 1)
	for r := range rows {
		clear(x[r*6+6-r%4 : r*6+6])
	}
	for _, k := range compute.Available()[1:] {
		be := compute.NewBackend(k, 1)
		grad := make([]float32, len(m.Params().Data))
		if p := NewGradientPenalty(m, be, rows).Penalty(x, 10, grad); math.Abs(p-7.340030931651485) > 1e-5 {
			t.Errorf("%v: the penalty is %v, want 7.340030931651485", k, p)
		}
		at := 0
		for l, w := range want {
			for i := range w {
				if d := math.Abs(float64(grad[at+i]) - float64(w[i])); d > 1e-6*20.6214756 { // of the largest
					t.Errorf("%v: layer %d, element %d: %v, want %v", k, l, i, grad[at+i], w[i])
				}
			}
			at += len(w) + sizes[l+1]
		}
		be.Close()
	}
}
