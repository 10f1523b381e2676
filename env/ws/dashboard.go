package ws

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/fieldname"
	"github.com/planegym/planegym/internal/picture"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// The dashboard is one page at /, for requests that accept HTML. It polls /v1/status
// and, for the episode that is looked at, /v1/watch.

// dashboard holds the page, and uPlot as npm has it (update.sh).
//
//go:embed dashboard/index.html dashboard/app.css dashboard/app.js dashboard/uPlot.*
var dashboard embed.FS

func (s *Server) serveDashboard(mux *http.ServeMux) {
	files, err := fs.Sub(dashboard, "dashboard")
	if err != nil {
		panic(err) // it is embedded
	}
	assets := http.StripPrefix("/dashboard/", http.FileServerFS(files))
	mux.HandleFunc("GET /dashboard/", func(w http.ResponseWriter, r *http.Request) {
		pageHeaders(w)
		assets.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			s.greeting(w, r)
			return
		}
		pageHeaders(w)
		http.ServeFileFS(w, r, files, "index.html")
	})
	mux.HandleFunc("GET /dashboard/picture.css", func(w http.ResponseWriter, _ *http.Request) {
		pageHeaders(w)
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = io.WriteString(w, picture.CSS())
	})
	mux.HandleFunc("GET /v1/scenarios", func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, r, func(*http.Request) (any, error) { return s.opts.Scenarios, nil })
	})
	mux.HandleFunc("GET /v1/scenarios/{name}", func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, s.scenarioPage) })
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, s.status) })
	mux.HandleFunc("GET /v1/watch", func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, s.watched) })
}

func pageHeaders(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
}

// answer gives f's answer as JSON to who may have it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, f func(r *http.Request) (any, error)) {
	if err := s.guard(r); err != nil {
		s.refuse(w, http.StatusUnauthorized, err)
		return
	}
	out, err := f(r)
	if err != nil {
		s.refuse(w, http.StatusNotFound, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(out)
}

// Scenario is what the dashboard shows of a scenario that clients may make.
type Scenario struct {
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Best        []Known `json:"best"` // measured returns to compare with, may be empty
	// Page gives the scenario's page as an HTML fragment that the server
	// trusts; nil: there is none.
	Page func(context.Context) (string, error) `json:"-"`
}

// Known is a policy's measured return.
type Known struct {
	Policy string  `json:"policy"`
	Return float64 `json:"return"`
}

// scenarioPage gives the page of the scenario that the path names.
func (s *Server) scenarioPage(r *http.Request) (any, error) {
	name := r.PathValue("name")
	i := slices.IndexFunc(s.opts.Scenarios, func(sc Scenario) bool { return sc.Name == name })
	if i < 0 || s.opts.Scenarios[i].Page == nil {
		return nil, fmt.Errorf("%w: %.80q has no page here", ErrUnknownScenario, name)
	}
	page, err := s.opts.Scenarios[i].Page(r.Context())
	return map[string]string{"name": name, "html": page}, err
}

// shown is what the dashboard shows of an environment.
type shown struct {
	Env       uint32            `json:"env"`
	Scenario  string            `json:"scenario"`
	NumEnvs   int               `json:"num_envs"`
	Autoreset env.Autoreset     `json:"autoreset"`
	ModelHash string            `json:"model_hash"`
	Card      map[string]string `json:"card,omitempty"`

	columns []column         // of a sample: reward, actions, observation, info
	limits  []p4.Limit       // by action index
	infos   int              // where the infos begin among them
	scale   picture.Scale    // of the drawing
	drawn   *picture.Columns // of the infos; nil where there is nothing to draw
	watch   watch
}

// column is a value of a sample, with words for a chart: columns of one title
// share it, a line each.
type column struct {
	field
	Title string `json:"title"`
	Line  string `json:"line"`
	Group string `json:"group"` // "reward", "action", "observation" or "info"
}

func columnsOf(group string, of []telemetry.Field) []column {
	out := make([]column, len(of))
	for i, f := range of {
		title, line := fieldname.Title(f)
		out[i] = column{field(f), title, line, group}
	}
	return out
}

// watch is a row of an environment that somebody looks at.
type watch struct {
	until atomic.Int64 // unix nanoseconds; 0: no page looks

	mu      sync.Mutex // guards what follows
	row     int
	next    uint64    // number of the next sample
	samples []float32 // [watchLength, len(columns)]
	ends    []bool    // [watchLength], an episode ended with the sample
}

const (
	watchLength = 1024
	watchFor    = 10 * time.Second
)

// newShown describes e, made by c.
func newShown(e *vector, m *made) *shown {
	d := &shown{Env: e.id, Scenario: m.Scenario, NumEnvs: e.num, Autoreset: e.spec.Autoreset, ModelHash: m.ModelHash, limits: e.spec.Limits}
	d.columns = columnsOf("reward", []telemetry.Field{{Name: "reward"}})
	for i := range e.s {
		d.columns = append(d.columns, columnsOf("action", []telemetry.Field{{Name: fmt.Sprintf("action%d", i+1)}})...)
	}
	d.columns = append(d.columns, columnsOf("observation", e.spec.Observation.Elements)...)
	d.infos = len(d.columns)
	if e.informer != nil {
		infos := e.informer.InfoFields()
		d.columns = append(d.columns, columnsOf("info", infos)...)
		if c, err := picture.FindColumns(infos); err == nil {
			d.drawn = &c
			d.scale = c.Scale(m.Scenario)
			for _, l := range e.spec.Limits {
				d.scale.MaxLimit = max(d.scale.MaxLimit, float64(l))
			}
		}
	}
	if c, ok := e.Vector.(interface{ ModelCard() map[string]string }); ok {
		d.Card = c.ModelCard()
	}
	return d
}

// sample keeps the looked-at row of a step for the dashboard.
func (e *vector) sample(r *request, b *env.Batch, at int) {
	w := &e.shown.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().UnixNano() > w.until.Load() {
		w.until.Store(0)
		w.samples, w.ends = nil, nil
		return
	}
	i := w.row
	if r.Rows != nil {
		if i = slices.Index(r.Rows, w.row); i < 0 {
			return
		}
	}
	n := len(e.out.Reward)
	wide := len(e.shown.columns)
	if w.samples == nil {
		w.samples, w.ends = make([]float32, 0, watchLength*wide), make([]bool, watchLength)
	}
	slot := int(w.next % watchLength)
	dst := w.samples[slot*wide : slot*wide]
	dst = append(dst, b.Reward[at+i])
	for _, a := range r.Actions[(at+i)*e.s : (at+i+1)*e.s] {
		dst = append(dst, float32(a))
	}
	dst = append(dst, b.Obs[(at+i)*e.d:(at+i+1)*e.d]...)
	if e.f > 0 && at+n == len(b.Reward) { // infos are of the last step
		e.informer.Info(w.row, dst)
	}
	w.samples = w.samples[:max(len(w.samples), (slot+1)*wide)]
	w.ends[slot] = b.Terminated[at+i] || b.Truncated[at+i]
	w.next++
}

// moment is what the drawing shows of a sample.
func (e *shown) moment(sample []float32, ends bool) picture.Moment {
	m := e.drawn.Moment(sample[e.infos:])
	m.Reward, m.Ends, m.Step = float64(sample[0]), ends, -1
	return m
}

type statusSession struct {
	ID       string   `json:"id"`
	Client   string   `json:"client"`
	Remote   string   `json:"remote"`
	Attached bool     `json:"attached"`
	Envs     []*shown `json:"envs"`
}

// statusSessions is how many sessions a status lists.
const statusSessions = 256

// status is what the server does, in counters that a page subtracts.
func (s *Server) status(*http.Request) (any, error) {
	out := struct {
		Server      string          `json:"server"`
		Draining    bool            `json:"draining"`
		Attached    int             `json:"attached"`
		Detached    int             `json:"detached"`
		MaxSessions int             `json:"max_sessions"`
		Rows        int64           `json:"rows"`
		Steps       uint64          `json:"steps"`
		Episodes    uint64          `json:"episodes"`
		Requests    uint64          `json:"requests"`
		Errors      uint64          `json:"errors"`
		Latency     []uint64        `json:"latency"` // requests of at most 2^i µs
		Sessions    []statusSession `json:"sessions"`
	}{Server: s.opts.Name, MaxSessions: s.opts.MaxSessions, Steps: s.stats.rows.Load(), Episodes: s.stats.episodes.Load(), Sessions: []statusSession{}}
	out.Attached, out.Detached, out.Rows, out.Draining = s.load()
	for i := range s.stats.requests {
		out.Requests += s.stats.requests[i].Load()
	}
	for i := range s.stats.errors {
		out.Errors += s.stats.errors[i].Load()
	}
	for i := range s.stats.seconds {
		out.Latency = append(out.Latency, s.stats.seconds[i].Load())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ss := range s.sessions {
		out.Sessions = append(out.Sessions, statusSession{ss.id, ss.client, ss.remote, ss.current != nil, slices.Clone(ss.shown)})
	}
	slices.SortFunc(out.Sessions, func(a, b statusSession) int { return strings.Compare(a.ID, b.ID) })
	out.Sessions = out.Sessions[:min(len(out.Sessions), statusSessions)]
	return out, nil
}

// watched gives the samples of ?session=&env=&row= from number ?since= on,
// and has more of them taken for a while.
func (s *Server) watched(r *http.Request) (any, error) {
	q := r.URL.Query()
	num := func(key string) (int, error) {
		if q.Get(key) == "" {
			return 0, nil
		}
		v, err := strconv.Atoi(q.Get(key))
		if err != nil || v < 0 {
			return 0, fmt.Errorf("%w: %s is %q, want a number", ErrBadFrame, key, q.Get(key))
		}
		return v, nil
	}
	id, err := num("env")
	row, err2 := num("row")
	since, err3 := num("since")
	for _, e := range []error{err, err2, err3} {
		if e != nil {
			return nil, e
		}
	}
	var e *shown
	s.mu.Lock()
	for _, ss := range s.sessions {
		if ss.id != q.Get("session") {
			continue
		}
		for _, d := range ss.shown {
			if d.Env == uint32(id) {
				e = d
			}
		}
	}
	s.mu.Unlock()
	if e == nil {
		return nil, fmt.Errorf("%w: %d of session %.40q", ErrUnknownEnv, id, q.Get("session"))
	}
	if row >= e.NumEnvs {
		return nil, fmt.Errorf("%w: row is %d, there are %d", env.ErrInvalidRows, row, e.NumEnvs)
	}
	w := &e.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.row != row {
		w.row, w.samples, w.ends = row, nil, nil
		w.next += watchLength // what a page has is of another row
	}
	w.until.Store(time.Now().Add(watchFor).UnixNano())
	out := struct {
		Columns []column    `json:"columns"`
		Limits  []p4.Limit  `json:"limits"`  // by action index; none where actions are not limits
		Picture string      `json:"picture"` // of the newest sample, SVG; "" where there is nothing to draw
		Next    uint64      `json:"next"`
		First   uint64      `json:"first"`
		Samples [][]float32 `json:"samples"`
		Ends    []bool      `json:"ends"`
	}{Columns: e.columns, Limits: e.limits, Next: w.next, Samples: [][]float32{}, Ends: []bool{}}
	wide := len(e.columns)
	first := uint64(since)
	if first > w.next || w.next-first > watchLength {
		first = w.next - min(w.next, watchLength)
	}
	for n := first; n < w.next; n++ {
		slot := int(n % watchLength)
		if (slot+1)*wide > len(w.samples) {
			first = n + 1
			continue
		}
		out.Samples = append(out.Samples, slices.Clone(w.samples[slot*wide:(slot+1)*wide]))
		out.Ends = append(out.Ends, w.ends[slot])
	}
	out.First = first
	if n := len(out.Samples); n > 0 && e.drawn != nil {
		now := e.moment(out.Samples[n-1], out.Ends[n-1])
		out.Picture = e.scale.Fitting(func(s picture.Scale) string { return s.SVG(now) })
	}
	return out, nil
}
