package telemetry_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

func TestShares(t *testing.T) {
	fields := []telemetry.Field{}
	for _, name := range []string{"enq_qdepth1", "lbo_s", "fps", "rep_kbps"} {
		f, ok := telemetry.Canonical(name)
		if !ok {
			t.Fatal(name)
		}
		fields = append(fields, f)
	}
	valid := []bool{ // of three seconds
		true, false, true, true,
		true, false, false, true,
		true, false, false, true,
	}
	d, err := telemetry.NewDataset(fields, 32, time.Unix(0, 0), make([]float32, 12), valid)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Shares(), map[string]float64{"enq_qdepth1": 1, "lbo_s": 0, "fps": .3333, "rep_kbps": 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := d.DescribeShares(), "enq_qdepth1 rep_kbps 100 %, lbo_s never, fps 33.3 %"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if switches, player := d.Sides(); !switches || !player {
		t.Errorf("switches %v, player %v", switches, player)
	}
	bare, err := telemetry.NewDataset(fields[:2], 32, time.Unix(0, 0), make([]float32, 2), []bool{false, true})
	if err != nil {
		t.Fatal(err)
	}
	if switches, player := bare.Sides(); switches || !player {
		t.Errorf("switches %v, player %v", switches, player)
	}
}
