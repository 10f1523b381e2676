// Command firstminutes does what a newcomer does: it builds planegym with an empty
// build cache, runs the commands of README.md and docs/tutorial.md, each in an
// empty folder, one after the other, and writes down what they print and how long they
// take, as a page of Markdown:
//
//	go run ./bench/firstminutes -o docs/first-minutes.md
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/planegym/planegym/internal/doctest"
)

func main() {
	out := flag.String("o", "", "file to write; default: stdout")
	warm := flag.Bool("warm", false, "keep the build cache that is there")
	lines := flag.Int("lines", 12, "lines to show of what a command prints")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	text, err := run(ctx, *warm, *lines)
	if *out == "" {
		fmt.Print(text)
	} else if text != "" { // of an interrupted run, what was reached
		err = errors.Join(err, os.WriteFile(*out, []byte(text), 0o666))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "firstminutes:", err)
		os.Exit(1)
	}
}

// newcomer runs commands and writes them down.
type newcomer struct {
	root, dir string
	env       []string
	lines     int
	began     time.Time
	page      strings.Builder
	groups    []int // process groups of what serves in the background
}

func run(ctx context.Context, warm bool, lines int) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "first-minutes")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "bin")
	n := &newcomer{root: root, dir: bin, lines: lines, began: time.Now()}
	defer func() {
		for _, g := range n.groups {
			_ = syscall.Kill(-g, syscall.SIGKILL)
		}
	}()
	n.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PLANEGYM_BIN="+filepath.Join(bin, "planegym"), "SERVE_LOG="+filepath.Join(dir, "serve.log"))
	if !warm {
		n.env = append(n.env, "GOCACHE="+filepath.Join(dir, "cache"))
	}
	if err := os.Mkdir(bin, 0o700); err != nil {
		return "", err
	}
	cache, flags := "an empty build cache; the modules were downloaded before", ""
	if warm {
		cache, flags = "a warm build cache", " -warm"
	}
	fmt.Fprintf(&n.page, "# The first minutes, as they went\n\nMade by `go run ./bench/firstminutes%s -o docs/first-minutes.md`, on %s/%s with %d cores and %s, with %s. "+
		"The time before a command is that since the start; after it come its time and its processor seconds, which do not depend on what else the machine does; how busy it was is at the end. "+
		"At most %d lines of what a command prints are shown.\n", flags, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), cache, lines)
	begun := load()
	n.page.WriteString("\n## From a clone to a binary\n\n")
	if err := n.do(ctx, root, "bash", "-c", "go build -o "+bin+" ./cmd/planegym", "go build ./cmd/planegym"); err != nil {
		return "", err
	}
	for _, page := range []string{"README.md", "docs/tutorial.md"} {
		fmt.Fprintf(&n.page, "\n## %s\n\n", page)
		n.dir = filepath.Join(dir, filepath.Base(page)) // empty, for each page
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			return n.page.String(), err
		}
		if err := n.read(ctx, page); err != nil {
			return n.page.String(), err
		}
	}
	if end := load(); begun != "" && end != "" {
		fmt.Fprintf(&n.page, "\nThe machine's load average was %s when this began and %s when it ended: where it is above the number of cores, the times include waiting for other programs.\n", begun, end)
	}
	return n.page.String(), nil
}

// load is the machine's load average over a minute; "" where /proc does not say.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// read runs the blocks of a page that are run by the tests too.
func (n *newcomer) read(ctx context.Context, page string) error {
	text, err := os.ReadFile(filepath.Join(n.root, page))
	if err != nil {
		return err
	}
	blocks, err := doctest.Blocks(string(text))
	if err != nil {
		return err
	}
	python := os.Getenv("PLANEGYM_PYTHON")
	for _, b := range blocks {
		dir := n.dir
		if b.Is("root") {
			dir = n.root
		}
		shown := strings.TrimRight(b.Text, "\n")
		switch {
		case b.Is("apart"), b.Is("python") && python == "":
		case b.Is("long"):
			fmt.Fprintf(&n.page, "(`%s` takes longer and is left out.)\n\n", shown)
		case b.Is("sh"):
			err = n.do(ctx, dir, "bash", "-c", b.Script(), shown)
		case b.Is("python"):
			err = n.do(ctx, dir, python, "-c", b.Text, shown)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", page, b.Line, err)
		}
	}
	return nil
}

// do runs a command and writes down shown, what it printed and its times.
func (n *newcomer) do(ctx context.Context, dir, name, flag, script, shown string) error {
	at := time.Since(n.began)
	fmt.Fprintf(os.Stderr, "%s %s\n", clock(at), shown)
	out, err := os.CreateTemp(filepath.Dir(n.dir), "out") // a file: what serves in the background keeps it open
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, name, flag, script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, n.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	err = cmd.Run()
	if cmd.Process != nil {
		n.groups = append(n.groups, cmd.Process.Pid)
	}
	wall := time.Since(start)
	text, e := os.ReadFile(out.Name())
	if strings.Contains(script, "SERVE_LOG") { // it prints there
		log, _ := os.ReadFile(filepath.Join(filepath.Dir(n.dir), "serve.log")) // none where it did not begin
		text = append(log, text...)
	}
	if err = errors.Join(err, e); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	block := fmt.Sprintf("$ %s\n%s", strings.ReplaceAll(shown, "\n", "\n  "), n.cut(text))
	fence := "```"
	for strings.Contains(block, fence) { // a page that prints a page
		fence += "`"
	}
	fmt.Fprintf(&n.page, "%s\n\n%stext\n%s%s\n\n%.1f s, %.1f processor seconds\n\n", clock(at), fence, block, fence, wall.Seconds(), cpu.Seconds())
	return nil
}

// cut keeps the first and last lines of an output, none wider than a page.
func (n *newcomer) cut(text []byte) string {
	text = bytes.ReplaceAll(text, []byte(n.dir), []byte("."))
	var all []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line[strings.LastIndexByte(strings.TrimRight(line, "\r\n"), '\r')+1:], "\r\n")
		if r := []rune(line); len(r) > 150 {
			line = string(r[:149]) + "…"
		}
		all = append(all, line)
	}
	if len(all) > n.lines {
		head, tail := n.lines/2, n.lines-n.lines/2
		all = append(append(all[:head:head], fmt.Sprintf("… %d lines …", len(all)-n.lines)), all[len(all)-tail:]...)
	}
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
