package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

// journalled is a deployment of nothing, with a journal, and what was written to it.
func journalled(t *testing.T) (*Deployment, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	d := &Deployment{away: map[string]*absence{}, cancel: func(error) {}}
	var err error
	if d.journal, err = OpenJournal(path, "agent"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.journal.Close() })
	return d, func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// A switch that is away is a line when it goes, one when why it is away changes, and
// one when it is back, with all that was done to it.
func TestWhatBecameOfASwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, text := journalled(t)
		cut, refused := errors.New("cut"), errors.New("refused")
		for _, e := range []p4rt.Event{
			{Kind: p4rt.Up, Pushed: true, Provisioned: true},
			{Kind: p4rt.Down, Err: cut}, {Kind: p4rt.Down, Err: cut}, {Kind: p4rt.Failed, Err: refused}, {Kind: p4rt.Failed, Err: refused},
			{Kind: p4rt.Up, Safe: true},
			{Kind: p4rt.Up},
			{Kind: p4rt.Down, Err: cut},
		} {
			d.happened(Event{"s1", e})
			time.Sleep(time.Second)
		}
		d.happened(Event{"s2", p4rt.Event{Kind: p4rt.Down, Err: cut}}) // another's absence is its own
		var got []string
		for line := range strings.Lines(text()) {
			_, why, _ := strings.Cut(line, `"event":"switch","why":`)
			got = append(got, strings.TrimSuffix(why, "}\n"))
		}
		want := []string{
			`"s1 up, queues provisioned, pipeline pushed"`, `"s1 down","error":"cut"`, `"s1 failed","error":"refused"`,
			`"s1 up, after 4s and 3 more tries, the safe limit put back"`, `"s1 up"`, `"s1 down","error":"cut"`, `"s2 down","error":"cut"`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// Five episodes in a row that a rail ended within ten steps end the deployment; an
// episode between them that was longer, or ended by itself, starts the count anew.
func TestTripped(t *testing.T) {
	for _, c := range []struct {
		name     string
		episodes string // of each: t tripped after 10 steps, l tripped after 11, e ended by itself
		ends     bool
	}{
		{"four", "tttt", false}, {"five", "ttttt", true}, {"a longer one between", "ttttltttt", false}, {"one that ended between", "ttttetttt", false},
		{"five after a longer one", "tlttttt", true}, {"long ones", "llllllll", false}, {"their own ends", "eeeeeeee", false},
	} {
		d := &Deployment{last: "a stall"}
		var err error
		for _, e := range c.episodes {
			d.asked = map[rune]int{'t': 10, 'l': 11, 'e': 3}[e]
			if e != 'e' {
				d.trips++
			}
			err = errors.Join(err, d.tripped(false), d.tripped(true))
			if d.asked != 0 {
				t.Errorf("%s: the next episode begins at step %d", c.name, d.asked)
			}
		}
		if (err != nil) != c.ends || c.ends && !strings.HasPrefix(err.Error(), "deploy: 5 episodes in a row ended within 10 steps because the safe limit had to be put in force, the last time because of a stall;") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// scale multiplies by what a column is scaled by.
type scale []float32

func (s scale) Scale(column int, x float32) float32 { return s[column] * x }

// A scaler of recordings serves live columns in any order; stall_s, which recordings
// lack, is the one that may be missing.
func TestScalerByName(t *testing.T) {
	of := func(names ...string) (f []telemetry.Field) {
		for _, n := range names {
			f = append(f, telemetry.Field{Name: n})
		}
		return f
	}
	n, err := ScalerByName(scale{2, 3, 5}, of("a", "b", "c"), of("c", "stall_s", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]float32{0: 5, 2: 2, 3: 3} {
		if got := n.Scale(i, 1); got != want {
			t.Errorf("column %d by %v, want %v", i, got, want)
		}
	}
	if _, err := ScalerByName(scale{2, 3}, of("a", "b"), of("a", "x")); err == nil || err.Error() != "env.observation: the data that it is scaled by has no x" {
		t.Errorf("%v", err)
	}
	var s scenarios.Scenario
	if got := ActionLimits(s); !slices.Equal(got, queues.DefaultLimits()) {
		t.Errorf("%v", got)
	}
	s.Env.Limits = []p4.Limit{7, 9}
	if got := ActionLimits(s); !slices.Equal(got, s.Env.Limits) {
		t.Errorf("%v", got)
	}
	asked := 0
	given := func([]telemetry.Field) (queues.Normaliser, error) { asked++; return scale{1}, nil }
	for i, how := range []string{"none", "l2", "minmax"} {
		s.Env.Observation.Normalise = how
		if n, err := scalerOf(t.Context(), s, given, of("a")); err != nil || (n == nil) != (i < 2) || asked != i/2 {
			t.Errorf("%s: %v, %v, asked %d times", how, n, err, asked)
		}
	}
}

// A recording is made while the limit is in force on all switches, and while any is
// where none was named.
func TestRecordedWhileInForce(t *testing.T) {
	const limit, other = p4.Limit(64), p4.Limit(32)
	all := []p4.Limit{limit, limit}
	for _, c := range []struct {
		name  string
		limit p4.Limit
		acts  []live.Act
		on    bool
	}{
		{"nothing was asked for", limit, nil, false},
		{"asked for, not yet in force", limit, []live.Act{{Asked: all}}, false},
		{"in force", limit, []live.Act{{Asked: all}, {Asked: all, Done: true}}, true},
		{"refused", limit, []live.Act{{Asked: all, Done: true, Err: errors.New("no")}}, false},
		{"in force on one", limit, []live.Act{{Asked: []p4.Limit{limit, other}, Done: true}}, false},
		{"another is asked for", limit, []live.Act{{Asked: all, Done: true}, {Asked: []p4.Limit{other, limit}}}, false},
		{"asked for again", limit, []live.Act{{Asked: all, Done: true}, {Asked: all}}, true},
		{"failed the second time", limit, []live.Act{{Asked: all, Done: true}, {Asked: all, Done: true, Err: errors.New("no")}}, false},
		{"any limit", 0, []live.Act{{Asked: []p4.Limit{other, other}, Done: true, Err: errors.New("no")}}, true},
	} {
		s := scenarios.Scenario{Live: scenarios.Live{Switches: inventory.Inventory{{}}}}
		r := &recorder{dir: t.TempDir(), limit: c.limit, most: 1}
		if err := r.open(&s); err != nil {
			t.Fatal(err)
		}
		for _, a := range c.acts {
			r.acted(a)
		}
		fill(r, r.begin, 3, 0)
		err := r.finish(nil)
		if c.on != (r.int.rows == 3 && r.dash.rows == 3) || !c.on && (r.int.rows+r.dash.rows != 0 || err == nil ||
			err.Error() != "collect: 0 reports and 0 samples of the player came in under the limit: nothing to join") || c.on && err != nil {
			t.Errorf("%s: %d reports, %d samples, %v", c.name, r.int.rows, r.dash.rows, err)
		}
		var names []string
		for _, f := range r.files {
			names = append(names, filepath.Base(f))
		}
		want := []string{"int_64.csv", "dash_64.csv", "grid_64.csv"}
		if c.limit == 0 {
			want = []string{"int.csv", "dash.csv"}
		}
		if c.on && !slices.Equal(names, want) || !c.on && names != nil {
			t.Errorf("%s: files %v", c.name, names)
		}
	}
}

// What an account of a deployment says: its steps as they come, its summary, and its
// journal.
func TestAccounts(t *testing.T) {
	bubble(t, sim.Strict, func(r *rig) {
		x := deployOn(r)
		var steps []Step
		x.d.cfg.For, x.d.cfg.Name = 18*time.Second, "lab.toml" // of windows of 4 s: five
		x.d.cfg.Step = func(s Step) { steps = append(steps, s) }
		if err := x.d.begin("fixed"); err != nil {
			r.Fatal(err)
		}
		if err := x.d.ended(x.d.loop(x.d.ctx, steady{action: 1})); err != nil {
			r.Fatal(err)
		}
		sum := x.d.Summary()
		if sum.Steps != 5 || len(steps) != 5 || sum.Safe != 0 || sum.Files != nil || len(sum.Sets) != 6 { // and that of the reset
			r.Errorf("%+v", sum)
		}
		total := 0.
		for i, s := range steps {
			total += float64(s.Reward)
			if s.N != i+1 || !slices.Equal(s.Limits, []p4.Limit{usual}) || len(s.Player) < 4 || s.Player[0] != 31 || s.Safe != 0 {
				r.Errorf("step %d: %+v", i+1, s)
			}
		}
		if total == 0 || total != sum.Rewards {
			r.Errorf("rewards %v, in all %v", total, sum.Rewards)
		}
		if err := x.d.Close(nil); err != nil {
			r.Fatal(err)
		}
		for _, want := range []string{`"event":"begin","why":"fixed acts in lab.toml, unguarded"`, `"event":"step","step":5,"asked":[64],"reward":2`, `"event":"end","step":5}`} {
			if !strings.Contains(x.text(), want) {
				r.Errorf("the journal lacks %s:\n%s", want, x.text())
			}
		}
		r.inForce(safe, safe, safe)
	})
}

// A dry run says what would be set; the journal too.
func TestDecide(t *testing.T) {
	bubble(t, sim.Strict, func(r *rig) {
		x := deployOn(r)
		got, err := x.d.Decide(steady{action: 1})
		if err != nil || !slices.Equal(got, []p4.Limit{usual}) {
			r.Errorf("%v, %v", got, err)
		}
		if !strings.Contains(x.text(), `"event":"decide","why":"dry run","asked":[64]`) {
			r.Error(x.text())
		}
		x.stop(nil)
		if got, err := x.d.Decide(steady{action: 1}); got != nil || err != nil { // Ctrl-C is no error
			r.Errorf("after its end: %v, %v", got, err)
		}
		_ = x.d.Close(nil)
	})
}

// An agent that learns on switches steps within the same rails: what it does is
// journalled, and after its guard, or the deployment, has ended it steps no more.
func TestLearn(t *testing.T) {
	bubble(t, sim.Strict, func(r *rig) {
		x := deployOn(r)
		v, err := x.d.Learn("a pupil")
		if err != nil {
			r.Fatal(err)
		}
		var out env.Batch
		if err := v.Reset(r.Context(), nil, nil, &out); err != nil {
			r.Fatal(err)
		}
		if err := v.Step(r.Context(), nil, []int32{1}, &out); err != nil {
			r.Fatal(err)
		}
		r.inForce(usual, usual, usual)
		if x.d.steps != 1 || x.d.rewards != float64(out.Reward[0]) || !strings.Contains(x.text(), `"event":"step","step":1,"asked":[64]`) || !strings.Contains(x.text(), "a pupil acts in") {
			r.Errorf("%d steps, %v\n%s", x.d.steps, x.d.rewards, x.text())
		}
		why := fmt.Errorf("the guard is gone")
		x.stop(why)
		if err := v.Step(r.Context(), nil, []int32{1}, &out); !errors.Is(err, why) {
			r.Errorf("a step without a guard: %v", err)
		}
		gone, cancel := context.WithCancel(r.Context())
		cancel()
		if err := v.Step(gone, nil, []int32{1}, &out); !errors.Is(err, context.Canceled) || errors.Is(err, why) {
			r.Errorf("a step of one that has been given up: %v", err)
		}
		if err := v.Close(); err != nil {
			r.Error(err)
		}
		if err := v.Close(); err != nil {
			r.Errorf("closed again: %v", err)
		}
		if n := strings.Count(x.text(), `"event":"end"`); n != 1 || x.d.steps != 1 {
			r.Errorf("%d ends, %d steps", n, x.d.steps)
		}
		r.inForce(safe, safe, safe)
	})
}
