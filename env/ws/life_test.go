package ws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the server's lines of its page, without those that differ by machine.
func metrics(s *Server) (lines []string) {
	for line := range strings.Lines(ask(s, "GET", "/metrics").Body.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "planegym_") && !strings.HasPrefix(line, "planegym_request_seconds") && !strings.HasPrefix(line, "planegym_build_info") {
			lines = append(lines, strings.TrimPrefix(line, "planegym_"))
		}
	}
	return lines
}

// notZero are the lines of metrics that are not zero.
func notZero(lines []string) string {
	var out []string
	for _, l := range lines {
		if !strings.HasSuffix(l, " 0") {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

// A server's metrics, status and log hold all that happened to it, and nothing else.
func TestALifeIsCounted(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	plain := slog.NewTextHandler(locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" || a.Key == "session" || a.Key == "stack" {
			return slog.Attr{}
		}
		return a
	}})
	h := &hanging{}
	o := Options{Name: "gym", MaxSessions: 3, StepTimeout: 5 * time.Second, Log: slog.New(plain), Open: openHanging(h)}
	faked(t, o, func(t *testing.T, s *Server) {
		h.release = make(chan struct{})
		if got := notZero(metrics(s)); got != "" {
			t.Errorf("at the start: %s", got)
		}
		p := pipe(t, s, false)
		token := p.start() // one session, three text requests, a row
		for id := 3; id < 6; id++ {
			p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, id, id-1)
			p.want("step_result")
		}
		for _, r := range []request{
			{header: header{Type: typeReset, Env: 1, N: 1, Seq: 6}, Ack: 5},
			{header: header{Type: typeStepMany, Env: 1, N: 1, Seq: 7}, Ack: 6, Steps: 4, Actions: make([]int32, 4)},
			{header: header{Type: typeStep, Env: 1, N: 1, Seq: 8}, Ack: 7, Actions: []int32{9}},
			{header: header{Type: typeStep, Env: 1, N: 1, Seq: 9}, Ack: 8, Actions: []int32{1}}, // is skipped
		} {
			p.ask(r)
			p.next()
		}
		for id := 10; ; id++ { // to the end of the episode
			p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[0]}`, id, id-1)
			if m, err := p.hear(); err != nil {
				t.Fatal(err)
			} else if m["event"] == "episode_end" {
				if m["steps"] != float64(id-10+1+4) {
					t.Errorf("%v in request %d", m, id)
				}
				p.want("step_result")
				break
			}
		}
		steps, texts := s.stats.rows.Load(), s.stats.requests[0].Load()
		_ = p.net.Close()
		synctest.Wait()
		p = pipe(t, s, false)
		last := texts + 4
		p.say(`{"type":"resume","id":0,"client":"c","version":1,"token":%q,"last_seq":%d}`, token, last)
		p.want("resumed")
		bad := pipe(t, s, false)
		bad.say(`{"type":"hello","id":3,"version":2}`)
		bad.want("bad_version")
		bad.wantClose(closeBadVersion)
		_ = bad.net.Close()
		q := pipe(t, s, false)
		q.start()
		q.say(`{"type":"make","id":3,"ack":2,"scenario":"cartpole","model":"hang","num_envs":5}`)
		q.want("made")
		q.say(`{"type":"reset","id":4,"ack":3,"env":2,"seed":"1"}`)
		q.want("reset_result")
		h.hang.Store(true)
		q.say(`{"type":"step","id":5,"ack":4,"env":2,"actions":[1,1,1,1,1]}`)
		q.want("timeout")
		_ = q.net.Close()
		synctest.Wait()
		want := fmt.Sprintf(`environments 7
episodes_total 1
errors_total{code="invalid_action"} 1
errors_total{code="skipped"} 1
errors_total{code="timeout"} 1
hung_steps_total 1
refused_total{code="bad_version"} 1
requests_total{type="reset"} 1
requests_total{type="step"} 2
requests_total{type="step_many"} 1
requests_total{type="text"} %d
scenario_environments{scenario="cartpole"} 7
scenario_episodes_total{scenario="cartpole"} 1
scenario_steps_total{scenario="cartpole"} %d
sessions{state="attached"} 1
sessions{state="detached"} 1
sessions_opened_total 2
sessions_resumed_total 1
steps_total %[2]d`, texts+5, steps)
		if got := notZero(metrics(s)); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		if steps != 3+4+(texts-5) {
			t.Errorf("%d steps of %d text requests", steps, texts)
		}
		var status map[string]any
		if err := json.Unmarshal(ask(s, "GET", "/v1/status").Body.Bytes(), &status); err != nil {
			t.Fatal(err)
		}
		latency, sessions := status["latency"].([]any), status["sessions"].([]any)
		delete(status, "latency")
		delete(status, "sessions")
		if got, want := fmt.Sprint(status), fmt.Sprintf("map[attached:1 detached:1 draining:false episodes:1 errors:3 max_sessions:3 requests:%d rows:7 server:gym steps:%d]", texts+5+4, steps); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		total := 0.
		for _, n := range latency {
			total += n.(float64)
		}
		if len(latency) != latencies || total < float64(texts) || len(sessions) != 2 {
			t.Errorf("%v of %d latencies, %d sessions", total, len(latency), len(sessions))
		}
		var ids []string
		for _, e := range sessions {
			e := e.(map[string]any)
			ids = append(ids, e["id"].(string))
			if attached := e["attached"] == true; attached != (e["client"] == "c") && attached != (e["client"] == "t") || e["remote"] != "pipe" || len(e["envs"].([]any)) != map[bool]int{true: 1, false: 2}[attached] {
				t.Errorf("%v", e)
			}
		}
		if ids[0] >= ids[1] {
			t.Errorf("sessions in the order %v", ids)
		}
		close(h.release)
		synctest.Wait()
		p.say(`{"type":"close","id":%d,"ack":%d,"env":1}`, last+1, last)
		p.want("closed")
		if got := notZero(metrics(s)); !strings.Contains(got, "environments 6\n") || !strings.Contains(got, `scenario_environments{scenario="cartpole"} 6`) {
			t.Errorf("after one was closed: %s", got)
		}
		p.say(`{"type":"close","id":%d,"ack":%d}`, last+2, last)
		p.want("closed")
		p.wantClose(closeNormal)
		_ = p.net.Close()
		time.Sleep(2 * time.Minute) // the other's client stays away
		for _, line := range metrics(s) {
			if strings.HasPrefix(line, "sessions{") && !strings.HasSuffix(line, " 0") || strings.HasPrefix(line, "environments") && !strings.HasSuffix(line, " 0") {
				t.Errorf("when all have gone: %s", line)
			}
		}
		if got, want := metrics(s), "draining 0"; got[0] != want {
			t.Errorf("%s", got[0])
		}
		if err := s.Shutdown(background); err != nil {
			t.Error(err)
		}
		if got, want := metrics(s), "draining 1"; got[0] != want {
			t.Errorf("%s", got[0])
		}
		mu.Lock()
		defer mu.Unlock()
		wantLog := fmt.Sprintf(`level=INFO msg="session opened" remote=pipe client=t restored=false
level=INFO msg="environment made" request=1 env=1 scenario=cartpole num_envs=1
level=DEBUG msg="request failed" request=8 code=invalid_action error="row 0: invalid action: 9 is not in [0, 2)"
level=DEBUG msg="request failed" request=9 code=skipped error="skipped after an earlier error"
level=INFO msg="client lost" code=0 reason=EOF
level=INFO msg="session resumed" remote=pipe last_seq=%d accepted=%[1]d
level=INFO msg="connection refused" remote=pipe code=bad_version reason="protocol version is not spoken here: version 2; this server speaks 1"
level=INFO msg="session opened" remote=pipe client=t restored=false
level=INFO msg="environment made" request=1 env=1 scenario=cartpole num_envs=1
level=INFO msg="environment made" request=3 env=2 scenario=cartpole num_envs=5
level=WARN msg="step given up" request=5 env=2 after=5s
level=DEBUG msg="request failed" request=5 code=timeout error="step took too long: more than 5s"
level=INFO msg="client lost" code=0 reason=EOF
level=INFO msg="step came back that was given up" env=2
level=INFO msg="session closed" reason=""
level=INFO msg="session closed" reason="its client did not come back within 1m0s: EOF"
`, last)
		if got := log.String(); got != wantLog {
			t.Errorf("the log has\n%s\nwant\n%s", got, wantLog)
		}
	})
}

// The metrics page has the program's version and commit, the program's own metrics, and
// latencies as a histogram in seconds.
func TestMetricsOfABuild(t *testing.T) {
	extra := prometheus.NewCounter(prometheus.CounterOpts{Name: "extra_total"})
	extra.Add(7)
	s := NewServer(Options{Open: open, Version: "v1.2.3", Commit: "cafe", Metrics: []prometheus.Collector{extra}})
	for _, d := range []time.Duration{1, time.Microsecond, 3 * time.Microsecond, time.Second, time.Hour} {
		s.stats.took(d)
	}
	page := func(s *Server) string { return ask(s, "GET", "/metrics").Body.String() }
	text := page(s)
	for _, line := range []string{
		"extra_total 7", `planegym_build_info{go="go1[^"]*",revision="cafe",version="v1.2.3"} 1`, "go_gc_heap_live_bytes .*", "process_open_fds .*",
		`planegym_request_seconds_bucket{le="1e-06"} 2`, `planegym_request_seconds_bucket{le="2e-06"} 2`, `planegym_request_seconds_bucket{le="4e-06"} 3`,
		`planegym_request_seconds_bucket{le="0.524288"} 3`, `planegym_request_seconds_bucket{le="1.048576"} 4`, `planegym_request_seconds_bucket{le="16.777216"} 4`, `planegym_request_seconds_bucket{le="\+Inf"} 5`,
		`planegym_request_seconds_sum 3601.000004001`, `planegym_request_seconds_count 5`,
	} {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(text) {
			t.Errorf("no line %s", line)
		}
	}
	if n := strings.Count(text, "planegym_request_seconds_bucket"); n != latencies {
		t.Errorf("%d buckets", n)
	}
	version, revision := build()
	if text := page(NewServer(Options{Open: open})); !strings.Contains(text, fmt.Sprintf(`revision=%q,version=%q} 1`, revision, version)) {
		t.Errorf("the build is not %s of %s", version, revision)
	}
}

// Each error code has its own counter; unknown codes count as env_error.
func TestErrorsByCode(t *testing.T) {
	s := NewServer(Options{Open: open})
	want := map[string]int{}
	for i, c := range codes {
		for range i + 1 {
			s.stats.failed(c.code)
			s.stats.refused(c.code)
			s.stats.refused(c.code)
			want[c.code]++
		}
	}
	s.stats.failed("new in v2")
	for _, line := range metrics(s) {
		for code, n := range want {
			if strings.HasPrefix(line, "errors_total") && strings.Contains(line, `"`+code+`"`) {
				if code == "env_error" {
					n++
				}
				if !strings.HasSuffix(line, fmt.Sprintf(" %d", n)) {
					t.Errorf("%s, want %d", line, n)
				}
			}
			if strings.HasPrefix(line, "refused_total") && strings.Contains(line, `"`+code+`"`) && !strings.HasSuffix(line, fmt.Sprintf(" %d", 2*n)) {
				t.Errorf("%s, want %d", line, 2*n)
			}
		}
	}
}

// A server is ready while it has a free session and is not draining; it is healthy as
// long as it answers.
func TestReadiness(t *testing.T) {
	faked(t, Options{MaxSessions: 2}, func(t *testing.T, s *Server) {
		check := func(want string) {
			t.Helper()
			for path, want := range map[string]string{"/readyz": want, "/healthz": "200 ok\n"} {
				for name, h := range map[string]http.Handler{"page": s, "admin": s.Admin()} {
					w := ask(h, "GET", path)
					if got := fmt.Sprintf("%d %s", w.Code, w.Body); got != want || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
						t.Errorf("%s%s: %q, want %q; %v", name, path, got, want, w.Header())
					}
				}
			}
		}
		check("200 ready\n")
		a, b := pipe(t, s, false), pipe(t, s, false)
		a.start()
		check("200 ready\n")
		b.start()
		check("503 no session is free\n")
		_ = b.net.Close()
		synctest.Wait()
		check("503 no session is free\n") // it may come back
		time.Sleep(2 * time.Minute)
		_ = a.net.Close()
		if err := s.Shutdown(background); err != nil {
			t.Error(err)
		}
		check("503 draining\n")
	})
}
