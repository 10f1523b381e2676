package deploy

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	collect "github.com/planegym/planegym/telemetry/live"
)

// Record says where what comes in is written to.
type Record struct {
	Dir   string
	Limit p4.Limit // recorded while it is in force; 0: whatever is
}

// recorder writes what comes in as the published logs have it.
type recorder struct {
	dir   string
	limit p4.Limit // the one recorded under; 0: any
	files []string // written

	how   telemetry.Aggregation
	scale float64
	begin time.Time // when the switches' time and ours were equal

	mu        sync.Mutex
	on        bool
	int, dash logFile
	buf       []byte
}

// logFile is a log being written, under a temporary name.
type logFile struct {
	name string
	f    *atomicfile.File
	w    *bufio.Writer
	rows int
	last int64 // µs, of the last line
}

func (r *recorder) open(s *scenarios.Scenario) (err error) {
	suffix := ""
	if r.limit != 0 {
		suffix = fmt.Sprint("_", r.limit)
		s.Env.Initial = r.limit
		if err := s.Env.Check(); err != nil {
			return fmt.Errorf("collect: limit: %w", err)
		}
	}
	if r.scale = s.Live.TimeScale; r.scale == 0 {
		r.scale = 1
	}
	if r.how = s.Live.Probes.Aggregation; r.how == "" {
		r.how = telemetry.MaxTimedelta1
	}
	r.on, r.begin = r.limit == 0, time.Now()
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	var ints []string
	for n := range s.Live.Switches {
		for _, stem := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
			ints = append(ints, fmt.Sprint(stem, n+1))
		}
	}
	if r.int, err = create(r.dir, "int"+suffix+".csv", "timestamp,"+strings.Join(ints, ",")); err != nil {
		return err
	}
	r.dash, err = create(r.dir, "dash"+suffix+".csv", "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate;stall_s")
	return err
}

func create(dir, name, header string) (logFile, error) {
	path := filepath.Join(dir, name)
	f, err := atomicfile.Create(path)
	if err != nil {
		return logFile{}, fmt.Errorf("collect: %w", err)
	}
	l := logFile{name: path, f: f, w: bufio.NewWriter(f)}
	_, err = fmt.Fprintln(l.w, header)
	return l, err
}

// keep ends a log and gives it its name.
func (l *logFile) keep() error {
	if err := l.w.Flush(); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	if err := l.f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	l.f = nil
	return nil
}

// close lets go of what was not kept.
func (r *recorder) close() error {
	var errs []error
	for _, l := range []*logFile{&r.int, &r.dash} {
		switch {
		case l.f == nil:
		case l.rows == 0:
			errs = append(errs, l.f.Cleanup())
		default:
			errs = append(errs, l.w.Flush(), l.f.Close(), fmt.Errorf("collect: what was recorded is left in %s", l.f.Name()))
		}
	}
	return errors.Join(errs...)
}

// acted follows which limits are in force.
func (r *recorder) acted(a live.Act) {
	if r.limit == 0 {
		return
	}
	same := true
	for _, l := range a.Asked {
		same = same && l == r.limit
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !same || a.Err != nil:
		r.on = false
	case a.Done:
		r.on = true
	}
}

// at is a time of ours in µs of the switches' time. A line earlier than the one
// before it gets that one's: clocks are aligned ever better.
func (r *recorder) at(l *logFile, t time.Time) int64 {
	l.last = max(l.last, r.begin.UnixMicro()+int64(float64(t.Sub(r.begin).Microseconds())*r.scale))
	return l.last
}

func (r *recorder) tap() *collect.Tap { return &collect.Tap{Report: r.report, Sample: r.sample} }

func (r *recorder) report(t time.Time, values []float64, valid []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return
	}
	us := r.at(&r.int, t)
	b := fmt.Appendf(r.buf[:0], "%d.%06d", us/1e6, us%1e6)
	for i, v := range values {
		b = cell(append(b, ','), v, valid[i])
	}
	r.buf = append(b, '\n')
	_, _ = r.int.w.Write(r.buf) // an error comes again when it is kept
	r.int.rows++
}

// sample writes a sample of the player; columns are collect.PlayerFields.
func (r *recorder) sample(t time.Time, v []float64, ok []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return
	}
	b := strconv.AppendInt(r.buf[:0], r.at(&r.dash, t)/1000, 10)
	for i := range 3 {
		b = cell(append(b, ';'), v[i], ok[i])
	}
	b = append(b, ';')
	if ok[4] && ok[5] {
		b = fmt.Appendf(b, "%gx%g", v[4], v[5])
	}
	b = cell(append(b, ';'), math.Round(v[3]), ok[3])
	b = cell(append(b, ';'), v[6], ok[6])
	r.buf = append(b, '\n')
	_, _ = r.dash.w.Write(r.buf)
	r.dash.rows++
}

func cell(b []byte, v float64, ok bool) []byte {
	if !ok {
		return b
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// finish keeps the logs and joins them. refused are the values that could not be
// measurements, and were not recorded.
func (r *recorder) finish(refused []telemetry.Refused) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = false
	if r.int.rows == 0 || r.dash.rows == 0 {
		return fmt.Errorf("collect: %d reports and %d samples of the player came in under the limit: nothing to keep", r.int.rows, r.dash.rows)
	}
	for _, l := range []*logFile{&r.int, &r.dash} {
		if err := l.keep(); err != nil {
			return err
		}
		r.files = append(r.files, l.name)
	}
	reading := telemetry.Reading{Refused: refused}
	if err := reading.Check(telemetry.MaxRefused); err != nil {
		return fmt.Errorf("collect: %w; the logs without them are %s", err, strings.Join(r.files, ", "))
	}
	if r.limit == 0 {
		return nil
	}
	probes, done, err := openLog(r.int.name, telemetry.INT)
	if err != nil {
		return err
	}
	defer done()
	player, done, err := openLog(r.dash.name, telemetry.DASH)
	if err != nil {
		return err
	}
	defer done()
	joined, err := telemetry.Join(probes, player, r.how)
	if err != nil {
		return err
	}
	grid, err := joined.WithLimit(int(r.limit))
	if err != nil {
		return err
	}
	for _, name := range grid.Empty() {
		if stem := strings.TrimRight(name, "0123456789"); stem == "enq_qdepth" || stem == "deq_timedelta" || name == "lbo_s" {
			return fmt.Errorf("collect: %s was never measured: there is no recording; the logs are %s", name, strings.Join(r.files, ", "))
		}
	}
	name := filepath.Join(r.dir, fmt.Sprintf("grid_%d.csv", r.limit))
	if err := grid.WriteCSV(name); err != nil {
		return err
	}
	r.files = append(r.files, name)
	return nil
}

func openLog(name string, format telemetry.Format) (*telemetry.Reader, func() error, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("collect: %w", err)
	}
	r, err := telemetry.NewReader(f, name, format)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return r, f.Close, nil
}
