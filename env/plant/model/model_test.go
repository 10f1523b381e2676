package model_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// walk is a model whose LBO is a random walk, upwards under large limits.
type walk struct {
	lbo     []float32
	seconds []uint32
	seeds   []uint64
}

func newWalk(n int) *walk {
	return &walk{make([]float32, n), make([]uint32, n), make([]uint64, n)}
}

func (w *walk) Num() int                   { return len(w.lbo) }
func (w *walk) Limits() (int32, int32)     { return 32, 64 }
func (w *walk) Columns() []telemetry.Field { return oneSwitch }

func (w *walk) Reset(rows []int, seeds []uint64) error {
	for i, r := range rows {
		w.lbo[r], w.seconds[r], w.seeds[r] = 10, 0, seeds[i]
	}
	return nil
}

func (w *walk) Step(ctx context.Context, rows []int, limit []int32, out *telemetry.Window) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, r := range rows {
		values, valid := out.Row(i)
		for t := range out.Seconds {
			x, _ := rng.Key{Seed: w.seeds[r], B: w.seconds[r], Purpose: rng.SampleNoise}.Normal(0)
			w.lbo[r] = max(w.lbo[r]+float32(x)+float32(limit[i]-48)/64, 0)
			w.seconds[r]++
			copy(values[t*out.Fields:], []float32{float32(t), 100, 1, w.lbo[r], 30, 3312})
		}
		for j := range valid {
			valid[j] = true
		}
	}
	return nil
}

func (w *walk) Snapshot(row int, dst []byte) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(w.lbo[row]))
	dst = binary.LittleEndian.AppendUint32(dst, w.seconds[row])
	return binary.LittleEndian.AppendUint64(dst, w.seeds[row]), nil
}

func (w *walk) Restore(row int, src []byte) error {
	if len(src) != 16 {
		return errors.New("not 16 bytes")
	}
	w.lbo[row] = math.Float32frombits(binary.LittleEndian.Uint32(src))
	w.seconds[row] = binary.LittleEndian.Uint32(src[4:])
	w.seeds[row] = binary.LittleEndian.Uint64(src[8:])
	return nil
}

func TestSyntheticContract(t *testing.T) {
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep, env.Disabled} {
		envtest.Check(t, func(t *testing.T) env.Vector {
			return open(t, queues.Config{Autoreset: mode, MaxSteps: 40}, model.New(newWalk(4)), 4)
		})
	}
}

// One simulation goes on through a change of limit, which steers it.
func TestSyntheticGoesOn(t *testing.T) {
	v := open(t, queues.Config{}, model.New(newWalk(1)), 1)
	var b env.Batch
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	lbo := func() float32 { return v.(env.Informer).Info(0, nil)[0] }
	ends := make([]float32, 2)
	for action := range int32(2) {
		for range 20 {
			before := lbo()
			if err := v.Step(context.Background(), nil, []int32{1 - action}, &b); err != nil {
				t.Fatal(err)
			}
			if d := lbo() - before; math.Abs(float64(d)) > 20 {
				t.Errorf("LBO jumped by %v", d)
			}
		}
		ends[action] = lbo()
	}
	if ends[0] < 20 || ends[1] > ends[0] {
		t.Errorf("LBO after limit 64, then 32: %v", ends)
	}
}

func TestSyntheticRefuses(t *testing.T) {
	var b env.Batch
	var row *env.RowError
	v := open(t, queues.Config{Limits: []p4.Limit{65, 64}}, model.New(newWalk(2)), 2)
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	err := v.Step(context.Background(), nil, []int32{1, 0}, &b)
	if !errors.As(err, &row) || row.Row != 1 || !strings.Contains(err.Error(), "limit 65: the model was trained under 32…64") {
		t.Errorf("limit 65: %v", err)
	}
	v = open(t, queues.Config{}, model.New(newWalk(2)), 3)
	if err := v.Reset(context.Background(), nil, nil, &b); !errors.As(err, &row) || row.Row != 2 {
		t.Errorf("3 rows of a model of 2: %v", err)
	}
	p := model.New(newWalk(1))
	if err := p.Restore(0, []byte("x")); !errors.Is(err, env.ErrBadSnapshot) {
		t.Errorf("restore of 1 byte: %v", err)
	}
	if got := p.Switches(); got != 1 || !slices.Equal(p.Columns(), oneSwitch) {
		t.Errorf("%d switches, columns %v", got, p.Columns())
	}
}

// oneSwitch is what the model generates.
var oneSwitch = []telemetry.Field{
	{Name: "enq_qdepth1"}, {Name: "deq_timedelta1"}, {Name: "deq_qdepth1"}, {Name: "lbo_s"}, {Name: "fps"}, {Name: "rep_kbps"},
}

// sixtyFourth scales every column by 1/64.
type sixtyFourth struct{}

func (sixtyFourth) Scale(_ int, x float32) float32 { return x / 64 }

func open(t *testing.T, cfg queues.Config, plant env.Plant, n int) env.Vector {
	t.Helper()
	v, err := queues.New(cfg, plant, n, sixtyFourth{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
