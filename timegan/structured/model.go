package structured

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Format names our checkpoints in their metadata.
const Format = "planegym.structured.v1"

// Kind says which rule makes a column.
type Kind string

// The kinds of columns.
const (
	constantKind Kind = "constant"
	depthKind    Kind = "depth" // packets in a queue
	waitKind     Kind = "wait"  // µs in a queue
	switchKind   Kind = "switch"
	lboKind      Kind = "buffer"
	qualityKind  Kind = "quality" // of what was asked for last
	rateKind     Kind = "rate"    // decoded in the second
	stallKind    Kind = "stall"
)

// Column is a field that is simulated.
type Column struct {
	Name      string    `json:"name"`
	Unit      string    `json:"unit,omitempty"`
	Kind      Kind      `json:"kind"`
	Value     float32   `json:"value,omitempty"`      // of a constant
	Channel   int       `json:"channel"`              // of the ranks; -1 without
	Depth     int       `json:"depth"`                // of a wait: the column of the depth before it; -1 without
	PerPacket float64   `json:"per_packet,omitempty"` // of a wait: µs that a packet before it takes
	Integer   bool      `json:"integer,omitempty"`    // was never measured otherwise
	Levels    []float32 `json:"levels,omitempty"`     // of quality and rate: by level
	Lo        float32   `json:"lo"`                   // measured range
	Hi        float32   `json:"hi"`
}

// Model is a fitted simulator: what a checkpoint holds.
type Model struct {
	Config    Config    `json:"config"`
	Columns   []Column  `json:"columns"`
	Limits    []int32   `json:"limits"` // recorded, packets, ascending
	Kbps      []float64 `json:"kbps"`   // of the quality levels
	Rate      float64   `json:"rate"`   // mean log kbit/s of a download
	PaceLoss  float64   `json:"pace_loss"`
	LevelLoss float64   `json:"level_loss"`
	Downloads int       `json:"downloads"` // learnt from
	Data      []string  `json:"data"`      // hashes of the recordings
	Engine    string    `json:"engine"`
	Credit    string    `json:"credit,omitempty"` // whose recordings

	Fidelity []timegan.Fidelity `json:"fidelity,omitempty"` // measured after fitting

	Ranks   *timegan.Model `json:"-"`
	Tables  []float32      `json:"-"` // [C,K,limits,knots] quantiles of what is measured
	Uniform []float32      `json:"-"` // [C,K,knots] of the TimeGAN's ranks
	Lasts   []float32      `json:"-"` // [K,knots] quantiles of a regime's length, s
	Follows []float32      `json:"-"` // [K,K] which regime follows
	Starts  []float32      `json:"-"` // [n,5] regime, its length, buffer, level, kbit/s as recordings begin

	paceNet, levelNet *nn.MLP
}

const startWidth = 5

func (m *Model) channels() int {
	n := 0
	for _, c := range m.Columns {
		if c.Channel >= 0 {
			n++
		}
	}
	return n
}

func (m *Model) column(k Kind) int {
	return slices.IndexFunc(m.Columns, func(c Column) bool { return c.Kind == k })
}

// Fields are the columns simulated.
func (m *Model) Fields() []telemetry.Field {
	var f []telemetry.Field
	for _, c := range m.Columns {
		f = append(f, telemetry.Field{Name: c.Name, Unit: c.Unit})
	}
	return f
}

// Scale puts a value of a column in [0, 1] of the range that was recorded:
// what an agent is shown.
func (m *Model) Scale(column int, x float32) float32 {
	c := &m.Columns[column]
	if c.Hi > c.Lo {
		return float32((float64(x) - float64(c.Lo)) / (float64(c.Hi) - float64(c.Lo)))
	}
	return x - c.Lo
}

// networks makes the two networks, with zero parameters.
func (m *Model) networks() {
	h := m.Config.Hidden
	m.paceNet = nn.NewMLP([]int{m.paceIn(), h, h, 2}, compute.Tanh, compute.Linear)
	m.levelNet = nn.NewMLP([]int{m.levelIn(), h, h, len(m.Kbps)}, compute.Tanh, compute.Linear)
}

// Progress is how far fitting has come.
type Progress struct {
	What  string
	Ranks *timegan.Progress // while the TimeGAN is trained
}

// Fit fits a simulator to recordings, on e and be, which stay the caller's.
// report may be nil.
func Fit(ctx context.Context, c Config, e timegan.Engine, be *compute.Backend, recordings []telemetry.Recording, report func(Progress)) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if report == nil {
		report = func(Progress) {}
	}
	m := &Model{Config: c.withDefaults(), Engine: e.Name()}
	if err := m.describe(recordings); err != nil {
		return nil, err
	}
	m.networks()
	report(Progress{What: "load"})
	var limits, depths []int
	for _, l := range m.Limits {
		limits = append(limits, int(l))
	}
	for j, col := range m.Columns {
		if col.Kind == depthKind {
			depths = append(depths, j)
		}
	}
	if len(depths) == 0 {
		return nil, errDepth
	}
	paths, err := inferLoad(sequences(recordings, limits, depths), m.Config.Regimes, len(depths), limits)
	if err != nil {
		return nil, err
	}
	m.Lasts, m.Follows = stays(paths, m.Config.Regimes, m.Config.Knots)
	report(Progress{What: "player"})
	var down []download
	var asked []request
	var began []int // of each recording's requests, the first
	for i, r := range recordings {
		d, a, first := m.track(r, paths[i])
		for j := range a {
			for k := range a[j].of {
				a[j].of[k] += len(down)
			}
		}
		if len(a) > 0 {
			began = append(began, len(asked))
			m.Starts = append(m.Starts, float32(paths[i][0]), float32(runsOf(paths[i])[0].seconds), float32(first.buffer), float32(first.level), 0)
		}
		down, asked = append(down, d...), append(asked, a...)
	}
	if err := m.fitPlayer(ctx, be, down, asked); err != nil {
		return nil, err
	}
	for i, k := range began {
		m.Starts[i*startWidth+4] = float32(asked[k].before.mean)
	}
	m.fitService(recordings)
	ranks, err := m.tabulate(recordings, paths)
	if err != nil {
		return nil, err
	}
	t, err := timegan.NewTraining(ranks, telemetry.All, m.Config.Ranks, 2)
	if err != nil {
		return nil, err
	}
	m.Ranks, err = timegan.Fit(ctx, m.Config.Ranks, e, t, timegan.FitOptions{
		Report: func(p timegan.Progress) { report(Progress{"ranks", &p}) },
	})
	if err != nil {
		return nil, err
	}
	m.Ranks.State, m.Ranks.Data = nil, nil
	m.Config.Ranks = m.Ranks.Config
	return m, m.level(ctx, e)
}

// describe takes columns, limits and ladder from recordings.
func (m *Model) describe(recordings []telemetry.Recording) error {
	if len(recordings) == 0 {
		return errors.New("structured: there is no recording")
	}
	fields := recordings[0].Data.Fields()
	limits := map[int32]bool{}
	for i, r := range recordings {
		if !slices.Equal(r.Data.Fields(), fields) {
			return fmt.Errorf("structured: recordings 1 and %d have different fields", i+1)
		}
		if r.Switches() > 1 {
			return fmt.Errorf("structured: recording %d has a limit for each switch: this model knows one for all, closed_loop knows several", i+1)
		}
		for t := range r.Data.Len() {
			limits[int32(r.LimitAt(t))] = true
		}
		m.Data = append(m.Data, r.Data.Hash())
	}
	for l := range limits {
		if l < 1 {
			return fmt.Errorf("structured: a limit of %d packets", l)
		}
		m.Limits = append(m.Limits, l)
	}
	slices.Sort(m.Limits)
	channel := 0
	for j, f := range fields {
		c := Column{Name: f.Name, Unit: f.Unit, Channel: -1, Depth: -1}
		var lo, hi float32
		any, integer := false, true
		for _, r := range recordings {
			for t := range r.Data.Len() {
				v, ok := r.Data.At(t, j)
				switch {
				case !ok:
					continue
				case !any:
					lo, hi, any = v, v, true
				}
				lo, hi = min(lo, v), max(hi, v)
				integer = integer && v == float32(math.Trunc(float64(v)))
			}
		}
		if !any {
			return fmt.Errorf("structured: %s was never measured", f.Name)
		}
		c.Lo, c.Hi, c.Integer = lo, hi, integer
		switch stem := strings.TrimRight(f.Name, "0123456789"); {
		case f.Name == "lbo_s":
			c.Kind = lboKind
		case f.Name == "stall_s":
			c.Kind = stallKind
		case f.Name == "calc_rate":
			c.Kind = rateKind
		case slices.Contains([]string{"fps", "rep_kbps", "width", "height"}, f.Name):
			c.Kind = qualityKind
		case lo == hi:
			c.Kind, c.Value = constantKind, lo
		case stem == "enq_qdepth" || stem == "deq_qdepth":
			c.Kind = depthKind
		case stem == "deq_timedelta":
			c.Kind = waitKind
			before := slices.IndexFunc(m.Columns, func(o Column) bool { return o.Name == "enq_qdepth"+f.Name[len(stem):] })
			if before >= 0 && m.Columns[before].Kind == depthKind {
				c.Depth = before
			}
		case stem != f.Name:
			c.Kind = switchKind
		default:
			return fmt.Errorf("structured: %s: no rule is known for it", f.Name)
		}
		if c.Kind == depthKind || c.Kind == waitKind || c.Kind == switchKind {
			c.Channel = channel
			channel++
		}
		m.Columns = append(m.Columns, c)
	}
	return m.ladder(recordings)
}

// ladder finds the quality levels, and what is decoded of each in a second.
func (m *Model) ladder(recordings []telemetry.Recording) error {
	lbo, kbps := m.column(lboKind), slices.IndexFunc(m.Columns, func(c Column) bool { return c.Name == "rep_kbps" })
	for name, col := range map[string]int{"lbo_s": lbo, "rep_kbps": kbps} {
		if col < 0 {
			return fmt.Errorf("structured: the recordings have no %s", name)
		}
	}
	var levels [][]float32
	for i, r := range recordings {
		for t := range r.Data.Len() {
			level := []float32{}
			for j, c := range m.Columns {
				if c.Kind != qualityKind && j != lbo {
					continue
				}
				v, ok := r.Data.At(t, j)
				if !ok {
					return fmt.Errorf("structured: recording %d, second %d: %s was not measured: a player always shows it", i+1, t, c.Name)
				}
				if j != lbo {
					level = append(level, v)
				}
			}
			if !slices.ContainsFunc(levels, func(l []float32) bool { return slices.Equal(l, level) }) {
				levels = append(levels, level)
			}
		}
	}
	if len(levels) > 16 {
		return fmt.Errorf("structured: quality has %d combinations: more than 16 do not make a ladder", len(levels))
	}
	at := 0
	for j, c := range m.Columns {
		if j == kbps {
			slices.SortFunc(levels, func(a, b []float32) int { return cmp.Compare(a[at], b[at]) })
		} else if c.Kind == qualityKind && j < kbps {
			at++
		}
	}
	q := 0
	for j := range m.Columns {
		if m.Columns[j].Kind != qualityKind {
			continue
		}
		for _, l := range levels {
			m.Columns[j].Levels = append(m.Columns[j].Levels, l[q])
		}
		q++
	}
	for _, v := range m.Columns[kbps].Levels {
		if n := len(m.Kbps); v <= 0 || n > 0 && float64(v) <= m.Kbps[n-1] {
			return fmt.Errorf("structured: rep_kbps: %v does not tell the quality levels apart", v)
		}
		m.Kbps = append(m.Kbps, float64(v))
	}
	return m.decoded(recordings)
}

// decoded fills the levels of calc_rate: the median in seconds of which all
// that was in the buffer had one level.
func (m *Model) decoded(recordings []telemetry.Recording) error {
	col, lbo := m.column(rateKind), m.column(lboKind)
	if col < 0 {
		return nil
	}
	seen := make([][]float64, len(m.Kbps))
	for _, r := range recordings {
		since, last := 0, -1
		for t := range r.Data.Len() {
			l := m.levelAt(r, t)
			if l != last {
				since, last = t, l
			}
			b, _ := r.Data.At(t, lbo)
			v, ok := r.Data.At(t, col)
			if ok && b > 1 && float64(t-since) > float64(b)+2*m.Config.SegmentS {
				seen[l] = append(seen[l], float64(v))
			}
		}
	}
	c := &m.Columns[col]
	c.Levels = make([]float32, len(m.Kbps))
	perKbit := 0.
	for l := len(seen) - 1; l >= 0; l-- {
		slices.Sort(seen[l])
		if len(seen[l]) > 0 {
			c.Levels[l] = float32(telemetry.Quantile(seen[l], .5))
			perKbit = float64(c.Levels[l]) / m.Kbps[l]
		}
	}
	for l := range seen {
		if len(seen[l]) == 0 {
			c.Levels[l] = float32(m.Kbps[l] * perKbit)
		}
	}
	return nil
}

// levelAt is the quality level shown in second t.
func (m *Model) levelAt(r telemetry.Recording, t int) int {
	j := slices.IndexFunc(m.Columns, func(c Column) bool { return c.Name == "rep_kbps" })
	v, _ := r.Data.At(t, j)
	return slices.Index(m.Columns[j].Levels, v)
}

// tensors are what a checkpoint holds beside its metadata, shapes included.
func (m *Model) tensors() []safetensors.Tensor {
	k, n, q, c := m.Config.Regimes, len(m.Limits), m.Config.Knots, m.channels()
	all := []safetensors.Tensor{
		{Name: "tables", Shape: []int{c, k, n, q}, Data: m.Tables},
		{Name: "uniform", Shape: []int{c, k, q}, Data: m.Uniform},
		{Name: "lasts", Shape: []int{k, q}, Data: m.Lasts},
		{Name: "follows", Shape: []int{k, k}, Data: m.Follows},
		{Name: "starts", Shape: []int{len(m.Starts) / startWidth, startWidth}, Data: m.Starts},
	}
	for _, net := range []struct {
		name string
		mlp  *nn.MLP
	}{{"pace.", m.paceNet}, {"level.", m.levelNet}} {
		for _, v := range net.mlp.Params().Views {
			all = append(all, safetensors.Tensor{Name: net.name + v.Name, Shape: v.Shape, Data: v.Data})
		}
	}
	return all
}

// Write writes m's checkpoint to w. The TimeGAN in it, "ranks", is the bytes
// of a checkpoint of its own.
func (m *Model) Write(w io.Writer) error {
	meta, all, err := m.parts()
	if err != nil {
		return err
	}
	return safetensors.Write(w, meta, all)
}

// WriteFile is Write to a file: path holds the old one or the new one, whole.
func (m *Model) WriteFile(path string) error {
	meta, all, err := m.parts()
	if err != nil {
		return err
	}
	return safetensors.WriteFile(path, meta, all)
}

func (m *Model) parts() (map[string]string, []safetensors.Tensor, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, nil, err
	}
	var ranks bytes.Buffer
	if err := m.Ranks.Write(&ranks); err != nil {
		return nil, nil, err
	}
	all := append(m.tensors(), safetensors.Tensor{Name: "ranks", Shape: []int{ranks.Len()}, Data: ranks.Bytes()})
	return map[string]string{"format": Format, "model": string(b)}, all, nil
}

// IsCheckpoint says whether size bytes in r claim to be a checkpoint of this
// package.
func IsCheckpoint(r io.ReaderAt, size int64) bool {
	f, err := safetensors.New(r, size)
	return err == nil && f.Metadata["format"] == Format
}

// Decode reads a checkpoint. One that is truncated, damaged, of another
// program or of other sizes is refused, and the error says why.
func Decode(r io.ReaderAt, size int64) (*Model, error) {
	f, err := safetensors.New(r, size)
	if err != nil {
		return nil, err
	}
	if got := f.Metadata["format"]; got != Format {
		return nil, fmt.Errorf("structured: no checkpoint: format is %q, want %q", got, Format)
	}
	m := &Model{}
	d := json.NewDecoder(strings.NewReader(f.Metadata["model"]))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("structured: metadata: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("structured: metadata: %w", err)
	}
	k, n, q, c := m.Config.Regimes, len(m.Limits), m.Config.Knots, m.channels()
	starts, ok := f.Info("starts")
	if !ok || len(starts.Shape) != 2 || starts.Shape[0] < 1 || starts.Shape[1] != startWidth {
		return nil, fmt.Errorf("structured: tensor starts is missing or of shape %v", starts.Shape)
	}
	m.networks()
	m.Tables, m.Uniform, m.Lasts, m.Follows = make([]float32, c*k*n*q), make([]float32, c*k*q), make([]float32, k*q), make([]float32, k*k)
	m.Starts = make([]float32, starts.Shape[0]*startWidth)
	for _, t := range m.tensors() {
		data := t.Data.([]float32)
		if err := safetensors.Read(f, t.Name, data, t.Shape...); err != nil {
			return nil, fmt.Errorf("structured: %w", err)
		}
		if i := slices.IndexFunc(data, func(x float32) bool { return x-x != 0 }); i >= 0 {
			return nil, fmt.Errorf("structured: tensor %s holds %v", t.Name, data[i])
		}
	}
	for i := 0; i < len(m.Starts); i += startWidth {
		s := m.Starts[i:][:startWidth]
		if s[0] < 0 || int(s[0]) >= k || s[1] < 1 || s[1] > forEver || s[2] < 0 || float64(s[2]) > m.most() || s[3] < 0 || int(s[3]) >= len(m.Kbps) || s[4] <= 0 {
			return nil, fmt.Errorf("structured: tensor starts: no recording begins like %v", s)
		}
	}
	ranks, _ := f.Info("ranks")
	if len(ranks.Shape) != 1 {
		return nil, fmt.Errorf("structured: tensor ranks is missing or of shape %v", ranks.Shape)
	}
	b := make([]byte, ranks.Shape[0])
	if err := safetensors.Read(f, "ranks", b, len(b)); err != nil {
		return nil, fmt.Errorf("structured: %w", err)
	}
	if m.Ranks, err = timegan.DecodeModel(bytes.NewReader(b), int64(len(b))); err != nil {
		return nil, fmt.Errorf("structured: ranks: %w", err)
	}
	if g := m.Ranks.Codec; len(g.Columns) != c || g.Lo != 0 || int(g.Hi) != k-1 {
		return nil, fmt.Errorf("structured: ranks: of %d columns and conditions %d…%d, want %d and 0…%d", len(g.Columns), g.Lo, g.Hi, c, k-1)
	}
	return m, nil
}

// most is the largest buffer that a player can have.
func (m *Model) most() float64 { return maxQueued * m.Config.SegmentS }

// check reports metadata that no fit gives.
func (m *Model) check() error {
	if err := m.Config.Check(); err != nil {
		return err
	}
	whole := m.Config.withDefaults()
	whole.Ranks = m.Config.Ranks // the TimeGAN's checkpoint has its own
	if m.Config != whole {
		return errors.New("config: settings are missing")
	}
	if !slices.IsSorted(m.Limits) || len(m.Limits) == 0 || m.Limits[0] < 1 || len(m.Limits) > 1024 {
		return fmt.Errorf("limits %v", m.Limits)
	}
	if !slices.IsSorted(m.Kbps) || len(m.Kbps) == 0 || m.Kbps[0] <= 0 || len(m.Kbps) > 16 {
		return fmt.Errorf("kbps %v", m.Kbps)
	}
	channel := 0
	for j, c := range m.Columns {
		want := 0
		switch c.Kind {
		case qualityKind, rateKind:
			want = len(m.Kbps)
		case depthKind, waitKind, switchKind:
			if c.Channel != channel {
				return fmt.Errorf("column %s: channel %d", c.Name, c.Channel)
			}
			channel++
		case constantKind, lboKind, stallKind:
		default:
			return fmt.Errorf("column %s: kind %q", c.Name, c.Kind)
		}
		if len(c.Levels) != want || c.Depth >= j || c.Depth >= 0 && m.Columns[c.Depth].Kind != depthKind || c.Depth < -1 || !(c.PerPacket >= 0) {
			return fmt.Errorf("column %s: %+v", c.Name, c)
		}
	}
	if channel == 0 || channel > 1024 || m.column(lboKind) < 0 || m.column(qualityKind) < 0 {
		return fmt.Errorf("%d columns of which %d are measured at switches", len(m.Columns), channel)
	}
	return nil
}
