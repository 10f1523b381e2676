package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/safetensors"
)

// A checkpoint is one safetensors file. Its metadata holds, under
// checkpointKey, a header as JSON. Tensors "online.*" are the policy, with the
// names and shapes of PyTorch's nn.Linear, "normalise.*" the scaling in front of
// it; a file that SavePolicy wrote has no more. What Save adds is all of the
// training: θ⁻, the optimiser, the memory, every environment.
const checkpointKey = "planegym.agent.v1"

// ErrCheckpoint is wrapped by the error of a file that is not an agent of planegym.
var ErrCheckpoint = errors.New("not a checkpoint of an agent")

// header is the JSON part of a checkpoint.
type header struct {
	Scenario string `json:"scenario,omitempty"`

	Config  Config `json:"config"`
	Spaces  Spaces `json:"spaces"`
	Seed    uint64 `json:"seed"`
	Kernels string `json:"kernels"` // with which it was computed: others differ in the last bits
	Updates int64  `json:"updates"`
	Steps   int64  `json:"steps"`
	Frozen  int    `json:"frozen,omitempty"`
	Fitted  bool   `json:"fitted"`

	Training *training `json:"training,omitempty"` // nil in a file that holds the policy alone
}

// training is what else Save keeps, tensors apart.
type training struct {
	Rows     int    `json:"rows"`
	Ticks    int64  `json:"ticks"`
	Due      int64  `json:"due"`
	Episodes int64  `json:"episodes"`
	Saves    int64  `json:"saves"`
	Adam     int64  `json:"adam"`
	Size     int    `json:"replay_size"`
	At       int    `json:"replay_at"`
	Begun    bool   `json:"begun"`
	Snapshot bool   `json:"snapshot"` // the environments are in it; else they were reset
	Mode     string `json:"autoreset"`

	Top    float64 `json:"replay_top"`
	Loss   mean    `json:"loss"` // since the last report
	Target mean    `json:"target"`
	Reward mean    `json:"reward"`
}

// Hash names the policy: a digest of its weights and of the input scaling in front of
// them.
func (d *DDQN) Hash() string {
	h := sha256.New()
	for _, x := range [][]float32{d.shift, d.scale, d.online.Params().Data} {
		// Hash's Write never fails.
		_ = binary.Write(h, binary.LittleEndian, x)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (d *DDQN) policyTensors() []safetensors.Tensor {
	return append(params("online.", d.online),
		safetensors.Tensor{Name: "normalise.shift", Shape: []int{d.dim}, Data: d.shift},
		safetensors.Tensor{Name: "normalise.scale", Shape: []int{d.dim}, Data: d.scale})
}

func params(prefix string, m *nn.MLP) (ts []safetensors.Tensor) {
	for _, v := range m.Params().Views {
		ts = append(ts, safetensors.Tensor{Name: prefix + v.Name, Shape: v.Shape, Data: v.Data})
	}
	return ts
}

func (d *DDQN) header() header {
	return header{Scenario: d.Scenario, Config: d.Config, Spaces: d.Spaces, Kernels: d.be.Kernels.String(), Updates: d.updates, Frozen: d.frozen, Fitted: d.fitted}
}

// SavePolicy writes what acting needs, and nothing of the training.
func (d *DDQN) SavePolicy(path string) error {
	return write(path, d.header(), d.policyTensors())
}

func write(path string, h header, ts []safetensors.Tensor) error {
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if err := safetensors.WriteFile(path, map[string]string{checkpointKey: string(text)}, ts); err != nil {
		return fmt.Errorf("agent: save: %w", err)
	}
	return nil
}

// Info is the header of a checkpoint.
type Info struct {
	Scenario string // what it was trained in; "" where that was not said
	Config   Config
	Spaces   Spaces
	Kernels  string // with which it was computed
	Updates  int64
	Steps    int64 // transitions taken
	Seed     uint64
	Rows     int // environments that it is trained in; 0: it is a policy only
}

// Inspect reads the header of a file that Save or SavePolicy wrote.
func Inspect(path string) (Info, error) {
	f, h, err := open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	i := Info{Scenario: h.Scenario, Config: h.Config, Spaces: h.Spaces, Kernels: h.Kernels, Updates: h.Updates, Steps: h.Steps, Seed: h.Seed}
	if h.Training != nil {
		i.Rows = h.Training.Rows
	}
	return i, nil
}

// Load reads the policy of a file that Save or SavePolicy wrote. be is as in
// NewDDQN.
func Load(path string, be *compute.Backend) (*DDQN, error) {
	f, h, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return h.policy(f, path, be)
}

// LoadBytes is Load for a checkpoint in memory; name is for errors.
func LoadBytes(name string, checkpoint []byte, be *compute.Backend) (*DDQN, error) {
	f, err := safetensors.New(bytes.NewReader(checkpoint), int64(len(checkpoint)))
	if err != nil {
		return nil, fmt.Errorf("agent: load: %s: %w", name, err)
	}
	h, err := readHeader(f, name)
	if err != nil {
		return nil, err
	}
	return h.policy(f, name, be)
}

func open(path string) (*safetensors.File, header, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, header{}, fmt.Errorf("agent: load: %w", err)
	}
	h, err := readHeader(f, path)
	if err != nil {
		f.Close()
		return nil, h, err
	}
	return f, h, nil
}

// readHeader reads what a checkpoint's metadata says.
func readHeader(f *safetensors.File, path string) (header, error) {
	var h header
	text, ok := f.Metadata[checkpointKey]
	if !ok {
		return h, fmt.Errorf("agent: load: %s: %w: its metadata has no %s", path, ErrCheckpoint, checkpointKey)
	}
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return h, fmt.Errorf("agent: load: %s: %w: metadata %s: %w", path, ErrCheckpoint, checkpointKey, err)
	}
	return h, nil
}

func (h *header) policy(f *safetensors.File, path string, be *compute.Backend) (*DDQN, error) {
	d, err := NewDDQN(h.Config, h.Spaces, 0, be)
	if err != nil {
		return nil, fmt.Errorf("agent: load: %s: %w: %w", path, ErrCheckpoint, err)
	}
	for _, t := range d.policyTensors() {
		if err := safetensors.Read(f, t.Name, t.Data.([]float32), t.Shape...); err != nil {
			return nil, fmt.Errorf("agent: load: %w", err)
		}
	}
	for _, x := range d.online.Params().Data {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return nil, fmt.Errorf("agent: load: %s: %w: a weight is %v", path, ErrCheckpoint, x)
		}
	}
	if h.Frozen < 0 || h.Frozen >= len(d.online.Params().Data) {
		return nil, fmt.Errorf("agent: load: %s: %w: %d frozen parameters of %d", path, ErrCheckpoint, h.Frozen, len(d.online.Params().Data))
	}
	copy(d.target.Params().Data, d.online.Params().Data)
	d.updates, d.fitted, d.Scenario = h.Updates, h.Fitted, h.Scenario
	d.freeze(h.Frozen)
	return d, nil
}

// freeze keeps the parameters before n as they are.
func (d *DDQN) freeze(n int) {
	d.frozen = n
	d.opt = newOptimiser(d.Config, d.be, len(d.online.Params().Data)-n)
}

// Save writes a checkpoint to path, from which Resume goes on bit for bit as
// training itself would. A vector whose rows can be saved (env.Snapshotter)
// goes into it. For one whose rows cannot, or whose last step failed, Save
// begins new episodes from seeds of its own in every row, now and in Resume
// alike: the run then equals its resumption, though not a run that is saved at
// other times.
func (t *Trainer) Save(ctx context.Context, path string) error {
	d := t.Agent
	snapshots, err := t.snapshot()
	if err != nil {
		return fmt.Errorf("agent: save: %w", err)
	}
	if snapshots == nil && t.begun && !t.spec.RealTime {
		t.saves++
		if err := t.reset(ctx, t.saveSeed()); err != nil {
			return fmt.Errorf("agent: save: %w", err)
		}
	}
	h := d.header()
	h.Seed, h.Steps = t.Seed, t.steps
	r, n := t.replay, len(t.returns)
	h.Training = &training{
		Rows: n, Ticks: t.ticks, Due: t.due, Episodes: t.episodes, Saves: t.saves, Size: r.size, At: r.at,
		Begun: t.begun, Snapshot: snapshots != nil, Mode: t.spec.Autoreset.String(),
		Top: r.top, Loss: t.loss, Target: t.target, Reward: t.reward,
	}
	ts := append(d.policyTensors(), params("target.", d.target)...)
	if a := d.opt.adam; a != nil {
		h.Training.Adam = a.T
	}
	ts = append(ts, t.tensors()...)
	for i, s := range snapshots {
		ts = append(ts, safetensors.Tensor{Name: fmt.Sprintf("env.%d", i), Shape: []int{len(s)}, Data: s})
	}
	return write(path, h, ts)
}

// saveSeed is what rows begin from after the saves-th save.
func (t *Trainer) saveSeed() uint64 { return t.Seed + uint64(t.saves)<<32 }

// snapshot is the state of every row, nil where v has none to give.
func (t *Trainer) snapshot() ([][]byte, error) {
	s, ok := t.v.(env.Snapshotter)
	if !ok || !t.begun || t.torn {
		return nil, nil
	}
	var all [][]byte
	for i := range t.returns {
		b, err := s.Snapshot(i, nil)
		switch {
		case errors.Is(err, env.ErrBadSnapshot): // its own way to say that it takes none
			return nil, nil
		case err != nil:
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// tensors are the trainer's own, of sizes that its configuration gives. Their
// data is the trainer's memory: what is read into them is restored.
func (t *Trainer) tensors() []safetensors.Tensor {
	d, r, n := t.Agent, t.replay, len(t.returns)
	var ts []safetensors.Tensor
	add := func(name string, data any, shape ...int) {
		ts = append(ts, safetensors.Tensor{Name: name, Shape: shape, Data: data})
	}
	if a := d.opt.adam; a != nil {
		add("adam.m", a.M, len(a.M))
		add("adam.v", a.V, len(a.V))
	} else {
		v := d.opt.sgd.Velocity
		add("sgd.velocity", v, len(v))
	}
	add("replay.obs", r.obs[:r.size*d.dim], r.size, d.dim)
	add("replay.next", r.next[:r.size*d.dim], r.size, d.dim)
	add("replay.actions", r.actions[:r.size*d.s], r.size, d.s)
	add("replay.reward", r.reward[:r.size], r.size)
	add("replay.discount", r.discount[:r.size], r.size)
	if r.tree != nil {
		add("replay.priority", r.tree.sums[r.tree.leaves:][:r.size], r.size)
	}
	add("rows.obs", t.obs, n, d.dim)
	add("rows.returns", t.returns, n)
	add("rows.fresh", t.fresh, n)
	c := t.collector
	add("steps.count", c.count, n)
	add("steps.obs", c.obs, n, c.n, d.dim)
	add("steps.actions", c.actions, n, c.n, d.s)
	add("steps.reward", c.reward, n, c.n)
	add("recent", t.recent, len(t.recent))
	return ts
}

// Resume goes on with the training that Save kept in path, in v, which is as
// it was: the same spaces, number of rows and autoreset mode. steps, where not
// 0, is the new total of transitions. be is as in NewDDQN.
func Resume(ctx context.Context, path string, v env.Vector, steps int64, be *compute.Backend) (*Trainer, error) {
	f, h, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if v == nil {
		return nil, fmt.Errorf("agent: resume %s: %w", path, errNoVector)
	}
	be = backendOr(be)
	bad := func(format string, args ...any) error {
		return fmt.Errorf("agent: resume %s: %w", path, fmt.Errorf(format, args...))
	}
	k, spec := h.Training, v.Spec()
	switch {
	case k == nil:
		return nil, bad("it holds a policy only, not its training: give the checkpoint that train wrote, or --transfer")
	case h.Kernels != be.Kernels.String():
		return nil, bad("it was computed with the kernels %q, these are %q, which differ in the last bits: give --kernels %s", h.Kernels, be.Kernels, h.Kernels)
	case k.Rows != v.Num():
		return nil, bad("it was trained in %d environments, here are %d", k.Rows, v.Num())
	case k.Mode != spec.Autoreset.String():
		return nil, bad("it was trained with autoreset %s, here it is %s", k.Mode, spec.Autoreset)
	}
	d, err := h.policy(f, path, be)
	if err != nil {
		return nil, err
	}
	if err := d.Fits(spacesOf(v)); err != nil {
		return nil, bad("%w", err)
	}
	if h.Steps < 0 || k.Ticks < 0 || k.Due < 0 || k.Episodes < 0 || k.Saves < 0 || k.Size < 0 || k.Size > h.Config.Replay || k.At < 0 || k.At >= h.Config.Replay {
		return nil, bad("%w: its counts contradict each other", ErrCheckpoint)
	}
	if steps != 0 {
		d.Config.Steps = steps
	}
	t := newTrainer(d, v, h.Seed)
	t.steps, t.ticks, t.due, t.episodes, t.saves, t.begun = h.Steps, k.Ticks, k.Due, k.Episodes, k.Saves, k.Begun
	t.loss, t.target, t.reward = k.Loss, k.Target, k.Reward
	t.recent = make([]float64, min(k.Episodes, recentEpisodes))
	t.replay.size, t.replay.at, t.replay.top = k.Size, k.At, k.Top
	if a := d.opt.adam; a != nil {
		a.T = k.Adam
	}
	for _, x := range append(params("target.", d.target), t.tensors()...) {
		var err error
		switch data := x.Data.(type) {
		case []float32:
			err = safetensors.Read(f, x.Name, data, x.Shape...)
		case []float64:
			err = safetensors.Read(f, x.Name, data, x.Shape...)
		case []int32:
			err = safetensors.Read(f, x.Name, data, x.Shape...)
		case []uint8:
			err = safetensors.Read(f, x.Name, data, x.Shape...)
		}
		if err != nil {
			return nil, bad("%w", err)
		}
	}
	for i, n := range t.collector.count {
		if n < 0 || int(n) >= t.collector.n {
			return nil, bad("%w: row %d has %d steps of %d", ErrCheckpoint, i, n, t.collector.n)
		}
	}
	for i, a := range t.replay.actions[:k.Size*d.s] {
		if a < 0 || int(a) >= d.Spaces.Actions[i%d.s] {
			return nil, bad("%w: transition %d has action %d", ErrCheckpoint, i/d.s, a)
		}
	}
	t.replay.rebuild()
	switch {
	case k.Snapshot:
		err = t.restore(f)
	case t.begun && !spec.RealTime:
		err = t.reset(ctx, t.saveSeed())
	case t.begun: // a live environment starts over wherever it is
		err = t.reset(ctx, 0)
	}
	if err != nil {
		return nil, bad("%w", err)
	}
	return t, nil
}

// restore puts every environment back.
func (t *Trainer) restore(f *safetensors.File) error {
	s, ok := t.v.(env.Snapshotter)
	if !ok {
		return errors.New("its environments could be saved, these cannot: give the scenario it was trained in")
	}
	// A vector may refuse to restore rows that never began.
	obs := slices.Clone(t.obs)
	fresh, returns, count := slices.Clone(t.fresh), slices.Clone(t.returns), slices.Clone(t.collector.count)
	if err := t.reset(context.Background(), t.Seed); err != nil {
		return err
	}
	copy(t.obs, obs)
	copy(t.fresh, fresh)
	copy(t.returns, returns)
	copy(t.collector.count, count)
	for i := range t.returns {
		name := fmt.Sprintf("env.%d", i)
		info, _ := f.Info(name)
		if len(info.Shape) != 1 {
			return fmt.Errorf("%w: no state of environment %d", ErrCheckpoint, i)
		}
		b := make([]byte, info.Shape[0])
		if err := safetensors.Read(f, name, b, len(b)); err != nil {
			return err
		}
		if err := s.Restore(i, b); err != nil {
			return err
		}
	}
	return nil
}

// Transfer makes an agent for v that has learnt something already: the
// network of path but for its last layer, which is new and drawn from seed,
// so that actions and rewards may differ. The observation may not. With
// freeze only the new layer learns. c says how it is trained; its network is
// path's.
func Transfer(path string, c Config, v env.Vector, seed uint64, freeze bool, be *compute.Backend) (*Trainer, error) {
	old, err := Load(path, be)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("agent: transfer: %w", errNoVector)
	}
	if err := sameElements(old.Spaces, spacesOf(v)); err != nil {
		return nil, err
	}
	c.Hidden, c.Normalise = old.Config.Hidden, old.Config.Normalise
	t, err := NewTrainer(c, v, seed, be)
	if err != nil {
		return nil, err
	}
	d := t.Agent
	views := d.online.Params().Views
	trunk := 0
	for _, w := range views[:len(views)-2] {
		trunk += len(w.Data)
	}
	for _, m := range []*nn.MLP{d.online, d.target} {
		copy(m.Params().Data[:trunk], old.online.Params().Data[:trunk])
	}
	copy(d.shift, old.shift)
	copy(d.scale, old.scale)
	d.fitted = old.fitted
	if freeze {
		d.freeze(trunk)
	}
	return t, nil
}
