package eval

import (
	"strings"
)

// Families are the kinds of policies whose values are judged apart, in their
// order: a simulator that is right for one of them may be wrong for another.
var Families = []string{"agents", "constants", "schedules and chance", "queue rules", "player rules", "late and noisy rules", "adversarial rules"}

// Family is which of Families a policy belongs to: an agent, or a baseline by its
// name. A rule that is changed by another (delayed, noisy, inverse) belongs to the
// family of the change.
func Family(policy string, agent bool) string {
	if agent {
		return Families[0]
	}
	switch kind, _, _ := strings.Cut(policy, ":"); kind {
	case "fixed":
		return Families[1]
	case "alternate", "random", "sticky":
		return Families[2]
	case "buffer", "level":
		return Families[4]
	case "delayed", "noisy":
		return Families[5]
	case "inverse":
		return Families[6]
	}
	return Families[3]
}

// Family is the family of a valued policy.
func (v *Valued) Family() string { return Family(v.Policy, v.Agent != "") }
