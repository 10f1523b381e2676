package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/planegym/planegym/env/ws"
)

// A server tells which model a client's environment is made of, recorded or not.
func TestServeModelCard(t *testing.T) {
	gan := map[string]string{
		"network": "TimeGAN, 2 layers of 32, windows of 32 s", "limits": "under 32 to ", "training": "2000 + 500 + 3500 updates, batches of 64",
		"seed": "0", "engine": "avx2", "losses": "reconstruction 0.0", "data": "recordings: ", "columns": "lbo", "credit": "", "fidelity": "held-out blocks, limit 32: what a limit does is not identifiable; W1 0.0",
	}
	rules := map[string]string{
		"network": "structured: a load of 2 regimes", "limits": "under [32 64 128] packets", "training": " downloads, 4000 updates",
		"seed": "0", "engine": "avx2", "losses": "downloads ", "data": "recordings: ", "columns": "lbo", "credit": "testbed", "fidelity": "the seconds fitted to, 10 sessions: W1 0.",
	}
	for _, x := range []struct {
		scenario string
		args     []string
		card     map[string]string
	}{{"synthetic", nil, rules}, {"recorded", []string{"--scenario", "recorded", "--record", t.TempDir()}, gan}} {
		args := x.args
		url := serve(t, args...)
		c := dial(t, url, ws.DialOptions{Scenario: x.scenario})
		if len(c.ModelHash()) != 64 {
			t.Errorf("%v: model hash %q", args, c.ModelHash())
		}
		resp, err := http.Get("http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), ws.Path) + "/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		var status struct {
			Sessions []struct {
				Envs []struct {
					Hash string `json:"model_hash"`
					Card map[string]string
				}
			}
		}
		err = json.NewDecoder(resp.Body).Decode(&status)
		resp.Body.Close()
		if err != nil || len(status.Sessions) != 1 || len(status.Sessions[0].Envs) != 1 {
			t.Fatalf("%v %+v", err, status)
		}
		e := status.Sessions[0].Envs[0]
		if e.Hash != c.ModelHash() {
			t.Errorf("hash %s, the client was told %s", e.Hash, c.ModelHash())
		}
		for key, want := range x.card {
			if got, ok := e.Card[key]; !ok || !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", key, got, want)
			}
		}
	}
}
