package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/timegan/selection"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"planegym": main, "recording": recording, "capture": capture})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// recording is a command of the scripts: FILE ROWS SEED writes a CSV with the
// published columns.
func recording() {
	if err := writeRecording(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeRecording(file, rows, seed string) error {
	n, err := strconv.Atoi(rows)
	if err != nil {
		return err
	}
	s, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	t := selection.Table{Columns: selection.Columns}
	for i := range n {
		k := rng.Key{Seed: s, A: uint32(i), Purpose: rng.Start}
		depth := float64(k.Intn(0, 20))
		t.Values = append(t.Values, depth, 50+300*depth, depth/2, 0, 57, 0, 0, 56, 0, float64(i*3%40), 1867, 24, float64(400*i))
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := t.Write(f, 0); err != nil {
		return err
	}
	return f.Close()
}
