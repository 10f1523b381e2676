package table_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Record a session of the emulated testbed as a table, and read it back.
func Example() {
	warmup := 0
	t, err := testbed.New(testbed.Config{WarmupS: &warmup})
	if err != nil {
		panic(err)
	}
	log := t.Keep(0)
	var w telemetry.Window
	w.Size(1, 5, len(t.Columns()))
	if err := t.Reset(context.Background(), []int{0}, []uint64{7}, []p4.Limit{32, 32, 64}, &w); err != nil {
		panic(err)
	}

	var file bytes.Buffer
	out := table.NewWriter(&file, t)
	if err := out.Add(log); err != nil {
		panic(err)
	}
	if err := out.Close(); err != nil {
		panic(err)
	}
	fields, switches, sessions, err := table.Decode(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		panic(err)
	}
	s := sessions[0]
	fmt.Println("seed", s.Seed, "limits of the first second:", s.Limits[:switches])
	fmt.Println(len(s.Values)/len(fields), "s of", len(fields), "columns")
	// Output:
	// seed 7 limits of the first second: [32 32 64]
	// 5 s of 14 columns
}
