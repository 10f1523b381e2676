// Command tables makes the measured tables of README.md, timegan/DESIGN.md and
// scenarios/TRANSFER.md anew, and writes them into those documents.
//
//	go run ./bench/tables                  which tables there are, and where
//	go run ./bench/tables -n hours         the commands that a table is made by
//	go run ./bench/tables hours            run them, and write the table into its document
//	go run ./bench/tables -quick hours     a small version of it, printed
//	go run ./bench/tables -check           each table's markers are in its document
//
// Each table is made by commands that you can run yourself: those of planegym, and
// those in the folder bench. A command writes its result into -work/TABLE. The next
// run skips commands whose result is there, so you can stop a run and start it again;
// delete a result to make it again. Recordings are read from the folder that
// PLANEGYM_DATA names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	var r runner
	flag.StringVar(&r.work, "work", "tables.work", "folder of finished pieces")
	flag.BoolVar(&r.quick, "quick", false, "few seeds and short trainings, in a folder of their own; the table is printed, not written")
	show := flag.Bool("n", false, "print the commands, run nothing")
	flag.BoolVar(&r.kept, "kept", false, "run nothing: make the table of the pieces that are there")
	check := flag.Bool("check", false, "check that documents have the markers of all tables")
	root := flag.String("root", ".", "the repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r.root = *root
	if err := run(ctx, &r, os.Stdout, *show, *check, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "tables:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, r *runner, out io.Writer, show, check bool, names []string) error {
	if check {
		return checkDocuments(r.root)
	}
	if len(names) == 0 {
		for _, t := range tables {
			fmt.Fprintf(out, "%-12s %-22s %s\n", t.name, t.doc, t.about)
		}
		return nil
	}
	for _, name := range names {
		t, err := find(name)
		if err != nil {
			return err
		}
		if show {
			for _, s := range t.steps(r.quick) {
				fmt.Fprintln(out, s)
			}
			continue
		}
		text, err := r.make(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if r.quick {
			fmt.Fprint(out, text)
			continue
		}
		if err := rewrite(r.root, t, text); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: written into %s\n", name, t.doc)
	}
	return nil
}

// table is one table of a document.
type table struct {
	name, doc, about string
	steps            func(quick bool) []step
	render           func(dir string, quick bool) (string, error) // Markdown, from the pieces in dir
}

func find(name string) (table, error) {
	var names []string
	for _, t := range tables {
		if t.name == name {
			return t, nil
		}
		names = append(names, t.name)
	}
	return table{}, fmt.Errorf("there is no table %q, only %s", name, strings.Join(names, ", "))
}

// dataFolder is the folder of the published recordings.
func dataFolder() (string, error) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		return "", errNoData
	}
	return filepath.Abs(dir)
}

var errNoData = errors.New("PLANEGYM_DATA is not set: it names the folder of the published recordings")
