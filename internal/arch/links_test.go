package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLinks lists what packages must not link, however indirectly.
func TestLinks(t *testing.T) {
	const (
		grpc    = "google.golang.org/grpc"
		parquet = "github.com/parquet-go/parquet-go"
	)
	for _, c := range []struct{ pkg, not string }{
		{"", grpc}, // a simulation needs no gRPC; deploy does
		{"scenarios", grpc},
		{"scenarios", parquet},
		{"env", parquet},
		{"env/ws", grpc},
		{"agent", grpc},
		{"timegan", parquet},
	} {
		out, err := exec.Command("go", "list", "-deps", strings.TrimSuffix(module+c.pkg, "/")).Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains("\n"+string(out), "\n"+c.not) {
			t.Errorf("%q links %s", c.pkg, c.not)
		}
	}
}
