package privacy

import (
	"errors"
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsInf(want, 1) && math.IsInf(got, 1) {
		return
	}
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %v, want %v ± %v", what, got, want, tolerance)
	}
}

// The figures of TensorFlow Privacy's own tests of its accountant
// (rdp_accountant_test.py, of 2018 to 2022).
func TestPublishedRDP(t *testing.T) {
	near(t, "no sampling", RDP(1, 10, 1, 20), .1, 0)
	near(t, "no data", RDP(0, 10, 1, 20), 0, 0)
	near(t, "q .1, σ 2, 10 steps, α 5", RDP(.1, 2, 10, 5), .07737, 5e-6)
	for alpha, want := range map[float64]float64{1.5: .00065, 2.5: .001085, 5: .00218075, 50: .023846, 100: 167.416307, math.Inf(1): math.Inf(1)} {
		near(t, "q .01, σ 2.5, 50 steps", RDP(.01, 2.5, 50, alpha), want, 1e-5)
	}
}

// What TensorFlow Privacy's command says of MNIST: 60,000 examples, batches of 256,
// noise 1.12, 60 epochs, δ = 1e-5: ε = 2.92. Its tutorial's table: 1.3 and 15 epochs
// 1.19, 1.1 and 60 epochs 3.01, .7 and 45 epochs 7.10.
func TestPublishedEpsilon(t *testing.T) {
	for _, x := range []struct {
		noise  float64
		epochs int
		want   float64
	}{{1.12, 60, 2.92}, {1.3, 15, 1.19}, {1.1, 60, 3.01}, {.7, 45, 7.10}} {
		var a Accountant
		steps := int(math.Ceil(float64(x.epochs) * 60000 / 256))
		if err := a.Gaussian(256./60000, x.noise, steps); err != nil {
			t.Fatal(err)
		}
		got, _ := a.MironovEpsilon(1e-5)
		near(t, "ε", got, x.want, .0101)
		if tight, _ := a.Epsilon(1e-5); tight >= got {
			t.Errorf("the newer conversion gives %v, the older %v", tight, got)
		}
	}
}

// The second road: the expectation by numerical integration, for whole and other α.
func TestRDPByIntegration(t *testing.T) {
	for _, x := range []struct{ q, sigma, alpha float64 }{
		{.1, 1, 5}, {.01, 1, 1.5}, {.001, 1, 2}, {.5, 2, 32.5}, {.01, 10, 20}, {.1, 100, 20.5}, {.3, .8, 1.1}, {.01, .7, 12.3}, {.9, 3, 7.5}, {.2, 1, 1.01},
	} {
		density := func(z, mu float64) float64 {
			return -(z-mu)*(z-mu)/(2*x.sigma*x.sigma) - math.Log(x.sigma*math.Sqrt(2*math.Pi))
		}
		sum, step := math.Inf(-1), x.sigma/2000
		for z := -30 * x.sigma; z < 30*x.sigma+x.alpha+1; z += step {
			ratio := logAdd(math.Log1p(-x.q), math.Log(x.q)+density(z, 1)-density(z, 0))
			sum = logAdd(sum, density(z, 0)+x.alpha*ratio+math.Log(step))
		}
		want := sum / (x.alpha - 1)
		near(t, "RDP", RDP(x.q, x.sigma, 1, x.alpha), want, 1e-6*math.Max(want, 1e-3)+1e-9)
	}
}

// The noise for an ε and δ is exact: what the two densities that are hardest to
// distinguish differ by, integrated, is δ; less noise is not enough; and the
// accountant, which is an upper bound, is never below.
func TestSigma(t *testing.T) {
	for _, x := range []struct{ epsilon, delta float64 }{{.1, 1e-5}, {1, 1e-5}, {2, 1e-6}, {8, 1e-5}, {.5, .01}, {30, 1e-9}} {
		sigma, err := Sigma(x.epsilon, x.delta)
		if err != nil {
			t.Fatal(err)
		}
		density := func(z, mu float64) float64 {
			return math.Exp(-(z-mu)*(z-mu)/(2*sigma*sigma)) / (sigma * math.Sqrt(2*math.Pi))
		}
		sum, step := 0., sigma/4000
		for z := -20 * sigma; z < 20*sigma+1; z += step {
			sum += max(density(z, 1)-math.Exp(x.epsilon)*density(z, 0), 0) * step
		}
		near(t, "δ by integration", sum/x.delta, 1, .003)
		if Delta(.99*sigma, x.epsilon) <= x.delta {
			t.Errorf("ε %v, δ %v: less noise than %v is enough", x.epsilon, x.delta, sigma)
		}
		var a Accountant
		if err := a.Gaussian(1, sigma, 1); err != nil {
			t.Fatal(err)
		}
		if e, _ := a.Epsilon(x.delta); e < x.epsilon {
			t.Errorf("the accountant says ε %v of noise for %v", e, x.epsilon)
		}
	}
	// Dwork and Roth's older σ = √(2 ln(1.25/δ))/ε is more than is needed (ε < 1).
	if s, _ := Sigma(.5, 1e-5); s >= math.Sqrt(2*math.Log(1.25e5))/.5 {
		t.Errorf("σ %v is not below the classic bound", s)
	}
	for _, x := range [][2]float64{{0, 1e-5}, {-1, 1e-5}, {math.NaN(), 1e-5}, {math.Inf(1), 1e-5}, {1, 0}, {1, 1}, {1, math.NaN()}} {
		if _, err := Sigma(x[0], x[1]); !errors.Is(err, ErrBudget) {
			t.Errorf("ε %v, δ %v: %v", x[0], x[1], err)
		}
	}
	var a Accountant
	for _, x := range [][2]float64{{-1, 1}, {2, 1}, {.5, 0}} {
		if a.Gaussian(x[0], x[1], 1) == nil {
			t.Errorf("samples of %v with noise %v are no mechanism", x[0], x[1])
		}
	}
}

// Steps add up, and sampling never costs privacy.
func TestComposition(t *testing.T) {
	for _, alpha := range []float64{1.5, 2, 7.3, 64} {
		one := RDP(.02, 1.1, 1, alpha)
		near(t, "100 steps", RDP(.02, 1.1, 100, alpha), 100*one, 1e-9*one)
		if whole := RDP(1, 1.1, 1, alpha); one > whole {
			t.Errorf("α %v: a sample gives %v, all records %v", alpha, one, whole)
		}
	}
}

// The noise of sampled steps is the least: the accountant, whose figures are TensorFlow
// Privacy's, says at most ε of it and more of less. Of one step on all records it is the
// Gaussian mechanism's or a little more, as the accountant is an upper bound.
func TestMultiplier(t *testing.T) {
	for _, x := range []struct {
		q              float64
		steps          int
		epsilon, delta float64
	}{{256. / 60000, 3515, 3, 1e-5}, {.01, 4000, 8, 1e-6}, {.3, 2000, 1, 1e-5}, {1, 1, 2, 1e-6}, {.001, 10, 8, 1e-6}} {
		sigma, err := Multiplier(x.q, x.steps, x.epsilon, x.delta)
		if err != nil {
			t.Fatal(err)
		}
		of := func(sigma float64) float64 {
			var a Accountant
			if err := a.Gaussian(x.q, sigma, x.steps); err != nil {
				t.Fatal(err)
			}
			e, _ := a.Epsilon(x.delta)
			return e
		}
		if at, less := of(sigma), of(.999*sigma); at > x.epsilon || less <= x.epsilon {
			t.Errorf("%+v: ε %v of noise %v, %v of a little less", x, at, sigma, less)
		}
		if exact, _ := Sigma(x.epsilon, x.delta); x.q == 1 && (sigma < exact || sigma > 1.15*exact) {
			t.Errorf("%+v: noise %v, exactly %v", x, sigma, exact)
		}
	}
	for _, x := range []struct{ q, epsilon float64 }{{.1, 0}, {.1, math.Inf(1)}, {2, 1}} {
		if _, err := Multiplier(x.q, 10, x.epsilon, 1e-5); err == nil {
			t.Errorf("%+v has a noise", x)
		}
	}
}
