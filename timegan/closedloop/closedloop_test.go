package closedloop

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

func backend(tb testing.TB) *compute.Backend {
	all := compute.Available()
	be := compute.NewBackend(all[len(all)-1], 1)
	tb.Cleanup(be.Close)
	return be
}

// toy is a switch and a player that are known. A load that no limit moves is
// low or high, 80 s in the mean; a queue holds .2 or .8 of its limit, give or
// take .1; the player gains 3 s with a probability that only the two together
// tell, and loses 1 s otherwise:
//
//	           limit 32   limit 128
//	low load      .15        .45
//	high load     .45        .15
//
// The quality is the top where the buffer is above 30 s.
func toy(seed uint64, seconds, block int, gaps bool) telemetry.Recording {
	return kicked(seed, seconds, block, gaps, false)
}

// kicked is toy; with kick, the player gains 3 s in any second in which a high
// load ends.
func kicked(seed uint64, seconds, block int, gaps, kick bool) telemetry.Recording {
	fields := []telemetry.Field{{Name: "enq_qdepth1", Unit: "packets"}, {Name: "deq_timedelta1", Unit: "us"}, {Name: "lbo_s", Unit: "s"}, {Name: "rep_kbps", Unit: "kbit/s"}}
	var values []float32
	var valid []bool
	var limits []int
	u := func(t, i int) float64 {
		return rng.Key{Seed: seed, A: uint32(t), Purpose: rng.Start}.Float64(uint32(i))
	}
	high, buffer := u(0, 9) < .5, 20.
	for t := range seconds {
		limit := 32
		if u(t/block, 8) < .5 {
			limit = 128
		}
		ends := false
		if u(t, 0) < 1./80 {
			high, ends = !high, high && kick
		}
		share, gain := .2, .15
		if high {
			share = .8
		}
		if high == (limit == 32) {
			gain = .45
		}
		share += .1 * (2*u(t, 1) - 1)
		if u(t, 2) < gain || ends {
			buffer = min(buffer+3, 60)
		} else {
			buffer = max(buffer-1, 0)
		}
		kbps := 639
		if buffer > 30 {
			kbps = 3312
		}
		depth := share * float64(limit)
		values = append(values, float32(depth), float32(400*(1+depth)*(1+.01*u(t, 3))), float32(buffer), float32(kbps))
		ok := !gaps || u(t, 4) > .2
		valid = append(valid, ok, ok, true, true)
		limits = append(limits, limit)
	}
	d, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)
	if err != nil {
		panic(err)
	}
	return telemetry.Recording{Data: d, Limits: limits}
}

func toys(n, seconds, block int, gaps bool) (all []telemetry.Recording) {
	for i := range n {
		all = append(all, toy(uint64(i+1), seconds, block, gaps))
	}
	return all
}

var small = Config{Hidden: 24, Updates: 250, Window: 64, Batch: 16, Rate: 1e-2}

func fit(tb testing.TB, c Config, recordings []telemetry.Recording, o FitOptions) *Model {
	tb.Helper()
	m, err := Fit(context.Background(), c, backend(tb), recordings, o)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// run rolls rows out under limits [rows], and gives [rows][T,F].
func run(tb testing.TB, m *Model, seeds []uint64, limits []int32, seconds int) [][]float32 {
	tb.Helper()
	s, err := NewSimulator(len(seeds), m, backend(tb))
	if err != nil {
		tb.Fatal(err)
	}
	rows := make([]int, len(seeds))
	for i := range rows {
		rows[i] = i
	}
	if err := s.Reset(rows, seeds); err != nil {
		tb.Fatal(err)
	}
	var w telemetry.Window
	w.Size(len(rows), seconds, len(m.Fields()))
	if err := s.Step(context.Background(), rows, limits, &w); err != nil {
		tb.Fatal(err)
	}
	var out [][]float32
	for i := range rows {
		v, ok := w.Row(i)
		if slices.Contains(ok, false) {
			tb.Fatal("a second that was generated is not valid")
		}
		out = append(out, slices.Clone(v))
	}
	return out
}

// What the limit does to the buffer, in either load, is learnt from
// recordings in which the limit was drawn, gaps or not, and the load does not
// answer to the limit: the rollouts' table is the process's.
func TestLearnsWhatALimitDoes(t *testing.T) {
	for name, gaps := range map[string]bool{"complete": false, "a fifth missing": true} {
		t.Run(name, func(t *testing.T) {
			data := toys(10, 1500, 40, gaps)
			m := fit(t, small, data, FitOptions{})
			var gain, n, high, recorded [2][2]float64 // by load, limit; the last two by limit, load
			for _, r := range data {
				for s := range 1500 {
					if depth, ok := r.Data.At(s, 0); ok {
						l, load := 0, 0
						if r.LimitAt(s) == 128 {
							l = 1
						}
						if depth > .5*float32(r.LimitAt(s)) {
							load = 1
						}
						recorded[l][load]++
					}
				}
			}
			for l, limit := range []int32{32, 128} {
				seeds, limits := make([]uint64, 24), make([]int32, 24)
				for i := range seeds {
					seeds[i], limits[i] = uint64(i), limit
				}
				for _, v := range run(t, m, seeds, limits, 900) {
					for s := 20; s < 900; s++ {
						load := 0
						if v[4*s] > .5*float32(limit) {
							load = 1
						}
						high[l][load]++
						if was, is := v[4*(s-1)+2], v[4*s+2]; is > was || is == 60 {
							gain[load][l]++
						}
						n[load][l]++
					}
				}
			}
			for load, want := range [2][2]float64{{.15, .45}, {.45, .15}} {
				for l, w := range want {
					if got := gain[load][l] / n[load][l]; math.Abs(got-w) > .09 {
						t.Errorf("load %d under limit %d: the buffer rises in %.3f of seconds, want %.2f", load, []int{32, 128}[l], got, w)
					}
				}
			}
			t.Logf("%d regimes, lasting %v", m.codec.Load.K, m.codec.Load.Lasts)
			share := func(v [2]float64) float64 { return v[1] / (v[0] + v[1]) }
			model, data1 := share(high[0])-share(high[1]), share(recorded[0])-share(recorded[1])
			if math.Abs(model-data1) > .12 {
				t.Errorf("the load is high in %+.2f of seconds more under limit 32 than under 128, recorded is %+.2f", model, data1)
			}
		})
	}
}

// What happens in the second in which one load goes and another comes, however
// seldom, is in rollouts what it is in recordings: in any of them the buffer rises.
func TestChangesOfLoadAreLearnt(t *testing.T) {
	var data []telemetry.Recording
	for i := range 10 {
		data = append(data, kicked(uint64(i+1), 1500, 40, false, true))
	}
	m := fit(t, small, data, FitOptions{})
	if m.Regimes() != 2 {
		t.Fatalf("%d regimes", m.Regimes())
	}
	const n = 24
	s, err := NewSimulator(n, m, backend(t))
	if err != nil {
		t.Fatal(err)
	}
	rows, seeds, limits := make([]int, n), make([]uint64, n), make([]int32, n)
	for i := range rows {
		rows[i], seeds[i], limits[i] = i, uint64(i), 32
	}
	if err := s.Reset(rows, seeds); err != nil {
		t.Fatal(err)
	}
	var w telemetry.Window
	w.Size(n, 1, len(m.Fields()))
	before, regime := make([]float32, n), make([]uint8, n)
	var rises, turns, others, all float64
	for range 1500 {
		for i := range rows {
			before[i], regime[i] = s.rows[i].Values[2], s.rows[i].Regime
		}
		if err := s.Step(context.Background(), rows, limits, &w); err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			v, _ := w.Row(i)
			rose := 0.
			if v[2] > before[i] || v[2] >= 60 {
				rose = 1
			}
			if regime[i] == 1 && s.rows[i].Regime == 0 {
				rises, turns = rises+rose, turns+1
			} else {
				others, all = others+rose, all+1
			}
		}
	}
	t.Logf("the buffer rises in %.2f of %v seconds in which a high load ends, in %.2f of others", rises/turns, turns, others/all)
	if turns < 100 || rises/turns < .75 || others/all > .5 {
		t.Errorf("want more than .75, and .5 at most of others")
	}
}

// Running means are of the load in force: a second after one has come they are
// that second's, whatever went before, where a checkpoint of before says nothing
// of it they go on.
func TestMeansBeginWithTheLoad(t *testing.T) {
	data := toys(3, 600, 40, false)
	k, _, err := newCodec(Config{Regimes: 2}.withDefaults(), data)
	if err != nil {
		t.Fatal(err)
	}
	mean := func(restart bool) (x float64, means []float64) {
		k.Restart = restart
		m := k.newMoment()
		values, ok := make([]float32, 4), make([]bool, 4)
		for s := range 300 {
			if s == 299 {
				m.turn(1-m.Regime, restart)
			}
			data[0].Data.Copy(s, values, ok)
			k.observe(m, values, ok, []int32{32})
		}
		return k.scaled(k.means[0], m.X[k.means[0]]), m.Mean[:len(averages)]
	}
	for _, restart := range []bool{true, false} {
		x, means := mean(restart)
		for i, m := range means {
			if (math.Abs(m-x) < 1e-9) != restart {
				t.Errorf("restart %v: the mean over %v s is %v a second after the load has changed, that second's value %v", restart, averages[i], m, x)
			}
		}
	}
}

// Columns of a second agree: a wait is what the depth tells, to a percent, and
// the quality is the buffer's.
func TestColumnsAgree(t *testing.T) {
	c := small
	c.Updates = 400
	m := fit(t, c, toys(4, 1000, 40, false), FitOptions{})
	off, wrong, n := 0, 0, 0
	for _, v := range run(t, m, []uint64{1, 2, 3}, []int32{32, 64, 128}, 600) {
		for s := range 600 {
			depth, wait, buffer, kbps := v[4*s], v[4*s+1], v[4*s+2], v[4*s+3]
			n++
			if r := wait / (400 * (1 + depth)); r < .999 || r > 1.011 {
				off++
			}
			if (buffer > 30) != (kbps == 3312) {
				wrong++
			}
		}
	}
	if off > 0 || wrong > n/12 {
		t.Errorf("of %d seconds %d have a wait that is not the depth's, %d a quality that is not the buffer's", n, off, wrong)
	}
}

// A row is the same alone, among others, and stepped second by second, and a
// snapshot goes on as the row did.
func TestRowsStandAlone(t *testing.T) {
	m := fit(t, Config{Hidden: 8, Updates: 5, Window: 16, Batch: 4}, toys(2, 200, 20, false), FitOptions{})
	seeds, limits := make([]uint64, 40), make([]int32, 40)
	for i := range seeds {
		seeds[i], limits[i] = uint64(i), []int32{32, 64, 128}[i%3]
	}
	all := run(t, m, seeds, limits, 30)
	if alone := run(t, m, seeds[33:34], limits[33:34], 30); !slices.Equal(alone[0], all[33]) {
		t.Error("row 33 depends on its neighbours")
	}
	s, err := NewSimulator(3, m, backend(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reset([]int{1}, seeds[33:34]); err != nil {
		t.Fatal(err)
	}
	f := len(m.Fields())
	var w telemetry.Window
	var state []byte
	for sec := range 30 {
		if sec == 12 {
			if state, err = s.Snapshot(1, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.Size(1, 1, f)
		if err := s.Step(context.Background(), []int{1}, limits[33:34], &w); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.Values, all[33][sec*f:][:f]) {
			t.Fatalf("second %d differs when stepped alone", sec)
		}
	}
	if err := s.Restore(2, state); err != nil {
		t.Fatal(err)
	}
	w.Size(1, 18, f)
	if err := s.Step(context.Background(), []int{2}, limits[33:34], &w); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.Values, all[33][12*f:]) {
		t.Error("a snapshot goes on differently")
	}
	for _, bad := range [][]byte{nil, state[1:], append(slices.Clone(state[:len(state)-4]), 0, 0, 0xc0, 0x7f)} {
		if err := s.Restore(2, bad); err == nil {
			t.Error("a damaged state is accepted")
		}
	}
	if err := s.Step(context.Background(), []int{1}, []int32{16}, &w); err == nil {
		t.Error("a limit below those recorded is simulated")
	}
}

// A run that was interrupted and resumed from its file ends with the bytes of
// one that was not; a checkpoint of other recordings or settings is refused.
func TestResume(t *testing.T) {
	c := Config{Hidden: 8, Updates: 9, Window: 16, Batch: 4}
	data := toys(2, 100, 20, true)
	var want, part bytes.Buffer
	if err := fit(t, c, data, FitOptions{}).Write(&want); err != nil {
		t.Fatal(err)
	}
	half := fit(t, c, data, FitOptions{Every: 4, Checkpoint: func(m *Model) error {
		if m.Updates == 4 {
			return timegan.ErrStop
		}
		return nil
	}})
	if half.Done() || half.Updates != 4 {
		t.Fatalf("stopped after %d updates", half.Updates)
	}
	if err := half.Write(&part); err != nil {
		t.Fatal(err)
	}
	again, err := Decode(bytes.NewReader(part.Bytes()), int64(part.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := fit(t, c, data, FitOptions{Resume: again}).Write(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("resumed and uninterrupted training differ")
	}
	if again, err = Decode(bytes.NewReader(part.Bytes()), int64(part.Len())); err != nil {
		t.Fatal(err)
	}
	other := c
	other.Hidden = 9
	for what, err := range map[string]error{
		"recordings": second(Fit(context.Background(), c, backend(t), toys(2, 101, 20, true), FitOptions{Resume: again})),
		"settings":   second(Fit(context.Background(), other, backend(t), data, FitOptions{Resume: again})),
	} {
		if !errors.Is(err, timegan.ErrResume) {
			t.Errorf("resumed on other %s: %v", what, err)
		}
	}
}

func second(_ *Model, err error) error { return err }

// A damaged checkpoint is refused with a reason, not a panic.
func TestDecodeRefusesDamage(t *testing.T) {
	var b bytes.Buffer
	if err := fit(t, Config{Hidden: 4, Updates: 2, Window: 8, Batch: 2}, toys(1, 60, 20, false), FitOptions{}).Write(&b); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	for what, text := range map[string]string{
		"truncated":        good[:len(good)/2],
		"another format":   strings.Replace(good, Format, "planegym.closedloop.v9", 1),
		"an unknown field": strings.Replace(good, `\"switches\":1`, `\"swatches\":1`, 1),
		"a kind":           strings.Replace(good, `\"kind\":\"share\"`, `\"kind\":\"shore\"`, 1),
		"a head":           strings.Replace(good, `\"head\":1`, `\"head\":9`, 1),
	} {
		if text == good {
			t.Fatalf("%s: nothing was changed", what)
		}
		if _, err := Decode(strings.NewReader(text), int64(len(text))); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// perSwitch is toy with two switches: the second's queue holds a share of its
// own limit, which is drawn apart.
func perSwitch(seed uint64, seconds int) telemetry.Recording {
	r := toy(seed, seconds, 20, false)
	fields := append([]telemetry.Field{{Name: "enq_qdepth1", Unit: "packets"}, {Name: "enq_qdepth2", Unit: "packets"}}, r.Data.Fields()[2:]...)
	var values []float32
	var valid []bool
	var each []int32
	for t := range seconds {
		k := rng.Key{Seed: seed, A: uint32(t / 20), B: 1, Purpose: rng.Start}
		limit := []int32{32, 64, 128}[k.Intn(0, 3)]
		one := make([]float32, 4)
		r.Data.Copy(t, one, nil)
		noise := rng.Key{Seed: seed, A: uint32(t), B: 2, Purpose: rng.Start}.Float64(0)
		values = append(values, one[0], float32(float64(limit)*(.45+.1*noise)), one[2], one[3])
		valid = append(valid, true, true, true, true)
		each = append(each, int32(r.LimitAt(t)), limit)
	}
	d, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)
	if err != nil {
		panic(err)
	}
	return telemetry.Recording{Data: d, PerSwitch: each}
}

// Switches with limits of their own each follow theirs.
func TestPerSwitch(t *testing.T) {
	c := small
	c.Updates = 120
	m := fit(t, c, []telemetry.Recording{perSwitch(1, 900), perSwitch(2, 900)}, FitOptions{})
	if m.Switches() != 2 || !slices.Equal(m.Limits(), []int32{32, 64, 128}) {
		t.Fatalf("%d switches, limits %v", m.Switches(), m.Limits())
	}
	v := run(t, m, []uint64{1, 2}, []int32{32, 128, 128, 32}, 300)
	for i, want := range []float64{64, 16} {
		sum := 0.
		for s := range 300 {
			sum += float64(v[i][4*s+1]) / 300
		}
		if math.Abs(sum-want) > .05*want {
			t.Errorf("row %d: switch 2 holds %.1f packets in the mean, want %.0f", i, sum, want)
		}
		for s := range 300 {
			if d := float64(v[i][4*s]); d > .95*[]float64{32, 128}[i] {
				t.Fatalf("row %d: switch 1 holds %.1f packets under its limit", i, d)
			}
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{Hidden: -1}, {Window: 1}, {Bins: 1}, {Rate: math.NaN()}, {Rate: 2}, {Noise: .95}, {Clock: -1}, {Updates: -5}} {
		if err := c.Check(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if _, err := Fit(context.Background(), Config{}, backend(t), nil, FitOptions{}); err == nil {
		t.Error("fitted to nothing")
	}
	if _, err := Fit(context.Background(), Config{}, backend(t), toys(1, 100, 20, false), FitOptions{}); err == nil || !strings.Contains(err.Error(), "window") {
		t.Errorf("a recording shorter than a window: %v", err)
	}
}
