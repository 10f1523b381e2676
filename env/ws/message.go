package ws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"sync"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/nesting"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// The text messages; PROTOCOL.md has their keys.

// seed is a uint64 that JSON holds as a decimal string: a double has 53 bits.
type seed uint64

func (s seed) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatUint(uint64(s), 10)), nil
}

func (s *seed) UnmarshalJSON(b []byte) error {
	if b[0] != '"' {
		return fmt.Errorf("%w: seed %.40s is not a decimal string", ErrBadFrame, b)
	}
	v, err := strconv.ParseUint(string(b[1:len(b)-1]), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: seed %.40s is not a decimal number below 2^64", ErrBadFrame, b)
	}
	*s = seed(v)
	return nil
}

// bound is a float32 that may be infinite: "inf" and "-inf".
type bound float32

func (f bound) MarshalJSON() ([]byte, error) {
	switch v := float64(f); {
	case math.IsInf(v, 1):
		return []byte(`"inf"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-inf"`), nil
	default:
		return json.Marshal(float32(f))
	}
}

func (f *bound) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"inf"`:
		*f = bound(math.Inf(1))
		return nil
	case `"-inf"`:
		*f = bound(math.Inf(-1))
		return nil
	}
	return json.Unmarshal(b, (*float32)(f))
}

func bounds(x []float32) []bound {
	b := make([]bound, len(x))
	for i, v := range x {
		b[i] = bound(v)
	}
	return b
}

// actions are the rows' actions: each S numbers, or the number itself where S
// is 1. They are read by hand, since package json allocates 140 bytes for each
// that a client can write in two.
type actions struct {
	flat  []int32
	rows  int
	width int // numbers of the first row
	odd   int // the first row that has another number of them, and how many; 0: none
	has   int
}

func (a *actions) UnmarshalJSON(b []byte) error {
	*a = actions{}
	bad := func(what []byte) error {
		return fmt.Errorf("%w: actions: row %d: %.40q is neither a 32-bit integer nor a list of them", env.ErrInvalidAction, a.rows, what)
	}
	if b[0] != '[' {
		return fmt.Errorf("%w: actions: want a list, one action a row", env.ErrInvalidAction)
	}
	a.flat = make([]int32, 0, 1+bytes.Count(b, []byte{','}))
	inRow, n := false, 0
	end := func() { // of a row of n numbers
		if a.rows == 0 {
			a.width = n
		} else if n != a.width && a.odd == 0 {
			a.odd, a.has = a.rows, n
		}
		a.rows++
		n = 0
	}
	for b = b[1 : len(b)-1]; len(b) > 0; { // which package json has found to be well-formed
		switch c := b[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',':
			b = b[1:]
		case c == '[' && !inRow:
			inRow, b = true, b[1:]
		case c == ']' && inRow:
			inRow, b = false, b[1:]
			end()
		case c == '-' || c >= '0' && c <= '9':
			size := bytes.IndexAny(b, ",] \t\n\r")
			if size < 0 {
				size = len(b)
			}
			v, err := strconv.ParseInt(string(b[:size]), 10, 32)
			if err != nil {
				return bad(b[:size])
			}
			a.flat, b, n = append(a.flat, int32(v)), b[size:], n+1
			if !inRow {
				end()
			}
		default:
			return bad(b)
		}
	}
	return nil
}

// elements gives the elements of a JSON list, which package json has found to
// be well-formed, without a copy. null has none. No element may
// be a list or an object: each gets the first part of one, and has to refuse it.
func elements(what string, b []byte, each func(e []byte) error) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] != '[' {
		return fmt.Errorf("%w: %s: %.40q is not a list", ErrBadFrame, what, b)
	}
	start := 1
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i) - 1
		case ',', ']':
			if e := bytes.TrimSpace(b[start:i]); len(e) > 0 {
				if err := each(e); err != nil {
					return err
				}
			}
			start = i + 1
		}
	}
	return nil
}

// most is how many elements a JSON list has at most.
func most(b []byte) int { return 1 + bytes.Count(b, []byte{','}) }

// rowList, seedList, stateList and capabilities are lists that take no more
// memory than twice their text, which package json's own would exceed.
type rowList []int32

func (r *rowList) UnmarshalJSON(b []byte) error {
	if *r = nil; b[0] == '[' {
		*r = make(rowList, 0, most(b))
	}
	return elements("rows", b, func(e []byte) error {
		v, err := strconv.ParseInt(string(e), 10, 32)
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%w: %.40s", env.ErrInvalidRows, e)
		}
		if err != nil {
			return fmt.Errorf("%w: rows: %.40q is not a row", ErrBadFrame, e)
		}
		*r = append(*r, int32(v))
		return nil
	})
}

type seedList []seed

func (s *seedList) UnmarshalJSON(b []byte) error {
	if *s = nil; b[0] == '[' {
		*s = make(seedList, 0, most(b))
	}
	return elements("seeds", b, func(e []byte) error {
		var v seed
		err := v.UnmarshalJSON(e)
		*s = append(*s, v)
		return err
	})
}

// stateList is n strings of base64, not yet decoded.
type stateList struct {
	text []byte
	n    int
}

func (s *stateList) UnmarshalJSON(b []byte) error {
	*s = stateList{text: bytes.Clone(b)}
	return elements("states", b, func(e []byte) error {
		if s.n++; e[0] != '"' {
			return fmt.Errorf("%w: states: %.40q is not a string", ErrBadFrame, e)
		}
		return nil
	})
}

func (s *stateList) decode() ([][]byte, error) {
	out := make([][]byte, 0, s.n)
	err := elements("states", s.text, func(e []byte) error {
		var b []byte
		if err := json.Unmarshal(e, &b); err != nil {
			return fmt.Errorf("%w: states: %v", ErrBadFrame, err)
		}
		out = append(out, b)
		return nil
	})
	return out, err
}

// capabilities are those that a client may announce and we know.
type capabilities struct{ episodeEnd, finalInfo, resetOptions bool }

func (c *capabilities) UnmarshalJSON(b []byte) error {
	*c = capabilities{}
	return elements("capabilities", b, func(e []byte) error {
		if e[0] != '"' {
			return fmt.Errorf("%w: capabilities: %.40q is not a string", ErrBadFrame, e)
		}
		switch string(e) {
		case `"episode_end"`:
			c.episodeEnd = true
		case `"final_info"`:
			c.finalInfo = true
		case `"reset_options"`:
			c.resetOptions = true
		}
		return nil
	})
}

// control is a text request: of the keys, those that its type has.
type control struct {
	Type string  `json:"type"`
	ID   *uint64 `json:"id"`
	Ack  uint64  `json:"ack"`

	// hello, resume
	Client       string       `json:"client"`
	Version      int          `json:"version"`
	Capabilities capabilities `json:"capabilities"`
	Ticket       string       `json:"ticket"`
	Token        string       `json:"token"`
	LastSeq      uint64       `json:"last_seq"`

	// make
	Scenario  string          `json:"scenario"`
	NumEnvs   int             `json:"num_envs"`
	Autoreset env.Autoreset   `json:"autoreset"`
	Model     string          `json:"model"`
	Record    bool            `json:"record"`
	Kwargs    json.RawMessage `json:"kwargs"`

	// reset, step, state, set_state, close
	Env     uint32          `json:"env"`
	Rows    rowList         `json:"rows"`
	Seed    *seed           `json:"seed"`
	Seeds   seedList        `json:"seeds"`
	Options json.RawMessage `json:"options"`
	Info    bool            `json:"info"`
	Actions *actions        `json:"actions"`
	States  stateList       `json:"states"`
}

// numbered says whether requests of the type count.
func (c *control) numbered() bool {
	switch c.Type {
	case "hello", "resume", "ping":
		return false
	}
	return true
}

// controlFields are the fields of control by their key on the wire.
var controlFields = sync.OnceValue(func() map[string]int {
	m, t := map[string]int{}, reflect.TypeFor[control]()
	for i := range t.NumField() {
		m[t.Field(i).Tag.Get("json")] = i
	}
	return m
})

// parseControl reads a text request. Keys are exact: one in other letters is
// unknown, and ignored; one given twice is an error. With an error c has what the other keys say, whichever
// order they come in, so that the request can be answered by its number; c.ID is
// nil where no number can be read.
func parseControl(b []byte) (c control, err error) {
	if !json.Valid(b) {
		err, syntax := json.Unmarshal(b, new(struct{})), new(json.SyntaxError)
		errors.As(err, &syntax) // it is one
		return c, fmt.Errorf("%w: JSON: %v at byte %d", ErrBadFrame, err, syntax.Offset)
	}
	if b = bytes.TrimSpace(b); b[0] != '{' {
		return c, fmt.Errorf("%w: JSON: %.40q is not an object", ErrBadFrame, b)
	}
	deep := nesting.JSON(b)
	fields, v, seen := controlFields(), reflect.ValueOf(&c).Elem(), uint64(0)
	members(b, func(key, value []byte) {
		i, known := fields[string(key)]
		if known && seen&(1<<i) != 0 && err == nil {
			err = fmt.Errorf("%w: %s: given twice", ErrBadFrame, key)
		}
		if !known || seen&(1<<i) != 0 {
			return
		}
		if seen |= 1 << i; deep != nil && (value[0] == '{' || value[0] == '[') {
			return
		}
		if e := json.Unmarshal(value, v.Field(i).Addr().Interface()); e != nil && err == nil {
			err = badKey(key, e)
		}
	})
	switch {
	case deep != nil:
		err = fmt.Errorf("%w: JSON: %v", ErrBadFrame, deep)
	case err == nil && c.ID == nil:
		err = fmt.Errorf("%w: id is missing", ErrBadFrame)
	}
	return c, err
}

// badKey is the error of a key whose value is not what it should be.
func badKey(key []byte, err error) error {
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typed):
		return fmt.Errorf("%w: %s: %s, want %s", ErrBadFrame, key, typed.Value, typed.Type)
	case errors.Is(err, ErrBadFrame) || errors.Is(err, env.ErrInvalidAction) || errors.Is(err, env.ErrInvalidRows):
		return err
	}
	return fmt.Errorf("%w: %s: %v", ErrBadFrame, key, err)
}

// members calls each with the keys and values of a JSON object, which package
// json has found to be well-formed, without a copy.
func members(b []byte, each func(key, value []byte)) {
	space := func(i int) int {
		for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' || b[i] == ',' || b[i] == ':' {
			i++
		}
		return i
	}
	for i := space(1); b[i] != '}'; i = space(i) {
		at := i
		i = endOfString(b, i)
		key := b[at+1 : i-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			var text string
			_ = json.Unmarshal(b[at:i], &text) // well-formed
			key = []byte(text)
		}
		i = space(i)
		at = i
		for depth := 0; depth > 0 || b[i] != ',' && b[i] != '}'; i++ {
			switch b[i] {
			case '"':
				i = endOfString(b, i) - 1
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
		}
		each(key, bytes.TrimRight(b[at:i], " \t\n\r"))
	}
}

// endOfString is the index after the JSON string that begins at b[i].
func endOfString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

type limits struct {
	RequestBytes  int     `json:"request_bytes"`
	ReplyBytes    int     `json:"reply_bytes"`
	InFlight      int     `json:"in_flight"`
	Envs          int     `json:"envs"`
	IdleSeconds   float64 `json:"idle_seconds"`
	PingSeconds   float64 `json:"ping_seconds"`
	PongSeconds   float64 `json:"pong_seconds"`
	ResumeSeconds float64 `json:"resume_seconds"`
}

type welcome struct {
	Type         string   `json:"type"`
	ID           uint64   `json:"id"`
	Server       string   `json:"server"`
	Versions     []int    `json:"versions"`
	Capabilities []string `json:"capabilities"`
	Limits       limits   `json:"limits"`
	Session      string   `json:"session"`
	ResumeToken  string   `json:"resume_token"`
}

type resumed struct {
	Type         string   `json:"type"`
	ID           uint64   `json:"id"`
	Server       string   `json:"server"`
	Versions     []int    `json:"versions"`
	Capabilities []string `json:"capabilities"`
	Limits       limits   `json:"limits"`
	Session      string   `json:"session"`
	Accepted     uint64   `json:"accepted"`
}

// event is pushed: draining, and episode_end with its keys.
type event struct {
	Type    string   `json:"type"`
	Event   string   `json:"event"`
	Seconds *float64 `json:"seconds,omitempty"`
	Env     uint32   `json:"env,omitempty"`
	Row     *int     `json:"row,omitempty"`
	Steps   int      `json:"steps,omitempty"`
	Return  *float64 `json:"return,omitempty"`
}

type field struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
}

func fields(f []telemetry.Field) []field {
	out := make([]field, len(f))
	for i, f := range f {
		out[i] = field(f)
	}
	return out
}

type box struct {
	Type     string  `json:"type"`
	DType    string  `json:"dtype"`
	Shape    []int   `json:"shape"`
	Low      []bound `json:"low"`
	High     []bound `json:"high"`
	Elements []field `json:"elements"`
}

type multiDiscrete struct {
	Type  string `json:"type"`
	DType string `json:"dtype"`
	N     []int  `json:"n"`
}

type made struct {
	Type             string        `json:"type"`
	ID               uint64        `json:"id"`
	Env              uint32        `json:"env"`
	Scenario         string        `json:"scenario"`
	NumEnvs          int           `json:"num_envs"`
	Autoreset        env.Autoreset `json:"autoreset"`
	ObservationSpace box           `json:"observation_space"`
	ActionSpace      multiDiscrete `json:"action_space"`
	Limits           []p4.Limit    `json:"limits"`
	Initial          []p4.Limit    `json:"initial"`
	RewardRange      [2]float64    `json:"reward_range"`
	StepSeconds      float64       `json:"step_seconds"`
	MaxSteps         int           `json:"max_steps"`
	RealTime         bool          `json:"real_time"`
	Snapshots        bool          `json:"snapshots"`
	InfoFields       []field       `json:"info_fields"`
	InFlight         int           `json:"in_flight"`
	PendingBytes     int           `json:"pending_bytes"`
	ModelHash        string        `json:"model_hash"`

	ResetOptions map[string]any `json:"reset_options,omitempty"` // to a client that announced the capability
}

// describe fills m from a vector's spec.
func (m *made) describe(s env.Spec) {
	m.Autoreset = s.Autoreset
	m.ObservationSpace = box{
		Type: "box", DType: "float32", Shape: []int{s.Observation.Dim()},
		Low: bounds(s.Observation.Low), High: bounds(s.Observation.High), Elements: fields(s.Observation.Elements),
	}
	m.ActionSpace = multiDiscrete{Type: "multi_discrete", DType: "int32", N: s.Action}
	m.Limits = append([]p4.Limit{}, s.Limits...)
	m.Initial = append([]p4.Limit{}, s.Initial...)
	m.RewardRange, m.StepSeconds, m.MaxSteps, m.RealTime = s.Reward, s.StepSeconds, s.MaxSteps, s.RealTime
}

// spec is describe's inverse, or what is wrong with m.
func (m *made) spec() (env.Spec, error) {
	o := m.ObservationSpace
	d := len(o.Low)
	switch {
	case m.NumEnvs < 1 || m.NumEnvs > math.MaxInt32:
		return env.Spec{}, fmt.Errorf("%w: made: num_envs is %d", ErrBadFrame, m.NumEnvs)
	case o.Type != "box" || d == 0 || len(o.High) != d || len(o.Elements) != d || len(o.Shape) != 1 || o.Shape[0] != d:
		return env.Spec{}, fmt.Errorf("%w: made: observation_space %q of shape %v: %d lows, %d highs, %d elements",
			ErrBadFrame, o.Type, o.Shape, d, len(o.High), len(o.Elements))
	case m.ActionSpace.Type != "multi_discrete" || len(m.ActionSpace.N) == 0:
		return env.Spec{}, fmt.Errorf("%w: made: action_space %q of %v", ErrBadFrame, m.ActionSpace.Type, m.ActionSpace.N)
	}
	s := env.Spec{
		Action: m.ActionSpace.N, Reward: m.RewardRange, StepSeconds: m.StepSeconds,
		MaxSteps: m.MaxSteps, Autoreset: m.Autoreset, RealTime: m.RealTime,
	}
	for i := range d {
		s.Observation.Low = append(s.Observation.Low, float32(o.Low[i]))
		s.Observation.High = append(s.Observation.High, float32(o.High[i]))
		s.Observation.Elements = append(s.Observation.Elements, telemetry.Field(o.Elements[i]))
	}
	if len(m.Limits) > 0 {
		s.Limits, s.Initial = m.Limits, m.Initial
	}
	return s, nil
}

type resetResult struct {
	Type string               `json:"type"`
	ID   uint64               `json:"id"`
	Env  uint32               `json:"env"`
	Obs  [][]float32          `json:"obs"`
	Info map[string][]float32 `json:"info,omitempty"`
}

type stepResult struct {
	resetResult
	Reward     []float32   `json:"reward"`
	Terminated []bool      `json:"terminated"`
	Truncated  []bool      `json:"truncated"`
	FinalObs   [][]float32 `json:"final_obs,omitempty"`

	FinalInfo map[string][]float32 `json:"final_info,omitempty"` // to a client that announced the capability
}

type stateResult struct {
	Type   string   `json:"type"`
	ID     uint64   `json:"id"`
	Env    uint32   `json:"env"`
	States [][]byte `json:"states"`
}

// envReply is state_set and closed.
type envReply struct {
	Type string `json:"type"`
	ID   uint64 `json:"id"`
	Env  uint32 `json:"env"`
}

type pong struct {
	Type string `json:"type"`
	ID   uint64 `json:"id"`
}

type errorMessage struct {
	Type    string `json:"type"`
	ID      uint64 `json:"id"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Row     *int   `json:"row,omitempty"`
	RetryMS int    `json:"retry_ms,omitempty"`
	Fatal   bool   `json:"fatal,omitempty"`
}

func errorFor(id uint64, err error) *errorMessage {
	m := &errorMessage{Type: "error", ID: id, Code: codeOf(err), Message: err.Error()}
	var row *env.RowError
	if errors.As(err, &row) {
		m.Row = &row.Row
	}
	return m
}

// encode is m as JSON. Messages hold what JSON can: environments show finite
// numbers (env/envtest), bounds have names for infinity.
func encode(m any) ([]byte, error) { return json.Marshal(m) }
