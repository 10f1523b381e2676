package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/timegan"
)

// modelled is a vector of a model's simulations that says which model.
type modelled struct {
	env.Vector
	env.Snapshotter
	env.Informer
	hash string
	card map[string]string
}

// newModelled is v, which has what env.New gives every vector.
func newModelled(v env.Vector, m *timegan.Model) (env.Vector, error) {
	h := sha256.New()
	if err := m.Write(h); err != nil {
		return nil, err
	}
	return &modelled{v, v.(env.Snapshotter), v.(env.Informer), hex.EncodeToString(h.Sum(nil)), modelCard(m)}, nil
}

// ModelHash is the SHA-256 of the checkpoint.
func (v *modelled) ModelHash() string { return v.hash }

// ModelCard is what the checkpoint says of itself.
func (v *modelled) ModelCard() map[string]string { return v.card }

func modelCard(m *timegan.Model) map[string]string {
	c := m.Config
	var columns, data []string
	for _, f := range m.Codec.Fields() {
		columns = append(columns, f.Name)
	}
	for _, hash := range m.Data {
		data = append(data, hash[:min(len(hash), 12)])
	}
	training := fmt.Sprintf("%d + %d + %d updates, batches of %d, learning rate %g", c.Embed, c.Super, c.Joint, c.Batch, c.LearningRate)
	if !m.Done() {
		training = fmt.Sprintf("unfinished: in the %s phase at update %d of %s", m.Phase, m.Update, training)
	}
	l := m.Losses
	card := map[string]string{
		"network":  fmt.Sprintf("TimeGAN, %d layers of %d, windows of %d s, %d random numbers a second", c.Layers, c.Hidden, c.Window, c.Noise),
		"columns":  strings.Join(columns, ", "),
		"limits":   fmt.Sprintf("trained under %d to %d packets", m.Codec.Lo, m.Codec.Hi),
		"data":     fmt.Sprintf("%d recordings: %s", len(data), strings.Join(data, ", ")),
		"training": training,
		"seed":     fmt.Sprint(c.Seed),
		"engine":   m.Engine,
		"losses": fmt.Sprintf("reconstruction %.4f, supervised %.4f, adversarial %.3f, moments %.4f, changes %.4f, covariances %.4f, discriminator %.3f",
			l.R, l.S, l.U, l.V, l.C, l.K, l.D),
	}
	if m.Credit != "" {
		card["credit"] = m.Credit
	}
	return card
}
