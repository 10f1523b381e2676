package deploy

import (
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
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	collect "github.com/planegym/planegym/telemetry/live"
)

// Record says where what comes in is written to.
type Record struct {
	Dir   string
	Limit p4.Limit // recorded while it is in force; 0: whatever is
	// MaxImpossible is the share of a column's values that may be impossible
	// before the recording is refused; 0: telemetry.MaxRefused, negative: none.
	MaxImpossible float64
}

// most is the share of values that may be impossible.
func (r Record) most() float64 {
	switch {
	case r.MaxImpossible == 0:
		return telemetry.MaxRefused
	case r.MaxImpossible < 0:
		return 0
	}
	return r.MaxImpossible
}

// recorder writes what comes in as the published logs have it.
type recorder struct {
	dir   string
	limit p4.Limit // the one recorded under; 0: any
	most  float64  // share of a column's values that may be impossible
	files []string // written

	how   telemetry.Aggregation
	scale float64
	begin time.Time // ours
	epoch int64     // µs, the switches' time at begin

	stop    chan struct{}
	syncing sync.WaitGroup

	mu        sync.Mutex
	on        bool
	int, dash logFile
	buf       []byte
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
	if r.int, err = openLogFile(r.dir, "int"+suffix+".csv", "timestamp,"+strings.Join(ints, ","), ',', 1); err != nil {
		return err
	}
	if r.dash, err = openLogFile(r.dir, "dash"+suffix+".csv", "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate;stall_s", ';', 1000); err != nil {
		return err
	}
	// A recording that is continued goes on after its end, also where the
	// switches' seconds are shorter than ours.
	r.epoch = max(r.begin.UnixMicro(), max(r.int.last, r.dash.last)+2e6)
	r.stop = make(chan struct{})
	r.syncing.Go(r.sync)
	return nil
}

// continued names the logs of an earlier run that are continued.
func (r *recorder) continued() []string {
	var names []string
	for _, l := range []*logFile{&r.int, &r.dash} {
		if l.continued {
			names = append(names, l.name)
		}
	}
	return names
}

// sync sees to it once a second that what was written survives a power cut.
func (r *recorder) sync() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-t.C:
			_ = r.int.f.Sync() // an error comes again when the log is closed
			_ = r.dash.f.Sync()
		}
	}
}

// close ends the logs.
func (r *recorder) close() error {
	if r.stop != nil {
		close(r.stop)
		r.syncing.Wait()
		r.stop = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = false
	return errors.Join(r.int.close(), r.dash.close())
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
	l.last = max(l.last, r.epoch+int64(float64(t.Sub(r.begin).Microseconds())*r.scale))
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
	r.int.write(r.buf)
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
	r.dash.write(r.buf)
}

func cell(b []byte, v float64, ok bool) []byte {
	if !ok {
		return b
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// finish ends the logs and joins them.
func (r *recorder) finish(refused []telemetry.Refused) error {
	rows := [2]int{r.int.rows, r.dash.rows}
	old := r.int.continued && r.dash.continued
	if err := r.close(); err != nil {
		return err
	}
	if (rows[0] == 0 || rows[1] == 0) && !old {
		return fmt.Errorf("collect: %d reports and %d samples of the player came in under the limit: nothing to join", rows[0], rows[1])
	}
	r.files = append(r.files, r.int.name, r.dash.name)
	reading := telemetry.Reading{Refused: refused}
	if err := reading.Check(r.most); err != nil {
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
