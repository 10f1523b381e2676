package arch

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestConsumer runs a program of another module against this one: 39 lines that
// make environments, train an agent, serve them and step them. It is the Example
// of the root package, too.
func TestConsumer(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	const dir = "../tools/consumer"
	text, err := os.ReadFile(dir + "/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n >= 40 {
		t.Errorf("%d lines, want less than 40", n)
	}
	body := func(path, begin string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), begin+" {\n")
		rest, _, _ = strings.Cut(rest, "\n}\n")
		rest, _, _ = strings.Cut(rest, "\n\t// Output:")
		return rest
	}
	if a, b := body(dir+"/main.go", "func main()"), body("../../example_test.go", "func Example()"); a != b || a == "" {
		t.Errorf("the Example differs:\n%s\nthe program:\n%s", b, a)
	}
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "4 episodes of 900 steps\n" {
		t.Errorf("%v: %s", err, out)
	}
}
