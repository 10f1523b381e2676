package eval

import (
	"math"
	"slices"
)

// Calibration says how far a plant's values are from the truth's, not only how
// alike they are ranked. Intervals resample episodes.
type Calibration struct {
	RMS  Bounds `json:"rms"`  // root mean square over policies of the value's error, reward a step
	Bias Bounds `json:"bias"` // its mean: below 0 the plant undervalues policies
	// Slope and Intercept are those of the least-squares line of the plant's
	// values over the truth's; 1 and 0 where values are right. NaN where all
	// policies are worth the same on the truth.
	Slope     Bounds `json:"slope"`
	Intercept Bounds `json:"intercept"`
	// Within counts the policies for which the 95 % interval of the difference,
	// paired by seed, contains 0.
	Within   int           `json:"within"`
	Families []FamilyError `json:"families"` // in the order of Families, those that have policies
}

// FamilyError is how far a family's values are off.
type FamilyError struct {
	Family   string `json:"family"`
	Policies int    `json:"policies"`
	RMS      Bounds `json:"rms"`
	Bias     Bounds `json:"bias"`
}

// Reference is what an agreement is to be read beside: the same policies valued
// on the truth again, which no simulator can beat but by luck, or on another
// testbed, which knows nothing of this one.
type Reference struct {
	Kind        string      `json:"kind"` // Ceiling or WrongTestbed
	Plant       Plant       `json:"plant"`
	Values      []Mean      `json:"values"` // reward a step, by policy
	Spearman    Bounds      `json:"spearman"`
	Kendall     Bounds      `json:"kendall"`
	Regret      Regret      `json:"regret_at_1"`
	Calibration Calibration `json:"calibration"`
}

// Kinds of Reference.
const (
	Ceiling      = "ceiling"       // A again, other episodes, as many
	WrongTestbed = "wrong_testbed" // another testbed, the same policies and rewards
)

// calibrate compares values [policy][seed] of a plant, b, with the truth's, a. An
// interval resamples seeds, the same ones for all policies and both plants.
func calibrate(policies []Valued, a, b [][]float64, draws int) Calibration {
	members := map[string][]int{}
	var every []int
	c := Calibration{}
	for p := range policies {
		f := policies[p].Family()
		members[f], every = append(members[f], p), append(every, p)
		d := EstimateOf(less(b[p], a[p]))
		if math.Abs(d.Mean) <= d.CI {
			c.Within++
		}
	}
	groups := [][]int{every}
	for _, f := range Families {
		if of := members[f]; len(of) > 0 {
			groups = append(groups, of)
			c.Families = append(c.Families, FamilyError{Family: f, Policies: len(of)})
		}
	}
	all := resampled(len(a[0]), draws, func(seeds []int) (values []float64) {
		ma, mb := meansAt(a, seeds), meansAt(b, seeds)
		slope, intercept := lineThrough(ma, mb)
		values = append(values, slope, intercept)
		for _, of := range groups {
			rms, bias := errorOf(ma, mb, of)
			values = append(values, rms, bias)
		}
		return values
	})
	c.Slope, c.Intercept, c.RMS, c.Bias = all[0], all[1], all[2], all[3]
	for i := range c.Families {
		c.Families[i].RMS, c.Families[i].Bias = all[4+2*i], all[5+2*i]
	}
	return c
}

// errorOf is how far b is from a at some places: root mean square and mean.
func errorOf(a, b []float64, at []int) (rms, bias float64) {
	n := float64(len(at))
	for _, p := range at {
		d := b[p] - a[p]
		rms, bias = rms+d*d/n, bias+d/n
	}
	return math.Sqrt(rms), bias
}

// lineThrough is the least-squares line of y over x; NaN where x is constant.
func lineThrough(x, y []float64) (slope, intercept float64) {
	n := float64(len(x))
	var mx, my, xy, xx float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	for i := range x {
		xy, xx = xy+(x[i]-mx)*(y[i]-my), xx+(x[i]-mx)*(x[i]-mx)
	}
	if xx == 0 {
		return math.NaN(), math.NaN()
	}
	return xy / xx, my - xy/xx*mx
}

// refer makes the reference of values [policy][seed] on a plant.
func (r *Result) refer(kind string, plant Plant, b [][]float64, draws int) Reference {
	var a [][]float64
	for _, p := range r.Policies {
		a = append(a, p.A.PerSeed)
	}
	g := agree(a, b, draws)
	g.Regret.Best, g.Regret.Chosen = r.Policies[g.best].Policy, r.Policies[g.chosen].Policy
	out := Reference{
		Kind: kind, Plant: plant, Spearman: g.Spearman, Kendall: g.Kendall, Regret: g.Regret,
		Calibration: calibrate(r.Policies, a, b, draws),
	}
	for _, v := range b {
		out.Values = append(out.Values, meanOf(EstimateOf(v)))
	}
	return out
}

// Reference is the reference of a kind; nil if none was played.
func (r *Result) Reference(kind string) *Reference {
	if i := slices.IndexFunc(r.References, func(f Reference) bool { return f.Kind == kind }); i >= 0 {
		return &r.References[i]
	}
	return nil
}
