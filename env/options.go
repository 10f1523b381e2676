package env

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/planegym/planegym/p4"
)

// ErrInvalidOption is the error of a reset option that an environment does not
// have, or of a value it does not allow.
var ErrInvalidOption = errors.New("invalid reset option")

// Options say how the episodes that one reset begins differ from what the
// environment's configuration says. The zero value changes nothing. Episodes that
// begin later, by autoreset too, are the configuration's again.
type Options struct {
	Initial     []p4.Limit // [S], or one for all: in force until the first step; nil: the configuration's
	TrafficSeed []uint64   // [n], or one for all rows: of the plant's episode; nil: from the row's seed
	Load        *float64   // share of each load's sessions that is on; nil: 1
	Phase       string     // of the traffic, that the episode begins in; "": drawn
}

// Empty reports whether o changes nothing.
func (o *Options) Empty() bool {
	return o.Initial == nil && o.TrafficSeed == nil && o.Load == nil && o.Phase == ""
}

// OptionSpec says which options a Vector has, and their values.
type OptionSpec struct {
	Initial     []p4.Limit // allowed limits; nil: Options.Initial cannot be set
	TrafficSeed bool       // whether it can be set
	Load        bool       // likewise, from 0 to 1
	Phases      []string   // that an episode can begin in
}

// Optioner is a Vector whose resets take options.
type Optioner interface {
	Options() OptionSpec
	// ResetWith is Vector.Reset under options. Its further error is
	// ErrInvalidOption, and nothing is reset then.
	ResetWith(ctx context.Context, rows []int, seeds []uint64, o Options, out *Batch) error
}

// OptionsOf is what reset options v has.
func OptionsOf(v Vector) OptionSpec {
	if o, ok := v.(Optioner); ok {
		return o.Options()
	}
	return OptionSpec{}
}

// ResetWith resets rows of v under options, or refuses them where v has none.
func ResetWith(ctx context.Context, v Vector, rows []int, seeds []uint64, o Options, out *Batch) error {
	if t, ok := v.(Optioner); ok {
		return t.ResetWith(ctx, rows, seeds, o, out)
	}
	if !o.Empty() {
		return fmt.Errorf("%w: this environment has none", ErrInvalidOption)
	}
	return v.Reset(ctx, rows, seeds, out)
}

// Check reports an option that s does not have or a value that it does not allow,
// for a reset of n rows of width actions.
func (s OptionSpec) Check(o Options, n, width int) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalidOption, fmt.Sprintf(format, args...))
	}
	if k := len(o.Initial); o.Initial != nil && k != 1 && k != width {
		return bad("initial_limit: %d limits, want one or %d", k, width)
	}
	for _, l := range o.Initial {
		if !slices.Contains(s.Initial, l) {
			return bad("initial_limit: %d is not one of %v", l, s.Initial)
		}
	}
	switch k := len(o.TrafficSeed); {
	case o.TrafficSeed != nil && !s.TrafficSeed:
		return bad("traffic_seed: the traffic here has none")
	case o.TrafficSeed != nil && k != 1 && k != n:
		return bad("traffic_seed: %d seeds, want one or %d", k, n)
	case o.Load != nil && !s.Load:
		return bad("load: the traffic here has none to share")
	case o.Load != nil && !(*o.Load >= 0 && *o.Load <= 1):
		return bad("load: %v is outside 0…1", *o.Load)
	case o.Phase != "" && !slices.Contains(s.Phases, o.Phase):
		return bad("phase: %q is not one of %q", o.Phase, s.Phases)
	}
	return nil
}

// Options and ResetWith pass the inner vector's on.
func (a *autoreset) Options() OptionSpec { return OptionsOf(a.Vector) }

func (a *autoreset) ResetWith(ctx context.Context, rows []int, seeds []uint64, o Options, out *Batch) error {
	if err := ResetWith(ctx, a.Vector, rows, seeds, o, out); err != nil {
		return err
	}
	a.began(rows, out)
	return nil
}
