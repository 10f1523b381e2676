package doctest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/doctest"
)

func TestBlocks(t *testing.T) {
	page := "a\n```sh long\none\n\ntwo\n```\n```\nout\n```\n  ```python\nx = 1\n```\n"
	got, err := doctest.Blocks(page)
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if b := got[0]; b.Line != 3 || !b.Is("sh") || !b.Is("long") || b.Text != "one\n\ntwo\n" {
		t.Errorf("%+v", b)
	}
	if got[1].Is("sh") || !got[2].Is("python") {
		t.Errorf("%+v", got)
	}
	if b := (doctest.Block{Info: []string{"sh", "needs=tshark", "netns", "needs=ip"}}); strings.Join(b.Needs(), " ") != "tshark ip" || !b.Is("netns") {
		t.Errorf("%+v needs %q", b, b.Needs())
	}
	if _, err := doctest.Blocks("```sh\n"); err == nil {
		t.Error("a block that does not end is accepted")
	}
	nested, err := doctest.Blocks("````text\n# a page\n```python\nx\n```\n````\n```sh\ny\n```\n")
	if err != nil || len(nested) != 2 || nested[0].Text != "# a page\n```python\nx\n```\n" || !nested[1].Is("sh") {
		t.Errorf("a longer fence: %+v, %v", nested, err)
	}
	script := doctest.Block{Text: "planegym serve --data x &\nplanegym play\n"}.Script()
	if !strings.Contains(script, "planegym serve --data x >\"$SERVE_LOG\" 2>&1 &\n") {
		t.Error(script)
	}
	if !strings.Contains(script, "\nplanegym play\n") {
		t.Error(script)
	}
}

// pages are what people read, from the root.
func pages(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"../../README.md", "../../python/README.md"}, docs...)
}

// missing says what a block needs that is not here.
func missing(b doctest.Block) string {
	for _, name := range b.Needs() {
		if _, err := exec.LookPath(name); err != nil {
			return "there is no " + name
		}
	}
	if b.Is("netns") && exec.Command("unshare", "-rn", "ip", "link").Run() != nil {
		return "a network namespace (unshare -rn, ip) is not allowed"
	}
	return ""
}

func TestPagesWorkAsPrinted(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every command of README.md and docs")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/planegym").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	long := os.Getenv("PLANEGYM_DOCS") == "long"
	python := os.Getenv("PLANEGYM_PYTHON")
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := doctest.Blocks(string(text))
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		t.Run(filepath.Base(filepath.Dir(page))+"/"+filepath.Base(page), func(t *testing.T) {
			var group []int // process groups to end with the page
			defer func() {
				for _, pid := range group {
					_ = syscall.Kill(-pid, syscall.SIGKILL)
				}
			}()
			dir := t.TempDir()
			for _, b := range blocks {
				var cmd *exec.Cmd
				ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
				switch {
				case b.Is("apart"), b.Is("long") && !long:
				case missing(b) != "":
					t.Logf("%s:%d: skipped: %s", page, b.Line, missing(b))
				case b.Is("netns"):
					cmd = exec.CommandContext(ctx, "unshare", "-rn", "bash", "-c", b.Script())
				case b.Is("sh"):
					cmd = exec.CommandContext(ctx, "bash", "-c", b.Script())
				case b.Is("python") && python == "":
					t.Logf("%s:%d: Python skipped: PLANEGYM_PYTHON is not set", page, b.Line)
				case b.Is("python"):
					cmd = exec.CommandContext(ctx, python, "-c", b.Text)
				}
				if cmd == nil {
					cancel()
					continue
				}
				cmd.Dir = dir
				if b.Is("root") {
					cmd.Dir = root
				}
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PLANEGYM_BIN="+filepath.Join(bin, "planegym"), "SERVE_LOG="+filepath.Join(bin, "serve.log"))
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				out, err := os.CreateTemp(dir, "out") // a file: what serves keeps it open
				if err != nil {
					t.Fatal(err)
				}
				cmd.Stdout, cmd.Stderr = out, out
				start := time.Now()
				err = cmd.Run()
				cancel()
				if cmd.Process != nil {
					group = append(group, cmd.Process.Pid)
				}
				if err != nil {
					text, _ := os.ReadFile(out.Name())
					t.Fatalf("%s:%d: %v\n%s\n%s", page, b.Line, err, b.Text, text)
				}
				t.Logf("%s:%d: %.1f s", page, b.Line, time.Since(start).Seconds())
				out.Close()
			}
		})
	}
}
