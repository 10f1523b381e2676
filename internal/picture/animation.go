package picture

import (
	"fmt"
	"strings"
)

// Animation draws moments one after another, each for so many seconds, as one
// self-contained SVG that repeats without end. It needs no script: attributes
// change by SMIL, and a text that changes is one element per value.
func (s Scale) Animation(moments []Moment, seconds float64) string {
	var b strings.Builder
	s.open(&b, s.Title)
	b.WriteString("<style>" + style + "@media (prefers-color-scheme:dark){" + styleDark + "}</style>")
	total := num(seconds * float64(len(moments)))
	for _, p := range s.parts() {
		if p.text == nil {
			fmt.Fprintf(&b, "<%s %s", p.tag, p.fixed)
			animated := s.attributes(&b, p, moments, total)
			if animated == "" {
				b.WriteString("/>")
			} else {
				fmt.Fprintf(&b, ">%s</%s>", animated, p.tag)
			}
			continue
		}
		runs := runsOf(moments, p.text)
		for _, r := range runs {
			if r.value == "" {
				continue
			}
			fmt.Fprintf(&b, "<text %s", p.fixed)
			animated := s.attributes(&b, p, moments, total)
			if len(runs) > 1 {
				animated += r.visible(len(moments), total)
			}
			fmt.Fprintf(&b, ">%s%s</text>", escape(r.value), animated)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// run is a stretch of moments [from, to) in which a value stays.
type run struct {
	value    string
	from, to int
}

func runsOf(moments []Moment, value func(Moment) string) []run {
	var runs []run
	for i, m := range moments {
		v := value(m)
		if n := len(runs); n > 0 && runs[n-1].value == v {
			runs[n-1].to = i + 1
		} else {
			runs = append(runs, run{v, i, i + 1})
		}
	}
	return runs
}

// visible shows an element during r only.
func (r run) visible(n int, total string) string {
	at := func(i int) string { return trim(float64(i) / float64(n)) }
	values, times := "visible", "0"
	if r.from > 0 {
		values, times = "hidden;visible", "0;"+at(r.from)
	}
	if r.to < n {
		values, times = values+";hidden", times+";"+at(r.to)
	}
	return fmt.Sprintf(`<animate attributeName="visibility" values="%s" keyTimes="%s" calcMode="discrete" dur="%ss" repeatCount="indefinite"/>`, values, times, total)
}

// attributes writes p's moving attributes as they are at first and gives the
// elements that change them.
func (s Scale) attributes(b *strings.Builder, p part, moments []Moment, total string) string {
	var animated strings.Builder
	for _, a := range p.moving {
		runs := runsOf(moments, a.value)
		fmt.Fprintf(b, ` %s="%s"`, a.name, runs[0].value)
		if len(runs) == 1 {
			continue
		}
		var values, times []string
		for _, r := range runs {
			values = append(values, r.value)
			times = append(times, trim(float64(r.from)/float64(len(moments))))
		}
		fmt.Fprintf(&animated, `<animate attributeName="%s" values="%s" keyTimes="%s" calcMode="discrete" dur="%ss" repeatCount="indefinite"/>`,
			a.name, strings.Join(values, ";"), strings.Join(times, ";"), total)
	}
	return animated.String()
}

func trim(x float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.5f", x), "0"), ".")
}
