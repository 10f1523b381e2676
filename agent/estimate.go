package agent

// EstimateOf is the mean of x, one value an episode, with its 95 % confidence
// interval; of differences by seed it is a paired comparison.
func EstimateOf(x []float64) Estimate { return estimate(x) }
