// Package envpage writes the page of an environment, as Gymnasium's
// documentation has one for each of its own: observations, actions, reward,
// when episodes end, and what policies return there.
package envpage

import (
	"fmt"
	"math"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/internal/fieldname"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

// Page is what the page of a scenario is made of.
type Page struct {
	Scenario scenarios.Scenario
	Spec     env.Spec
	Info     []telemetry.Field // of each step, beside the observation
	Returns  scenarios.Returns // measured; may be empty
}

// Markdown writes the page.
func (p Page) Markdown() string {
	var b strings.Builder
	s := p.Scenario
	fmt.Fprintf(&b, "# %s\n\n%s.\n\n", s.Name, strings.TrimSuffix(s.Description, "."))
	fmt.Fprintf(&b, "```python\nimport planegym\n\nenv = planegym.make(\"ws://127.0.0.1:7070/v1/ws\", %q)\n```\n\n", s.Name)
	b.WriteString("| | |\n|---|---|\n")
	fmt.Fprintf(&b, "| Observation | `Box(%d)`, float32 |\n", p.Spec.Observation.Dim())
	fmt.Fprintf(&b, "| Action | %s |\n", actionSpace(p.Spec.Action))
	fmt.Fprintf(&b, "| Reward of a step | %s |\n", between(float32(p.Spec.Reward[0]), float32(p.Spec.Reward[1])))
	if p.Spec.StepSeconds > 0 {
		fmt.Fprintf(&b, "| A step | %s |\n", seconds(p.Spec.StepSeconds))
	}
	if p.Spec.MaxSteps > 0 {
		fmt.Fprintf(&b, "| `max_episode_steps` | %d%s |\n", p.Spec.MaxSteps, ofVideo(p.Spec))
	}
	fmt.Fprintf(&b, "| What runs | %s |\n", plant(s))
	p.observations(&b)
	p.actions(&b)
	p.reward(&b)
	p.ends(&b)
	p.infos(&b)
	p.returns(&b)
	p.curves(&b)
	return b.String()
}

func actionSpace(a env.MultiDiscrete) string {
	if len(a) == 1 {
		return fmt.Sprintf("`Discrete(%d)`", a[0])
	}
	return fmt.Sprintf("`MultiDiscrete(%v)`", []int(a))
}

func ofVideo(s env.Spec) string {
	if s.StepSeconds < 1 { // CartPole's
		return ""
	}
	return ", " + seconds(float64(s.MaxSteps)*s.StepSeconds) + " of video"
}

func seconds(x float64) string {
	if x >= 600 && math.Mod(x, 60) == 0 {
		return fmt.Sprintf("%g min", x/60)
	}
	return fmt.Sprintf("%g s", x)
}

func bound(x float32) string {
	if math.IsInf(float64(x), 0) || math.Abs(float64(x)) > 1e30 {
		return "∞"
	}
	return fmt.Sprintf("%.4g", x)
}

func between(lo, hi float32) string {
	low := bound(lo)
	if low == "∞" {
		low = "−∞"
	}
	return strings.ReplaceAll(low, "-", "−") + " … " + bound(hi)
}

func plant(s scenarios.Scenario) string {
	switch s.Plant {
	case "cartpole":
		return "Gymnasium's CartPole-v1, computed by the server"
	case "synthetic":
		return fmt.Sprintf("a simulator fitted to recordings: model `%s`", s.Model)
	case "testbed":
		return "the emulated testbed, packet by packet"
	case "replay":
		return "recorded telemetry, played again; needs a folder of recordings (`--data`)"
	}
	return "live switches"
}

func (p Page) observations(b *strings.Builder) {
	b.WriteString("\n## Observation\n\n")
	box := p.Spec.Observation
	if p.Scenario.Plant != "cartpole" {
		switch o := p.Scenario.Env.Observation; o.Normalise {
		case "none":
			b.WriteString("Values are in the unit that the table gives.\n\n")
		case "l2":
			b.WriteString("Each observation is divided by its Euclidean norm, as in the published tutorial.\n\n")
		default:
			b.WriteString("Every value is scaled into 0 … 1 by a scaler fitted once to the plant's data (`normalise = \"none\"` in `[env.observation]` gives plain units).\n\n")
		}
	}
	b.WriteString("| # | name | meaning | range |\n|---|---|---|---|\n")
	const most = 40
	for i, f := range box.Elements {
		if i == most {
			fmt.Fprintf(b, "| … %d | | %d more, in the same order for every second | |\n", box.Dim()-1, box.Dim()-most)
			break
		}
		fmt.Fprintf(b, "| %d | `%s` | %s | %s |\n", i, f.Name, fieldname.Describe(f), between(box.Low[i], box.High[i]))
	}
}

func (p Page) actions(b *strings.Builder) {
	b.WriteString("\n## Actions\n\n")
	if p.Spec.Limits == nil {
		b.WriteString("`0` pushes the cart to the left, `1` to the right.\n")
		return
	}
	if len(p.Spec.Action) > 1 {
		fmt.Fprintf(b, "One action for each of the %d switches: an index into the queue limits.\n\n", len(p.Spec.Action))
	} else {
		b.WriteString("An index into the queue limits; all switches take the same limit.\n\n")
	}
	rates := switchRates(p.Scenario)
	head, rule := "| action | limit, packets |", "|---|---|"
	for i := range rates {
		head += fmt.Sprintf(" a full queue at switch %d |", i+1)
		rule += "---|"
	}
	fmt.Fprintln(b, head+"\n"+rule)
	for i, l := range p.Spec.Limits {
		fmt.Fprintf(b, "| %d | %d |", i, l)
		for _, pps := range rates {
			fmt.Fprintf(b, " %.1f ms |", 1000*float64(l)/pps)
		}
		b.WriteString("\n")
	}
	if len(p.Spec.Initial) > 0 {
		fmt.Fprintf(b, "\nAt reset the limit is %d packets.\n", p.Spec.Initial[0])
	}
}

// reward explains the reward by the name that the configuration has.
func (p Page) reward(b *strings.Builder) {
	b.WriteString("\n## Reward\n\n")
	if p.Scenario.Plant == "cartpole" {
		b.WriteString("1 for every step.\n")
		return
	}
	switch r := p.Scenario.Env.Reward; r.Name {
	case "tutorial":
		b.WriteString("`tutorial`: as the published code pays. Windows are taken in disjoint pairs, so every second step pays the reward of the step before again; " +
			"a pair in which the buffer did not change, or is exactly 30 s, repeats the last reward. For comparison only.\n")
	case "qoe-lin":
		rebuffer, change := r.Rebuffer, r.Switch
		if rebuffer == 0 {
			rebuffer = 3.312
		}
		if change == 0 {
			change = 1
		}
		fmt.Fprintf(b, "`qoe-lin` (Yin et al., SIGCOMM 2015, equation 5):\n\n    q − %g · stalled seconds − %g · |q − q of the step before|,   q = bitrate in Mbit/s\n", rebuffer, change)
	default:
		b.WriteString("`lbo-fps`, from the player at the end of the step (*buffer*: seconds of video that it holds, LBO in the recordings):\n\n" +
			"| | reward |\n|---|---|\n" +
			"| buffer ≥ 30 s | 2 |\n| else, frame rate nearest to 30 | 1 |\n| else, frame rate nearest to 24 | 0.5 |\n" +
			"| else, the buffer fell or playback stalled | −2 |\n| else | 0.1 |\n")
	}
}

func (p Page) ends(b *strings.Builder) {
	b.WriteString("\n## Episode end\n\n")
	if p.Scenario.Plant == "cartpole" {
		b.WriteString("- *Terminated* when the pole is more than 12° from upright or the cart more than 2.4 from the centre.\n")
	} else if s := p.Scenario.Env.EndOnStall; s > 0 {
		fmt.Fprintf(b, "- *Terminated* when playback has stalled for %g s in a row.\n", s)
	} else {
		b.WriteString("- Never *terminated* by the task (`end_on_stall_s` is not set).\n")
	}
	if p.Spec.MaxSteps > 0 {
		fmt.Fprintf(b, "- *Truncated* after %d steps.\n", p.Spec.MaxSteps)
	}
	if p.Scenario.Plant == "replay" {
		b.WriteString("- *Truncated* where a recording ends.\n")
	}
}

func (p Page) infos(b *strings.Builder) {
	if len(p.Info) == 0 {
		return
	}
	b.WriteString("\n## Info\n\n| key | meaning |\n|---|---|\n")
	for _, f := range p.Info {
		fmt.Fprintf(b, "| `%s` | %s |\n", f.Name, fieldname.Describe(f))
	}
}

func (p Page) returns(b *strings.Builder) {
	if len(p.Returns.Policies) == 0 {
		return
	}
	b.WriteString("\n## What policies return\n\nReturn of an episode, mean ± 95 % interval over episodes.\n\n| policy | return | a step |\n|---|---|---|\n")
	for _, r := range p.Returns.Policies {
		perStep := "–"
		if p.Spec.MaxSteps > 0 && p.Scenario.Plant != "cartpole" {
			perStep = fmt.Sprintf("%.2f", r.Mean/float64(p.Spec.MaxSteps))
		}
		ci := ""
		if r.CI > 0 {
			ci = fmt.Sprintf(" ± %.0f", r.CI)
		}
		fmt.Fprintf(b, "| `%s` | %.0f%s | %s |\n", r.Policy, r.Mean, ci, perStep)
	}
	for _, twin := range p.twins() {
		b.WriteString("\n" + twin + "\n")
	}
	if p.noneMatters() {
		b.WriteString("\n**No action matters here**: the intervals of all policies overlap. An agent cannot learn anything from this reward.\n")
	}
	if p.Returns.Measured != "" {
		fmt.Fprintf(b, "\nMeasured by\n\n    %s\n", p.Returns.Measured)
	}
}

// twins says which rules return what one constant limit does, to the digit:
// there they never choose another. Where constants equal each other, equal
// returns say nothing about a rule.
func (p Page) twins() []string {
	var out []string
	for _, r := range p.Returns.Policies {
		if strings.HasPrefix(r.Policy, "fixed:") {
			continue
		}
		var same []string
		for _, c := range p.Returns.Policies {
			if strings.HasPrefix(c.Policy, "fixed:") && c.Mean == r.Mean && c.CI == r.CI {
				same = append(same, c.Policy)
			}
		}
		if len(same) == 1 {
			out = append(out, fmt.Sprintf("`%s` is `%s` here: it never chooses anything else.", r.Policy, same[0]))
		}
	}
	return out
}

// Figure names the file that the page's learning curves are drawn in, beside the
// page: see WriteFigure. It is "" where there are none.
func (p Page) Figure() string {
	if len(p.Returns.Curves) == 0 {
		return ""
	}
	return p.Scenario.Name + ".svg"
}

// curves are how algorithms learn here.
func (p Page) curves(b *strings.Builder) {
	if len(p.Returns.Curves) == 0 {
		return
	}
	b.WriteString("\n## How agents learn\n\nReturn of greedy episodes that training does not use, mean ± 95 % interval over trainings from different seeds.\n")
	fmt.Fprintf(b, "\n![Return over transitions of each algorithm, beside the best constant limit](%s)\n", p.Figure())
	for _, c := range p.Returns.Curves {
		fmt.Fprintf(b, "\n**%s**, %d trainings by `%s`, with `%s`\n\n| transitions |", c.Algorithm, c.Seeds, c.Command, c.Settings)
		for _, x := range c.Points {
			fmt.Fprintf(b, " %d |", x.Transitions)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(c.Points)) + "\n| return |")
		for _, x := range c.Points {
			fmt.Fprintf(b, " %.0f", x.Mean)
			if x.CI > 0 {
				fmt.Fprintf(b, " ± %.0f", x.CI)
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
}

// noneMatters reports whether every policy's interval overlaps the best's.
func (p Page) noneMatters() bool {
	if len(p.Returns.Policies) < 2 {
		return false
	}
	for _, r := range p.Returns.Policies[1:] {
		if best := p.Returns.Policies[0]; best.CI == 0 || r.CI == 0 || best.Mean-best.CI > r.Mean+r.CI {
			return false
		}
	}
	return true
}

// switchRates are the packets a second that each switch serves, where the
// scenario says so.
func switchRates(s scenarios.Scenario) []float64 {
	if s.Plant != "testbed" {
		return nil
	}
	ports := s.Testbed.Ports
	if ports == nil {
		ports = testbed.DefaultPorts()
	}
	var rates []float64
	for n := 1; ; n++ {
		found := 0.0
		for _, q := range ports {
			if q.Switch == n {
				found = q.PPS
			}
		}
		if found == 0 {
			return rates
		}
		rates = append(rates, found)
	}
}
