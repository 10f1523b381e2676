package ws

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

var update = flag.Bool("update", false, "rewrite testdata")

// golden compares b with a file, or writes it.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s: %q\nwant %q", name, b, want)
	}
}

// goldenShape is the environment of the fixtures: three rows of D = 2, S = 2
// and one info field.
var goldenShape = shape{num: 3, d: 2, f: 1, final: true}

type goldenRequest struct {
	Name    string  `json:"name"`
	Type    uint8   `json:"type"`
	Flags   uint16  `json:"flags"`
	Env     uint32  `json:"env"`
	N       uint32  `json:"n"`
	Seq     uint64  `json:"seq"`
	Ack     uint64  `json:"ack"`
	Steps   int     `json:"steps"`
	Seeds   []seed  `json:"seeds,omitempty"`
	Rows    []int   `json:"rows,omitempty"`
	Actions []int32 `json:"actions,omitempty"`
}

type goldenResult struct {
	Name       string    `json:"name"`
	Type       uint8     `json:"type"`
	Flags      uint16    `json:"flags"`
	Env        uint32    `json:"env"`
	N          uint32    `json:"n"`
	Seq        uint64    `json:"seq"`
	Steps      int       `json:"steps"`
	Obs        []float32 `json:"obs"`
	Reward     []float32 `json:"reward"`
	Terminated []bool    `json:"terminated"`
	Truncated  []bool    `json:"truncated"`
	FinalObs   []float32 `json:"final_obs,omitempty"`
	Info       []float32 `json:"info,omitempty"`
}

var goldenRequests = []goldenRequest{
	{Name: "step", Type: typeStep, Env: 1, N: 3, Seq: 3, Ack: 2, Steps: 1, Actions: []int32{0, 1, 1, 0, 2, 3}},
	{Name: "step_subset", Type: typeStep, Flags: flagSubset | flagInfo | flagResync, Env: 1, N: 2, Seq: 1<<40 + 5, Ack: 1<<40 + 1, Steps: 1, Rows: []int{2, 0}, Actions: []int32{0, 1, -1, math.MaxInt32}},
	{Name: "reset", Type: typeReset, Env: 7, N: 3, Seq: 2, Ack: 1, Steps: 1},
	{Name: "reset_seeds", Type: typeReset, Flags: flagSubset | flagSeeds, Env: 7, N: 2, Seq: 2, Ack: 1, Steps: 1, Rows: []int{1, 2}, Seeds: []seed{7, math.MaxUint64}},
	{Name: "step_many", Type: typeStepMany, Flags: flagInfo, Env: 1, N: 3, Seq: 4, Ack: 3, Steps: 2, Actions: []int32{0, 1, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9}},
}

var goldenResults = []goldenResult{
	{Name: "step_result", Type: typeStepResult, Env: 1, N: 3, Seq: 3, Steps: 1, Obs: []float32{1, -2.5, 0, 3e38, 1e-45, 6}, Reward: []float32{1, 0, -2}, Terminated: []bool{false, false, false}, Truncated: []bool{false, false, false}},
	{Name: "step_result_end", Type: typeStepResult, Flags: flagSubset | flagInfo | flagFinalObs, Env: 1, N: 2, Seq: 1<<40 + 5, Steps: 1, Obs: []float32{1, 2, 3, 4}, Reward: []float32{.5, .25},
		Terminated: []bool{true, false}, Truncated: []bool{false, true}, FinalObs: []float32{9, 8, 7, 6}, Info: []float32{30, 12.5}},
	{Name: "reset_result", Type: typeResetResult, Env: 7, N: 3, Seq: 2, Steps: 1, Obs: []float32{1, 2, 3, 4, 5, 6}, Reward: []float32{0, 0, 0}, Terminated: []bool{false, false, false}, Truncated: []bool{false, false, false}},
	{Name: "step_many_result", Type: typeStepManyResult, Flags: flagInfo | flagFinalObs, Env: 1, N: 3, Seq: 4, Steps: 2, Obs: []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, Reward: []float32{1, 2, 3, 4, 5, 6},
		Terminated: []bool{false, false, false, true, false, false}, Truncated: []bool{false, false, false, false, false, true},
		FinalObs: []float32{1, 2, 3, 4, 5, 6, 70, 80, 9, 10, 110, 120}, Info: []float32{1, 2, 3, 4, 5, 6}},
}

// TestGoldenBinary holds the binary messages to their fixtures, whose content
// binary.golden tells readers in other languages.
func TestGoldenBinary(t *testing.T) {
	for _, g := range goldenRequests {
		r := request{header: header{Type: g.Type, Flags: g.Flags, Env: g.Env, N: g.N, Seq: g.Seq}, Ack: g.Ack, Steps: g.Steps, Rows: g.Rows, Actions: g.Actions}
		for _, s := range g.Seeds {
			r.Seeds = append(r.Seeds, uint64(s))
		}
		b := r.append(nil)
		golden(t, g.Name, b)
		var back request
		var err error
		if back.header, err = parseHeader(b); err == nil {
			err = back.decode(b, goldenShape.num, 2)
		}
		if err != nil || back.header != r.header || back.Ack != r.Ack || back.Steps != r.Steps || !slices.Equal(back.Seeds, r.Seeds) || !slices.Equal(back.Rows, r.Rows) || !slices.Equal(back.Actions, r.Actions) {
			t.Errorf("%s: read back as %+v, %v", g.Name, back, err)
		}
	}
	for _, g := range goldenResults {
		in := env.Batch{Obs: g.Obs, Reward: g.Reward, Terminated: g.Terminated, Truncated: g.Truncated, FinalObs: g.FinalObs}
		b := appendResult(nil, header{Type: g.Type, Flags: g.Flags & flagSubset, Env: g.Env, N: g.N, Seq: g.Seq}, g.Steps, &in, g.Info, nil)
		golden(t, g.Name, b)
		var back result
		var out env.Batch
		if err := back.decode(b, goldenShape, &out); err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		if g.FinalObs == nil {
			in.FinalObs = make([]float32, len(g.Obs)) // not sent
		}
		if back.Flags != g.Flags || back.Steps != g.Steps || back.Seq != g.Seq || !reflect.DeepEqual(in, out) || !slices.Equal(back.Info, g.Info) {
			t.Errorf("%s: read back as %+v %+v", g.Name, back, out)
		}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", " ")
	if err := enc.Encode(map[string]any{
		"num_envs": goldenShape.num, "obs_dim": goldenShape.d, "actions": 2, "info_fields": goldenShape.f, "autoreset": "same_step",
		"requests": goldenRequests, "results": goldenResults,
	}); err != nil {
		t.Fatal(err)
	}
	golden(t, "binary", text.Bytes())
}

func TestBigEndian(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	swap32(b)
	if !bytes.Equal(b, []byte{4, 3, 2, 1, 8, 7, 6, 5}) {
		t.Error(b)
	}
}

var goldenLimits = limits{1 << 20, 16 << 20, 64, 16, 600, 20, 10, 60}

// goldenText are the text messages, by type.
func goldenText() map[string][]any {
	row, zero, total := 1, 0, 499.5
	m := &made{Type: "made", ID: 1, Env: 1, Scenario: "replay", NumEnvs: 3, InfoFields: []field{{"lbo_s", "s"}}, InFlight: 64, PendingBytes: 4 << 20, ModelHash: "cafe", Snapshots: true}
	m.describe(env.Spec{
		Observation: env.Box{Low: []float32{-4.8, float32(math.Inf(-1))}, High: []float32{4.8, float32(math.Inf(1))}, Elements: []telemetry.Field{{Name: "age", Unit: "s"}, {Name: "depth", Unit: "packets"}}},
		Action:      env.MultiDiscrete{2, 2}, Limits: []p4.Limit{32, 64}, Initial: []p4.Limit{64, 64}, Reward: [2]float64{-2, 2}, StepSeconds: 4, MaxSteps: 900, Autoreset: env.SameStep,
	})
	raw := func(s string) []any { return []any{json.RawMessage(s)} }
	return map[string][]any{
		"hello":     raw(`{"type":"hello","id":0,"client":"planegym-python/0.1","version":1,"capabilities":["resume"]}`),
		"resume":    raw(`{"type":"resume","id":0,"client":"x","version":1,"capabilities":["resume"],"ticket":"t","token":"secret","last_seq":17}`),
		"ping":      raw(`{"type":"ping","id":9}`),
		"make":      raw(`{"type":"make","id":1,"ack":0,"scenario":"replay","num_envs":3,"autoreset":"same_step","model":"","record":true,"kwargs":{"max_steps":900}}`),
		"reset":     {json.RawMessage(`{"type":"reset","id":2,"ack":1,"env":1,"seed":"18446744073709551615"}`), json.RawMessage(`{"type":"reset","id":2,"ack":1,"env":1,"rows":[0,2],"seeds":["7","8"],"options":{},"info":true}`)},
		"step":      {json.RawMessage(`{"type":"step","id":3,"ack":2,"env":1,"actions":[[0,1],[1,0],[1,1]]}`), json.RawMessage(`{"type":"step","id":3,"ack":2,"env":1,"rows":[2],"actions":[1],"info":true}`)},
		"state":     raw(`{"type":"state","id":4,"ack":3,"env":1,"rows":[0]}`),
		"set_state": raw(`{"type":"set_state","id":5,"ack":4,"env":1,"rows":[0],"states":["AAECAw=="]}`),
		"close":     {json.RawMessage(`{"type":"close","id":6,"ack":5,"env":1}`), json.RawMessage(`{"type":"close","id":7,"ack":6}`)},

		"welcome":      {&welcome{Type: "welcome", Server: "planegym", Versions: []int{1}, Capabilities: []string{"resume"}, Limits: goldenLimits, Session: "5f1c", ResumeToken: "secret"}},
		"resumed":      {&resumed{Type: "resumed", Server: "planegym", Versions: []int{1}, Capabilities: []string{"resume"}, Limits: goldenLimits, Session: "5f1c", Accepted: 19}},
		"pong":         {&pong{"pong", 9}},
		"made":         {m},
		"reset_result": {&resetResult{"reset_result", 2, 1, [][]float32{{1, 2}, {3.25, -4}}, map[string][]float32{"lbo_s": {30, 12.5}}}},
		"step_result": {
			&stepResult{resetResult: resetResult{"step_result", 3, 1, [][]float32{{0.1, 1e-45}}, nil}, Reward: []float32{1}, Terminated: []bool{false}, Truncated: []bool{false}},
			&stepResult{resetResult: resetResult{"step_result", 3, 1, [][]float32{{1, 2}, {3, 4}}, nil}, Reward: []float32{1, 2}, Terminated: []bool{true, false}, Truncated: []bool{false, false}, FinalObs: [][]float32{{5, 6}, nil}},
		},
		"state_result": {&stateResult{"state_result", 4, 1, [][]byte{{0, 1, 2, 3}}}},
		"state_set":    {&envReply{"state_set", 5, 1}},
		"closed":       {&envReply{"closed", 6, 1}},
		"error":        {&errorMessage{Type: "error", ID: 3, Code: "invalid_action", Message: "row 1: invalid action", Row: &row}, &errorMessage{Type: "error", Code: "draining", Message: "m", RetryMS: 1000, Fatal: true}},
		"event":        {&event{Type: "event", Event: "draining"}, &event{Type: "event", Event: "episode_end", Env: 1, Row: &zero, Steps: 500, Return: &total}},
	}
}

func TestGoldenText(t *testing.T) {
	all := goldenText()
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, m := range all[name] {
			b, err := encode(m)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(append(b, '\n'))
			if _, request := m.(json.RawMessage); request {
				if c, err := parseControl(b); err != nil || c.Type != name || c.ID == nil {
					t.Errorf("%s: %+v, %v", b, c, err)
				}
			}
		}
	}
	golden(t, "text", text.Bytes())
}

// schema is what of JSON Schema the document uses.
type schema struct {
	Type       string             `json:"type"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Additional *schema            `json:"additionalProperties"`
	Enum       []string           `json:"enum"`
	Const      any                `json:"const"`
	OneOf      []*schema          `json:"oneOf"`
	Minimum    *float64           `json:"minimum"`
	Pattern    string             `json:"pattern"`

	Description     string `json:"description"`
	ContentEncoding string `json:"contentEncoding"`
}

func (s *schema) check(path string, v any) error {
	bad := func() error { return fmt.Errorf("%s is %v, want %+v", path, v, *s) }
	switch {
	case s.Const != nil:
		if v != s.Const {
			return bad()
		}
		return nil
	case s.Enum != nil:
		if text, ok := v.(string); !ok || !slices.Contains(s.Enum, text) {
			return bad()
		}
		return nil
	case s.OneOf != nil:
		n := 0
		for _, o := range s.OneOf {
			if o.check(path, v) == nil {
				n++
			}
		}
		if n != 1 {
			return bad()
		}
		return nil
	}
	switch s.Type {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return bad()
		}
		for _, k := range s.Required {
			if _, ok := m[k]; !ok {
				return fmt.Errorf("%s: %s is missing", path, k)
			}
		}
		for k, v := range m {
			p := s.Properties[k]
			if p == nil {
				p = s.Additional
			}
			if p == nil {
				if s.Properties == nil {
					continue // of the scenario
				}
				return fmt.Errorf("%s: %s is not described", path, k)
			}
			if err := p.check(path+"."+k, v); err != nil {
				return err
			}
		}
		return nil
	case "array":
		a, ok := v.([]any)
		if !ok {
			return bad()
		}
		for i, v := range a {
			if err := s.Items.check(fmt.Sprintf("%s[%d]", path, i), v); err != nil {
				return err
			}
		}
		return nil
	case "string":
		if text, ok := v.(string); !ok || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text) {
			return bad()
		}
		return nil
	case "boolean":
		if _, ok := v.(bool); !ok {
			return bad()
		}
		return nil
	case "null":
		if v != nil {
			return bad()
		}
		return nil
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || s.Type == "integer" && n != math.Trunc(n) || s.Minimum != nil && n < *s.Minimum {
			return bad()
		}
		return nil
	}
	return fmt.Errorf("%s: the document has no type for it", path)
}

// TestSpec holds the AsyncAPI document and the codec together: each message
// that the codec has is described, each described one is had, key by key.
func TestSpec(t *testing.T) {
	_, url := serve(t, Options{})
	w := httptest.NewRecorder()
	serveSpec(w, nil)
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "application/vnd.aai.asyncapi+json") || url == "" {
		t.Error(w.Header())
	}
	type ref struct {
		Ref string `json:"$ref"`
	}
	var doc struct {
		AsyncAPI string `json:"asyncapi"`
		Channels struct {
			Session struct {
				Address  string         `json:"address"`
				Messages map[string]ref `json:"messages"`
			} `json:"session"`
		} `json:"channels"`
		Operations map[string]struct {
			Action   string `json:"action"`
			Channel  ref    `json:"channel"`
			Messages []ref  `json:"messages"`
			Reply    *struct {
				Channel  ref   `json:"channel"`
				Messages []ref `json:"messages"`
			} `json:"reply"`
		} `json:"operations"`
		Components struct {
			Messages map[string]struct {
				ContentType string  `json:"contentType"`
				Payload     *schema `json:"payload"`
				XType       int     `json:"x-type"`
				Examples    []struct {
					Name    string `json:"name"`
					Payload any    `json:"payload"`
				} `json:"examples"`
			} `json:"messages"`
		} `json:"components"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.AsyncAPI != "3.0.0" || doc.Channels.Session.Address != Path {
		t.Errorf("%s at %s", doc.AsyncAPI, doc.Channels.Session.Address)
	}
	messages := doc.Components.Messages
	all := goldenText()
	for name, m := range messages { // the examples are the golden messages, in their order
		var want []any
		for _, g := range all[name] {
			var v any
			b, err := encode(g)
			if err == nil {
				err = json.Unmarshal(b, &v)
			}
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, v)
		}
		if m.Payload == nil && len(m.Examples) == 1 {
			b, err := os.ReadFile(filepath.Join("testdata", m.Examples[0].Name+".golden"))
			if err != nil || len(b) < 2 || int(b[1]) != m.XType {
				t.Errorf("%s: example %s: %v, not of type %d", name, m.Examples[0].Name, err, m.XType)
			}
			want = append(want, hex.EncodeToString(b))
		}
		var got []any
		for _, e := range m.Examples {
			got = append(got, e.Payload)
		}
		if len(want) == 0 || !reflect.DeepEqual(got, want) {
			b, _ := json.Marshal(want)
			t.Errorf("%s: the examples are not the golden messages: %s", name, b)
		}
	}
	text := 0
	for name, m := range messages {
		if doc.Channels.Session.Messages[name].Ref != "#/components/messages/"+name {
			t.Errorf("%s is in no channel", name)
		}
		if m.Payload == nil {
			continue
		}
		text++
		if all[name] == nil {
			t.Errorf("%s is described and not had", name)
		}
	}
	if text != len(all) || len(doc.Channels.Session.Messages) != len(messages) {
		t.Errorf("%d text messages described, %d had", text, len(all))
	}
	used := map[string]bool{}
	for name, op := range doc.Operations {
		refs := op.Messages
		if op.Reply != nil {
			refs = append(refs, op.Reply.Messages...)
		}
		for _, r := range refs {
			m, ok := strings.CutPrefix(r.Ref, "#/channels/session/messages/")
			if _, there := messages[m]; !ok || !there {
				t.Errorf("%s: %s leads nowhere", name, r.Ref)
			}
			used[m] = true
		}
	}
	if len(used) != len(messages) {
		t.Errorf("operations use %d of %d messages", len(used), len(messages))
	}
	keys := func(v any, into map[string]bool) {
		var walk func(t reflect.Type)
		walk = func(t reflect.Type) {
			for i := range t.NumField() {
				f := t.Field(i)
				if f.Anonymous {
					walk(f.Type)
					continue
				}
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				into[name] = true
			}
		}
		walk(reflect.TypeOf(v).Elem())
	}
	control1 := map[string]bool{}
	keys(new(control), control1)
	described := map[string]bool{}
	for name, ms := range all {
		s := messages[name].Payload
		for _, m := range ms {
			b, _ := encode(m)
			var v any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			if err := s.check(name, v); err != nil {
				t.Error(err)
			}
			if _, request := m.(json.RawMessage); request {
				for k := range s.Properties {
					if described[k] = true; !control1[k] {
						t.Errorf("%s: %s is described and not read", name, k)
					}
				}
				continue
			}
			had := map[string]bool{}
			keys(m, had)
			for k := range had {
				if s.Properties[k] == nil {
					t.Errorf("%s: %s is sent and not described", name, k)
				}
			}
			for k := range s.Properties {
				if !had[k] {
					t.Errorf("%s: %s is described and not sent", name, k)
				}
			}
		}
	}
	for k := range control1 {
		if !described[k] {
			t.Errorf("request key %s is read and not described", k)
		}
	}
	var had []string
	for _, c := range codes {
		had = append(had, c.code)
	}
	slices.Sort(had)
	want := slices.Clone(messages["error"].Payload.Properties["code"].Enum)
	slices.Sort(want)
	if had = slices.Compact(had); !slices.Equal(had, want) {
		t.Errorf("codes %v, described are %v", had, want)
	}
	for name, kind := range map[string]int{"STEP": typeStep, "STEP_RESULT": typeStepResult, "RESET": typeReset, "RESET_RESULT": typeResetResult, "STEP_MANY": typeStepMany, "STEP_MANY_RESULT": typeStepManyResult} {
		if messages[name].XType != kind {
			t.Errorf("%s is type %d, described as %d", name, kind, messages[name].XType)
		}
	}
}
