package deploy

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/planegym/planegym/telemetry"
	collect "github.com/planegym/planegym/telemetry/live"
)

// wild is a policy that asks for limit 64 twice, then for an action that does not exist.
type wild struct{ n int }

func (*wild) Begin([]int, []uint64) {}
func (w *wild) Act(_ []int, _ []float32, actions []int32) {
	w.n++
	for i := range actions {
		actions[i] = 1
		if w.n > 2 {
			actions[i] = 7
		}
	}
}

// kept is a controller that records the limits it is asked to set.
type kept struct {
	set    []p4.Limit // in the order of time, of the first queue
	closed bool
}

func (k *kept) Set(ctx context.Context, queues []p4.Queue, limits []p4.Limit) ([]p4.InForce, error) {
	k.set = append(k.set, limits[0])
	return k.Read(ctx, queues)
}

func (k *kept) Read(_ context.Context, queues []p4.Queue) ([]p4.InForce, error) {
	var got []p4.InForce
	for _, q := range queues {
		got = append(got, p4.InForce{Queue: q, Limit: k.set[len(k.set)-1]})
	}
	return got, nil
}

func (k *kept) Close() error { k.closed = true; return nil }

// calm is telemetry of nothing but a full buffer.
type calm struct{}

func (calm) Columns() []telemetry.Field {
	var f []telemetry.Field
	for _, n := range []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "lbo_s", "fps", "rep_kbps", "calc_rate"} {
		x, _ := telemetry.Canonical(n)
		f = append(f, x)
	}
	return f
}

func (calm) Window(ctx context.Context, start time.Time, values []float32, valid []bool) (live.Ages, error) {
	select {
	case <-time.After(time.Until(start.Add(time.Duration(len(values)/7) * time.Second))):
	case <-ctx.Done():
		return live.Ages{}, ctx.Err()
	}
	for i := range values {
		values[i], valid[i] = 31, true
	}
	return live.Ages{Switches: []time.Duration{0}}, nil
}

func (calm) Close() error { return nil }

// A policy that returns an invalid action ends the deployment, and the safe
// limit is in force before another window has passed.
func TestDeployOfAWildPolicy(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal.jsonl")
	k := &kept{}
	synctest.Test(t, func(t *testing.T) {
		d := &Deployment{ctx: t.Context(), stopMetrics: func() {}, cancel: func(error) {}}
		var err error
		if d.journal, err = OpenJournal(journal, "agent"); err != nil {
			t.Fatal(err)
		}
		d.cfg.Scenario.Live.Switches = inventory.Inventory{{}}
		c, err := collect.New(collect.Config{Switches: []uint32{1}})
		if err != nil {
			t.Fatal(err)
		}
		plant, err := live.New(live.Config{Safe: 32}, k, []p4.Queue{{Port: 1}}, calm{}, d.acted)
		if err != nil {
			t.Fatal(err)
		}
		v, err := queues.New(queues.Config{Observation: queues.Observation{Normalise: "none"}, Autoreset: env.Disabled}, plant, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.live = &liveRun{vector: v, plant: plant, collector: c}
		begin := time.Now()
		err = d.Close(d.loop(t.Context(), &wild{}))
		if !errors.Is(err, ErrPolicy) || !errors.Is(err, env.ErrInvalidAction) {
			t.Errorf("%v, want %v", err, ErrPolicy)
		}
		// One second to see whether telemetry comes, the reset, two steps.
		if took := time.Since(begin); took != 13*time.Second {
			t.Errorf("it took %v", took)
		}
		if d.steps != 2 || d.rewards != 4 {
			t.Errorf("%d steps, reward %v", d.steps, d.rewards)
		}
	})
	if want := []p4.Limit{64, 64, 64, 32}; !slices.Equal(k.set, want) || !k.closed {
		t.Errorf("set %v, want %v; closed %v", k.set, want, k.closed)
	}
	text, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"event":"ask","why":"policy","step":2,"asked":[64]`,
		`"event":"set","why":"policy","step":2,"asked":[64],"got":[{"switch":"s1","port":1,"limit":64}]`,
		`"event":"set","why":"close","step":3,"asked":[32],"got":[{"switch":"s1","port":1,"limit":32}]`,
		`"event":"end","step":2,"error":"the policy returned an invalid action: `,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the journal has no %s:\n%s", want, text)
		}
	}
}

func TestMetrics(t *testing.T) {
	var m metrics
	m.set(Entry{Why: "policy", TookMS: 2.5, Got: []Got{{Switch: "s1", Port: 1, Limit: 64}, {Switch: "s2", Port: 3, Limit: 32}}})
	m.step(2, []float32{31.5, 30, 3312, 0}, collect.Stats{Reports: 25, Late: 1})
	m.set(Entry{Why: "telemetry: nothing of switch 1 for 9 s", Error: "x"})
	stop, err := m.serve("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	text := m.text()
	for _, want := range []string{
		"# TYPE planegym_steps_total counter\nplanegym_steps_total 1\n", "planegym_reward 2\n", "planegym_safe_total 1\n",
		"planegym_set_failed_total 1\n", "planegym_buffer_seconds 31.5\n", "planegym_reports_total 25\n", "planegym_late_total 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var n metrics
	n.set(Entry{Why: "policy", TookMS: 2.5, Got: []Got{{Switch: "s1", Port: 1, Limit: 64}}})
	if text := n.text(); !strings.Contains(text, `planegym_limit_packets{switch="s1",port="1"} 64`) || !strings.Contains(text, "planegym_set_seconds 0.0025\n") {
		t.Error(text)
	}
}
