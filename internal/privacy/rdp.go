package privacy

import (
	"fmt"
	"math"
)

// Orders are the Rényi orders α that an accountant tries: those of published
// accountants.
var Orders = func() []float64 {
	var o []float64
	for x := 1; x < 100; x++ {
		o = append(o, 1+float64(x)/10)
	}
	for x := 12; x < 64; x++ {
		o = append(o, float64(x))
	}
	return append(o, 128, 256, 512)
}()

// RDP is the Rényi differential privacy of order α > 1 that steps of the Gaussian
// mechanism on a Poisson sample give together: each takes a record with probability
// q and adds noise of standard deviation sigma times the L2 sensitivity (Mironov,
// Talwar and Zhang 2019, section 3.3).
//
//	(1/(α-1)) ln E_{z~μ0} [((1-q) + q μ1(z)/μ0(z))^α],  μ0 = N(0, σ²), μ1 = N(1, σ²)
func RDP(q, sigma float64, steps int, alpha float64) float64 {
	switch {
	case q == 0:
		return 0
	case sigma == 0 || math.IsInf(alpha, 1):
		return math.Inf(1)
	case q == 1:
		return float64(steps) * alpha / (2 * sigma * sigma)
	}
	var logA float64
	if alpha == math.Trunc(alpha) {
		logA = logAInteger(q, sigma, int(alpha))
	} else {
		logA = logAFraction(q, sigma, alpha)
	}
	return float64(steps) * logA / (alpha - 1)
}

// logAInteger is ln of the expectation for a whole α, by the binomial theorem:
//
//	Σ_k C(α,k) (1-q)^(α-k) q^k exp((k²-k)/(2σ²))
func logAInteger(q, sigma float64, alpha int) float64 {
	sum := math.Inf(-1)
	for k := range alpha + 1 {
		x := float64(k)
		sum = logAdd(sum, logChoose(float64(alpha), x)+x*math.Log(q)+(float64(alpha)-x)*math.Log1p(-q)+(x*x-x)/(2*sigma*sigma))
	}
	return sum
}

// logAFraction is the same for any α, by two series that meet at z0 = σ² ln(1/q - 1)
// + 1/2, where both terms of the sum are equal.
func logAFraction(q, sigma, alpha float64) float64 {
	// Sums of signed terms: those of each sign apart.
	var plus, minus = math.Inf(-1), math.Inf(-1)
	add := func(sign, log float64) {
		if sign > 0 {
			plus = logAdd(plus, log)
		} else {
			minus = logAdd(minus, log)
		}
	}
	z0 := sigma*sigma*math.Log(1/q-1) + .5
	sign, logC := 1., 0. // of the binomial coefficient C(α, i)
	for i := 0; ; i++ {
		x := float64(i)
		j := alpha - x
		t0 := logC + x*math.Log(q) + j*math.Log1p(-q)
		t1 := logC + j*math.Log(q) + x*math.Log1p(-q)
		s0 := t0 + (x*x-x)/(2*sigma*sigma) + logPhi(-(x-z0)/sigma)
		s1 := t1 + (j*j-j)/(2*sigma*sigma) + logPhi(-(z0-j)/sigma)
		add(sign, s0)
		add(sign, s1)
		if max(s0, s1) < -30+math.Max(plus, -700) && x > alpha || i > 100_000 {
			break
		}
		f := (alpha - x) / (x + 1)
		if f < 0 {
			sign = -sign
		}
		logC += math.Log(math.Abs(f))
	}
	return plus + math.Log1p(-math.Exp(minus-plus))
}

func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

func logChoose(n, k float64) float64 {
	lg := func(x float64) float64 { v, _ := math.Lgamma(x + 1); return v }
	return lg(n) - lg(k) - lg(n-k)
}

// An Accountant adds up the Rényi privacy of what is released of one set of records.
// The zero value has released nothing.
type Accountant struct{ rdp []float64 } // by Orders

// Gaussian adds steps of the Gaussian mechanism on Poisson samples of probability q
// with noise of sigma times the sensitivity.
func (a *Accountant) Gaussian(q, sigma float64, steps int) error {
	if !(q >= 0 && q <= 1) || !(sigma > 0) || steps < 0 {
		return fmt.Errorf("privacy: %d steps on samples of %v with noise %v: expected at least 0, 0…1, above 0", steps, q, sigma)
	}
	if a.rdp == nil {
		a.rdp = make([]float64, len(Orders))
	}
	for i, alpha := range Orders {
		a.rdp[i] += RDP(q, sigma, steps, alpha)
	}
	return nil
}

// Epsilon is the smallest ε of all orders at δ: min over α of
//
//	ε(α) + ln((α-1)/α) - (ln δ + ln α)/(α-1)
//
// (Balle et al. 2020, theorem 21). It returns the order too.
func (a *Accountant) Epsilon(delta float64) (epsilon, order float64) {
	return a.best(func(rdp, alpha float64) float64 {
		return rdp + math.Log((alpha-1)/alpha) - (math.Log(delta)+math.Log(alpha))/(alpha-1)
	})
}

// MironovEpsilon is ε by the older conversion ε(α) + ln(1/δ)/(α-1) (Mironov 2017,
// proposition 3), which published figures are often of. It is never smaller.
func (a *Accountant) MironovEpsilon(delta float64) (epsilon, order float64) {
	return a.best(func(rdp, alpha float64) float64 { return rdp - math.Log(delta)/(alpha-1) })
}

func (a *Accountant) best(of func(rdp, alpha float64) float64) (epsilon, order float64) {
	epsilon = math.Inf(1)
	for i, rdp := range a.rdp {
		if e := of(rdp, Orders[i]); e < epsilon {
			epsilon, order = e, Orders[i]
		}
	}
	return max(epsilon, 0), order
}

// Multiplier is the least noise, in multiples of the sensitivity, for which steps of
// the Gaussian mechanism on Poisson samples of probability q are (ε, δ)-private. Its
// error wraps ErrBudget.
func Multiplier(q float64, steps int, epsilon, delta float64) (float64, error) {
	if err := Check(epsilon, delta); err != nil {
		return 0, err
	}
	sigma, ok, err := least(1e7, 30, func(sigma float64) (bool, error) {
		var a Accountant
		if err := a.Gaussian(q, sigma, steps); err != nil {
			return false, err
		}
		e, _ := a.Epsilon(delta)
		return e <= epsilon, nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("%w: %d steps with epsilon %v and delta %v take more noise than %v times the sensitivity", ErrBudget, steps, epsilon, delta, sigma)
	}
	if err != nil {
		return 0, err
	}
	return sigma, nil
}
