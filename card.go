package planegym

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
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

// newModelled is v, which has what queues.New gives every vector.
func newModelled(v env.Vector, m Model) (env.Vector, error) {
	h := sha256.New()
	card := modelCard
	switch {
	case m.ClosedLoop != nil:
		card = closedLoopCard
	case m.Structured != nil:
		card = structuredCard
	}
	if err := m.any().Write(h); err != nil {
		return nil, err
	}
	return &modelled{v, v.(env.Snapshotter), v.(env.Informer), hex.EncodeToString(h.Sum(nil)), card(m)}, nil
}

// FinalInfo is env.FinalInformer's.
func (v *modelled) FinalInfo(row int, dst []float32) ([]float32, bool) {
	return env.FinalInfo(v.Vector, row, dst)
}

// ModelHash is the SHA-256 of the checkpoint.
func (v *modelled) ModelHash() string { return v.hash }

// ModelCard is what the checkpoint says of itself.
func (v *modelled) ModelCard() map[string]string { return v.card }

func modelCard(model Model) map[string]string {
	m := model.TimeGAN
	c := m.Config
	training := fmt.Sprintf("%d + %d + %d updates, batches of %d, learning rate %g", c.Embed, c.Super, c.Joint, c.Batch, c.LearningRate)
	if !m.Done() {
		training = fmt.Sprintf("unfinished: in the %s phase at update %d of %s", m.Phase, m.Update, training)
	}
	l := m.Losses
	card := map[string]string{
		"network":  fmt.Sprintf("TimeGAN, %d layers of %d, windows of %d s, %d random numbers a second", c.Layers, c.Hidden, c.Window, c.Noise),
		"columns":  names(m.Codec.Fields()),
		"limits":   fmt.Sprintf("trained under %d to %d packets", m.Codec.Lo, m.Codec.Hi),
		"data":     dataCard(m.Data),
		"training": training,
		"seed":     fmt.Sprint(c.Seed),
		"engine":   m.Engine,
		"losses": fmt.Sprintf("reconstruction %.4f, supervised %.4f, adversarial %.3f, moments %.4f, changes %.4f, covariances %.4f, discriminator %.3f",
			l.R, l.S, l.U, l.V, l.C, l.K, l.D),
	}
	return withRest(card, m.Fidelity, m.Credit)
}

func structuredCard(model Model) map[string]string {
	m := model.Structured
	c, r := m.Config, m.Ranks.Config
	card := map[string]string{
		"network": fmt.Sprintf("structured: a load of %d regimes, rules of queues and player, networks of 2 layers of %d for downloads and quality, a TimeGAN of %d layers of %d for ranks",
			c.Regimes, c.Hidden, r.Layers, r.Hidden),
		"columns":  names(m.Fields()),
		"limits":   fmt.Sprintf("recorded under %v packets", m.Limits),
		"data":     dataCard(m.Data),
		"training": fmt.Sprintf("%d downloads, %d updates of each network, %d + %d + %d of the TimeGAN", m.Downloads, c.Updates, r.Embed, r.Super, r.Joint),
		"seed":     fmt.Sprint(c.Seed),
		"engine":   m.Engine,
		"losses":   fmt.Sprintf("downloads %.4f, quality %.4f", m.PaceLoss, m.LevelLoss),
	}
	return withRest(card, m.Fidelity, m.Credit)
}

func closedLoopCard(model Model) map[string]string {
	m := model.ClosedLoop
	c := m.Config
	training := fmt.Sprintf("likelihood, %d updates of %d windows of %d s, learning rate %g", c.Updates, c.Batch, c.Window, c.Rate)
	if !m.Done() {
		training = fmt.Sprintf("unfinished: at update %d of %s", m.Updates, training)
	}
	limits := fmt.Sprintf("recorded under %v packets", m.Limits())
	if n := m.Switches(); n > 1 {
		limits += fmt.Sprintf(", a limit for each of %d switches", n)
	}
	card := map[string]string{
		"network":  fmt.Sprintf("closed loop: a load of %d regimes that no limit moves, a recurrent network of %d units, %d parameters", m.Regimes(), c.Hidden, m.Parameters()),
		"columns":  names(m.Fields()),
		"limits":   limits,
		"data":     dataCard(m.Data),
		"training": training,
		"seed":     fmt.Sprint(c.Seed),
		"engine":   m.Engine,
		"losses":   fmt.Sprintf("%.4f nats a second", m.Loss),
	}
	return withRest(card, m.Fidelity, m.Credit)
}

// withRest adds what a checkpoint need not have.
func withRest(card map[string]string, fidelity []timegan.Fidelity, credit string) map[string]string {
	var figures []string
	for _, f := range fidelity {
		text := fmt.Sprintf("W1 %.3f, KS %.3f, correlation error %.3f, ACF error %.3f", f.W1, f.KS, f.Corr, f.ACF)
		if f.Effect != nil || strings.Contains(f.Of, ", limit ") { // else sessions, of an older checkpoint
			text = f.Effects() + "; " + text
		}
		figures = append(figures, f.Of+": "+text)
	}
	if len(figures) > 0 {
		card["fidelity"] = strings.Join(figures, "; ")
	}
	if credit != "" {
		card["credit"] = credit
	}
	return card
}

func names(fields []telemetry.Field) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return strings.Join(all, ", ")
}

// dataCard is how many recordings there were, and how their hashes begin.
func dataCard(hashes []string) string {
	var all []string
	for _, h := range hashes {
		all = append(all, h[:min(len(h), 12)])
	}
	return fmt.Sprintf("%d recordings: %s", len(all), strings.Join(all, ", "))
}

// Options and ResetWith are env.Optioner's.
func (v *modelled) Options() env.OptionSpec { return env.OptionsOf(v.Vector) }

func (v *modelled) ResetWith(ctx context.Context, rows []int, seeds []uint64, o env.Options, out *env.Batch) error {
	return env.ResetWith(ctx, v.Vector, rows, seeds, o, out)
}
