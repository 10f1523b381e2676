// Command faults injects the faults that a long training run meets into a server,
// and prints the outcome: go run ./bench/faults [--long] [--only name]. It builds and
// starts the server itself, as a process of its own, so that it can be killed
// and its memory measured. Figures and criteria are in env/ws/FAULTS.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	long := flag.Bool("long", false, "the full times: an hour of soak, more kills")
	lasts := flag.Duration("soak", 0, "how long the soak takes (10m, with --long 1h)")
	only := flag.String("only", "", "one fault by name")
	profiles := flag.String("profiles", "", "folder for the metrics of the soak's server, every minute, and a heap profile of its end")
	flag.Parse()
	dir, err := os.MkdirTemp("", "faults")
	if err == nil {
		defer os.RemoveAll(dir)
		err = run(dir, bench{long: *long, soak: *lasts, profiles: *profiles}, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
}

// fault is one thing done to a server. It gives the figure that it measured.
type fault struct {
	name, criterion string
	do              func(b *bench) (figure string, pass bool, err error)
}

var faults = []fault{
	{"cuts", "1,000 random cuts with resume: bit-identical", cuts},
	{"kills", "server killed and restarted with a journal: ≥ 99 % of sessions resume bit-identical, none differs", kills},
	{"drain", "SIGTERM with 100 sessions: readyz 503, 1001, every executed step answered, exit 0 in ≤ 10 s", drain},
	{"connects", "10k connects at capacity: refused ≤ 50 ms p99, RSS back to +10 % in 60 s, no goroutine left", connects},
	{"oversize", "1 MiB + 1: close 1009, RSS growth < 4 MiB", oversize},
	{"neighbour-malformed", "malformed frames: answered ≤ 100 ms p99, a neighbour's p99 ± 10 %", malformed},
	{"neighbour-slow", "slow readers: others lose < 5 % of steps/s", slow},
	{"idle", "10k idle sessions ≤ 300 MiB", idle},
	{"soak", "64 sessions with random faults: live heap and mapped memory, which bounds RSS, grow < 1 MiB/h", soak},
}

// bench is where the faults are done.
type bench struct {
	dir      string // of this fault
	bin      string
	long     bool
	soak     time.Duration
	profiles string // "": none
}

func run(dir string, given bench, only string) error {
	bin := filepath.Join(dir, "planegym")
	build := exec.Command("go", "build", "-o", bin, "./cmd/planegym")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build, from the root of the repository: %w", err)
	}
	failed, known := 0, false
	for _, f := range faults {
		if only != "" && f.name != only {
			continue
		}
		known = true
		b := &given
		b.dir, b.bin = filepath.Join(dir, f.name), bin
		if err := os.Mkdir(b.dir, 0o755); err != nil {
			return err
		}
		start := time.Now()
		figure, pass, err := f.do(b)
		verdict := "pass"
		if err != nil {
			figure, pass = "error: "+err.Error(), false
		}
		if !pass {
			verdict = "FAIL"
			failed++
		}
		fmt.Printf("%s\t%s\n\tcriterion: %s\n\tfigure:    %s\n\t%.0f s\n", verdict, f.name, f.criterion, figure, time.Since(start).Seconds())
	}
	switch {
	case !known:
		return fmt.Errorf("no fault %q", only)
	case failed > 0:
		return fmt.Errorf("%d did not pass", failed)
	}
	return nil
}
