package traffic

import "fmt"

// Fitted is a model that can be written to a file.
type Fitted interface {
	Model
	// Save writes the model to a file that appears whole or not at all. about is
	// added to its metadata: where the data come from.
	Save(path string, about map[string]string) error
}

// FitOptions say how a model is fitted: what does not depend on its kind. A
// fit of equal sessions, settings, Seed, Engine and Kernels gives equal bytes,
// whatever Threads is, resumed or not.
type FitOptions struct {
	Seed uint64
	// Path is where checkpoints go, each whole or not at all; "": none is written.
	Path string
	// Every is how many updates lie between checkpoints; 0: the kind's default.
	Every int
	// Resume goes on from the checkpoint at Path. One of other sessions (see
	// Hash) or of settings that it cannot go on with is an error.
	Resume bool
	// From is a fitted model of sessions of the same schema, whose weights and classes
	// this fit begins with; nil: it begins with random weights, and classes of its own.
	// A kind that cannot is an error, and so are settings that From's weights do not fit.
	From    Model
	Engine  string         // what computes, as internal/seq names it; "": "fused"
	Kernels string         // as compute.ParseKernels takes it; "": "auto"
	Threads int            // 0: GOMAXPROCS
	Report  func(Progress) // called as the fit proceeds; may be nil
}

// Progress is how far a fit has come.
type Progress struct {
	Phase       string             // of the fit
	Done, Total int                // of the phase: updates, or sessions
	Losses      map[string]float64 // by name, with their unit: "nats_per_step"
}

// Origin is what a model was fitted with: equal origins give equal weights.
type Origin struct {
	Config any // comparable
	Seed   uint64
	Data   string // Hash of the sessions
	Engine string // and the kernels
	Done   bool   // training has ended
}

// Resume reports why a fit of want cannot continue a checkpoint of o, in an error
// that wraps cause; nil where it can.
func (o Origin) Resume(want Origin, cause error) error {
	switch {
	case o.Config != want.Config:
		return fmt.Errorf("%w: its settings are %+v, not %+v", cause, o.Config, want.Config)
	case o.Seed != want.Seed:
		return fmt.Errorf("%w: its seed is %d, not %d", cause, o.Seed, want.Seed)
	case o.Data != want.Data:
		return fmt.Errorf("%w: it was trained on other sessions", cause)
	case o.Engine != want.Engine:
		return fmt.Errorf("%w: it was trained on engine %s: %s gives other bytes", cause, o.Engine, want.Engine)
	case o.Done:
		return fmt.Errorf("%w: training has ended", cause)
	}
	return nil
}
