package ws

import (
	"fmt"
	"math/bits"
	"net/http"
	"net/http/pprof"
	"regexp"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// stats is what a server counts. Steps add to it without a lock, and only a
// scrape turns it into metrics.
type stats struct {
	opened, resumed, restored    atomic.Uint64
	requests                     [typeStepManyResult + 1]atomic.Uint64 // by binary type; 0: text
	rows, episodes               atomic.Uint64
	journalErrors, supersessions atomic.Uint64
	errors, refusals             [64]atomic.Uint64 // by index into codes
	seconds                      [latencies]atomic.Uint64
	nanoseconds                  atomic.Uint64
	scenarios                    byScenario
}

// scenarioStats count what the environments of one scenario did.
type scenarioStats struct {
	rows            atomic.Int64 // open now
	steps, episodes atomic.Uint64
}

// maxScenarios bounds the scenarios that metrics tell apart; what more there are
// count as "other".
const maxScenarios = 256

// of gives the counters of a scenario.
func (b *byScenario) of(name string) *scenarioStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all[name] == nil && len(b.all) >= maxScenarios {
		name = "other"
	}
	if b.all[name] == nil {
		if b.all == nil {
			b.all = map[string]*scenarioStats{}
		}
		b.all[name] = new(scenarioStats)
	}
	return b.all[name]
}

// byScenario is scenarioStats by the names of scenarios that were made.
type byScenario struct {
	mu  sync.Mutex
	all map[string]*scenarioStats
}

// Latencies are counted in powers of two of a microsecond.
const latencies = 26

func (s *stats) took(d time.Duration) {
	s.seconds[min(bits.Len64(uint64(max(d-1, 0)/time.Microsecond)), latencies-1)].Add(1)
	s.nanoseconds.Add(uint64(max(d, 0)))
}

func codeIndex(code string) int {
	for i, c := range codes {
		if c.code == code {
			return i
		}
	}
	return len(codes) - 1
}

func (s *stats) failed(code string)  { s.errors[codeIndex(code)].Add(1) }
func (s *stats) refused(code string) { s.refusals[codeIndex(code)].Add(1) }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("planegym_"+name, help, labels, nil)
}

var (
	descSessions      = describe("sessions", "Sessions now, by whether their client is connected.", "state")
	descOpened        = describe("sessions_opened_total", "Sessions opened.")
	descResumed       = describe("sessions_resumed_total", "Times that a client came back to its session.")
	descRestored      = describe("sessions_restored_total", "Sessions read back from the journal.")
	descEnvs          = describe("environments", "Rows of all environments open now.")
	descRequests      = describe("requests_total", "Requests answered, by type.", "type")
	descRows          = describe("steps_total", "Environment steps: rows stepped.")
	descEpisodes      = describe("episodes_total", "Episodes that ended.")
	descErrors        = describe("errors_total", "Error replies, by code.", "code")
	descRefused       = describe("refused_total", "Connections refused, by code.", "code")
	descJournalErrors = describe("journal_errors_total", "Sessions whose journal could not be written.")
	descHung          = describe("hung_steps_total", "Steps given up after the step timeout.")
	descSeconds       = describe("request_seconds", "From the arrival of a request (of a burst, its last) to its reply.")
	descScenarioEnvs  = describe("scenario_environments", "Rows of environments open now, by scenario.", "scenario")
	descScenarioSteps = describe("scenario_steps_total", "Environment steps: rows stepped, by scenario.", "scenario")
	descScenarioEnds  = describe("scenario_episodes_total", "Episodes that ended, by scenario.", "scenario")
	descBuild         = describe("build_info", "1, with the version, the commit and the Go release that this program was built of.", "version", "revision", "go")
	descDraining      = describe("draining", "1 while the server goes away.")
)

// collector is a Server as a source of metrics.
type collector struct{ *Server }

func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := &c.stats
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	attached, detached, rows, draining := c.load()
	gauge(descSessions, float64(attached), "attached")
	gauge(descSessions, float64(detached), "detached")
	gauge(descEnvs, float64(rows))
	d := 0.0
	if draining {
		d = 1
	}
	gauge(descDraining, d)
	count(descOpened, s.opened.Load())
	count(descResumed, s.resumed.Load())
	count(descRestored, s.restored.Load())
	count(descRows, s.rows.Load())
	count(descEpisodes, s.episodes.Load())
	count(descJournalErrors, s.journalErrors.Load())
	count(descHung, s.supersessions.Load())
	for t, name := range map[int]string{0: "text", typeStep: "step", typeReset: "reset", typeStepMany: "step_many"} {
		count(descRequests, s.requests[t].Load(), name)
	}
	s.scenarios.mu.Lock()
	for name, of := range s.scenarios.all {
		gauge(descScenarioEnvs, float64(of.rows.Load()), name)
		count(descScenarioSteps, of.steps.Load(), name)
		count(descScenarioEnds, of.episodes.Load(), name)
	}
	s.scenarios.mu.Unlock()
	version, revision := build()
	if c.opts.Version != "" {
		version = c.opts.Version
	}
	if c.opts.Commit != "" {
		revision = c.opts.Commit
	}
	gauge(descBuild, 1, version, revision, runtime.Version())
	byCode := func(d *prometheus.Desc, n *[64]atomic.Uint64) {
		sum := map[string]uint64{}
		for i, c := range codes {
			sum[c.code] += n[i].Load()
		}
		for code, v := range sum {
			count(d, v, code)
		}
	}
	byCode(descErrors, &s.errors)
	byCode(descRefused, &s.refusals)
	buckets, total := map[float64]uint64{}, uint64(0)
	for i := range latencies {
		total += s.seconds[i].Load()
		if i < latencies-1 {
			buckets[float64(uint64(1)<<i)/1e6] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(descSeconds, total, float64(s.nanoseconds.Load())/1e9, buckets)
}

// build is what the program was built of: its module's version, and the commit
// where Go knows it.
var build = sync.OnceValues(func() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown"
	}
	version, revision = info.Main.Version, "unknown"
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return version, revision
})

// load counts sessions, with and without a client, and rows of environments.
func (s *Server) load() (attached, detached int, rows int64, draining bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ss := range s.sessions {
		if ss.current != nil {
			attached++
		} else {
			detached++
		}
		rows += ss.rows.Load()
	}
	return attached, detached, rows, s.draining
}

// observability adds /metrics, /healthz and /readyz to mux; guard has
// metrics ask for a token where the server has one.
func (s *Server) observability(mux *http.ServeMux, guard bool) {
	r := prometheus.NewRegistry()
	live := collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/live:bytes$")} // what leaks shows in
	r.MustRegister(collector{s}, collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(live)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(s.opts.Metrics...)
	metrics := promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if guard {
			if err := s.guard(r); err != nil {
				s.refuse(w, http.StatusUnauthorized, err)
				return
			}
		}
		metrics.ServeHTTP(w, r)
	})
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text + "\n"))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch attached, detached, _, draining := s.load(); {
		case draining:
			answer(w, http.StatusServiceUnavailable, "draining")
		case attached+detached >= s.opts.MaxSessions:
			answer(w, http.StatusServiceUnavailable, "no session is free")
		default:
			answer(w, http.StatusOK, "ready")
		}
	})
}

// Admin is what operators look at: metrics, health and pprof. It asks for no
// token and is to be served on loopback alone. It answers requests for an IP
// address or localhost, so that no web page can read it by a name of its own.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	s.observability(mux, false)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !safeHost(r.Host) {
			s.refuse(w, http.StatusForbidden, fmt.Errorf("%w: Host %q: want an IP address or localhost", ErrUnauthorized, r.Host))
			return
		}
		mux.ServeHTTP(w, r)
	})
}
