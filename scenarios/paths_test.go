package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return file
	}
	absolute := filepath.Join(dir, "elsewhere", "m.safetensors")
	for text, want := range map[string]string{
		`model = "m.safetensors"`:    filepath.Join(dir, "m.safetensors"),
		`model = "../m.safetensors"`: filepath.Join(filepath.Dir(dir), "m.safetensors"),
		"model = '" + absolute + "'": absolute,
		`model = "synthetic"`:        "synthetic",
	} {
		s, err := Load(write("mine.toml", "plant = \"synthetic\"\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		if s.Model != want {
			t.Errorf("%s: %s, want %s", text, s.Model, want)
		}
	}
	live := `plant = "live"
[env]
limits = [32, 64]
[live]
safe = 32
[live.probes]
udp = "127.0.0.1:0"
[live.player]
log = "dash.log"
[[live.switch]]
target = "127.0.0.1:50001"
ports = [1]
queues = [32, 64]
[live.switch.tls]
ca = "certs/ca.pem"
`
	s, err := Load(write("live.toml", live))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Live.Player.Log; got != filepath.Join(dir, "dash.log") {
		t.Errorf("player.log: %s", got)
	}
	if got := s.Live.Switches[0].TLS; got.CA != filepath.Join(dir, "certs/ca.pem") || got.Cert != "" {
		t.Errorf("tls: %+v", got)
	}
	err = s.CheckFiles()
	if err == nil || !strings.Contains(err.Error(), "scenarios: live.player.log: open ") {
		t.Errorf("a log that is missing: %v", err)
	}
	write("dash.log", "")
	if err = s.CheckFiles(); err == nil || !strings.Contains(err.Error(), "live.switch[0].tls.ca: ") {
		t.Errorf("a certificate that is missing: %v", err)
	}
}
