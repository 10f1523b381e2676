package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"planegym": main, "recording": recording, "grid": grid, "capture": capture})
}

func TestScripts(t *testing.T) {
	data := os.Getenv("PLANEGYM_DATA")
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: func(e *testscript.Env) error { e.Setenv("RECORDINGS", data); return nil },
		Condition: func(c string) (bool, error) {
			switch c {
			case "recordings":
				return data != "", nil
			case "gpu":
				n, _ := driver.New().Count() // an error is none
				return n > 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", c)
		},
	})
}

// recording is a command of the scripts: FILE ROWS SEED writes a CSV with the
// published columns.
func recording() {
	if err := writeRecording(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// grid is a command of the scripts: FILE LIMIT SECONDS writes a recording on
// the grid, whose switch was not measured in every third second.
func grid() {
	if err := writeGrid(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeGrid(file, limit, seconds string) error {
	l, err := strconv.Atoi(limit)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	var fields []telemetry.Field
	for _, c := range selection.Columns {
		f, ok := telemetry.Canonical(c)
		if f.Name == "calc_cum" {
			f, ok = telemetry.Canonical("calc_rate")
		}
		if !ok {
			return fmt.Errorf("%s is no column", c)
		}
		fields = append(fields, f)
	}
	var values []float32
	var valid []bool
	for t := range n {
		depth := float32(rng.Key{Seed: uint64(l), A: uint32(t), Purpose: rng.Start}.Intn(0, l/2))
		fps, kbps := float32(18), float32(639)
		if t/60%2 == 1 {
			fps, kbps = 30, 3312
		}
		values = append(values, depth, 50+300*depth, depth, 0, 57+depth/2, 0, 0, 56+depth/3, 0, float32(10+t*3%4), kbps, fps, kbps/8)
		for k := range fields {
			valid = append(valid, k > 8 || t%3 > 0)
		}
	}
	d, err := telemetry.NewDataset(fields, l, time.Unix(0, 0), values, valid)
	if err != nil {
		return err
	}
	return d.WriteCSV(file)
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
