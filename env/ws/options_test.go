package ws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
)

// openQueues makes environments over a small emulated testbed, whose episodes
// have 4 steps.
func openQueues(_ context.Context, m MakeRequest) (env.Vector, error) {
	warmup := 2
	plant, err := testbed.New(testbed.Config{
		WarmupS: &warmup, Phases: []testbed.Phase{{Name: "quiet", MeanS: 60}, {Name: "busy", MeanS: 60}},
		Loads: []testbed.Load{{Kind: "udp", Phase: "busy", PPS: 300, Pattern: testbed.Pattern{N: 10}}},
	})
	if err != nil {
		return nil, err
	}
	return queues.New(queues.Config{Autoreset: m.Autoreset, MaxSteps: 4, Limits: []p4.Limit{16, 32, 64}, Observation: queues.Observation{Normalise: "none"}}, plant, m.NumEnvs, nil)
}

// openAny makes what openQueues does, or a cartpole.
func openAny(ctx context.Context, m MakeRequest) (env.Vector, error) {
	if m.Scenario == "cartpole" {
		return open(ctx, m)
	}
	return openQueues(ctx, m)
}

// TestFinalInfo: with same_step the infos of an episode's last window come beside
// those of the next episode's first, in all forms, as the environment itself has
// them.
func TestFinalInfo(t *testing.T) {
	_, url := serve(t, Options{Open: openQueues})
	for _, mode := range modes[:2] {
		local, err := openQueues(background, MakeRequest{NumEnvs: 2, Autoreset: mode})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, url, DialOptions{NumEnvs: 2, Autoreset: mode, Info: true})
		var b, lb env.Batch
		for v, into := range map[env.Vector]*env.Batch{c: &b, local: &lb} {
			if err := v.Reset(background, nil, []uint64{3, 4}, into); err != nil {
				t.Fatal(err)
			}
		}
		ends := 0
		for k := range 12 {
			rows := [][]int{nil, {1}, {0}}[k%3]
			actions := []int32{int32(k % 3), int32(k / 2 % 3)}
			if rows != nil {
				actions = actions[:1]
			}
			for v, into := range map[env.Vector]*env.Batch{c: &b, local: &lb} {
				if err := v.Step(background, rows, actions, into); err != nil {
					t.Fatal(err)
				}
			}
			for i := range b.Reward {
				row := env.RowAt(rows, i)
				got, known := env.FinalInfo(c, row, nil)
				want, _ := env.FinalInfo(local, row, nil)
				if !known || !slices.Equal(got, want) || !slices.Equal(c.Info(row, nil), local.(env.Informer).Info(row, nil)) {
					t.Errorf("%v, step %d, row %d: final infos %v %v, want %v", mode, k, row, got, known, want)
				}
				if b.Truncated[i] {
					ends++
					if same := slices.Equal(got, c.Info(row, nil)); same == (mode == env.SameStep) {
						t.Errorf("%v: the infos of an end and of what follows: equal %v", mode, same)
					}
				}
			}
		}
		if ends == 0 {
			t.Error("no episode ended")
		}
	}
}

// TestFinalInfoIsAnnounced: a client that did not announce the capability gets the
// bytes that it always got; one that did gets the fixture's.
func TestFinalInfoIsAnnounced(t *testing.T) {
	in := env.Batch{Obs: []float32{1, 2, 3, 4}, Reward: []float32{.5, .25}, Terminated: []bool{true, false}, Truncated: []bool{false, false}, FinalObs: []float32{9, 8, 3, 4}}
	h := header{Type: typeStepResult, Flags: flagSubset, Env: 1, N: 2, Seq: 6}
	b := appendResult(nil, h, 1, &in, []float32{30, 12.5}, []float32{7, 12.5})
	golden(t, "step_result_final_info", b)
	var r result
	var out env.Batch
	if err := r.decode(b, goldenShape, &out); err != nil || r.Flags&flagFinalInfo == 0 || !slices.Equal(r.Final, []float32{7, 12.5}) || !slices.Equal(r.Info, []float32{30, 12.5}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, announced := range []bool{false, true} {
		faked(t, Options{Open: openQueues}, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			capability := ""
			if announced {
				capability = `"final_info"`
			}
			p.say(`{"type":"hello","id":0,"client":"t","version":1,"capabilities":[%s]}`, capability)
			p.want("welcome")
			p.say(`{"type":"make","id":1,"ack":0,"scenario":"q","num_envs":1,"autoreset":"same_step"}`)
			if m := p.want("made"); m["reset_options"] != nil {
				t.Errorf("made tells of reset options to a client that does not know them: %v", m)
			}
			p.say(`{"type":"reset","id":2,"ack":1,"env":1,"seed":"7"}`)
			p.want("reset_result")
			for id := 3; id < 7; id++ {
				p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1],"info":true}`, id, id-1)
				m := p.want("step_result")
				over := m["truncated"].([]any)[0] == true
				if (m["final_info"] != nil) != (announced && over) || over != (id == 6) {
					t.Errorf("announced %v, step %d: %v", announced, id-2, m)
				}
			}
			p.say(`{"type":"reset","id":7,"ack":6,"env":1,"seed":"7"}`)
			p.want("reset_result")
			p.ask(request{header: header{Type: typeStepMany, Flags: flagInfo, Env: 1, N: 1, Seq: 8}, Ack: 7, Steps: 6, Actions: make([]int32, 6)})
			op, reply, err := p.in.next()
			var r result
			if err == nil && op == opBinary {
				_ = r.decode(reply, shape{1, len(reply) / 4, 0, true}, new(env.Batch)) // the header is read all the same
			}
			if h, err2 := parseHeader(reply); err2 != nil || op != opBinary || (h.Flags&flagFinalInfo != 0) != announced {
				t.Errorf("announced %v: STEP_MANY is answered with flags %#x, %v", announced, h.Flags, err2)
			}
			_ = p.net.Close()
		})
	}
}

// TestResetOptions: options that a client sends do what they do where the
// environment is local, and refused ones change nothing.
func TestResetOptions(t *testing.T) {
	_, url := serve(t, Options{Open: openQueues})
	local, err := openQueues(background, MakeRequest{NumEnvs: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, url, DialOptions{NumEnvs: 2, Info: true})
	if got, want := fmt.Sprint(env.OptionsOf(c)), fmt.Sprint(env.OptionsOf(local)); got != want {
		t.Errorf("options %s, want %s", got, want)
	}
	share := .35
	var b, lb env.Batch
	for _, o := range []env.Options{
		{}, {Initial: []p4.Limit{16}, Load: &share}, {TrafficSeed: []uint64{1 << 63}}, {TrafficSeed: []uint64{5, 6}, Phase: "busy"},
	} {
		for v, into := range map[env.Vector]*env.Batch{c: &b, local: &lb} {
			if err := env.ResetWith(background, v, nil, []uint64{3, 4}, o, into); err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
			if err := env.ResetWith(background, v, []int{1}, nil, env.Options{Phase: "quiet"}, into); err != nil {
				t.Fatal(err)
			}
			if err := v.Step(background, nil, []int32{2, 1}, into); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(b.Obs, lb.Obs) || !slices.Equal(c.Info(0, nil), local.(env.Informer).Info(0, nil)) {
			t.Errorf("%+v: %v, want %v", o, b.Obs, lb.Obs)
		}
	}
	two := 2.
	for _, o := range []env.Options{{Load: &two}, {Phase: "night"}, {Initial: []p4.Limit{33}}, {Initial: []p4.Limit{}}, {TrafficSeed: []uint64{1, 2, 3}}} {
		if err := c.ResetWith(background, nil, nil, o, &b); !errors.Is(err, env.ErrInvalidOption) || !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := c.Step(background, nil, []int32{2, 1}, &b); err != nil {
		t.Errorf("after refused options: %v", err)
	}
	_, plain := serve(t, Options{})
	cart := dial(t, plain, DialOptions{})
	if err := cart.ResetWith(background, nil, nil, env.Options{Load: &share}, &b); !errors.Is(err, env.ErrInvalidOption) {
		t.Errorf("of an environment that has none: %v", err)
	}
}

func TestResetOptionsText(t *testing.T) {
	faked(t, Options{Open: openQueues}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		p.say(`{"type":"hello","id":0,"client":"t","version":1,"capabilities":["reset_options"]}`)
		p.want("welcome")
		p.say(`{"type":"make","id":1,"ack":0,"scenario":"q","num_envs":2}`)
		if m := p.want("made"); fmt.Sprint(m["reset_options"]) != "map[initial_limit:[16 32 64] load:[0 1] phase:[quiet busy] traffic_seed:[]]" {
			t.Errorf("%v", m["reset_options"])
		}
		id := 2
		for options, want := range map[string]string{
			`{}`: "reset_result", `null`: "reset_result", `{"load":0.5,"phase":"busy"}`: "reset_result", `{"traffic_seed":"7"}`: "reset_result",
			`{"initial_limit":32}`: "reset_result", `{"initial_limit":[16]}`: "reset_result", `{"traffic_seed":["7","8"]}`: "reset_result",
			`{"load":2}`: "invalid_config", `{"load":-0.1}`: "invalid_config", `{"phase":"night"}`: "invalid_config", `{"initial_limit":33}`: "invalid_config",
			`{"traffic_seed":["1","2","3"]}`: "invalid_config", `{"initial_limit":[16,16]}`: "invalid_config",
			`{"Load":1}`: "bad_frame", `{"speed":1}`: "bad_frame", `{"load":"all"}`: "bad_frame", `{"load":null}`: "bad_frame", `{"traffic_seed":7}`: "bad_frame",
			`{"phase":""}`: "bad_frame", `{"phase":3}`: "bad_frame", `{"initial_limit":1.5}`: "bad_frame", `{"initial_limit":null}`: "bad_frame", `{"load":1,"load":1}`: "bad_frame",
			`[]`: "bad_frame", `7`: "bad_frame",
		} {
			p.say(`{"type":"reset","id":%d,"ack":%d,"env":1,"options":%s}`, id, id-1, options)
			if m := p.want(want); m["id"] != float64(id) {
				t.Errorf("%s: %v", options, m)
			}
			id++
		}
		_ = p.net.Close()
	})
}

// TestHexDump holds PROTOCOL.md's worked example to the codec.
func TestHexDump(t *testing.T) {
	text, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	dump := func(title string) []byte {
		_, after, ok := strings.Cut(string(text), title)
		if !ok {
			t.Fatalf("PROTOCOL.md has no %q", title)
		}
		var b []byte
		began := false
		for _, line := range strings.Split(after, "\n") {
			hex, _, _ := strings.Cut(line, "|")
			if !strings.HasPrefix(line, "    ") || strings.TrimSpace(hex) == "" {
				if began {
					break
				}
				continue
			}
			began = true
			for _, x := range strings.Fields(hex) {
				var v byte
				if _, err := fmt.Sscanf(x, "%02x", &v); err != nil || len(x) != 2 {
					t.Fatalf("%s: %q is no byte", title, x)
				}
				b = append(b, v)
			}
		}
		return b
	}
	r := request{header: header{Type: typeStep, Env: 1, N: 2, Seq: 3}, Ack: 2, Steps: 1, Actions: []int32{1, 0}}
	if got := r.append(nil); !bytes.Equal(dump("A STEP"), got) {
		t.Errorf("PROTOCOL.md has\n% x\nthe codec\n% x", dump("A STEP"), got)
	}
	in := env.Batch{Obs: []float32{.5, -1, 30, 0}, Reward: []float32{2, .5}, Terminated: []bool{false, false}, Truncated: []bool{false, true}}
	if got := appendResult(nil, header{Type: typeStepResult, Env: 1, N: 2, Seq: 3}, 1, &in, nil, nil); !bytes.Equal(dump("its STEP_RESULT"), got) {
		t.Errorf("PROTOCOL.md has\n% x\nthe codec\n% x", dump("its STEP_RESULT"), got)
	}
	if _, err := os.Stat(filepath.Join("testdata", "step.golden")); err != nil {
		t.Error(err)
	}
}

// A reset with options whose context ends takes place all the same, as a step does:
// its late answer is dropped, and the next call goes on from there.
func TestResetOptionsEndsWithItsContext(t *testing.T) {
	_, url := serve(t, Options{Open: openQueues})
	g := newGate(t, url)
	c := dial(t, "ws://"+g.Addr().String(), DialOptions{NumEnvs: 2, Resume: time.Minute})
	local, err := openQueues(background, MakeRequest{NumEnvs: 2})
	if err != nil {
		t.Fatal(err)
	}
	o := env.Options{TrafficSeed: []uint64{5, 6}, Phase: "busy"}
	var got, want env.Batch
	g.set(true)
	for range 2 {
		ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
		err := env.ResetWith(ctx, c, nil, []uint64{3, 4}, o, &got)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a reset that cannot be answered: %v", err)
		}
	}
	g.set(false)
	for range 3 {
		if err := c.Step(background, nil, []int32{2, 1}, &got); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := env.ResetWith(background, local, nil, []uint64{3, 4}, o, &want); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := local.Step(background, nil, []int32{2, 1}, &want); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got.Obs, want.Obs) || !slices.Equal(got.Reward, want.Reward) {
		t.Errorf("%v %v, want %v %v", got.Obs, got.Reward, want.Obs, want.Reward)
	}
}
