package closedloop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/timegan"
)

// Format names our checkpoints in their metadata.
const Format = "planegym.closedloop.v2"

// family is what the formats of all versions begin with.
const family = "planegym.closedloop."

// metadata is the part of a checkpoint that is not a tensor.
type metadata struct {
	Config   Config             `json:"config"`
	Codec    *codec             `json:"codec"`
	Data     []string           `json:"data"`
	Engine   string             `json:"engine"`
	Credit   string             `json:"credit,omitempty"`
	Fidelity []timegan.Fidelity `json:"fidelity,omitempty"`
	Updates  int                `json:"updates"`
	Loss     float64            `json:"loss"`
	Done     bool               `json:"done"`
	Members  int                `json:"members,omitempty"` // of an ensemble, those trained before the one in hand
	// Of adversarial fine-tuning: updates done, of which there are more to come
	// unless Done, and what it came to.
	Tuned     int        `json:"tuned,omitempty"`
	Adversary *Adversary `json:"adversary,omitempty"`
}

func (m *Model) parts() (map[string]string, []safetensors.Tensor, error) {
	meta := metadata{Config: m.Config, Codec: m.codec, Data: m.Data, Engine: m.Engine, Credit: m.Credit, Fidelity: m.Fidelity,
		Updates: m.Updates, Loss: m.Loss, Done: m.Done(), Members: len(m.others), Adversary: m.Adversary}
	if m.tuning != nil {
		meta.Tuned = m.tuning.done
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return nil, nil, err
	}
	all := m.net.Tensors("generator.")
	for i, net := range m.others {
		all = append(all, net.Tensors(memberName(i))...)
	}
	if m.state != nil {
		all = append(all, m.state.State("state.")...)
	}
	if u := m.tuning; u != nil {
		all = slices.Concat(all, u.before.Tensors("before."), u.generator.State("state."), u.watcher.Tensors("discriminator."), u.watching.State("discriminator.state."))
	}
	starts := slices.Concat(m.starts...)
	all = append(all, safetensors.Tensor{Name: "starts", Shape: []int{len(m.starts), len(m.starts[0])}, Data: starts})
	return map[string]string{"format": Format, "model": string(b)}, all, nil
}

// Write writes m's checkpoint to w.
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

// IsCheckpoint says whether size bytes in r claim to be a checkpoint of this
// package.
func IsCheckpoint(r io.ReaderAt, size int64) bool {
	f, err := safetensors.New(r, size)
	return err == nil && strings.HasPrefix(f.Metadata["format"], family)
}

// ReadFile reads a checkpoint from a file.
func ReadFile(path string) (*Model, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("closedloop: %w", err)
	}
	m, err := Decode(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Decode reads a checkpoint. One that is truncated, damaged, of another
// program or of other sizes is refused, and the error says why.
func Decode(r io.ReaderAt, size int64) (*Model, error) {
	f, err := safetensors.New(r, size)
	if err != nil {
		return nil, err
	}
	switch got := f.Metadata["format"]; {
	case got == Format:
	case strings.HasPrefix(got, family):
		return nil, fmt.Errorf("closedloop: the checkpoint is of format %s, and this version reads %s: fit it again", got, Format)
	default:
		return nil, fmt.Errorf("closedloop: not a checkpoint: format is %q, want %q", got, Format)
	}
	var meta metadata
	d := json.NewDecoder(strings.NewReader(f.Metadata["model"]))
	d.DisallowUnknownFields()
	if err := d.Decode(&meta); err != nil {
		return nil, fmt.Errorf("closedloop: metadata: %w", err)
	}
	if err := meta.Config.Check(); err != nil {
		return nil, fmt.Errorf("closedloop: metadata: %w", err)
	}
	k := meta.Codec
	if err := k.check(); err != nil {
		return nil, fmt.Errorf("closedloop: metadata: %w", err)
	}
	k.index()
	m := &Model{Config: meta.Config, Data: meta.Data, Engine: meta.Engine, Credit: meta.Credit, Fidelity: meta.Fidelity,
		Updates: meta.Updates, Loss: meta.Loss, Adversary: meta.Adversary, codec: k}
	if m.net, err = seq.New(k.network(m.Config), 0); err != nil {
		return nil, err
	}
	if err := m.net.Load(f, "generator."); err != nil {
		return nil, err
	}
	if n := m.Config.members(); meta.Members < 0 || meta.Members >= n || meta.Done && meta.Members != n-1 {
		return nil, fmt.Errorf("closedloop: metadata: %d members before the last of %d", meta.Members, n)
	}
	for i := range meta.Members {
		net, err := seq.New(k.network(m.Config), 0)
		if err != nil {
			return nil, err
		}
		if err := net.Load(f, memberName(i)); err != nil {
			return nil, err
		}
		m.others = append(m.others, net)
	}
	starts, ok := f.Info("starts")
	if !ok || len(starts.Shape) != 2 || starts.Shape[0] < 1 || starts.Shape[1] != 4+k.snapshotSize() {
		return nil, fmt.Errorf("closedloop: tensor starts is missing or of shape %v", starts.Shape)
	}
	b := make([]byte, starts.Shape[0]*starts.Shape[1])
	if err := safetensors.Read(f, "starts", b, starts.Shape...); err != nil {
		return nil, err
	}
	var row moment
	for s := range slices.Chunk(b, starts.Shape[1]) {
		if err := k.restore(&row, s[4:]); err != nil {
			return nil, err
		}
		m.starts = append(m.starts, s)
	}
	if !meta.Done {
		be := compute.NewBackend(compute.Go, 1)
		defer be.Close()
		if meta.Updates < m.Config.likelihoodUpdates() {
			if m.state, err = seq.NewTrainer(m.net, be, m.Config.training()); err != nil {
				return nil, err
			}
			if err := m.state.Restore(f, "state."); err != nil {
				return nil, err
			}
		} else if err := m.restoreTuning(f, be, meta.Tuned); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// memberName is what the tensors of an ensemble's member begin with.
func memberName(i int) string { return fmt.Sprintf("member.%d.", i) }

// restoreTuning reads fine-tuning that is under way, after so many updates.
func (m *Model) restoreTuning(f *safetensors.File, be *compute.Backend, done int) error {
	if !m.Config.adversarial() || done < 0 || done > m.Config.tuningUpdates() {
		return fmt.Errorf("closedloop: metadata: %d of %d updates of fine-tuning", done, m.Config.tuningUpdates())
	}
	u, err := m.newTuning(be)
	if err != nil {
		return err
	}
	m.tuning, u.done = u, done
	if err := u.before.Load(f, "before."); err != nil {
		return err
	}
	if err := u.generator.Restore(f, "state."); err != nil {
		return err
	}
	if err := u.watcher.Load(f, "discriminator."); err != nil {
		return err
	}
	return u.watching.Restore(f, "discriminator.state.")
}

// check reports what is wrong with a codec that was read from a file.
func (k *codec) check() error {
	if k == nil || len(k.Columns) == 0 || len(k.Columns) > 4096 || len(k.Heads) == 0 || len(k.Heads) > 4096 {
		return fmt.Errorf("codec: columns or heads are missing")
	}
	if k.Switches < 1 || k.Switches > maxSwitches || len(k.Limits) != k.Switches || k.Buffer < -1 || k.Buffer >= len(k.Columns) || k.Levels < 0 || k.Levels > 64 {
		return fmt.Errorf("codec: %d switches, limits of %d, buffer %d, %d levels", k.Switches, len(k.Limits), k.Buffer, k.Levels)
	}
	if k.Buffer >= 0 && len(k.Knots) == 0 || !slices.IsSorted(k.Knots) {
		return fmt.Errorf("codec: knots of the buffer: %v", k.Knots)
	}
	if k.Full != nil && (k.Buffer < 0 || len(k.Full) != max(k.Levels, 1)) {
		return fmt.Errorf("codec: the buffer is full at %v, of %d levels", k.Full, k.Levels)
	}
	for _, l := range k.Limits {
		if len(l) == 0 || l[0] < 1 || !slices.IsSorted(l) {
			return fmt.Errorf("codec: limits %v", k.Limits)
		}
	}
	if l := k.Load; l == nil || l.K < 1 || l.K > 16 || len(l.Follows) != l.K*l.K || len(l.Lasts) != l.K {
		return fmt.Errorf("codec: the load is missing or of other sizes")
	}
	for z, n := range k.Load.Lasts {
		if len(n) > 0 && (n[0] < 1 || n[len(n)-1] > 1<<30 || !slices.IsSorted(n)) {
			return fmt.Errorf("codec: load: regime %d lasts %v", z, n)
		}
	}
	for j := range k.Columns {
		c := &k.Columns[j]
		if c.Head < -1 || c.Head >= len(k.Heads) || math.IsNaN(c.Mean) || !(c.SD >= 0) || c.Lo > c.Hi || c.Switch < -1 {
			return fmt.Errorf("codec: column %s: head %d, mean %v, deviation %v, range %v…%v", c.Name, c.Head, c.Mean, c.SD, c.Lo, c.Hi)
		}
		switch c.Kind {
		case constantKind, levelKind, changeKind, shareKind, valueKind:
		case qualityKind:
			if len(c.Levels) != k.Levels || k.Levels < 1 {
				return fmt.Errorf("codec: column %s has %d values for %d levels", c.Name, len(c.Levels), k.Levels)
			}
		case besideKind, perKind:
			if k.depth(c.Switch) < 0 {
				return fmt.Errorf("codec: column %s goes by a depth that is missing", c.Name)
			}
		default:
			return fmt.Errorf("codec: column %s is of kind %q", c.Name, c.Kind)
		}
	}
	for h, hd := range k.Heads {
		if hd.Column < 0 || hd.Column >= len(k.Columns) || math.IsNaN(hd.Follow) || math.Abs(hd.Follow) > 1.01 || hd.Follow != 0 && len(hd.Given) == 0 {
			return fmt.Errorf("codec: head %d is of column %d", h, hd.Column)
		}
		if hd.Bins == nil {
			if k.Levels < 2 || k.Columns[hd.Column].Kind != qualityKind {
				return fmt.Errorf("codec: head %s has no bins", hd.Name)
			}
			continue
		}
		if err := hd.Bins.Check(); err != nil {
			return fmt.Errorf("codec: head %s: %w", hd.Name, err)
		}
	}
	return nil
}
