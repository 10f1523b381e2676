// Package fieldname puts the names of measured quantities into words, for pages
// and charts.
package fieldname

import (
	"fmt"
	"regexp"

	"github.com/planegym/planegym/telemetry"
)

// ofSwitch are the values measured at a switch, by the name without its number.
var ofSwitch = map[string]string{
	"enq_qdepth":    "queue depth when a packet was queued, packets",
	"deq_qdepth":    "queue depth when a packet left the queue, packets",
	"deq_timedelta": "time a packet spent in the queue, µs",
	"limit":         "queue limit in force, packets",
	"action":        "action in force, an index into the limits",
}

// named are all other values.
var named = map[string]string{
	"lbo_s":     "seconds of video in the player's buffer",
	"fps":       "frame rate of the quality that plays, frames/s",
	"rep_kbps":  "bitrate of the quality that plays, kbit/s",
	"calc_rate": "kilobytes that the player decoded in the second, times its scale (CalcBitrate, differenced)",
	"stall_s":   "seconds that playback stalled",
	"level":     "quality that plays: 0 the lowest",
	"int_age":   "seconds since a switch was last measured, 60 at most",

	"cart_position":         "position of the cart",
	"cart_velocity":         "velocity of the cart",
	"pole_angle":            "angle of the pole, rad",
	"pole_angular_velocity": "angular velocity of the pole, rad/s",
}

var ofWindow = map[string]string{
	"_max": "largest of the step: ", "_mean": "mean of the step: ", "_p95": "95th percentile of the step: ",
}

var (
	numbered = regexp.MustCompile(`^([a-z_]+?)([0-9]+)(_max|_mean|_p95)?(_valid)?(?:\[([0-9]+)\])?$`)
	plain    = regexp.MustCompile(`^([a-z_]+?)(_valid)?(?:\[([0-9]+)\])?$`)
)

// split takes a name apart; number is "" where the field belongs to no switch.
func split(name string) (base, number, window string, valid bool, second string) {
	if m := numbered.FindStringSubmatch(name); m != nil && ofSwitch[m[1]] != "" {
		return m[1], m[2], m[3], m[4] != "", m[5]
	}
	if m := plain.FindStringSubmatch(name); m != nil && named[m[1]] != "" {
		return m[1], "", "", m[2] != "", m[3]
	}
	return name, "", "", false, ""
}

// Describe says what a field is, in a sentence; a field that is not known here
// is described by its unit.
func Describe(f telemetry.Field) string {
	base, number, window, valid, second := split(f.Name)
	text := named[base]
	if number != "" {
		text = ofWindow[window] + ofSwitch[base] + ", switch " + number
	}
	if text == "" {
		return f.Unit
	}
	if valid {
		text = "1 if measured, else 0: " + text
	}
	if second != "" {
		text += fmt.Sprintf(", second %s of the step", second)
	}
	return text
}

// short are the titles of charts.
var short = map[string]string{
	"enq_qdepth": "Queue depth at enqueue", "deq_qdepth": "Queue depth at dequeue", "deq_timedelta": "Time in the queue",
	"limit": "Queue limit", "action": "Action", "lbo_s": "Buffer", "fps": "Frame rate", "rep_kbps": "Bitrate",
	"calc_rate": "Decoded", "stall_s": "Stalled", "level": "Quality level", "int_age": "Age of the telemetry",
	"reward": "Reward", "cart_position": "Cart position", "cart_velocity": "Cart velocity",
	"pole_angle": "Pole angle", "pole_angular_velocity": "Pole angular velocity",
}

// Title names the chart that a field belongs to, and the line within it: all
// switches of one quantity share a chart.
func Title(f telemetry.Field) (title, line string) {
	base, number, window, valid, second := split(f.Name)
	title = short[base]
	if title == "" {
		title = f.Name
	}
	switch window {
	case "_max":
		title += ", largest"
	case "_mean":
		title += ", mean"
	case "_p95":
		title += ", 95th percentile"
	}
	if valid {
		title += ", measured"
	}
	if second != "" {
		title += ", second " + second
	}
	if f.Unit != "" {
		title += ", " + f.Unit
	}
	line = title
	if number != "" {
		line = "switch " + number
	}
	return title, line
}
