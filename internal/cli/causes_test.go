package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrorsGiveTheCauseOnce: whatever goes wrong, the message is one line and
// names the input and the cause once each.
func TestErrorsGiveTheCauseOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PLANEGYM_DATA", "")
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"bad.safetensors": "garbage\n",
		"bad.parquet":     "x\n",
		"bad.csv":         "a,b\n",
		"bad.jsonl":       "a\n",
		"gone.toml":       "plant = \"synthetic\"\nmodel = \"lost.safetensors\"\n",
		"broken.toml":     "plant = \"synthetic\"\nmodel = \"bad.safetensors\"\n",
		"live.toml": "plant = \"live\"\n[live]\nsafe = 32\nprobes.udp = \"127.0.0.1:0\"\nplayer.http = \"127.0.0.1:0\"\n" +
			"[[live.switch]]\nname = \"s1\"\ntarget = \"127.0.0.1:1\"\ndevice_id = 0\nports = [1]\nqueues = [32, 64]\n",
	} {
		if err := os.WriteFile(filepath.Join(".", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ command, input, cause string }{
		{"serve --scenario gone.toml", "lost.safetensors", "no such file"},
		{"serve --scenario broken.toml", "bad.safetensors", "not a valid safetensors file"},
		{"serve --scenario replay --data gone", "gone", "no such file"},
		{"scenario check none.toml", "none.toml", "no such file"},
		{"scenario doc synthetic --curves gone.csv", "gone.csv", "no such file"},
		{"fit --data gone -o x.safetensors", "gone", "no such file"},
		{"fit --data folder -o x.safetensors", "folder", "no recording"},
		{"fit --data bad.parquet -o x.safetensors", "bad.parquet", "no Parquet file"},
		{"sample gone.safetensors -o s", "gone.safetensors", "no such file"},
		{"sample bad.safetensors -o s", "bad.safetensors", "not a valid safetensors file"},
		{"select --data bundled --model gone.safetensors", "gone.safetensors", "no such file"},
		{"select --data bundled --model bad.safetensors", "bad.safetensors", "not a valid safetensors file"},
		{"train --scenario gone.toml --out r", "lost.safetensors", "no such file"},
		{"train --offline gone.parquet --out r", "gone.parquet", "no such file"},
		{"train --offline bad.parquet --out r", "bad.parquet", "no Parquet file"},
		{"play gone.safetensors", "gone.safetensors", "no such file"},
		{"play bad.safetensors", "bad.safetensors", "not a valid safetensors file"},
		{"play --url ws://127.0.0.1:1/v1/ws --policy fixed:32", "127.0.0.1:1", "connection refused"},
		{"play --url http://127.0.0.1:1 --policy fixed:32", "127.0.0.1:1", "want ws://"},
		{"compare gone.toml synthetic", "lost.safetensors", "no such file"},
		{"report --compare bad.jsonl", "bad.jsonl", "invalid character"},
		{"report --agent a=gone", "gone", "no such file"},
		{"report --agent a=bad.parquet", "bad.parquet", "no Parquet file"},
		{"journal gone.jsonl", "gone.jsonl", "no such file"},
		{"journal bad.jsonl", "bad.jsonl", "invalid character"},
		{"import --int gone.csv -o grid_32.csv", "gone.csv", "no such file"},
		{"telemetry decode gone.pcap", "gone.pcap", "no such file"},
		{"switches provision --scenario live.toml", "provision", "1 of 1 switches failed"},
		{"collect --scenario live.toml --limit 32 --for 1s -o c", "127.0.0.1:1", "connection refused"},
		{"deploy fixed:32 --scenario live.toml --for 1s --journal j.jsonl", "127.0.0.1:1", "connection refused"},
		{"deploy gone.safetensors --scenario live.toml --for 1s --journal j.jsonl", "gone.safetensors", "no such file"},
		{"deploy bad.safetensors --scenario live.toml --for 1s --journal j.jsonl", "bad.safetensors", "not a valid safetensors file"},
	} {
		t.Run(c.command, func(t *testing.T) {
			if testing.Short() && strings.Contains(c.command, "live.toml") {
				t.Skip("waits ten seconds for a switch")
			}
			var out, errs bytes.Buffer
			if code := Main(t.Context(), strings.Fields(c.command), strings.NewReader(""), &out, &errs); code == 0 {
				t.Fatal("it worked")
			}
			text, _, _ := strings.Cut(errs.String(), "Try 'planegym")
			text = strings.TrimSpace(text)
			if strings.Contains(text, "\n") {
				t.Errorf("more than one line:\n%s", text)
			}
			for _, once := range []string{c.input, c.cause} {
				if n := strings.Count(text, once); n != 1 {
					t.Errorf("%q is there %d times: %s", once, n, text)
				}
			}
		})
	}
}
