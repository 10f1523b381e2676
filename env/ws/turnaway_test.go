package ws

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What is no hello ends the connection with an error and the close code that
// PROTOCOL.md gives it.
func TestTurnedAway(t *testing.T) {
	for _, c := range []struct {
		name, first, code string
		close             int
	}{
		{"another version", `{"type":"hello","id":3,"version":2}`, "bad_version", closeBadVersion},
		{"no version", `{"type":"hello","id":3}`, "bad_version", closeBadVersion},
		{"another message", `{"type":"step","id":3,"ack":0,"env":1,"actions":[1]}`, "bad_frame", closeBadFrame},
		{"no JSON", `hello`, "bad_frame", closeBadFrame},
		{"an unknown session", `{"type":"resume","id":3,"version":1,"token":"x","last_seq":0}`, "session_lost", closeLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			faked(t, Options{}, func(t *testing.T, s *Server) {
				p := pipe(t, s, false)
				p.say("%s", c.first)
				p.want(c.code)
				p.wantClose(c.close)
				_ = p.net.Close()
			})
		})
	}
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, true)
		p.say(`{"type":"hello","id":3,"version":1,"ticket":"guess"}`)
		p.want("unauthorized")
		p.wantClose(closeUnauthorized)
		_ = p.net.Close()
	})
}

// Pages and answers carry the headers that browsers act on; a preflight of an
// allowed page is answered with what it asks for.
func TestHeadersOfPages(t *testing.T) {
	s := NewServer(Options{Open: open, Origins: []string{"https://lab.example"}})
	ask := func(method, path string, header map[string]string) *http.Response {
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, nil)
		for k, v := range header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Result()
	}
	for _, path := range []string{"/", "/dashboard/app.css", "/dashboard/picture.css"} {
		r := ask("GET", path, map[string]string{"Accept": "text/html"})
		h := r.Header
		if r.StatusCode != 200 || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-cache" ||
			h.Get("Content-Security-Policy") != "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'" {
			t.Errorf("%s: %d, %v", path, r.StatusCode, h)
		}
	}
	if got := ask("GET", "/v1/status", nil).Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("the status is cached: %q", got)
	}
	r := ask("OPTIONS", ticketPath, map[string]string{"Origin": "https://lab.example", "Access-Control-Request-Headers": "authorization"})
	if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != "https://lab.example" ||
		r.Header.Get("Access-Control-Allow-Headers") != "Authorization" || r.Header.Get("Vary") != "Origin" {
		t.Errorf("preflight: %d, %v", r.StatusCode, r.Header)
	}
	if r := ask("OPTIONS", ticketPath, map[string]string{"Origin": "https://other.example"}); r.StatusCode != http.StatusForbidden || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of another page: %d, %v", r.StatusCode, r.Header)
	}
}

// A text reply has last observations of the rows whose episode ended, null of the
// others, and none where no episode ended.
func TestFinalObsOfATextReply(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.say(`{"type":"hello","id":0,"version":1}`)
		p.want("welcome")
		p.say(`{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":2,"autoreset":"same_step"}`)
		p.want("made")
		p.say(`{"type":"reset","id":2,"ack":1,"env":1,"seed":"7"}`)
		p.want("reset_result")
		ended := [2]int{}
		for id := 3; id < 40; id++ {
			p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1,%d]}`, id, id-1, id%2) // the first pole falls soon
			m := p.want("step_result")
			final, _ := m["final_obs"].([]any)
			ends := false
			for row := range 2 {
				over := m["terminated"].([]any)[row] == true || m["truncated"].([]any)[row] == true
				ends = ends || over
				if has := row < len(final) && final[row] != nil; has != over {
					t.Fatalf("step %d, row %d: ended %v, final_obs %v", id-2, row, over, final)
				}
				if over {
					ended[row]++
				}
			}
			if !ends && final != nil {
				t.Fatalf("step %d: no episode ended, final_obs %v", id-2, final)
			}
		}
		if ended[0] < 2 || ended[0] == ended[1] {
			t.Fatalf("%v episodes ended: the test shows nothing", ended)
		}
		_ = p.net.Close()
	})
}
