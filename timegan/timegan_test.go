package timegan_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

var fields = []telemetry.Field{
	{Name: "enq_qdepth1", Unit: "packets"}, {Name: "deq_timedelta1", Unit: "us"}, {Name: "deq_qdepth1", Unit: "packets"},
	{Name: "lbo_s", Unit: "s"}, {Name: "fps", Unit: "1/s"}, {Name: "rep_kbps", Unit: "kbit/s"}, {Name: "calc_rate", Unit: "1/s"},
}

// recording is a player that fills and drains and a queue that is often
// empty; share of the switch's seconds are lost. Depth grows with the limit.
func recording(t testing.TB, limit, seconds int, lost float64) telemetry.Recording {
	t.Helper()
	var values []float32
	var valid []bool
	lbo := 10.
	for s := range seconds {
		key := rng.Key{Seed: uint64(limit), A: uint32(s), Purpose: rng.Start}
		depth := math.Floor(max(key.Float64(0)*float64(limit)/4-4, 0))
		lbo--
		if lbo < 10 {
			lbo += 4
		}
		top := s/60%2 == 1
		fps, kbps := 18., 639.
		if top {
			fps, kbps = 30, 3312
		}
		values = append(values, float32(depth), float32(100+50*depth), 0, float32(lbo), float32(fps), float32(kbps), float32(200+kbps/8))
		measured := key.Float64(1) >= lost
		for k := range fields {
			valid = append(valid, measured || k > 2)
		}
	}
	d, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry.Recording{Limit: limit, Data: d}
}

func training(t testing.TB, c timegan.Config, lost float64) timegan.Training {
	t.Helper()
	tr, err := timegan.NewTraining([]telemetry.Recording{recording(t, 32, 500, lost), recording(t, 64, 500, lost)}, telemetry.Train, c, 17)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func tiny() timegan.Config {
	return timegan.Config{Window: 8, Hidden: 6, Layers: 2, Noise: 4, Batch: 8, Embed: 30, Super: 10, Joint: 20, Seed: 3}
}

func fit(t testing.TB, c timegan.Config, o timegan.FitOptions) *timegan.Model {
	t.Helper()
	e := engine(t)
	m, err := timegan.Fit(context.Background(), c, e, training(t, c, .3), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func engine(t testing.TB) timegan.Engine {
	e := timegan.NewCPU(compute.Go, 1)
	t.Cleanup(func() { e.Close() })
	return e
}

func encoded(t testing.TB, m *timegan.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What was interrupted and resumed gives the bytes of what was not, wherever
// the interruption fell.
func TestResumeIsBitIdentical(t *testing.T) {
	want := encoded(t, fit(t, tiny(), timegan.FitOptions{Every: 7}))
	path := filepath.Join(t.TempDir(), "m.safetensors")
	var resume *timegan.Model
	e := engine(t)
	for _, stop := range []int{13, 33, 41, 52, 60} {
		ctx, cancel := context.WithCancel(context.Background())
		m, err := timegan.Fit(ctx, tiny(), e, training(t, tiny(), .3), timegan.FitOptions{
			Path: path, Every: 7, Interval: 1, Resume: resume,
			Report: func(p timegan.Progress) {
				if p.Done == stop && p.Done < p.Total {
					cancel()
				}
			},
		})
		cancel()
		if stop < 60 && !errors.Is(err, context.Canceled) || stop == 60 && err != nil {
			t.Fatalf("stop at %d: %v", stop, err)
		}
		if resume, err = timegan.ReadModel(path); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded(t, m), encoded(t, resume)) {
			t.Errorf("stop at %d: the checkpoint is not the model", stop)
		}
	}
	if !resume.Done() {
		t.Errorf("phase %v, update %d", resume.Phase, resume.Update)
	}
	if !bytes.Equal(encoded(t, resume), want) {
		t.Error("the resumed model differs from the uninterrupted one")
	}
}

func TestResumeRefuses(t *testing.T) {
	m := fit(t, tiny(), timegan.FitOptions{})
	other := tiny()
	other.Seed++
	for _, c := range []struct {
		want   string
		config timegan.Config
		change func(m *timegan.Model)
		lost   float64
	}{
		{"config", other, func(*timegan.Model) {}, .3},
		{"recordings", tiny(), func(*timegan.Model) {}, .2},
		{"engine", tiny(), func(m *timegan.Model) { m.Engine = "abacus" }, .3},
		{"weights only", tiny(), func(m *timegan.Model) { m.State, m.Phase = nil, timegan.Joint }, .3},
	} {
		r := *m
		c.change(&r)
		_, err := timegan.Fit(context.Background(), c.config, engine(t), training(t, c.config, c.lost), timegan.FitOptions{Resume: &r})
		if !errors.Is(err, timegan.ErrResume) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

func TestDivergenceIsNamed(t *testing.T) {
	c := tiny()
	e := engine(t)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	m := fit(t, c, timegan.FitOptions{})
	m.Phase, m.Update = timegan.Joint, 3
	for i := range m.Params {
		if strings.HasPrefix(m.Params[i].Name, "supervisor") {
			m.Params[i].Data[0] = float32(math.Inf(1))
		}
	}
	_, err := timegan.Fit(context.Background(), c, e, training(t, c, .3), timegan.FitOptions{Resume: m, Path: path})
	var d *timegan.DivergedError
	if !errors.As(err, &d) || d.Phase != timegan.Joint || d.Update != 3 || !strings.Contains(d.Tensor, ".") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a diverged model was written over the last good one")
	}
}

func TestFitRefuses(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(c *timegan.Config)
	}{
		{"hidden: -1", func(c *timegan.Config) { c.Hidden = -1 }},
		{"batch: 1 ", func(c *timegan.Config) { c.Batch = 1 }},
		{"learning_rate: NaN", func(c *timegan.Config) { c.LearningRate = math.NaN() }},
		{"clock: -2", func(c *timegan.Config) { c.Clock = -2 }},
		{"gaps", func(c *timegan.Config) { c.Latent = true }},
		{"windows of 8 seconds, window is 9", func(c *timegan.Config) { c.Window = 9 }},
	} {
		config := tiny()
		tr := training(t, config, .3)
		c.change(&config)
		if _, err := timegan.Fit(context.Background(), config, engine(t), tr, timegan.FitOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
}

// A checkpoint that is cut, changed in any of some hundred places, or not
// ours, is refused with a reason, never read as another model.
func TestDamagedCheckpoints(t *testing.T) {
	c := tiny()
	c.Embed, c.Super, c.Joint = 1, 1, 1
	good := encoded(t, fit(t, c, timegan.FitOptions{}))
	read := func(b []byte) error {
		_, err := timegan.DecodeModel(bytes.NewReader(b), int64(len(b)))
		return err
	}
	if err := read(good); err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(good); cut += 1 + len(good)/100 {
		if read(good[:cut]) == nil {
			t.Errorf("cut to %d of %d bytes: read", cut, len(good))
		}
	}
	header := 8 + int(binary.LittleEndian.Uint64(good))
	for at := header; at < len(good); at += 1 + (len(good)-header)/100 {
		b := slices.Clone(good)
		b[at] ^= 0x10
		if read(b) == nil {
			t.Errorf("byte %d changed: read", at)
		}
	}
	for _, c := range []struct{ old, new, want string }{
		{timegan.Format, "planegym.ddqn.v1   ", "format"},
		{`\"hidden\":6`, `\"hidden\":7`, "expected F32"},
		{`\"channels\":`, `\"chanels\":`, "chanels"},
		{"enq_qdepth1", "enq_qdepth9", "schema"},
	} {
		text := string(good[8:header])
		if !strings.Contains(text, c.old) {
			t.Fatalf("the header has no %q", c.old)
		}
		text = strings.Replace(text, c.old, c.new, 1)
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
		b = append(append(b, text...), good[header:]...)
		if err := read(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want it to say %q", c.new, c.old, err, c.want)
		}
	}
}

func simulator(t testing.TB, m *timegan.Model, n int) *timegan.Simulator {
	t.Helper()
	s, err := timegan.NewSimulator(n, []*timegan.Model{m}, []timegan.Engine{engine(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type same struct{}

func (same) Scale(_ int, x float32) float32 { return x / 64 }

func TestSyntheticPlantContract(t *testing.T) {
	m := fit(t, tiny(), timegan.FitOptions{})
	envtest.Check(t, func(t *testing.T) env.Vector {
		v, err := queues.New(queues.Config{Limits: []p4.Limit{32, 48, 64}, MaxSteps: 50}, model.New(simulator(t, m, 5)), 5, same{})
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}

// One model per limit: all advance in lock-step, the one in force is shown.
func TestLockStep(t *testing.T) {
	var models []*timegan.Model
	var engines []timegan.Engine
	c := tiny()
	for _, limit := range []int{32, 64} {
		tr, err := timegan.NewTraining([]telemetry.Recording{recording(t, limit, 500, .3)}, telemetry.Train, c, 17)
		if err != nil {
			t.Fatal(err)
		}
		e := engine(t)
		m, err := timegan.Fit(context.Background(), c, e, tr, timegan.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		models, engines = append(models, m), append(engines, e)
	}
	open := func() *timegan.Simulator {
		s, err := timegan.NewSimulator(1, models, engines)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	run := func(limits ...int32) []float32 {
		s := open()
		var w telemetry.Window
		w.Size(1, 1, len(s.Columns()))
		if err := s.Reset([]int{0}, []uint64{7}); err != nil {
			t.Fatal(err)
		}
		var all []float32
		for _, l := range limits {
			if err := s.Step(context.Background(), []int{0}, []int32{l}, &w); err != nil {
				t.Fatal(err)
			}
			all = append(all, w.Values...)
		}
		return all
	}
	n := len(models[0].Codec.Columns)
	a, b, mixed := run(32, 32, 32, 32), run(64, 64, 64, 64), run(32, 64, 64, 32)
	want := slices.Concat(a[:n], b[n:3*n], a[3*n:])
	if !slices.Equal(mixed, want) || slices.Equal(a, b) {
		t.Errorf("32, 64, 64, 32 shows %v, want %v", mixed, want)
	}
	lo, hi := open().Limits()
	if lo != 32 || hi != 64 {
		t.Errorf("limits %d…%d", lo, hi)
	}
	var w telemetry.Window
	w.Size(1, 1, n)
	if err := open().Step(context.Background(), []int{0}, []int32{48}, &w); err == nil || !strings.Contains(err.Error(), "no model of limit 48") {
		t.Errorf("limit 48: %v", err)
	}
}

// Limits by the second are the limit where they are all alike, and where they
// change the condition does, in training and in rollouts.
func TestLimitsThatChange(t *testing.T) {
	a := recording(t, 64, 500, .3)
	b := telemetry.Recording{Data: a.Data, Limits: slices.Repeat([]int{64}, 500)}
	windows := func(r telemetry.Recording) timegan.Windows {
		tr, err := timegan.NewTraining([]telemetry.Recording{recording(t, 32, 500, .3), r}, telemetry.Train, tiny(), 17)
		if err != nil {
			t.Fatal(err)
		}
		return tr.Windows
	}
	if x, y := windows(a), windows(b); !slices.Equal(x.Limit, y.Limit) || !slices.Equal(x.X, y.X) {
		t.Error("one limit, told by the second, gives other windows")
	}
	for s := range 250 {
		b.Limits[s] = 32
	}
	if w := windows(b); w.Limit[500+249] != 0 || w.Limit[500+250] != 1 {
		t.Errorf("conditions %v and %v at the change from 32 to 64", w.Limit[749], w.Limit[750])
	}
	sim := simulator(t, fit(t, tiny(), timegan.FitOptions{}), 1)
	sample := func(like func() ([]*telemetry.Dataset, error)) []float32 {
		d, err := like()
		if err != nil {
			t.Fatal(err)
		}
		v, ok := make([]float32, d[0].Len()*len(fields)), make([]bool, d[0].Len()*len(fields))
		d[0].Copy(0, v, ok)
		return v
	}
	ctx, seeds := context.Background(), []uint64{1}
	mixed := sample(func() ([]*telemetry.Dataset, error) { return timegan.SampleLike(ctx, sim, seeds, 0, b) })
	held := sample(func() ([]*telemetry.Dataset, error) { return timegan.Sample(ctx, sim, seeds, 0, 32, 500) })
	at := 250 * len(fields)
	if !slices.Equal(mixed[:at], held[:at]) || slices.Equal(mixed[at:], held[at:]) {
		t.Error("rollouts under 32 and under 32 then 64 are not alike before the change and apart after it")
	}
}
