package eval

import (
	"math"
	"testing"
)

// Three policies worth 2, 3 and 6 on the truth, on the other plant half as much and
// one more: by hand.
func TestCalibrate(t *testing.T) {
	a := [][]float64{{1, 3}, {2, 4}, {5, 7}}
	var b [][]float64
	for _, v := range a {
		b = append(b, []float64{1 + v[0]/2, 1 + v[1]/2})
	}
	c := calibrate([]Valued{{Policy: "fixed:32"}, {Policy: "delayed:3:buffer:20"}, {Policy: "inverse:level"}}, a, b, 50)
	near := func(what string, got Number, want float64) {
		t.Helper()
		if math.Abs(float64(got)-want) > 1e-12 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("slope", c.Slope.Value, .5)
	near("slope, low", c.Slope.Low, .5) // resampled or not, the values lie on the line
	near("intercept", c.Intercept.Value, 1)
	near("bias", c.Bias.Value, -2.5/3)
	near("rms", c.RMS.Value, math.Sqrt(4.25/3))
	near("bias, low", c.Bias.Low, -(0.5+1+2.5)/3) // episode 1 twice
	if len(c.Families) != 3 || c.Families[1].Family != "late and noisy rules" || c.Families[2].Policies != 1 {
		t.Fatalf("%+v", c.Families)
	}
	near("the late one", c.Families[1].Bias.Value, -.5)
	near("the adversarial one", c.Families[2].RMS.Value, 2)
	if c.Within != 3 { // two episodes: intervals are wide
		t.Errorf("%d within", c.Within)
	}
	if s := calibrate([]Valued{{Policy: "fixed:1"}}, a[:1], b[:1], 10).Slope; !s.none() {
		t.Errorf("a line through one policy: %v", s)
	}
}

func TestFamily(t *testing.T) {
	for policy, want := range map[string]string{
		"fixed:32": "constants", "alternate:75": "schedules and chance", "random": "schedules and chance", "sticky:8": "schedules and chance",
		"codel": "queue rules", "hysteresis:0.3:0.6": "queue rules", "level": "player rules", "buffer:40": "player rules",
		"noisy:0.2:buffer": "late and noisy rules", "inverse:buffer": "adversarial rules",
	} {
		if got := Family(policy, false); got != want {
			t.Errorf("%s: %s, want %s", policy, got, want)
		}
	}
	if got := Family("runs/level.safetensors", true); got != "agents" {
		t.Error(got)
	}
}
