package inventory

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/p4"
)

// TestProvisionRuns: every command that is printed for three switches of one
// host and one of another runs in a shell, and reaches its own switch's Thrift
// port, which is the one that its start command gives it.
func TestProvisionRuns(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh here")
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	stub := "#!/bin/sh\nread line || exit 1\necho \"$* : $line\" >> " + log + "\n"
	if err := os.WriteFile(filepath.Join(dir, "simple_switch_CLI"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	inv := Inventory{
		{Target: "127.0.0.1:50051", DeviceID: 1, Ports: []p4.Port{1, 2}, ServicePPS: 1000, Safe: 32},
		{Target: "127.0.0.1:50052", DeviceID: 2, Ports: []p4.Port{1}, ServicePPS: 1000, Safe: 32},
		{Target: "127.0.0.1:50053", DeviceID: 3, Ports: []p4.Port{1}, ServicePPS: 1000, Safe: 32},
		{Target: "10.0.0.7:50051", DeviceID: 4, Ports: []p4.Port{3}, ServicePPS: 1000, Safe: 32},
	}.WithDefaults(32)
	var want []string
	for i, s := range inv {
		port := 9090 + i
		host := "127.0.0.1"
		if i == 3 {
			port, host = 9090, "10.0.0.7"
		}
		at := fmt.Sprintf("--thrift-ip %s --thrift-port %d : ", host, port)
		for _, p := range s.Ports {
			want = append(want, at+fmt.Sprintf("set_queue_depth 32 %d 0", p), at+fmt.Sprintf("set_queue_depth 64 %d 1", p), at+fmt.Sprintf("set_queue_rate 1000 %d", p))
		}
		lines := s.Provision(inv.OnHost(i), []p4.Limit{32, 64})
		if !strings.Contains(lines[0], fmt.Sprintf("--thrift-port %d ", port)) || !strings.Contains(lines[len(lines)-1], "before 1.15.1") || !strings.Contains(lines[len(lines)-1], "behavioral-model#1264") {
			t.Errorf("switch %d: %q", i+1, lines)
		}
		for _, l := range lines {
			if !strings.Contains(l, "simple_switch_CLI") {
				continue
			}
			cmd := exec.Command(sh, "-c", l)
			cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", l, err, out)
			}
		}
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSpace(string(b)), "\n"); !slices.Equal(got, want) {
		t.Errorf("ran\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	inv[0].Thrift = "127.0.0.1:9999"
	if lines := inv[0].Provision(0, []p4.Limit{32}); !strings.Contains(lines[0], "--thrift-port 9999 ") || !strings.Contains(lines[len(lines)-1], "planegym switches provision") {
		t.Errorf("%q", lines)
	}
}
