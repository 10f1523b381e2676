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
	Narrow   bool    // the player stands below the switches, for a phone's width
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
	barTop = 62.0
	barH   = 104.0
	boxTop = 34.0
	boxH   = 168.0
)

// layout says where the boxes of a drawing are, in its own units.
type layout struct {
	margin, sourceW, switchX, switchW, gap float64
	barX, barW                             float64 // of a queue, within its switch
	playerX, playerW, playerH              float64
	down                                   float64 // how far the player is below the switches
	width, foot, height                    float64
}

func (s Scale) layout() layout {
	n := float64(s.Switches)
	if s.Narrow {
		l := layout{margin: 8, sourceW: 84, switchX: 106, switchW: 84, gap: 14, barX: 7, barW: 28, playerH: 140, down: boxH + 22}
		l.width = l.switchX + n*(l.switchW+l.gap) - l.gap + l.margin
		l.playerX, l.playerW = l.margin, l.width-2*l.margin
		l.foot, l.height = boxTop+l.down+l.playerH+30, boxTop+l.down+l.playerH+44
		return l
	}
	l := layout{margin: 12, sourceW: 86, switchX: 140, switchW: 116, gap: 36, barX: 18, barW: 36, playerW: 250, playerH: boxH, foot: 232, height: 250}
	l.playerX = l.switchX + n*(l.switchW+l.gap)
	l.width = l.playerX + l.playerW + l.margin
	return l
}

// switchAt is the left edge of switch i.
func (l layout) switchAt(i int) float64 { return l.switchX + float64(i)*(l.switchW+l.gap) }

// parts is the drawing from left to right.
func (s Scale) parts() []part {
	var all []part
	add := func(p part) { all = append(all, p) }
	label := func(x, y float64, class, anchor string, text func(Moment) string) {
		add(part{tag: "text", fixed: fmt.Sprintf(`x="%s" y="%s" class="%s" text-anchor="%s"`, num(x), num(y), class, anchor), text: text})
	}
	static := func(t string) func(Moment) string { return func(Moment) string { return t } }
	box := func(x, y, w, h float64) {
		add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="%s" width="%s" height="%s" rx="8" class="pg-box"`, num(x), num(y), num(w), num(h))})
	}
	arrow := func(from, to float64) {
		add(part{tag: "path", fixed: fmt.Sprintf(`d="M%s 114H%sm-7 -5l7 5l-7 5" class="pg-wire"`, num(from), num(to))})
	}
	l := s.layout()
	label(l.margin, 20, "pg-title", "start", static(s.Title))

	box(l.margin, boxTop, l.sourceW, boxH)
	label(l.margin+l.sourceW/2, 52, "pg-name", "middle", static("sources"))
	label(l.margin+l.sourceW/2, 108, "pg-dim", "middle", static("video and"))
	label(l.margin+l.sourceW/2, 124, "pg-dim", "middle", static("other traffic"))
	arrow(l.margin+l.sourceW, l.switchX)

	for i := range s.Switches {
		s.addSwitch(add, label, i)
		x := l.switchAt(i)
		box(x, boxTop, l.switchW, boxH)
		if i < s.Switches-1 || !s.Narrow {
			arrow(x+l.switchW, x+l.switchW+l.gap)
			continue
		}
		add(part{tag: "path", fixed: fmt.Sprintf(`d="M%s %sV%sm-5 -7l5 7l5 -7" class="pg-wire"`, num(x+l.switchW/2), num(boxTop+boxH), num(boxTop+l.down))})
	}
	s.addPlayer(add, label)
	box(l.playerX, boxTop+l.down, l.playerW, l.playerH)
	label(l.margin, l.foot, "pg-name", "start", func(m Moment) string {
		if m.Step < 0 {
			return ""
		}
		return fmt.Sprintf("step %d · %d:%02d of video", m.Step, int(m.Clock)/60, int(m.Clock)%60)
	})
	label(l.width-l.margin, l.foot, "pg-name", "end", func(m Moment) string {
		if m.Step < 0 {
			return fmt.Sprintf("reward %+.1f", m.Reward)
		}
		return fmt.Sprintf("reward %+.1f · return %.1f", m.Reward, m.Return)
	})
	return all
}

// addSwitch draws switch i: a queue filled to its depth, cut by its limit.
func (s Scale) addSwitch(add func(part), label func(x, y float64, class, anchor string, text func(Moment) string), i int) {
	l := s.layout()
	x, switchW := l.switchAt(i), l.switchW
	barX, barW := x+l.barX, l.barW
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
func (s Scale) addPlayer(add func(part), label func(x, y float64, class, anchor string, text func(Moment) string)) {
	l := s.layout()
	x, y := l.playerX, l.down
	barX, barW := x+16, l.playerW-32
	label(x+16, y+52, "pg-name", "start", func(Moment) string { return "player" })
	label(x+l.playerW-16, y+52, "pg-bad", "end", func(m Moment) string {
		if m.Stall > 0 {
			return fmt.Sprintf("stalled %.1f s", m.Stall)
		}
		return ""
	})
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="%s" width="%s" height="26" class="pg-bar"`, num(barX), num(y+84), num(barW))})
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="%s" height="26" class="pg-buffer"`, num(barX), num(y+84)), moving: []moving{
		{"width", func(m Moment) string { return num(barW * clamp(m.Buffer/s.Buffer)) }},
	}})
	target := barX + barW*clamp(s.Target/s.Buffer)
	add(part{tag: "rect", fixed: fmt.Sprintf(`x="%s" y="%s" width="2" height="38" class="pg-limit"`, num(target-1), num(y+78))})
	label(target, y+74, "pg-mark", "middle", func(Moment) string { return num(s.Target) + " s" })
	label(barX, y+130, "pg-dim", "start", func(m Moment) string { return fmt.Sprintf("buffer %.1f s", m.Buffer) })
	label(barX, y+160, "pg-dim", "start", func(m Moment) string {
		return fmt.Sprintf("quality %.1f Mbit/s, %.0f frames/s", m.Kbps/1000, m.FPS)
	})
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
	return style + FitCSS + dark.String()
}

func (s Scale) open(b *strings.Builder, label string) {
	class, l := "pg-wide", s.layout()
	if s.Narrow {
		class = "pg-narrow"
	}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" class="%s" role="img" aria-label="%s">`, num(l.width), num(l.height), class, escape(label))
}

// Fitting draws twice, wide and narrow, for a page whose style has FitCSS: it
// shows the one that fits its width.
func (s Scale) Fitting(draw func(Scale) string) string {
	wide, narrow := s, s
	wide.Narrow, narrow.Narrow = false, true
	return draw(wide) + draw(narrow)
}

// FitCSS chooses between the two drawings of Fitting.
const FitCSS = `.pg-narrow{display:none!important}@media(max-width:46rem){.pg-wide{display:none!important}.pg-narrow{display:block!important;min-width:0!important}}`

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
