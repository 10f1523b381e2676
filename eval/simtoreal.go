package eval

import (
	"context"
	"fmt"
	"io"
)

// SimToReal is a comparison of two simulated plants with each other, and of each
// with live switches. A part that a comparison did not reach is nil.
type SimToReal struct {
	Simulated *Result `json:"a_b"`    // A the truth, B its stand-in
	LiveA     *Result `json:"live_a"` // the switches the truth, A their stand-in
	LiveB     *Result `json:"live_b"`
}

// RunLive values policies on a and b as Run does, and on the switches beside each
// of the two. With an error comes what was compared before it.
func RunLive(ctx context.Context, switches, a, b Side, policies []Policy, o Options) (*SimToReal, error) {
	var all SimToReal
	var err error
	if all.Simulated, err = Run(ctx, a, b, policies, o); err != nil {
		return &all, err
	}
	o.Log, o.Ceiling, o.Wrong, o.inTurn = nil, false, nil, true
	if all.LiveA, err = Run(ctx, switches, a, policies, o); err != nil {
		return &all, err
	}
	all.LiveB, err = Run(ctx, switches, b, policies, o)
	return &all, err
}

// WriteText writes the comparisons as one page, those with the switches first.
func (s *SimToReal) WriteText(w io.Writer) error {
	for i, part := range []struct {
		title string
		*Result
	}{
		{"The switches (A) and what A of the command line says of them (B)", s.LiveA},
		{"The switches (A) and what B of the command line says of them (B)", s.LiveB},
		{"The two without the switches", s.Simulated},
	} {
		if part.Result == nil { // stopped before
			continue
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\n\n", part.title)
		if err := part.WriteText(w); err != nil {
			return err
		}
	}
	return nil
}
