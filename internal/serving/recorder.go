package serving

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/env/ws"
)

// Recorder writes the episodes of what a server makes to Parquet files, and counts what
// went wrong with them, as a prometheus.Collector.
type Recorder struct {
	Dir    string // "": nothing is recorded
	Log    *slog.Logger
	failed atomic.Uint64
}

var recordErrors = prometheus.NewDesc("planegym_record_errors_total", "Recordings that ended because their file could not be written.", nil, nil)

// Describe is prometheus.Collector's.
func (r *Recorder) Describe(ch chan<- *prometheus.Desc) { ch <- recordErrors }

// Collect counts the recordings that failed.
func (r *Recorder) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(recordErrors, prometheus.CounterValue, float64(r.failed.Load()))
}

// Wrap makes what open opens be recorded, in files named after scenario, session,
// environment and a count.
func (r *Recorder) Wrap(open func(context.Context, ws.MakeRequest) (env.Vector, error)) func(context.Context, ws.MakeRequest) (env.Vector, error) {
	return func(ctx context.Context, m ws.MakeRequest) (env.Vector, error) {
		if r.Dir == "" && m.Record {
			return nil, fmt.Errorf("%w: record: this server does not record: start it with --record", ws.ErrInvalidConfig)
		}
		v, err := open(ctx, m)
		if r.Dir == "" || err != nil {
			return v, err
		}
		hash := ""
		if h, ok := v.(interface{ ModelHash() string }); ok {
			hash = h.ModelHash()
		}
		rec, err := episodes.Record(v, func(file int) (*episodes.Writer, error) {
			name := fmt.Sprintf("%s-%s-%d-%d.parquet", filepath.Base(m.Scenario), m.Session, m.Env, file)
			return episodes.Create(filepath.Join(r.Dir, name), episodes.SpacesOf(v.Spec()), m.Scenario, hash, episodes.InfosOf(v)...)
		}, func(err error) {
			r.failed.Add(1)
			r.Log.Error("recording ends, stepping goes on", "session", m.Session, "error", err)
		})
		if err != nil {
			_ = v.Close()
			return nil, err
		}
		return rec, nil
	}
}
