package telemetry

import "testing"

// Level and Quality.Level agree on every frame rate.
func TestLevel(t *testing.T) {
	for i := -10; i < 400; i++ {
		fps := float32(i) / 8
		if got, want := Level(fps), (Quality{FPS: fps}).Level(); got != want {
			t.Errorf("%v frames/s: level %d, want %d", fps, got, want)
		}
	}
}
