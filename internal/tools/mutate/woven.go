package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// woven is a package with all of its mutants in one test binary.
type woven struct {
	r        *run
	pkg, dir string
	work     string
	name     string            // of the package
	files    map[string][]byte // by path, woven
	off      map[int]bool      // mutants that are not woven in
	binary   string
	race     string // the same under the race detector, "" before it is built
	tests    []string
	took     []time.Duration // by test, alone
	met      [][]bool        // by test, the mutants whose place it meets
}

// quick is how long a test may take that runs before slower ones.
const quick = 200 * time.Millisecond

// weave compiles all, the mutants of a package with these sources, in one, and runs its
// tests one by one to see which mutants each meets.
func (r *run) weave(pkg, dir, work string, sources []string, all []mutant) (*woven, error) {
	w := &woven{r: r, pkg: pkg, dir: dir, work: work, off: map[int]bool{}}
	if err := w.write(sources, all); err != nil {
		return nil, err
	}
	explore, err := w.build("explore", true, false)
	if err != nil {
		return nil, err
	}
	if w.binary, err = w.build("woven", false, false); err != nil {
		return nil, err
	}
	list, err := exec.Command(explore, "-test.list", ".").Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", message(err))
	}
	reached := filepath.Join(work, "reached")
	for _, test := range strings.Fields(string(list)) {
		if strings.HasPrefix(test, "Benchmark") {
			continue
		}
		if err := os.WriteFile(reached, make([]byte, len(all)+2), 0o600); err != nil {
			return nil, err
		}
		began := time.Now()
		if ok, out := execute([]string{"MUTANT_REACHED=" + reached}, explore, dir, 10*time.Minute, true, "-test.run", "^"+test+"$"); !ok {
			return nil, fmt.Errorf("%s fails alone before anything is changed:\n%s", test, out)
		}
		w.tests, w.took = append(w.tests, test), append(w.took, time.Since(began))
		b, err := os.ReadFile(reached)
		if err != nil {
			return nil, err
		}
		met := make([]bool, len(all))
		for i := range met {
			met[i] = b[i] != 0
		}
		w.met = append(w.met, met)
	}
	return w, nil
}

// write weaves the files, without the mutants that do not compile.
func (w *woven) write(names []string, all []mutant) error {
	out, err := w.r.command("list", "-export", "-deps", "-json=ImportPath,Export,Name,Dir", w.pkg, "os", "strconv", "syscall").Output() // what helpers need, too
	if err != nil {
		return fmt.Errorf("go list: %w", message(err))
	}
	exports, path := map[string]string{}, ""
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Export, Name, Dir string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		exports[p.ImportPath] = p.Export
		if p.Dir == w.dir {
			path, w.name = p.ImportPath, p.Name
		}
	}
	byFile := map[string][]int{}
	for i, m := range all {
		byFile[m.path] = append(byFile[m.path], i)
	}
	check := func(read func(name string) ([]byte, error), names []string, info *types.Info, report func(types.Error)) (*token.FileSet, map[string]*ast.File, *types.Package, error) {
		files, parsed := token.NewFileSet(), map[string]*ast.File{}
		var list []*ast.File
		for _, name := range names {
			src, err := read(name)
			if err != nil {
				return nil, nil, nil, err
			}
			f, err := parser.ParseFile(files, name, src, parser.ParseComments)
			if err != nil {
				return nil, nil, nil, err
			}
			parsed[name], list = f, append(list, f)
		}
		c := types.Config{Error: func(err error) {
			if e := (types.Error{}); errors.As(err, &e) {
				report(e)
			}
		}, Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
		p, _ := c.Check(path, files, list, info)
		return files, parsed, p, nil
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	var wrong error
	files, parsed, pkg, err := check(os.ReadFile, names, info, func(e types.Error) { wrong = errors.Join(wrong, e) })
	if err = errors.Join(err, wrong); err != nil {
		return err
	}
	for range 30 {
		w.files = map[string][]byte{}
		for name, ids := range byFile {
			src, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			v := newWeaver(src, files, parsed[name], info, pkg)
			for _, i := range ids {
				if second(all, i) {
					w.off[i] = w.off[i-1]
				} else if !w.off[i] && !v.mutant(all[i], i) {
					w.off[i] = true
				}
			}
			w.files[name] = v.source()
		}
		helper := filepath.Join(w.dir, "mutant_helpers.go")
		w.files[helper] = helpers(w.name, true)
		refused := map[int]bool{}
		_, _, _, err := check(func(name string) ([]byte, error) {
			if src, ok := w.files[name]; ok {
				return src, nil
			}
			return os.ReadFile(name)
		}, append(slices.Clone(names), helper), nil, func(e types.Error) {
			at := e.Fset.Position(e.Pos)
			for _, i := range byFile[at.Filename] { // lines are as they were
				if all[i].Line == at.Line && !w.off[i] {
					refused[i] = true
				}
			}
			wrong = e
		})
		if err != nil {
			return err
		}
		if len(refused) == 0 {
			return wrong
		}
		wrong = nil
		maps.Copy(w.off, refused)
	}
	return errors.New("the woven package does not compile")
}

// build compiles the woven tests.
func (w *woven) build(name string, explore, race bool) (string, error) {
	w.files[filepath.Join(w.dir, "mutant_helpers.go")] = helpers(w.name, explore)
	binary := filepath.Join(w.work, name+".test")
	compiler, err := w.r.compiler(w.pkg, w.work, binary, w.files, race, "-vet=off")
	if err != nil {
		return "", err
	}
	if out, err := compiler.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the woven package does not compile: %w\n%s", err, out)
	}
	return binary, nil
}

// outcome runs the tests that meet a mutant, the quick ones first. ok is false
// where it is not woven in.
func (w *woven) outcome(m mutant) (outcome string, ok bool, err error) {
	if w.off[m.id] {
		return "", false, nil
	}
	binary := w.binary
	if m.race {
		if w.race == "" {
			if w.race, err = w.build("race", false, true); err != nil {
				return "", false, err
			}
		}
		binary = w.race
	}
	var groups [2][]string
	var took [2]time.Duration
	for i, met := range w.met {
		if met[m.id] {
			g := 0
			if w.took[i] > quick {
				g = 1
			}
			groups[g], took[g] = append(groups[g], w.tests[i]), took[g]+w.took[i]
		}
	}
	for g, tests := range groups {
		if len(tests) == 0 {
			continue
		}
		limit := w.r.limit
		if limit == 0 {
			limit = leastLimit + 4*took[g]
		}
		began := time.Now()
		passed, _ := execute([]string{fmt.Sprint("MUTANT=", m.id)}, binary, w.dir, limit, !m.race, "-test.run", "^("+strings.Join(tests, "|")+")$")
		switch {
		case passed:
		case time.Since(began) >= limit:
			return timedOut, true, nil
		default:
			return killed, true, nil
		}
	}
	return survives, true, nil
}
