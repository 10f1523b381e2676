// Package privacy says how much noise (ε, δ)-differential privacy takes, and what
// privacy noise gives.
package privacy

import (
	"errors"
	"fmt"
	"math"
)

// ErrBudget is wrapped by the error of an ε and δ that no mechanism meets.
var ErrBudget = errors.New("privacy: impossible budget")

// Check reports an ε or a δ that says nothing: ε is above 0 and finite, δ is above
// 0 and below 1.
func Check(epsilon, delta float64) error {
	switch {
	case !(epsilon > 0) || math.IsInf(epsilon, 0):
		return fmt.Errorf("%w: epsilon is %v: it is above 0 and finite", ErrBudget, epsilon)
	case !(delta > 0 && delta < 1):
		return fmt.Errorf("%w: delta is %v: it is above 0 and below 1", ErrBudget, delta)
	}
	return nil
}

// CheckDelta reports a δ that is too large for so many sessions.
func CheckDelta(delta float64, sessions int) error {
	if delta*float64(sessions) >= 1 {
		return fmt.Errorf("%w: delta is %v of %d sessions: it would allow to publish one of them as it is; choose a delta below 1/sessions", ErrBudget, delta, sessions)
	}
	return nil
}

// Delta is the smallest δ for which the Gaussian mechanism with a standard deviation
// of sigma times the L2 sensitivity is (ε, δ)-private (Balle and Wang 2018, theorem
// 8, exact):
//
//	δ = Φ(1/(2σ) - εσ) - e^ε Φ(-1/(2σ) - εσ)
func Delta(sigma, epsilon float64) float64 {
	a, b := 1/(2*sigma)-epsilon*sigma, -1/(2*sigma)-epsilon*sigma
	return max(phi(a)-math.Exp(epsilon+logPhi(b)), 0)
}

// Sigma is the smallest noise, in multiples of the L2 sensitivity, for which the
// Gaussian mechanism is (ε, δ)-private. Its error wraps ErrBudget.
func Sigma(epsilon, delta float64) (float64, error) {
	if err := Check(epsilon, delta); err != nil {
		return 0, err
	}
	sigma, ok, err := least(1e12, 100, func(sigma float64) (bool, error) { return sigma > 0 && Delta(sigma, epsilon) <= delta, nil })
	if err == nil && !ok {
		err = fmt.Errorf("%w: epsilon %v with delta %v takes more noise than %v times the sensitivity", ErrBudget, epsilon, delta, sigma)
	}
	if err != nil {
		return 0, err
	}
	return sigma, nil
}

// least is the smallest noise that met allows, by halvings of the range in which it is.
// Not ok: the noise that is given, above most, is not enough.
func least(most float64, halvings int, met func(sigma float64) (bool, error)) (sigma float64, ok bool, err error) {
	lo, hi := 0., 1.
	for {
		if ok, err = met(hi); ok || err != nil {
			break
		}
		if lo, hi = hi, 2*hi; hi > most {
			return hi, false, nil
		}
	}
	for range halvings {
		mid := (lo + hi) / 2
		if enough, err := met(mid); err == nil && enough {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi, ok, err
}

// phi is the distribution function of the standard normal distribution.
func phi(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

// Quantile is the standard normal distribution's at p in (0, 1).
func Quantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// logPhi is ln Φ(x), also far below 0, where Φ underflows (Abramowitz and Stegun
// 1964, 26.2.12).
func logPhi(x float64) float64 {
	if x > -20 {
		return math.Log(phi(x))
	}
	y := x * x
	return -y/2 - math.Log(-x*math.Sqrt(2*math.Pi)) + math.Log1p(-1/y+3/(y*y)-15/(y*y*y))
}
