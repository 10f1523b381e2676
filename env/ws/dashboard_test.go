package ws

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

func TestStatusAndWatch(t *testing.T) {
	s, url := serve(t, Options{})
	c := dial(t, url, DialOptions{NumEnvs: 2})
	var b env.Batch
	if err := c.Reset(background, nil, []uint64{1, 2}, &b); err != nil {
		t.Fatal(err)
	}
	get := func(path string, status int, into any) {
		t.Helper()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		if w.Code != status {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %v in %s", path, err, w.Body)
		}
	}
	var status struct {
		Attached, Rows int
		Sessions       []struct {
			ID, Client string
			Envs       []shown
		}
	}
	get("/v1/status", 200, &status)
	if status.Attached != 1 || status.Rows != 2 || len(status.Sessions) != 1 || status.Sessions[0].Client != clientName || len(status.Sessions[0].Envs) != 1 || status.Sessions[0].Envs[0].Scenario != "cartpole" {
		t.Fatalf("%+v", status)
	}
	var watch struct {
		Columns     []field
		Next, First uint64
		Samples     [][]float32
		Ends        []bool
	}
	path := "/v1/watch?session=" + status.Sessions[0].ID + "&env=1&row=1"
	get(path, 200, &watch)
	if len(watch.Samples) != 0 || len(watch.Columns) != 6 || watch.Columns[0].Name != "reward" {
		t.Fatalf("%+v", watch)
	}
	watch.Columns = nil
	var want [][]float32
	ends := 0
	for k := range 30 {
		actions := []int32{int32(k % 2), 1}
		if err := c.Step(background, nil, actions, &b); err != nil {
			t.Fatal(err)
		}
		want = append(want, append([]float32{b.Reward[1], 1}, b.Obs[4:]...))
		if b.Terminated[1] {
			ends++
		}
	}
	get(path+"&since="+fmt.Sprint(watch.Next), 200, &watch)
	if fmt.Sprint(watch.Samples) != fmt.Sprint(want) || watch.Next-watch.First != 30 {
		t.Errorf("samples %v, want %v", watch.Samples, want)
	}
	for _, e := range watch.Ends {
		if e {
			ends--
		}
	}
	if ends != 0 {
		t.Errorf("%d ends were missed", ends)
	}
	get(path+"&since="+fmt.Sprint(watch.Next), 200, &watch)
	if len(watch.Samples) != 0 {
		t.Errorf("%d samples again", len(watch.Samples))
	}
	actions := make([]int32, 2*2000)
	if _, err := c.StepMany(background, nil, 2000, actions, &b); err != nil {
		t.Fatal(err)
	}
	get(path, 200, &watch)
	if len(watch.Samples) != watchLength || watch.Next-watch.First != watchLength {
		t.Errorf("%d samples of %d kept", len(watch.Samples), watchLength)
	}
	for path, status := range map[string]int{
		"/v1/watch?session=no&env=1": 404, path + "&env=2": 200, strings.Replace(path, "env=1", "env=2", 1): 404,
		strings.Replace(path, "row=1", "row=2", 1): 404, strings.Replace(path, "row=1", "row=x", 1): 404,
	} {
		get(path, status, new(any))
	}
}

func TestFrontPage(t *testing.T) {
	s, _ := serve(t, Options{})
	for accept, want := range map[string]string{"": `"capabilities":[]`, "*/*": `"ack":2`, "text/html,*/*;q=0.8": "<!doctype html>"} {
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q: %d %s", accept, w.Code, w.Body)
		}
	}
	for path, status := range map[string]int{"/dashboard/app.js": 200, "/dashboard/update.sh": 404, "/nothing": 404, "/v1/ws": 400, "/v1/spec": 200} {
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil)); w.Code != status {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// browser is a headless Chromium over its debugging protocol.
type browser struct {
	t  *testing.T
	c  *websocket.Conn
	id int

	mu       sync.Mutex
	replies  map[int]chan json.RawMessage
	requests []string // URLs of the page's
	problems []string // of its console
}

func startBrowser(t *testing.T) *browser {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium to show the dashboard to")
	}
	dir, err := os.MkdirTemp("", "chromium") // which its children write to while they end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for i := 0; os.RemoveAll(dir) != nil && i < 100; i++ {
			time.Sleep(20 * time.Millisecond)
		}
	})
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-port=0", "--user-data-dir="+dir, "--window-size=1200,1500", "about:blank")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	at := ""
	lines := bufio.NewScanner(stderr)
	for at == "" && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
			at, _, _ = strings.Cut(url, "/")
		}
	}
	if at == "" {
		t.Fatal("chromium says nothing of its port")
	}
	go func() {
		for lines.Scan() {
		}
	}()
	var pages []struct {
		Type string
		URL  string `json:"webSocketDebuggerUrl"`
	}
	for len(pages) == 0 {
		resp, err := http.Get("http://" + at + "/json/list")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&pages)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := websocket.DefaultDialer.Dial(pages[0].URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, c: c, replies: map[int]chan json.RawMessage{}}
	done := make(chan struct{})
	go func() { defer close(done); b.read() }()
	t.Cleanup(func() {
		_ = c.WriteJSON(map[string]any{"id": 1 << 30, "method": "Browser.close"})
		<-done // it closes the connection as it ends
		c.Close()
	})
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil)
	}
	return b
}

func (b *browser) read() {
	for {
		var m struct {
			ID     int
			Method string
			Result json.RawMessage
			Params struct {
				Request struct{ URL string }
				Type    string
				Entry   struct{ Level, Text string }
			}
		}
		if b.c.ReadJSON(&m) != nil {
			return
		}
		b.mu.Lock()
		switch {
		case m.ID == 1<<30: // of Browser.close
		case m.ID != 0:
			b.replies[m.ID] <- m.Result
		case m.Method == "Network.requestWillBeSent":
			b.requests = append(b.requests, m.Params.Request.URL)
		case m.Method == "Runtime.exceptionThrown", m.Method == "Runtime.consoleAPICalled" && m.Params.Type == "error":
			b.problems = append(b.problems, m.Method)
		case m.Method == "Log.entryAdded" && m.Params.Entry.Level == "error":
			b.problems = append(b.problems, m.Params.Entry.Text)
		}
		b.mu.Unlock()
	}
}

func (b *browser) call(method string, params any) json.RawMessage {
	b.t.Helper()
	b.id++
	reply := make(chan json.RawMessage, 1)
	b.mu.Lock()
	b.replies[b.id] = reply
	b.mu.Unlock()
	if params == nil {
		params = struct{}{}
	}
	if err := b.c.WriteJSON(map[string]any{"id": b.id, "method": method, "params": params}); err != nil {
		b.t.Fatal(err)
	}
	return <-reply
}

// value is a JavaScript expression's.
func (b *browser) value(expression string) string {
	b.t.Helper()
	var out struct {
		Result struct{ Value any }
	}
	if err := json.Unmarshal(b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}), &out); err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprint(out.Result.Value)
}

// until waits for an expression to be true; else the test ends by its timeout.
func (b *browser) until(expression string) {
	b.t.Helper()
	for b.value(expression) != "true" {
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *browser) key(name, code string, number int) {
	for _, kind := range []string{"keyDown", "keyUp"} {
		m := map[string]any{"type": kind, "key": name, "code": code, "windowsVirtualKeyCode": number}
		if name == "Enter" && kind == "keyDown" {
			m["text"] = "\r"
		}
		b.call("Input.dispatchKeyEvent", m)
	}
}

// picture writes a screenshot where PLANEGYM_PICTURES says.
func (b *browser) picture(name string) {
	dir := os.Getenv("PLANEGYM_PICTURES")
	if dir == "" {
		return
	}
	var out struct{ Data string }
	if err := json.Unmarshal(b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}), &out); err != nil {
		b.t.Fatal(err)
	}
	png, err := base64.StdEncoding.DecodeString(out.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// carded is a vector of a model.
type carded struct{ env.Vector }

func (carded) ModelHash() string { return "5eed" }
func (carded) ModelCard() map[string]string {
	return map[string]string{"trained": "under 32 to 128 packets <b>", "losses": "reconstruction 0.0123, supervised 0.0004"}
}

// lined is a vector whose infos are those of the queue environment.
type lined struct{ env.Vector }

func (lined) InfoFields() []telemetry.Field {
	return []telemetry.Field{
		{Name: "lbo_s", Unit: "s"}, {Name: "fps", Unit: "1/s"}, {Name: "rep_kbps", Unit: "kbit/s"}, {Name: "stall_s", Unit: "s"},
		{Name: "limit1", Unit: "packets"}, {Name: "enq_qdepth1", Unit: "packets"}, {Name: "enq_qdepth2", Unit: "packets"},
	}
}

func (lined) Info(_ int, dst []float32) []float32 { return append(dst, 12.5, 24, 1867, 0, 64, 40, 2) }

// TestWatchDraws compares the drawing with the values that it shows.
func TestWatchDraws(t *testing.T) {
	s, url := serve(t, Options{Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		v, err := open(ctx, m)
		return lined{v}, err
	}})
	c := dial(t, url, DialOptions{NumEnvs: 1})
	var b env.Batch
	if err := c.Reset(background, nil, []uint64{1}, &b); err != nil {
		t.Fatal(err)
	}
	watch := func() (out struct {
		Picture string
		Columns []struct{ Name, Title, Line, Group string }
	}) {
		t.Helper()
		s.mu.Lock()
		id := ""
		for _, ss := range s.sessions {
			id = ss.id
		}
		s.mu.Unlock()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/watch?session="+id+"&env=1", nil))
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err, w.Body)
		}
		return out
	}
	if got := watch(); got.Picture != "" {
		t.Errorf("a drawing before any step: %s", got.Picture)
	}
	if err := c.Step(background, nil, []int32{0}, &b); err != nil {
		t.Fatal(err)
	}
	got := watch()
	for _, want := range []string{"40 packets", "≤ 64", "buffer 12.5 s", "reward +1.0", "switch 2"} {
		if !strings.Contains(got.Picture, want) {
			t.Errorf("no %q in %s", want, got.Picture)
		}
	}
	last := got.Columns[len(got.Columns)-1]
	if last.Name != "enq_qdepth2" || last.Title != "Queue depth at enqueue, packets" || last.Line != "switch 2" || last.Group != "info" {
		t.Errorf("%+v", last)
	}
}

func TestScenarioPages(t *testing.T) {
	s, _ := serve(t, Options{Scenarios: []Scenario{
		{Name: "mine", Description: "Mine", Best: []Known{{"fixed:32", 12}}, Page: func(context.Context) (string, error) { return "<h1>mine</h1>", nil }},
		{Name: "bare"},
	}})
	for path, want := range map[string]string{
		"/v1/scenarios":      `[{"name":"mine","description":"Mine","best":[{"policy":"fixed:32","return":12}]},{"name":"bare","description":"","best":null}]`,
		"/v1/scenarios/mine": `{"html":"\u003ch1\u003emine\u003c/h1\u003e","name":"mine"}`,
		"/v1/scenarios/bare": `"unknown_scenario"`,
		"/v1/scenarios/none": `"unknown_scenario"`,
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
}

// TestDashboard looks at the page as a person would, by keyboard.
func TestDashboard(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	const token = "0123456789abcdef-dash"
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	b := startBrowser(t)
	_, url := serve(t, Options{Tokens: tokens, Open: func(ctx context.Context, m MakeRequest) (env.Vector, error) {
		v, err := open(ctx, m)
		return carded{v}, err
	}, Scenarios: []Scenario{{Name: "cartpole", Description: "A pole", Best: []Known{{"random", 22}},
		Page: func(context.Context) (string, error) {
			return "<h1>The page</h1><table><tr><td>x</td></tr></table>", nil
		}}}})
	c := dial(t, url, DialOptions{NumEnvs: 4, Token: token})
	ctx, stop := context.WithCancel(background)
	var stepping sync.WaitGroup
	stepping.Go(func() {
		var out env.Batch
		for k := 0; ctx.Err() == nil; k++ {
			err := c.Reset(background, nil, nil, &out)
			for j := 0; err == nil && j < 100 && ctx.Err() == nil; j++ {
				err = c.Step(background, nil, []int32{int32(k+j) % 2, 0, 1, 0}, &out)
				time.Sleep(time.Millisecond)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer stepping.Wait()
	defer stop()
	page := "http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), Path)
	b.call("Page.navigate", map[string]any{"url": page + "/"})
	b.until(`document.readyState == "complete" && !document.getElementById("login").hidden`)
	b.mu.Lock()
	b.problems = nil // the browser reports the 401
	b.mu.Unlock()
	b.value(`document.getElementById("token").focus()`)
	b.call("Input.insertText", map[string]any{"text": token})
	b.key("Enter", "Enter", 13)
	b.until(`document.getElementById("login").hidden && document.getElementById("state").textContent == "live"`)
	b.until(`parseFloat(document.getElementById("rate").textContent) > 0 && document.getElementById("p99").textContent.endsWith("s")`)
	// From the top, by Tab, to the environment.
	b.value(`document.activeElement.blur(); document.getElementById("theme").focus()`)
	was := b.value(`document.documentElement.dataset.theme`)
	b.key("Enter", "Enter", 13)
	if now := b.value(`document.documentElement.dataset.theme`); now == was {
		t.Error("the theme stays ", now)
	}
	b.until(`(() => { const a = document.activeElement; return a.id == "theme" })()`)
	for range 20 {
		if b.value(`document.activeElement.dataset.key || ""`) != "" {
			break
		}
		b.key("Tab", "Tab", 9)
	}
	if b.value(`document.activeElement.textContent`) != "1: cartpole × 4" {
		t.Fatal("Tab does not come to the environment: ", b.value(`document.activeElement.outerHTML`))
	}
	b.key("Enter", "Enter", 13)
	b.until(`document.querySelectorAll("#episode-charts canvas").length == 6 && document.getElementById("waiting").hidden`)
	b.until(`looked.samples.length > 100 && fixed.every((c) => c.plot && c.plot.data[0].length > 4 && c.plot.scales.y.max > c.plot.scales.y.min)`)
	b.until(`looked.returns.length > 1 && document.querySelector("#chart-returns canvas") && document.getElementById("known").textContent.includes("random 22")`)
	if got := b.value(`[...document.querySelectorAll("#shares .bar")].map((s) => s.textContent).join("; ")`); !strings.Contains(got, "action 0: ") {
		t.Errorf("shares of actions: %s", got)
	}
	b.value(`document.getElementById("scenarios").open = true; document.querySelector("#scenario-list button").click()`)
	b.until(`document.querySelector("#page h1") && document.querySelector("#page h1").textContent == "The page"`)
	if got := b.value(`document.getElementById("python").textContent`); !strings.Contains(got, `planegym.make("`+url) || !strings.Contains(got, `"cartpole"`) {
		t.Errorf("the snippet is not this server's: %s", got)
	}
	b.picture("dashboard-one")
	// On a telephone's screen nothing is cut off and nothing scrolls sideways.
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 480, "height": 1500, "deviceScaleFactor": 1, "mobile": false})
	b.until(`window.innerWidth == 480`)
	b.until(`document.documentElement.scrollWidth <= 480`)
	b.picture("dashboard-480")
	b.call("Emulation.clearDeviceMetricsOverride", nil)
	b.value(`document.getElementById("theme").click()`)
	b.until(`looked.samples.length > 200`)
	b.picture("dashboard-other")
	if got := b.value(`[...document.querySelectorAll("#card th")].map((t) => t.textContent).join()`); got != "scenario,rows,autoreset,model hash,losses,trained" {
		t.Errorf("model card: %s", got)
	}
	if got := b.value(`[...document.querySelectorAll("#card td")].map((t) => t.textContent).join("; ")`); got != "cartpole; 4; next_step; 5eed; reconstruction 0.0123, supervised 0.0004; under 32 to 128 packets <b>" {
		t.Errorf("model card: %s", got)
	}
	stop()
	stepping.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if !strings.HasPrefix(r, page) && !strings.HasPrefix(r, "data:") && r != "about:blank" {
			t.Errorf("request to %s", r)
		}
		if strings.Contains(r, token) {
			t.Errorf("a token in a URL: %s", r)
		}
	}
	if len(b.problems) > 0 {
		t.Errorf("the page has problems: %v", b.problems)
	}
}
