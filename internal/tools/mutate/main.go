// Mutate changes a package's code in one small place at a time and runs the
// package's own tests against each change. A change that they do not notice
// survives: it is a line that no test holds to anything.
//
//	go run -C internal/tools ./mutate -n 100 -seed 1,2,3 ./agent ./timegan
//
// Nothing in the working tree is written: mutants are compiled by the go
// command's -overlay. Equal seeds and equal code give equal mutants. A change
// that does not compile is not a mutant, and another is drawn in its place.
// All mutants of a package are compiled at once, see weaver, and of the tests
// those run that meet the mutant; -each compiles every one by itself and runs
// all tests, which takes ten times as long. Tests run with -short, and lock
// mutants under the race detector, which is what sees them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	var r run
	n := flag.Int("n", 100, "mutants of each package")
	var seeds seedList
	flag.Var(&seeds, "seed", "draws the mutants; several, comma between, one after the other (default 1)")
	flag.StringVar(&r.root, "root", "../..", "folder of the module under test")
	at := flag.String("at", "", "only mutants at these places: FILE:LINE, comma between; FILE is from the root")
	list := flag.Bool("list", false, "print the mutants and run none")
	asJSON := flag.Bool("json", false, "print a JSON object for each package")
	flag.DurationVar(&r.limit, "limit", 0, "time for a mutant's tests; default: 4 times what they take, 20 s at least")
	flag.BoolVar(&r.each, "each", false, "compile every mutant by itself, and run all tests")
	verbose := flag.Bool("v", false, "print every mutant, not the survivors alone")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: go run -C internal/tools ./mutate [flags] PACKAGE...\n\nA package is named as from the root of the module, such as ./agent.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if len(seeds) == 0 {
		seeds = seedList{1}
	}
	survived := false
	for _, pkg := range flag.Args() {
		err := r.pkg(pkg, *n, seeds, *at, *list, func(m mutant) {
			if !*asJSON && (*list || *verbose || m.Outcome == survives) {
				fmt.Printf("%s\t%s\n", m.Outcome, m)
			}
		}, func(s summary) error {
			survived = survived || s.Killed < len(s.Mutants)
			if *asJSON {
				return json.NewEncoder(os.Stdout).Encode(s)
			}
			_, err := fmt.Printf("%s: seed %d: %d of %d mutants killed (%.0f %%), %d of %d places in the package; %s\n", pkg, s.Seed, s.Killed, len(s.Mutants),
				100*float64(s.Killed)/float64(max(len(s.Mutants), 1)), len(s.Mutants), s.Places, s.byOperator())
			return err
		})
		if err != nil {
			fmt.Fprintf(os.Stderr, "mutate: %s: %v\n", pkg, err)
			os.Exit(1)
		}
	}
	if survived {
		os.Exit(3)
	}
}

// seedList is a flag of seeds.
type seedList []uint64

func (s *seedList) String() string { return fmt.Sprint(*s) }

func (s *seedList) Set(text string) error {
	for _, word := range strings.Split(text, ",") {
		seed, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a seed", word)
		}
		*s = append(*s, seed)
	}
	return nil
}

// leastLimit is the time that a mutant's tests have at least.
const leastLimit = 20 * time.Second

// Outcomes of a mutant.
const (
	killed   = "killed"
	timedOut = "timed out" // killed, too
	survives = "survives"
)

// summary is what came of a package.
type summary struct {
	Package string   `json:"package"`
	Seed    uint64   `json:"seed"`
	Places  int      `json:"places"` // where it could be changed
	Killed  int      `json:"killed"`
	Mutants []mutant `json:"mutants"`
}

func (s summary) byOperator() string {
	var names, out []string
	all, dead := map[string]int{}, map[string]int{}
	for _, m := range s.Mutants {
		if all[m.Operator] == 0 {
			names = append(names, m.Operator)
		}
		all[m.Operator]++
		if m.Outcome != survives {
			dead[m.Operator]++
		}
	}
	slices.Sort(names)
	for _, n := range names {
		out = append(out, fmt.Sprintf("%s %d/%d", n, dead[n], all[n]))
	}
	return strings.Join(out, ", ")
}

// run is how mutants are run.
type run struct {
	root  string
	limit time.Duration
	each  bool
}

// pkg runs the mutants of a package that each seed draws: report is called with each, done with what came of a seed.
func (r *run) pkg(pkg string, n int, seeds []uint64, at string, list bool, report func(mutant), done func(summary) error) error {
	root, err := filepath.Abs(r.root)
	if err != nil {
		return err
	}
	out, err := r.command("list", "-f", `{{.Dir}}{{range .GoFiles}} {{.}}{{end}}`, pkg).Output()
	if err != nil {
		return fmt.Errorf("go list: %w", message(err))
	}
	dir, names, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	var ordered []mutant
	var sources []string
	for _, name := range strings.Fields(names) {
		sources = append(sources, filepath.Join(dir, name))
		found, err := sites(root, filepath.Join(dir, name))
		if err != nil {
			return err
		}
		ordered = append(ordered, found...)
	}
	for i := range ordered {
		ordered[i].id = i
	}
	drawn := func(seed uint64) []mutant {
		all := slices.Clone(ordered)
		draw(all, seed, pkg)
		if at != "" {
			all = slices.DeleteFunc(all, func(m mutant) bool {
				return !slices.Contains(strings.Split(at, ","), fmt.Sprintf("%s:%d", m.File, m.Line))
			})
		}
		return all
	}
	if at != "" {
		n = len(ordered)
	}
	if list {
		for _, seed := range seeds {
			all := drawn(seed)
			for _, m := range all[:min(n, len(all))] {
				report(m)
			}
		}
		return nil
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	idle, took, err := r.baseline(pkg, dir, work)
	if err != nil {
		return err
	}
	var w *woven
	if !r.each {
		if w, err = r.weave(pkg, dir, work, sources, ordered); err != nil {
			return err
		}
	}
	limit := r.limit
	if limit == 0 {
		limit = max(4*took, leastLimit)
	}
	outcomes := map[int]string{} // by id, of all seeds
	for _, seed := range seeds {
		s := summary{Package: pkg, Seed: seed, Places: len(ordered)}
		for _, m := range drawn(seed) {
			if len(s.Mutants) == n {
				break
			}
			outcome, known := outcomes[m.id]
			if !known {
				if w != nil {
					if outcome, known, err = w.outcome(m); err != nil {
						return err
					}
				}
				if !known {
					if outcome, err = r.mutant(m, pkg, dir, work, idle, limit); err != nil {
						return err
					}
				}
				outcomes[m.id] = outcome
			}
			if m.Outcome = outcome; outcome == "" { // does not compile
				continue
			}
			if outcome != survives {
				s.Killed++
			}
			s.Mutants = append(s.Mutants, m)
			report(m)
		}
		if err := done(s); err != nil {
			return err
		}
	}
	return nil
}

// draw puts mutants in the order that a seed draws.
func draw(all []mutant, seed uint64, pkg string) {
	h := fnv.New64a()
	h.Write([]byte(filepath.ToSlash(filepath.Clean(pkg))))
	rnd := rand.New(rand.NewPCG(seed, h.Sum64()))
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
}

func (r *run) command(args ...string) *exec.Cmd {
	c := exec.Command("go", args...)
	c.Dir = r.root
	return c
}

// message is err with what the command wrote.
func message(err error) error {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return fmt.Errorf("%w\n%s", err, e.Stderr)
	}
	return err
}

// baseline runs the tests as they are: which lines of code they do not execute,
// by file name, and how long they take.
func (r *run) baseline(pkg, dir, work string) (idle map[string]map[int]bool, took time.Duration, err error) {
	binary, profile := filepath.Join(work, "baseline.test"), filepath.Join(work, "cover.out")
	if out, err := r.command("test", "-c", "-cover", "-covermode=set", "-o", binary, pkg).CombinedOutput(); err != nil {
		return nil, 0, fmt.Errorf("the tests do not compile: %w\n%s", err, out)
	}
	began := time.Now()
	if ok, out := execute(nil, binary, dir, 10*time.Minute, false, "-test.coverprofile="+profile); !ok {
		return nil, 0, fmt.Errorf("the tests fail before anything is changed:\n%s", out)
	}
	took = time.Since(began)
	text, err := os.ReadFile(profile)
	return unexecuted(string(text)), took, err
}

// unexecuted reads a coverage profile: lines of
//
//	path/file.go:from.column,to.column statements count
//
// A line that belongs to no block, such as that of a case, may be executed.
func unexecuted(profile string) map[string]map[int]bool {
	idle, busy := map[string]map[int]bool{}, map[string]map[int]bool{}
	line := func(x string) int { l, _, _ := strings.Cut(x, "."); n, _ := strconv.Atoi(l); return n }
	for _, row := range strings.Split(profile, "\n") {
		path, rest, ok := strings.Cut(row, ":")
		span, count, more := strings.Cut(rest, " ")
		from, to, pair := strings.Cut(span, ",")
		if !ok || !more || !pair {
			continue
		}
		name, into := filepath.Base(path), busy
		if strings.HasSuffix(count, " 0") {
			into = idle
		}
		if into[name] == nil {
			into[name] = map[int]bool{}
		}
		for l := line(from); l <= line(to); l++ {
			into[name][l] = true
		}
	}
	for name, lines := range idle {
		for l := range lines {
			if busy[name][l] {
				delete(lines, l)
			}
		}
	}
	return idle
}

// mutant runs the tests against m. The outcome is "" where it does not compile.
func (r *run) mutant(m mutant, pkg, dir, work string, idle map[string]map[int]bool, limit time.Duration) (string, error) {
	src, err := os.ReadFile(m.path)
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(m.path)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(work, "mutant.test")
	compiler, err := r.compiler(pkg, work, binary, map[string][]byte{path: m.apply(src)}, m.race)
	if err != nil {
		return "", err
	}
	if compiler.Run() != nil {
		return "", nil
	}
	if idle[filepath.Base(m.path)][m.Line] {
		return survives, nil
	}
	began := time.Now()
	ok, _ := execute(nil, binary, dir, limit, !m.race)
	switch {
	case ok:
		return survives, nil
	case time.Since(began) >= limit:
		return timedOut, nil
	}
	return killed, nil
}

// compiler compiles pkg's tests with files in place of those of the same path.
func (r *run) compiler(pkg, work, binary string, files map[string][]byte, race bool, flags ...string) (*exec.Cmd, error) {
	replace := map[string]string{}
	for path, src := range files {
		replace[path] = filepath.Join(work, "overlay_"+filepath.Base(path))
		if err := os.WriteFile(replace[path], src, 0o600); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(work, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return nil, err
	}
	args := append([]string{"test", "-c", "-overlay", overlay, "-ldflags=-s -w", "-o", binary}, flags...)
	if race {
		args = append(args, "-race")
	}
	return r.command(append(args, pkg)...), nil
}

// execute runs a test binary with more in its environment, a time limit and, where
// it is bounded, 8 GiB of address space: a mutant may go on for ever, or eat all there is.
func execute(more []string, binary, dir string, limit time.Duration, bounded bool, args ...string) (ok bool, output []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	shell := `ulimit -c 0; `
	if bounded {
		shell += `ulimit -v 8388608; `
	}
	args = append([]string{"-c", shell + `exec "$0" "$@"`, binary, "-test.short", "-test.failfast", "-test.timeout=0"}, args...)
	c := exec.CommandContext(ctx, "sh", args...)
	c.Dir, c.Env = dir, append(os.Environ(), more...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 2 * time.Second
	output, err := c.CombinedOutput()
	if c.Process != nil {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // what it left behind
	}
	return err == nil, output
}
