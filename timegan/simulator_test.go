package timegan

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// played are seconds that a row of a simulator shows under limit 64.
func played(t *testing.T, s *Simulator, row, seconds int) []float32 {
	t.Helper()
	var w telemetry.Window
	w.Size(1, seconds, len(s.Columns()))
	if err := s.Step(context.Background(), []int{row}, []int32{64}, &w); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(w.Values)
}

// A reset row is a new one, whatever was simulated or saved before it; what it shows depends
// on the seed and on the second of the clock that it begins at, 0 among them; a second that
// is drawn is drawn from the seed.
func TestResetBeginsAnew(t *testing.T) {
	made := func() *Simulator {
		m := smallModel(t, nil)
		for i := range m.Params {
			for j := range m.Params[i].Data { // so that the clock shows
				m.Params[i].Data[j] += float32(rng.Key{Seed: 1, A: uint32(i), B: uint32(j), Purpose: rng.Init}.Float64(0) - .5)
			}
		}
		s, err := NewSimulator(3, []*Model{m}, []Engine{NewCPU(compute.Go, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	reset := func(s *Simulator, row int, seed uint64, second int) []float32 {
		t.Helper()
		if err := s.ResetAt([]int{row}, []uint64{seed}, second); err != nil {
			t.Fatal(err)
		}
		return played(t, s, row, 30)
	}
	for _, second := range []int{-1, 0, 7, 39} {
		want := reset(made(), 0, 5, second)
		s := made()
		reset(s, 1, 8, 20)
		if _, err := s.Snapshot(1, nil); err != nil {
			t.Fatal(err)
		}
		if got := reset(s, 1, 5, second); !slices.Equal(got, want) {
			t.Errorf("second %d: after another episode it shows %v, want %v", second, got, want)
		}
		if at := s.rows[1].start % 40; second >= 0 && (int(at)+warmUp)%40 != second {
			t.Errorf("the clock begins %d s before second %d", warmUp, (int(at)+warmUp)%40)
		}
	}
	if slices.Equal(reset(made(), 0, 5, 0), reset(made(), 0, 5, 20)) {
		t.Error("the clock does not show: the test shows nothing")
	}
	drawn := map[uint32]bool{}
	s := made()
	for seed := range uint64(30) {
		if err := s.Reset([]int{0}, []uint64{seed}); err != nil {
			t.Fatal(err)
		}
		drawn[s.rows[0].start] = true
	}
	if len(drawn) < 10 {
		t.Errorf("30 seeds begin at %d seconds of the clock", len(drawn))
	}
}

// A player shows the levels of the columns that have them.
func TestLadderOfASimulator(t *testing.T) {
	m := smallModel(t, func(m *Model) {
		for _, c := range m.Codec.Columns {
			for i := range c.Levels { // not the published ladder, which one that says nothing is
				c.Levels[i] *= 2
			}
		}
	})
	s, err := NewSimulator(1, []*Model{m}, []Engine{NewCPU(compute.Go, 1)})
	if err != nil {
		t.Fatal(err)
	}
	want := telemetry.NewLadder(telemetry.Quality{FPS: 36, Kbps: 1278}, telemetry.Quality{FPS: 48, Kbps: 3734}, telemetry.Quality{FPS: 60, Kbps: 6624})
	if got := s.Ladder(); !slices.Equal(got, want) || got.TopKbps() != 6624 {
		t.Errorf("%v, want %v", got, want)
	}
}

// The tensor that holds a number of a network is named, wherever in it the number is.
func TestTensorAt(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	tr := newTrainer(be, smallConfig(false), small(true))
	for n := range networkCount {
		at := 0
		for _, x := range tensors(n, tr.nets[n].Params()) {
			for _, i := range []int{0, len(x.Data) - 1} {
				if got := tr.tensorAt(n, at+i); got != x.Name {
					t.Errorf("number %d of network %d is in %s, want %s", at+i, n, got, x.Name)
				}
			}
			at += len(x.Data)
		}
	}
}

var errEngine = errors.New("the device is gone")

// gone is an objective whose engine fails at one of its calls, or diverges in a tensor.
type gone struct {
	Objective
	left int
	at   string
}

func (g *gone) fail() error {
	if g.left--; g.left == 0 {
		return errEngine
	}
	return nil
}
func (g *gone) Embedding(l *Losses) error {
	err := g.fail()
	if err != nil && g.at != "" {
		l.At, err = g.at, nil
	}
	return err
}
func (g *gone) Supervised(*Losses) error            { return g.fail() }
func (g *gone) Generator(*Losses) error             { return g.fail() }
func (g *gone) Embedder(*Losses) error              { return g.fail() }
func (g *gone) Discriminator(*Losses) (bool, error) { return false, g.fail() }
func (g *gone) GoOn()                               {}

// Where an engine fails, the error says in which update of which phase.
func TestEngineFails(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	for _, k := range []struct {
		phase Phase
		left  int
		done  int
		want  string
	}{
		{Embedding, 3, 2, "embedding phase, update 12: "}, {Supervised, 1, 0, "supervised phase, update 10: "},
		{Joint, 1, 0, "joint phase, update 10: "}, {Joint, 7, 1, "joint phase, update 11: "}, {Joint, 5, 0, "joint phase, update 10: "},
	} {
		tr := newTrainer(be, smallConfig(false), small(true))
		tr.objective = &gone{left: k.left}
		done, err := tr.run(context.Background(), k.phase, 10, 4, 1, make([]Losses, 4))
		if !errors.Is(err, errEngine) || !strings.Contains(err.Error(), k.want) || done != k.done {
			t.Errorf("%v: %d updates, %v, want %d and %q", k.phase, done, err, k.done, k.want)
		}
	}
}

// Where a gradient is not finite, so is it, with the tensor.
func TestDivergesLater(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	tr := newTrainer(be, smallConfig(false), small(true))
	tr.objective = &gone{left: 3, at: "embedder.weight"}
	done, err := tr.run(context.Background(), Embedding, 10, 4, 1, make([]Losses, 4))
	if want := (DivergedError{Embedding, 12, "embedder.weight"}); done != 2 || err == nil || *err.(*DivergedError) != want {
		t.Errorf("%d updates, %v, want %v", done, err, &want)
	}
}

// What a limit does is said with its floor where there is one, of each of the errors; where
// it is not identifiable, that is said.
func TestEffectsInWords(t *testing.T) {
	f := func(x float64) *float64 { return &x }
	for _, k := range []struct {
		is   Fidelity
		want string
	}{
		{Fidelity{}, "what a limit does is not identifiable"},
		{Fidelity{Effect: f(1)}, "what a limit does is not identifiable"},
		{Fidelity{Exogeneity: f(1)}, "what a limit does is not identifiable"},
		{Fidelity{Exogeneity: f(.1), Effect: f(.2)}, "exogeneity error 0.100, effect error 0.200 s/s"},
		{Fidelity{Exogeneity: f(.1), Effect: f(.2), Transient: f(.3), Floor: &EffectFloor{Exogeneity: f(.01), Transient: f(.03)}},
			"exogeneity error 0.100 (floor 0.010), effect error 0.200 s/s, transient error 0.300 s/s (floor 0.030)"},
		{Fidelity{Exogeneity: f(.1), Effect: f(.2), Floor: &EffectFloor{Effect: f(.02), Transient: f(.03)}}, "exogeneity error 0.100, effect error 0.200 s/s (floor 0.020)"},
	} {
		if got := k.is.Effects(); got != k.want {
			t.Errorf("%q, want %q", got, k.want)
		}
	}
}
