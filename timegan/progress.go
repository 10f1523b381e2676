package timegan

import "fmt"

// Describe are the losses that a phase has, in words.
func (l Losses) Describe(p Phase) string {
	switch p {
	case Embedding:
		return fmt.Sprintf("R %.4f", l.R)
	case Supervised:
		return fmt.Sprintf("S %.4f", l.S)
	}
	return fmt.Sprintf("R %.4f S %.4f U %.3f V %.4f D %.3f", l.R, l.S, l.U, l.V, l.D)
}

// String is the phase and its losses.
func (p Progress) String() string {
	return fmt.Sprintf("%s %s", p.Phase, p.Losses.Describe(p.Phase))
}

// Fields is the progress as a flat object for programs, with the losses that the
// phase has by their letters in the paper.
func (p Progress) Fields() map[string]any {
	l := map[string]float32{"R": p.Losses.R}
	switch p.Phase {
	case Supervised:
		l = map[string]float32{"S": p.Losses.S}
	case Joint:
		l = map[string]float32{"R": p.Losses.R, "S": p.Losses.S, "U": p.Losses.U, "V": p.Losses.V, "D": p.Losses.D}
	}
	return map[string]any{"phase": p.Phase.String(), "done": p.Done, "total": p.Total, "losses": l}
}
