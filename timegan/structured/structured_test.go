package structured

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync"
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
	{Name: "lbo_s", Unit: "s"}, {Name: "fps", Unit: "1/s"}, {Name: "rep_kbps", Unit: "kbit/s"}, {Name: "calc_rate", Unit: "1/s"}, {Name: "stall_s", Unit: "s"},
}

var limits = []int{32, 64, 128}

// share is what of the limit a regime fills, rate what it leaves the player
// under each limit, kbit/s: the small limit is right in regime 1 alone.
var (
	share = [2]float64{.25, .75}
	rate  = [2][3]float64{{1700, 2600, 6500}, {6500, 2600, 1700}}
)

const service = 400 // µs a packet

// world is a testbed whose laws are known: n seconds under limits that force
// gives by second, and its regimes.
func world(seed uint64, n int, force func(t int) int) (telemetry.Recording, []uint8) {
	r := telemetry.Recording{Limits: make([]int, n)}
	path := make([]uint8, n)
	var values []float32
	var draws [2]uint32
	of := func(who uint32) float64 {
		draws[who]++
		x, _ := rng.Key{Seed: seed, A: draws[who], B: who, Purpose: rng.Traffic}.Normal(0)
		return x
	}
	normal := func() float64 { return of(0) }
	z, left := int(seed%2), 150+30*of(1)
	buffer, loaded, size, wait, level := 8., 0., 0., 0., 0
	ladder := []struct{ fps, kbps float64 }{{18, 900}, {30, 3312}}
	tput := 2000.
	ask := func() {
		level = 0
		if tput*.9 > 3312 {
			level = 1
		}
		size, loaded, wait = ladder[level].kbps*4*math.Exp(.2*normal()), 0, 0
	}
	ask()
	took := 0.
	for s := range n {
		if left--; left < 0 {
			z, left = 1-z, 250+40*of(1)
		}
		path[s], r.Limits[s] = uint8(z), force(s)
		l := slices.Index(limits, r.Limits[s])
		stalled := 0.
		for range 20 { // twentieths of a second
			if buffer -= .05; buffer < 0 {
				stalled, buffer = stalled-buffer, 0
			}
			if wait > 0 {
				if wait -= .05; wait <= 0 {
					ask()
					took = 0
				}
				continue
			}
			took += .05
			if loaded += rate[z][l] * .05; loaded >= size {
				tput = .6*tput + .4*ladder[level].kbps*4/took
				buffer += 4
				if over := buffer - []float64{12, 60}[level]; over > 0 {
					wait = over
				} else {
					ask()
				}
				took = 0
			}
		}
		depth := math.Max(share[z]*float64(force(s))+2*normal(), 0)
		q := ladder[level]
		values = append(values, float32(depth), float32(service*depth+55+5*math.Abs(normal())), 0, float32(buffer), float32(q.fps), float32(q.kbps), float32(q.kbps/5*(1-stalled)), float32(stalled))
	}
	valid := make([]bool, len(values))
	for i := range valid {
		valid[i] = i%len(fields) > 1 || i/len(fields)%10 != 3 // a tenth of the probes is lost
	}
	var err error
	if r.Data, err = telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid); err != nil {
		panic(err)
	}
	return r, path
}

// switchback draws a limit for blocks of 90 s.
func switchback(seed uint64) func(int) int {
	return func(t int) int {
		return limits[rng.Key{Seed: seed, A: uint32(t / 90), Purpose: rng.Action}.Intn(0, 3)]
	}
}

func recordings(n int) ([]telemetry.Recording, [][]uint8) {
	var all []telemetry.Recording
	var paths [][]uint8
	for i := range n {
		r, p := world(uint64(i), 3600, switchback(uint64(i)))
		all, paths = append(all, r), append(paths, p)
	}
	return all, paths
}

func quick() Config {
	c := Config{Updates: 1000, Knots: 17}
	if testing.Short() {
		c.Updates = 30
	}
	c.Ranks.Hidden, c.Ranks.Batch, c.Ranks.Window, c.Ranks.Embed, c.Ranks.Super, c.Ranks.Joint = 6, 16, 8, 40, 10, 40
	return c
}

func backend(t testing.TB) (timegan.Engine, *compute.Backend) {
	e, be := timegan.NewCPU(compute.Go, 1), compute.NewBackend(compute.Go, 1)
	t.Cleanup(func() { e.Close(); be.Close() })
	return e, be
}

func fitted(t testing.TB, c Config, all []telemetry.Recording) *Model {
	t.Helper()
	e, be := backend(t)
	m, err := Fit(context.Background(), c, e, be, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// known8 is a model of eight hours of the world, hardly trained where tests
// are short.
var known8 = sync.OnceValues(func() (*Model, []telemetry.Recording) {
	n := 8
	if testing.Short() {
		n = 2
	}
	all, _ := recordings(n)
	e, be := timegan.NewCPU(compute.Go, 1), compute.NewBackend(compute.Go, 1)
	defer e.Close()
	defer be.Close()
	m, err := Fit(context.Background(), quick(), e, be, all, nil)
	if err != nil {
		panic(err)
	}
	return m, all
})

func simulator(t testing.TB, m *Model, n int) *Simulator {
	t.Helper()
	e, be := backend(t)
	s, err := NewSimulator(n, m, e, be)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The load is found under whatever limit was in force, and with it the laws of
// queue and player.
func TestFitFindsTheWorld(t *testing.T) {
	if testing.Short() {
		t.Skip("fits a whole model")
	}
	m, all := known8()
	_, truth := recordings(8)
	paths, err := inferLoad(sequences(all, limits, []int{0}), 2, 1, limits)
	if err != nil {
		t.Fatal(err)
	}
	wrong, n := 0, 0
	for i := range paths {
		for s := range paths[i] {
			n++
			if paths[i][s] != truth[i][s] {
				wrong++
			}
		}
	}
	if share := float64(wrong) / float64(n); share > .005 {
		t.Errorf("%.2f %% of seconds are of the wrong regime", 100*share)
	}
	if got := m.Columns[1].PerPacket; math.Abs(got-service) > 2 {
		t.Errorf("a packet takes %.1f µs, want %d", got, service)
	}
	_, be := backend(t)
	run := m.paceNet.NewRun(be, 1)
	x, y := make([]float32, m.paceIn()), make([]float32, 2)
	for z := range 2 {
		for l, limit := range limits {
			level := 0
			if rate[z][l]*.9 > 3312 {
				level = 1
			}
			m.paceInput(x, z, float64(limit), level, 0)
			run.Forward(x, y)
			mu, _ := m.pace(y, level)
			want := m.Kbps[level] * 4 / rate[z][l]
			if got := math.Exp(mu); math.Abs(math.Log(got/want)) > .25 {
				t.Errorf("regime %d, limit %d: a download takes %.2f s, want %.2f", z, limit, got, want)
			}
		}
		lasts := m.Lasts[z*m.Config.Knots:][:m.Config.Knots]
		if mid := lasts[m.Config.Knots/2]; math.Abs(float64(mid)-250) > 30 {
			t.Errorf("regime %d lasts %v s in the median, want 250", z, mid)
		}
	}
}

// What policies are worth in the world, they are in the simulation: buffers
// under each limit held, and under the right one for the regime.
func TestInterventionsTransfer(t *testing.T) {
	if testing.Short() {
		t.Skip("fits a whole model")
	}
	m, _ := known8()
	const rows = 12
	for name, policy := range map[string]func(depth, limit float64) int32{
		"32": func(_, _ float64) int32 { return 32 }, "64": func(_, _ float64) int32 { return 64 }, "128": func(_, _ float64) int32 { return 128 },
		"by share": func(depth, limit float64) int32 {
			if depth/limit > .5 {
				return 32
			}
			return 128
		},
	} {
		var want, got float64
		for i := range rows {
			var path []uint8
			var w telemetry.Recording
			next := int32(64)
			if name == "by share" { // the regimes of a seed do not depend on the limits: look at them first
				_, path = world(1000+uint64(i), 2400, switchback(1))
			}
			w, _ = world(1000+uint64(i), 2400, func(s int) int {
				if path == nil {
					return int(policy(0, 1))
				}
				if s > 0 {
					next = policy(share[path[s-1]], 1)
				}
				return int(next)
			})
			for s := range w.Data.Len() {
				v, _ := w.Data.At(s, 3)
				want += float64(v) / rows / 2400
			}
		}
		s := simulator(t, m, rows)
		force, at, seeds := make([]int32, rows), make([]int, rows), make([]uint64, rows)
		for i := range force {
			force[i], at[i], seeds[i] = 64, i, uint64(i)
			if name != "by share" {
				force[i] = policy(0, 1)
			}
		}
		if err := s.Reset(at, seeds); err != nil {
			t.Fatal(err)
		}
		var w telemetry.Window
		w.Size(rows, 1, len(fields))
		for range 2400 {
			if err := s.Step(context.Background(), at, force, &w); err != nil {
				t.Fatal(err)
			}
			for i := range force {
				v, _ := w.Row(i)
				got += float64(v[3]) / rows / 2400
				if v[0] > float32(force[i]) {
					t.Fatalf("%v packets queue under limit %d", v[0], force[i])
				}
				force[i] = policy(float64(v[0]), float64(force[i]))
			}
		}
		if math.Abs(got-want) > 4 {
			t.Errorf("policy %s: buffer %.1f s, in the world %.1f s", name, got, want)
		}
	}
}

// No limit moves the load: two simulations of a seed go through the same
// regimes whatever is done to them.
func TestLoadIsExogenous(t *testing.T) {
	m, _ := known8()
	s := simulator(t, m, 2)
	if err := s.Reset([]int{0, 1}, []uint64{5, 5}); err != nil {
		t.Fatal(err)
	}
	var w telemetry.Window
	w.Size(2, 4, len(fields))
	for k := range 500 {
		if err := s.Step(context.Background(), []int{0, 1}, []int32{32, int32(limits[k%3])}, &w); err != nil {
			t.Fatal(err)
		}
		if a, b := s.rows[0], s.rows[1]; a.Regime != b.Regime || a.Left != b.Left {
			t.Fatalf("step %d: regime %d for %d s, and %d for %d s", k, a.Regime, a.Left, b.Regime, b.Left)
		}
	}
	if s.rows[0].Stays == 0 {
		t.Error("the regime never changed")
	}
}

func TestContract(t *testing.T) {
	m, _ := known8()
	envtest.Check(t, func(t *testing.T) env.Vector {
		v, err := queues.New(queues.Config{Limits: []p4.Limit{32, 48, 128}, MaxSteps: 50}, model.New(simulator(t, m, 5)), 5, m)
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}

func TestNothingIsAllocated(t *testing.T) {
	m, _ := known8()
	s := simulator(t, m, 3)
	rows, force := []int{0, 1, 2}, []int32{32, 64, 128}
	if err := s.Reset(rows, []uint64{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	var w telemetry.Window
	w.Size(3, 4, len(fields))
	ctx := context.Background()
	step := func() {
		if err := s.Step(ctx, rows, force, &w); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

func encoded(t testing.TB, m *Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Equal recordings give equal bytes, a checkpoint is the model, and a damaged
// one is refused.
func TestCheckpoint(t *testing.T) {
	m, all := known8()
	good := encoded(t, m)
	if !testing.Short() && !bytes.Equal(good, encoded(t, fitted(t, quick(), all))) {
		t.Error("two fits differ")
	}
	read := func(b []byte) (*Model, error) { return Decode(bytes.NewReader(b), int64(len(b))) }
	again, err := read(good)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(good, encoded(t, again)) || !IsCheckpoint(bytes.NewReader(good), int64(len(good))) {
		t.Error("what was read is not what was written")
	}
	for cut := 0; cut < len(good); cut += 1 + len(good)/50 {
		if _, err := read(good[:cut]); err == nil {
			t.Errorf("cut to %d of %d bytes: read", cut, len(good))
		}
	}
	header := 8 + int(binary.LittleEndian.Uint64(good))
	for at := header; at < len(good); at += 1 + (len(good)-header)/50 {
		b := slices.Clone(good)
		b[at] ^= 0x10
		if _, err := read(b); err == nil {
			t.Errorf("byte %d changed: read", at)
		}
	}
	for _, c := range []struct{ old, new, want string }{
		{Format, "planegym.timegan.v1   ", "format"},
		{`\"regimes\":2`, `\"regimes\":3`, "expected F32 [2 3 3 17]"},
		{`\"limits\":[32`, `\"limits\":[99`, "limits"},
		{`\"kind\":\"wait\"`, `\"kind\":\"what\"`, "kind"},
		{`\"rate\":`, `\"rat\":`, "rat"},
	} {
		text := string(good[8:header])
		if !strings.Contains(text, c.old) {
			t.Fatalf("the header has no %q", c.old)
		}
		text = strings.Replace(text, c.old, c.new, 1)
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
		if _, err := read(append(append(b, text...), good[header:]...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want it to say %q", c.new, c.old, err, c.want)
		}
	}
}

func TestFitErrors(t *testing.T) {
	r, _ := world(1, 3600, switchback(1))
	without := func(name string) telemetry.Recording {
		var keep []int
		var f []telemetry.Field
		for j, x := range fields {
			if x.Name != name {
				keep, f = append(keep, j), append(f, x)
			}
		}
		var values []float32
		var valid []bool
		for s := range r.Data.Len() {
			for _, j := range keep {
				v, ok := r.Data.At(s, j)
				values, valid = append(values, v), append(valid, ok)
			}
		}
		d, err := telemetry.NewDataset(f, 0, time.Unix(0, 0), values, valid)
		if err != nil {
			t.Fatal(err)
		}
		return telemetry.Recording{Data: d, Limits: r.Limits}
	}
	short, _ := world(1, 300, switchback(1))
	zero := telemetry.Recording{Data: r.Data}
	for _, c := range []struct {
		want string
		c    Config
		all  []telemetry.Recording
	}{
		{"there is no recording", Config{}, nil},
		{"regimes: 99", Config{Regimes: 99}, []telemetry.Recording{r}},
		{"top_s", Config{TopS: 5}, []telemetry.Recording{r}},
		{"have no lbo_s", Config{}, []telemetry.Recording{without("lbo_s")}},
		{"have no rep_kbps", Config{}, []telemetry.Recording{without("rep_kbps")}},
		{"no depth of a queue", Config{}, []telemetry.Recording{without("enq_qdepth1")}},
		{"different fields", Config{}, []telemetry.Recording{r, without("stall_s")}},
		{"a limit of 0 packets", Config{}, []telemetry.Recording{zero}},
		{"100 at least are needed", Config{}, []telemetry.Recording{short}},
	} {
		e, be := backend(t)
		if _, err := Fit(context.Background(), c.c, e, be, c.all, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
}

// The slopes of a download's loss are those of central differences.
func TestTookSlopes(t *testing.T) {
	const h = 1e-5
	for _, c := range []struct{ mu, s, lo, hi float64 }{
		{1, -1, 2, 3}, {1, -1, 2.7, math.Inf(1)}, {0, -2, 1.1, 2.5}, {2, .3, .3, 1}, {.5, -1.5, 2.5, 3.5}, {3, -1, 6, 7},
	} {
		_, dmu, ds := took(c.mu, c.s, c.lo, c.hi)
		at := func(mu, s float64) float64 { l, _, _ := took(mu, s, c.lo, c.hi); return l }
		wantMu, wantS := (at(c.mu+h, c.s)-at(c.mu-h, c.s))/(2*h), (at(c.mu, c.s+h)-at(c.mu, c.s-h))/(2*h)
		if math.Abs(dmu-wantMu) > 1e-5*(1+math.Abs(wantMu)) || math.Abs(ds-wantS) > 1e-5*(1+math.Abs(wantS)) {
			t.Errorf("%+v: slopes %v, %v; by differences %v, %v", c, dmu, ds, wantMu, wantS)
		}
	}
}

func TestLasting(t *testing.T) {
	got := make([]float32, 4)
	// Kaplan and Meier by hand: of 5, one ends at 10 (left 4/5), one is lost at
	// 20, one of 3 ends at 30 (8/15), one of 2 at 40 (4/15), one at 50.
	lasting([]run{{0, 30, true}, {0, 10, true}, {0, 20, false}, {0, 50, true}, {0, 40, true}}, got)
	if want := []float32{10, 30, 40, 50}; !slices.Equal(got, want) {
		t.Errorf("quantiles %v, want %v", got, want)
	}
	lasting([]run{{0, 30, false}}, got)
	if got[0] != forEver {
		t.Errorf("a regime whose end nobody saw lasts %v s", got[0])
	}
}

func TestRankInvertsQuantile(t *testing.T) {
	knots := []float32{-1, 0, 0, 2, 5}
	for _, c := range []struct {
		v    float32
		want float64
	}{{-2, 0}, {-1, 0}, {-.5, .125}, {1, .625}, {5, 1}, {6, 1}} {
		if got := rank(knots, c.v); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("rank of %v is %v, want %v", c.v, got, c.want)
		}
	}
	for _, u := range []float64{0, .1, .6, .9, 1} {
		if got := rank(knots, float32(quantile(knots, u))); math.Abs(got-u) > 1e-6 {
			t.Errorf("rank of the quantile at %v is %v", u, got)
		}
	}
}
