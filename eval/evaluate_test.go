package eval_test

import (
	"context"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/telemetry"
)

func cartPole(t testing.TB, n int, mode env.Autoreset) env.Vector {
	t.Helper()
	v, err := cartpole.New(n, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// One row or many, whatever the reset mode: the same episodes.
func TestEvaluateDoesNotDependOnTheVector(t *testing.T) {
	seeds := eval.HeldOut(1, 7)
	var first *eval.Evaluation
	for _, c := range []struct {
		n    int
		mode env.Autoreset
	}{{1, env.Disabled}, {3, env.NextStep}, {3, env.SameStep}, {16, env.NextStep}} {
		v := cartPole(t, c.n, c.mode)
		p, err := baseline.New("random", v.Spec())
		if err != nil {
			t.Fatal(err)
		}
		got, err := eval.Evaluate(context.Background(), v, p, seeds, nil)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		} else if !reflect.DeepEqual(got, first) {
			t.Errorf("%d rows, %v: got %+v, want %+v", c.n, c.mode, got, first)
		}
	}
	if len(first.Returns) != 7 || first.Return.Mean != first.Length.Mean || first.Return.Mean < 9 || first.QoE != nil {
		t.Errorf("%+v", first)
	}
}

func TestEvaluateRecords(t *testing.T) {
	v := cartPole(t, 3, env.SameStep)
	path := filepath.Join(t.TempDir(), "e.parquet")
	w, err := episodes.Create(path, episodes.SpacesOf(v.Spec()), "cartpole", "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := baseline.New("fixed:1", v.Spec())
	if err != nil {
		t.Fatal(err)
	}
	seeds := eval.HeldOut(2, 5)
	got, err := eval.Evaluate(context.Background(), v, p, seeds, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	returns := map[uint64]float64{}
	err = episodes.Read(path, func(_ episodes.Spaces, e *episodes.Episode) error {
		for _, r := range e.Reward {
			returns[e.Seed] += float64(r)
		}
		last := e.Obs[len(e.Obs)-4:]
		if !e.Terminated || math.Abs(float64(last[0])) < 2.4 && math.Abs(float64(last[2])) < .2 {
			t.Errorf("episode %d ends at %v", e.Number, last)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range seeds {
		if returns[s] != got.Returns[i] {
			t.Errorf("seed %d: recorded %v, evaluated %v", s, returns[s], got.Returns[i])
		}
	}
	if s := got.Shares[0]; s[0] != 0 || math.Abs(s[1]-1) > 1e-12 {
		t.Errorf("shares %v", s)
	}
}

// viewer is an environment of two steps that measures a player.
type viewer struct {
	env.Vector
	step int
	bad  float32
}

func (v *viewer) Spec() env.Spec {
	return env.Spec{Observation: env.Box{Low: make([]float32, 1), High: make([]float32, 1), Elements: []telemetry.Field{{Name: "lbo_s"}}}, Action: env.MultiDiscrete{2}, Autoreset: env.Disabled}
}
func (v *viewer) Num() int { return 1 }
func (v *viewer) Reset(_ context.Context, _ []int, _ []uint64, out *env.Batch) error {
	v.step = 0
	out.Size(1, 1, false)
	out.Obs[0] = 0
	return nil
}
func (v *viewer) Step(_ context.Context, _ []int, a []int32, out *env.Batch) error {
	v.step++
	out.Size(1, 1, false)
	out.Obs[0], out.Reward[0] = v.bad, float32(a[0])
	out.Terminated[0], out.Truncated[0] = false, v.step == 2
	return nil
}
func (v *viewer) InfoFields() []telemetry.Field {
	return []telemetry.Field{{Name: "stall_s"}, {Name: "fps"}, {Name: "lbo_s"}}
}
func (v *viewer) Info(_ int, dst []float32) []float32 {
	return append(dst, float32(v.step), []float32{0, 18, 29.9}[v.step], 10*float32(v.step))
}

func TestEvaluateQoE(t *testing.T) {
	v := &viewer{}
	p, err := baseline.New("alternate", v.Spec())
	if err != nil {
		t.Fatal(err)
	}
	got, err := eval.Evaluate(context.Background(), v, p, []uint64{1, 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &eval.QoE{LBO: eval.Estimate{Mean: 15, N: 2}, Level: eval.Estimate{Mean: 1, N: 2}, Stalls: eval.Estimate{Mean: 3, N: 2}}
	if !reflect.DeepEqual(got.QoE, want) {
		t.Errorf("got %+v, want %+v", got.QoE, want)
	}
	if got.Return != (eval.Estimate{Mean: 1, N: 2}) || !reflect.DeepEqual(got.Shares, [][]float64{{.5, .5}}) {
		t.Errorf("%+v", got)
	}
	v.bad = float32(math.NaN())
	if _, err := eval.Evaluate(context.Background(), v, p, []uint64{1}, nil); err == nil || !strings.Contains(err.Error(), "row 0: observation element 0 (lbo_s) is NaN") {
		t.Errorf("NaN: %v", err)
	}
	if _, err := eval.Evaluate(context.Background(), v, p, nil, nil); err == nil {
		t.Error("no seeds are accepted")
	}
}

// The interval is Student's t times the standard error.
func TestStudent(t *testing.T) {
	// scipy.stats.t.ppf(.975, v)
	for v, want := range map[int]float64{1: 12.706204736, 4: 2.776445105, 9: 2.262157163, 10: 2.228138852, 19: 2.093024054, 99: 1.984216952} {
		x := make([]float64, v+1)
		x[0] = 1 // of mean 1/n, variance 1/n
		n := float64(len(x))
		if got := eval.EstimateOf(x).CI / math.Sqrt(1/n/n); math.Abs(got-want) > 1e-8 {
			t.Errorf("t(%d) = %v, want %v", v, got, want)
		}
	}
}

func TestOverIsPaired(t *testing.T) {
	a, b := &eval.Evaluation{Returns: []float64{101, 202, 303}}, &eval.Evaluation{Returns: []float64{100, 200, 300}}
	if got := a.Over(b); got.Mean != 2 || math.Abs(got.CI-4.302652730/math.Sqrt(3)) > 1e-8 || got.N != 3 {
		t.Errorf("%+v", got)
	}
}

// short gives observations that lack an element.
type short struct{ env.Vector }

func (s short) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	err := s.Vector.Step(ctx, rows, actions, out)
	out.Obs = out.Obs[:len(out.Obs)-1]
	return err
}

func TestEvaluateRefusesAWrongSize(t *testing.T) {
	v := short{cartPole(t, 2, env.NextStep)}
	p, err := baseline.New("random", v.Spec())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eval.Evaluate(context.Background(), v, p, eval.HeldOut(0, 2), nil); err == nil || !strings.Contains(err.Error(), "7 numbers for 2 observations of 4 elements") {
		t.Errorf("got %v", err)
	}
}

// Under same_step the row of an episode that ends is reset within the step: the
// viewer's last step belongs to the episode that ended all the same.
func TestEvaluateQoEDoesNotDependOnAutoreset(t *testing.T) {
	for _, mode := range []env.Autoreset{env.Disabled, env.NextStep, env.SameStep} {
		v := env.WithAutoreset(&viewer{}, mode)
		p, err := baseline.New("alternate", v.Spec())
		if err != nil {
			t.Fatal(err)
		}
		got, err := eval.Evaluate(context.Background(), v, p, []uint64{1, 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Two steps: buffers of 10 and 20 s, levels 0 and 2, stalls of 1 and 2 s.
		want := &eval.QoE{LBO: eval.Estimate{Mean: 15, N: 2}, Level: eval.Estimate{Mean: 1, N: 2}, Stalls: eval.Estimate{Mean: 3, N: 2}}
		if !reflect.DeepEqual(got.QoE, want) {
			t.Errorf("%v: got %+v, want %+v", mode, got.QoE, want)
		}
	}
}

// forgetful resets within the step and does not say what was before.
type forgetful struct{ *viewer }

func (forgetful) Spec() env.Spec {
	s := (&viewer{}).Spec()
	s.Autoreset = env.SameStep
	return s
}
func (f forgetful) Step(ctx context.Context, rows []int, a []int32, out *env.Batch) error {
	if err := f.viewer.Step(ctx, rows, a, out); err != nil || !out.Truncated[0] {
		return err
	}
	out.FinalObs = append(out.FinalObs[:0], out.Obs...)
	f.viewer.step = 0
	return nil
}

// Where the last step of an episode is not known, means are of those that are.
func TestEvaluateQoEOfKnownSteps(t *testing.T) {
	v := forgetful{&viewer{}}
	p, err := baseline.New("alternate", v.Spec())
	if err != nil {
		t.Fatal(err)
	}
	got, err := eval.Evaluate(context.Background(), v, p, []uint64{1, 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &eval.QoE{LBO: eval.Estimate{Mean: 10, N: 2}, Level: eval.Estimate{Mean: 0, N: 2}, Stalls: eval.Estimate{Mean: 1, N: 2}}
	if !reflect.DeepEqual(got.QoE, want) {
		t.Errorf("got %+v, want %+v", got.QoE, want)
	}
}
