package deploy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	collect "github.com/planegym/planegym/telemetry/live"
)

// metrics are what a deployment exports to Prometheus, in its text format. The
// zero value counts and serves nothing.
type metrics struct {
	mu     sync.Mutex
	steps  int
	safe   int
	failed int
	reward float32
	total  float64
	setMS  float64
	limits []Got
	player []float32 // buffer, frame rate, bitrate, stall
	stats  collect.Stats
}

func (m *metrics) set(e Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits, m.setMS = e.Got, e.TookMS
	if e.Error != "" {
		m.failed++
	}
	if e.Why != "policy" && e.Why != "reset" && e.Why != "close" {
		m.safe++
	}
}

func (m *metrics) step(reward float32, player []float32, stats collect.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps++
	m.reward, m.total, m.player, m.stats = reward, m.total+float64(reward), player, stats
}

func (m *metrics) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	put := func(name, kind, help string, values ...any) {
		fmt.Fprintf(&b, "# HELP planegym_%[1]s %[3]s\n# TYPE planegym_%[1]s %[2]s\n", name, kind, help)
		for i := 0; i < len(values); i += 2 {
			fmt.Fprintf(&b, "planegym_%s%s %v\n", name, values[i], values[i+1])
		}
	}
	put("steps_total", "counter", "windows that ended", "", m.steps)
	put("reward", "gauge", "of the last window", "", m.reward)
	put("reward_sum", "counter", "of all windows; may fall", "", m.total)
	put("safe_total", "counter", "times that the safe limit was put in force because something was wrong", "", m.safe)
	put("set_failed_total", "counter", "times that a switch did not do as it was asked", "", m.failed)
	put("set_seconds", "gauge", "from the last decision to its last read-back", "", m.setMS/1000)
	var limits []any
	for _, g := range m.limits {
		limits = append(limits, fmt.Sprintf("{switch=%q,port=\"%d\"}", g.Switch, g.Port), g.Limit)
	}
	put("limit_packets", "gauge", "in force, as read back", limits...)
	for i, f := range []struct{ name, help string }{
		{"buffer_seconds", "in the player's buffer"}, {"frame_rate", "of the quality playing"},
		{"bitrate_kbps", "of the quality playing"}, {"stall_seconds", "stalled in the last window"},
	} {
		if i < len(m.player) {
			put(f.name, "gauge", f.help, "", m.player[i])
		}
	}
	put("reports_total", "counter", "telemetry reports taken", "", m.stats.Reports)
	put("samples_total", "counter", "player's samples taken", "", m.stats.Samples)
	put("late_total", "counter", "reports and samples that came after their window", "", m.stats.Late)
	put("dropped_total", "counter", "reports and samples that newer ones replaced unread", "", m.stats.Dropped)
	put("malformed_total", "counter", "packets that could not be decoded", "", m.stats.Malformed)
	return b.String()
}

// serve answers at addr/metrics until stop is called; addr "" serves nothing.
func (m *metrics) serve(addr string) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	at, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, m.text())
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- collect.ServeHTTP(ctx, at, mux) }()
	return func() {
		cancel()
		<-done
	}, nil
}
