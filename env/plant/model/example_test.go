package model_test

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/telemetry"
)

// half is the simplest possible simulator: a queue that is always half full. A
// trained one comes from package timegan.
type half struct{ second []uint32 }

func (h *half) Num() int               { return len(h.second) }
func (h *half) Limits() (lo, hi int32) { return 32, 64 }
func (h *half) Columns() []telemetry.Field {
	return []telemetry.Field{{Name: "enq_qdepth1"}, {Name: "deq_timedelta1"}, {Name: "deq_qdepth1"}, {Name: "lbo_s"}, {Name: "fps"}, {Name: "rep_kbps"}}
}

func (h *half) Reset(rows []int, seeds []uint64) error {
	for _, row := range rows {
		h.second[row] = 0
	}
	return nil
}

func (h *half) Step(_ context.Context, rows []int, limit []int32, out *telemetry.Window) error {
	for i, row := range rows {
		values, valid := out.Row(i)
		for t := range out.Seconds {
			depth := float32(limit[i]) / 2
			copy(values[t*out.Fields:], []float32{depth, 100 * depth, depth, float32(h.second[row]), 24, 1867})
			h.second[row]++
		}
		for k := range valid {
			valid[k] = true
		}
	}
	return nil
}

func (h *half) Snapshot(row int, dst []byte) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(dst, h.second[row]), nil
}

func (h *half) Restore(row int, src []byte) error {
	h.second[row] = binary.LittleEndian.Uint32(src)
	return nil
}

// Serve a simulator as the plant of an environment: the queue limit of the
// action is the condition on the simulator's next window.
func Example() {
	plant := model.New(&half{second: make([]uint32, 1)})
	v, err := queues.New(queues.Config{Observation: queues.Observation{Normalise: "none"}}, plant, 1, nil)
	if err != nil {
		panic(err)
	}
	defer v.Close()
	ctx := context.Background()
	var b env.Batch
	if err := v.Reset(ctx, nil, []uint64{1}, &b); err != nil {
		panic(err)
	}
	for _, action := range []int32{0, 1} {
		if err := v.Step(ctx, nil, []int32{action}, &b); err != nil {
			panic(err)
		}
		fmt.Println("limit", v.Spec().Limits[action], "largest depth", b.Obs[0])
	}
	// Output:
	// limit 32 largest depth 16
	// limit 64 largest depth 32
}
