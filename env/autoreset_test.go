package env_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// clocks is a vector whose numbers say where they come from. Row r's episode e
// lasts 2 + (r+e)%3 steps, and terminates where e is even, else it is truncated.
// An observation is row, episode, step; a step pays 10·action + step.
type clocks struct {
	n             int
	episode, step []int
	over          []bool
	calls         []string
}

func newClocks(n int) *clocks {
	return &clocks{n: n, episode: make([]int, n), step: make([]int, n), over: make([]bool, n)}
}

func (c *clocks) Spec() env.Spec {
	return env.Spec{Observation: env.Box{Low: make([]float32, 3), High: make([]float32, 3)}, Action: env.MultiDiscrete{2, 3}, Autoreset: env.Disabled, MaxSteps: 9}
}
func (c *clocks) Num() int     { return c.n }
func (c *clocks) Close() error { c.calls = append(c.calls, "close"); return nil }

func (c *clocks) each(rows []int, out *env.Batch, do func(i, r int)) {
	n := c.n
	if rows != nil {
		n = len(rows)
	}
	out.Size(n, 3, false)
	for i := range n {
		r := env.RowAt(rows, i)
		out.Reward[i], out.Terminated[i], out.Truncated[i] = 0, false, false
		do(i, r)
		copy(out.Obs[3*i:], []float32{float32(r), float32(c.episode[r]), float32(c.step[r])})
	}
}

func (c *clocks) Reset(_ context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	c.calls = append(c.calls, fmt.Sprint("reset ", rows, seeds))
	c.each(rows, out, func(i, r int) {
		c.episode[r], c.step[r], c.over[r] = c.episode[r]+1, 0, false
		if seeds != nil {
			c.episode[r] = int(seeds[i])
		}
	})
	return nil
}

func (c *clocks) Step(_ context.Context, rows []int, actions []int32, out *env.Batch) error {
	n := c.n
	if rows != nil {
		n = len(rows)
	}
	if err := env.CheckActions(rows, n, actions, c.Spec().Action); err != nil {
		return err
	}
	c.calls = append(c.calls, fmt.Sprint("step ", rows, actions))
	for i := range len(actions) / 2 {
		if c.over[env.RowAt(rows, i)] {
			return &env.RowError{Row: env.RowAt(rows, i), Err: env.ErrEpisodeOver}
		}
	}
	c.each(rows, out, func(i, r int) {
		c.step[r]++
		out.Reward[i] = float32(100*actions[2*i] + 10*actions[2*i+1] + int32(c.step[r]))
		if c.step[r] == 2+(r+c.episode[r])%3 {
			c.over[r] = true
			out.Terminated[i], out.Truncated[i] = c.episode[r]%2 == 0, c.episode[r]%2 == 1
		}
	})
	return nil
}

func (c *clocks) InfoFields() []telemetry.Field {
	return []telemetry.Field{{Name: "where"}, {Name: "twice"}}
}
func (c *clocks) Info(row int, dst []float32) []float32 {
	x := float32(100*c.episode[row] + c.step[row])
	return append(dst, x, 2*x)
}
func (c *clocks) Snapshot(row int, dst []byte) ([]byte, error) {
	if row < 0 || row >= c.n {
		return dst, &env.RowError{Row: row, Err: env.ErrInvalidRows}
	}
	over := byte(0)
	if c.over[row] {
		over = 1
	}
	return append(dst, byte(c.episode[row]), byte(c.step[row]), over), nil
}
func (c *clocks) Restore(row int, src []byte) error {
	if len(src) != 3 || src[2] > 1 {
		return env.ErrBadSnapshot
	}
	c.episode[row], c.step[row], c.over[row] = int(src[0]), int(src[1]), src[2] == 1
	return nil
}

// mute is a vector that has no information and takes no snapshots.
type mute struct{ env.Vector }

// Every mode, row by row and step by step, against what Gymnasium's AutoresetMode
// says: next_step shows the last observation, then resets in a step of reward 0
// whose action does nothing; same_step shows the first observation of the next
// episode, and the last one in FinalObs; disabled leaves the row to its caller.
func TestAutoresetByHand(t *testing.T) {
	ctx := context.Background()
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep, env.Disabled} {
		for _, rowSets := range [][][]int{{nil}, {{2, 0}, {1}, {0, 1, 2}, {1, 2}}} {
			inner := newClocks(3)
			v := env.WithAutoreset(inner, mode)
			if got := v.Spec(); got.Autoreset != mode || got.MaxSteps != 9 {
				t.Fatalf("spec %+v", got)
			}
			var out env.Batch
			if err := v.Reset(ctx, nil, []uint64{4, 5, 6}, &out); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 9, false: 0}[mode == env.SameStep]; len(out.FinalObs) != want || !slices.Equal(out.Obs, []float32{0, 4, 0, 1, 5, 0, 2, 6, 0}) {
				t.Fatalf("%v: after a reset %+v", mode, out)
			}
			episode, step, over := []int{4, 5, 6}, []int{0, 0, 0}, []bool{false, false, false}
			for k := range 40 {
				rows := rowSets[k%len(rowSets)]
				if mode == env.Disabled {
					var ended []int
					for r := range 3 {
						if over[r] && (rows == nil || slices.Contains(rows, r)) {
							ended = append(ended, r)
							episode[r], step[r], over[r] = episode[r]+1, 0, false
						}
					}
					if len(ended) > 0 {
						if err := v.Reset(ctx, ended, nil, &out); err != nil {
							t.Fatal(err)
						}
					}
				}
				n := 3
				if rows != nil {
					n = len(rows)
				}
				var actions []int32
				for i := range n {
					actions = append(actions, int32((k+i)%2), int32((k+2*i)%3))
				}
				if err := v.Step(ctx, rows, actions, &out); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					r := env.RowAt(rows, i)
					var reward float32
					final, terminated, truncated := []float32(nil), false, false
					switch {
					case mode == env.NextStep && over[r]:
						episode[r], step[r], over[r] = episode[r]+1, 0, false
					default:
						step[r]++
						reward = float32(100*actions[2*i] + 10*actions[2*i+1] + int32(step[r]))
						if over[r] = step[r] == 2+(r+episode[r])%3; over[r] {
							terminated, truncated = episode[r]%2 == 0, episode[r]%2 == 1
						}
						if over[r] && mode == env.SameStep {
							final = []float32{float32(r), float32(episode[r]), float32(step[r])}
							episode[r], step[r], over[r] = episode[r]+1, 0, false
						}
					}
					at := fmt.Sprintf("%v, rows %v, call %d, row %d", mode, rows, k, r)
					if got, want := out.Obs[3*i:3*i+3], []float32{float32(r), float32(episode[r]), float32(step[r])}; !slices.Equal(got, want) {
						t.Fatalf("%s: observes %v, want %v", at, got, want)
					}
					if out.Reward[i] != reward || out.Terminated[i] != terminated || out.Truncated[i] != truncated {
						t.Fatalf("%s: %v %v %v, want %v %v %v", at, out.Reward[i], out.Terminated[i], out.Truncated[i], reward, terminated, truncated)
					}
					if mode == env.SameStep {
						if got := out.FinalObs[3*i : 3*i+3]; final != nil && !slices.Equal(got, final) {
							t.Fatalf("%s: last observation %v, want %v", at, got, final)
						}
					} else if len(out.FinalObs) != 0 {
						t.Fatalf("%s: has last observations", at)
					}
					x := float32(100*episode[r] + step[r])
					if got := v.(env.Informer).Info(r, []float32{7}); !slices.Equal(got, []float32{7, x, 2 * x}) {
						t.Fatalf("%s: information %v, want of %v", at, got, x)
					}
					if final != nil {
						x = 100*final[1] + final[2]
					}
					if got, ok := env.FinalInfo(v, r, []float32{7}); !ok || !slices.Equal(got, []float32{7, x, 2 * x}) {
						t.Fatalf("%s: information of the last step %v %v, want of %v", at, got, ok, x)
					}
				}
			}
			if err := v.Close(); err != nil || inner.calls[len(inner.calls)-1] != "close" {
				t.Errorf("%v, %v", err, inner.calls[len(inner.calls)-1])
			}
		}
	}
}

// A reset forgets that an episode had ended, and what it ended with.
func TestResetForgetsTheEnd(t *testing.T) {
	ctx := context.Background()
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep} {
		v := env.WithAutoreset(newClocks(2), mode)
		var out env.Batch
		if err := v.Reset(ctx, nil, []uint64{6, 6}, &out); err != nil { // episodes of 2 and 3 steps
			t.Fatal(err)
		}
		for range 2 {
			if err := v.Step(ctx, nil, make([]int32, 4), &out); err != nil {
				t.Fatal(err)
			}
		}
		if !out.Terminated[0] || out.Terminated[1] {
			t.Fatalf("%+v", out)
		}
		if err := v.Reset(ctx, []int{0}, []uint64{7}, &out); err != nil {
			t.Fatal(err)
		}
		if got, ok := env.FinalInfo(v, 0, nil); !ok || got[0] != 700 {
			t.Errorf("%v: information %v %v", mode, got, ok)
		}
		if err := v.Step(ctx, []int{0}, []int32{1, 0}, &out); err != nil || out.Reward[0] != 101 || out.Obs[2] != 1 {
			t.Errorf("%v: %v, %+v", mode, err, out)
		}
	}
}

// What is wrong is refused before anything changes.
func TestAutoresetRefuses(t *testing.T) {
	ctx := context.Background()
	inner := newClocks(3)
	v := env.WithAutoreset(inner, env.NextStep)
	var out env.Batch
	if err := v.Reset(ctx, nil, []uint64{6, 4, 5}, &out); err != nil { // row 0: 2 steps
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Step(ctx, nil, make([]int32, 6), &out); err != nil {
			t.Fatal(err)
		}
	}
	calls := len(inner.calls)
	for _, c := range []struct {
		rows    []int
		actions []int32
		want    error
	}{
		{[]int{0, 3}, make([]int32, 4), env.ErrInvalidRows}, {[]int{0, -1}, make([]int32, 4), env.ErrInvalidRows}, {[]int{1, 0, 1}, make([]int32, 6), env.ErrInvalidRows},
		{nil, make([]int32, 5), env.ErrInvalidAction}, {nil, make([]int32, 7), env.ErrInvalidAction}, {[]int{0}, nil, env.ErrInvalidAction},
		{nil, []int32{0, 0, 2, 0, 0, 0}, env.ErrInvalidAction}, {nil, []int32{0, 0, 0, 0, 0, 3}, env.ErrInvalidAction}, {nil, []int32{0, 0, -1, 0, 0, 0}, env.ErrInvalidAction},
	} {
		if err := v.Step(ctx, c.rows, c.actions, &out); !errors.Is(err, c.want) {
			t.Errorf("%v %v: %v", c.rows, c.actions, err)
		}
	}
	if len(inner.calls) != calls {
		t.Errorf("was called: %v", inner.calls[calls:])
	}
	// The action of the row that is reset is not looked at.
	if err := v.Step(ctx, nil, []int32{9, 9, 0, 0, 0, 0}, &out); err != nil || out.Obs[1] != 7 {
		t.Errorf("%v %+v", err, out)
	}
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "resets by itself") {
			t.Error(p)
		}
	}()
	env.WithAutoreset(v, env.SameStep)
}

// A row's state goes with whether its episode had ended.
func TestAutoresetSnapshots(t *testing.T) {
	ctx := context.Background()
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep} {
		v := env.WithAutoreset(newClocks(2), mode)
		s := v.(env.Snapshotter)
		var out env.Batch
		if err := v.Reset(ctx, nil, []uint64{6, 4}, &out); err != nil { // 2 steps and 4
			t.Fatal(err)
		}
		for range 2 {
			if err := v.Step(ctx, nil, make([]int32, 4), &out); err != nil {
				t.Fatal(err)
			}
		}
		ended, err := s.Snapshot(0, []byte("x"))
		going, err2 := s.Snapshot(1, nil)
		if err != nil || err2 != nil || ended[0] != 'x' {
			t.Fatal(err, err2)
		}
		// Crossed: row 1 goes on as row 0 would, and the other way round.
		if err := errors.Join(s.Restore(1, ended[1:]), s.Restore(0, going)); err != nil {
			t.Fatal(err)
		}
		if got, ok := env.FinalInfo(v, 0, nil); !ok || got[0] != 402 {
			t.Errorf("%v: information %v", mode, got)
		}
		if err := v.Step(ctx, nil, []int32{1, 1, 1, 1}, &out); err != nil {
			t.Fatal(err)
		}
		want := map[env.Autoreset][]float32{env.NextStep: {113, 0}, env.SameStep: {113, 111}}[mode]
		first := map[env.Autoreset]float32{env.NextStep: 4, env.SameStep: 5}[mode] // row 0 ends at its third step
		if !slices.Equal(out.Reward, want) || out.Obs[1] != first || out.Obs[4] != 7 {
			t.Errorf("%v: %+v, want rewards %v", mode, out, want)
		}
		for _, row := range []int{-1, 2} {
			if _, err := s.Snapshot(row, nil); err == nil {
				t.Errorf("row %d has a state", row)
			}
		}
		for _, b := range [][]byte{nil, {}, {9, 1, 1, 0}, going[:len(going)-1]} {
			if err := s.Restore(0, b); !errors.Is(err, env.ErrBadSnapshot) {
				t.Errorf("%v is restored: %v", b, err)
			}
		}
	}
	m := env.WithAutoreset(mute{newClocks(1)}, env.SameStep)
	if _, err := m.(env.Snapshotter).Snapshot(0, nil); !errors.Is(err, env.ErrBadSnapshot) {
		t.Errorf("got %v", err)
	}
	if err := m.(env.Snapshotter).Restore(0, []byte{0}); !errors.Is(err, env.ErrBadSnapshot) {
		t.Errorf("got %v", err)
	}
	if m.(env.Informer).InfoFields() != nil || m.(env.Informer).Info(0, nil) != nil {
		t.Error("has information that the vector has not")
	}
	for _, v := range []env.Vector{m, mute{newClocks(1)}} {
		if got, ok := env.FinalInfo(v, 0, nil); ok || got != nil {
			t.Errorf("%v %v", got, ok)
		}
	}
	if got, ok := env.FinalInfo(newClocks(1), 0, nil); !ok || got[0] != 0 {
		t.Errorf("%v %v", got, ok)
	}
}

func TestAutoresetNames(t *testing.T) {
	for name, want := range map[string]env.Autoreset{"": env.NextStep, "next_step": env.NextStep, "same_step": env.SameStep, "disabled": env.Disabled} {
		if got, err := env.ParseAutoreset(name); err != nil || got != want {
			t.Errorf("%q: %v %v", name, got, err)
		}
		if name == "" {
			continue
		}
		var m struct{ Mode env.Autoreset }
		if err := json.Unmarshal(fmt.Appendf(nil, `{"Mode": %q}`, name), &m); err != nil || m.Mode != want || want.String() != name {
			t.Errorf("%q: %v %v", name, m.Mode, err)
		}
		if b, err := json.Marshal(m); err != nil || string(b) != fmt.Sprintf(`{"Mode":%q}`, name) {
			t.Errorf("%s %v", b, err)
		}
	}
	if _, err := env.ParseAutoreset("never"); err == nil || err.Error() != `env: autoreset: "never" is not one of ["next_step" "same_step" "disabled"]` {
		t.Errorf("got %v", err)
	}
	if got := env.Autoreset(3).String(); got != "Autoreset(3)" {
		t.Error(got)
	}
}

func TestCheckRowsAndActions(t *testing.T) {
	seen := make([]bool, 3)
	for _, c := range []struct {
		rows []int
		row  int // at fault; -1: none
	}{{nil, -1}, {[]int{}, -1}, {[]int{0, 1, 2}, -1}, {[]int{2}, -1}, {[]int{0, 3}, 3}, {[]int{-1}, -1 << 8}, {[]int{1, 2, 1}, 1}, {[]int{0, 0, 9}, 0}} {
		err := env.CheckRows(c.rows, seen)
		var e *env.RowError
		switch {
		case c.row == -1 && err != nil:
			t.Errorf("%v: %v", c.rows, err)
		case c.row != -1 && (!errors.As(err, &e) || !errors.Is(err, env.ErrInvalidRows) || e.Row != max(c.row, -1)):
			t.Errorf("%v: %v", c.rows, err)
		}
		if slices.Contains(seen, true) {
			t.Fatalf("%v: leaves %v", c.rows, seen)
		}
	}
	space := env.MultiDiscrete{2, 3}
	for _, c := range []struct {
		rows    []int
		n       int
		actions []int32
		want    string
	}{
		{nil, 2, []int32{0, 0, 1, 2}, ""}, {nil, 2, []int32{0, 0, 1}, "3 actions for 2 rows of 2"}, {nil, 1, []int32{2, 0}, "row 0: invalid action: 2 is not in [0, 2)"},
		{[]int{5, 7}, 2, []int32{0, 0, 0, 3}, "row 7: invalid action: 3 is not in [0, 3)"}, {[]int{5, 7}, 2, []int32{0, -1, 0, 3}, "row 5: invalid action: -1 is not in [0, 3)"},
		{nil, 0, nil, ""}, {nil, 0, []int32{1}, "1 actions for 0 rows"},
	} {
		err := env.CheckActions(c.rows, c.n, c.actions, space)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !errors.Is(err, env.ErrInvalidAction)) {
			t.Errorf("%v %v: %v, want %q", c.rows, c.actions, err, c.want)
		}
	}
	if env.RowAt(nil, 2) != 2 || env.RowAt([]int{7, 8, 9}, 2) != 9 {
		t.Error("RowAt")
	}
}

func TestOne(t *testing.T) {
	ctx := context.Background()
	inner := newClocks(1)
	e, err := env.One(env.WithAutoreset(inner, env.NextStep))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(4)
	if obs, err := e.Reset(ctx, &seed); err != nil || !slices.Equal(obs, []float32{0, 4, 0}) {
		t.Errorf("%v %v", obs, err)
	}
	if e.Spec().MaxSteps != 9 {
		t.Errorf("%+v", e.Spec())
	}
	var ends []string
	for range 7 {
		obs, reward, terminated, truncated, err := e.Step(ctx, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, fmt.Sprint(obs[1], obs[2], reward, terminated, truncated))
	}
	if got := strings.Join(ends, ", "); got != "4 1 121 false false, 4 2 122 false false, 4 3 123 true false, 5 0 0 false false, 5 1 121 false false, 5 2 122 false false, 5 3 123 false false" {
		t.Error(got)
	}
	if _, _, _, _, err := e.Step(ctx, 1); !errors.Is(err, env.ErrInvalidAction) {
		t.Errorf("got %v", err)
	}
	if obs, err := e.Reset(ctx, nil); err != nil || obs[1] != 6 {
		t.Errorf("%v %v", obs, err)
	}
	if err := e.Close(); err != nil || inner.calls[len(inner.calls)-1] != "close" {
		t.Error(err)
	}
	for _, n := range []int{0, 2} {
		if _, err := env.One(newClocks(n)); !errors.Is(err, env.ErrInvalidRows) {
			t.Errorf("%d rows: %v", n, err)
		}
	}
	failed := errors.New("x")
	f, err := env.One(refusing{newClocks(1), failed})
	if err != nil {
		t.Fatal(err)
	}
	if obs, err := f.Reset(ctx, nil); obs != nil || !errors.Is(err, failed) {
		t.Errorf("%v %v", obs, err)
	}
	if obs, r, a, b, err := f.Step(ctx, 0, 0); obs != nil || r != 0 || a || b || !errors.Is(err, failed) {
		t.Errorf("%v %v %v %v %v", obs, r, a, b, err)
	}
}

type refusing struct {
	env.Vector
	err error
}

func (r refusing) Reset(context.Context, []int, []uint64, *env.Batch) error { return r.err }
func (r refusing) Step(context.Context, []int, []int32, *env.Batch) error   { return r.err }

func TestBatchSize(t *testing.T) {
	var b env.Batch
	b.Size(3, 2, true)
	if len(b.Obs) != 6 || len(b.Reward) != 3 || len(b.Terminated) != 3 || len(b.Truncated) != 3 || len(b.FinalObs) != 6 {
		t.Errorf("%+v", b)
	}
	p := &b.Obs[0]
	b.Size(2, 2, false)
	if len(b.Obs) != 4 || len(b.FinalObs) != 0 || &b.Obs[0] != p {
		t.Errorf("%+v", b)
	}
	e := &env.RowError{Row: 3, Err: env.ErrNeedReset}
	if e.Error() != "row 3: reset required before step" || !errors.Is(e, env.ErrNeedReset) {
		t.Error(e)
	}
}
