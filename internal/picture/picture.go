// Package picture draws an episode of the queue environment: sources, switches
// with their queues against the limits in force, the player, and what the step
// paid. The dashboard, the report and the README's animation share the drawing.
package picture

import (
	"fmt"
	"math"
	"strings"
)

// Moment is what is known after one step.
type Moment struct {
	Step   int       // steps since reset; -1: not known, and neither are Clock and Return
	Clock  float64   // seconds of video since reset
	Depth  []float64 // [switches], packets: mean enq_qdepth of the step
	Limit  []float64 // [switches] or [1] where all switches have the same, packets
	Buffer float64   // seconds, the player's (LBO)
	FPS    float64   // frames/s
	Kbps   float64   // kbit/s
	Stall  float64   // seconds stalled during the step
	Reward float64
	Return float64 // sum of rewards since reset
	Ends   bool    // the episode ended with this step
}

// Scale is what a drawing keeps fixed, so that moments can be compared.
type Scale struct {
	Title    string
	Switches int
	MaxLimit float64 // packets: the top of every queue's bar
	Buffer   float64 // seconds: the right end of the buffer's bar
	Target   float64 // seconds: the buffer at which the reward is best
}

// ScaleOf fits a scale to the moments of an episode.
func ScaleOf(title string, moments []Moment) Scale {
	s := Scale{Title: title, MaxLimit: 1, Buffer: 60, Target: 30}
	for _, m := range moments {
		s.Switches = max(s.Switches, len(m.Depth))
		for _, l := range m.Limit {
			s.MaxLimit = max(s.MaxLimit, l)
		}
		s.Buffer = max(s.Buffer, math.Ceil(m.Buffer/10)*10)
	}
	return s
}

// limit is the limit in force at switch i.
func (m Moment) limit(i int) float64 {
	if len(m.Limit) == 0 {
		return 0
	}
	return m.Limit[min(i, len(m.Limit)-1)]
}

// part is one element of the drawing: fixed attributes, and those that depend
// on the moment.
type part struct {
	tag, fixed string
	moving     []moving
	text       func(Moment) string // where tag is "text"
}

type moving struct {
	name  string
	value func(Moment) string
}

func num(x float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.1f", x), "0"), ".")
}

// clamp is x within [0, 1], 0 where it is NaN.
func clamp(x float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, 1)
}

const (
	height    = 250.0
	sourceX   = 12.0
	sourceW   = 86.0
	switchX   = 140.0
	switchW   = 116.0
	switchGap = 36.0
	barTop    = 62.0
	barH      = 104.0
	playerW   = 250.0
)

func (s Scale) playerX() float64 { return switchX + float64(s.Switches)*(switchW+switchGap) }
func (s Scale) width() float64   { return s.playerX() + playerW + 12 }

// parts is the drawing from left to right.
func (s Scale) parts() []part {
	var all []part
	add := func(p part) { all = append(all, p) }
	label := func(x, y float64, class, anchor string, text func(Moment) string) {
		add(part{tag: "text", fixed: fmt.Sprintf(`x="%s" y="%s" class="%s" text-anchor="%s"`, num(x), num(y), class, anchor), text: text})
	}
	static := func(t string) func(Moment) string { return func(Moment) string { return t } }
	box := func(x, w float64) {
		add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="34" width="%s" height="168" rx="8" class="pg-box"`, num(x), num(w))})
	}
	arrow := func(from, to float64) {
		add(part{tag: "path", fixed: fmt.Sprintf(`d="M%s 114H%sm-7 -5l7 5l-7 5" class="pg-wire"`, num(from), num(to))})
	}
	label(sourceX, 20, "pg-title", "start", static(s.Title))

	box(sourceX, sourceW)
	label(sourceX+sourceW/2, 52, "pg-name", "middle", static("sources"))
	label(sourceX+sourceW/2, 108, "pg-dim", "middle", static("video and"))
	label(sourceX+sourceW/2, 124, "pg-dim", "middle", static("other traffic"))
	arrow(sourceX+sourceW, switchX)

	for i := range s.Switches {
		s.addSwitch(add, label, i)
		x := switchX + float64(i)*(switchW+switchGap)
		box(x, switchW)
		arrow(x+switchW, x+switchW+switchGap)
	}
	s.addPlayer(add, label, box)
	label(sourceX, 232, "pg-name", "start", func(m Moment) string {
		if m.Step < 0 {
			return ""
		}
		return fmt.Sprintf("step %d · %d:%02d of video", m.Step, int(m.Clock)/60, int(m.Clock)%60)
	})
	label(s.width()-12, 232, "pg-name", "end", func(m Moment) string {
		if m.Step < 0 {
			return fmt.Sprintf("reward %+.1f", m.Reward)
		}
		return fmt.Sprintf("reward %+.1f · return %.1f", m.Reward, m.Return)
	})
	return all
}

// addSwitch draws switch i: a queue filled to its depth, cut by its limit.
func (s Scale) addSwitch(add func(part), label func(x, y float64, class, anchor string, text func(Moment) string), i int) {
	x := switchX + float64(i)*(switchW+switchGap)
	barX, barW := x+18, 36.0
	fill := func(m Moment) float64 {
		if i >= len(m.Depth) {
			return 0
		}
		return barH * clamp(m.Depth[i]/s.MaxLimit)
	}
	cut := func(m Moment) float64 { return barTop + barH*(1-clamp(m.limit(i)/s.MaxLimit)) }
	label(x+switchW/2, 52, "pg-name", "middle", func(Moment) string { return fmt.Sprintf("switch %d", i+1) })
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="%s" width="%s" height="%s" class="pg-bar"`, num(barX), num(barTop), num(barW), num(barH))})
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" width="%s" class="pg-fill"`, num(barX), num(barW)), moving: []moving{
		{"y", func(m Moment) string { return num(barTop + barH - fill(m)) }},
		{"height", func(m Moment) string { return num(fill(m)) }},
	}})
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" width="%s" height="3" class="pg-limit"`, num(barX-5), num(barW+10)), moving: []moving{
		{"y", func(m Moment) string { return num(cut(m) - 1.5) }},
	}})
	add(part{tag: "text", fixed: fmt.Sprintf(`x="%s" class="pg-mark" text-anchor="start"`, num(barX+barW+8)), moving: []moving{
		{"y", func(m Moment) string { return num(max(cut(m)+4, barTop+8)) }},
	}, text: func(m Moment) string { return fmt.Sprintf("≤ %.0f", m.limit(i)) }})
	label(x+switchW/2, 188, "pg-dim", "middle", func(m Moment) string {
		if i >= len(m.Depth) {
			return ""
		}
		return fmt.Sprintf("%.0f packets", m.Depth[i])
	})
}

// addPlayer draws the buffer against its target, the quality and the stalls.
func (s Scale) addPlayer(add func(part), label func(x, y float64, class, anchor string, text func(Moment) string), box func(x, w float64)) {
	x := s.playerX()
	barX, barW := x+16, playerW-32
	label(x+16, 52, "pg-name", "start", func(Moment) string { return "player" })
	label(x+playerW-16, 52, "pg-bad", "end", func(m Moment) string {
		if m.Stall > 0 {
			return fmt.Sprintf("stalled %.1f s", m.Stall)
		}
		return ""
	})
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="84" width="%s" height="26" class="pg-bar"`, num(barX), num(barW))})
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="84" height="26" class="pg-buffer"`, num(barX)), moving: []moving{
		{"width", func(m Moment) string { return num(barW * clamp(m.Buffer/s.Buffer)) }},
	}})
	target := barX + barW*clamp(s.Target/s.Buffer)
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="78" width="2" height="38" class="pg-limit"`, num(target-1))})
	label(target, 74, "pg-mark", "middle", func(Moment) string { return num(s.Target) + " s" })
	label(barX, 130, "pg-dim", "start", func(m Moment) string { return fmt.Sprintf("buffer %.1f s", m.Buffer) })
	label(barX, 160, "pg-dim", "start", func(m Moment) string {
		return fmt.Sprintf("quality %.1f Mbit/s, %.0f frames/s", m.Kbps/1000, m.FPS)
	})
	box(x, playerW)
}

// style colours both themes; a page that sets data-theme on its root decides.
const style = `.pg-box{fill:none;stroke:#9aa3ad}.pg-bar{fill:#8a929b;fill-opacity:.18}.pg-fill{fill:#d9822b}.pg-buffer{fill:#2f7ed8}` +
	`.pg-limit{fill:#b3261e}.pg-wire{fill:none;stroke:#9aa3ad;stroke-width:2}.pg-title,.pg-name,.pg-dim,.pg-mark,.pg-bad{font:13px system-ui,sans-serif;fill:#1b1f24}` +
	`.pg-title{font-weight:600;font-size:14px}.pg-dim{fill:#59626d}.pg-mark,.pg-bad{fill:#b3261e;font-size:12px}`

const styleDark = `.pg-title,.pg-name{fill:#e8eaed}.pg-dim{fill:#a3acb7}.pg-mark,.pg-bad{fill:#ff8a80}.pg-limit{fill:#ff8a80}`

// CSS is the style for a page that places drawings in its own text; dark
// rules apply under :root[data-theme=dark].
func CSS() string {
	var dark strings.Builder
	for _, rule := range strings.SplitAfter(styleDark, "}") {
		if rule == "" {
			continue
		}
		selectors, body, _ := strings.Cut(rule, "{")
		for i, one := range strings.Split(selectors, ",") {
			if i > 0 {
				dark.WriteByte(',')
			}
			dark.WriteString(":root[data-theme=dark] " + one)
		}
		dark.WriteString("{" + body)
	}
	return style + dark.String()
}

func (s Scale) open(b *strings.Builder, label string) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" role="img" aria-label="%s">`, num(s.width()), num(height), escape(label))
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace

// SVG draws one moment. The colours come from CSS, which the page includes.
func (s Scale) SVG(m Moment) string {
	var b strings.Builder
	s.open(&b, s.Title)
	for _, p := range s.parts() {
		fmt.Fprintf(&b, "<%s %s", p.tag, p.fixed)
		for _, a := range p.moving {
			fmt.Fprintf(&b, ` %s="%s"`, a.name, a.value(m))
		}
		if p.text != nil {
			b.WriteString(">" + escape(p.text(m)) + "</text>")
		} else {
			b.WriteString("/>")
		}
	}
	b.WriteString("</svg>")
	return b.String()
}
