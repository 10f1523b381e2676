package fieldname_test

import (
	"testing"

	"github.com/planegym/planegym/internal/fieldname"
	"github.com/planegym/planegym/telemetry"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		field                 telemetry.Field
		describe, title, line string
	}{
		{telemetry.Field{Name: "enq_qdepth3_p95"}, "95th percentile of the step: queue depth when a packet was queued, packets, switch 3", "Queue depth at enqueue, 95th percentile", "switch 3"},
		{telemetry.Field{Name: "lbo_s", Unit: "s"}, "seconds of video in the player's buffer", "Buffer, s", "Buffer, s"},
		{telemetry.Field{Name: "limit12", Unit: "packets"}, "queue limit in force, packets, switch 12", "Queue limit, packets", "switch 12"},
		{telemetry.Field{Name: "deq_timedelta1[2]", Unit: "us"}, "time a packet spent in the queue, µs, switch 1, second 2 of the step", "Time in the queue, second 2, us", "switch 1"},
		{telemetry.Field{Name: "lbo_s_valid[0]"}, "1 if measured, else 0: seconds of video in the player's buffer, second 0 of the step", "Buffer, measured, second 0", "Buffer, measured, second 0"},
		{telemetry.Field{Name: "something9", Unit: "kg"}, "kg", "something9, kg", "something9, kg"},
	} {
		title, line := fieldname.Title(c.field)
		if got := fieldname.Describe(c.field); got != c.describe || title != c.title || line != c.line {
			t.Errorf("%s: %q, %q, %q", c.field.Name, got, title, line)
		}
	}
}
