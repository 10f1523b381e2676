package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym/internal/atomicfile"
)

// step is a command that makes one piece. Its first word is planegym or a command
// of bench. {data} is the folder of recordings, {root} the repository, {out} the piece;
// a command without {out} prints it.
type step struct {
	out     string // file or folder, in the table's folder
	command string
	resume  string // added where an earlier run left a part of the piece; "": begin anew
}

// String is the command as a reader types it, in the table's folder.
func (s step) String() string {
	typed := strings.NewReplacer("{out}", s.out, "{data}", "$PLANEGYM_DATA", "{root}", "REPOSITORY").Replace(s.command)
	if strings.Contains(s.command, "{out}") {
		return typed
	}
	return typed + " > " + s.out
}

// runner makes pieces that are not there.
type runner struct {
	root, work  string
	quick, kept bool
	built       map[string]string // command: its binary
}

// make runs a table's steps as far as they are not done, and renders it.
func (r *runner) make(ctx context.Context, t table) (string, error) {
	dir := filepath.Join(r.work, t.name)
	if r.quick {
		dir = filepath.Join(r.work, "quick", t.name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	steps := t.steps(r.quick)
	if r.kept {
		return t.render(dir, r.quick)
	}
	for i, s := range steps {
		if _, err := os.Stat(filepath.Join(dir, s.out)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		fmt.Fprintf(os.Stderr, "%s %d of %d: %s\n", t.name, i+1, len(steps), s)
		if err := r.do(ctx, dir, s); err != nil {
			return "", fmt.Errorf("%s: %w", s, err)
		}
	}
	return t.render(dir, r.quick)
}

// do runs one step. The piece appears when it is complete.
func (r *runner) do(ctx context.Context, dir string, s step) error {
	data, err := dataFolder()
	if err != nil && strings.Contains(s.command, "{data}") {
		return err
	}
	root, err := filepath.Abs(r.root)
	if err != nil {
		return err
	}
	part := filepath.Join(filepath.Dir(s.out), "part-"+filepath.Base(s.out))
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(s.out)), 0o755); err != nil {
		return err
	}
	command := strings.NewReplacer("{data}", data, "{root}", root, "{out}", part).Replace(s.command)
	if _, err := os.Stat(filepath.Join(dir, part)); err == nil {
		if s.resume != "" {
			command += " " + s.resume
		} else if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			return err
		}
	}
	words := strings.Fields(command)
	binary, err := r.build(ctx, words[0])
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, words[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it keeps what is done
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	var printed bytes.Buffer
	cmd.Stdout = &printed
	if err := cmd.Run(); err != nil {
		return err
	}
	if strings.Contains(s.command, "{out}") {
		return os.Rename(filepath.Join(dir, part), filepath.Join(dir, s.out))
	}
	return atomicfile.Write(filepath.Join(dir, s.out), func(w io.Writer) error {
		_, err := w.Write(printed.Bytes())
		return err
	})
}

// build makes a command's binary of this repository's source, once.
func (r *runner) build(ctx context.Context, name string) (string, error) {
	if b := r.built[name]; b != "" {
		return b, nil
	}
	source := "./bench/" + name
	if name == "planegym" {
		source = "./cmd/planegym"
	}
	bin, err := filepath.Abs(filepath.Join(r.work, "bin", name))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, source)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	if r.built == nil {
		r.built = map[string]string{}
	}
	r.built[name] = bin
	return bin, nil
}
