package envpage

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

// meaning says what a field is, in words; a field that is not known here is
// described by its unit.
func meaning(f telemetry.Field) string {
	var text, valid, second string
	if m := numbered.FindStringSubmatch(f.Name); m != nil && ofSwitch[m[1]] != "" {
		text = ofWindow[m[3]] + ofSwitch[m[1]] + ", switch " + m[2]
		valid, second = m[4], m[5]
	} else if m := plain.FindStringSubmatch(f.Name); m != nil && named[m[1]] != "" {
		text, valid, second = named[m[1]], m[2], m[3]
	} else {
		return f.Unit
	}
	if valid != "" {
		text = "1 if measured, else 0: " + text
	}
	if second != "" {
		text += fmt.Sprintf(", second %s of the step", second)
	}
	return text
}
