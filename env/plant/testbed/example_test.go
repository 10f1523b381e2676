package testbed_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Emulate 10 s of the tutorial's testbed under a queue limit of 32 packets at
// each of its three switches, and write the player's log.
func Example() {
	warmup := 0
	t, err := testbed.New(testbed.Config{WarmupS: &warmup})
	if err != nil {
		panic(err)
	}
	log := t.Keep(0)
	var w telemetry.Window
	w.Size(1, 10, len(t.Columns()))
	if err := t.Reset(context.Background(), []int{0}, []uint64{1}, []p4.Limit{32, 32, 32}, &w); err != nil {
		panic(err)
	}
	var dash bytes.Buffer
	if err := log.WriteDASH(&dash, time.Unix(0, 0)); err != nil {
		panic(err)
	}
	fmt.Println(t.Switches(), "switches,", log.Seconds(), "s, limit", log.Limit())
	fmt.Println("first column:", t.Columns()[0].Name)
	fmt.Println("header:", strings.SplitN(dash.String(), "\n", 2)[0])
	// Output:
	// 3 switches, 10 s, limit 32
	// first column: enq_qdepth1
	// header: timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate;stall_s
}
