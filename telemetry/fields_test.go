package telemetry_test

import (
	"testing"

	"github.com/planegym/planegym/telemetry"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ name, want, unit string }{
		{"enq_qdepth1", "enq_qdepth1", "packets"},
		{" enq_qdepth2", "enq_qdepth2", "packets"},
		{"deq_timedelta12 ", "deq_timedelta12", "us"},
		{"deq_qdepth3", "deq_qdepth3", "packets"},
		{"probes2", "probes2", ""},
		{"Buffer", "lbo_s", "s"},
		{"lbo_s", "lbo_s", "s"},
		{" FPS", "fps", "1/s"},
		{"ReportedBitrate", "rep_kbps", "kbit/s"},
		{"CalcBitrate", "calc_cum", ""},
		{"calc_rate", "calc_rate", "1/s"},
		{"width", "width", "px"},
		{"stall_s", "stall_s", "s"},
	} {
		if f, ok := telemetry.Canonical(c.name); !ok || f.Name != c.want || f.Unit != c.unit {
			t.Errorf("%q: %+v, %v; want %s in %q", c.name, f, ok, c.want, c.unit)
		}
	}
	for _, name := range []string{"", " ", "enq_qdepth", "enq_qdepthN", "enq_qdepth0", "enq_qdepth01", "enq_qdepth-1", "1", "N", "lbo_s1", "buffer", "Resolution", "timestamp", "enq_qdepth99999999999999999999"} {
		if f, ok := telemetry.Canonical(name); ok {
			t.Errorf("%q is taken for %+v", name, f)
		}
	}
}
